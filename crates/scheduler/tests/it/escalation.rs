//! Reminders that go unheeded are escalated, each step once, until somebody shows a sign of life.

use usher_lifecycle::{
    Command, Phase, State,
    command::{OnboardingPatch, Snooze, UserPatch, WorkspacePatch},
    onboarding::Role,
    reminder::{EscalateTo, EscalationStep, Kind, Rules},
};
use usher_store::{Delivery, Page, Status};

use crate::rig::{Rig, stories};

stories!(
    after_three_the_product_ops_is_told_and_after_five_the_workspace_and_the_state_is_set,
    a_step_is_taken_once_whoever_plans,
    a_sign_of_life_starts_the_count_anew,
    what_usher_does_itself_is_no_sign_of_life,
    heeded_between_planning_and_sending,
    with_nobody_to_tell_the_step_is_told_and_the_state_set,
    replaced_between_planning_and_sending_the_new_one_is_told,
    without_a_list_nothing_is_escalated,
    two_steps_due_at_once_to_one_recipient_are_one_message_and_both_have_their_effect,
    an_escalation_travels_with_the_reminders_of_its_recipient,
);

pub(crate) fn rules(steps: &[(u32, EscalateTo, Option<State>)]) -> Rules {
    let step = |(after_reminders, to, set_state)| EscalationStep { after_reminders, to, set_state };
    Rules {
        escalation: steps.iter().copied().map(step).collect(),
        ops_email: Some("ops@example.com".into()),
        ..Rules::default()
    }
}

const TWO_STEPS: [(u32, EscalateTo, Option<State>); 2] =
    [(2, EscalateTo::ProductOps, None), (3, EscalateTo::Fallback, Some(State::AtRisk))];

/// Slots 3 (Tuesday) to 6 (Friday) of March, then Monday the 9th.
pub(crate) async fn day(rig: &Rig, day: u32) {
    rig.pass_at(&rig.scheduler(), &format!("2026-03-{day:02}T09:00:00Z")).await;
}

pub(crate) async fn escalations(rig: &Rig, onboarding: usher_lifecycle::OnboardingId) -> Vec<Delivery> {
    let rows = rig.ledger(onboarding).await;
    rows.into_iter().filter(|row| row.kind == Kind::Escalation).collect()
}

async fn state(rig: &Rig, onboarding: usher_lifecycle::OnboardingId) -> State {
    let which = usher_store::Ref::Id(onboarding.to_text());
    rig.store.onboarding(rig.workspace, true, &which).await.unwrap().unwrap().state
}

async fn events(rig: &Rig, onboarding: usher_lifecycle::OnboardingId, kind: &str) -> Vec<serde_json::Value> {
    let page = Page { limit: 100, cursor: None };
    let rows = rig.store.timeline(onboarding, &page).await.unwrap().data;
    rows.into_iter().filter(|row| row.kind == kind).map(|row| row.data).collect()
}

async fn after_three_the_product_ops_is_told_and_after_five_the_workspace_and_the_state_is_set(mut rig: Rig) {
    let steps = [(3, EscalateTo::ProductOps, None), (5, EscalateTo::Fallback, Some(State::AtRisk))];
    rig.rules(rules(&steps)).await;
    let (ada, pam) = (rig.user("ada").await, rig.user("pam").await);
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada), (Role::ProductOps, pam)]).await;
    for slot in [3, 4, 5] {
        day(&rig, slot).await;
        assert!(escalations(&rig, onboarding).await.is_empty(), "on the {slot}th");
    }
    day(&rig, 6).await;
    let [first] = escalations(&rig, onboarding).await.try_into().unwrap();
    assert_eq!(
        (first.status, first.slot.as_str(), first.why.as_str()),
        (Status::Sent, "2026-03-06", "escalated")
    );
    assert_eq!(rig.mailed().iter().filter(|to| *to == "pam@example.com").count(), 1);
    let [told] = events(&rig, onboarding, "reminder.escalated").await.try_into().unwrap();
    assert_eq!((&told["after_reminders"], &told["to"]), (&3.into(), &"product_ops".into()));
    assert_eq!(told["object"]["onboarding_id"], onboarding.to_text());

    day(&rig, 9).await;
    assert_eq!(
        (escalations(&rig, onboarding).await.len(), state(&rig, onboarding).await),
        (1, State::Active)
    );
    for slot in [10, 11, 12] {
        day(&rig, slot).await;
        let rows = escalations(&rig, onboarding).await;
        assert_eq!((rows.len(), state(&rig, onboarding).await), (2, State::AtRisk), "on the {slot}th");
    }
    assert_eq!(events(&rig, onboarding, "reminder.escalated").await.len(), 2);
    assert_eq!(events(&rig, onboarding, "onboarding.at_risk").await.len(), 1);
    assert_eq!(rig.mailed().iter().filter(|to| *to == "ops@example.com").count(), 1);
}

