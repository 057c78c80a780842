//! The rules of docs/lifecycle.md under "Moves", one by one.

use serde_json::{Value, json};
use usher_lifecycle::{
    Code, Command, Onboarding, Phase, State,
    command::{CreateOnboarding, OnboardingPatch, Reference},
    event::EventKind,
    phase::Move,
    reminder::{RequireReason, Rules},
};

use crate::{ask, at, change, create, extra, kinds, monday, previous, refused, standing};

fn to(phase: Phase) -> OnboardingPatch {
    OnboardingPatch { phase: Some(phase), ..OnboardingPatch::default() }
}

fn into(state: State) -> OnboardingPatch {
    OnboardingPatch { state: Some(state), ..OnboardingPatch::default() }
}

fn demanding(require_reason: RequireReason) -> Rules {
    Rules { require_reason, ..Rules::default() }
}

#[test]
fn the_order_says_which_move_it_is() {
    assert_eq!(Phase::Review.move_to(Phase::ProgramBuildout), Some(Move::Advance));
    assert_eq!(Phase::Review.move_to(Phase::InternalQa), Some(Move::Skip));
    assert_eq!(Phase::Review.move_to(Phase::BeforeGettingStarted), Some(Move::SendBack));
    assert_eq!(Phase::Review.move_to(Phase::Review), None);
}

#[test]
fn a_move_tells_which_it_was_and_why() {
    let it = standing(Phase::Review, State::Active);
    let patch =
        OnboardingPatch { reason: Some("the design was not signed".into()), ..to(Phase::ProgramDesign) };
    let (_, decision) = change(&it, patch, at("2026-11-03 08:00"));
    assert_eq!(kinds(&decision), [EventKind::OnboardingPhaseChanged]);
    let tells = |name| extra(&decision, EventKind::OnboardingPhaseChanged, name);
    assert_eq!(tells("move"), "send_back");
    assert_eq!(tells("reason"), "the design was not signed");
    assert_eq!(tells("seconds_in_phase"), 86_400);
    assert_eq!(previous(&decision, EventKind::OnboardingPhaseChanged), json!({"phase": "review"}));
    let (_, unexplained) = change(&it, to(Phase::Launch), monday());
    assert_eq!(extra(&unexplained, EventKind::OnboardingPhaseChanged, "reason"), Value::Null);
}

#[test]
fn by_default_no_reason_is_wanted() {
    let it = standing(Phase::Review, State::Active);
    change(&it, to(Phase::ProgramDesign), monday());
    change(&it, into(State::Paused), monday());
}

#[test]
fn send_back_wants_a_reason_for_the_way_back_only() {
    let rules = demanding(RequireReason::SendBack);
    let it = standing(Phase::Review, State::Active);
    let missing = (Code::MissingField, Some("reason".to_string()));
    assert_eq!(refused(&rules, &it, to(Phase::ProgramDesign), monday()), missing);
    let blank = OnboardingPatch { reason: Some(" \n".into()), ..to(Phase::ProgramDesign) };
    assert_eq!(refused(&rules, &it, blank, monday()), missing);
    let given = OnboardingPatch { reason: Some("no".into()), ..to(Phase::ProgramDesign) };
    for legal in
        [given, to(Phase::ProgramBuildout), to(Phase::Launch), into(State::Paused), to(Phase::Review)]
    {
        ask(&rules, &it, &Command::ChangeOnboarding(legal), monday()).expect("needs no more");
    }
}

#[test]
fn any_wants_a_reason_for_every_move_and_state_and_for_nothing_else() {
    let rules = demanding(RequireReason::Any);
    let it = standing(Phase::Review, State::Active);
    let waiting = OnboardingPatch { waiting_on_customer: Some(true), ..OnboardingPatch::default() };
    for patch in [to(Phase::ProgramBuildout), to(Phase::ProgramDesign), into(State::AtRisk), waiting] {
        let found = refused(&rules, &it, patch.clone(), monday());
        assert_eq!(found, (Code::MissingField, Some("reason".to_string())), "{patch:?}");
        let given = OnboardingPatch { reason: Some("so".into()), ..patch };
        ask(&rules, &it, &Command::ChangeOnboarding(given), monday()).expect("has its reason");
    }
    let notes = OnboardingPatch { notes: Some(Some("n".into())), ..OnboardingPatch::default() };
    for patch in [to(Phase::Review), into(State::Active), notes] {
        ask(&rules, &it, &Command::ChangeOnboarding(patch), monday()).expect("neither move nor state");
    }
}

