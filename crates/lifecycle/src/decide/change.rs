//! Changing an onboarding: moves, states, waiting, target shifts, and the events that follow, in their fixed order.

use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{Book, Decision, Record, RemindNow, changed_fields, create::not_in_future, moment, template};
use crate::{
    command::{OnboardingPatch, Reference, Snooze},
    event::{Event, EventKind},
    id::ReminderId,
    limits,
    onboarding::Onboarding,
    phase::{Move, Phase},
    refusal::{Code, Refusal},
    reminder::{Channel, RequireReason, cadence, calendar, schedule},
    state::State,
    wire,
};

/// After so many shifts to later within one phase an active onboarding is at risk.
const SHIFTS_TO_RISK: i32 = 3;

pub(super) fn onboarding(
    before: Onboarding,
    patch: &OnboardingPatch,
    book: Book<'_>,
    now: DateTime<Utc>,
) -> Result<Decision, Refusal> {
    let at = moment(before.updated_at, now);
    let mut after = before.clone();
    plain_fields(&mut after, patch, book, now)?;
    let reason = patch.reason.as_deref();
    let shifted = target(&mut after, patch);
    let mut state = wanted_state(&before, patch)?;
    let mut state_reason = reason;
    if let Some(phase) = patch.phase {
        enter_phase(&mut after, phase, at);
    }
    let too_many = shifted && after.phase == before.phase && after.hidden.target_shifts == SHIFTS_TO_RISK;
    if too_many && state.is_none() && before.state == State::Active && !before.phase.is_terminal() {
        state = Some(State::AtRisk);
        state_reason = Some("target_shifted");
    }
    if let Some(state) = state {
        enter_state(&mut after, state, at);
    }
    let moved = before.phase.move_to(after.phase);
    let restated = before.state != after.state;
    if before.phase.is_terminal() && (moved.is_some() || restated) {
        return Err(completed());
    }
    needs_reason(book.rules.require_reason, moved, restated, state_reason)?;

    let events = events(&before, &after, moved, shifted, reason, state_reason, at);
    Ok(finish(before, after, events, book, now))
}

/// Sets the fields that only say what they say.
fn plain_fields(
    after: &mut Onboarding,
    patch: &OnboardingPatch,
    book: Book<'_>,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let found_template = || {
        let named = patch.template.as_ref().and_then(Option::as_ref);
        let found = |named: &String| {
            book.references.template.as_ref().map(|it| it.id).ok_or_else(|| template::unknown(named))
        };
        named.map(found).transpose()
    };
    for reference in &patch.order {
        match reference {
            // It cannot change.
            Reference::Customer => {}
            Reference::Template => found_template().map(drop)?,
            Reference::Role(role) => {
                let named = patch.roles.get(role).and_then(Option::as_ref);
                named.map(|named| book.references.user(*role, named)).transpose().map(drop)?;
            }
        }
    }
    if patch.template.is_some() {
        after.template_id = found_template()?;
    }
    for (role, named) in &patch.roles {
        let user = named.as_deref().map(|named| book.references.user(*role, named)).transpose()?;
        after.roles.set(*role, user);
    }
    if let Some(started_at) = patch.started_at {
        not_in_future(started_at, now)?;
        if started_at != after.started_at {
            after.started_at = started_at;
            after.hidden.cadence_base = calendar::local_date(&book.rules.policy.time_zone, started_at);
        }
    }
    if let Some(notes) = &patch.notes {
        after.notes.clone_from(notes);
    }
    if let Some(wizard) = patch.wizard_completed_at {
        after.wizard_completed_at = wizard;
    }
    if let Some(on) = patch.reminder_email {
        after.reminder_email = on;
    }
    if let Some(on) = patch.reminder_slack {
        after.reminder_slack = on;
    }
    if let Some(days) = patch.reminder_frequency_days
        && days != after.reminder_frequency_days
    {
        after.hidden.cadence_base = cadence::rebase(after);
        after.reminder_frequency_days = days;
    }
    if let Some(external_id) = &patch.external_id {
        after.external_id.clone_from(external_id);
    }
    Ok(())
}

/// Sets the target; true when it moved to later.
fn target(after: &mut Onboarding, patch: &OnboardingPatch) -> bool {
    let Some(target) = patch.target_launch_date else { return false };
    let shifted = matches!((after.target_launch_date, target), (Some(old), Some(new)) if new > old);
    after.target_launch_date = target;
    if shifted {
        after.hidden.target_shifts = after.hidden.target_shifts.saturating_add(1);
    }
    shifted
}

