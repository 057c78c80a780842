//! Foresight: what plan and dispatch will do with an onboarding from now on if nobody reacts, slot after slot, steps of
//! escalation and the states that they set included.
//!
//! Laws: each step is plan's own, taken on the onboarding as the one before it has left it; a slot counts as unheeded when a
//! reminder of it is sent, which is known before the next one is planned, since what waits longer gives way to that. What
//! others would do is not foreseen: refusals by mail servers, changes, signs of life.

use alloc::{string::ToString, vec::Vec};
use core::mem::take;

use chrono::{DateTime, Utc};

use super::{
    audience::{Target, audience, nudge},
    cadence::{Slot, next_reminder},
    escalation::{Escalation, TakenStep, escalate},
    outlook::give_way,
    plan::{DueNow, Gap, Step, spread, step},
    policy::EscalationStep,
    reason::{Kind, Reason},
    recheck::{Context, Planned, Verdict, recheck},
    schedule::pending,
};
use crate::{onboarding::Onboarding, state::State};

/// What the planning of a slot will bring.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreseen {
    /// When it will be planned.
    pub at: DateTime<Utc>,
    /// What is overdue now and will not be sent.
    pub missed: Vec<Gap>,
    /// The steps of escalation that will be taken.
    pub steps: Vec<EscalationStep>,
    /// The state that they will set, if it is another one.
    pub state: Option<State>,
    /// The rows that will end before the next slot is planned: those of this one, and escalations of earlier ones that
    /// have waited for somebody's hours.
    pub rows: Vec<Row>,
}

/// A row of the ledger that will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is.
    pub kind: Kind,
    /// Its slot.
    pub slot: Slot,
    /// To whom; none where nobody is there to be told.
    pub target: Option<Target>,
    /// When it will be sent, or why it will not.
    pub fate: Result<DateTime<Utc>, Reason>,
}

/// What comes for the onboarding from `now` on, in order, until nothing more will. Where the rules nudge customers and a
/// step sets `waiting`, the context needs their primary contact from the beginning.
pub fn foresee<'a>(context: &Context<'a>, now: DateTime<Utc>) -> Foresight<'a> {
    let mut onboarding = context.onboarding.clone();
    if pending(&context.rules.policy, &onboarding).is_none() {
        let (status, deleted) = (context.customer_status, context.customer_deleted);
        let next = next_reminder(context.rules, &onboarding, status, deleted, now).ok();
        stand(&mut onboarding, next);
    }
    Foresight { context: *context, onboarding, now, waiting: Vec::new() }
}

/// The walk along the slots to come.
#[derive(Debug)]
pub struct Foresight<'a> {
    context: Context<'a>,
    /// As it will be.
    onboarding: Onboarding,
    now: DateTime<Utc>,
    /// Escalations that no later one to their recipient has superseded.
    waiting: Vec<Waiting>,
}

/// A row that is not at its end.
#[derive(Debug)]
struct Waiting {
    kind: Kind,
    slot: Slot,
    target: Target,
    /// The steps that an escalation stands for.
    steps: Vec<TakenStep>,
    /// When it is looked at next.
    at: DateTime<Utc>,
}

impl Waiting {
    fn ended(self, fate: Result<DateTime<Utc>, Reason>) -> Row {
        Row { kind: self.kind, slot: self.slot, target: Some(self.target), fate }
    }
}

impl Iterator for Foresight<'_> {
    type Item = Foreseen;

    fn next(&mut self) -> Option<Foreseen> {
        let Context { rules, customer_status, customer_deleted, people, configured, .. } = self.context;
        let pending = pending(&rules.policy, &self.onboarding)?;
        let at = pending.due_at.max(self.now);
        let mut step = step(rules, &self.onboarding, customer_status, customer_deleted, pending, at);
        if pending.due_at > self.now {
            // What a snooze swallows until then is nothing that anybody waits for now.
            step.gaps.clear();
        }
        let state = self.onboarding.state;
        let mut escalation = Escalation::default();
        let mut rows = Vec::new();
        if let Some(due) = step.due {
            escalation = escalate(rules, &self.onboarding, people, configured);
            self.plan(due, &escalation, &mut rows);
        }
        self.advance(&mut step, &escalation, at);
        let gives_way = |it: &Waiting| it.kind != Kind::Escalation;
        if self.waiting.iter().any(gives_way) && give_way(&mut step) {
            // Told with what was missed, once for all who would have been reminded of it.
            self.waiting.retain(|it| !gives_way(it));
        }
        let sent = |row: &Row| row.kind == Kind::Cadence && row.fate.is_ok();
        let rows = self.until_next(&step, rows);
        let reminders = &mut self.onboarding.reminders;
        reminders.unheeded = reminders.unheeded.saturating_add(rows.iter().any(sent).into());
        Some(Foreseen {
            at,
            missed: step.gaps,
            steps: escalation.steps.iter().map(|taken| taken.step).collect(),
            state: Some(self.onboarding.state).filter(|now| *now != state),
            rows,
        })
    }
}

