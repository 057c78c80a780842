//! The laws of the rhythm in every zone of the tz database, at every change of offset from 2000 to 2050.
//!
//! Between two changes a zone is a fixed offset, so the days around each change are all that can differ; the stretches in
//! between are walked with a rhythm of thirty days. The expectation comes from the model, which finds offsets by trying.
//! Zones with the same changes and the same offsets are one (half of the names are aliases): each name is looked at, each
//! such history is walked once.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Timelike, Utc};
use jiff::Timestamp;

use super::{
    EVERY_DAY, ZONES, date,
    model::{exists_by_trying, instant_by_trying, offset},
    time,
};
use crate::reminder::{Policy, Slot, Zone, calendar::TICK, instant, last_slot, next_slot};

/// 2000-01-01 and 2051-01-01.
const YEARS: (i64, i64) = (946_684_800, 2_556_144_000);

/// The instants at which the zone's offset changes.
fn changes(zone: &Zone) -> impl Iterator<Item = DateTime<Utc>> {
    let from = Timestamp::from_second(YEARS.0).expect("in range");
    let changes = zone.rules().following(from).map(|change| change.timestamp().as_second());
    let instants = changes.take_while(|second| *second < YEARS.1);
    instants.map(|second| DateTime::from_timestamp(second, 0).expect("in range"))
}

/// Every zone, those of one history under one.
fn histories() -> Vec<&'static Zone> {
    let mut found = BTreeMap::new();
    for zone in ZONES.iter() {
        let at_start = DateTime::from_timestamp(YEARS.0 - 1, 0).expect("in range");
        let history: Vec<(DateTime<Utc>, TimeDelta)> = core::iter::once(at_start)
            .chain(changes(zone))
            .map(|change| (change, offset(zone, change)))
            .collect();
        found.entry(history).or_insert(zone);
    }
    let zones: Vec<_> = found.into_values().collect();
    assert!(zones.len() > 150, "{}", zones.len());
    zones
}

/// The daily slots from two days before the change to two days after it, each law held against each of them.
fn check_around(zone: &Zone, change: DateTime<Utc>, time_of_day: NaiveTime) {
    let policy = Policy {
        time_zone: zone.clone(),
        working_days: EVERY_DAY.to_vec(),
        time_of_day,
        ..Policy::default()
    };
    let base = change.date_naive() - Days::new(100);
    let next = |after| next_slot(&policy, base, 1, after).expect("goes on");
    let said = |slot: Slot| format!("{} {time_of_day}: {slot:?}", zone.name());
    let mut before = next(change - TimeDelta::days(2));
    for _ in 0..4 {
        let slot = next(before.due_at);
        assert!(slot.due_at > before.due_at, "later: {}", said(slot));
        assert!(slot.date > before.date, "one a day: {}", said(slot));
        let wall = slot.date.and_time(time_of_day);
        assert_eq!(slot.due_at, instant_by_trying(zone, wall), "as RFC 5545 has it: {}", said(slot));
        let skipped = before.date.iter_days().skip(1).take_while(|day| *day < slot.date);
        for day in skipped {
            assert!(!exists_by_trying(zone, day), "{day} has no slot: {}", said(slot));
        }
        // The same answer to every question between the two, and never an earlier one to a later question.
        let middle = before.due_at + (slot.due_at - before.due_at) / 2;
        for question in [middle, slot.due_at - TICK] {
            assert_eq!(next(question), slot, "asked at {question}: {}", said(slot));
        }
        assert_eq!(last_slot(&policy, base, 1, slot.due_at - TICK), Some(before), "{}", said(slot));
        before = slot;
    }
}

#[test]
fn every_law_holds_around_every_change_of_offset_of_every_zone() {
    let mut count = 0;
    for zone in histories() {
        for change in changes(zone) {
            count += 1;
            // The middle of the gap or of the hour that comes twice, and midnight, where a date may be at stake.
            let (was, is) = (offset(zone, change - TimeDelta::seconds(1)), offset(zone, change));
            let wall = (change + was + (is - was) / 2).naive_utc().time().with_second(0).expect("a second");
            check_around(zone, change, wall);
            if count % 4 == 0 {
                check_around(zone, change, time(["00:00", "23:59"][count / 4 % 2]));
            }
        }
    }
    assert!(count > 5_000, "{count}");
}

/// Whoever lists the wall times around a change by hand finds the same instants.
#[test]
fn wall_times_around_every_change_of_offset_are_read_as_rfc_5545_has_it() {
    for zone in ZONES.iter() {
        for change in changes(zone) {
            let wall = (change + offset(zone, change - TimeDelta::seconds(1))).naive_utc();
            let jump = offset(zone, change) - offset(zone, change - TimeDelta::seconds(1));
            for minutes in [-61, -1, 0, 1, 30, 59, 60, 61] {
                let wall = wall + TimeDelta::minutes(minutes);
                // Only a jump of a day can swallow a date.
                let there = jump < TimeDelta::hours(23) || exists_by_trying(zone, wall.date());
                let expected = there.then(|| instant_by_trying(zone, wall));
                assert_eq!(instant(zone, wall.date(), wall.time()), expected, "{} {wall}", zone.name());
            }
        }
    }
}

/// Every thirty days, every day of the week: in every year of every zone so many slots, on those dates.
#[test]
fn every_year_of_every_zone_has_the_right_number_of_slots() {
    let base = date("1999-12-31");
    let nominal: Vec<NaiveDate> =
        base.iter_days().step_by(30).skip(1).take_while(|day| day.year() <= 2050).collect();
    for zone in histories() {
        let policy =
            Policy { time_zone: zone.clone(), working_days: EVERY_DAY.to_vec(), ..Policy::default() };
        let mut after = DateTime::from_timestamp(YEARS.0, 0).expect("in range") - TimeDelta::days(5);
        for wanted in &nominal {
            let slot = next_slot(&policy, base, 30, after).expect("goes on");
            // A date that does not exist has its slot on the day after.
            assert!(slot.date == *wanted || !exists_by_trying(zone, *wanted), "{} {wanted}", zone.name());
            assert_eq!(slot.due_at, instant_by_trying(zone, slot.date.and_time(policy.time_of_day)));
            after = slot.due_at;
        }
    }
}
