//! The bodies about a customer.

use serde_json::{Map, Value};
use usher_lifecycle::{
    command::{CreateCustomer, CustomerPatch},
    limits,
    refusal::{Code, Refusal},
};

use super::field::{Field, members};

/// Longest text of a plan or a foreign id, in characters.
const TEXT: usize = 255;
/// Longest domain name (RFC 1035).
const DOMAIN: usize = 253;

/// The nullable texts.
const TEXTS: [&str; 9] = [
    "slug",
    "domain",
    "plan",
    "hubspot_company_id",
    "hubspot_deal_id",
    "stripe_customer_id",
    "intercom_company_id",
    "slack_channel_id",
    "external_id",
];
pub(crate) const KNOWN: [&str; 14] = [
    "name",
    "slug",
    "domain",
    "status",
    "plan",
    "mrr",
    "monthly_orders",
    "hubspot_company_id",
    "hubspot_deal_id",
    "stripe_customer_id",
    "intercom_company_id",
    "slack_channel_id",
    "external_id",
    "metadata",
];

/// The body of "create a customer".
///
/// # Errors
/// The first fault of the body.
pub fn create_customer(body: &Value) -> Result<CreateCustomer, Refusal> {
    Ok(CreateCustomer { fields: patch_customer(body)?.into_new()? })
}

/// The body of "change a customer", a JSON merge patch, also within `metadata`.
///
/// # Errors
/// The first fault of the body.
pub fn patch_customer(body: &Value) -> Result<CustomerPatch, Refusal> {
    let mut patch = CustomerPatch::default();
    for field in members(body)? {
        if let Some(name) = TEXTS.into_iter().find(|name| *name == field.name) {
            patch.texts.insert(name, field.nullable(text)?);
            continue;
        }
        match field.name {
            "name" => patch.name = Some(field.filled(limits::NAME)?),
            "status" => patch.status = Some(field.one_of()?),
            "mrr" => patch.mrr = Some(field.nullable(Field::amount)?),
            "monthly_orders" => patch.monthly_orders = Some(field.nullable(Field::count)?),
            "metadata" => patch.metadata = Some(metadata(&field)?),
            _ => return Err(field.unrecognized(&KNOWN)),
        }
    }
    Ok(patch)
}

fn text(field: &Field<'_>) -> Result<String, Refusal> {
    match field.name {
        "slug" => slug(field),
        "domain" => domain(field),
        "external_id" => field.external_id(),
        _ => field.text(TEXT),
    }
}

/// `[a-z0-9-]{1,63}`.
fn slug(field: &Field<'_>) -> Result<String, Refusal> {
    let slug = field.filled(63)?;
    let fits = slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits { Ok(slug) } else { Err(field.refuse(Code::InvalidString, "a-z, 0-9 and - are allowed")) }
}

/// Lower-cased; names that differ in case only are one.
fn domain(field: &Field<'_>) -> Result<String, Refusal> {
    let domain = field.filled(DOMAIN)?;
    let fits = domain.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '.');
    if fits {
        Ok(domain.to_lowercase())
    } else {
        Err(field.refuse(Code::InvalidString, "a domain name is wanted, like example.com"))
    }
}

fn metadata(field: &Field<'_>) -> Result<Map<String, Value>, Refusal> {
    for member in field.object()? {
        limits::text(&member.path, member.name, TEXT)?;
        storable(&member, member.value())?;
    }
    // What is merged is looked at again, with what stands there already.
    let given = field.value().as_object().cloned().unwrap_or_default();
    limits::metadata(&given)?;
    Ok(given)
}

/// No NUL in any text (Postgres cannot hold one). The parser bounds the depth.
fn storable(member: &Field<'_>, value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) => limits::text(&member.path, text, limits::METADATA_BYTES).map(drop),
        Value::Array(items) => items.iter().try_for_each(|item| storable(member, item)),
        Value::Object(map) => map.iter().try_for_each(|(key, value)| {
            limits::text(&member.path, key, TEXT)?;
            storable(member, value)
        }),
    }
}
