//! Escalation: which steps of the workspace's list are to be taken, whom they tell, what they change, and what starts the
//! count anew.
//!
//! Law: between two signs of life no step is taken twice. What a person does to the onboarding is a sign of life; what usher
//! does by itself, such as a step that sets the state, is none.

use alloc::{format, vec, vec::Vec};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    audience::{Configured, Target, escalation},
    policy::{EscalateTo, EscalationStep, Rules},
    reason::Reason,
    recheck::Context,
    recipient::{Channel, Recipient},
};
use crate::{
    command::{Command, OnboardingPatch, References},
    decide::{Book, Current, Decision, Record, decide},
    event::{Actor, ActorKind, Event, EventKind},
    onboarding::{Onboarding, Reminded},
    person::User,
};

/// What is escalated with a slot: plan writes it down, foresight says it before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Escalation {
    /// The steps that are taken, mildest first.
    pub steps: Vec<Taken>,
    /// The rows that tell of them. Steps that go to one recipient by one channel share a row, since the ledger has one of
    /// a kind per slot and recipient; it is the mildest one's.
    pub rows: Vec<Told>,
}

/// A step that is taken. It is told and has its effect also where it shares its rows with a milder one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The step.
    pub step: EscalationStep,
    /// Whom it tells, or why nobody.
    pub to: Result<Vec<Target>, Reason>,
    /// The place of its first row among the rows.
    pub row: usize,
}

/// A row of the ledger that tells of an escalation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The step whose row it is.
    pub step: EscalationStep,
    /// The others that it stands for.
    pub also: Vec<EscalationStep>,
    /// To whom, or why to nobody.
    pub to: Result<Target, Reason>,
}

impl Told {
    /// The steps that it tells of, as the ledger names them.
    pub fn stands_for(&self) -> impl Iterator<Item = TakenStep> {
        [&self.step].into_iter().chain(&self.also).map(EscalationStep::taken)
    }

    fn address(&self) -> Option<(Channel, &Recipient)> {
        self.to.as_ref().ok().map(|target| (target.channel, &target.recipient))
    }
}

/// What is escalated when another reminder of the onboarding is due.
pub fn escalate(
    rules: &Rules,
    onboarding: &Onboarding,
    people: &[User],
    configured: Configured,
) -> Escalation {
    let mut all = Escalation::default();
    for step in steps_due(rules, &onboarding.reminders) {
        let to = escalation(rules, onboarding, people, configured, step.to);
        let own = match &to {
            Ok(targets) => targets.iter().cloned().map(Ok).collect(),
            Err(reason) => vec![Err(*reason)],
        };
        let places: Vec<usize> =
            own.into_iter().map(|to| all.place(Told { step, also: Vec::new(), to })).collect();
        if let Some(row) = places.first().copied() {
            all.steps.push(Taken { step, to, row });
        }
    }
    all
}

impl Escalation {
    /// The place of the row, or of the one that stands for it.
    fn place(&mut self, told: Told) -> usize {
        let known = self.rows.iter().position(|row| row.address() == told.address());
        let Some(place) = known else {
            self.rows.push(told);
            return self.rows.len() - 1;
        };
        if let Some(row) =
            self.rows.get_mut(place).filter(|row| row.stands_for().all(|it| it != told.step.taken()))
        {
            row.also.push(told.step);
        }
        place
    }

    /// The `after_reminders` of the last step that is taken; none when none is.
    pub fn reached(&self) -> Option<u32> {
        self.steps.last().map(|taken| taken.step.after_reminders)
    }

    /// What the steps leave of the onboarding when they are taken at `at`, by the decision that makes their changes.
    pub(super) fn leave(
        &self,
        context: &Context<'_>,
        mut onboarding: Onboarding,
        at: DateTime<Utc>,
    ) -> Onboarding {
        onboarding.reminders.escalated = self.reached().unwrap_or(onboarding.reminders.escalated);
        let customer = (onboarding.customer_id, context.customer_status);
        let customer = Some(customer).filter(|_| !context.customer_deleted);
        let references = References { customer, ..References::default() };
        let book = Book { rules: context.rules, references: &references };
        for patch in self.steps.iter().filter_map(|taken| taken.step.change()) {
            let before = Current::Record(Record::Onboarding(onboarding.clone()));
            let decided = decide(before, &Command::ChangeOnboarding(patch), book, at);
            // What is refused changes nothing, there as here.
            if let Ok(Decision { record: Record::Onboarding(changed), .. }) = decided {
                onboarding = changed;
            }
        }
        onboarding
    }
}

impl EscalationStep {
    /// The step as the ledger names it.
    pub const fn taken(&self) -> TakenStep {
        TakenStep { after_reminders: self.after_reminders, to: self.to }
    }

    /// The change that the step makes to the onboarding, if it sets a state.
    pub fn change(&self) -> Option<OnboardingPatch> {
        let reason = Some(format!("{} reminders went unheeded", self.after_reminders));
        Some(OnboardingPatch { state: Some(self.set_state?), reason, ..OnboardingPatch::default() })
    }
}

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
