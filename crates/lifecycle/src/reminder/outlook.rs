//! Outlook: what comes next and to whom, or why nothing will, by the same functions that plan and send.

use alloc::{string::ToString, vec::Vec};

use chrono::{DateTime, Utc};

use super::{
    audience::{Target, audience, customer, switched_on},
    cadence::{Slot, next_reminder, slots},
    plan::spread,
    policy::Rules,
    reason::{Kind, Reason},
    recheck::{Context, Planned, Verdict, recheck},
    recipient::Channel,
    schedule::pending,
};
use crate::onboarding::Onboarding;

/// What comes next for an onboarding, as things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// The next slots, the pending one first; empty when none will come.
    pub slots: Vec<Slot>,
    /// Why none will come, when none will.
    pub silence: Option<Reason>,
    /// Who would be told of the first of them, or why nobody.
    pub recipients: Result<Vec<Prospect>, Reason>,
    /// Who would be told at the customer's, or why nobody: there, too, of the first slot.
    pub customer: Result<Prospect, Reason>,
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

/// The next `count` slots after `now` and their recipients as they are now.
pub fn outlook(context: &Context<'_>, now: DateTime<Utc>, count: usize) -> Outlook {
    let Context { rules, onboarding, people, configured, .. } = *context;
    let missing = |channel: &Channel| switched_on(onboarding, None, *channel) && !configured.has(*channel);
    let not_configured = Channel::ALL.into_iter().filter(missing).collect();
    let targets = audience(rules, onboarding, people, configured, None);
    let next = next_reminder(rules, onboarding, context.customer_status, context.customer_deleted, now);
    let (slots, silence) = match next {
        Ok(next) => (upcoming(rules, onboarding, next, now, count), None),
        Err(silence) => (Vec::new(), Some(silence.reason())),
    };
    let first = slots.first().copied();
    let prospect = |kind| move |target| Prospect { sends: sends(context, kind, &target, first, now), target };
    let recipients = targets.map(|targets| targets.into_iter().map(prospect(Kind::Cadence)).collect());
    let customer = customer(rules, onboarding, context.primary_contact, configured);
    let customer = customer.map(prospect(Kind::Customer));
    Outlook { slots, silence, recipients, customer, not_configured }
}

fn upcoming(
    rules: &Rules,
    onboarding: &Onboarding,
    next: Slot,
    now: DateTime<Utc>,
    count: usize,
) -> Vec<Slot> {
    // A slot that waits to be planned keeps its place, also where the rhythm was changed after it was set.
    let first = pending(&rules.policy, onboarding).filter(|slot| slot.due_at <= next.due_at).unwrap_or(next);
    let (base, days) = (onboarding.hidden.cadence_base, onboarding.reminder_frequency_days);
    let later = slots(&rules.policy, base, days, first.due_at.max(now));
    core::iter::once(first).chain(later.filter(|slot| slot.date != first.date)).take(count).collect()
}

/// What the check before sending would say at the time at which the message is to go out.
fn sends(
    context: &Context<'_>,
    kind: Kind,
    target: &Target,
    slot: Option<Slot>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, Reason> {
    // Without a slot, as if one were due now: whoever is muted is so all the same.
    let due_at = slot.map_or(now, |slot| slot.due_at);
    let date = slot.map(|slot| slot.date.to_string()).unwrap_or_default();
    let planned = Planned {
        kind,
        slot: &date,
        due_at,
        channel: target.channel,
        recipient: &target.recipient,
        channels: None,
    };
    let at = spread(&context.rules.policy, due_at.max(now), &target.recipient.to_string(), target.channel);
    match recheck(context, &planned, at) {
        Verdict::Send => Ok(at),
        Verdict::Later(later) => Ok(later),
        Verdict::Skip(reason) => Err(reason),
    }
}
