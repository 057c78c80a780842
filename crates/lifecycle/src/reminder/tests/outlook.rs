//! What is said to come is what plan makes of it.

use chrono::{DateTime, Utc};

use super::{
    at,
    audience::{context, ops, staffed},
    date, office, slot,
};
use crate::{
    Onboarding, State,
    customer::CustomerStatus,
    person::User,
    reminder::{CatchUp, DueNow, Gap, Outlook, Policy, Reason, Rules, Slot, outlook, step},
};

fn rules(catch_up: CatchUp) -> Rules {
    Rules { policy: Policy { catch_up, ..office("Europe/Berlin", "09:00") }, ..ops() }
}

/// Reminded daily, with the slot of Monday 2026-11-23 pending.
fn pending() -> (Onboarding, Vec<User>) {
    let (mut it, people) = staffed();
    it.reminders.next_slot = Some(monday().date);
    it.reminders.next_reminder_at = Some(monday().due_at);
    (it, people)
}

fn monday() -> Slot {
    slot("2026-11-23", "2026-11-23T09:00:00+01:00")
}

fn on_time(day: &str) -> DueNow {
    let due_at = at(&format!("{day}T09:00:00+01:00"));
    DueNow { slot: Slot { date: date(day), due_at }, send_after: due_at }
}

fn look(
    rules: &Rules,
    (onboarding, people): &(Onboarding, Vec<User>),
    now: &str,
    after: Option<&str>,
) -> Outlook {
    let context = context(rules, onboarding, people);
    outlook(&context, at(now), after.map(at), 3)
}

fn first_send(outlook: &Outlook) -> Option<DateTime<Utc>> {
    outlook.recipients.as_ref().expect("somebody").first().and_then(|it| it.sends.ok())
}

/// Thursday at noon and in the evening, with nobody there since Monday.
const NOON: &str = "2026-11-26T12:00:00+01:00";
const EVENING: &str = "2026-11-26T20:00:00+01:00";

#[test]
fn what_is_overdue_comes_once_and_late() {
    let found = look(&rules(CatchUp::Once), &pending(), NOON, None);
    let late = DueNow { send_after: at(NOON), ..on_time("2026-11-26") };
    assert_eq!(found.coming, [late, on_time("2026-11-27"), on_time("2026-11-30")]);
    let (first, last) = (date("2026-11-23"), date("2026-11-25"));
    assert_eq!(found.missed, [Gap { reason: Reason::Superseded, first, last, count: 3 }]);
    assert_eq!((found.silence, first_send(&found)), (None, Some(at(NOON))));
}

#[test]
fn what_would_wait_until_the_next_slot_gives_way_to_it() {
    let found = look(&rules(CatchUp::Once), &pending(), EVENING, None);
    assert_eq!(found.coming, ["2026-11-27", "2026-11-30", "2026-12-01"].map(on_time));
    let (first, last) = (date("2026-11-23"), date("2026-11-26"));
    assert_eq!(found.missed, [Gap { reason: Reason::Superseded, first, last, count: 4 }]);
}

#[test]
fn what_is_overdue_is_said_to_be_skipped_where_the_policy_skips() {
    let rules = rules(CatchUp::Skip);
    let found = look(&rules, &pending(), NOON, None);
    assert_eq!(found.coming, ["2026-11-27", "2026-11-30", "2026-12-01"].map(on_time));
    let (first, last) = (date("2026-11-23"), date("2026-11-26"));
    assert_eq!(found.missed, [Gap { reason: Reason::TooLate, first, last, count: 4 }]);
    assert_eq!(first_send(&found), Some(at("2026-11-27T09:00:00+01:00")));
}

#[test]
fn it_is_the_step_that_plan_takes() {
    let (it, _) = pending();
    for catch_up in [CatchUp::Once, CatchUp::Skip] {
        let rules = rules(catch_up);
        for now in ["2026-11-20T12:00:00+01:00", "2026-11-23T09:05:00+01:00", NOON] {
            let planned = step(&rules, &it, CustomerStatus::Active, false, monday(), at(now));
            let Outlook { coming, missed, .. } = look(&rules, &pending(), now, None);
            assert_eq!(missed, planned.gaps, "{catch_up:?} {now}");
            let next = planned.next.map(|slot| DueNow { slot, send_after: slot.due_at });
            let wanted: Vec<DueNow> = planned.due.into_iter().chain(next).collect();
            assert_eq!(coming[..wanted.len()], wanted, "{catch_up:?} {now}");
        }
    }
}

/// A working day that is new does not move what is pending: plan leaves it where it is.
#[test]
fn a_pending_slot_keeps_its_place_before_the_rhythm_s_own() {
    let mut rules = rules(CatchUp::Once);
    rules.policy.working_days = super::EVERY_DAY.to_vec();
    let found = look(&rules, &pending(), "2026-11-20T12:00:00+01:00", None);
    assert_eq!(found.coming, ["2026-11-23", "2026-11-24", "2026-11-25"].map(on_time));
}

#[test]
fn only_what_falls_due_after_an_instant() {
    let rules = rules(CatchUp::Once);
    let now = "2026-11-20T12:00:00+01:00";
    let after = |after| look(&rules, &pending(), now, Some(after)).coming;
    assert_eq!(after("2026-11-22 00:00"), ["2026-11-23", "2026-11-24", "2026-11-25"].map(on_time));
    let later = ["2026-11-24", "2026-11-25", "2026-11-26"].map(on_time);
    assert_eq!(after("2026-11-23T09:00:00+01:00"), later, "the pending slot is due then, not after it");
    assert_eq!(after("2026-12-24 12:00"), ["2026-12-25", "2026-12-28", "2026-12-29"].map(on_time));
    // What is overdue stands for the slot that it is, not for the time at which it is sent.
    let late = look(&rules, &pending(), NOON, Some("2026-11-26 10:00")).coming;
    assert_eq!(late, ["2026-11-27", "2026-11-30", "2026-12-01"].map(on_time));
}

#[test]
fn a_silence_tells_nobody() {
    let rules = rules(CatchUp::Once);
    let (mut it, people) = pending();
    it.state = State::Paused;
    (it.reminders.next_slot, it.reminders.next_reminder_at) = (None, None);
    let found = look(&rules, &(it, people), NOON, None);
    assert_eq!((found.coming, found.silence), (vec![], Some(Reason::Paused)));
    assert_eq!(found.recipients, Err(Reason::Paused));
}
