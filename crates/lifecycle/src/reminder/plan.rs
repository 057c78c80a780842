//! Plan: what to do with a schedule whose due time has come, perhaps long ago.
//!
//! However long nobody was there, a step makes at most one reminder of what was missed (the latest slot), and says in
//! gaps what became of the others; none vanishes. Work does not grow with the number of onboardings or messages, and a
//! due time far in the past is never a dead end: `next` always lies after `now`.

use alloc::vec::Vec;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::{
    cadence::{Slot, count, last_slot, next_reminder, next_reminder_past, next_slot, redate, wanted},
    calendar::{TICK, local_date, sendable_at, start_of_day},
    policy::{CatchUp, Policy, Rules},
    reason::Reason,
    recipient::Channel,
};
use crate::{
    customer::CustomerStatus,
    onboarding::{Onboarding, Silent},
};

/// What comes later than this after its time is late.
pub const GRACE: TimeDelta = TimeDelta::minutes(15);

/// What becomes of a schedule row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The reminder to be made now, if any.
    pub due: Option<DueNow>,
    /// What is not sent; one ledger row each, in order.
    pub gaps: Vec<Gap>,
    /// Where the schedule stands afterwards; none = no row.
    pub next: Option<Slot>,
    /// Since when and why slots pass unsent from here on, while they do.
    pub silent: Option<Silent>,
}

/// A reminder to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueNow {
    /// Its slot.
    pub slot: Slot,
    /// When it may be sent, before spreading: its due time, or when it is late the next instant to send such.
    pub send_after: DateTime<Utc>,
}

/// A run of slots that are not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: Reason,
    /// The first slot's date.
    pub first: NaiveDate,
    /// The last slot's date.
    pub last: NaiveDate,
    /// How many slots.
    pub count: u32,
}

/// The step for the schedule row `pending`. A row that is not due (any more, after a change of zone or time) only
/// has its instant set right.
pub fn step(
    rules: &Rules,
    onboarding: &Onboarding,
    customer: CustomerStatus,
    customer_deleted: bool,
    pending: Slot,
    now: DateTime<Utc>,
) -> Step {
    let policy = &rules.policy;
    let rhythm = Rhythm::of(policy, onboarding);
    let wanted = wanted(onboarding, customer, customer_deleted);
    let silent = onboarding.reminders.silent;
    let pending = redate(policy, pending.date).unwrap_or(pending);
    if pending.due_at > now {
        return Step { due: None, gaps: Vec::new(), next: wanted.is_ok().then_some(pending), silent };
    }
    let next = next_reminder(rules, onboarding, customer, customer_deleted, now).ok();
    // What a silence swallowed before this slot is told now that the slot is here.
    let before = silent.and_then(|was| swallowed(policy, onboarding, was, pending.due_at - TICK));
    let mut gaps = Vec::from_iter(before);
    let snoozed = onboarding.snoozed_until.filter(|end| *end > pending.due_at);
    let first = match (wanted, snoozed) {
        (Err(silence), _) => {
            let reason = silence.reason();
            gaps.push(rhythm.gap(reason, pending, now));
            return Step { due: None, gaps, next, silent: Some(Silent { reason, since: now }) };
        }
        (Ok(()), None) => pending,
        (Ok(()), Some(end)) => {
            gaps.push(rhythm.gap(Reason::Snoozed, pending, now.min(end - TICK)));
            let Some(first) = rhythm.next(end - TICK).filter(|slot| slot.due_at <= now) else {
                let silent = (end > now).then_some(Silent { reason: Reason::Snoozed, since: now });
                return Step { due: None, gaps, next, silent };
            };
            first
        }
    };
    let latest = rhythm.last(first, now);
    let late = now - latest.due_at > GRACE;
    let due = match policy.catch_up {
        CatchUp::Once if late => Some(DueNow { slot: latest, send_after: sendable_at(policy, now) }),
        CatchUp::Once | CatchUp::Skip if !late => Some(DueNow { slot: latest, send_after: latest.due_at }),
        CatchUp::Once | CatchUp::Skip => None,
    };
    let reason = missed(policy);
    let unsent_until = due.map_or(now, |due| due.slot.due_at - TICK);
    if first.due_at <= unsent_until {
        gaps.push(rhythm.gap(reason, first, unsent_until));
    }
    // What kept its date when the policy changed is its nominal date's slot, wherever that would lie now.
    let next = match due {
        Some(due) => {
            let last = onboarding.reminders.last_slot.max(Some(due.slot.date));
            next_reminder_past(rules, onboarding, (customer, customer_deleted), now, last).ok()
        }
        None => next,
    };
    Step { due, gaps, next, silent: None }
}

