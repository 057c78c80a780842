//! The counting afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use usher_testkit::mail;

use super::{
    commands::{Kind, Load},
    events::{Events, stored},
    world::{Due, Fixed, World},
};
use crate::service::Api;

/// What was found, for people.
pub(super) struct Found {
    events: usize,
    repeats: usize,
    rejected: usize,
    rejected_on_stream: usize,
    mails: usize,
    twice: usize,
    ambiguous: usize,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, repeats, rejected, rejected_on_stream, mails, twice, ambiguous } = self;
        write!(
            f,
            "every command had its one effect; {events} events on the stream, {repeats} of them repeats; {rejected} rejected \
             commands, {rejected_on_stream} on the stream; {mails} mails, {twice} onboardings named twice and {ambiguous} \
             reminders of unknown fate"
        )
    }
}

pub(super) async fn everything(world: &mut World, load: &Load, fixed: &Fixed) -> anyhow::Result<Found> {
    // Reminders first: they may need the leases of the killed to end, and write events.
    let (twice, ambiguous) = reminders(world, &fixed.due).await?;
    world.until_quiet().await?;
    let client = world.client().await?;
    let events = Events::read(&stored(&client, "USHER_EVENTS").await?)?;
    effects(world, load, fixed, &events).await?;
    let (rejected, rejected_on_stream) = rejections(world, load).await?;
    Ok(Found {
        events: events.count,
        repeats: events.repeats,
        rejected,
        rejected_on_stream,
        mails: world.sink.messages().len(),
        twice,
        ambiguous,
    })
}

/// Every good command has exactly one effect, in the tables and on the stream.
async fn effects(world: &World, load: &Load, fixed: &Fixed, events: &Events) -> anyhow::Result<()> {
    let api = world.api().await?;
    let wanted = |kind: Kind, prefix: &str| -> BTreeMap<String, usize> {
        let of_kind = load.commands.iter().enumerate().filter(|(_, command)| command.kind == kind);
        of_kind.map(|(number, _)| (format!("{prefix}-{number}"), 1)).collect()
    };
    let same = |what: &str, found: BTreeMap<&str, usize>, wanted: &BTreeMap<String, usize>| {
        let found: BTreeMap<String, usize> =
            found.into_iter().map(|(key, count)| (key.to_owned(), count)).collect();
        let wrong: Vec<_> = found.iter().filter(|(key, count)| wanted.get(*key) != Some(count)).collect();
        let missing: Vec<_> = wanted.keys().filter(|key| !found.contains_key(*key)).collect();
        ensure!(wrong.is_empty() && missing.is_empty(), "{what}: wrong {wrong:?}, missing {missing:?}");
        Ok(())
    };
    let last = events.in_order_without_a_gap()?;

    let (creates, customers) = (wanted(Kind::Create, "c"), wanted(Kind::Customer, "k"));
    let onboardings = all(&api, "/onboardings").await?;
    ensure!(
        onboardings.len() == creates.len() + fixed.changed.len() + fixed.due.len(),
        "{} are there",
        onboardings.len()
    );
    same("onboardings", count(&onboardings, "external_id"), &creates)?;
    same("onboarding.created", events.tally("onboarding.created", "external_id"), &creates)?;
    for onboarding in &onboardings {
        let id = onboarding["id"].as_str().context("an id")?;
        let version = onboarding["version"].as_i64();
        ensure!(
            version.is_none() || version == last.get(id).copied(),
            "{id}: the last event is of {:?}",
            last.get(id)
        );
    }
    let found = all(&api, "/customers").await?;
    let mut upserted = count(&found, "external_id");
    upserted.remove("acme");
    same("customers", upserted, &customers)?;
    let mut tally = events.tally("customer.created", "external_id");
    tally.remove("acme");
    same("customer.created", tally, &customers)?;
    same("onboarding.updated", events.tally("onboarding.updated", "notes"), &wanted(Kind::Change, "n"))
}

