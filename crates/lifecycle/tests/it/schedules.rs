//! What commands do to the schedule, by example. By default reminders are daily at 09:00 UTC from Monday to Friday; an
//! onboarding that is made on Monday at 08:00 has its first slot on Tuesday.

use chrono::{DateTime, NaiveDate, Utc};
use usher_lifecycle::{
    Code, Command, Onboarding, Phase, State,
    command::{OnboardingPatch, Snooze},
    customer::CustomerStatus,
    event::EventKind,
    onboarding::Silent,
    reminder::{Gap, Policy, Reason, Rules, Schedule, Slot, reschedule, zone},
};

use crate::{ask, at, change, kinds, standing};

fn date(text: &str) -> NaiveDate {
    text.parse().expect(text)
}

fn slot(day: &str) -> Slot {
    Slot { date: date(day), due_at: at(&format!("{day} 09:00")) }
}

fn run(reason: Reason, first: &str, last: &str, count: u32) -> Gap {
    Gap { reason, first: date(first), last: date(last), count }
}

fn set(next: &str, gap: Option<Gap>) -> Schedule {
    Schedule::Set { next: Some(slot(next)), silent: None, gaps: [gap, None] }
}

fn silent(reason: Reason, since: &str, gap: Option<Gap>) -> Schedule {
    Schedule::Set { next: None, silent: Some(Silent { reason, since: at(since) }), gaps: [gap, None] }
}

fn active() -> Onboarding {
    standing(Phase::Review, State::Active)
}

fn patch(it: &Onboarding, patch: OnboardingPatch, now: &str) -> (Onboarding, Schedule) {
    let (after, decision) = change(it, patch, at(now));
    (after, decision.schedule)
}

fn command(it: &Onboarding, command: &Command, now: &str) -> (Onboarding, Schedule) {
    let (after, decision) = ask(&Rules::default(), it, command, at(now)).expect("is legal");
    (after, decision.schedule)
}

fn state(state: State) -> OnboardingPatch {
    OnboardingPatch { state: Some(state), ..OnboardingPatch::default() }
}

fn every(days: u16) -> OnboardingPatch {
    OnboardingPatch { reminder_frequency_days: Some(days), ..OnboardingPatch::default() }
}

fn with_customer(it: &Onboarding, status: Option<CustomerStatus>, now: &str) -> (Onboarding, Schedule) {
    let mut after = it.clone();
    let schedule = reschedule(&Rules::default(), &mut after, status, at(now));
    (after, schedule)
}

#[test]
fn the_first_slot_is_one_rhythm_after_the_start() {
    assert_eq!(active().reminders.next_slot, Some(date("2026-11-03")));
    assert_eq!(active().reminders.next_reminder_at, Some(at("2026-11-03 09:00")));
    let paused = standing(Phase::Review, State::Paused).reminders;
    let since = Some(Silent { reason: Reason::Paused, since: crate::monday() });
    assert_eq!((paused.next_reminder_at, paused.silent), (None, since));
}

#[test]
fn paused_over_slots_and_resumed_in_the_afternoon() {
    let (paused, schedule) = patch(&active(), state(State::Paused), "2026-11-02 12:00");
    assert_eq!(schedule, silent(Reason::Paused, "2026-11-02 12:00", None));
    let (_, schedule) = patch(&paused, state(State::Active), "2026-11-05 15:00");
    let gap = run(Reason::Paused, "2026-11-03", "2026-11-05", 3);
    assert_eq!(schedule, set("2026-11-06", Some(gap)));
}

#[test]
fn notes_do_not_move_the_schedule_even_when_it_is_overdue() {
    let notes = OnboardingPatch { notes: Some(Some("n".into())), ..OnboardingPatch::default() };
    for now in ["2026-11-02 12:00", "2026-11-03 10:00", "2026-12-24 10:00"] {
        let (after, schedule) = patch(&active(), notes.clone(), now);
        assert_eq!((schedule, after.reminders), (Schedule::Keep, active().reminders));
    }
}

#[test]
fn at_risk_and_back_leaves_the_schedule() {
    let (risky, schedule) = patch(&active(), state(State::AtRisk), "2026-11-02 12:00");
    assert_eq!(schedule, Schedule::Keep);
    assert_eq!(patch(&risky, state(State::Waiting), "2026-11-02 12:00").1, Schedule::Keep);
}

#[test]
fn one_channel_of_two_is_enough() {
    let email = OnboardingPatch { reminder_email: Some(false), ..OnboardingPatch::default() };
    let (one, schedule) = patch(&active(), email, "2026-11-02 12:00");
    assert_eq!(schedule, Schedule::Keep);
    let slack = OnboardingPatch { reminder_slack: Some(false), ..OnboardingPatch::default() };
    let (none, schedule) = patch(&one, slack, "2026-11-02 12:00");
    assert_eq!(schedule, silent(Reason::ChannelsOff, "2026-11-02 12:00", None));
    assert_eq!(none.reminders.next_reminder_at, None);
}

