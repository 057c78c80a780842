//! Steps of the planner: late, missed for long, unwanted meanwhile; spreading.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc, Weekday};
use proptest::prelude::*;

use super::{at, date, model::policies, office, onboarding, slot};
use crate::{
    Onboarding,
    customer::CustomerStatus,
    onboarding::Silent,
    reminder::{
        CatchUp, Channel, DueNow, Gap, Policy, Reason, Rules, Slot, Step, gap, next_reminder, next_slot,
        slots, spread, stable_hash, step,
    },
    state::State,
};

fn berlin() -> Rules {
    Rules { policy: office("Europe/Berlin", "09:00"), ..Rules::default() }
}

fn skipping() -> Rules {
    Rules { policy: Policy { catch_up: CatchUp::Skip, ..berlin().policy }, ..Rules::default() }
}

/// Monday 2026-11-23, the slot that most of the stories are about.
fn monday() -> Slot {
    slot("2026-11-23", "2026-11-23T09:00:00+01:00")
}

fn take(rules: &Rules, it: &Onboarding, pending: Slot, now: &str) -> Step {
    step(rules, it, CustomerStatus::Active, false, pending, at(now))
}

fn run(reason: Reason, first: &str, last: &str, count: u32) -> Gap {
    Gap { reason, first: date(first), last: date(last), count }
}

fn due(slot: Slot, send_after: &str) -> DueNow {
    DueNow { slot, send_after: at(send_after) }
}

fn tuesday() -> Slot {
    slot("2026-11-24", "2026-11-24T09:00:00+01:00")
}

#[test]
fn a_wake_up_some_seconds_late_is_not_late() {
    for rules in [berlin(), skipping()] {
        for now in ["2026-11-23T09:00:00+01:00", "2026-11-23T09:00:05+01:00", "2026-11-23T09:15:00+01:00"] {
            let found = take(&rules, &onboarding("2026-11-20"), monday(), now);
            let wanted = due(monday(), "2026-11-23T09:00:00+01:00");
            assert_eq!(
                found,
                Step { due: Some(wanted), gaps: vec![], next: Some(tuesday()), silent: None },
                "{now}"
            );
        }
    }
}

#[test]
fn down_across_the_slot_sends_one_when_it_is_back() {
    let found = take(&berlin(), &onboarding("2026-11-20"), monday(), "2026-11-23T10:30:00+01:00");
    let wanted = due(monday(), "2026-11-23T10:30:00+01:00");
    assert_eq!(found, Step { due: Some(wanted), gaps: vec![], next: Some(tuesday()), silent: None });
}

#[test]
fn down_for_14_days_sends_one_and_tells_of_the_others() {
    let pending = slot("2026-11-05", "2026-11-05T09:00:00+01:00");
    let found = take(&berlin(), &onboarding("2026-11-04"), pending, "2026-11-23T10:30:00+01:00");
    assert_eq!(found.due, Some(due(monday(), "2026-11-23T10:30:00+01:00")));
    assert_eq!(found.gaps, [run(Reason::Superseded, "2026-11-05", "2026-11-20", 12)]);
    assert_eq!(found.next, Some(tuesday()));
}

#[test]
fn back_at_3_on_a_sunday_sends_on_monday() {
    let friday = slot("2026-11-20", "2026-11-20T09:00:00+01:00");
    let found = take(&berlin(), &onboarding("2026-11-19"), friday, "2026-11-22T03:00:00+01:00");
    assert_eq!(found.due, Some(due(friday, "2026-11-23T09:00:00+01:00")));
    assert_eq!(found.next, Some(monday()));
}

