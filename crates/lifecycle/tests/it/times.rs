//! The rules of docs/lifecycle.md under "Timestamps".

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use usher_lifecycle::{
    Code, Onboarding, Phase, State,
    command::{CreateOnboarding, OnboardingPatch},
    event::EventKind,
    reminder::Rules,
};

use crate::{at, change, create, extra, kinds, monday, previous, refused, standing};

fn target(date: Option<&str>) -> OnboardingPatch {
    OnboardingPatch { target_launch_date: Some(date.map(at)), ..OnboardingPatch::default() }
}

/// Shifted twice to later within its phase; the next one is the third.
fn shifted_twice(state: State) -> Onboarding {
    let made = CreateOnboarding {
        phase: Some(Phase::ProgramBuildout),
        state: Some(state),
        target_launch_date: Some(at("2026-12-01 00:00")),
        ..CreateOnboarding::default()
    };
    let (once, decision) = change(&create(made, monday()), target(Some("2026-12-02 00:00")), monday());
    assert_eq!(kinds(&decision), [EventKind::OnboardingUpdated]);
    let (twice, decision) = change(&once, target(Some("2026-12-03 00:00")), monday());
    assert_eq!(kinds(&decision), [EventKind::OnboardingUpdated]);
    twice
}

#[test]
fn it_started_when_it_was_created_unless_given() {
    assert_eq!(create(CreateOnboarding::default(), monday()).started_at, monday());
    let given = CreateOnboarding { started_at: Some(at("2025-01-01 00:00")), ..CreateOnboarding::default() };
    let it = create(given, monday());
    assert_eq!((it.started_at, it.created_at), (at("2025-01-01 00:00"), monday()));
    assert_eq!(it.hidden.cadence_base.to_string(), "2025-01-01");
}

#[test]
fn it_cannot_have_started_in_the_future() {
    let it = standing(Phase::Review, State::Active);
    let started = |at: DateTime<Utc>| OnboardingPatch { started_at: Some(at), ..OnboardingPatch::default() };
    let now = at("2026-11-05 08:00");
    let found = refused(&Rules::default(), &it, started(now + TimeDelta::microseconds(1)), now);
    assert_eq!(found, (Code::TooBig, Some("started_at".to_string())));
    let (after, decision) = change(&it, started(now), now);
    assert_eq!(after.started_at, now);
    assert_eq!(
        previous(&decision, EventKind::OnboardingUpdated),
        json!({"started_at": "2026-11-02T08:00:00Z"})
    );
    // The rhythm is counted from there.
    assert_eq!(after.hidden.cadence_base.to_string(), "2026-11-05");
}

#[test]
fn completed_at_is_when_it_entered_completed() {
    assert_eq!(standing(Phase::Completed, State::Active).completed_at, Some(monday()));
    let now = at("2026-11-05 08:00");
    let done = OnboardingPatch { phase: Some(Phase::Completed), ..OnboardingPatch::default() };
    let (after, decision) = change(&standing(Phase::Review, State::Active), done, now);
    assert_eq!(after.completed_at, Some(now));
    assert_eq!(kinds(&decision), [EventKind::OnboardingPhaseChanged, EventKind::OnboardingCompleted]);
}

#[test]
fn the_wizard_can_be_set_and_cleared() {
    let wizard = |at| OnboardingPatch { wizard_completed_at: Some(at), ..OnboardingPatch::default() };
    let (set, _) = change(&standing(Phase::Review, State::Active), wizard(Some(monday())), monday());
    assert_eq!(set.wizard_completed_at, Some(monday()));
    let (cleared, _) = change(&set, wizard(None), monday());
    assert_eq!(cleared.wizard_completed_at, None);
}

#[test]
fn instants_are_cut_to_microseconds() {
    let it = create(CreateOnboarding::default(), monday() + TimeDelta::nanoseconds(1_999));
    assert_eq!(it.created_at, monday() + TimeDelta::microseconds(1));
}

#[test]
fn a_shift_to_later_is_recorded_with_old_new_and_reason() {
    let it = shifted_twice(State::Paused);
    let patch = OnboardingPatch { reason: Some("they asked".into()), ..target(Some("2026-12-24 00:00")) };
    let (_, decision) = change(&it, patch, monday());
    let told = extra(&decision, EventKind::OnboardingUpdated, "target_shift");
    let wanted =
        json!({"from": "2026-12-03T00:00:00Z", "to": "2026-12-24T00:00:00Z", "reason": "they asked"});
    assert_eq!(told, wanted);
}

#[test]
fn setting_clearing_and_earlier_are_no_shifts() {
    let mut it = standing(Phase::Review, State::Active);
    for date in [Some("2026-12-01 00:00"), Some("2026-11-30 00:00"), None, Some("2026-12-24 00:00")] {
        let (after, decision) = change(&it, target(date), monday());
        assert!(!decision.events[0].extra.contains_key("target_shift"), "{date:?}");
        it = after;
    }
    assert_eq!(it.hidden.target_shifts, 0);
}

