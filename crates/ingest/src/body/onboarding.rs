//! The bodies about an onboarding.

use serde_json::Value;
use usher_lifecycle::{
    command::{CreateOnboarding, OnboardingPatch, Reference, Snooze},
    limits,
    onboarding::Role,
    refusal::{Code, Refusal},
    reminder::Channel,
};

use super::field::{Field, members, missing};

pub(crate) const CREATE: [&str; 15] = [
    "customer_id",
    "template_id",
    "phase",
    "state",
    "target_launch_date",
    "csm_id",
    "se_id",
    "designer_id",
    "product_ops_id",
    "notes",
    "reminder_email",
    "reminder_slack",
    "reminder_frequency_days",
    "started_at",
    "external_id",
];
pub(super) const PATCH: [&str; 17] = [
    "template_id",
    "phase",
    "state",
    "target_launch_date",
    "csm_id",
    "se_id",
    "designer_id",
    "product_ops_id",
    "notes",
    "reminder_email",
    "reminder_slack",
    "reminder_frequency_days",
    "started_at",
    "external_id",
    "waiting_on_customer",
    "wizard_completed_at",
    "reason",
];

/// The body of "create an onboarding". Null is taken for the roles and `external_id` only, as the contract has it.
///
/// # Errors
/// The first fault of the body.
pub fn create_onboarding(body: &Value) -> Result<CreateOnboarding, Refusal> {
    let mut create = CreateOnboarding::default();
    let mut customer = None;
    for field in members(body)? {
        create.order.extend(reference(field.name));
        if let Some(role) = role(field.name) {
            if let Some(user) = field.nullable(Field::reference)? {
                create.roles.insert(role, user);
            }
            continue;
        }
        match field.name {
            "customer_id" => customer = Some(field.reference()?),
            "template_id" => create.template = Some(field.reference()?),
            "phase" => create.phase = Some(field.one_of()?),
            "state" => create.state = Some(field.one_of()?),
            "target_launch_date" => create.target_launch_date = Some(field.instant()?),
            "notes" => create.notes = Some(field.text(limits::NOTES)?),
            "reminder_email" => create.reminder_email = Some(field.boolean()?),
            "reminder_slack" => create.reminder_slack = Some(field.boolean()?),
            "reminder_frequency_days" => create.reminder_frequency_days = Some(field.days()?),
            "started_at" => create.started_at = Some(field.instant()?),
            "external_id" => create.external_id = field.nullable(Field::external_id)?,
            _ => return Err(field.unrecognized(&CREATE)),
        }
    }
    create.customer = customer.ok_or_else(|| missing("customer_id"))?;
    Ok(create)
}

/// The body of "change an onboarding", a JSON merge patch: null clears what is nullable.
///
/// # Errors
/// The first fault of the body; `immutable_field` for `customer_id`.
pub fn patch_onboarding(body: &Value) -> Result<OnboardingPatch, Refusal> {
    let mut patch = OnboardingPatch::default();
    for field in members(body)? {
        patch.order.extend(reference(field.name));
        if let Some(role) = role(field.name) {
            patch.roles.insert(role, field.nullable(Field::reference)?);
            continue;
        }
        match field.name {
            "customer_id" => {
                let message = "customer_id cannot change; create another onboarding for the other customer";
                return Err(Refusal::field(Code::ImmutableField, "customer_id", message));
            }
            "template_id" => patch.template = Some(field.nullable(Field::reference)?),
            "phase" => patch.phase = Some(field.one_of()?),
            "state" => patch.state = Some(field.one_of()?),
            "waiting_on_customer" => patch.waiting_on_customer = Some(field.boolean()?),
            "started_at" => patch.started_at = Some(field.instant()?),
            "target_launch_date" => patch.target_launch_date = Some(field.nullable(Field::instant)?),
            "notes" => patch.notes = Some(field.nullable(|it| it.text(limits::NOTES))?),
            "wizard_completed_at" => patch.wizard_completed_at = Some(field.nullable(Field::instant)?),
            "reminder_email" => patch.reminder_email = Some(field.boolean()?),
            "reminder_slack" => patch.reminder_slack = Some(field.boolean()?),
            "reminder_frequency_days" => patch.reminder_frequency_days = Some(field.days()?),
            "external_id" => patch.external_id = Some(field.nullable(Field::external_id)?),
            "reason" => patch.reason = Some(field.text(limits::REASON)?),
            _ => return Err(field.unrecognized(&PATCH)),
        }
    }
    Ok(patch)
}

/// The body of "snooze": `until` (an instant) or `days` (1 to 365), one of them.
///
/// # Errors
/// The first fault of the body.
pub fn snooze(body: &Value) -> Result<Snooze, Refusal> {
    let mut snooze = None;
    for field in members(body)? {
        let asked = match field.name {
            "until" => Snooze::Until(field.instant()?),
            "days" => Snooze::Days(field.days()?),
            _ => return Err(field.unrecognized(&["until", "days"])),
        };
        if snooze.replace(asked).is_some() {
            let message = "until and days contradict each other; give one of them";
            return Err(Refusal::field(Code::InvalidCombination, field.name, message));
        }
    }
    snooze.ok_or_else(|| {
        Refusal::field(
            Code::MissingField,
            "until",
            "until is missing; give until (an instant) or days (1 to 365)",
        )
    })
}

/// The body of "remind now": nothing, or `channels`.
///
/// # Errors
/// The first fault of the body.
pub fn remind(body: &Value) -> Result<Option<Vec<Channel>>, Refusal> {
    let mut channels = None;
    for field in members(body)? {
        if field.name != "channels" {
            return Err(field.unrecognized(&["channels"]));
        }
        let mut named = Vec::new();
        for item in field.items(10)? {
            let channel = item.one_of()?;
            if !named.contains(&channel) {
                named.push(channel);
            }
        }
        if named.is_empty() {
            let message = "channels is empty; leave it out for the onboarding's own channels";
            return Err(Refusal::field(Code::TooSmall, "channels", message));
        }
        channels = Some(named);
    }
    Ok(channels)
}

fn role(name: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|role| role.field() == name)
}

/// The reference that the field is.
fn reference(name: &str) -> Option<Reference> {
    match name {
        "customer_id" => Some(Reference::Customer),
        "template_id" => Some(Reference::Template),
        name => role(name).map(Reference::Role),
    }
}
