//! Changing a workspace's name and rules. What is pending is not touched here: the store's background work moves it.

use alloc::{format, vec, vec::Vec};

use chrono::{DateTime, Utc};
use serde_json::Map;

use super::{Decision, Record, changed_fields, moment};
use crate::{
    command::{PolicyPatch, WorkspacePatch},
    event::{Event, EventKind},
    refusal::{Code, Refusal},
    reminder::Policy,
    wire,
    workspace::Workspace,
};

pub(super) fn change(
    before: Workspace,
    patch: &WorkspacePatch,
    now: DateTime<Utc>,
) -> Result<Decision, Refusal> {
    let mut after = before.clone();
    if let Some(name) = &patch.name {
        after.name.clone_from(name);
    }
    patch.merge(&mut after.rules);
    policy(&mut after.rules.policy, &patch.policy)?;
    let object = |it: &Workspace| wire::value(&wire::WorkspaceObject::from(it));
    let changed = changed_fields(&object(&before), &object(&after));
    if changed.is_empty() {
        return Ok(Decision::plain(Record::Workspace(before), Vec::new()));
    }
    after.version += 1;
    after.updated_at = moment(before.updated_at, now);
    let event = Event { kind: EventKind::WorkspaceUpdated, previous: Some(changed), extra: Map::new() };
    Ok(Decision::plain(Record::Workspace(after), vec![event]))
}

fn policy(policy: &mut Policy, patch: &PolicyPatch) -> Result<(), Refusal> {
    if let Some(zone) = &patch.time_zone {
        policy.time_zone.clone_from(zone);
    }
    if let Some(time) = patch.time_of_day {
        policy.time_of_day = time;
    }
    if let Some(time) = patch.send_until {
        policy.send_until = time;
    }
    if let Some(days) = &patch.working_days {
        if days.is_empty() {
            let message = "policy.working_days is empty; at least one of mon to sun is wanted";
            return Err(Refusal::field(Code::TooSmall, "policy.working_days", message));
        }
        policy.working_days.clone_from(days);
    }
    if let Some(dates) = &patch.holidays {
        policy.holidays.clone_from(dates);
    }
    if let Some(catch_up) = patch.catch_up {
        policy.catch_up = catch_up;
    }
    if let Some(minutes) = patch.spread_minutes {
        policy.spread_minutes = minutes;
    }
    let touched = patch.time_of_day.is_some() || patch.send_until.is_some();
    if touched && policy.send_until <= policy.time_of_day {
        let message = format!(
            "policy.send_until is {} and policy.time_of_day {}; send_until must be the later one",
            policy.send_until.format("%H:%M"),
            policy.time_of_day.format("%H:%M"),
        );
        // Told of the field that was written.
        let field = if patch.send_until.is_some() { "policy.send_until" } else { "policy.time_of_day" };
        return Err(Refusal::field(Code::InvalidCombination, field, message));
    }
    Ok(())
}
