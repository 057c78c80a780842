//! The bodies about an API key.

use serde_json::Value;
use usher_lifecycle::{
    Scope, limits,
    refusal::{Code, Refusal},
};
use usher_store::KeySpec;

use super::field::{Field, members, missing};
use crate::http::MOST_REQUESTS;

/// Most scopes that one body may list.
const SCOPES: usize = 20;
/// Longest time that an old key goes on beside its successor, in seconds: 30 days.
pub(crate) const OVERLAP: i64 = 30 * 24 * 3_600;
pub(super) const CREATE: [&str; 4] = ["name", "livemode", "scopes", "rate_limit"];

/// The body of "create an API key", asked for by a key of that mode.
///
/// # Errors
/// The first fault of the body.
pub fn create_api_key(body: &Value, livemode: bool) -> Result<KeySpec, Refusal> {
    let mut name = None;
    let mut spec = KeySpec::new("", livemode);
    for field in members(body)? {
        match field.name {
            "name" => name = Some(field.filled(limits::NAME)?),
            "livemode" => spec.livemode = mode(&field, livemode)?,
            "scopes" => spec.scopes = scopes(&field)?,
            "rate_limit" => spec.rate_limit = field.nullable(rate)?,
            _ => return Err(field.unrecognized(&CREATE)),
        }
    }
    spec.name = name.ok_or_else(|| missing("name"))?;
    Ok(spec)
}

/// The body of "rotate an API key": in how many seconds the old one ends; none = when it is revoked.
///
/// # Errors
/// The first fault of the body.
pub fn rotate_api_key(body: &Value) -> Result<Option<i64>, Refusal> {
    let mut overlap = None;
    for field in members(body)? {
        match field.name {
            "overlap_seconds" => overlap = field.nullable(|it| it.within(0, OVERLAP))?,
            _ => return Err(field.unrecognized(&["overlap_seconds"])),
        }
    }
    Ok(overlap)
}

fn mode(field: &Field<'_>, own: bool) -> Result<bool, Refusal> {
    let wanted = field.boolean()?;
    if wanted && !own {
        return Err(field.refuse(Code::InvalidValue, "a test key makes test keys only"));
    }
    Ok(wanted)
}

fn rate(field: &Field<'_>) -> Result<i64, Refusal> {
    field.within(0, MOST_REQUESTS)
}

/// At least one; each once.
fn scopes(field: &Field<'_>) -> Result<Vec<Scope>, Refusal> {
    let mut scopes = Vec::new();
    for item in field.items(SCOPES)? {
        let scope = item.one_of()?;
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    if scopes.is_empty() {
        let message = "scopes is empty; leave it out for a key that may do everything";
        return Err(Refusal::field(Code::TooSmall, "scopes", message));
    }
    Ok(scopes)
}
