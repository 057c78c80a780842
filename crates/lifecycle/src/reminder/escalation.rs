//! Escalation: which steps of the workspace's list are to be taken, and what starts the count anew.
//!
//! Law: between two signs of life no step is taken twice. What a person does to the onboarding is a sign of life; what usher
//! does by itself, such as a step that sets the state, is none.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::policy::{EscalateTo, EscalationStep, Rules};
use crate::{
    event::{Actor, ActorKind, Event, EventKind},
    onboarding::Reminded,
};

/// The steps to take when another reminder is due: those whose number of reminders has gone unheeded and that were not
/// taken yet, mildest first.
pub fn steps_due(rules: &Rules, reminded: &Reminded) -> Vec<EscalationStep> {
    let untaken = |step: &&EscalationStep| {
        step.after_reminders > reminded.escalated && step.after_reminders <= reminded.unheeded
    };
    let mut steps: Vec<EscalationStep> = rules.escalation.iter().filter(untaken).copied().collect();
    steps.sort_by_key(|step| step.after_reminders);
    steps
}

/// A step that was taken, as the ledger names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenStep {
    /// Its `after_reminders`.
    pub after_reminders: u32,
    /// Whom it told then.
    pub to: EscalateTo,
}

/// The step as the rules have it now. Where it tells others by now: those of the same number of reminders. None where it was
/// removed.
pub fn steps_now(rules: &Rules, taken: TakenStep) -> Vec<EscalationStep> {
    let same = |step: &&EscalationStep| step.after_reminders == taken.after_reminders;
    let all: Vec<EscalationStep> = rules.escalation.iter().filter(same).copied().collect();
    let own: Vec<EscalationStep> = all.iter().filter(|step| step.to == taken.to).copied().collect();
    if own.is_empty() { all } else { own }
}

/// Whether what happened shows that somebody cares: a change of phase or state, a note, a snooze.
pub fn is_sign_of_life(events: &[Event], actor: &Actor) -> bool {
    let noted = |event: &Event| event.previous.as_ref().is_some_and(|before| before.contains_key("notes"));
    let moved = |kind| {
        matches!(
            kind,
            EventKind::OnboardingPhaseChanged
                | EventKind::OnboardingStateChanged
                | EventKind::ReminderSnoozed
        )
    };
    let cares =
        |event: &Event| moved(event.kind) || (event.kind == EventKind::OnboardingUpdated && noted(event));
    actor.kind != ActorKind::System && events.iter().any(cares)
}
