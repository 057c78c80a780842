//! `next_slot` against a slow model that shares no code with it: it walks every k and finds offsets by trying.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use jiff::Timestamp;
use proptest::{prelude::*, sample};

use super::{EVERY_DAY, ZONES};
use crate::reminder::{Policy, Slot, Zone, instant, last_slot, next_slot, slots};

pub(super) fn offset(zone: &Zone, at: DateTime<Utc>) -> TimeDelta {
    let at = Timestamp::from_second(at.timestamp()).expect("in range");
    TimeDelta::seconds(zone.rules().to_offset(at).seconds().into())
}

/// RFC 5545: with the offset from before, or the one from after, whichever shows the wall time; the earlier of two;
/// the one from before if neither does.
pub(super) fn instant_by_trying(zone: &Zone, wall: NaiveDateTime) -> DateTime<Utc> {
    let around = [-1, 1].map(|days| offset(zone, wall.and_utc() + TimeDelta::days(days)));
    let shown = around.iter().map(|o| (*o, wall.and_utc() - *o)).filter(|(o, at)| offset(zone, *at) == *o);
    shown.map(|(_, at)| at).min().unwrap_or(wall.and_utc() - around[0])
}

pub(super) fn exists_by_trying(zone: &Zone, date: NaiveDate) -> bool {
    let noon = date.and_time(NaiveTime::MIN).and_utc() + TimeDelta::hours(12);
    (-30..=30)
        .map(|hours| noon + TimeDelta::hours(hours))
        .any(|at| (at + offset(zone, at)).date_naive() == date)
}

fn model(policy: &Policy, base: NaiveDate, every_days: u16, after: DateTime<Utc>) -> Slot {
    let zone = &policy.time_zone;
    let works = |date: NaiveDate| {
        policy.working_days.contains(&date.weekday())
            && !policy.holidays.contains(&date)
            && exists_by_trying(zone, date)
    };
    (1_u64..1_000_000)
        .map(|k| base + Days::new(k * u64::from(every_days)))
        // Nothing before this can be due after `after`; only to spare the model a walk.
        .filter(|date| *date + Days::new(90) > after.date_naive())
        .map(|date| date.iter_days().find(|day| works(*day)).expect("some day is worked on"))
        .map(|date| Slot { date, due_at: instant_by_trying(zone, date.and_time(policy.time_of_day)) })
        .find(|slot| slot.due_at > after)
        .expect("a million of them reach far")
}

/// A policy in any zone: any time, any days, up to three runs of holidays.
pub(super) fn policies() -> impl Strategy<Value = Policy> {
    let runs = prop::collection::vec((-40_i64..400, 1_u64..25), 0..4);
    let days = sample::subsequence(EVERY_DAY.to_vec(), 1..=7);
    let start = (2000_i32..2050).prop_map(|year| NaiveDate::from_ymd_opt(year, 1, 1).expect("exists"));
    (0..ZONES.len(), 0_u32..1440, days, runs, start).prop_map(|(zone, minute, working_days, runs, start)| {
        let holidays = runs.iter().flat_map(|(from, length)| {
            (start + TimeDelta::days(*from)).iter_days().take(usize::try_from(*length).expect("small"))
        });
        Policy {
            time_zone: ZONES[zone].clone(),
            time_of_day: NaiveTime::from_hms_opt(minute / 60, minute % 60, 0).expect("within a day"),
            working_days,
            holidays: holidays.collect::<BTreeSet<_>>(),
            ..Policy::default()
        }
    })
}

/// A moment between 2000 and 2050, near the holidays if there are any, and how many days ago the base was.
pub(super) fn moments() -> impl Strategy<Value = (Option<u16>, i64, i64)> {
    (prop::option::of(0_u16..60), 0_i64..1_577_000_000, -10_i64..800)
}

pub(super) fn moment(
    policy: &Policy,
    (near, seconds, ago): (Option<u16>, i64, i64),
) -> (DateTime<Utc>, NaiveDate) {
    let holiday = policy.holidays.iter().nth(near.unwrap_or(0).into()).filter(|_| near.is_some());
    let start = holiday.map_or(946_684_800, |date| date.and_time(NaiveTime::MIN).and_utc().timestamp());
    let seconds = if holiday.is_some() { seconds % 259_200 - 86_400 } else { seconds };
    let after = DateTime::from_timestamp(start + seconds, 0).expect("in range");
    (after, after.date_naive() - TimeDelta::days(ago))
}

fn rhythms() -> impl Strategy<Value = u16> {
    prop_oneof![Just(1), Just(2), Just(7), 1_u16..=365]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn next_slot_is_what_walking_every_k_finds(policy in policies(), every_days in rhythms(), when in moments()) {
        let (after, base) = moment(&policy, when);
        let found = next_slot(&policy, base, every_days, after);
        prop_assert_eq!(found, Some(model(&policy, base, every_days, after)));
    }

    #[test]
    fn last_slot_is_the_one_before_the_next(policy in policies(), every_days in rhythms(), when in moments()) {
        let (until, base) = moment(&policy, when);
        let next = next_slot(&policy, base, every_days, until).expect("goes on");
        let last = last_slot(&policy, base, every_days, until);
        prop_assert!(last.is_none_or(|last| last.due_at <= until));
        let before = last.map_or(DateTime::UNIX_EPOCH, |last| last.due_at);
        prop_assert_eq!(slots(&policy, base, every_days, before).next(), Some(next));
    }

    #[test]
    fn wall_times_are_read_as_rfc_5545_has_it(zone in 0..ZONES.len(), minutes in 0_i64..26_280_000) {
        let zone = &ZONES[zone];
        let wall = (DateTime::UNIX_EPOCH + TimeDelta::days(10_957) + TimeDelta::minutes(minutes)).naive_utc();
        let expected = exists_by_trying(zone, wall.date()).then(|| instant_by_trying(zone, wall));
        prop_assert_eq!(instant(zone, wall.date(), wall.time()), expected);
    }
}
