//! What one message of a CRM brings: an onboarding with its customer and contacts, or a contact with whose it is.

use serde_json::{Map, Value};
use usher_lifecycle::{
    command::{Composite, ContactPatch, CustomerPart},
    refusal::{Code, Refusal},
};

use super::{create_onboarding, field::missing, patch_contact, patch_customer};

/// Most contacts of one message.
pub(crate) const CONTACTS: usize = 100;

/// Whether the data of an `onboarding.create` brings more than the onboarding.
pub(crate) fn is_composite(data: &Map<String, Value>) -> bool {
    data.contains_key("customer") || data.contains_key("contacts")
}

/// The data of an `onboarding.create` with a whole `customer` in the place of `customer_id`, or with `contacts`.
///
/// # Errors
/// The first fault of the customer, then of the contacts, then of the onboarding.
pub fn onboarding_with(mut data: Map<String, Value>) -> Result<Composite, Refusal> {
    let customer = match data.shift_remove("customer") {
        None => CustomerPart::Named(named(&data)?),
        Some(_) if data.contains_key("customer_id") => {
            let message = "customer and customer_id may contradict each other; give one of them";
            return Err(Refusal::field(Code::InvalidCombination, "customer_id", message));
        }
        Some(whole) => {
            // The reader of onboardings wants to be told whose it is; of a composite nobody looks at that.
            data.insert("customer_id".into(), Value::from("customer"));
            CustomerPart::Upsert(patch_customer(&whole).map_err(|refusal| within("customer", refusal))?)
        }
    };
    let contacts = contacts(data.shift_remove("contacts"))?;
    let onboarding = Some(create_onboarding(&Value::Object(data))?);
    Ok(Composite { customer, contacts, onboarding })
}

/// The data of a `contact.upsert` that does not name the contact by itself: `customer_id`, and the contact's fields with
/// `external_id` or `email`.
///
/// # Errors
/// The first fault.
pub fn contact_of(mut data: Map<String, Value>) -> Result<Composite, Refusal> {
    let customer = CustomerPart::Named(named(&data)?);
    data.shift_remove("customer_id");
    let contact = patch_contact(&Value::Object(data))?;
    if contact.external_id.as_ref().and_then(Option::as_ref).is_none() && contact.email.is_none() {
        let message = "external_id is missing, and email; one of them says which contact is meant";
        return Err(Refusal::field(Code::MissingField, "external_id", message));
    }
    Ok(Composite { customer, contacts: vec![contact], onboarding: None })
}

fn named(data: &Map<String, Value>) -> Result<String, Refusal> {
    match data.get("customer_id") {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(_) => {
            let message = "customer_id must be a string that is not empty";
            Err(Refusal::field(Code::InvalidType, "customer_id", message))
        }
        None => Err(missing("customer_id")),
    }
}

fn contacts(given: Option<Value>) -> Result<Vec<ContactPatch>, Refusal> {
    let items = match given {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(Refusal::field(Code::InvalidType, "contacts", "contacts must be an array")),
    };
    if items.len() > CONTACTS {
        let message = format!("contacts has {} items; at most {CONTACTS} are allowed", items.len());
        return Err(Refusal::field(Code::TooLong, "contacts", message));
    }
    let read = |(place, item): (usize, &Value)| {
        patch_contact(item).map_err(|refusal| within(&format!("contacts.{place}"), refusal))
    };
    items.iter().enumerate().map(read).collect()
}

fn within(part: &str, refusal: Refusal) -> Refusal {
    let field = refusal.field.map_or_else(|| part.to_owned(), |field| format!("{part}.{field}"));
    Refusal { field: Some(field.chars().take(128).collect()), ..refusal }
}