#[test]
fn a_new_rhythm_while_nobody_is_there_loses_no_slot_of_the_old_one() {
    // Tuesday to Thursday were due and nobody planned them; on Thursday the rhythm becomes weekly.
    let (_, schedule) = patch(&active(), every(7), "2026-11-05 12:00");
    assert_eq!(schedule, set("2026-11-05", Some(run(Reason::Superseded, "2026-11-03", "2026-11-04", 2))));
    // Before nine, Wednesday's is the latest.
    let (_, schedule) = patch(&active(), every(7), "2026-11-05 08:00");
    assert_eq!(schedule, set("2026-11-04", Some(run(Reason::Superseded, "2026-11-03", "2026-11-03", 1))));
}

#[test]
fn a_change_of_frequency_counts_from_the_last_reminder() {
    let mut it = active();
    it.reminders.last_slot = Some(date("2026-11-04"));
    it.reminders.next_slot = Some(date("2026-11-05"));
    it.reminders.next_reminder_at = Some(at("2026-11-05 09:00"));
    let (weekly, schedule) = patch(&it, every(7), "2026-11-04 12:00");
    assert_eq!(schedule, set("2026-11-11", None));
    let (_, schedule) = patch(&weekly, every(1), "2026-11-04 13:00");
    assert_eq!(schedule, set("2026-11-05", None));
}

#[test]
fn a_change_of_frequency_leaves_what_is_due_to_the_planner() {
    let (after, schedule) = patch(&active(), every(7), "2026-11-03 10:00");
    assert_eq!((schedule, after.reminders.next_slot), (Schedule::Keep, Some(date("2026-11-03"))));
}

#[test]
fn a_change_of_the_start_moves_the_rhythm() {
    let (weekly, _) = patch(&active(), every(7), "2026-11-02 12:00");
    assert_eq!(weekly.reminders.next_slot, Some(date("2026-11-09")));
    let start = OnboardingPatch { started_at: Some(at("2026-10-29 12:00")), ..OnboardingPatch::default() };
    assert_eq!(patch(&weekly, start, "2026-11-02 12:00").1, set("2026-11-05", None));
    // Another hour of the same day is the same rhythm.
    let hour = OnboardingPatch { started_at: Some(at("2026-11-02 07:00")), ..OnboardingPatch::default() };
    assert_eq!(patch(&weekly, hour, "2026-11-02 12:00").1, Schedule::Keep);
}

#[test]
fn pausing_what_is_due_tells_it_even_when_the_rhythm_changes_with_it() {
    let told = Some(run(Reason::Paused, "2026-11-03", "2026-11-03", 1));
    let (_, schedule) = patch(&active(), state(State::Paused), "2026-11-03 10:00");
    assert_eq!(schedule, silent(Reason::Paused, "2026-11-03 10:00", told));
    let both = OnboardingPatch { state: Some(State::Paused), ..every(30) };
    let (_, schedule) = patch(&active(), both, "2026-11-03 10:00");
    assert_eq!(schedule, silent(Reason::Paused, "2026-11-03 10:00", told));
}

#[test]
fn a_new_rhythm_within_a_pause_tells_what_the_old_one_missed() {
    let (paused, _) = patch(&active(), state(State::Paused), "2026-11-02 12:00");
    let (weekly, schedule) = patch(&paused, every(7), "2026-11-05 12:00");
    let told = run(Reason::Paused, "2026-11-03", "2026-11-05", 3);
    assert_eq!(schedule, silent(Reason::Paused, "2026-11-05 12:00", Some(told)));
    let (_, schedule) = patch(&weekly, state(State::Active), "2026-11-06 12:00");
    assert_eq!(schedule, set("2026-11-09", None));
}

#[test]
fn what_was_missed_after_a_snooze_is_not_called_snoozed_when_it_is_completed() {
    let snooze = Command::SnoozeOnboarding(Snooze::Days(2));
    let (snoozed, _) = command(&active(), &snooze, "2026-11-02 12:00");
    assert_eq!(snoozed.reminders.next_slot, Some(date("2026-11-04")));
    // Nobody was there to plan Wednesday and Thursday.
    let done = OnboardingPatch { phase: Some(Phase::Completed), ..OnboardingPatch::default() };
    let (_, schedule) = patch(&snoozed, done, "2026-11-05 12:00");
    let gaps = [
        Some(run(Reason::Snoozed, "2026-11-03", "2026-11-03", 1)),
        Some(run(Reason::Completed, "2026-11-04", "2026-11-05", 2)),
    ];
    let since = Silent { reason: Reason::Completed, since: at("2026-11-05 12:00") };
    assert_eq!(schedule, Schedule::Set { next: None, silent: Some(since), gaps });
}