/// Why slots are not sent that nobody was there to send.
pub(super) const fn missed(policy: &Policy) -> Reason {
    match policy.catch_up {
        CatchUp::Once => Reason::Superseded,
        CatchUp::Skip => Reason::TooLate,
    }
}

/// The slots that fell due after `after` up to `until`, as one gap; none when there were none. For what a pause or a
/// snooze swallowed, when it ends.
pub fn gap(
    policy: &Policy,
    onboarding: &Onboarding,
    reason: Reason,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Option<Gap> {
    let rhythm = Rhythm::of(policy, onboarding);
    let first = rhythm.next(after.max(onboarding.created_at)).filter(|slot| slot.due_at <= until)?;
    Some(rhythm.gap(reason, first, until))
}

/// The slots that a silence swallowed up to `until`. A snooze explains nothing that was due after its end.
pub(super) fn swallowed(
    policy: &Policy,
    onboarding: &Onboarding,
    was: Silent,
    until: DateTime<Utc>,
) -> Option<Gap> {
    let end = onboarding.snoozed_until.filter(|_| was.reason == Reason::Snoozed);
    let until = end.map_or(until, |end| until.min(end - TICK));
    gap(policy, onboarding, was.reason, was.since, until)
}

/// An onboarding's rhythm.
pub(super) struct Rhythm<'a> {
    policy: &'a Policy,
    base: NaiveDate,
    every_days: u16,
}

impl<'a> Rhythm<'a> {
    pub(super) const fn of(policy: &'a Policy, onboarding: &Onboarding) -> Self {
        Self { policy, base: onboarding.hidden.cadence_base, every_days: onboarding.reminder_frequency_days }
    }

    fn next(&self, after: DateTime<Utc>) -> Option<Slot> {
        next_slot(self.policy, self.base, self.every_days, after)
    }

    /// The last slot due up to `until`; `first` if the rhythm has none later. (A pending slot keeps its date when the
    /// rhythm changes, so that `first` need not be one of the rhythm's own.)
    pub(super) fn last(&self, first: Slot, until: DateTime<Utc>) -> Slot {
        last_slot(self.policy, self.base, self.every_days, until).map_or(first, |last| last.max(first))
    }

    /// The slots from `first` on that fell due up to `until`.
    pub(super) fn gap(&self, reason: Reason, first: Slot, until: DateTime<Utc>) -> Gap {
        let last = self.last(first, until).date;
        let after_first = first
            .date
            .succ_opt()
            .map_or(0, |from| count(self.policy, self.base, self.every_days, from, last));
        Gap { reason, first: first.date, last, count: after_first.saturating_add(1) }
    }
}

/// When a message that may go out from `at` on is sent: moved by a hash of recipient and channel within
/// `spread_minutes` and within the local day, so that it is the same on every host and after every restart.
pub fn spread(policy: &Policy, at: DateTime<Utc>, recipient: &str, channel: Channel) -> DateTime<Utc> {
    let zone = &policy.time_zone;
    let tomorrow = local_date(zone, at).succ_opt().and_then(|date| start_of_day(zone, date));
    let day_left = tomorrow.map_or(0, |end| (end - at).num_seconds());
    let Some(seconds) =
        u64::try_from(day_left.min(i64::from(policy.spread_minutes) * 60)).ok().filter(|s| *s > 0)
    else {
        return at;
    };
    let moved = stable_hash(&[channel.as_str(), recipient]) % seconds;
    at + TimeDelta::seconds(i64::try_from(moved).unwrap_or(0))
}

/// FNV-1a (64 bits) over the parts, each closed by a zero byte, with the finishing mix of `MurmurHash3`: FNV alone
/// leaves the low bits of near-equal names close together. Its values may not change: what is spread would move.
pub fn stable_hash(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
