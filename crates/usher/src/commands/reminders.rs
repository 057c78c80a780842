//! `usher reminders`: what will be due, what was sent and why not, a reminder now, another attempt.

use anyhow::Context as _;
use serde_json::{Value, json};
use usher_ingest::outlook::outlook;
use usher_lifecycle::{
    Command as Change,
    reminder::{Policy, local_date, slots},
};
use usher_store::{LedgerRow, Page, Ref, Store, Workspace};

use super::{apply, retry, workspace};
use crate::{
    cli::{Preview, Reminders},
    config::Config,
    messages, nats, output, store,
};

pub(super) async fn execute(config: &Config, command: Reminders, json: bool) -> anyhow::Result<()> {
    match command {
        Reminders::Preview(preview) => match &preview.onboarding {
            Some(named) => of_record(config, &preview, named, json).await,
            None => computed(&preview, json),
        },
        Reminders::Explain { scope, onboarding, limit } => {
            let (store, workspace) = workspace(config, &scope.within).await?;
            let answer = explained(config, &store, &workspace, !scope.test, &onboarding, limit).await?;
            if json { output::object(true, &answer) } else { for_people(&answer) }
        }
        Reminders::Retry(which) => retry::execute(config, &which, json).await,
        Reminders::Send { scope, onboarding } => {
            let (store, workspace) = workspace(config, &scope.within).await?;
            let change = Change::RemindOnboarding(None);
            let asked = apply(&store, &workspace, !scope.test, Some(&onboarding), change).await?;
            store.close().await;
            nats::hint(config).await;
            if json {
                return output::object(true, &asked);
            }
            output::line("asked for; a running scheduler sends it within half a minute")
        }
    }
}

/// The slots of what the flags say: no store, no configuration, nothing but the cadence function.
pub(super) fn computed(preview: &Preview, json: bool) -> anyhow::Result<()> {
    let policy = Policy {
        time_zone: preview.time_zone.clone(),
        time_of_day: preview.time_of_day,
        working_days: preview.working_days.clone(),
        holidays: preview.holidays.iter().copied().collect(),
        ..Policy::default()
    };
    let started = preview.started_at.unwrap_or_else(store::now);
    let after = preview.after.unwrap_or_else(|| started.max(store::now()));
    let base = local_date(&policy.time_zone, started);
    let next = slots(&policy, base, preview.frequency_days, after).take(preview.count.into());
    let rows: Vec<Value> = next.map(|slot| json!({"slot": slot.date, "due_at": slot.due_at})).collect();
    output::list(json, &rows, &["slot", "due_at"])
}

/// The slots of a record by its workspace's policy, as `explain` has them.
async fn of_record(config: &Config, preview: &Preview, named: &str, json: bool) -> anyhow::Result<()> {
    let (store, workspace) = workspace(config, &preview.scope.within).await?;
    let found = store.onboarding(workspace.id, !preview.scope.test, &Ref::parse(named)).await?;
    let found = found.with_context(|| format!("there is no onboarding {named:?} in {}", workspace.slug))?;
    let (configured, count) = (messages::configured(config), preview.count.into());
    let upcoming = outlook(&store, &found, configured, store::now(), preview.after, count).await?;
    let rows = upcoming["slots"].as_array().cloned().unwrap_or_default();
    if rows.is_empty() {
        // Without a reason there are reminders to come, and none of them after that instant.
        let reason = upcoming["reason"].as_str().unwrap_or("none_left");
        eprintln!("usher: no reminder will come: {reason}");
    }
    output::list(json, &rows, &["slot", "due_at", "send_after"])
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
    let upcoming = outlook(store, &found, messages::configured(config), store::now(), None, 5).await?;
    let rows: Vec<Value> = ledger.data.iter().map(LedgerRow::object).collect();
    Ok(json!({"object": "explanation", "onboarding_id": found.id, "upcoming": upcoming, "ledger": rows}))
}