async fn a_step_is_taken_once_whoever_plans(mut rig: Rig) {
    rig.rules(rules(&TWO_STEPS)).await;
    let (ada, pam) = (rig.user("ada").await, rig.user("pam").await);
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada), (Role::ProductOps, pam)]).await;
    for slot in [3, 4] {
        day(&rig, slot).await;
    }
    rig.set("2026-03-05T09:00:00Z");
    let (one, other) = (rig.another().await, rig.another().await);
    let (one, other) = tokio::join!(one.plan(rig.now()), other.plan(rig.now()));
    assert_eq!(one.unwrap().planned + other.unwrap().planned, 1);
    rig.pass(&rig.scheduler()).await;
    assert_eq!(escalations(&rig, onboarding).await.len(), 1);
    assert_eq!(rig.mailed().iter().filter(|to| *to == "pam@example.com").count(), 1);
}

async fn a_sign_of_life_starts_the_count_anew(mut rig: Rig) {
    rig.rules(rules(&[(2, EscalateTo::Fallback, None)])).await;
    let ada = rig.user("ada").await;
    let signs = [
        OnboardingPatch { notes: Some(Some("called them".into())), ..OnboardingPatch::default() },
        OnboardingPatch { phase: Some(Phase::Review), ..OnboardingPatch::default() },
        OnboardingPatch { state: Some(State::Waiting), ..OnboardingPatch::default() },
    ];
    for (number, patch) in signs.into_iter().enumerate() {
        rig.set("2026-03-03T08:00:00Z");
        let onboarding = rig.onboarding(&format!("Acme {number}"), &[(Role::Csm, ada)]).await;
        day(&rig, 3).await;
        day(&rig, 4).await;
        rig.set("2026-03-04T15:00:00Z");
        rig.patch_as_a_person(onboarding, patch).await;
        day(&rig, 5).await;
        day(&rig, 6).await;
        assert!(escalations(&rig, onboarding).await.is_empty(), "one is unheeded before the slot of the 6th");
        day(&rig, 9).await;
        assert_eq!(escalations(&rig, onboarding).await.len(), 1);
    }
    // So does a snooze; what changes nothing that anybody cares for does not.
    rig.set("2026-03-03T08:00:00Z");
    let onboarding = rig.onboarding("Acme again", &[(Role::Csm, ada)]).await;
    day(&rig, 3).await;
    day(&rig, 4).await;
    let trifle = OnboardingPatch { reminder_slack: Some(false), ..OnboardingPatch::default() };
    rig.patch_as_a_person(onboarding, trifle).await;
    day(&rig, 5).await;
    assert_eq!(escalations(&rig, onboarding).await.len(), 1);
    rig.apply_as_a_person(Command::SnoozeOnboarding(Snooze::Days(1)), onboarding).await;
    day(&rig, 6).await;
    day(&rig, 9).await;
    assert_eq!(escalations(&rig, onboarding).await.len(), 1, "one is unheeded since the snooze");
    day(&rig, 10).await;
    assert_eq!(escalations(&rig, onboarding).await.len(), 2, "the step of the new count");
}

async fn what_usher_does_itself_is_no_sign_of_life(mut rig: Rig) {
    let steps = [(1, EscalateTo::Fallback, Some(State::AtRisk)), (2, EscalateTo::ProductOps, None)];
    rig.rules(rules(&steps)).await;
    let (ada, pam) = (rig.user("ada").await, rig.user("pam").await);
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada), (Role::ProductOps, pam)]).await;
    for slot in [3, 4, 5, 6, 9, 10] {
        day(&rig, slot).await;
    }
    let steps: Vec<String> = escalations(&rig, onboarding).await.into_iter().map(|row| row.slot).collect();
    assert_eq!(steps, ["2026-03-04", "2026-03-05"]);
}

async fn heeded_between_planning_and_sending(mut rig: Rig) {
    rig.rules(rules(&[(1, EscalateTo::Fallback, None)])).await;
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    day(&rig, 3).await;
    rig.set("2026-03-04T09:00:00Z");
    let scheduler = rig.scheduler();
    scheduler.plan(rig.now()).await.unwrap();
    let moved = OnboardingPatch { phase: Some(Phase::Review), ..OnboardingPatch::default() };
    rig.patch_as_a_person(onboarding, moved).await;
    scheduler.dispatch(rig.now()).await.unwrap();
    let [row] = escalations(&rig, onboarding).await.try_into().unwrap();
    assert_eq!((row.status, row.reason.as_deref()), (Status::Skipped, Some("heeded")));
    assert!(!rig.mailed().contains(&"ops@example.com".to_owned()));
}

