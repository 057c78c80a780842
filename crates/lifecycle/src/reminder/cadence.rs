//! Cadence: when an onboarding is reminded next.
//!
//! Nominal slot k is the base date + k * N calendar days (k >= 1). One on a day off moves forward to the next working
//! day; slots that land on one day are one; the rhythm goes on from the nominal date, so it does not drift. A slot's
//! due time is `time_of_day` on its date. Everything is computed from `(policy, base, N, after)` alone, so a restart,
//! a preview and the planner agree. Laws: the next due time is later than `after`, the same for every `after` between
//! two due times, at most one per date, on a working day. What a change of policy found pending keeps its date; its nominal date
//! makes no second slot where the new policy would have it later.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use super::{
    calendar::{TICK, instant, local_date, roll_back, roll_forward, start_of_day},
    policy::{Policy, Rules},
    reason::Reason,
};
use crate::{customer::CustomerStatus, onboarding::Onboarding, state::State};

/// A date on which an onboarding is to be reminded, and the instant at which that falls due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The local date.
    pub date: NaiveDate,
    /// The due time.
    pub due_at: DateTime<Utc>,
}

/// Why no reminder will come as things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// The onboarding is deleted.
    Deleted,
    /// The onboarding is completed.
    Completed,
    /// The customer is deleted.
    CustomerDeleted,
    /// The customer is churned or archived.
    CustomerInactive(CustomerStatus),
    /// The onboarding is paused.
    Paused,
    /// Both channels are switched off.
    ChannelsOff,
    /// The calendar ends before another slot, or the policy has no working day.
    NoneLeft,
}

impl Silence {
    /// The reason as the ledger has it.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Deleted => Reason::Deleted,
            Self::Completed => Reason::Completed,
            Self::CustomerDeleted => Reason::CustomerDeleted,
            Self::CustomerInactive(_) => Reason::CustomerInactive,
            Self::Paused => Reason::Paused,
            Self::ChannelsOff => Reason::ChannelsOff,
            Self::NoneLeft => Reason::NoneLeft,
        }
    }
}

/// The first slot that falls due after `after`; none when the calendar ends before. N = 0 is read as 1.
pub fn next_slot(policy: &Policy, base: NaiveDate, every_days: u16, after: DateTime<Utc>) -> Option<Slot> {
    next_slot_past(policy, base, every_days, after, None)
}

/// The same, of those whose nominal date is later than `last`, the date of a slot that was.
pub(super) fn next_slot_past(
    policy: &Policy,
    base: NaiveDate,
    every_days: u16,
    after: DateTime<Utc>,
    last: Option<NaiveDate>,
) -> Option<Slot> {
    // A wall time in a gap around midnight falls on the day after its slot's date.
    let mut from = local_date(&policy.time_zone, after).pred_opt()?;
    loop {
        let slot = dated(policy, date_from_past(policy, base, every_days, from, last)?)?;
        if slot.due_at > after {
            return Some(slot);
        }
        from = slot.date.succ_opt()?;
    }
}

/// The last slot that fell due at or before `until`; none when there was none.
pub fn last_slot(policy: &Policy, base: NaiveDate, every_days: u16, until: DateTime<Utc>) -> Option<Slot> {
    // Where the clocks go back over midnight, the day that is to come has already begun once.
    let mut to = local_date(&policy.time_zone, until).succ_opt()?;
    loop {
        let slot = dated(policy, date_to(policy, base, every_days, to)?)?;
        if slot.due_at <= until {
            return Some(slot);
        }
        to = slot.date.pred_opt()?;
    }
}

/// The slots that fall due after `after`, in order.
pub fn slots(
    policy: &Policy,
    base: NaiveDate,
    every_days: u16,
    after: DateTime<Utc>,
) -> impl Iterator<Item = Slot> + '_ {
    slots_past(policy, base, every_days, after, None)
}

/// The same, of those whose nominal date is later than `last`.
pub(super) fn slots_past(
    policy: &Policy,
    base: NaiveDate,
    every_days: u16,
    after: DateTime<Utc>,
    last: Option<NaiveDate>,
) -> impl Iterator<Item = Slot> + '_ {
    core::iter::successors(next_slot_past(policy, base, every_days, after, last), move |slot| {
        next_slot(policy, base, every_days, slot.due_at)
    })
}

/// How many slots have dates from `first` to `last`, both included.
pub(super) fn count(
    policy: &Policy,
    base: NaiveDate,
    every_days: u16,
    first: NaiveDate,
    last: NaiveDate,
) -> u32 {
    let next = |date: &NaiveDate| date_from(policy, base, every_days, date.succ_opt()?);
    let dates = core::iter::successors(date_from(policy, base, every_days, first), next);
    u32::try_from(dates.take_while(|date| *date <= last).count()).unwrap_or(u32::MAX)
}

