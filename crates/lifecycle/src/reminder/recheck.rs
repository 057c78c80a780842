//! Recheck: is a planned delivery still wanted, at the moment of sending?
//!
//! Nothing is sent that the onboarding's state at that moment does not want. A person's quiet hours and days off move
//! a message to their end, mute drops it, and what has become late this way waits for the workspace's hours as well.
//! *Remind now* stands above rhythm, hours, snooze and pause, but not above mute, switches, or a completed onboarding.

use alloc::string::ToString;

use chrono::{DateTime, NaiveDate, Utc};

use super::{
    audience::{Configured, Target, audience, customer, escalation, responsible, switched_on},
    cadence::{Silence, wanted},
    calendar::sendable_at,
    escalation::{TakenStep, steps_now},
    plan::{GRACE, spread},
    policy::{EscalationStep, Rules},
    quiet::free_from,
    reason::{Kind, Reason},
    recipient::{Channel, Recipient},
};
use crate::{
    customer::{Contact, CustomerStatus},
    onboarding::Onboarding,
    person::User,
};

/// A delivery of the ledger that is about to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its slot as the ledger has it: a date, or of *remind now* the request's id.
    pub slot: &'a str,
    /// When its slot fell due; for *remind now*, when it was asked for.
    pub due_at: DateTime<Utc>,
    /// By which channel.
    pub channel: Channel,
    /// To whom.
    pub recipient: &'a Recipient,
    /// The channels that *remind now* named itself, in the place of the onboarding's switches.
    pub channels: Option<&'a [Channel]>,
    /// The steps that an escalation was planned for; none = any step of the list, of rows that do not say.
    pub steps: Option<&'a [TakenStep]>,
    /// The slot of the last escalation to the same recipient by the same channel, if it is known: its own, or a later one.
    pub last_escalation: Option<NaiveDate>,
}

/// Everything as it is now.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The workspace's rules.
    pub rules: &'a Rules,
    /// The onboarding.
    pub onboarding: &'a Onboarding,
    /// Its customer's status.
    pub customer_status: CustomerStatus,
    /// Whether the customer was deleted.
    pub customer_deleted: bool,
    /// Those who have a role, whether active or not.
    pub people: &'a [User],
    /// The customer's primary contact; needed only where [`nudged`](super::audience::nudged) says so.
    pub primary_contact: Option<&'a Contact>,
    /// What this installation can send by.
    pub configured: Configured,
}

/// What to do with the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send it.
    Send,
    /// Never send it.
    Skip(Reason),
    /// Ask again then; always later than now.
    Later(DateTime<Utc>),
}

/// Whether the delivery is to be sent now.
pub fn recheck(context: &Context<'_>, planned: &Planned<'_>, now: DateTime<Utc>) -> Verdict {
    match skip(context, planned, now) {
        Some(reason) => Verdict::Skip(reason),
        None => when(context, planned, now),
    }
}

fn skip(context: &Context<'_>, planned: &Planned<'_>, now: DateTime<Utc>) -> Option<Reason> {
    if !context.onboarding.livemode {
        return Some(Reason::TestMode);
    }
    if !context.configured.has(planned.channel) {
        return Some(Reason::NotConfigured);
    }
    unwanted(context, planned, now).or_else(|| unaddressed(context, planned)).or_else(|| {
        let muted = user(context, planned)?.reach.mute_until.is_some_and(|until| until > now);
        muted.then_some(Reason::Muted)
    })
}

/// Why the onboarding wants no such delivery.
fn unwanted(context: &Context<'_>, planned: &Planned<'_>, now: DateTime<Utc>) -> Option<Reason> {
    let onboarding = context.onboarding;
    let silence =
        wanted(onboarding, context.customer_status, context.customer_deleted).err().map(Silence::reason);
    match planned.kind {
        Kind::Manual => silence.filter(|reason| !is_waived(*reason)),
        // What a dead worker held while a later slot was planned: that one stands for it.
        Kind::Cadence | Kind::Customer if is_earlier(planned.slot, onboarding.reminders.last_slot) => {
            Some(silence.unwrap_or(Reason::Superseded))
        }
        // The count began anew since it was planned: no step as far as its own is taken.
        Kind::Escalation if is_heeded(onboarding, planned.steps) => Some(silence.unwrap_or(Reason::Heeded)),
        // A later step told the same person, or is to. What others were told does not concern them.
        Kind::Escalation if is_earlier(planned.slot, planned.last_escalation) => {
            Some(silence.unwrap_or(Reason::Superseded))
        }
        // A pause that is no sign of life is what a step has set, and its message is what tells of it.
        Kind::Escalation if silence == Some(Reason::Paused) => None,
        Kind::Cadence | Kind::Escalation | Kind::Customer => silence.or_else(|| {
            // A slot inside a snooze stays unwanted after its end: the next one has come by then, or will.
            let snoozed = onboarding.snoozed_until.is_some_and(|end| now < end || planned.due_at < end);
            snoozed.then_some(Reason::Snoozed)
        }),
    }
}

