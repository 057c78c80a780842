//! Quiet: when a person may be reached, by their own clocks.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc, Weekday};

use super::{
    calendar::{local, reached_after, start_of_day},
    policy::{Zone, zone},
};
use crate::person::{DaysOff, QuietHours, Reach};

const WEEK: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

/// The first instant from `at` on that lies outside the person's quiet hours and days off, read in their zone or else
/// in `fallback`; none when every day is off.
pub fn free_from(reach: &Reach, fallback: &Zone, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if WEEK.iter().all(|day| reach.days_off.weekdays.contains(day)) {
        return None;
    }
    let own = reach.time_zone.as_deref().and_then(|name| zone(name).ok());
    let zone = own.as_ref().unwrap_or(fallback);
    let mut at = at;
    loop {
        let (date, time) = local(zone, at);
        let until = if is_off(&reach.days_off, date) {
            date.succ_opt().and_then(|tomorrow| start_of_day(zone, tomorrow))
        } else if let Some(quiet) = reach.quiet_hours {
            quiet_until(quiet, date, time).and_then(|(date, time)| reached_after(zone, date, time, at))
        } else {
            None
        };
        match until {
            Some(until) if until > at => at = until,
            Some(_) | None => return Some(at),
        }
    }
}

fn is_off(days_off: &DaysOff, date: NaiveDate) -> bool {
    days_off.weekdays.contains(&date.weekday()) || days_off.dates.contains(&date)
}

/// The wall time at which the quiet ends that `time` lies in. Quiet from a time to itself is none at all.
fn quiet_until(quiet: QuietHours, date: NaiveDate, time: NaiveTime) -> Option<(NaiveDate, NaiveTime)> {
    let QuietHours { from, to } = quiet;
    let begun = time >= from;
    let spans_midnight = from > to;
    if time < to && (begun || spans_midnight) {
        Some((date, to))
    } else if begun && spans_midnight {
        Some((date.succ_opt()?, to))
    } else {
        None
    }
}
