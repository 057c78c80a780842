//! Laws and examples of the reminder rules, and the fixtures they share.

mod audience;
mod every_zone;
mod foresight;
mod frozen;
mod laws;
mod model;
mod outlook;
mod plan;
mod quiet;
mod recheck;

use std::sync::LazyLock;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};
use jiff::tz::TimeZoneDatabase;

use super::{Policy, Slot, Zone, next_slot, policy::hh_mm, zone};
use crate::{
    id::{CustomerId, OnboardingId, UserId, WorkspaceId},
    onboarding::{Hidden, Onboarding, Reminded, Roles},
    person::{Reach, User},
    phase::Phase,
    state::State,
};

/// Every zone of the bundled tz database, aliases too.
static ZONES: LazyLock<Vec<Zone>> = LazyLock::new(|| {
    let bundled = TimeZoneDatabase::bundled();
    let zones: Vec<Zone> = bundled.available().map(|name| zone(name.as_str()).expect("is listed")).collect();
    assert!(zones.len() > 500, "{} zones", zones.len());
    zones
});

const EVERY_DAY: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

/// `2026-03-29T09:00:00+02:00`, or `2026-03-29 09:00` for UTC.
fn at(text: &str) -> DateTime<Utc> {
    let rfc = if text.len() == 16 { format!("{}:00Z", text.replace(' ', "T")) } else { text.to_string() };
    DateTime::parse_from_rfc3339(&rfc).expect(text).to_utc()
}

fn date(text: &str) -> NaiveDate {
    text.parse().expect(text)
}

fn time(text: &str) -> NaiveTime {
    hh_mm::parse(text).expect(text)
}

/// The default policy in that zone.
fn office(name: &str, time_of_day: &str) -> Policy {
    Policy { time_zone: zone(name).expect(name), time_of_day: time(time_of_day), ..Policy::default() }
}

/// A policy without days off.
fn daily(name: &str, time_of_day: &str) -> Policy {
    Policy { working_days: EVERY_DAY.to_vec(), ..office(name, time_of_day) }
}

fn next(policy: &Policy, base: &str, every_days: u16, after: DateTime<Utc>) -> Slot {
    next_slot(policy, date(base), every_days, after).expect("the calendar goes on")
}

fn slot(day: &str, due_at: &str) -> Slot {
    Slot { date: date(day), due_at: at(due_at) }
}

/// An active onboarding with both channels, reminded daily, whose rhythm counts from `base`.
fn onboarding(base: &str) -> Onboarding {
    let made = at(&format!("{base} 00:00"));
    Onboarding {
        id: OnboardingId::new(made, 1),
        workspace_id: WorkspaceId::new(made, 1),
        livemode: true,
        display_id: 1,
        customer_id: CustomerId::new(made, 1),
        template_id: None,
        phase: Phase::ProgramBuildout,
        state: State::Active,
        started_at: made,
        completed_at: None,
        target_launch_date: None,
        roles: Roles::default(),
        notes: None,
        waiting_since: None,
        wizard_completed_at: None,
        reminder_email: true,
        reminder_slack: true,
        reminder_frequency_days: 1,
        snoozed_until: None,
        external_id: None,
        created_at: made - TimeDelta::days(1),
        updated_at: made,
        version: 1,
        hidden: Hidden {
            cadence_base: date(base),
            phase_entered_at: made,
            idle_since: None,
            idle_seconds: 0,
            target_shifts: 0,
            deleted_at: None,
        },
        reminders: Reminded::default(),
    }
}

fn user_id(number: u8) -> UserId {
    UserId::new(DateTime::UNIX_EPOCH, number.into())
}

/// An active person with an address and a Slack id.
fn user(number: u8) -> User {
    User {
        id: user_id(number),
        workspace_id: WorkspaceId::new(DateTime::UNIX_EPOCH, 1),
        livemode: true,
        display_id: number.into(),
        name: format!("Person {number}"),
        email: format!("p{number}@example.com"),
        slack_user_id: Some(format!("U{number}")),
        reach: Reach::default(),
        active: true,
        external_id: None,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        version: 1,
        deleted_at: None,
    }
}
