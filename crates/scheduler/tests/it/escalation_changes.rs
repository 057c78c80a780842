//! What changes between the planning of an escalation and its sending: who is told, and which steps there are.

use usher_lifecycle::{
    Command, OnboardingId, State, UserId,
    command::{OnboardingPatch, WorkspacePatch},
    onboarding::Role,
    reminder::{Channel, EscalateTo, Kind, Recipient},
};
use usher_scheduler::Scheduler;
use usher_store::{Advance, Delivery, PlanInput, PlanWrite};

use crate::{
    escalation::{day, escalations, rules},
    rig::{Rig, stories},
};

stories!(
    only_the_recipients_of_its_own_step_are_told,
    a_step_that_tells_others_by_now_tells_them,
    a_step_that_was_removed_tells_nobody,
    a_row_for_two_steps_is_right_while_one_of_them_is,
    a_row_for_two_steps_is_followed_by_the_recipients_of_both,
    a_row_that_names_no_step_goes_to_a_recipient_of_any,
);

type Step = (u32, EscalateTo, Option<State>);

const FIRST: Step = (1, EscalateTo::ProductOps, None);
const SECOND: Step = (2, EscalateTo::Fallback, None);

/// An onboarding of Ada, and of Pam as product ops if so wished, that was reminded of on Tuesday and Wednesday. Then the
/// workspace gets these steps, and what is due on Thursday at nine is planned, both of them.
async fn planned(rig: &mut Rig, steps: &[Step], with_pam: bool) -> (OnboardingId, Scheduler) {
    rig.rules(rules(&[])).await;
    let mut roles = vec![(Role::Csm, rig.user("ada").await)];
    if with_pam {
        roles.push((Role::ProductOps, rig.user("pam").await));
    }
    let onboarding = rig.onboarding("Acme", &roles).await;
    day(rig, 3).await;
    day(rig, 4).await;
    list(rig, steps).await;
    rig.set("2026-03-05T09:00:00Z");
    let scheduler = rig.scheduler();
    scheduler.plan(rig.now()).await.unwrap();
    (onboarding, scheduler)
}

/// The workspace has these steps from here on.
async fn list(rig: &Rig, steps: &[Step]) {
    let patch = WorkspacePatch { escalation: Some(rules(steps).escalation), ..WorkspacePatch::default() };
    rig.apply(Command::ChangeWorkspace(patch), Some(rig.workspace.to_text())).await;
}

async fn role(rig: &Rig, onboarding: OnboardingId, role: Role, user: UserId) {
    let roles = [(role, Some(user.to_text()))].into();
    rig.patch(onboarding, OnboardingPatch { roles, ..OnboardingPatch::default() }).await;
}

/// Sends what is due, and what takes its place; what became of each escalation: `pam sent -`, in order.
async fn told(rig: &Rig, scheduler: &Scheduler, onboarding: OnboardingId) -> Vec<String> {
    for _ in 0..2 {
        scheduler.dispatch(rig.now()).await.unwrap();
    }
    let mut lines = Vec::new();
    for row in escalations(rig, onboarding).await {
        let reason = row.reason.as_deref().unwrap_or("-").to_owned();
        lines.push(format!("{} {} {reason}", whom(rig, &row).await, row.status.as_str()));
    }
    lines.sort();
    lines
}

async fn whom(rig: &Rig, row: &Delivery) -> String {
    match &row.recipient {
        Some(Recipient::User(id)) => rig.name(*id).await,
        Some(other) => other.to_string(),
        None => "nobody".to_owned(),
    }
}

/// The steps that the row to that one names: after how many reminders, told to whom.
async fn steps_of(rig: &Rig, onboarding: OnboardingId, name: &str) -> Vec<(u64, String)> {
    for row in escalations(rig, onboarding).await {
        if whom(rig, &row).await == name {
            let detail = row.detail.unwrap();
            let also = detail["also"].as_array().cloned().unwrap_or_default();
            let named = [vec![detail], also].concat();
            let step = |it: serde_json::Value| {
                (it["after_reminders"].as_u64().unwrap(), it["to"].as_str().unwrap().to_owned())
            };
            return named.into_iter().map(step).collect();
        }
    }
    Vec::new()
}