/// Whether the slot is a date before the other one.
fn is_earlier(slot: &str, than: Option<NaiveDate>) -> bool {
    slot.parse().is_ok_and(|slot: NaiveDate| than > Some(slot))
}

/// Whether somebody showed a sign of life since these steps were taken.
fn is_heeded(onboarding: &Onboarding, steps: Option<&[TakenStep]>) -> bool {
    let escalated = onboarding.reminders.escalated;
    escalated == 0 || steps.unwrap_or_default().iter().any(|step| step.after_reminders > escalated)
}

/// What *remind now* does not ask about. (Switches are asked with the audience, where `channels` may replace them.)
const fn is_waived(reason: Reason) -> bool {
    matches!(reason, Reason::Paused | Reason::CustomerInactive | Reason::ChannelsOff)
}

/// Why the recipient is not, or not by this channel, one whom the onboarding tells.
fn unaddressed(context: &Context<'_>, planned: &Planned<'_>) -> Option<Reason> {
    let Context { rules, onboarding, people, configured, .. } = *context;
    let channels = planned.channels.filter(|_| planned.kind == Kind::Manual);
    let is_it = |target: &Target| target.channel == planned.channel && target.recipient == *planned.recipient;
    let found = match planned.kind {
        Kind::Cadence | Kind::Manual => {
            audience(rules, onboarding, people, configured, channels).map(|targets| targets.iter().any(is_it))
        }
        Kind::Escalation => {
            let told = |step: &EscalationStep| {
                let targets = escalation(rules, onboarding, people, configured, step.to);
                targets.is_ok_and(|all| all.iter().any(is_it))
            };
            Ok(match planned.steps {
                Some(steps) => steps.iter().any(|taken| steps_now(rules, *taken).iter().any(told)),
                None => rules.escalation.iter().any(told),
            })
        }
        Kind::Customer => {
            customer(rules, onboarding, context.primary_contact, configured).map(|it| is_it(&it))
        }
    };
    match found {
        Ok(true) => broken_contact(context, planned),
        // That nobody is left to be told does not say what became of this one.
        Ok(false) | Err(Reason::NoRecipient) => Some(estranged(context, planned, channels)),
        Err(reason) => Some(reason),
    }
}

/// That the contact's address is known to fail, which for a member of the team is a matter of the audience: they have
/// another channel.
fn broken_contact(context: &Context<'_>, planned: &Planned<'_>) -> Option<Reason> {
    let Recipient::Contact(_) = planned.recipient else { return None };
    let broken = context.primary_contact.is_some_and(|contact| contact.email_broken.is_some());
    broken.then_some(Reason::ChannelBroken)
}

/// Why a recipient is none any more: by the switches, or because others stand in their place.
fn estranged(context: &Context<'_>, planned: &Planned<'_>, channels: Option<&[Channel]>) -> Reason {
    let mine = user(context, planned);
    let still = responsible(context.rules, context.onboarding, context.people);
    match mine
        .filter(|user| planned.kind == Kind::Escalation || still.iter().any(|(_, one)| one.id == user.id))
    {
        Some(user) if user.reach.enabled(planned.channel) && user.reach.broken(planned.channel).is_some() => {
            Reason::ChannelBroken
        }
        Some(user) if !user.reach.enabled(planned.channel) => Reason::ChannelOff,
        Some(_) | None if !switched_on(context.onboarding, channels, planned.channel) => Reason::ChannelOff,
        Some(_) | None => Reason::NoLongerResponsible,
    }
}

/// The person behind the recipient, if it is one who has a role and is there.
fn user<'a>(context: &Context<'a>, planned: &Planned<'_>) -> Option<&'a User> {
    let Recipient::User(id) = planned.recipient else { return None };
    context.people.iter().find(|user| user.id == *id && user.active && user.deleted_at.is_none())
}

/// When a wanted delivery may go out.
fn when(context: &Context<'_>, planned: &Planned<'_>, now: DateTime<Utc>) -> Verdict {
    if planned.kind == Kind::Manual {
        return Verdict::Send;
    }
    let policy = &context.rules.policy;
    let reach = user(context, planned).map(|user| &user.reach);
    let free = |at| reach.map_or(Some(at), |reach| free_from(reach, &policy.time_zone, at));
    // Spreading makes no message late.
    let intended = spread(policy, planned.due_at, &planned.recipient.to_string(), planned.channel);
    let open = |at| if at - intended > GRACE { sendable_at(policy, at) } else { at };
    let Some(own) = free(now) else { return Verdict::Skip(Reason::NeverReachable) };
    let mut at = own;
    for _ in 0..ROUNDS {
        let opened = open(at);
        let Some(freed) = free(opened) else { break };
        if freed == at {
            return if at > now { Verdict::Later(at) } else { Verdict::Send };
        }
        at = freed;
    }
    // The person's hours and the workspace's never meet: theirs decide, or the message would never go out.
    if own > now { Verdict::Later(own) } else { Verdict::Send }
}

/// How often the two calendars may move a message in turn: more than the working days of any run of days off.
const ROUNDS: usize = 64;
