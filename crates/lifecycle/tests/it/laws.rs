//! The laws, over whole lives.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::{Map, Value};
use usher_lifecycle::{
    Book, Command, Current, Decision, Onboarding, Phase, Record, State,
    command::References,
    customer::CustomerStatus,
    decide,
    event::{Actor, EventKind},
    reminder::{Rules, Schedule, next_reminder, reschedule},
    wire,
};

use crate::{
    create, monday, nothing, references,
    world::{Happening, covers, creates, lives, pending, plan, rules},
};

/// The order in which the events of one command come.
const ORDER: [EventKind; 7] = [
    EventKind::OnboardingUpdated,
    EventKind::OnboardingPhaseChanged,
    EventKind::OnboardingStateChanged,
    EventKind::OnboardingAtRisk,
    EventKind::OnboardingBackOnTrack,
    EventKind::OnboardingLaunched,
    EventKind::OnboardingCompleted,
];

/// Outside the version, or told by its growth.
const BOOKKEEPING: [&str; 4] = ["version", "updated_at", "next_reminder_at", "last_reminded_at"];

/// Follow from the state.
const WAITING: [&str; 2] = ["waiting_on_customer", "waiting_on_customer_since"];

fn object(it: &Onboarding) -> Map<String, Value> {
    let Value::Object(fields) = wire::value(&wire::OnboardingObject::from(it)) else { panic!("an object") };
    fields
}

fn without(mut fields: Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    fields.retain(|name, _| !names.contains(&name.as_str()));
    fields
}

fn waiting_is_one_fact(it: &Onboarding) {
    let shown = object(it);
    let waiting = it.state == State::Waiting;
    assert_eq!(it.waiting_since.is_some(), waiting);
    assert_eq!(shown["waiting_on_customer"], waiting);
    assert_eq!(shown["waiting_on_customer_since"].is_null(), !waiting);
    assert_eq!(it.hidden.idle_since.is_some(), it.state.is_idle());
}

fn completed_absorbs(before: &Onboarding, after: &Onboarding) {
    if before.phase.is_terminal() {
        let fixed = |it: &Onboarding| (it.phase, it.state, it.completed_at, it.waiting_since);
        assert_eq!(fixed(after), fixed(before));
    }
    assert_eq!(after.completed_at.is_some(), after.phase.is_terminal());
}

fn version_counts_effects(before: &Onboarding, after: &Onboarding, decision: &Decision, now: DateTime<Utc>) {
    if decision.events.is_empty() {
        assert_eq!(after, before);
        assert_eq!(decision.schedule, Schedule::Keep);
    } else {
        let later = now.max(before.updated_at + TimeDelta::microseconds(1));
        assert_eq!((after.version, after.updated_at), (before.version + 1, later));
    }
    let fixed =
        |it: &Onboarding| (it.id, it.workspace_id, it.livemode, it.display_id, it.customer_id, it.created_at);
    assert_eq!(fixed(after), fixed(before));
}

fn events_tell_exactly_what_changed(before: &Onboarding, after: &Onboarding, decision: &Decision) {
    let place = |kind| ORDER.iter().position(|it| *it == kind);
    let kinds: Vec<_> = decision.events.iter().map(|event| event.kind).collect();
    if let [EventKind::ReminderSnoozed | EventKind::OnboardingDeleted] = kinds[..] {
        // Commands of their own.
    } else {
        let places: Vec<_> = kinds.iter().map(|kind| place(*kind).expect("of a change")).collect();
        assert!(places.is_sorted_by(|a, b| a < b), "{kinds:?}");
    }
    if kinds == [EventKind::OnboardingDeleted] {
        assert_eq!(decision.events[0].previous, None);
        let (old, new) = (object(before), object(after));
        assert_eq!(without(old, &BOOKKEEPING), without(new, &BOOKKEEPING));
        return;
    }
    let told: Map<String, Value> =
        decision.events.iter().flat_map(|event| event.previous.clone().expect("has a before")).collect();
    let new = object(after);
    let changed = object(before).into_iter().filter(|(name, old)| new[name] != *old).collect();
    assert_eq!(told, without(without(changed, &BOOKKEEPING), &WAITING));
    let has = |kind| kinds.contains(&kind);
    assert_eq!(has(EventKind::OnboardingPhaseChanged), before.phase != after.phase);
    assert_eq!(has(EventKind::OnboardingStateChanged), before.state != after.state);
    let became = |state| before.state != state && after.state == state;
    assert_eq!(has(EventKind::OnboardingAtRisk), became(State::AtRisk));
    assert_eq!(
        has(EventKind::OnboardingBackOnTrack),
        before.state == State::AtRisk && after.state != State::AtRisk
    );
}