#[test]
fn what_was_missed_after_a_snooze_is_told_when_a_pause_begins_that_may_never_end() {
    let snooze = Command::SnoozeOnboarding(Snooze::Days(2));
    let (snoozed, _) = command(&active(), &snooze, "2026-11-02 12:00");
    // Nobody was there to plan Wednesday and Thursday.
    let (paused, schedule) = patch(&snoozed, state(State::Paused), "2026-11-05 12:00");
    let gaps = [
        Some(run(Reason::Snoozed, "2026-11-03", "2026-11-03", 1)),
        Some(run(Reason::Paused, "2026-11-04", "2026-11-05", 2)),
    ];
    let since = Silent { reason: Reason::Paused, since: at("2026-11-05 12:00") };
    assert_eq!(schedule, Schedule::Set { next: None, silent: Some(since), gaps });
    // The pause tells of its own slots only.
    let (_, schedule) = patch(&paused, state(State::Active), "2026-11-06 12:00");
    assert_eq!(schedule, set("2026-11-09", Some(run(Reason::Paused, "2026-11-06", "2026-11-06", 1))));
    // Before Wednesday's slot nothing is missed, and one silence goes on as the other.
    let (_, schedule) = patch(&snoozed, state(State::Paused), "2026-11-04 08:00");
    assert_eq!(schedule, silent(Reason::Paused, "2026-11-02 12:00", None));
}

#[test]
fn a_new_rhythm_after_a_snooze_loses_no_slot_of_the_old_one() {
    let snooze = Command::SnoozeOnboarding(Snooze::Days(2));
    let (snoozed, _) = command(&active(), &snooze, "2026-11-02 12:00");
    // Wednesday to Friday were due and nobody planned them; then the rhythm becomes weekly.
    let (_, schedule) = patch(&snoozed, every(7), "2026-11-06 12:00");
    let gaps = [
        Some(run(Reason::Snoozed, "2026-11-03", "2026-11-03", 1)),
        Some(run(Reason::Superseded, "2026-11-04", "2026-11-05", 2)),
    ];
    assert_eq!(schedule, Schedule::Set { next: Some(slot("2026-11-06")), silent: None, gaps });
}

#[test]
fn a_snooze_is_silent_until_local_midnight_and_tells_at_its_end() {
    let (snoozed, schedule) =
        command(&active(), &Command::SnoozeOnboarding(Snooze::Days(3)), "2026-11-02 12:00");
    assert_eq!(snoozed.snoozed_until, Some(at("2026-11-05 00:00")));
    let quiet = Some(Silent { reason: Reason::Snoozed, since: at("2026-11-02 12:00") });
    assert_eq!(schedule, Schedule::Set { next: Some(slot("2026-11-05")), silent: quiet, gaps: [None, None] });
    let (_, schedule) = command(&snoozed, &Command::UnsnoozeOnboarding, "2026-11-04 15:00");
    let gap = run(Reason::Snoozed, "2026-11-03", "2026-11-04", 2);
    assert_eq!(schedule, set("2026-11-05", Some(gap)));
}

#[test]
fn snoozing_what_is_due_tells_it() {
    let (_, schedule) = command(&active(), &Command::SnoozeOnboarding(Snooze::Days(1)), "2026-11-03 09:05");
    let quiet = Some(Silent { reason: Reason::Snoozed, since: at("2026-11-03 09:05") });
    let gap = Some(run(Reason::Snoozed, "2026-11-03", "2026-11-03", 1));
    assert_eq!(schedule, Schedule::Set { next: Some(slot("2026-11-04")), silent: quiet, gaps: [gap, None] });
}

#[test]
fn the_slot_after_a_snooze_is_sent_though_it_is_overdue_when_something_changes() {
    let (snoozed, _) = command(&active(), &Command::SnoozeOnboarding(Snooze::Days(3)), "2026-11-02 12:00");
    let (after, schedule) = command(&snoozed, &Command::UnsnoozeOnboarding, "2026-11-05 10:00");
    assert_eq!((schedule, after.reminders.next_slot), (Schedule::Keep, Some(date("2026-11-05"))));
    // With a new rhythm, what the snooze swallowed by the old one is told; the slot stays.
    let (_, schedule) = patch(&snoozed, every(7), "2026-11-05 10:00");
    let gap = run(Reason::Snoozed, "2026-11-03", "2026-11-04", 2);
    assert_eq!(schedule, set("2026-11-05", Some(gap)));
}

