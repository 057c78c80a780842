//! Calendar: which instants local dates and wall times are, and which days are worked on.
//!
//! The one place where a zone meets an instant. Wall times are read as RFC 5545 (3.3.5) reads them: one that does not
//! exist has the offset from before the gap, one that exists twice is the first of the two. A date that does not
//! exist at all (Apia, 2011-12-30) has no instant and is no working day. Dates outside years -9999 to 9999 do not
//! exist either: whatever walks towards them ends there.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Timelike, Utc};
use jiff::{
    Timestamp, civil,
    tz::{AmbiguousOffset, AmbiguousTimestamp},
};

use super::policy::{Policy, Zone};

/// The last wall time of a day, as far as jiff counts.
const LAST: civil::Time = civil::Time::MAX;

/// The date that the clocks of the zone show.
pub fn local_date(zone: &Zone, at: DateTime<Utc>) -> NaiveDate {
    local(zone, at).0
}

/// Date and time that the clocks of the zone show. Beyond the years that the tz database knows, those of UTC.
pub fn local(zone: &Zone, at: DateTime<Utc>) -> (NaiveDate, NaiveTime) {
    let read = || {
        let nanos = i32::try_from(at.timestamp_subsec_nanos().min(999_999_999)).ok()?;
        let shown = zone.rules().to_datetime(Timestamp::new(at.timestamp(), nanos).ok()?);
        Some((from_civil(shown.date())?, from_civil_time(shown.time())?))
    };
    read().unwrap_or_else(|| (at.date_naive(), at.time()))
}

/// The instant of a wall time; none when the date does not exist in the zone.
pub fn instant(zone: &Zone, date: NaiveDate, time: NaiveTime) -> Option<DateTime<Utc>> {
    let read = ambiguous(zone, date, time)?;
    // Only a wall time inside a gap can stand on a date that is not there.
    if matches!(read.offset(), AmbiguousOffset::Gap { .. }) && !exists(zone, date) {
        return None;
    }
    first_reading(zone, read)
}

/// When the clocks first show that wall time or, where they skip it, a later one.
fn reached(zone: &Zone, date: NaiveDate, time: NaiveTime) -> Option<DateTime<Utc>> {
    let read = ambiguous(zone, date, time)?;
    if matches!(read.offset(), AmbiguousOffset::Gap { .. }) {
        // Read with the offset from after the gap, the wall time lies before it.
        let before = read.earlier().ok()?;
        return to_chrono(zone.rules().following(before).next()?.timestamp());
    }
    first_reading(zone, read)
}

/// The first of the instants that a wall time may be. Where jiff's database changes from listed changes of offset to
/// its yearly rule (Nuuk, October 2023), it tells of a second reading and means one by an offset that is not in force:
/// an instant at which the clocks show something else gives way to the other one.
fn first_reading(zone: &Zone, read: AmbiguousTimestamp) -> Option<DateTime<Utc>> {
    let shown = |at: &Timestamp| zone.rules().to_datetime(*at) == read.datetime();
    let first = read.compatible().ok()?;
    let later = || read.later().ok().filter(shown);
    let found = if shown(&first) { first } else { later().unwrap_or(first) };
    to_chrono(found)
}

/// The same, later than `at`: in a night that has the wall time twice, the second one after the first.
pub(super) fn reached_after(
    zone: &Zone,
    date: NaiveDate,
    time: NaiveTime,
    at: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let first = reached(zone, date, time)?;
    if first > at {
        return Some(first);
    }
    let second = to_chrono(ambiguous(zone, date, time)?.later().ok()?)?;
    (second > at).then_some(second)
}

/// Whether the zone's clocks ever show that date.
pub fn exists(zone: &Zone, date: NaiveDate) -> bool {
    let Some(date) = to_civil(date) else { return false };
    let in_gap = |time| {
        let offset = zone.rules().to_ambiguous_timestamp(date.to_datetime(time)).offset();
        matches!(offset, AmbiguousOffset::Gap { .. })
    };
    !(in_gap(civil::Time::midnight()) && in_gap(LAST))
}

