//! The rules of docs/lifecycle.md under "Waiting": one fact in two fields.

use usher_lifecycle::{
    Code, Command, Onboarding, Phase, State, command::OnboardingPatch, event::EventKind, reminder::Rules,
};

use crate::{ask, at, change, extra, kinds, monday, refused, standing};

fn flag(waiting: bool) -> OnboardingPatch {
    OnboardingPatch { waiting_on_customer: Some(waiting), ..OnboardingPatch::default() }
}

fn both(state: State, waiting: bool) -> OnboardingPatch {
    OnboardingPatch { state: Some(state), ..flag(waiting) }
}

fn active() -> Onboarding {
    standing(Phase::ProgramDesign, State::Active)
}

fn waiting() -> Onboarding {
    standing(Phase::ProgramDesign, State::Waiting)
}

#[test]
fn the_state_sets_the_flag_and_since() {
    let now = at("2026-11-03 10:00");
    let state = OnboardingPatch { state: Some(State::Waiting), ..OnboardingPatch::default() };
    let (after, decision) = change(&active(), state, now);
    assert_eq!((after.state, after.waiting_since), (State::Waiting, Some(now)));
    let object = decision.record.object();
    assert_eq!(object["waiting_on_customer"], true);
    assert_eq!(object["waiting_on_customer_since"], "2026-11-03T10:00:00Z");
    // Told by the state; not an update of its own.
    assert_eq!(kinds(&decision), [EventKind::OnboardingStateChanged]);
}

#[test]
fn the_flag_sets_the_state() {
    let now = at("2026-11-03 10:00");
    for from in [State::Active, State::Paused, State::AtRisk] {
        let (after, _) = change(&standing(Phase::ProgramDesign, from), flag(true), now);
        assert_eq!((after.state, after.waiting_since), (State::Waiting, Some(now)));
    }
}

#[test]
fn taking_the_flag_away_returns_to_active() {
    let (after, decision) = change(&waiting(), flag(false), monday());
    assert_eq!((after.state, after.waiting_since), (State::Active, None));
    assert_eq!(kinds(&decision), [EventKind::OnboardingStateChanged]);
}

#[test]
fn taking_away_a_flag_that_is_not_set_leaves_the_state() {
    for from in [State::Active, State::Paused, State::AtRisk] {
        let it = standing(Phase::ProgramDesign, from);
        let (after, decision) =
            ask(&Rules::default(), &it, &Command::ChangeOnboarding(flag(false)), monday()).expect("is legal");
        assert_eq!((after, kinds(&decision)), (it, vec![]));
    }
}

#[test]
fn another_state_takes_the_flag_away() {
    for to in [State::Active, State::Paused, State::AtRisk] {
        for patch in [OnboardingPatch { state: Some(to), ..OnboardingPatch::default() }, both(to, false)] {
            let (after, _) = change(&waiting(), patch, monday());
            assert_eq!((after.state, after.waiting_since), (to, None));
        }
    }
}

#[test]
fn state_and_flag_may_not_contradict_each_other() {
    let contradiction = (Code::InvalidCombination, Some("waiting_on_customer".to_string()));
    for from in State::ALL {
        for phase in [Phase::ProgramDesign, Phase::Completed] {
            let it = standing(phase, from);
            for patch in [
                both(State::Waiting, false),
                both(State::Active, true),
                both(State::Paused, true),
                both(State::AtRisk, true),
            ] {
                assert_eq!(refused(&Rules::default(), &it, patch, monday()), contradiction);
            }
        }
    }
}

#[test]
fn re_affirming_keeps_since() {
    let it = waiting();
    let later = at("2026-11-09 10:00");
    for patch in [
        flag(true),
        both(State::Waiting, true),
        OnboardingPatch { notes: Some(Some("still".into())), ..flag(true) },
    ] {
        let (after, _) =
            ask(&Rules::default(), &it, &Command::ChangeOnboarding(patch), later).expect("is legal");
        assert_eq!(after.waiting_since, Some(monday()));
    }
}

#[test]
fn waiting_anew_counts_anew() {
    let (between, _) = change(&waiting(), flag(false), at("2026-11-03 08:00"));
    let (again, _) = change(&between, flag(true), at("2026-11-04 08:00"));
    assert_eq!(again.waiting_since, Some(at("2026-11-04 08:00")));
}

#[test]
fn at_risk_and_waiting_pass_into_each_other_with_all_events() {
    let at_risk = standing(Phase::ProgramDesign, State::AtRisk);
    let patch = OnboardingPatch { reason: Some("their turn".into()), ..flag(true) };
    let (waiting, decision) = change(&at_risk, patch, monday());
    assert_eq!(kinds(&decision), [EventKind::OnboardingStateChanged, EventKind::OnboardingBackOnTrack]);
    assert_eq!(extra(&decision, EventKind::OnboardingBackOnTrack, "reason"), "their turn");
    let (_, decision) = change(&waiting, both(State::AtRisk, false), monday());
    assert_eq!(kinds(&decision), [EventKind::OnboardingStateChanged, EventKind::OnboardingAtRisk]);
}