/// The state that `state` and `waiting_on_customer` ask for together.
fn wanted_state(before: &Onboarding, patch: &OnboardingPatch) -> Result<Option<State>, Refusal> {
    let contradiction = || {
        Refusal::field(
            Code::InvalidCombination,
            "waiting_on_customer",
            "state and waiting_on_customer contradict each other: waiting_on_customer is true exactly while state is waiting",
        )
    };
    match (patch.state, patch.waiting_on_customer) {
        (state, None) => Ok(state),
        (None | Some(State::Waiting), Some(true)) => Ok(Some(State::Waiting)),
        (Some(State::Active | State::Paused | State::AtRisk), Some(true))
        | (Some(State::Waiting), Some(false)) => Err(contradiction()),
        (Some(state @ (State::Active | State::Paused | State::AtRisk)), Some(false)) => Ok(Some(state)),
        (None, Some(false)) => Ok((before.state == State::Waiting).then_some(State::Active)),
    }
}

fn enter_phase(after: &mut Onboarding, phase: Phase, at: DateTime<Utc>) {
    if after.phase == phase {
        return;
    }
    after.phase = phase;
    after.hidden.phase_entered_at = at;
    after.hidden.idle_seconds = 0;
    after.hidden.idle_since = after.hidden.idle_since.map(|_| at);
    after.hidden.target_shifts = 0;
    if phase.is_terminal() {
        after.completed_at = Some(at);
    }
}

fn enter_state(after: &mut Onboarding, state: State, at: DateTime<Utc>) {
    if after.state == state {
        return;
    }
    after.waiting_since = (state == State::Waiting).then_some(at);
    match (after.hidden.idle_since, state.is_idle()) {
        (None, true) => after.hidden.idle_since = Some(at),
        (Some(since), false) => {
            after.hidden.idle_seconds =
                after.hidden.idle_seconds.saturating_add((at - since).num_seconds().max(0));
            after.hidden.idle_since = None;
        }
        (Some(_), true) | (None, false) => {}
    }
    after.state = state;
}

fn completed() -> Refusal {
    Refusal::new(
        Code::OnboardingCompleted,
        "the onboarding is completed; its phase and state cannot change any more",
    )
}

fn needs_reason(
    rule: RequireReason,
    moved: Option<Move>,
    restated: bool,
    reason: Option<&str>,
) -> Result<(), Refusal> {
    let needed = match rule {
        RequireReason::None => false,
        RequireReason::SendBack => moved == Some(Move::SendBack),
        RequireReason::Any => moved.is_some() || restated,
    };
    if needed && reason.is_none_or(|text| text.trim().is_empty()) {
        return Err(Refusal::field(
            Code::MissingField,
            "reason",
            "this workspace wants a reason for this change; give it in the field reason",
        ));
    }
    Ok(())
}

/// The events of a change, in their fixed order.
fn events(
    before: &Onboarding,
    after: &Onboarding,
    moved: Option<Move>,
    shifted: bool,
    reason: Option<&str>,
    state_reason: Option<&str>,
    at: DateTime<Utc>,
) -> Vec<Event> {
    let mut events = Vec::new();
    let object = |it: &Onboarding| wire::value(&wire::OnboardingObject::from(it));
    let mut changed = changed_fields(&object(before), &object(after));
    for told_elsewhere in
        ["phase", "state", "completed_at", "waiting_on_customer", "waiting_on_customer_since"]
    {
        changed.remove(told_elsewhere);
    }
    if !changed.is_empty() {
        let mut extra = Map::new();
        if shifted {
            extra.insert(
                "target_shift".into(),
                json!({"from": before.target_launch_date, "to": after.target_launch_date, "reason": reason}),
            );
        }
        events.push(Event { kind: EventKind::OnboardingUpdated, previous: Some(changed), extra });
    }
    if let Some(moved) = moved {
        let wall = (at - before.hidden.phase_entered_at).num_seconds().max(0);
        let open = before.hidden.idle_since.map_or(0, |since| (at - since).num_seconds().max(0));
        let extra = fields([
            ("move", json!(moved.as_str())),
            ("reason", json!(reason)),
            ("seconds_in_phase", json!(wall)),
            ("working_seconds_in_phase", json!((wall - before.hidden.idle_seconds - open).max(0))),
        ]);
        let previous = fields([("phase", json!(before.phase))]);
        events.push(Event { kind: EventKind::OnboardingPhaseChanged, previous: Some(previous), extra });
    }
    if before.state != after.state {
        let previous = fields([("state", json!(before.state))]);
        let mut push = |kind, extra| events.push(Event { kind, previous: Some(previous.clone()), extra });
        push(EventKind::OnboardingStateChanged, fields([("reason", json!(state_reason))]));
        if after.state == State::AtRisk {
            push(EventKind::OnboardingAtRisk, fields([("reason", json!(state_reason))]));
        }
        if before.state == State::AtRisk {
            push(EventKind::OnboardingBackOnTrack, fields([("reason", json!(state_reason))]));
        }
    }
    if moved.is_some() && after.phase == Phase::Launch {
        let previous = fields([("phase", json!(before.phase))]);
        events.push(Event {
            kind: EventKind::OnboardingLaunched,
            previous: Some(previous),
            extra: Map::new(),
        });
    }
    if moved.is_some() && after.phase.is_terminal() {
        let previous = fields([("phase", json!(before.phase)), ("completed_at", json!(before.completed_at))]);
        events.push(Event {
            kind: EventKind::OnboardingCompleted,
            previous: Some(previous),
            extra: Map::new(),
        });
    }
    events
}

fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// Stamps an effective change and decides what becomes of the reminders.
fn finish(
    before: Onboarding,
    mut after: Onboarding,
    events: Vec<Event>,
    book: Book<'_>,
    now: DateTime<Utc>,
) -> Decision {
    if events.is_empty() {
        return Decision::plain(Record::Onboarding(before), events);
    }
    after.version = before.version + 1;
    after.updated_at = moment(before.updated_at, now);
    let schedule = if concerns_reminders(&before, &after) {
        let customer = book.references.customer.map(|(_, status)| status);
        schedule::after_change(book.rules, &before, &mut after, customer, now)
    } else {
        schedule::Schedule::Keep
    };
    Decision { record: Record::Onboarding(after), events, schedule, remind: None, also: Vec::new() }
}

/// A change of an unrelated field never touches the schedule.
fn concerns_reminders(before: &Onboarding, after: &Onboarding) -> bool {
    let relevant = |it: &Onboarding| {
        (
            it.phase.is_terminal(),
            it.state == State::Paused,
            it.reminder_email || it.reminder_slack,
            it.reminder_frequency_days,
            it.hidden.cadence_base,
            it.snoozed_until,
        )
    };
    relevant(before) != relevant(after)
}

pub(super) fn snooze(
    before: Onboarding,
    snooze: Snooze,
    book: Book<'_>,
    now: DateTime<Utc>,
) -> Result<Decision, Refusal> {
    if before.phase.is_terminal() {
        return Err(Refusal::new(
            Code::OnboardingCompleted,
            "the onboarding is completed; there is nothing to snooze",
        ));
    }
    let until = match snooze {
        Snooze::Until(until) if until <= now => {
            let message = alloc::format!("until is {until:?}, which is not in the future; now is {now:?}");
            return Err(Refusal::field(Code::TooSmall, "until", message));
        }
        Snooze::Until(until) => until,
        Snooze::Days(days) => {
            let days = limits::frequency_days("days", days.into())?;
            cadence::snooze_until(&book.rules.policy, days.into(), now)
                .ok_or_else(|| Refusal::field(Code::TooBig, "days", "days reaches beyond the calendar"))?
        }
    };
    let mut after = before.clone();
    after.snoozed_until = Some(until);
    let events = snoozed_events(&before, &after);
    Ok(finish(before, after, events, book, now))
}

pub(super) fn unsnooze(before: Onboarding, book: Book<'_>, now: DateTime<Utc>) -> Decision {
    let mut after = before.clone();
    after.snoozed_until = None;
    let events = snoozed_events(&before, &after);
    finish(before, after, events, book, now)
}

fn snoozed_events(before: &Onboarding, after: &Onboarding) -> Vec<Event> {
    if before.snoozed_until == after.snoozed_until {
        return Vec::new();
    }
    let previous = fields([("snoozed_until", json!(before.snoozed_until))]);
    vec![Event { kind: EventKind::ReminderSnoozed, previous: Some(previous), extra: Map::new() }]
}

pub(super) fn remind(
    before: Onboarding,
    channels: Option<&[Channel]>,
    book: Book<'_>,
    now: DateTime<Utc>,
) -> Result<Decision, Refusal> {
    if before.phase.is_terminal() {
        return Err(Refusal::new(
            Code::OnboardingCompleted,
            "the onboarding is completed; nobody needs to be reminded of it",
        ));
    }
    let remind = RemindNow {
        id: ReminderId::new(now, book.references.random),
        channels: channels.map(<[Channel]>::to_vec),
    };
    Ok(Decision { remind: Some(remind), ..Decision::plain(Record::Onboarding(before), Vec::new()) })
}
