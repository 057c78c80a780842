//! `usher reminders`: what will be due, what was sent and why not, a reminder now.

use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};
use usher_ingest::outlook::outlook;
use usher_lifecycle::{
    Command as Change, limits,
    reminder::{Policy, Slot, calendar::local_date, policy, slots, zone},
};
use usher_store::{LedgerRow, Page, Ref, Store, Workspace};

use super::{apply, records::told, workspace};
use crate::{
    cli::{Preview, Reminders},
    config::Config,
    messages, output, store,
};

pub(super) async fn execute(config: &Config, command: Reminders, json: bool) -> anyhow::Result<()> {
    match command {
        Reminders::Preview(preview) => {
            let slots = match &preview.onboarding {
                Some(named) => of_record(config, &preview, named).await?,
                None => computed(&preview)?,
            };
            let rows: Vec<Value> =
                slots.iter().map(|slot| json!({"slot": slot.date, "due_at": slot.due_at})).collect();
            output::list(json, &rows, &["slot", "due_at"])
        }
        Reminders::Explain { scope, onboarding, limit } => {
            let (store, workspace) = workspace(config, &scope.within).await?;
            let answer = explained(config, &store, &workspace, !scope.test, &onboarding, limit).await?;
            if json { output::object(true, &answer) } else { for_people(&answer) }
        }
        Reminders::Send { scope, onboarding } => {
            let (store, workspace) = workspace(config, &scope.within).await?;
            let change = Change::RemindOnboarding(None);
            let asked = apply(&store, &workspace, !scope.test, Some(&onboarding), change).await?;
            store.close().await;
            if json {
                return output::object(true, &asked);
            }
            output::line("asked for; a running scheduler sends it within half a minute")
        }
    }
}

/// The slots of what the flags say: no store, no clock, nothing but the cadence function.
fn computed(preview: &Preview) -> anyhow::Result<Vec<Slot>> {
    let policy = policy_of(preview)?;
    let days = limits::frequency_days("--frequency-days", preview.frequency_days).map_err(told)?;
    let now = store::now();
    let started = instant("--started-at", preview.started_at.as_deref())?.unwrap_or(now);
    let after = instant("--after", preview.after.as_deref())?.unwrap_or(started.max(now));
    let base = local_date(&policy.time_zone, started);
    Ok(slots(&policy, base, days, after).take(preview.count).collect())
}

fn policy_of(preview: &Preview) -> anyhow::Result<Policy> {
    let time_of_day = policy::hh_mm::parse(&preview.time_of_day).with_context(|| {
        format!("--time-of-day {:?} is no time; HH:MM is wanted, like 09:00", preview.time_of_day)
    })?;
    let day = |text: &String| {
        policy::weekdays::parse(text)
            .with_context(|| format!("--working-days {text:?} is none of mon, tue, wed, thu, fri, sat, sun"))
    };
    let date = |text: &String| {
        text.parse::<NaiveDate>()
            .with_context(|| format!("--holidays {text:?} is no date; YYYY-MM-DD is wanted"))
    };
    Ok(Policy {
        time_zone: zone(&preview.time_zone).context("--time-zone")?,
        time_of_day,
        working_days: preview.working_days.iter().map(day).collect::<Result<_, _>>()?,
        holidays: preview.holidays.iter().map(date).collect::<Result<_, _>>()?,
        ..Policy::default()
    })
}

fn instant(flag: &str, text: Option<&str>) -> anyhow::Result<Option<DateTime<Utc>>> {
    text.map(|text| limits::instant(flag, text).map_err(told)).transpose()
}

/// The slots of a record by its workspace's policy.
async fn of_record(config: &Config, preview: &Preview, named: &str) -> anyhow::Result<Vec<Slot>> {
    let (store, workspace) = workspace(config, &preview.scope.within).await?;
    let found = store.onboarding(workspace.id, !preview.scope.test, &Ref::parse(named)).await?;
    let found = found.with_context(|| format!("there is no onboarding {named:?} in {}", workspace.slug))?;
    let after = instant("--after", preview.after.as_deref())?.unwrap_or_else(store::now);
    let policy = &workspace.rules.policy;
    Ok(slots(policy, found.hidden.cadence_base, found.reminder_frequency_days, after)
        .take(preview.count)
        .collect())
}

async fn explained(
    config: &Config,
    store: &Store,
    workspace: &Workspace,
    livemode: bool,
    named: &str,
    limit: u32,
) -> anyhow::Result<Value> {
    let found = store.onboarding(workspace.id, livemode, &Ref::parse(named)).await?;
    let found = found.with_context(|| format!("there is no onboarding {named:?} in {}", workspace.slug))?;
    let ledger = store.ledger(found.id, &Page { limit, cursor: None }).await?;
    let upcoming = outlook(store, &found, messages::configured(config), store::now(), 5).await?;
    let rows: Vec<Value> = ledger.data.iter().map(LedgerRow::object).collect();
    Ok(json!({"object": "explanation", "onboarding_id": found.id, "upcoming": upcoming, "ledger": rows}))
}

/// The explanation in sentences: what comes first, then what was.
fn for_people(answer: &Value) -> anyhow::Result<()> {
    let upcoming = &answer["upcoming"];
    match upcoming["slots"].as_array().filter(|slots| !slots.is_empty()) {
        Some(slots) => {
            for slot in slots {
                output::line(&format!(
                    "next      {} (due {})",
                    words(&slot["slot"]),
                    words(&slot["due_at"])
                ))?;
            }
        }
        None => output::line(&format!("next      none: {}", words(&upcoming["reason"])))?,
    }
    for one in upcoming["recipients"].as_array().into_iter().flatten() {
        let (channel, to, why) = (words(&one["channel"]), words(&one["recipient"]), words(&one["why"]));
        output::line(&format!("to        {to} by {channel}, as {why}"))?;
    }
    if upcoming["recipients"].as_array().is_none_or(Vec::is_empty) {
        output::line(&format!("to        nobody: {}", words(&upcoming["reason"])))?;
    }
    for row in answer["ledger"].as_array().into_iter().flatten() {
        let because = row["reason"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
        let (slot, status, to) = (words(&row["slot"]), words(&row["status"]), words(&row["recipient"]));
        let when = row["sent_at"].as_str().map(|at| format!(" at {at}")).unwrap_or_default();
        output::line(&format!("{slot:<10}  {status}{because}{when}, to {to} by {}", words(&row["channel"])))?;
        for error in row["errors"].as_array().into_iter().flatten() {
            output::line(&format!(
                "            {}: {} {}",
                words(&error["at"]),
                words(&error["code"]),
                words(&error["detail"])
            ))?;
        }
    }
    Ok(())
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or("nobody")
}
