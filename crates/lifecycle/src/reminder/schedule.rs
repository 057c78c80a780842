//! What a command does to an onboarding's schedule row.
//!
//! Law: a slot that has fallen due is never dropped silently. Either the row stays, so that plan deals with it, or the
//! decision carries a gap that says why it will not be sent.

use chrono::{DateTime, Utc};

use super::{
    cadence::{Slot, next_reminder},
    calendar::TICK,
    plan::{Gap, gap},
    policy::Rules,
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
        /// The slots that passed unsent until now, for the ledger.
        gap: Option<Gap>,
    },
}

/// Decides the schedule of a new or changed onboarding and writes it into `onboarding.reminders`. `customer` is none
/// when the customer is deleted.
pub fn reschedule(
    rules: &Rules,
    onboarding: &mut Onboarding,
    customer: Option<CustomerStatus>,
    now: DateTime<Utc>,
) -> Schedule {
    let status = customer.unwrap_or(CustomerStatus::Onboarding);
    let next = next_reminder(rules, onboarding, status, customer.is_none(), now);
    let before = onboarding.reminders;
    let overdue = before.next_reminder_at.filter(|due| *due <= now);
    let snoozed = onboarding.snoozed_until.is_some_and(|end| end > now);
    if next.is_ok() && overdue.is_some() && !snoozed && before.silent.is_none() {
        // What is due is planned first, by the rules as they are now; plan finds the slot after it.
        return Schedule::Keep;
    }

    let reason = match next {
        Ok(_) => snoozed.then_some(Reason::Snoozed),
        Err(silence) => Some(silence.reason()),
    };
    let policy = &rules.policy;
    let missed = |why, after| gap(policy, onboarding, why, after, now);
    // The slots that an earlier silence swallowed are told when it ends; after a final one (deleted, completed) nobody
    // would tell them, so they are told now.
    let ends = |why: Reason| matches!(why, Reason::Deleted | Reason::Completed);
    let (silent, gap) = match (before.silent, reason) {
        (Some(was), None) => (None, missed(was.reason, was.since)),
        (Some(was), Some(why)) if ends(why) => {
            (Some(Silent { reason: why, since: now }), missed(was.reason, was.since))
        }
        (Some(was), Some(why)) => (Some(Silent { reason: why, since: was.since }), None),
        (None, Some(why)) => {
            let told = overdue.and_then(|due| missed(why, due - TICK));
            (Some(Silent { reason: why, since: now }), told)
        }
        (None, None) => (None, None),
    };
    let next = next.ok();
    onboarding.reminders.next_reminder_at = next.map(|slot| slot.due_at);
    onboarding.reminders.next_slot = next.map(|slot| slot.date);
    onboarding.reminders.silent = silent;
    Schedule::Set { next, silent, gap }
}