impl Foresight<'_> {
    /// The rows of a slot as they are planned, each with whom it tells and from when on.
    fn plan(&mut self, due: DueNow, escalation: &Escalation, ended: &mut Vec<Row>) {
        let Context { rules, people, primary_contact, configured, .. } = self.context;
        let slot = due.slot;
        let mut escalated = Vec::new();
        for told in &escalation.rows {
            // A later step to the same recipient stands for the one that waits, and for what that stands for.
            let older =
                |it: &mut Waiting| it.kind == Kind::Escalation && Some(&it.target) == told.to.as_ref().ok();
            let mut steps: Vec<TakenStep> = told.stands_for().collect();
            for it in self.waiting.extract_if(.., older) {
                steps.extend(&it.steps);
                ended.push(it.ended(Err(Reason::Superseded)));
            }
            escalated.push((told.to.clone(), steps));
        }
        let mut add = |kind, to: Result<Target, Reason>, steps| match to {
            Ok(target) => {
                let recipient = target.recipient.to_string();
                let at = spread(&rules.policy, due.send_after, &recipient, target.channel).max(self.now);
                self.waiting.push(Waiting { kind, slot, target, steps, at });
            }
            Err(reason) => ended.push(Row { kind, slot, target: None, fate: Err(reason) }),
        };
        for (to, steps) in escalated {
            add(Kind::Escalation, to, steps);
        }
        match audience(rules, &self.onboarding, people, configured, None) {
            Ok(targets) => targets.into_iter().for_each(|target| add(Kind::Cadence, Ok(target), Vec::new())),
            Err(reason) => add(Kind::Cadence, Err(reason), Vec::new()),
        }
        if let Some(to) = nudge(rules, &self.onboarding, primary_contact, configured) {
            add(Kind::Customer, to, Vec::new());
        }
    }

    /// The onboarding after the planning at `at`, and the schedule as the steps of escalation leave it.
    fn advance(&mut self, step: &mut Step, escalation: &Escalation, at: DateTime<Utc>) {
        stand(&mut self.onboarding, step.next);
        let reminders = &mut self.onboarding.reminders;
        reminders.silent = step.silent;
        reminders.last_slot = step.due.map(|due| due.slot.date).or(reminders.last_slot);
        if !escalation.steps.is_empty() {
            self.onboarding = escalation.leave(&self.context, self.onboarding.clone(), at);
        }
        step.next = pending(&self.context.rules.policy, &self.onboarding);
    }

    /// What becomes of the rows until the next slot is planned; escalations may wait for longer.
    fn until_next(&mut self, step: &Step, mut ended: Vec<Row>) -> Vec<Row> {
        let next = step.next.map(|next| next.due_at);
        for mut it in take(&mut self.waiting) {
            match self.fate(&mut it, next) {
                Some(fate) => ended.push(it.ended(fate)),
                None => self.waiting.push(it),
            }
        }
        ended
    }

    /// What the checks before sending say until then; none while it waits on.
    fn fate(&self, it: &mut Waiting, next: Option<DateTime<Utc>>) -> Option<Result<DateTime<Utc>, Reason>> {
        let context = Context { onboarding: &self.onboarding, ..self.context };
        let slot = it.slot.date.to_string();
        while next.is_none_or(|next| it.at < next) {
            let planned = Planned {
                kind: it.kind,
                slot: &slot,
                due_at: it.slot.due_at,
                channel: it.target.channel,
                recipient: &it.target.recipient,
                channels: None,
                steps: Some(&it.steps).filter(|_| it.kind == Kind::Escalation).map(Vec::as_slice),
                // An older one has ended when a later one was planned.
                last_escalation: None,
            };
            match recheck(&context, &planned, it.at) {
                Verdict::Send => return Some(Ok(it.at)),
                Verdict::Skip(reason) => return Some(Err(reason)),
                Verdict::Later(later) => it.at = later,
            }
        }
        (it.kind != Kind::Escalation).then_some(Err(Reason::Superseded))
    }
}

/// The next slot in the schedule.
fn stand(onboarding: &mut Onboarding, next: Option<Slot>) {
    onboarding.reminders.next_slot = next.map(|slot| slot.date);
    onboarding.reminders.next_reminder_at = next.map(|slot| slot.due_at);
}