#[test]
fn skip_sends_nothing_late_and_tells_so() {
    let found = take(&skipping(), &onboarding("2026-11-20"), monday(), "2026-11-23T09:15:01+01:00");
    assert_eq!(found.due, None);
    assert_eq!(found.gaps, [run(Reason::TooLate, "2026-11-23", "2026-11-23", 1)]);
    assert_eq!(found.next, Some(tuesday()));
    // What is in time is sent, whatever was missed before.
    let wednesday = slot("2026-11-18", "2026-11-18T09:00:00+01:00");
    let found = take(&skipping(), &onboarding("2026-11-17"), wednesday, "2026-11-23T09:10:00+01:00");
    assert_eq!(found.due, Some(due(monday(), "2026-11-23T09:00:00+01:00")));
    assert_eq!(found.gaps, [run(Reason::TooLate, "2026-11-18", "2026-11-20", 3)]);
}

#[test]
fn twenty_years_down_is_one_reminder() {
    let pending = slot("2006-11-24", "2006-11-24T09:00:00+01:00");
    let found = take(&berlin(), &onboarding("2006-11-23"), pending, "2026-11-23T10:00:00+01:00");
    assert_eq!(found.due, Some(due(monday(), "2026-11-23T10:00:00+01:00")));
    // 1043 weeks of five days, and the Friday before them.
    assert_eq!(found.gaps, [run(Reason::Superseded, "2006-11-24", "2026-11-20", 5216)]);
}

#[test]
fn unwanted_slots_are_told_and_not_sent() {
    let paused = Onboarding { state: State::Paused, ..onboarding("2026-11-17") };
    let wednesday = slot("2026-11-18", "2026-11-18T09:00:00+01:00");
    let now = "2026-11-23T09:00:01+01:00";
    let found = take(&berlin(), &paused, wednesday, now);
    let silent = Some(Silent { reason: Reason::Paused, since: at(now) });
    let gaps = vec![run(Reason::Paused, "2026-11-18", "2026-11-23", 4)];
    assert_eq!(found, Step { due: None, gaps, next: None, silent });

    let it = onboarding("2026-11-17");
    let churned = step(&berlin(), &it, CustomerStatus::Churned, false, monday(), at(now));
    assert_eq!((churned.due, churned.next), (None, None));
    assert_eq!(churned.gaps, [run(Reason::CustomerInactive, "2026-11-23", "2026-11-23", 1)]);
    let deleted = step(&berlin(), &it, CustomerStatus::Active, true, monday(), at(now));
    assert_eq!(deleted.gaps, [run(Reason::CustomerDeleted, "2026-11-23", "2026-11-23", 1)]);
}

#[test]
fn slots_in_a_snooze_are_told_and_the_next_is_after_it() {
    let until = |end: &str| Onboarding { snoozed_until: Some(at(end)), ..onboarding("2026-11-17") };
    let it = until("2026-11-26T00:00:00+01:00");
    let found = take(&berlin(), &it, monday(), "2026-11-23T09:00:01+01:00");
    assert_eq!(found.due, None);
    assert_eq!(found.gaps, [run(Reason::Snoozed, "2026-11-23", "2026-11-23", 1)]);
    assert_eq!(found.next, Some(slot("2026-11-26", "2026-11-26T09:00:00+01:00")));
    assert_eq!(found.silent.map(|silent| silent.reason), Some(Reason::Snoozed));
    // Nobody was there until after the snooze: what fell into it stays unsent, what came after it is caught up on.
    let found = take(&berlin(), &it, monday(), "2026-11-27T12:00:00+01:00");
    let friday = slot("2026-11-27", "2026-11-27T09:00:00+01:00");
    assert_eq!(found.due, Some(due(friday, "2026-11-27T12:00:00+01:00")));
    let snoozed = run(Reason::Snoozed, "2026-11-23", "2026-11-25", 3);
    assert_eq!(found.gaps, [snoozed, run(Reason::Superseded, "2026-11-26", "2026-11-26", 1)]);
    // Over since before the next slot.
    let found = take(&berlin(), &it, monday(), "2026-11-26T00:00:00+01:00");
    assert_eq!((found.due, found.gaps, found.silent), (None, vec![snoozed], None));
}

