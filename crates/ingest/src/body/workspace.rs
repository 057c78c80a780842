//! The body about a workspace.

use std::collections::BTreeSet;

use chrono::{NaiveDate, Weekday};
use serde::de::DeserializeOwned;
use serde_json::Value;
use usher_lifecycle::{
    command::{PolicyPatch, WorkspacePatch},
    limits,
    refusal::{Code, Refusal},
    reminder::{EscalationStep, policy::weekdays, zone},
};

use super::{
    field::{Field, members, missing},
    template::{by_phase, whole},
    user::{date, time_of_day, time_zone},
};

/// Most holidays.
const HOLIDAYS: usize = 1_000;
/// Most steps of the escalation.
const STEPS: usize = 10;
/// Widest spread, in minutes.
const SPREAD: i64 = 720;
/// Longest name of a Slack channel.
const CHANNEL: usize = 80;
const ROLES: &str = "csm, se, designer and product_ops are allowed";

pub(super) const KNOWN: [&str; 9] = [
    "name",
    "policy",
    "phase_owners",
    "escalation",
    "require_reason",
    "nudge_customer",
    "ops_email",
    "ops_slack_channel",
    "ambiguous",
];
const POLICY: [&str; 7] =
    ["time_zone", "time_of_day", "send_until", "working_days", "holidays", "catch_up", "spread_minutes"];

/// The body of "change the workspace", a JSON merge patch, also within `policy` and `phase_owners`.
///
/// # Errors
/// The first fault of the body; `immutable_field` for `slug`.
pub fn patch_workspace(body: &Value) -> Result<WorkspacePatch, Refusal> {
    let mut patch = WorkspacePatch::default();
    for field in members(body)? {
        match field.name {
            "slug" => {
                let message = "slug cannot change; subjects and permissions in NATS have it in them";
                return Err(Refusal::field(Code::ImmutableField, "slug", message));
            }
            "name" => patch.name = Some(field.filled(limits::NAME)?),
            "policy" => patch.policy = policy(&field)?,
            "phase_owners" => patch.phase_owners = by_phase(&field, |it| named(it, ROLES))?,
            "escalation" => {
                patch.escalation = Some(field.items(STEPS)?.map(|it| step(&it)).collect::<Result<_, _>>()?);
            }
            "require_reason" => {
                patch.require_reason = Some(named(&field, "none, send_back and any are allowed")?);
            }
            "nudge_customer" => patch.nudge_customer = Some(field.boolean()?),
            "ops_email" => patch.ops_email = Some(field.nullable(Field::email)?),
            "ops_slack_channel" => patch.ops_slack_channel = Some(field.nullable(slack_channel)?),
            "ambiguous" => patch.ambiguous = Some(named(&field, "resend and hold are allowed")?),
            _ => return Err(field.unrecognized(&KNOWN)),
        }
    }
    Ok(patch)
}

fn policy(field: &Field<'_>) -> Result<PolicyPatch, Refusal> {
    let mut patch = PolicyPatch::default();
    for member in field.object()? {
        match member.name {
            "time_zone" => {
                let name = time_zone(&member)?;
                patch.time_zone = zone(&name).ok();
            }
            "time_of_day" => patch.time_of_day = Some(time_of_day(&member)?),
            "send_until" => patch.send_until = Some(time_of_day(&member)?),
            "working_days" => patch.working_days = Some(working_days(&member)?),
            "holidays" => patch.holidays = Some(holidays(&member)?),
            "catch_up" => patch.catch_up = Some(named(&member, "once and skip are allowed")?),
            "spread_minutes" => patch.spread_minutes = Some(whole(&member, 0, SPREAD)?),
            _ => return Err(member.unrecognized(&POLICY)),
        }
    }
    Ok(patch)
}

/// One of a few names, as serde knows them.
fn named<T: DeserializeOwned>(field: &Field<'_>, allowed: &str) -> Result<T, Refusal> {
    field.raw()?;
    serde_json::from_value(field.value().clone()).map_err(|_| field.refuse(Code::InvalidValue, allowed))
}

/// `mon` to `sun`, each once, in their order.
fn working_days(field: &Field<'_>) -> Result<Vec<Weekday>, Refusal> {
    let mut days = Vec::new();
    for item in field.items(7)? {
        let day = weekdays::parse(item.raw()?);
        days.push(day.ok_or_else(|| item.refuse(Code::InvalidValue, "mon to sun are allowed"))?);
    }
    days.sort_by_key(Weekday::num_days_from_monday);
    days.dedup();
    if days.is_empty() {
        return Err(Refusal::field(
            Code::TooSmall,
            &*field.path,
            format!("{} is empty; at least one of mon to sun is wanted", field.path),
        ));
    }
    Ok(days)
}

fn holidays(field: &Field<'_>) -> Result<BTreeSet<NaiveDate>, Refusal> {
    let read = |item: Field<'_>| {
        date(item.raw()?).ok_or_else(|| item.refuse(Code::InvalidString, "a date is wanted, like 2026-12-24"))
    };
    field.items(HOLIDAYS)?.map(read).collect()
}

fn step(field: &Field<'_>) -> Result<EscalationStep, Refusal> {
    let (mut after, mut to, mut set_state) = (None, None, None);
    for member in field.object()? {
        match member.name {
            "after_reminders" => after = Some(whole(&member, 1, 1_000)?),
            "to" => {
                to = Some(named(&member, "csm, se, designer, product_ops and fallback are allowed")?);
            }
            "set_state" => set_state = member.nullable(Field::one_of)?,
            _ => return Err(member.unrecognized(&["after_reminders", "to", "set_state"])),
        }
    }
    Ok(EscalationStep {
        after_reminders: after.ok_or_else(|| missing(&format!("{}.after_reminders", field.path)))?,
        to: to.ok_or_else(|| missing(&format!("{}.to", field.path)))?,
        set_state,
    })
}

/// A channel's id, or its name with `#`.
fn slack_channel(field: &Field<'_>) -> Result<String, Refusal> {
    let channel = field.filled(CHANNEL)?;
    if channel.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(field.refuse(Code::InvalidString, "a channel's id or #name is wanted"));
    }
    Ok(channel)
}
