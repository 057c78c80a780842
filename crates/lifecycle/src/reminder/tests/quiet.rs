//! Quiet hours and days off, by the person's own clocks.

use chrono::{DateTime, Datelike, TimeDelta, Utc, Weekday};
use proptest::prelude::*;

use super::{EVERY_DAY, ZONES, at, date, time};
use crate::{
    person::{DaysOff, QuietHours, Reach},
    reminder::{Zone, free_from, local, zone},
};

fn quiet(zone: &str, from: &str, to: &str) -> Reach {
    let quiet_hours = Some(QuietHours { from: time(from), to: time(to) });
    Reach { time_zone: Some(zone.to_string()), quiet_hours, ..Reach::default() }
}

fn free(reach: &Reach, from: &str) -> Option<DateTime<Utc>> {
    free_from(reach, &Zone::utc(), at(from))
}

#[test]
fn quiet_hours_end_where_the_person_is() {
    let night = quiet("Asia/Tokyo", "22:00", "08:00");
    assert_eq!(free(&night, "2026-11-23T22:00:00+09:00"), Some(at("2026-11-24T08:00:00+09:00")));
    assert_eq!(free(&night, "2026-11-24T07:59:59+09:00"), Some(at("2026-11-24T08:00:00+09:00")));
    assert_eq!(free(&night, "2026-11-24T08:00:00+09:00"), Some(at("2026-11-24T08:00:00+09:00")));
    assert_eq!(free(&night, "2026-11-24T21:59:59+09:00"), Some(at("2026-11-24T21:59:59+09:00")));
    let noon = quiet("Asia/Tokyo", "12:00", "13:30");
    assert_eq!(free(&noon, "2026-11-24T12:00:00+09:00"), Some(at("2026-11-24T13:30:00+09:00")));
    assert_eq!(free(&noon, "2026-11-24T11:59:00+09:00"), Some(at("2026-11-24T11:59:00+09:00")));
    let none = quiet("Asia/Tokyo", "12:00", "12:00");
    assert_eq!(free(&none, "2026-11-24T12:00:00+09:00"), Some(at("2026-11-24T12:00:00+09:00")));
}

#[test]
fn without_a_zone_of_their_own_the_workspace_s_is_meant() {
    let berlin = zone("Europe/Berlin").expect("listed");
    for name in [None, Some("Mars/Olympus".to_string())] {
        let reach = Reach { time_zone: name, ..quiet("UTC", "22:00", "08:00") };
        let found = free_from(&reach, &berlin, at("2026-11-24T07:00:00+01:00"));
        assert_eq!(found, Some(at("2026-11-24T08:00:00+01:00")));
    }
}

#[test]
fn quiet_hours_across_changing_clocks() {
    let night = quiet("Europe/Berlin", "22:00", "02:30");
    // The clocks pass 02:30 in their jump to 03:00.
    assert_eq!(free(&night, "2026-03-28T23:00:00+01:00"), Some(at("2026-03-29T03:00:00+02:00")));
    assert_eq!(free(&night, "2026-10-24T23:00:00+02:00"), Some(at("2026-10-25T02:30:00+02:00")));
    // In the second pass of the hour, the second 02:30.
    assert_eq!(free(&night, "2026-10-25T02:10:00+01:00"), Some(at("2026-10-25T02:30:00+01:00")));
}

#[test]
fn days_off_end_with_the_day_and_then_quiet_hours_hold() {
    let weekend = DaysOff { weekdays: vec![Weekday::Sat, Weekday::Sun], dates: vec![date("2026-11-23")] };
    let reach = Reach { days_off: weekend, ..quiet("Europe/Berlin", "20:00", "08:00") };
    assert_eq!(free(&reach, "2026-11-20T21:00:00+01:00"), Some(at("2026-11-24T08:00:00+01:00")));
    assert_eq!(free(&reach, "2026-11-20T19:00:00+01:00"), Some(at("2026-11-20T19:00:00+01:00")));
}

#[test]
fn with_every_day_off_there_is_no_end() {
    let reach =
        Reach { days_off: DaysOff { weekdays: EVERY_DAY.to_vec(), dates: vec![] }, ..Reach::default() };
    assert_eq!(free(&reach, "2026-11-20 21:00"), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_end_is_free_and_everything_before_it_is_not(
        zone in 0..ZONES.len(), from in 0_u32..1440, to in 0_u32..1440, off in prop::sample::subsequence(EVERY_DAY.to_vec(), 0..=6),
        dates in prop::collection::btree_set(0_i64..9, 0..4), seconds in 946_684_800_i64..2_524_608_000, part in 0_i32..100,
    ) {
        let zone = &ZONES[zone];
        let now = DateTime::from_timestamp(seconds, 0).expect("in range");
        let minutes = |n: u32| time("00:00") + TimeDelta::minutes(n.into());
        let reach = Reach {
            time_zone: Some(zone.name().to_string()),
            quiet_hours: Some(QuietHours { from: minutes(from), to: minutes(to) }),
            days_off: DaysOff { weekdays: off, dates: dates.iter().map(|n| now.date_naive() + TimeDelta::days(*n)).collect() },
            ..Reach::default()
        };
        let is_free = |at| {
            let (date, time) = local(zone, at);
            let (from, to) = (minutes(from), minutes(to));
            let quiet = if from <= to { from <= time && time < to } else { time >= from || time < to };
            !quiet && !reach.days_off.weekdays.contains(&date.weekday()) && !reach.days_off.dates.contains(&date)
        };
        let end = free_from(&reach, &Zone::utc(), now).expect("some day is not off");
        prop_assert!(end >= now && is_free(end));
        if end > now {
            prop_assert!(!is_free(now));
            prop_assert!(!is_free(now + (end - now) / 100 * part));
            prop_assert!(!is_free(end - TimeDelta::seconds(1)));
        }
    }
}