#[test]
fn the_third_target_shift_brings_its_own_reason() {
    let rules = demanding(RequireReason::Any);
    let mut it = standing(Phase::Review, State::Active);
    it.target_launch_date = Some(at("2026-12-01 00:00"));
    it.hidden.target_shifts = 2;
    let shift = OnboardingPatch {
        target_launch_date: Some(Some(at("2026-12-02 00:00"))),
        ..OnboardingPatch::default()
    };
    let (after, _) =
        ask(&rules, &it, &Command::ChangeOnboarding(shift), monday()).expect("the rule is the reason");
    assert_eq!(after.state, State::AtRisk);
}

#[test]
fn from_completed_nothing_moves_but_notes_and_roles_may_be_edited() {
    for state in State::ALL {
        let it = standing(Phase::Completed, state);
        let rules = Rules::default();
        for phase in Phase::ALL.into_iter().filter(|phase| *phase != Phase::Completed) {
            assert_eq!(refused(&rules, &it, to(phase), monday()), (Code::OnboardingCompleted, None));
        }
        for other in State::ALL.into_iter().filter(|other| *other != state) {
            assert_eq!(refused(&rules, &it, into(other), monday()), (Code::OnboardingCompleted, None));
        }
        let waiting = OnboardingPatch {
            waiting_on_customer: Some(state != State::Waiting),
            ..OnboardingPatch::default()
        };
        assert_eq!(refused(&rules, &it, waiting, monday()), (Code::OnboardingCompleted, None));
        // Together with a move, an edit is refused too: all or nothing.
        let both = OnboardingPatch { notes: Some(Some("n".into())), ..to(Phase::Launch) };
        assert_eq!(refused(&rules, &it, both, monday()), (Code::OnboardingCompleted, None));

        let edit = OnboardingPatch {
            notes: Some(Some("handed over to support".into())),
            roles: [(usher_lifecycle::onboarding::Role::Csm, Some("ann".to_string()))].into(),
            reason: Some("tidying".into()),
            ..to(Phase::Completed)
        };
        let (after, decision) = change(&it, edit, at("2026-11-05 08:00"));
        assert_eq!(kinds(&decision), [EventKind::OnboardingUpdated]);
        assert_eq!((after.phase, after.state, after.completed_at), (it.phase, it.state, it.completed_at));
    }
}

#[test]
fn a_completed_one_is_neither_snoozed_nor_reminded_of() {
    let it = standing(Phase::Completed, State::Active);
    let snooze = usher_lifecycle::command::Snooze::Days(1);
    for command in [Command::SnoozeOnboarding(snooze), Command::RemindOnboarding(None)] {
        let refusal = ask(&Rules::default(), &it, &command, monday()).expect_err("is over");
        assert_eq!(refusal.code, Code::OnboardingCompleted);
    }
}

#[test]
fn what_already_holds_is_no_change() {
    let it = create(
        CreateOnboarding {
            phase: Some(Phase::Review),
            state: Some(State::Waiting),
            target_launch_date: Some(at("2026-12-01 00:00")),
            roles: [(usher_lifecycle::onboarding::Role::Se, "bob".to_string())].into(),
            notes: Some("n".into()),
            external_id: Some("deal-1".into()),
            ..CreateOnboarding::default()
        },
        monday(),
    );
    let same = OnboardingPatch {
        template: Some(None),
        phase: Some(Phase::Review),
        state: Some(State::Waiting),
        waiting_on_customer: Some(true),
        started_at: Some(monday()),
        target_launch_date: Some(Some(at("2026-12-01 00:00"))),
        roles: [
            (usher_lifecycle::onboarding::Role::Se, Some("bob".to_string())),
            (usher_lifecycle::onboarding::Role::Csm, None),
        ]
        .into(),
        notes: Some(Some("n".into())),
        wizard_completed_at: Some(None),
        reminder_email: Some(true),
        reminder_slack: Some(true),
        reminder_frequency_days: Some(1),
        external_id: Some(Some("deal-1".into())),
        reason: Some("for nothing".into()),
        order: vec![Reference::Template, Reference::Role(usher_lifecycle::onboarding::Role::Se)],
    };
    let later = at("2026-11-20 08:00");
    let (after, decision) =
        ask(&Rules::default(), &it, &Command::ChangeOnboarding(same), later).expect("is legal");
    assert_eq!((after, kinds(&decision)), (it, vec![]));
}