/// Whoever only has the events has the onboarding.
fn replay(log: &[Value], after: &Onboarding) {
    let mut known = Map::new();
    for data in log {
        let Value::Object(next) = &data["object"] else { panic!("{data}") };
        if let Value::Object(previous) = &data["previous_attributes"] {
            for (name, old) in previous {
                // Several events of one command carry the same object: the first of them brings the change.
                assert!(known["version"] == next["version"] || known[name] == *old, "{name}: {data}");
            }
        }
        known.clone_from(next);
    }
    let deleted = after.hidden.deleted_at.is_some();
    let now = if deleted {
        let Value::Object(gone) = Record::Onboarding(after.clone()).object() else { panic!("an object") };
        gone
    } else {
        object(after)
    };
    // The schedule is outside the version.
    assert_eq!(without(known, &BOOKKEEPING[2..]), without(now, &BOOKKEEPING[2..]));
}

/// What a change of schedule may do: nothing that was due is dropped, and the answer is the cadence's.
fn schedule_drops_nothing(
    rules: &Rules,
    before: &Onboarding,
    after: &Onboarding,
    schedule: &Schedule,
    customer: Option<CustomerStatus>,
    now: DateTime<Utc>,
) {
    let status = customer.unwrap_or(CustomerStatus::Onboarding);
    let refuses = next_reminder(rules, after, status, customer.is_none(), now).is_err();
    assert_eq!(after.reminders.next_reminder_at.is_none(), refuses, "{:?}", after.reminders);
    assert_eq!(after.reminders.next_slot.is_none(), refuses);
    assert_eq!(after.reminders.last_slot, before.reminders.last_slot);
    let Schedule::Set { next, silent, gaps } = schedule else {
        assert_eq!(after.reminders, before.reminders);
        return;
    };
    assert_eq!((*next, *silent), (pending(after), after.reminders.silent));
    let Some(due) = pending(before).filter(|slot| slot.due_at <= now) else { return };
    let stays = *next == Some(due);
    let told = gaps.iter().flatten().any(|gap| covers(*gap, due.date));
    // Part of a silence that goes on, and is told when it ends.
    let within = silent.is_some_and(|silent| silent.since < due.due_at);
    assert!(stays || told || within, "{due:?} is dropped: {schedule:?}");
    assert!(!(stays && told), "{due:?} is told and kept: {schedule:?}");
}

fn unrelated_fields_leave_the_schedule(
    command: &Command,
    schedule: &Schedule,
    before: &Onboarding,
    now: DateTime<Utc>,
) {
    let Command::ChangeOnboarding(patch) = command else { return };
    let related = patch.state.is_some()
        || patch.waiting_on_customer.is_some()
        || patch.phase.is_some_and(Phase::is_terminal)
        || patch.started_at.is_some()
        || patch.reminder_email.is_some()
        || patch.reminder_slack.is_some()
        || patch.reminder_frequency_days.is_some()
        // A shift may set the state, but to at_risk only, which is reminded as before.
        || before.created_at > now;
    assert!(related || *schedule == Schedule::Keep, "{patch:?}: {schedule:?}");
}

struct Life {
    it: Onboarding,
    customer: Option<CustomerStatus>,
    log: Vec<Value>,
}

