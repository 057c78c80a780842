//! The hard days, one by one.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::{at, daily, date, next, office, onboarding, slot, time};
use crate::{
    customer::CustomerStatus,
    phase::Phase,
    reminder::{
        Policy, Rules, Silence, calendar::TICK, exists, instant, last_slot, next_reminder, rebase, redate,
        sendable_at, slots, snooze_until, whole_days_between, zone,
    },
    state::State,
};

fn dues(policy: &Policy, base: &str, every_days: u16, after: &str, count: usize) -> Vec<DateTime<Utc>> {
    slots(policy, date(base), every_days, at(after)).take(count).map(|slot| slot.due_at).collect()
}

fn dates(policy: &Policy, base: &str, every_days: u16, count: usize) -> Vec<NaiveDate> {
    let start = at(&format!("{base} 00:00")) - TimeDelta::days(1);
    slots(policy, date(base), every_days, start).take(count).map(|slot| slot.date).collect()
}

#[test]
fn daily_at_02_30_comes_once_where_spring_swallows_it() {
    let policy = daily("Europe/Berlin", "02:30");
    let found = dues(&policy, "2026-03-01", 1, "2026-03-27 12:00", 3);
    let wanted = ["2026-03-28T02:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"];
    assert_eq!(found, wanted.map(at));
}