#[test]
fn it_may_be_created_anywhere_and_tells_one_event() {
    for phase in Phase::ALL {
        for state in State::ALL {
            let it = standing(phase, state);
            assert_eq!((it.phase, it.state, it.version), (phase, state, 1));
            assert_eq!(it.completed_at, (phase == Phase::Completed).then_some(monday()));
        }
    }
    let it = create(CreateOnboarding::default(), monday());
    assert_eq!((it.phase, it.state), (Phase::BeforeGettingStarted, State::Active));
}

#[test]
fn a_move_while_paused_or_waiting_leaves_the_state() {
    for state in [State::Paused, State::Waiting] {
        let it = standing(Phase::ProgramDesign, state);
        let (after, decision) = change(&it, to(Phase::Completed), at("2026-11-04 08:00"));
        assert_eq!((after.state, after.waiting_since), (state, it.waiting_since));
        assert_eq!(kinds(&decision), [EventKind::OnboardingPhaseChanged, EventKind::OnboardingCompleted]);
    }
}

#[test]
fn everything_at_once_comes_in_the_fixed_order() {
    let at_risk = standing(Phase::ProgramBuildout, State::AtRisk);
    let patch = |phase, state| OnboardingPatch {
        notes: Some(Some("at last".into())),
        reason: Some("done".into()),
        state: Some(state),
        ..to(phase)
    };
    let (launched, decision) = change(&at_risk, patch(Phase::Launch, State::Active), monday());
    assert_eq!(
        kinds(&decision),
        [
            EventKind::OnboardingUpdated,
            EventKind::OnboardingPhaseChanged,
            EventKind::OnboardingStateChanged,
            EventKind::OnboardingBackOnTrack,
            EventKind::OnboardingLaunched,
        ]
    );
    assert_eq!(extra(&decision, EventKind::OnboardingStateChanged, "reason"), "done");
    let again = OnboardingPatch { notes: Some(None), ..patch(Phase::Completed, State::AtRisk) };
    let (_, decision) = change(&launched, again, monday());
    assert_eq!(
        kinds(&decision),
        [
            EventKind::OnboardingUpdated,
            EventKind::OnboardingPhaseChanged,
            EventKind::OnboardingStateChanged,
            EventKind::OnboardingAtRisk,
            EventKind::OnboardingCompleted,
        ]
    );
    let wanted = json!({"phase": "launch", "completed_at": null});
    assert_eq!(previous(&decision, EventKind::OnboardingCompleted), wanted);
}

#[test]
fn a_deleted_one_is_not_found_and_deleting_it_again_is_no_change() {
    let it = standing(Phase::Review, State::Active);
    let rules = Rules::default();
    let delete = |it: &Onboarding| ask(&rules, it, &Command::DeleteOnboarding, monday()).expect("is legal");
    let (gone, decision) = delete(&it);
    assert_eq!((gone.version, kinds(&decision)), (2, vec![EventKind::OnboardingDeleted]));
    assert_eq!(
        decision.record.object(),
        json!({"object": "deleted", "id": it.id.to_text(), "display_id": 41, "deleted": true})
    );
    assert_eq!(refused(&rules, &gone, to(Phase::Launch), monday()), (Code::OnboardingNotFound, None));
    assert_eq!(
        refused(&rules, &gone, OnboardingPatch::default(), monday()),
        (Code::OnboardingNotFound, None)
    );
    for command in [Command::UnsnoozeOnboarding, Command::RemindOnboarding(None)] {
        let refusal = ask(&rules, &gone, &command, monday()).expect_err("is gone");
        assert_eq!(refusal.code, Code::OnboardingNotFound);
    }
    let (still, decision) = delete(&gone);
    assert_eq!((still, kinds(&decision)), (gone, vec![]));
}