#[test]
fn a_snooze_has_an_end_in_the_future() {
    let refuse = |snooze| {
        let refusal = ask(&Rules::default(), &active(), &Command::SnoozeOnboarding(snooze), crate::monday());
        let refusal = refusal.expect_err("is not legal");
        (refusal.code, refusal.field.expect("names its field"))
    };
    assert_eq!(refuse(Snooze::Until(crate::monday())), (Code::TooSmall, "until".into()));
    assert_eq!(refuse(Snooze::Days(0)), (Code::TooSmall, "days".into()));
    assert_eq!(refuse(Snooze::Days(366)), (Code::TooBig, "days".into()));
    let until: DateTime<Utc> = at("2026-11-05 00:00");
    let snooze = Command::SnoozeOnboarding(Snooze::Until(until));
    let (once, decision) = ask(&Rules::default(), &active(), &snooze, crate::monday()).expect("is legal");
    assert_eq!((once.version, kinds(&decision)), (2, vec![EventKind::ReminderSnoozed]));
    let (twice, decision) = ask(&Rules::default(), &once, &snooze, crate::monday()).expect("is legal");
    assert_eq!((twice, kinds(&decision)), (once, vec![]));
}

#[test]
fn completing_tells_what_a_pause_swallowed_and_nothing_ever_after() {
    let (paused, _) = patch(&active(), state(State::Paused), "2026-11-02 12:00");
    let done = OnboardingPatch { phase: Some(Phase::Completed), ..OnboardingPatch::default() };
    let (done, schedule) = patch(&paused, done, "2026-11-04 12:00");
    let gap = run(Reason::Paused, "2026-11-03", "2026-11-04", 2);
    assert_eq!(schedule, silent(Reason::Completed, "2026-11-04 12:00", Some(gap)));
    let (edited, schedule) = patch(&done, every(2), "2027-03-01 12:00");
    assert_eq!(schedule, Schedule::Keep);
    let (_, schedule) = command(&edited, &Command::DeleteOnboarding, "2027-04-01 12:00");
    assert_eq!(schedule, silent(Reason::Deleted, "2026-11-04 12:00", None));
}

#[test]
fn a_customer_who_left_silences_and_one_who_is_back_wakes() {
    let (churned, schedule) = with_customer(&active(), Some(CustomerStatus::Churned), "2026-11-02 12:00");
    assert_eq!(schedule, silent(Reason::CustomerInactive, "2026-11-02 12:00", None));
    let (_, schedule) = with_customer(&churned, Some(CustomerStatus::Active), "2026-11-03 12:00");
    let gap = run(Reason::CustomerInactive, "2026-11-03", "2026-11-03", 1);
    assert_eq!(schedule, set("2026-11-04", Some(gap)));
}

#[test]
fn a_customer_who_is_deleted_ends_a_pause_that_nobody_else_would_tell() {
    let (paused, _) = patch(&active(), state(State::Paused), "2026-11-02 12:00");
    let (_, schedule) = with_customer(&paused, None, "2026-11-04 12:00");
    let gap = run(Reason::Paused, "2026-11-03", "2026-11-04", 2);
    assert_eq!(schedule, silent(Reason::CustomerDeleted, "2026-11-04 12:00", Some(gap)));
}

#[test]
fn a_customer_who_changes_a_name_touches_nothing() {
    for it in [active(), standing(Phase::Review, State::Paused), standing(Phase::Completed, State::Active)] {
        let found = with_customer(&it, Some(CustomerStatus::Onboarding), "2026-11-02 12:00");
        assert_eq!(found, (it, Schedule::Keep));
    }
    // Not even a slot that stands beside the rhythm because its date was kept over a change of days.
    let mut beside = active();
    beside.reminders.next_slot = Some(date("2026-11-07"));
    beside.reminders.next_reminder_at = Some(at("2026-11-07 09:00"));
    let found = with_customer(&beside, Some(CustomerStatus::Onboarding), "2026-11-02 12:00");
    assert_eq!(found, (beside, Schedule::Keep));
}

#[test]
fn what_is_due_is_asked_of_the_policy_as_it_is_now() {
    // The row says 09:00 UTC; the workspace has moved to New York since, where it is 05:00.
    let policy = Policy { time_zone: zone("America/New_York").expect("exists"), ..Policy::default() };
    let rules = Rules { policy, ..Rules::default() };
    let pause = Command::ChangeOnboarding(state(State::Paused));
    let (_, decision) = ask(&rules, &active(), &pause, at("2026-11-03 10:00")).expect("is legal");
    assert_eq!(decision.schedule, silent(Reason::Paused, "2026-11-03 10:00", None));
}

#[test]
fn remind_now_changes_neither_the_onboarding_nor_its_rhythm() {
    let paused = standing(Phase::Review, State::Paused);
    let (after, decision) =
        ask(&Rules::default(), &paused, &Command::RemindOnboarding(None), crate::monday()).expect("is legal");
    assert_eq!((after, kinds(&decision), decision.schedule), (paused, vec![], Schedule::Keep));
    assert!(decision.remind.is_some_and(|remind| remind.channels.is_none()));
}
