//! Outlook: what comes next and to whom, or why nothing will, by the same functions that plan and send.

use alloc::vec::Vec;

use chrono::{DateTime, Utc};

use super::{
    audience::{Configured, Target, audience},
    cadence::{Slot, next_reminder, slots},
    policy::Rules,
    reason::Reason,
};
use crate::{customer::CustomerStatus, onboarding::Onboarding, person::User};

/// What comes next for an onboarding, as things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// The next slots, the pending one first; empty when none will come.
    pub slots: Vec<Slot>,
    /// Why none will come, when none will.
    pub silence: Option<Reason>,
    /// Who would be told now, or why nobody.
    pub recipients: Result<Vec<Target>, Reason>,
}

/// The next `count` slots after `now` and their recipients as they are now. `customer` is none when it is deleted;
/// `people` are those with a role.
pub fn outlook(
    rules: &Rules,
    onboarding: &Onboarding,
    customer: Option<CustomerStatus>,
    people: &[User],
    configured: Configured,
    now: DateTime<Utc>,
    count: usize,
) -> Outlook {
    let status = customer.unwrap_or(CustomerStatus::Onboarding);
    let recipients = audience(rules, onboarding, people, configured, None);
    let next = match next_reminder(rules, onboarding, status, customer.is_none(), now) {
        Ok(next) => next,
        Err(silence) => return Outlook { slots: Vec::new(), silence: Some(silence.reason()), recipients },
    };
    // A slot that waits to be planned keeps its place, also where the rhythm was changed after it was set.
    let reminders = onboarding.reminders;
    let pending =
        reminders.next_slot.zip(reminders.next_reminder_at).map(|(date, due_at)| Slot { date, due_at });
    let first = pending.filter(|slot| slot.due_at <= next.due_at).unwrap_or(next);
    let later = slots(
        &rules.policy,
        onboarding.hidden.cadence_base,
        onboarding.reminder_frequency_days,
        first.due_at.max(now),
    );
    let slots =
        core::iter::once(first).chain(later.filter(|slot| slot.date != first.date)).take(count).collect();
    Outlook { slots, silence: None, recipients }
}