/// The explanation in sentences: what comes first, then what was.
fn for_people(answer: &Value) -> anyhow::Result<()> {
    let upcoming = &answer["upcoming"];
    match upcoming["slots"].as_array().filter(|slots| !slots.is_empty()) {
        Some(slots) => {
            for slot in slots {
                let (due, sent) = (words(&slot["due_at"]), words(&slot["send_after"]));
                let late = if sent == due { String::new() } else { format!(", late: sent from {sent}") };
                output::line(&format!("next      {} (due {due}{late})", words(&slot["slot"])))?;
            }
        }
        None => output::line(&format!("next      none: {}", words(&upcoming["reason"])))?,
    }
    for gap in upcoming["missed"].as_array().into_iter().flatten() {
        output::line(&format!("missed    {}: {}", run(gap), words(&gap["reason"])))?;
    }
    let customer = Some(&upcoming["customer"]).filter(|it| it["recipient"].is_string());
    for one in upcoming["recipients"].as_array().into_iter().flatten().chain(customer) {
        output::line(&addressee(one))?;
    }
    if upcoming["recipients"].as_array().is_none_or(Vec::is_empty) {
        output::line(&format!("to        nobody: {}", words(&upcoming["reason"])))?;
    }
    // That a workspace writes to no customer, or an onboarding waits on none, is as usual.
    let usual = ["customer_not_nudged", "not_waiting"];
    if let Some(reason) = upcoming["customer"]["reason"].as_str()
        && customer.is_none()
        && !usual.contains(&reason)
    {
        output::line(&format!("          nobody at the customer: {reason}"))?;
    }
    for step in upcoming["escalates"].as_array().into_iter().flatten() {
        let state = step["set_state"].as_str().map(|state| format!(", sets {state}")).unwrap_or_default();
        let nobody = step["reason"].as_str().map(|reason| format!(", tells nobody: {reason}"));
        output::line(&format!(
            "escalates after {} unheeded: {}{state}{}",
            step["after_reminders"],
            words(&step["to"]),
            nobody.unwrap_or_default()
        ))?;
        for one in step["recipients"].as_array().into_iter().flatten() {
            output::line(&addressee(one))?;
        }
    }
    for channel in upcoming["not_configured"].as_array().into_iter().flatten() {
        output::line(&format!(
            "          nothing by {}: this installation has no such channel",
            words(channel)
        ))?;
    }
    if let Some(unheeded) = upcoming["unheeded"].as_u64().filter(|count| *count > 0) {
        output::line(&format!("          {unheeded} since anybody did something about it"))?;
    }
    for row in answer["ledger"].as_array().into_iter().flatten() {
        output::line(&ledger_line(row))?;
        if let Some(retries) = row["retries"].as_i64().filter(|retries| *retries > 0) {
            let times = if retries == 1 { "once".to_owned() } else { format!("{retries} times") };
            output::line(&format!(
                "            put back by hand {times}, last at {}",
                words(&row["retried_at"])
            ))?;
        }
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

/// Somebody who would be told, when, or why not.
fn addressee(one: &Value) -> String {
    let (channel, why) = (words(&one["channel"]), words(&one["why"]));
    let to = match one["name"].as_str() {
        Some(name) => format!("{} ({})", name.replace(char::is_control, " "), words(&one["recipient"])),
        None => words(&one["recipient"]).to_owned(),
    };
    let when = match (one["send_at"].as_str(), one["reason"].as_str()) {
        (Some(at), _) => format!(", at {at}"),
        (None, Some(reason)) => format!(", not sent: {reason}"),
        (None, None) => String::new(),
    };
    format!("to        {to} by {channel}, as {why}{when}")
}

fn ledger_line(row: &Value) -> String {
    let because = row["reason"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
    let status = words(&row["status"]);
    // A run of slots that were not sent, to anybody.
    if row["detail"]["first_slot"].is_string() {
        return format!("{}  {status}{because}", run(&row["detail"]));
    }
    let (slot, to) = (words(&row["slot"]), words(&row["recipient"]));
    let when = row["sent_at"].as_str().map(|at| format!(" at {at}")).unwrap_or_default();
    format!("{slot:<10}  {status}{because}{when}, to {to} by {}", words(&row["channel"]))
}

/// Slots that are not sent.
fn run(gap: &Value) -> String {
    let (first, last) = (words(&gap["first_slot"]), words(&gap["last_slot"]));
    match gap["slots"].as_u64() {
        Some(1) => format!("{first}, 1 slot"),
        count => format!("{first}..{last}, {} slots", count.unwrap_or_default()),
    }
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or("nobody")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_told_from_its_first_slot_to_its_last() {
        let gap = |last: &str, slots: u32| {
            ledger_line(&json!({
                "slot": last, "status": "skipped", "reason": "superseded", "recipient": null, "channel": null,
                "detail": {"first_slot": "2026-11-23", "last_slot": last, "slots": slots},
            }))
        };
        assert_eq!(gap("2026-11-25", 3), "2026-11-23..2026-11-25, 3 slots  skipped: superseded");
        assert_eq!(gap("2026-11-23", 1), "2026-11-23, 1 slot  skipped: superseded");
    }
}
