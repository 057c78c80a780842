//! Values of flags, read while the command line is: a bad one is wrong usage (exit 2), and is told with what is allowed.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc, Weekday};
use usher_lifecycle::{
    limits,
    reminder::{Zone, policy},
};

pub(super) fn frequency_days(text: &str) -> Result<u16, String> {
    let days: i64 =
        text.parse().map_err(|_| format!("a whole number of days from 1 to {}", limits::FREQUENCY_DAYS))?;
    limits::frequency_days("the rhythm", days).map_err(|refusal| refusal.message)
}

pub(super) fn zone(name: &str) -> Result<Zone, String> {
    policy::zone(name).map_err(|unknown| unknown.to_string())
}

pub(super) fn time_of_day(text: &str) -> Result<NaiveTime, String> {
    policy::hh_mm::parse(text).ok_or_else(|| "HH:MM from 00:00 to 23:59, like 09:00".to_owned())
}

pub(super) fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let wanted = "an RFC 3339 instant of the years 1900 to 9999 with its zone, like 2026-03-29T09:00:00Z";
    limits::instant("the instant", text).map_err(|_| wanted.to_owned())
}

pub(super) fn weekday(text: &str) -> Result<Weekday, String> {
    let wanted = "one or more of mon, tue, wed, thu, fri, sat, sun, separated by commas";
    policy::weekdays::parse(text).ok_or_else(|| wanted.to_owned())
}

/// Four digits for the year: what the calendar knows.
pub(super) fn date(text: &str) -> Result<NaiveDate, String> {
    let read = text.parse().ok().filter(|date: &NaiveDate| text.len() == 10 && date.to_string() == text);
    read.ok_or_else(|| "dates YYYY-MM-DD that exist, separated by commas".to_owned())
}
