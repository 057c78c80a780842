//! What a command does to an onboarding's schedule row.
//!
//! Law: a slot that has fallen due is never dropped silently. Either the row stays, so that plan deals with it, or the
//! decision carries a gap that says why it will not be sent.

use chrono::{DateTime, NaiveDate, Utc};

use super::{
    cadence::{Slot, next_reminder, redate},
    calendar::TICK,
    plan::{Gap, Rhythm, missed, swallowed},
    policy::{Policy, Rules},
    reason::Reason,
};
use crate::{
    customer::CustomerStatus,
    onboarding::{Onboarding, Silent},
};

/// What becomes of the schedule row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// It stays as it is.
    Keep,
    /// It is written anew.
    Set {
        /// The next reminder, if one will come.
        next: Option<Slot>,
        /// Since when and why slots pass unsent, while they do.
        silent: Option<Silent>,
        /// The slots that passed unsent until now, for the ledger: those of a silence, those that were due after it.
        gaps: [Option<Gap>; 2],
    },
}

/// Decides the schedule of a new onboarding, or of one whose customer changed, and writes it into
/// `onboarding.reminders`. `customer` is none when the customer is deleted.
pub fn reschedule(
    rules: &Rules,
    onboarding: &mut Onboarding,
    customer: Option<CustomerStatus>,
    now: DateTime<Utc>,
) -> Schedule {
    let before = onboarding.clone();
    after_change(rules, &before, onboarding, customer, now)
}

/// The same for an onboarding that a command changed. What fell due until now did so by the rhythm of `before`.
pub(crate) fn after_change(
    rules: &Rules,
    before: &Onboarding,
    after: &mut Onboarding,
    customer: Option<CustomerStatus>,
    now: DateTime<Utc>,
) -> Schedule {
    let policy = &rules.policy;
    let status = customer.unwrap_or(CustomerStatus::Onboarding);
    let next = next_reminder(rules, after, status, customer.is_none(), now);
    let snoozed = after.snoozed_until.is_some_and(|end| end > now);
    let reason = match next {
        Ok(_) => snoozed.then_some(Reason::Snoozed),
        Err(silence) => Some(silence.reason()),
    };
    let was = before.reminders.silent;
    let pending = pending(policy, before);
    let overdue = pending.filter(|slot| slot.due_at <= now);
    let same_rhythm = rhythm_of(before) == rhythm_of(after);
    // What is due is planned first, by the rules as they are now, and plan finds the slot after it. What is to come
    // and is wanted as before stays where it is, even beside the rhythm.
    let mut stays = if same_rhythm && was.is_none() { pending } else { overdue };
    let swallowed = |was, until| swallowed(policy, before, was, until);
    // The new rhythm does not know the slots that the old one has missed meanwhile: the latest stands for them.
    let latest_of = |first: Slot| {
        let rhythm = Rhythm::of(policy, before);
        let latest = rhythm.last(first, now);
        let older = latest.due_at - TICK;
        (latest, (first.due_at <= older).then(|| rhythm.gap(missed(policy), first, older)))
    };
    let (silent, gaps) = match (was, reason) {
        (Some(was), Some(why)) if is_final(was.reason) => {
            (Some(Silent { reason: why, since: was.since }), [None, None])
        }
        // What a silence swallowed is told when it ends. After a final reason nobody would tell it, and a new rhythm
        // would tell it wrongly, so then it is told at once. So it is when a snooze is over and what was due since was
        // missed: that was no silence, and the one that begins may never end.
        (Some(was), Some(why)) if is_final(why) || !same_rhythm || overdue.is_some() => {
            let told = overdue.map(|slot| Rhythm::of(policy, before).gap(why, slot, now));
            let until = overdue.map_or(now, |slot| slot.due_at - TICK);
            let gaps = match swallowed(was, until) {
                Some(gap) => [Some(gap), told],
                None => [told, None],
            };
            (Some(Silent { reason: why, since: now }), gaps)
        }
        (Some(was), Some(why)) => (Some(Silent { reason: why, since: was.since }), [None, None]),
        (Some(was), None) => match overdue {
            None => (None, [swallowed(was, now), None]),
            Some(_) if same_rhythm => (Some(was), [None, None]),
            Some(first) => {
                let (latest, told) = latest_of(first);
                stays = Some(latest);
                let gaps = match swallowed(was, first.due_at - TICK) {
                    Some(gap) => [Some(gap), told],
                    None => [told, None],
                };
                (None, gaps)
            }
        },
        (None, Some(why)) => {
            let told = overdue.map(|slot| Rhythm::of(policy, before).gap(why, slot, now));
            (Some(Silent { reason: why, since: now }), [told, None])
        }
        (None, None) => match overdue.filter(|_| !same_rhythm) {
            None => (None, [None, None]),
            Some(first) => {
                let (latest, told) = latest_of(first);
                stays = Some(latest);
                (None, [told, None])
            }
        },
    };
    let next = match reason {
        None if stays.is_some() => stays,
        None | Some(_) => next.ok(),
    };
    let reminders = &mut after.reminders;
    reminders.next_reminder_at = next.map(|slot| slot.due_at);
    reminders.next_slot = next.map(|slot| slot.date);
    reminders.silent = silent;
    if *reminders == before.reminders && gaps == [None, None] {
        return Schedule::Keep;
    }
    Schedule::Set { next, silent, gaps }
}

/// The pending slot after a change of the workspace's zone, time or days: the same date, its instant anew; none when it
/// stands already. An instant that has passed by now is due, and caught up like any other.
pub fn redated(policy: &Policy, onboarding: &Onboarding) -> Option<Slot> {
    let reminders = &onboarding.reminders;
    let stands = |slot: &Slot| {
        Some(slot.date) == reminders.next_slot && Some(slot.due_at) == reminders.next_reminder_at
    };
    pending(policy, onboarding).filter(|slot| !stands(slot))
}

/// After such a reason no slot ever comes again.
const fn is_final(reason: Reason) -> bool {
    match reason {
        Reason::Completed | Reason::Deleted | Reason::CustomerDeleted => true,
        Reason::Paused
        | Reason::CustomerInactive
        | Reason::Snoozed
        | Reason::Muted
        | Reason::ChannelOff
        | Reason::ChannelsOff
        | Reason::ChannelBroken
        | Reason::NoLongerResponsible
        | Reason::NoRecipient
        | Reason::Superseded
        | Reason::TooLate
        | Reason::TestMode
        | Reason::NotConfigured
        | Reason::NeverReachable
        | Reason::NotWaiting
        | Reason::Heeded
        | Reason::CustomerNotNudged
        | Reason::NoneLeft => false,
    }
}

/// The pending slot, its instant as the policy has it now.
pub(super) fn pending(policy: &Policy, onboarding: &Onboarding) -> Option<Slot> {
    let reminders = &onboarding.reminders;
    let slot = Slot { date: reminders.next_slot?, due_at: reminders.next_reminder_at? };
    Some(redate(policy, slot.date).unwrap_or(slot))
}

const fn rhythm_of(onboarding: &Onboarding) -> (NaiveDate, u16) {
    (onboarding.hidden.cadence_base, onboarding.reminder_frequency_days)
}
