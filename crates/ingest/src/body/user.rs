//! The bodies about a member of the team.

use chrono::{NaiveDate, NaiveTime};
use serde_json::Value;
use usher_lifecycle::{
    command::{CreateUser, QuietHoursPatch, UserPatch},
    limits,
    person::{DaysOff, Reach},
    refusal::{Code, Refusal},
    reminder::{
        policy::{hh_mm, weekdays},
        zone,
    },
};

use super::field::{Field, members, missing};

/// Most days off one person may list.
const DAYS_OFF: usize = 400;

pub(super) const KNOWN: [&str; 11] = [
    "name",
    "email",
    "slack_user_id",
    "time_zone",
    "quiet_hours",
    "days_off",
    "mute_until",
    "email_enabled",
    "slack_enabled",
    "external_id",
    "active",
];

/// The body of "create a user". A new user is active unless said.
///
/// # Errors
/// The first fault of the body.
pub fn create_user(body: &Value) -> Result<CreateUser, Refusal> {
    let given = read(body, true)?;
    let usual = Reach::default();
    Ok(CreateUser {
        name: given.name.ok_or_else(|| missing("name"))?,
        email: given.email.ok_or_else(|| missing("email"))?,
        slack_user_id: given.slack_user_id.flatten(),
        reach: Reach {
            time_zone: given.time_zone.flatten(),
            quiet_hours: given.quiet_hours.flatten().map(|quiet| quiet.merged(None)).transpose()?,
            days_off: given.days_off.unwrap_or_default(),
            mute_until: given.mute_until.flatten(),
            email_enabled: given.email_enabled.unwrap_or(usual.email_enabled),
            slack_enabled: given.slack_enabled.unwrap_or(usual.slack_enabled),
            ..usual
        },
        active: given.active.unwrap_or(true),
        external_id: given.external_id.flatten(),
    })
}

/// The body of "change a user", a JSON merge patch.
///
/// # Errors
/// The first fault of the body.
pub fn patch_user(body: &Value) -> Result<UserPatch, Refusal> {
    read(body, false)
}

/// Of a new one nothing is there that a patch could leave as it is.
fn read(body: &Value, new: bool) -> Result<UserPatch, Refusal> {
    let mut patch = UserPatch::default();
    for field in members(body)? {
        match field.name {
            "name" => patch.name = Some(field.filled(limits::NAME)?),
            "email" => patch.email = Some(field.email()?),
            "slack_user_id" => patch.slack_user_id = Some(field.nullable(slack_user_id)?),
            "time_zone" => patch.time_zone = Some(field.nullable(time_zone)?),
            "quiet_hours" => patch.quiet_hours = Some(field.nullable(|it| quiet_hours(it, new))?),
            "days_off" => patch.days_off = Some(days_off(&field)?),
            "mute_until" => patch.mute_until = Some(field.nullable(Field::instant)?),
            "email_enabled" => patch.email_enabled = Some(field.boolean()?),
            "slack_enabled" => patch.slack_enabled = Some(field.boolean()?),
            "active" => patch.active = Some(field.boolean()?),
            "external_id" => patch.external_id = Some(field.nullable(Field::external_id)?),
            _ => return Err(field.unrecognized(&KNOWN)),
        }
    }
    Ok(patch)
}

/// Letters and digits: it stands in `<@...>` mentions.
fn slack_user_id(field: &Field<'_>) -> Result<String, Refusal> {
    let id = field.filled(64)?;
    if id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        Ok(id)
    } else {
        Err(field.refuse(Code::InvalidString, "a Slack member id is wanted, like U0123456789"))
    }
}

/// The zone's name as the tz database writes it.
pub(super) fn time_zone(field: &Field<'_>) -> Result<String, Refusal> {
    let named = field.raw()?;
    let zone = zone(named).map_err(|_| {
        field.refuse(
            Code::InvalidValue,
            "that is no time zone of the tz database; names look like Europe/Berlin or UTC",
        )
    })?;
    Ok(zone.name().to_owned())
}

fn quiet_hours(field: &Field<'_>, new: bool) -> Result<QuietHoursPatch, Refusal> {
    let mut quiet = QuietHoursPatch::default();
    for member in field.object()? {
        match member.name {
            "from" => quiet.from = Some(time_of_day(&member)?),
            "to" => quiet.to = Some(time_of_day(&member)?),
            _ => return Err(member.unrecognized(&["from", "to"])),
        }
    }
    if new {
        quiet.merged(None)?;
    }
    Ok(quiet)
}

pub(super) fn time_of_day(field: &Field<'_>) -> Result<NaiveTime, Refusal> {
    hh_mm::parse(field.raw()?)
        .ok_or_else(|| field.refuse(Code::InvalidString, "HH:MM is wanted, 00:00 to 23:59"))
}

/// Weekdays (`mon`) and dates (`2026-12-24`), each once, sorted.
fn days_off(field: &Field<'_>) -> Result<DaysOff, Refusal> {
    let mut days = DaysOff::default();
    for item in field.items(DAYS_OFF)? {
        let text = item.raw()?;
        if let Some(weekday) = weekdays::parse(text) {
            days.weekdays.push(weekday);
        } else {
            days.dates.push(date(text).ok_or_else(|| {
                item.refuse(
                    Code::InvalidString,
                    "a weekday (mon to sun) or a date (like 2026-12-24) is wanted",
                )
            })?);
        }
    }
    days.weekdays.sort_by_key(chrono::Weekday::num_days_from_monday);
    days.weekdays.dedup();
    days.dates.sort_unstable();
    days.dates.dedup();
    Ok(days)
}

/// `YYYY-MM-DD`, and nothing that chrono would take besides.
pub(super) fn date(text: &str) -> Option<NaiveDate> {
    let shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    text.parse().ok().filter(|_| shape)
}