#[test]
fn the_third_shift_sets_at_risk() {
    let patch = OnboardingPatch { reason: Some("again".into()), ..target(Some("2026-12-04 00:00")) };
    let (after, decision) = change(&shifted_twice(State::Active), patch, monday());
    assert_eq!(after.state, State::AtRisk);
    assert_eq!(
        kinds(&decision),
        [EventKind::OnboardingUpdated, EventKind::OnboardingStateChanged, EventKind::OnboardingAtRisk]
    );
    assert_eq!(extra(&decision, EventKind::OnboardingAtRisk, "reason"), "target_shifted");
    assert_eq!(extra(&decision, EventKind::OnboardingStateChanged, "reason"), "target_shifted");
    assert_eq!(extra(&decision, EventKind::OnboardingUpdated, "target_shift")["reason"], "again");
}

#[test]
fn it_does_so_once() {
    let (risky, _) = change(&shifted_twice(State::Active), target(Some("2026-12-04 00:00")), monday());
    let back = OnboardingPatch { state: Some(State::Active), ..OnboardingPatch::default() };
    let (back, _) = change(&risky, back, monday());
    let (after, decision) = change(&back, target(Some("2026-12-05 00:00")), monday());
    assert_eq!((after.state, kinds(&decision)), (State::Active, vec![EventKind::OnboardingUpdated]));
}

#[test]
fn it_does_so_only_from_active() {
    for state in [State::Paused, State::Waiting, State::AtRisk] {
        let (after, decision) = change(&shifted_twice(state), target(Some("2026-12-04 00:00")), monday());
        assert_eq!((after.state, kinds(&decision)), (state, vec![EventKind::OnboardingUpdated]));
    }
    // A state that the caller names goes before the rule.
    let named = OnboardingPatch { state: Some(State::Active), ..target(Some("2026-12-04 00:00")) };
    assert_eq!(change(&shifted_twice(State::Active), named, monday()).0.state, State::Active);
}

#[test]
fn a_completed_one_is_never_at_risk() {
    let mut it = shifted_twice(State::Active);
    it.phase = Phase::Completed;
    let (after, _) = change(&it, target(Some("2026-12-04 00:00")), monday());
    assert_eq!(after.state, State::Active);
}

#[test]
fn the_count_begins_anew_with_the_phase() {
    let qa = OnboardingPatch { phase: Some(Phase::InternalQa), ..OnboardingPatch::default() };
    let (moved, _) = change(&shifted_twice(State::Active), qa, monday());
    let (third, _) = change(&moved, target(Some("2026-12-04 00:00")), monday());
    let (fourth, _) = change(&third, target(Some("2026-12-05 00:00")), monday());
    assert_eq!(fourth.state, State::Active);
    let (fifth, _) = change(&fourth, target(Some("2026-12-06 00:00")), monday());
    assert_eq!(fifth.state, State::AtRisk);
    // A shift that comes with the move belongs to what is left behind.
    let both = OnboardingPatch { phase: Some(Phase::Launch), ..target(Some("2026-12-04 00:00")) };
    let (after, _) = change(&shifted_twice(State::Active), both, monday());
    assert_eq!((after.state, after.hidden.target_shifts), (State::Active, 0));
}

#[test]
fn working_time_is_without_the_spans_paused_and_waiting() {
    let state = |state| OnboardingPatch { state: Some(state), ..OnboardingPatch::default() };
    let mut it = standing(Phase::ProgramDesign, State::Active);
    // 1 h of work, 2 h paused and then 3 h waiting, 4 h at risk, 5 h paused, on which it moves.
    for (to, when) in [
        (State::Paused, "2026-11-02 09:00"),
        (State::Waiting, "2026-11-02 11:00"),
        (State::AtRisk, "2026-11-02 14:00"),
        (State::Paused, "2026-11-02 18:00"),
    ] {
        it = change(&it, state(to), at(when)).0;
    }
    let to = |phase| OnboardingPatch { phase: Some(phase), ..OnboardingPatch::default() };
    let (it, decision) = change(&it, to(Phase::Review), at("2026-11-02 23:00"));
    let tells = |decision: &_, name| extra(decision, EventKind::OnboardingPhaseChanged, name);
    assert_eq!(tells(&decision, "seconds_in_phase"), 15 * 3600);
    assert_eq!(tells(&decision, "working_seconds_in_phase"), 5 * 3600);
    // Still paused: the new phase has had no work until it goes on.
    let it = change(&it, state(State::Active), at("2026-11-03 00:00")).0;
    let (_, decision) = change(&it, to(Phase::ProgramDesign), at("2026-11-03 02:00"));
    assert_eq!(tells(&decision, "seconds_in_phase"), 3 * 3600);
    assert_eq!(tells(&decision, "working_seconds_in_phase"), 2 * 3600);
}

#[test]
fn a_clock_that_runs_back_gives_no_negative_times() {
    let to = OnboardingPatch { phase: Some(Phase::Launch), ..OnboardingPatch::default() };
    let (_, decision) = change(&standing(Phase::Review, State::Paused), to, monday() - TimeDelta::hours(1));
    for name in ["seconds_in_phase", "working_seconds_in_phase"] {
        assert_eq!(extra(&decision, EventKind::OnboardingPhaseChanged, name), Value::from(0));
    }
}