async fn only_the_recipients_of_its_own_step_are_told(mut rig: Rig) {
    // The second step is far away: nobody is to hear of the first one as if it were that.
    let (onboarding, scheduler) = planned(&mut rig, &[FIRST, (9, EscalateTo::Csm, None)], true).await;
    let [row] = escalations(&rig, onboarding).await.try_into().unwrap();
    let Some(Recipient::User(pam)) = row.recipient else { panic!("to Pam") };
    role(&rig, onboarding, Role::Csm, pam).await;
    role(&rig, onboarding, Role::ProductOps, rig.user("quinn").await).await;
    let told = told(&rig, &scheduler, onboarding).await;
    assert_eq!(told, ["pam skipped no_longer_responsible", "quinn sent -"]);
}

async fn a_step_that_tells_others_by_now_tells_them(mut rig: Rig) {
    let (onboarding, scheduler) = planned(&mut rig, &[FIRST], true).await;
    list(&rig, &[(1, EscalateTo::Csm, None)]).await;
    let told = told(&rig, &scheduler, onboarding).await;
    assert_eq!(told, ["ada sent -", "pam skipped no_longer_responsible"]);
    assert_eq!(steps_of(&rig, onboarding, "ada").await, [(1, "csm".to_owned())]);
    assert!(!rig.mailed().contains(&"pam@example.com".to_owned()));
}

async fn a_step_that_was_removed_tells_nobody(mut rig: Rig) {
    let (onboarding, scheduler) = planned(&mut rig, &[FIRST], true).await;
    list(&rig, &[(2, EscalateTo::ProductOps, None)]).await;
    let told = told(&rig, &scheduler, onboarding).await;
    assert_eq!(told, ["pam skipped no_longer_responsible"]);
}

async fn a_row_for_two_steps_is_right_while_one_of_them_is(mut rig: Rig) {
    let (onboarding, scheduler) = planned(&mut rig, &[FIRST, SECOND], false).await;
    let named = [(1, "product_ops".to_owned()), (2, "fallback".to_owned())];
    assert_eq!(steps_of(&rig, onboarding, "email:ops@example.com").await, named);
    list(&rig, &[SECOND]).await;
    assert_eq!(told(&rig, &scheduler, onboarding).await, ["email:ops@example.com sent -"]);
}

async fn a_row_for_two_steps_is_followed_by_the_recipients_of_both(mut rig: Rig) {
    let (onboarding, scheduler) = planned(&mut rig, &[FIRST, SECOND], false).await;
    role(&rig, onboarding, Role::ProductOps, rig.user("pam").await).await;
    let moved =
        WorkspacePatch { ops_email: Some(Some("new@example.com".to_owned())), ..WorkspacePatch::default() };
    rig.apply(Command::ChangeWorkspace(moved), Some(rig.workspace.to_text())).await;
    let told = told(&rig, &scheduler, onboarding).await;
    assert_eq!(
        told,
        ["email:new@example.com sent -", "email:ops@example.com skipped no_longer_responsible", "pam sent -"]
    );
    assert_eq!(steps_of(&rig, onboarding, "pam").await, [(1, "product_ops".to_owned())]);
    assert_eq!(steps_of(&rig, onboarding, "email:new@example.com").await, [(2, "fallback".to_owned())]);
}

/// Whatever planned it: its recipient is one whom the list tells, and there is no more to hold against it.
async fn a_row_that_names_no_step_goes_to_a_recipient_of_any(mut rig: Rig) {
    let (onboarding, scheduler) = planned(&mut rig, &[], true).await;
    list(&rig, &[(9, EscalateTo::ProductOps, None)]).await;
    rig.set("2026-03-06T09:00:00Z");
    let plan = |input: &PlanInput| {
        let mut write = PlanWrite::default();
        for due in &input.due {
            let (slot, pam) = (due.pending, due.onboarding.roles.product_ops.unwrap());
            let row = Delivery::pending(
                &due.onboarding,
                Kind::Escalation,
                slot.date.to_string(),
                slot.due_at,
                slot.due_at,
                slot.due_at,
            );
            write.deliveries.push(row.to(Channel::Email, Recipient::User(pam), "escalated"));
            write.schedules.push(Advance {
                onboarding_id: due.onboarding.id,
                next: None,
                last_slot: Some(slot.date),
                silent: None,
                escalated: Some(1),
            });
        }
        write
    };
    assert_eq!(rig.store.plan(rig.now(), 10, plan).await.unwrap(), 1);
    assert_eq!(told(&rig, &scheduler, onboarding).await, ["pam sent -"]);
}