/// The first slot's date at or after `from`.
fn date_from(policy: &Policy, base: NaiveDate, every_days: u16, from: NaiveDate) -> Option<NaiveDate> {
    date_from_past(policy, base, every_days, from, None)
}

/// The same, of those whose nominal date is later than `last`.
fn date_from_past(
    policy: &Policy,
    base: NaiveDate,
    every_days: u16,
    from: NaiveDate,
    last: Option<NaiveDate>,
) -> Option<NaiveDate> {
    if policy.working_days.is_empty() {
        return None;
    }
    // What lies after the last working day before `from` rolls forward to `from` or later, and nothing else does.
    let passed = if from > base {
        days(base, roll_back(policy, from.pred_opt()?)?).max(0) / rhythm(every_days)
    } else {
        0
    };
    let been = last.map_or(0, |last| days(base, last).max(0) / rhythm(every_days));
    let passed = passed.max(been);
    nominal(base, every_days, passed + 1).and_then(|date| roll_forward(policy, date))
}

/// The last slot's date at or before `to`.
fn date_to(policy: &Policy, base: NaiveDate, every_days: u16, to: NaiveDate) -> Option<NaiveDate> {
    // A nominal date after the last working day rolls past `to`.
    let passed = days(base, roll_back(policy, to)?).max(0) / rhythm(every_days);
    if passed == 0 {
        return None;
    }
    nominal(base, every_days, passed).and_then(|date| roll_forward(policy, date))
}

fn days(from: NaiveDate, to: NaiveDate) -> i64 {
    to.signed_duration_since(from).num_days()
}

fn rhythm(every_days: u16) -> i64 {
    i64::from(every_days.max(1))
}

fn nominal(base: NaiveDate, every_days: u16, k: i64) -> Option<NaiveDate> {
    base.checked_add_signed(TimeDelta::try_days(k.checked_mul(rhythm(every_days))?)?)
}

fn dated(policy: &Policy, date: NaiveDate) -> Option<Slot> {
    instant(&policy.time_zone, date, policy.time_of_day).map(|due_at| Slot { date, due_at })
}

/// Whether the onboarding is reminded at all, snoozing aside.
pub fn wanted(
    onboarding: &Onboarding,
    customer: CustomerStatus,
    customer_deleted: bool,
) -> Result<(), Silence> {
    if onboarding.hidden.deleted_at.is_some() {
        Err(Silence::Deleted)
    } else if onboarding.phase.is_terminal() {
        Err(Silence::Completed)
    } else if customer_deleted {
        Err(Silence::CustomerDeleted)
    } else if !customer.is_reminded() {
        Err(Silence::CustomerInactive(customer))
    } else if onboarding.state == State::Paused {
        Err(Silence::Paused)
    } else if !onboarding.reminder_email && !onboarding.reminder_slack {
        Err(Silence::ChannelsOff)
    } else {
        Ok(())
    }
}

/// The onboarding's next slot after `after`, or why there is none. While it is snoozed, that is the first slot at or
/// after the end of the snooze; slots that were due before the record was made never existed.
pub fn next_reminder(
    rules: &Rules,
    onboarding: &Onboarding,
    customer: CustomerStatus,
    customer_deleted: bool,
    after: DateTime<Utc>,
) -> Result<Slot, Silence> {
    next_reminder_past(rules, onboarding, (customer, customer_deleted), after, onboarding.reminders.last_slot)
}

/// The same, when the slot of the date `last` has been or is being planned.
pub(super) fn next_reminder_past(
    rules: &Rules,
    onboarding: &Onboarding,
    (customer, customer_deleted): (CustomerStatus, bool),
    after: DateTime<Utc>,
    last: Option<NaiveDate>,
) -> Result<Slot, Silence> {
    wanted(onboarding, customer, customer_deleted)?;
    let snoozed = onboarding.snoozed_until.map_or(after, |end| end - TICK);
    let after = after.max(snoozed).max(onboarding.created_at);
    let (base, every_days) = (onboarding.hidden.cadence_base, onboarding.reminder_frequency_days);
    next_slot_past(&rules.policy, base, every_days, after, last).ok_or(Silence::NoneLeft)
}

/// The base of the rhythm after a change of frequency: the date last reminded, or else the base as it was.
pub fn rebase(onboarding: &Onboarding) -> NaiveDate {
    onboarding.reminders.last_slot.unwrap_or(onboarding.hidden.cadence_base)
}

/// When a snooze of so many days ends: 00:00 local of today + `days`. None beyond the calendar.
pub fn snooze_until(policy: &Policy, days: u32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let zone = &policy.time_zone;
    start_of_day(zone, local_date(zone, now).checked_add_days(Days::new(days.into()))?)
}

/// The pending slot after a change of zone, time or days: the same date, its instant anew. Only a date that does not
/// exist in the new zone gives way to the next one. None beyond the calendar.
pub fn redate(policy: &Policy, date: NaiveDate) -> Option<Slot> {
    dated(policy, date).or_else(|| dated(policy, date.succ_opt()?))
}