fn step(life: &mut Life, rules: &Rules, happening: &Happening, now: DateTime<Utc>) {
    let before = life.it.clone();
    match happening {
        Happening::Plan => {
            plan(rules, &mut life.it, life.customer, now);
        }
        Happening::Customer(status) => {
            // A deleted customer does not come back, and a deleted onboarding is asked no more.
            if life.customer.is_some() && before.hidden.deleted_at.is_none() {
                life.customer = *status;
                let schedule = reschedule(rules, &mut life.it, life.customer, now);
                schedule_drops_nothing(rules, &before, &life.it, &schedule, life.customer, now);
                let fields = |it: &Onboarding| Onboarding { reminders: before.reminders, ..it.clone() };
                assert_eq!(fields(&life.it), before, "reschedule changes nothing but the schedule");
            }
        }
        Happening::Command(command) => {
            let known = references();
            let customer = known.customer.and_then(|(id, _)| Some((id, life.customer?)));
            let references = References { customer, ..known };
            let current = Current::Record(Record::Onboarding(before.clone()));
            // A refusal has nothing in it that could be written.
            let Ok(decision) = decide(current, command, Book { rules, references: &references }, now) else {
                return;
            };
            let Record::Onboarding(after) = &decision.record else { panic!("{:?}", decision.record) };
            completed_absorbs(&before, after);
            version_counts_effects(&before, after, &decision, now);
            events_tell_exactly_what_changed(&before, after, &decision);
            waiting_is_one_fact(after);
            if before.hidden.deleted_at.is_none() {
                schedule_drops_nothing(rules, &before, after, &decision.schedule, life.customer, now);
            }
            unrelated_fields_leave_the_schedule(command, &decision.schedule, &before, now);
            let object = decision.record.object();
            life.log.extend(decision.events.iter().map(|event| event.data(&object, &Actor::system())));
            life.it = after.clone();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_laws_hold_over_whole_lives(rules in rules(), create in creates(), life in lives()) {
        let references = references();
        let command = Command::CreateOnboarding(create);
        let book = Book { rules: &rules, references: &references };
        let made = decide(nothing(), &command, book, monday()).expect("is legal");
        let Record::Onboarding(it) = &made.record else { panic!("{:?}", made.record) };
        prop_assert_eq!(it.version, 1);
        prop_assert_eq!(crate::kinds(&made), [EventKind::OnboardingCreated]);
        waiting_is_one_fact(it);
        let customer = references.customer.map(|(_, status)| status);
        let unborn = Onboarding { reminders: usher_lifecycle::onboarding::Reminded::default(), ..it.clone() };
        schedule_drops_nothing(&rules, &unborn, it, &made.schedule, customer, monday());

        let created = made.events[0].data(&made.record.object(), &Actor::system());
        let mut now = monday();
        let mut lived = Life { it: it.clone(), customer, log: vec![created] };
        for (nap, happening) in life {
            now += nap;
            step(&mut lived, &rules, &happening, now);
        }
        replay(&lived.log, &lived.it);
    }

    /// Processes get the record in another order than they took their instants. Its own times follow the version all
    /// the same; its reminders go by the instants as they came.
    #[test]
    fn times_grow_with_the_version_whatever_the_clocks_say(
        rules in rules(), made in creates(), life in lives(), skews in prop::collection::vec(-7_200..7_200_i64, 40),
    ) {
        let (references, clock) = (references(), monday() + TimeDelta::days(1));
        let mut it = create(made, monday());
        for ((_, happening), skew) in life.iter().zip(skews) {
            let Happening::Command(command) = happening else { continue };
            let now = clock + TimeDelta::seconds(skew);
            let asked = |it: &Onboarding| {
                let current = Current::Record(Record::Onboarding(it.clone()));
                decide(current, command, Book { rules: &rules, references: &references }, now).ok()
            };
            // As if its last change had been long ago.
            let unhurried = asked(&Onboarding { updated_at: monday(), ..it.clone() });
            let Some(decision) = asked(&it) else { continue };
            let Record::Onboarding(after) = &decision.record else { panic!("{:?}", decision.record) };
            if !decision.events.is_empty() {
                prop_assert!(after.updated_at > it.updated_at);
                let entered = [after.completed_at, after.waiting_since, after.hidden.deleted_at, after.hidden.idle_since];
                prop_assert!(entered.into_iter().flatten().all(|at| at <= after.updated_at));
            }
            let Some(Decision { record: Record::Onboarding(calm), schedule, .. }) = unhurried else { panic!("was refused") };
            prop_assert_eq!((after.reminders, decision.schedule), (calm.reminders, schedule));
            it = after.clone();
        }
    }
}
