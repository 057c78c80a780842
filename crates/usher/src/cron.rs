//! Cron expressions: five fields as crontab(5) has them, read on the wall clocks of a zone.
//!
//! The crate `cron` knows the calendar; this asks it for wall-clock times and lets the rules of reminders map each to an
//! instant (RFC 5545: what the clocks skip comes with the offset from before, what they show twice comes once). Laws: the
//! next time is later than the one asked about, and never goes back; `1-5` is Monday to Friday.

use std::{fmt, str::FromStr};

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use usher_lifecycle::reminder::{Zone, instant, local};

/// What is told of an expression that is none.
pub(crate) const WANTED: &str = "five fields: minute, hour, day of month, month, day of week (0-7 or mon-sun), such as 37 3 * * *; a day \
                                 of month and a day of week together are not allowed";

/// When something is to be done, again and again.
#[derive(Debug, Clone)]
pub(crate) struct Cron {
    text: String,
    times: cron::Schedule,
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Cron {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else { return Err(WANTED) };
        let known = |field: &&&str| field.bytes().all(|b| b.is_ascii_alphanumeric() || b"*,-/".contains(&b));
        // crontab joins the two days by "or", which nobody expects.
        if fields.iter().filter(known).count() != 5 || (*day != "*" && *weekday != "*") {
            return Err(WANTED);
        }
        let weekday = weekdays(weekday).ok_or(WANTED)?;
        let times = cron::Schedule::from_str(&format!("0 {minute} {hour} {day} {month} {weekday}"));
        Ok(Self { text: text.to_owned(), times: times.map_err(|_| WANTED)? })
    }
}

/// The days of the week by name: the crate counts Sunday as 1 where crontab counts it as 0 and 7.
fn weekdays(field: &str) -> Option<String> {
    const NAMES: [&str; 8] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let number = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.parse().ok().filter(|n| *n < NAMES.len()).or_else(|| NAMES.iter().position(|name| *name == text))
    };
    if field == "*" {
        return Some("*".to_owned());
    }
    let mut days = Vec::new();
    for part in field.split(',') {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let step: usize = step.parse().ok().filter(|step| (1..=7).contains(step))?;
        let (first, last) = match (range, range.split_once('-')) {
            ("*", _) => (0, 6),
            (_, Some((first, last))) => (number(first)?, number(last)?),
            (one, None) if part.contains('/') => (number(one)?, 6),
            (one, None) => (number(one)?, number(one)?),
        };
        // fri-sun: the Sunday that ends a week.
        let last = if last < first && last == 0 { 7 } else { last };
        if last < first {
            return None;
        }
        days.extend(
            (first..=last).step_by(step).filter_map(|day| NAMES.get(day)).map(|name| (*name).to_owned()),
        );
    }
    Some(days.join(","))
}

impl Cron {
    /// The first time after `after`; none when there is no such day (a 30th of February).
    pub(crate) fn next(&self, zone: &Zone, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Clocks that were put back show times again that have been; a day is the most that any were.
        let (date, time) = local(zone, after);
        let wall = date.and_time(time.with_nanosecond(0)?).and_utc() - TimeDelta::hours(25);
        let times = self.times.after(&wall).map(|wall| wall.naive_utc());
        times.filter_map(|wall| instant(zone, wall.date(), wall.time())).find(|at| *at > after)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike as _, Weekday};
    use usher_lifecycle::reminder::zone;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect(text)
    }

    fn times(text: &str, name: &str, after: &str, count: usize) -> Vec<DateTime<Utc>> {
        let (cron, zone): (Cron, _) = (text.parse().expect(text), zone(name).expect(name));
        std::iter::successors(cron.next(&zone, at(after)), |at| cron.next(&zone, *at)).take(count).collect()
    }

    #[test]
    fn one_to_five_is_monday_to_friday() {
        for text in ["0 9 * * 1-5", "0 9 * * mon-fri", "0 9 * * 1,2,3,4,5"] {
            let days = times(text, "UTC", "2026-03-01T00:00:00Z", 10).into_iter().map(|at| at.weekday());
            assert!(days.into_iter().all(|day| day != Weekday::Sat && day != Weekday::Sun), "{text}");
        }
        for text in ["0 9 * * 0", "0 9 * * 7", "0 9 * * sun"] {
            let days = times(text, "UTC", "2026-03-01T12:00:00Z", 3);
            assert!(days.iter().all(|at| at.weekday() == Weekday::Sun), "{text}");
        }
        let weekend = times("0 9 * * 5-7", "UTC", "2026-03-02T12:00:00Z", 3);
        assert_eq!(
            weekend.iter().map(DateTime::weekday).collect::<Vec<_>>(),
            [Weekday::Fri, Weekday::Sat, Weekday::Sun]
        );
    }

    #[test]
    fn a_skipped_hour_comes_once_and_a_repeated_one_too() {
        let spring = times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        assert_eq!(spring, ["2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"].map(at));
        let autumn = times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(autumn, ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"].map(at));
        // Asked between the two 02:30s: tomorrow.
        let between = times("30 2 * * *", "Europe/Berlin", "2026-10-25T02:45:00+02:00", 1);
        assert_eq!(between, [at("2026-10-26T02:30:00+01:00")]);
    }

    /// Through both changes of the year, in several zones: always forward.
    #[test]
    fn it_never_goes_back() {
        for name in
            ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll", "Pacific/Apia"]
        {
            for start in [
                "2026-03-28T00:00:00Z",
                "2026-10-24T00:00:00Z",
                "2026-04-04T00:00:00Z",
                "2011-12-29T00:00:00Z",
            ] {
                let found = times("*/20 * * * *", name, start, 400);
                assert!(found.is_sorted_by(|a, b| a < b), "{name} {start}");
                assert!(found.len() == 400);
            }
        }
    }

    /// Another crate reads the same expressions the same way, where no clocks change.
    #[test]
    fn another_reader_agrees() {
        let all = [
            "0 9 * * 1-5",
            "*/15 * * * *",
            "37 3 * * *",
            "0 0 1 * *",
            "0 12 29 2 *",
            "5,10 8-18/2 * * *",
            "0 9 * * mon,wed",
            "0 9 * 1,7 *",
            "30 4 * * 6-7",
            "0 9 * * 2-6/2",
            "0 0 31 * *",
        ];
        for text in all {
            let oracle: croner::Cron = text.parse().expect(text);
            let mut at = at("2026-02-26T22:50:00Z");
            for found in times(text, "UTC", "2026-02-26T22:50:00Z", 40) {
                at = oracle.find_next_occurrence(&at, false).expect(text);
                assert_eq!(found, at, "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let bad = [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "0 0 1 * 1",
            "0 0 * * 8",
            "0 0 * * mo",
            "@daily",
            "0 0 L * *",
            "0 0 * * 5-2",
            "0 0 * 13 *",
            "0 0 0 * *",
            "x x x x x",
        ];
        for text in bad {
            assert!(text.parse::<Cron>().is_err(), "{text}");
        }
        // A day that never comes.
        assert_eq!(times("0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z", 1), Vec::<DateTime<Utc>>::new());
    }
}