#[test]
fn what_another_policy_puts_between_the_end_of_a_snooze_and_its_slot_is_not_called_snoozed() {
    // Friday was the first slot after the snooze. Since then Wednesday and Thursday have become working days.
    let mut it = onboarding("2026-11-20");
    it.snoozed_until = Some(at("2026-11-25T00:00:00+01:00"));
    it.reminders.silent = Some(Silent { reason: Reason::Snoozed, since: at("2026-11-23T12:00:00+01:00") });
    let friday = slot("2026-11-27", "2026-11-27T09:00:00+01:00");
    let found = take(&berlin(), &it, friday, "2026-11-27T09:00:01+01:00");
    assert_eq!(found.gaps, [run(Reason::Snoozed, "2026-11-24", "2026-11-24", 1)]);
    assert_eq!(found.due.map(|due| due.slot), Some(friday));
}

#[test]
fn what_a_silence_swallowed_is_told_when_it_ends() {
    let mut it = onboarding("2026-11-10");
    it.snoozed_until = Some(at("2026-11-23T00:00:00+01:00"));
    it.reminders.silent = Some(Silent { reason: Reason::Snoozed, since: at("2026-11-17T14:00:00+01:00") });
    let found = take(&berlin(), &it, monday(), "2026-11-23T09:00:00+01:00");
    assert_eq!(found.due, Some(due(monday(), "2026-11-23T09:00:00+01:00")));
    assert_eq!(found.gaps, [run(Reason::Snoozed, "2026-11-18", "2026-11-20", 3)]);
    assert_eq!(found.silent, None);
    // Before it is due, nothing is told yet.
    let early = take(&berlin(), &it, monday(), "2026-11-23T08:59:59+01:00");
    let wanted = Step { due: None, gaps: vec![], next: Some(monday()), silent: it.reminders.silent };
    assert_eq!(early, wanted);
}

#[test]
fn a_row_from_before_a_change_of_zone_is_set_right() {
    let tokyo = slot("2026-11-23", "2026-11-23T09:00:00+09:00");
    let found = take(&berlin(), &onboarding("2026-11-17"), tokyo, "2026-11-23T09:00:00+09:00");
    assert_eq!(found, Step { due: None, gaps: vec![], next: Some(monday()), silent: None });
    let new_york = slot("2026-11-23", "2026-11-23T09:00:00-05:00");
    let found = take(&berlin(), &onboarding("2026-11-17"), new_york, "2026-11-23T09:00:00-05:00");
    assert_eq!(found.due, Some(due(monday(), "2026-11-23T15:00:00+01:00")));
}

#[test]
fn a_pending_slot_beside_the_rhythm_is_kept() {
    // Its date was kept over a change of working days; the rhythm's own slots are Mondays.
    let weekly = Onboarding { reminder_frequency_days: 7, ..onboarding("2026-11-16") };
    let found = take(&berlin(), &weekly, tuesday(), "2026-11-24T09:00:00+01:00");
    assert_eq!(found.due, Some(due(tuesday(), "2026-11-24T09:00:00+01:00")));
    assert_eq!(found.gaps, []);
    assert_eq!(found.next, Some(slot("2026-11-30", "2026-11-30T09:00:00+01:00")));
}

#[test]
fn a_date_that_was_kept_is_not_made_up_for() {
    // Pending for a Friday when Fridays became days off; by the new policy its nominal date would roll to Monday.
    let mut rules = berlin();
    rules.policy.working_days.retain(|day| *day != Weekday::Fri);
    let mut weekly = Onboarding { reminder_frequency_days: 7, ..onboarding("2026-11-20") };
    let friday = slot("2026-11-27", "2026-11-27T09:00:00+01:00");
    let next = slot("2026-12-07", "2026-12-07T09:00:00+01:00");
    let found = take(&rules, &weekly, friday, "2026-11-27T09:00:00+01:00");
    assert_eq!((found.due, found.next), (Some(due(friday, "2026-11-27T09:00:00+01:00")), Some(next)));
    // Nor by what changes before then.
    weekly.reminders.last_slot = Some(friday.date);
    let found = next_reminder(&rules, &weekly, CustomerStatus::Active, false, at("2026-11-28 12:00"));
    assert_eq!(found, Ok(next));
    // Of a Friday that nobody was reminded of, Monday is the slot.
    weekly.reminders.last_slot = None;
    let found = next_reminder(&rules, &weekly, CustomerStatus::Active, false, at("2026-11-28 12:00"));
    assert_eq!(found, Ok(slot("2026-11-30", "2026-11-30T09:00:00+01:00")));
}

