//! The laws of the rhythm, in every zone of the tz database, 2000 to 2050.

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta};
use proptest::prelude::*;

use super::{
    EVERY_DAY, ZONES, date,
    model::{moment, moments, policies},
    time,
};
use crate::reminder::{
    Policy, calendar::TICK, exists, instant, is_working_day, local_date, next_slot, roll_back, sendable_at,
    slots, spread,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_slot_is_later_and_on_a_working_day_and_the_same_until_it_is_due(
        policy in policies(), every_days in 1_u16..=365, when in moments(), part in 0_i32..=1000,
    ) {
        let (after, base) = moment(&policy, when);
        let slot = next_slot(&policy, base, every_days, after).expect("goes on");
        prop_assert!(slot.due_at > after);
        prop_assert!(slot.date > base);
        prop_assert!(is_working_day(&policy, slot.date));
        prop_assert_eq!(instant(&policy.time_zone, slot.date, policy.time_of_day), Some(slot.due_at));

        let between = after + (slot.due_at - after) / 1000 * part;
        if between < slot.due_at {
            prop_assert_eq!(next_slot(&policy, base, every_days, between), Some(slot));
        }
        prop_assert_eq!(next_slot(&policy, base, every_days, slot.due_at - TICK), Some(slot));
        let following = next_slot(&policy, base, every_days, slot.due_at).expect("goes on");
        prop_assert!(following.date > slot.date && following.due_at > slot.due_at);
    }

    #[test]
    fn a_later_question_never_has_an_earlier_answer(
        policy in policies(), every_days in 1_u16..=30, when in moments(), hours in 0_i64..2000,
    ) {
        let (after, base) = moment(&policy, when);
        let first = next_slot(&policy, base, every_days, after);
        let second = next_slot(&policy, base, every_days, after + TimeDelta::hours(hours));
        prop_assert!(first.is_some() && first <= second);
    }

    #[test]
    fn every_slot_is_within_the_run_of_days_off_after_a_nominal_date(
        policy in policies(), every_days in 1_u16..=60, when in moments(),
    ) {
        let (after, base) = moment(&policy, when);
        for slot in slots(&policy, base, every_days, after).take(20) {
            let worked = slot.date.pred_opt().and_then(|day| roll_back(&policy, day)).expect("some day was");
            let nominal = |day: &NaiveDate| (*day - base).num_days() % i64::from(every_days) == 0 && *day > base;
            prop_assert!(worked.iter_days().skip(1).take_while(|day| *day <= slot.date).any(|day| nominal(&day)));
        }
    }

    #[test]
    fn what_is_late_goes_out_in_the_window_and_not_before(policy in policies(), when in moments(), span in 0_u32..1440) {
        let (at, _) = moment(&policy, when);
        let until = time("00:00") + TimeDelta::minutes(span.into());
        let policy = Policy { send_until: until.max(policy.time_of_day), ..policy };
        let out = sendable_at(&policy, at);
        let zone = &policy.time_zone;
        let opens = |day: NaiveDate| instant(zone, day, policy.time_of_day).expect("is worked on");
        let closes = |day: NaiveDate| instant(zone, day, policy.send_until).expect("is worked on");
        prop_assert!(out >= at);
        // The windows around: `out` is inside one of them, and none that is open between `at` and `out` was passed over.
        let days = local_date(zone, at).pred_opt().expect("in range").iter_days();
        let worked = days.filter(|day| is_working_day(&policy, *day)).take(3);
        let earliest = worked.filter(|day| closes(*day).max(opens(*day)) >= at).map(|day| opens(day).max(at)).min();
        prop_assert_eq!(Some(out), earliest);
        prop_assert_eq!(sendable_at(&policy, out), out);
    }

    #[test]
    fn spreading_stays_within_its_minutes_and_the_day(
        policy in policies(), when in moments(), spread_minutes in 0_u16..3000, name in "[a-z]{1,8}",
    ) {
        let (at, _) = moment(&policy, when);
        let policy = Policy { spread_minutes, ..policy };
        for channel in crate::reminder::Channel::ALL {
            let moved = spread(&policy, at, &name, channel);
            prop_assert!(moved >= at && moved - at <= TimeDelta::minutes(spread_minutes.into()));
            prop_assert_eq!(moved, spread(&policy, at, &name, channel));
            if moved > at {
                prop_assert_eq!(local_date(&policy.time_zone, moved), local_date(&policy.time_zone, at));
            }
        }
    }
}

/// Each zone has a year of its own, at a time of day that nights of changing clocks have twice or not at all.
#[test]
fn a_year_has_one_slot_on_every_day_that_exists_in_every_zone() {
    for (number, zone) in ZONES.iter().enumerate() {
        let year = 2000 + i32::try_from(number % 51).expect("small");
        let time_of_day = time(["00:00", "02:30", "01:30", "23:59"][number % 4]);
        let policy = Policy {
            time_zone: zone.clone(),
            working_days: EVERY_DAY.to_vec(),
            time_of_day,
            ..Policy::default()
        };
        let first = NaiveDate::from_ymd_opt(year, 1, 1).expect("exists");
        let start = first.and_time(time("00:00")).and_utc() - TimeDelta::days(2);
        let wanted: Vec<_> =
            first.iter_days().take_while(|day| day.year() == year).filter(|day| exists(zone, *day)).collect();
        let found: Vec<_> = slots(&policy, date("1999-06-01"), 1, start)
            .skip_while(|slot| slot.date < first)
            .take_while(|slot| slot.date.year() == year)
            .collect();
        assert_eq!(found.iter().map(|slot| slot.date).collect::<Vec<_>>(), wanted, "{} {year}", zone.name());
        assert!(found.is_sorted_by(|a, b| a.due_at < b.due_at), "{} {year}", zone.name());
    }
}

#[test]
fn the_calendar_ends_in_none_and_never_panics() {
    let policy = Policy::default();
    let odd = [DateTime::<chrono::Utc>::MIN_UTC, DateTime::UNIX_EPOCH, DateTime::<chrono::Utc>::MAX_UTC];
    for after in odd {
        for base in
            [NaiveDate::MIN, date("-9999-01-01"), date("1970-01-01"), date("9999-12-30"), NaiveDate::MAX]
        {
            for every_days in [0, 1, 7, 365, u16::MAX] {
                let slot = next_slot(&policy, base, every_days, after);
                assert!(slot.is_none_or(|slot| slot.due_at > after), "{after} {base} {every_days}");
            }
        }
        assert!(sendable_at(&policy, after) >= after);
    }
    let end = date("9999-12-31").and_time(time("09:00")).and_utc();
    assert_eq!(next_slot(&policy, date("2026-01-01"), 1, end), None);
    assert!(next_slot(&policy, date("2026-01-01"), 1, end - TimeDelta::days(7)).is_some());

    let nobody_works = Policy { working_days: Vec::new(), ..Policy::default() };
    assert_eq!(next_slot(&nobody_works, date("2026-01-01"), 1, DateTime::UNIX_EPOCH), None);
    assert_eq!(sendable_at(&nobody_works, DateTime::UNIX_EPOCH), DateTime::UNIX_EPOCH);
    let holidays = date("2026-01-01").iter_days().take(4001).collect();
    let long_holidays = Policy { holidays, ..Policy::default() };
    let slot = next_slot(&long_holidays, date("2025-12-31"), 1, super::at("2030-05-05 12:00"));
    assert_eq!(slot.map(|slot| slot.date), Some(date("2026-01-01") + Days::new(4001)));
}