/// When the date begins; for a date that does not exist, when the next one does.
pub fn start_of_day(zone: &Zone, date: NaiveDate) -> Option<DateTime<Utc>> {
    reached(zone, date, NaiveTime::MIN)
}

/// How often midnight passed in the zone between two instants; negative when `to` is the earlier.
pub fn whole_days_between(zone: &Zone, from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    local_date(zone, to).signed_duration_since(local_date(zone, from)).num_days()
}

/// Whether slots fall on that date.
pub fn is_working_day(policy: &Policy, date: NaiveDate) -> bool {
    policy.working_days.contains(&date.weekday())
        && !policy.holidays.contains(&date)
        && exists(&policy.time_zone, date)
}

/// The first working day at or after the date; none when there is no more.
pub fn roll_forward(policy: &Policy, date: NaiveDate) -> Option<NaiveDate> {
    walk(policy, date, NaiveDate::succ_opt)
}

/// The last working day at or before the date; none when there was none.
pub fn roll_back(policy: &Policy, date: NaiveDate) -> Option<NaiveDate> {
    walk(policy, date, NaiveDate::pred_opt)
}

/// Ends because holidays are finite: without a weekday to work on, or out of range, there is nothing to walk to.
fn walk(policy: &Policy, from: NaiveDate, step: fn(&NaiveDate) -> Option<NaiveDate>) -> Option<NaiveDate> {
    if policy.working_days.is_empty() {
        return None;
    }
    let mut date = from;
    while !is_working_day(policy, date) {
        to_civil(date)?;
        date = step(&date)?;
    }
    Some(date)
}

/// For what is late: the earliest instant from `at` on that lies on a working day between `time_of_day` and
/// `send_until`, both included. A policy without any such instant sends at once: silence would go unnoticed.
pub fn sendable_at(policy: &Policy, at: DateTime<Utc>) -> DateTime<Utc> {
    let zone = &policy.time_zone;
    let today = local_date(zone, at);
    let window = |date| {
        let date = roll_forward(policy, date)?;
        let open = instant(zone, date, policy.time_of_day)?;
        let close = instant(zone, date, policy.send_until)?.max(open);
        Some((date, open, close))
    };
    let find = || {
        let (date, open, close) = window(today)?;
        if at <= close {
            return Some(open.max(at));
        }
        let (_, open, _) = window(date.checked_add_days(Days::new(1))?)?;
        Some(open.max(at))
    };
    find().unwrap_or(at)
}

/// The smallest step of our instants.
pub(super) const TICK: TimeDelta = TimeDelta::microseconds(1);

fn ambiguous(zone: &Zone, date: NaiveDate, time: NaiveTime) -> Option<AmbiguousTimestamp> {
    let time = civil::Time::new(
        i8::try_from(time.hour()).ok()?,
        i8::try_from(time.minute()).ok()?,
        i8::try_from(time.second()).ok()?,
        i32::try_from(time.nanosecond().min(999_999_999)).ok()?,
    )
    .ok()?;
    Some(zone.rules().to_ambiguous_timestamp(to_civil(date)?.to_datetime(time)))
}

fn to_civil(date: NaiveDate) -> Option<civil::Date> {
    let year = i16::try_from(date.year()).ok()?;
    civil::Date::new(year, i8::try_from(date.month()).ok()?, i8::try_from(date.day()).ok()?).ok()
}

fn from_civil(date: civil::Date) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(
        date.year().into(),
        date.month().unsigned_abs().into(),
        date.day().unsigned_abs().into(),
    )
}

fn from_civil_time(time: civil::Time) -> Option<NaiveTime> {
    NaiveTime::from_hms_nano_opt(
        time.hour().unsigned_abs().into(),
        time.minute().unsigned_abs().into(),
        time.second().unsigned_abs().into(),
        time.subsec_nanosecond().unsigned_abs(),
    )
}

fn to_chrono(at: Timestamp) -> Option<DateTime<Utc>> {
    // Both count from 1970; jiff's parts have the sign of the whole, chrono's fraction never has one.
    let nanos = at.as_nanosecond();
    let second = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
    DateTime::from_timestamp(second, u32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?)
}
