//! Outlook: what comes next and to whom, or why nothing will, by the same functions that plan and send.

use alloc::{string::ToString, vec::Vec};

use chrono::{DateTime, Utc};

use super::{
    audience::{Target, audience, customer, switched_on},
    cadence::{Slot, next_reminder, slots_past, wanted},
    escalation::escalate,
    plan::{DueNow, Gap, Step, spread, step},
    policy::{EscalationStep, Rules},
    reason::{Kind, Reason},
    recheck::{Context, Planned, Verdict, recheck},
    recipient::Channel,
    schedule::pending,
};
use crate::{customer::CustomerStatus, onboarding::Onboarding};

/// What comes next for an onboarding, as things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// The next reminders: first the one that plan makes of what is overdue, if any; empty when none will come. Where a
    /// step of escalation pauses the onboarding with the first, it is the last.
    pub coming: Vec<DueNow>,
    /// What is overdue and will not be sent.
    pub missed: Vec<Gap>,
    /// Why none will come, when none will.
    pub silence: Option<Reason>,
    /// Who would be told of the first of them, or why nobody.
    pub recipients: Result<Vec<Prospect>, Reason>,
    /// Who would be told at the customer's, or why nobody: there, too, of the first of them.
    pub customer: Result<Prospect, Reason>,
    /// The steps of escalation that are taken with the next slot that is planned, mildest first.
    pub escalates: Vec<Escalates>,
    /// The channels that are switched on and that this installation does not have: nothing is planned for them.
    pub not_configured: Vec<Channel>,
}

/// Somebody who would be told of the next slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prospect {
    /// To whom, by which channel, and why to them.
    pub target: Target,
    /// When their message goes out; later than the due time while they have quiet hours, a day off, or messages are
    /// spread. Or why it will not.
    pub sends: Result<DateTime<Utc>, Reason>,
}

/// A step of escalation that will be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalates {
    /// The step.
    pub step: EscalationStep,
    /// Whom it tells, or why nobody.
    pub to: Result<Vec<Prospect>, Reason>,
}

/// What comes from `now` on: the first `count` of what falls due later than `after`, of all that comes if that is none.
/// The recipients are those of the very first, as they are now.
pub fn outlook(
    context: &Context<'_>,
    now: DateTime<Utc>,
    after: Option<DateTime<Utc>>,
    count: usize,
) -> Outlook {
    let Context { rules, onboarding, people, configured, .. } = *context;
    let missing = |channel: &Channel| switched_on(onboarding, None, *channel) && !configured.has(*channel);
    let not_configured = Channel::ALL.into_iter().filter(missing).collect();
    let (status, deleted) = (context.customer_status, context.customer_deleted);
    let mut step = planned(rules, onboarding, status, deleted, now);
    let due = step.due.or(step.next.map(on_time));
    let escalation = due.map(|_| escalate(rules, onboarding, people, configured)).unwrap_or_default();
    let left = escalation.leave(context, onboarding.clone(), due.map_or(now, |due| due.slot.due_at.max(now)));
    let context = &Context { onboarding: &left, ..*context };
    let last = due.filter(|_| wanted(&left, status, deleted).is_err());
    if last.is_none() {
        give_way(&mut step);
    }
    let first = coming(rules, onboarding, &step, None).next();
    let silence = match (first, next_reminder(rules, onboarding, status, deleted, now)) {
        (None, Err(silence)) => Some(silence.reason()),
        (Some(_), _) | (None, Ok(_)) => None,
    };
    let coming = coming(rules, onboarding, &step, after);
    let comes = |it: &DueNow| last.is_none_or(|last| it.slot <= last.slot);
    let coming = coming.take_while(comes).take(count).collect();
    let told = |kind, due: Option<DueNow>| {
        move |target| match due {
            Some(due) => Ok(Prospect { sends: sends(context, kind, &target, due, now), target }),
            None => Err(silence.unwrap_or(Reason::NoneLeft)),
        }
    };
    let recipients = audience(rules, onboarding, people, configured, None);
    let recipients = recipients.and_then(|found| found.into_iter().map(told(Kind::Cadence, first)).collect());
    let customer = customer(rules, onboarding, context.primary_contact, configured);
    let customer = customer.and_then(told(Kind::Customer, first));
    let escalates = escalation.steps.into_iter().map(|taken| Escalates {
        step: taken.step,
        to: taken.to.and_then(|found| found.into_iter().map(told(Kind::Escalation, due)).collect()),
    });
    let escalates = escalates.collect();
    Outlook { coming, missed: step.gaps, silence, recipients, customer, escalates, not_configured }
}

/// What plan makes of the onboarding's schedule at `now`, whether or not anything is due.
fn planned(
    rules: &Rules,
    onboarding: &Onboarding,
    customer: CustomerStatus,
    customer_deleted: bool,
    now: DateTime<Utc>,
) -> Step {
    if let Some(pending) = pending(&rules.policy, onboarding) {
        return step(rules, onboarding, customer, customer_deleted, pending, now);
    }
    let next = next_reminder(rules, onboarding, customer, customer_deleted, now).ok();
    Step { due: None, gaps: Vec::new(), next, silent: onboarding.reminders.silent }
}

/// What is late and has to wait until the next slot is due gives way to it there, as in the ledger; whether it was such.
pub(super) fn give_way(step: &mut Step) -> bool {
    let next = step.next;
    let Some(late) = step.due.take_if(|due| next.is_some_and(|next| due.send_after >= next.due_at)) else {
        return false;
    };
    let (reason, date) = (Reason::Superseded, late.slot.date);
    match step.gaps.last_mut().filter(|gap| gap.reason == reason) {
        Some(gap) => (gap.last, gap.count) = (date, gap.count.saturating_add(1)),
        None => step.gaps.push(Gap { reason, first: date, last: date, count: 1 }),
    }
    true
}

const fn on_time(slot: Slot) -> DueNow {
    DueNow { slot, send_after: slot.due_at }
}

/// The reminders from that step on, in order: the one that is due, then a slot after the other. Those that fall due up
/// to `after` are left out.
fn coming<'a>(
    rules: &'a Rules,
    onboarding: &Onboarding,
    step: &Step,
    after: Option<DateTime<Utc>>,
) -> impl Iterator<Item = DueNow> + use<'a> {
    let (base, days) = (onboarding.hidden.cadence_base, onboarding.reminder_frequency_days);
    let next = step.next;
    let later = next.into_iter().flat_map(move |next| {
        let from = after.map_or(next.due_at, |after| next.due_at.max(after));
        slots_past(&rules.policy, base, days, from, Some(next.date))
    });
    let first = step.due.into_iter().chain(next.map(on_time));
    first.filter(move |it| after.is_none_or(|after| it.slot.due_at > after)).chain(later.map(on_time))
}

/// What the check before sending would say at the time at which the message is to go out.
fn sends(
    context: &Context<'_>,
    kind: Kind,
    target: &Target,
    first: DueNow,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, Reason> {
    let date = first.slot.date.to_string();
    let planned = Planned {
        kind,
        slot: &date,
        due_at: first.slot.due_at,
        channel: target.channel,
        recipient: &target.recipient,
        channels: None,
        steps: None,
        last_escalation: None,
    };
    let policy = &context.rules.policy;
    let at = spread(policy, first.send_after, &target.recipient.to_string(), target.channel).max(now);
    match recheck(context, &planned, at) {
        Verdict::Send => Ok(at),
        Verdict::Later(later) => Ok(later),
        Verdict::Skip(reason) => Err(reason),
    }
}