#[test]
fn daily_at_01_30_comes_once_in_the_night_that_has_it_twice() {
    let policy = daily("America/New_York", "01:30");
    let found = dues(&policy, "2026-10-01", 1, "2026-10-31 12:00", 2);
    assert_eq!(found, ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"].map(at));
    // Asked between the first and the second 01:30, it is past.
    assert_eq!(next(&policy, "2026-10-01", 1, at("2026-11-01T01:10:00-05:00")).date, date("2026-11-02"));
    let berlin = dues(&daily("Europe/Berlin", "02:30"), "2026-10-01", 1, "2026-10-24 12:00", 2);
    assert_eq!(berlin, ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"].map(at));
}

#[test]
fn local_16_04_stays_local_16_04() {
    let found = dues(&daily("Europe/Berlin", "16:04"), "2026-03-01", 1, "2026-03-28 00:00", 2);
    assert_eq!(found, ["2026-03-28T16:04:00+01:00", "2026-03-29T16:04:00+02:00"].map(at));
}

#[test]
fn apia_has_no_30_december_2011() {
    let apia = zone("Pacific/Apia").expect("listed");
    assert!(!exists(&apia, date("2011-12-30")));
    assert_eq!(instant(&apia, date("2011-12-30"), time("09:00")), None);
    let all_days = daily("Pacific/Apia", "09:00");
    assert_eq!(dates(&all_days, "2011-12-28", 1, 3), ["2011-12-29", "2011-12-31", "2012-01-01"].map(date));
    // A Friday that does not exist moves to Monday, like a holiday.
    let office_days = office("Pacific/Apia", "09:00");
    assert_eq!(dates(&office_days, "2011-12-28", 2, 2), ["2012-01-02", "2012-01-03"].map(date));
    assert_eq!(redate(&all_days, date("2011-12-30")), Some(slot("2011-12-31", "2011-12-31T09:00:00+14:00")));
    assert_eq!(
        snooze_until(&all_days, 1, at("2011-12-29T12:00:00-10:00")),
        Some(at("2011-12-31T00:00:00+14:00"))
    );
    assert_eq!(
        whole_days_between(&apia, at("2011-12-29T23:00:00-10:00"), at("2011-12-31T01:00:00+14:00")),
        2
    );
}

#[test]
fn lord_howe_moves_by_half_an_hour() {
    let policy = daily("Australia/Lord_Howe", "02:15");
    let spring = dues(&policy, "2026-09-01", 1, "2026-10-03 00:00", 2);
    assert_eq!(spring, ["2026-10-04T02:45:00+11:00", "2026-10-05T02:15:00+11:00"].map(at));
    let policy = daily("Australia/Lord_Howe", "01:45");
    let autumn = dues(&policy, "2026-03-01", 1, "2026-04-04 00:00", 2);
    assert_eq!(autumn, ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"].map(at));
}

#[test]
fn clocks_that_change_across_midnight() {
    // Toronto, 1919-03-30: 23:30 became 00:30 of the 31st, so that 23:45 is 00:45 of the next day.
    let policy = daily("America/Toronto", "23:45");
    let swallowed = slot("1919-03-30", "1919-03-31T00:45:00-04:00");
    assert_eq!(next(&policy, "1919-03-01", 1, at("1919-03-31T00:40:00-04:00")), swallowed);
    assert_eq!(
        next(&policy, "1919-03-01", 1, swallowed.due_at),
        slot("1919-03-31", "1919-03-31T23:45:00-04:00")
    );
    // St. John's, 2010-11-07: at 00:01 it was 23:01 of the 6th again, and the slot of the 7th past.
    let policy = daily("America/St_Johns", "00:00");
    let again = at("2010-11-06T23:30:00-03:30");
    assert_eq!(
        last_slot(&policy, date("2010-11-01"), 1, again),
        Some(slot("2010-11-07", "2010-11-07T00:00:00-02:30"))
    );
    assert_eq!(next(&policy, "2010-11-01", 1, again).date, date("2010-11-08"));
}

#[test]
fn vancouver_keeps_summer_time_from_2026_on() {
    let found = dues(&daily("America/Vancouver", "09:00"), "2026-01-01", 365, "2026-01-02 00:00", 1);
    assert_eq!(found, [at("2027-01-01T09:00:00-07:00")]);
    let winter = next(&daily("America/Vancouver", "09:00"), "2026-01-01", 1, at("2026-01-14 20:00"));
    assert_eq!(winter, slot("2026-01-15", "2026-01-15T09:00:00-08:00"));
}

/// Nuuk went over to summer time for good in March 2023: no hour comes twice that October.
#[test]
fn nuuk_has_no_second_hour_in_october_2023() {
    let found = dues(&daily("America/Nuuk", "23:30"), "2023-10-01", 1, "2023-10-26 12:00", 4);
    let wanted = ["2023-10-27 01:30", "2023-10-28 01:30", "2023-10-29 01:30", "2023-10-30 01:30"];
    assert_eq!(found, wanted.map(at));
    let nuuk = zone("America/Nuuk").expect("listed");
    // The next year it does: 23:00 to 24:00 of 26 October, first at -01:00.
    let twice = instant(&nuuk, date("2024-10-26"), time("23:30"));
    assert_eq!(twice, Some(at("2024-10-26T23:30:00-01:00")));
}

#[test]
fn years_turn_and_leap() {
    let policy = daily("UTC", "09:00");
    assert_eq!(dates(&policy, "2026-12-30", 1, 2), ["2026-12-31", "2027-01-01"].map(date));
    assert_eq!(dates(&policy, "2028-02-27", 1, 3), ["2028-02-28", "2028-02-29", "2028-03-01"].map(date));
    assert_eq!(
        dates(&policy, "2028-02-29", 365, 4),
        ["2029-02-28", "2030-02-28", "2031-02-28", "2032-02-28"].map(date)
    );
    let friday = office("UTC", "09:00");
    assert_eq!(dates(&friday, "2026-12-31", 1, 2), ["2027-01-01", "2027-01-04"].map(date));
}

#[test]
fn three_weeks_of_holidays_are_one_slot_and_the_rhythm_goes_on() {
    let holidays = date("2026-12-14").iter_days().take(21).collect();
    let policy = Policy { holidays, ..office("Europe/Berlin", "09:00") };
    assert_eq!(dates(&policy, "2026-12-10", 1, 3), ["2026-12-11", "2027-01-04", "2027-01-05"].map(date));
    // Wednesdays: 16, 23 and 30 December merge into the Monday, and it is Wednesday again.
    assert_eq!(dates(&policy, "2026-12-02", 7, 3), ["2026-12-09", "2027-01-04", "2027-01-06"].map(date));
}

#[test]
fn weekends_move_a_slot_but_not_the_rhythm() {
    let policy = office("UTC", "09:00");
    // Nominal: Thu 5, Sat 7, Mon 9, Wed 11 March.
    assert_eq!(
        dates(&policy, "2026-03-03", 2, 4),
        ["2026-03-05", "2026-03-09", "2026-03-11", "2026-03-13"].map(date)
    );
    assert_eq!(dates(&policy, "2026-03-07", 7, 2), ["2026-03-16", "2026-03-23"].map(date));
}

#[test]
fn a_base_long_ago_is_no_matter() {
    let policy = office("Europe/Berlin", "09:00");
    assert_eq!(next(&policy, "1970-01-01", 1, at("2026-11-23 08:00")).date, date("2026-11-24"));
    // 1970-01-01 was a Thursday.
    assert_eq!(next(&policy, "1970-01-01", 7, at("2026-11-23 08:00")).date, date("2026-11-26"));
    assert_eq!(next(&policy, "-5000-01-01", 1, at("2026-11-23 08:00")).date, date("2026-11-24"));
}

#[test]
fn what_is_late_at_3_on_a_sunday_waits_for_monday() {
    let policy = office("Europe/Berlin", "09:00");
    assert_eq!(sendable_at(&policy, at("2026-11-22T03:00:00+01:00")), at("2026-11-23T09:00:00+01:00"));
    assert_eq!(sendable_at(&policy, at("2026-11-23T18:00:00+01:00")), at("2026-11-23T18:00:00+01:00"));
    assert_eq!(sendable_at(&policy, at("2026-11-27T18:00:01+01:00")), at("2026-11-30T09:00:00+01:00"));
}

#[test]
fn a_change_of_zone_keeps_the_date() {
    let pending = redate(&daily("Asia/Tokyo", "09:00"), date("2026-11-24")).expect("exists");
    assert_eq!(pending, slot("2026-11-24", "2026-11-24T09:00:00+09:00"));
}

#[test]
fn a_snooze_ends_at_midnight() {
    let policy = office("Asia/Beirut", "09:00");
    assert_eq!(
        snooze_until(&policy, 3, at("2026-11-23T23:59:00+02:00")),
        Some(at("2026-11-26T00:00:00+02:00"))
    );
    // Beirut's clocks jump from 00:00 to 01:00.
    assert_eq!(
        snooze_until(&policy, 1, at("2026-03-28T12:00:00+02:00")),
        Some(at("2026-03-29T01:00:00+03:00"))
    );
    assert_eq!(snooze_until(&policy, u32::MAX, at("2026-03-07 12:00")), None);
}

#[test]
fn a_change_of_frequency_counts_from_the_last_reminder() {
    let policy = office("UTC", "09:00");
    let mut it = onboarding("2026-11-02");
    assert_eq!(rebase(&it), date("2026-11-02"));
    it.reminders.last_slot = Some(date("2026-11-23"));
    let now = at("2026-11-25 10:00");
    // 1 -> 7: no message more; 7 -> 1: no burst.
    assert_eq!(next(&policy, &rebase(&it).to_string(), 7, now).date, date("2026-11-30"));
    assert_eq!(next(&policy, &rebase(&it).to_string(), 1, now).date, date("2026-11-26"));
}

fn reminder(change: impl FnOnce(&mut crate::Onboarding)) -> Result<NaiveDate, Silence> {
    let mut it = onboarding("2026-11-20");
    change(&mut it);
    let next = next_reminder(&Rules::default(), &it, CustomerStatus::Active, false, at("2026-11-23 12:00"));
    next.map(|slot| slot.date)
}

#[test]
fn nothing_comes_while_nobody_wants_it() {
    assert_eq!(reminder(|_| ()), Ok(date("2026-11-24")));
    assert_eq!(reminder(|it| it.state = State::Waiting), Ok(date("2026-11-24")));
    assert_eq!(reminder(|it| it.state = State::AtRisk), Ok(date("2026-11-24")));
    assert_eq!(reminder(|it| it.reminder_email = false), Ok(date("2026-11-24")));
    assert_eq!(reminder(|it| it.state = State::Paused), Err(Silence::Paused));
    assert_eq!(reminder(|it| it.phase = Phase::Completed), Err(Silence::Completed));
    assert_eq!(reminder(|it| it.hidden.deleted_at = Some(at("2026-11-21 00:00"))), Err(Silence::Deleted));
    let both_off = reminder(|it| (it.reminder_email, it.reminder_slack) = (false, false));
    assert_eq!(both_off, Err(Silence::ChannelsOff));
    for status in CustomerStatus::ALL {
        let it = onboarding("2026-11-20");
        let ask = |deleted| next_reminder(&Rules::default(), &it, status, deleted, at("2026-11-23 12:00"));
        assert_eq!(ask(true), Err(Silence::CustomerDeleted));
        let gone = matches!(status, CustomerStatus::Churned | CustomerStatus::Archived);
        assert_eq!(ask(false).err(), gone.then_some(Silence::CustomerInactive(status)));
    }
}

#[test]
fn a_snoozed_one_is_reminded_at_or_after_the_end() {
    let until = |end: DateTime<Utc>| reminder(move |it| it.snoozed_until = Some(end));
    assert_eq!(until(at("2026-11-26 00:00")), Ok(date("2026-11-26")));
    assert_eq!(until(at("2026-11-26 09:00")), Ok(date("2026-11-26")));
    assert_eq!(until(at("2026-11-26 09:00") + TICK), Ok(date("2026-11-27")));
    assert_eq!(until(at("2026-11-22 00:00")), Ok(date("2026-11-24")));
}

#[test]
fn slots_before_the_record_was_made_never_existed() {
    let made = reminder(|it| it.created_at = at("2026-11-26 12:00"));
    assert_eq!(made, Ok(date("2026-11-27")));
}

#[test]
fn troll_moves_by_two_hours() {
    // 2026-03-29: from 01:00 to 03:00. 2026-10-25: 03:00 is 01:00 again.
    let spring = dues(&daily("Antarctica/Troll", "02:15"), "2026-03-01", 1, "2026-03-28 12:00", 2);
    assert_eq!(spring, ["2026-03-29T04:15:00+02:00", "2026-03-30T02:15:00+02:00"].map(at));
    let autumn = dues(&daily("Antarctica/Troll", "02:15"), "2026-10-01", 1, "2026-10-24 12:00", 2);
    assert_eq!(autumn, ["2026-10-25T02:15:00+02:00", "2026-10-26T02:15:00+00:00"].map(at));
}

#[test]
fn casablanca_stands_an_hour_back_in_ramadan() {
    let policy = daily("Africa/Casablanca", "02:30");
    // The clocks go back on 2026-02-15 (02:30 comes twice) and forward on 2026-03-22 (02:30 does not come).
    let back = dues(&policy, "2026-02-01", 1, "2026-02-14 12:00", 2);
    assert_eq!(back, ["2026-02-15T02:30:00+01:00", "2026-02-16T02:30:00+00:00"].map(at));
    let forward = dues(&policy, "2026-03-01", 1, "2026-03-21 12:00", 2);
    assert_eq!(forward, ["2026-03-22T03:30:00+01:00", "2026-03-23T02:30:00+01:00"].map(at));
}

#[test]
fn pyongyang_lost_half_an_hour_at_midnight() {
    // 2018-05-04 at 23:30 it was midnight: 23:45 of the 4th is 00:15 of the 5th.
    let found = dues(&daily("Asia/Pyongyang", "23:45"), "2018-05-01", 1, "2018-05-04 00:00", 2);
    assert_eq!(found, ["2018-05-05T00:15:00+09:00", "2018-05-05T23:45:00+09:00"].map(at));
}

#[test]
fn fakaofo_lost_the_same_day_as_apia_and_kwajalein_one_before() {
    assert!(!exists(&zone("Pacific/Fakaofo").expect("listed"), date("2011-12-30")));
    assert!(!exists(&zone("Pacific/Kwajalein").expect("listed"), date("1993-08-21")));
    assert_eq!(
        dates(&daily("Pacific/Fakaofo", "09:00"), "2011-12-28", 1, 3),
        ["2011-12-29", "2011-12-31", "2012-01-01"].map(date)
    );
}

/// Over the date line and back: the date stays, the instant follows; what is past by then is what catch-up looks at.
#[test]
fn a_change_of_zone_keeps_the_date_even_over_the_date_line() {
    let pending = date("2026-11-24");
    let west = redate(&daily("Pacific/Pago_Pago", "09:00"), pending).expect("exists");
    let east = redate(&daily("Pacific/Kiritimati", "09:00"), pending).expect("exists");
    assert_eq!((west.date, east.date), (pending, pending));
    assert_eq!(west.due_at - east.due_at, TimeDelta::hours(25));
    // The next one after it is the next date in either zone.
    for (zone, slot) in [("Pacific/Pago_Pago", west), ("Pacific/Kiritimati", east)] {
        assert_eq!(next(&daily(zone, "09:00"), "2026-11-01", 1, slot.due_at).date, date("2026-11-25"));
    }
}