/// Every bad command is kept once, with its reason, and is on the stream at least once.
async fn rejections(world: &World, load: &Load) -> anyhow::Result<(usize, usize)> {
    let kept = world.rejected().await?;
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for it in &kept {
        found.entry(text(it, "message_id")).or_default().push(text(it, "code"));
    }
    let bad = load.commands.iter().filter_map(|command| match command.kind {
        Kind::Bad(fault) => Some((command.id.clone(), vec![fault.code().to_owned()])),
        Kind::Create | Kind::Change | Kind::Customer => None,
    });
    let wanted: BTreeMap<_, _> = bad.collect();
    let wrong: Vec<_> = found.iter().filter(|(id, codes)| wanted.get(*id) != Some(codes)).collect();
    let missing: Vec<_> = wanted.keys().filter(|id| !found.contains_key(*id)).collect();
    ensure!(wrong.is_empty() && missing.is_empty(), "rejected: wrong {wrong:?}, missing {missing:?}");

    let messages = stored(&world.client().await?, "USHER_REJECTED").await?;
    let mut published: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for message in &messages {
        let id =
            message.header("Nats-Msg-Id").and_then(|id| id.strip_prefix("rejected/")).context("its id")?;
        published.entry(id).or_default().insert(message.header("Usher-Error-Code").context("its code")?);
    }
    for it in &kept {
        let (id, code) = (text(it, "id"), text(it, "code"));
        let codes = published.get(id.as_str()).with_context(|| format!("{id} is not on the stream"))?;
        ensure!(*codes == BTreeSet::from([code.as_str()]), "{id}: {codes:?}");
    }
    ensure!(published.len() == kept.len(), "the stream has {} rejections", published.len());
    Ok((kept.len(), messages.len()))
}

/// Every reminder has an end; one that was sent is in a mail, and one in two mails has an attempt of unknown fate. How
/// many were in two, and how many have an unknown fate.
async fn reminders(world: &mut World, due: &[Due]) -> anyhow::Result<(usize, usize)> {
    // Past nine, and past the leases of those that were killed while they were sending.
    world.at("2026-03-03T09:30:00Z").await?;
    let mut ended = Vec::new();
    for due in due {
        ended.push(ended_reminder(world, due).await?);
    }
    let mails: Vec<String> = world
        .sink
        .messages()
        .iter()
        .map(|mail| Ok(mail::parse(&mail.data)?.body("text/plain").unwrap_or_default().to_owned()))
        .collect::<anyhow::Result<_>>()?;
    let (mut twice, mut ambiguous) = (0, 0);
    for (due, entry) in due.iter().zip(ended) {
        let copies = mails.iter().filter(|text| text.contains(&due.customer)).count();
        let unknown =
            entry["status"] == "ambiguous" || entry["errors"].as_array().is_some_and(|it| !it.is_empty());
        ensure!(copies > 0 || unknown, "{} got no mail: {entry}", due.customer);
        ensure!(copies < 2 || unknown, "{} is in {copies} mails: {entry}", due.customer);
        twice += usize::from(copies > 1);
        ambiguous += usize::from(unknown);
    }
    Ok((twice, ambiguous))
}

/// The one entry of the ledger, once it has ended.
async fn ended_reminder(world: &World, due: &Due) -> anyhow::Result<Value> {
    let api = world.api().await?;
    let mut last = Value::Null;
    let waiting = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            last = api.expect(200, "GET", &format!("/onboardings/{}/reminders", due.id), json!(null)).await?;
            let entries = last["data"].as_array().cloned().unwrap_or_default();
            let open = entries.iter().any(|entry| entry["status"] == "pending");
            if let (false, [entry]) = (open, entries.as_slice()) {
                return anyhow::Ok(entry.clone());
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_mins(2), waiting).await;
    ended.with_context(|| format!("the reminder of {} has no end: {last}", due.id))?
}

fn count<'a>(records: &'a [Value], field: &str) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for key in records.iter().filter_map(|record| record[field].as_str()) {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

/// All records of a list, by walking it.
async fn all(api: &Api, path: &str) -> anyhow::Result<Vec<Value>> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.expect(200, "GET", &format!("{path}?limit=100{cursor}"), json!(null)).await?;
        found.extend(page["data"].as_array().into_iter().flatten().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(found),
        }
    }
}