#[test]
fn a_gap_counts_what_was_due_in_it() {
    let it = onboarding("2026-11-10");
    let policy = berlin().policy;
    let found = |after, until| gap(&policy, &it, Reason::Paused, at(after), at(until));
    let whole = found("2026-11-17T09:00:00+01:00", "2026-11-23T09:00:00+01:00");
    assert_eq!(whole, Some(run(Reason::Paused, "2026-11-18", "2026-11-23", 4)));
    assert_eq!(found("2026-11-20T09:00:00+01:00", "2026-11-23T08:59:59+01:00"), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whenever the planner runs, every slot ends as a reminder or in a gap, once, and none is sent twice.
    #[test]
    fn every_slot_is_accounted_for_however_often_nobody_is_there(
        policy in policies(), skip in any::<bool>(), every_days in 1_u16..20,
        naps in prop::collection::vec(1_i64..2_000_000, 1..12),
    ) {
        let catch_up = if skip { CatchUp::Skip } else { CatchUp::Once };
        let base = date("2026-01-15");
        let rules = Rules { policy: Policy { catch_up, ..policy }, ..Rules::default() };
        let it = Onboarding { reminder_frequency_days: every_days, ..onboarding("2026-01-15") };
        let start = it.created_at;
        let mut pending = next_slot(&rules.policy, base, every_days, start).expect("goes on");
        let mut now: DateTime<Utc> = start;
        let (mut told, mut sent) = (0, BTreeSet::new());
        for nap in naps {
            now += TimeDelta::seconds(nap);
            let step = step(&rules, &it, CustomerStatus::Active, false, pending, now);
            told += step.gaps.iter().map(|gap| gap.count).sum::<u32>();
            if let Some(due) = step.due {
                prop_assert!(sent.insert(due.slot), "{} twice", due.slot.date);
                prop_assert!(due.slot.due_at <= now && due.send_after >= due.slot.due_at);
                prop_assert!(!skip || now - due.slot.due_at <= TimeDelta::minutes(15));
            }
            pending = step.next.expect("goes on");
            prop_assert!(pending.due_at > now);
        }
        let passed = slots(&rules.policy, base, every_days, start).take_while(|slot| slot.due_at <= now).count();
        prop_assert_eq!(usize::try_from(told).expect("small") + sent.len(), passed);
    }
}

#[test]
fn spreading_uses_all_of_its_minutes() {
    let policy = Policy { spread_minutes: 60, ..berlin().policy };
    let from = at("2026-11-23T09:00:00+01:00");
    let minutes =
        |number: u32| (spread(&policy, from, &format!("user:{number}"), Channel::Email) - from).num_minutes();
    let mut hits = [0_u32; 6];
    for number in 0..6000 {
        hits[usize::try_from(minutes(number) / 10).expect("within the hour")] += 1;
    }
    assert!(hits.iter().all(|hits| (900..1100).contains(hits)), "{hits:?}");
    assert_eq!(spread(&berlin().policy, from, "user:1", Channel::Email), from);
    // Late in the day the rest of the day is what there is.
    let evening = at("2026-11-23T23:50:00+01:00");
    assert!(spread(&policy, evening, "user:1", Channel::Slack) < at("2026-11-24T00:00:00+01:00"));
}

#[test]
fn the_hash_is_for_ever() {
    assert_eq!(stable_hash(&["email", "user:1"]), 422_220_320_924_537_981);
    assert_ne!(stable_hash(&["ab", "c"]), stable_hash(&["a", "bc"]));
}