async fn with_nobody_to_tell_the_step_is_told_and_the_state_set(mut rig: Rig) {
    let step = (1, EscalateTo::Fallback, Some(State::AtRisk));
    rig.rules(Rules { ops_email: None, ..rules(&[step]) }).await;
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    day(&rig, 3).await;
    day(&rig, 4).await;
    let [row] = escalations(&rig, onboarding).await.try_into().unwrap();
    assert_eq!((row.status, row.reason.as_deref()), (Status::Skipped, Some("no_recipient")));
    assert_eq!(state(&rig, onboarding).await, State::AtRisk);
    assert_eq!(events(&rig, onboarding, "reminder.escalated").await.len(), 1);
}

async fn replaced_between_planning_and_sending_the_new_one_is_told(mut rig: Rig) {
    rig.rules(rules(&[(1, EscalateTo::ProductOps, None)])).await;
    let (ada, pam, quinn) = (rig.user("ada").await, rig.user("pam").await, rig.user("quinn").await);
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada), (Role::ProductOps, pam)]).await;
    day(&rig, 3).await;
    rig.set("2026-03-04T09:00:00Z");
    let scheduler = rig.scheduler();
    scheduler.plan(rig.now()).await.unwrap();
    let roles = [(Role::ProductOps, Some(quinn.to_text()))].into();
    rig.patch(onboarding, OnboardingPatch { roles, ..OnboardingPatch::default() }).await;
    rig.patch_user(pam, UserPatch { active: Some(false), ..UserPatch::default() }).await;
    scheduler.dispatch(rig.now()).await.unwrap();
    scheduler.dispatch(rig.now()).await.unwrap();
    let mut told: Vec<_> = escalations(&rig, onboarding).await.into_iter().map(|row| row.status).collect();
    told.sort_by_key(|status| status.as_str());
    assert_eq!(told, [Status::Sent, Status::Skipped]);
    assert!(rig.mailed().contains(&"quinn@example.com".to_owned()));
    assert!(!rig.mailed().contains(&"pam@example.com".to_owned()));
}

async fn without_a_list_nothing_is_escalated(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    for slot in [3, 4, 5, 6, 9, 10, 11, 12, 13] {
        day(&rig, slot).await;
    }
    assert!(escalations(&rig, onboarding).await.is_empty());
    assert_eq!(state(&rig, onboarding).await, State::Active);
}

/// A list that is made when more reminders than its steps ask for went unheeded already.
async fn two_steps_due_at_once_to_one_recipient_are_one_message_and_both_have_their_effect(mut rig: Rig) {
    rig.rules(rules(&[])).await;
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    for slot in [3, 4, 5] {
        day(&rig, slot).await;
    }
    // Nobody has the product ops' role, so that both steps go to the fallback.
    let escalation = Some(rules(&TWO_STEPS).escalation);
    let patch = WorkspacePatch { escalation, ..WorkspacePatch::default() };
    rig.apply(Command::ChangeWorkspace(patch), Some(rig.workspace.to_text())).await;
    day(&rig, 6).await;
    let [row] = escalations(&rig, onboarding).await.try_into().unwrap();
    assert_eq!(row.status, Status::Sent);
    assert_eq!(rig.mailed().iter().filter(|to| *to == "ops@example.com").count(), 1);
    let told = events(&rig, onboarding, "reminder.escalated").await;
    let mut steps: Vec<_> = told.iter().map(|data| data["after_reminders"].as_i64().unwrap()).collect();
    steps.sort_unstable();
    assert_eq!((steps, state(&rig, onboarding).await), (vec![2, 3], State::AtRisk));
    day(&rig, 9).await;
    assert_eq!(escalations(&rig, onboarding).await.len(), 1);
}

async fn an_escalation_travels_with_the_reminders_of_its_recipient(mut rig: Rig) {
    rig.rules(rules(&[(1, EscalateTo::ProductOps, None)])).await;
    let (ada, pam) = (rig.user("ada").await, rig.user("pam").await);
    rig.onboarding("Acme", &[(Role::Csm, ada), (Role::ProductOps, pam)]).await;
    day(&rig, 3).await;
    rig.set("2026-03-04T09:00:00Z");
    let scheduler = rig.scheduler();
    scheduler.plan(rig.now()).await.unwrap();
    // Another one of hers falls due at the same time, and is not planned yet.
    rig.set("2026-03-04T08:59:00Z");
    rig.onboarding("Bolt", &[(Role::Csm, pam)]).await;
    rig.set("2026-03-04T09:00:00Z");
    assert_eq!(scheduler.dispatch(rig.now()).await.unwrap().messages, 0);
    assert_eq!(rig.pass(&scheduler).await.messages, 2);
    let hers = rig.sink.messages().into_iter().filter(|mail| mail.recipients == ["pam@example.com"]);
    let [mail] = hers.collect::<Vec<_>>().try_into().unwrap();
    let mail = mail.mail();
    let text = mail.body("text/plain").unwrap();
    assert!(["Acme", "Bolt"].iter().all(|name| text.contains(name)), "{text}");
}
