//! The bodies about a contact.

use serde_json::Value;
use usher_lifecycle::{
    command::{ContactPatch, CreateContact},
    limits,
    refusal::{Code, Refusal},
};

use super::field::{Field, members};

/// Longest title, in characters.
const TITLE: usize = 255;
/// Most labels.
const LABELS: usize = 20;
/// Longest label, in characters.
const LABEL: usize = 64;

pub(crate) const KNOWN: [&str; 6] = ["name", "email", "title", "is_primary", "labels", "external_id"];

/// The body of "create a contact" of the customer that the path names.
///
/// # Errors
/// The first fault of the body.
pub fn create_contact(customer: String, body: &Value) -> Result<CreateContact, Refusal> {
    patch_contact(body)?.into_new(customer)
}

/// The body of "change a contact", a JSON merge patch.
///
/// # Errors
/// The first fault of the body; `immutable_field` for `customer_id`.
pub fn patch_contact(body: &Value) -> Result<ContactPatch, Refusal> {
    let mut patch = ContactPatch::default();
    for field in members(body)? {
        match field.name {
            "customer_id" => {
                let message = "customer_id cannot stand here; the path says whose contact it is, for good";
                return Err(Refusal::field(Code::ImmutableField, "customer_id", message));
            }
            "name" => patch.name = Some(field.filled(limits::NAME)?),
            "email" => patch.email = Some(field.email()?),
            "title" => patch.title = Some(field.nullable(|it| it.text(TITLE))?),
            "is_primary" => patch.is_primary = Some(field.boolean()?),
            "labels" => patch.labels = Some(labels(&field)?),
            "external_id" => patch.external_id = Some(field.nullable(Field::external_id)?),
            _ => return Err(field.unrecognized(&KNOWN)),
        }
    }
    Ok(patch)
}

/// Each once, in their order.
fn labels(field: &Field<'_>) -> Result<Vec<String>, Refusal> {
    let mut labels = Vec::new();
    for item in field.items(LABELS)? {
        let label = item.filled(LABEL)?;
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    Ok(labels)
}
