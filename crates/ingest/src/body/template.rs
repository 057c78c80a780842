//! The bodies about a template.

use std::collections::BTreeMap;

use serde_json::Value;
use usher_lifecycle::{
    Phase,
    command::{CreateTemplate, TemplatePatch},
    limits,
    onboarding::Role,
    refusal::{Code, Refusal},
};

use super::field::{Field, members};

/// Longest time to a target, in days.
const TARGET_DAYS: i64 = 3_650;

pub(super) const KNOWN: [&str; 10] = [
    "name",
    "reminder_email",
    "reminder_slack",
    "reminder_frequency_days",
    "csm_id",
    "se_id",
    "designer_id",
    "product_ops_id",
    "target_days",
    "phase_target_days",
];

/// The body of "create a template".
///
/// # Errors
/// The first fault of the body.
pub fn create_template(body: &Value) -> Result<CreateTemplate, Refusal> {
    patch_template(body)?.into_new()
}

/// The body of "change a template", a JSON merge patch: null = the template says nothing about it.
///
/// # Errors
/// The first fault of the body.
pub fn patch_template(body: &Value) -> Result<TemplatePatch, Refusal> {
    let mut patch = TemplatePatch::default();
    for field in members(body)? {
        if let Some(role) = Role::ALL.into_iter().find(|role| role.field() == field.name) {
            patch.order.push(role);
            patch.roles.insert(role, field.nullable(Field::reference)?);
            continue;
        }
        match field.name {
            "name" => patch.name = Some(field.filled(limits::NAME)?),
            "reminder_email" => patch.reminder_email = Some(field.nullable(Field::boolean)?),
            "reminder_slack" => patch.reminder_slack = Some(field.nullable(Field::boolean)?),
            "reminder_frequency_days" => patch.reminder_frequency_days = Some(field.nullable(Field::days)?),
            "target_days" => patch.target_days = Some(field.nullable(target_days)?),
            "phase_target_days" => patch.phase_target_days = by_phase(&field, target_days)?,
            _ => return Err(field.unrecognized(&KNOWN)),
        }
    }
    Ok(patch)
}

fn target_days(field: &Field<'_>) -> Result<u16, Refusal> {
    whole(field, 1, TARGET_DAYS)
}

/// A whole number between two bounds.
pub(super) fn whole<T: TryFrom<i64>>(field: &Field<'_>, least: i64, most: i64) -> Result<T, Refusal> {
    let number = field.integer()?;
    let refuse = |code| field.refuse(code, format!("{least} to {most} are allowed"));
    if number < least {
        return Err(refuse(Code::TooSmall));
    }
    T::try_from(number).ok().filter(|_| number <= most).ok_or_else(|| refuse(Code::TooBig))
}

/// An object with phases as keys; null takes one out.
pub(super) fn by_phase<T>(
    field: &Field<'_>,
    read: fn(&Field<'_>) -> Result<T, Refusal>,
) -> Result<BTreeMap<Phase, Option<T>>, Refusal> {
    let mut found = BTreeMap::new();
    for member in field.object()? {
        let phase: Phase =
            member.name.parse().map_err(|_| member.unrecognized(&Phase::ALL.map(Phase::as_str)))?;
        found.insert(phase, member.nullable(read)?);
    }
    Ok(found)
}
