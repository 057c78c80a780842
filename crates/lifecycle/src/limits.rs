//! The limits of what callers may send, each checked in one place, with the words of the refusal.

use alloc::{
    format,
    string::{String, ToString},
};

use chrono::{DateTime, Datelike, SubsecRound, Utc};
use serde_json::{Map, Value};

use crate::refusal::{Code, Refusal};

/// Longest name, in characters.
pub const NAME: usize = 255;
/// Longest e-mail address, in bytes (RFC 5321).
pub const EMAIL: usize = 254;
/// Longest notes, in characters.
pub const NOTES: usize = 10_000;
/// Longest reason of a change, in characters.
pub const REASON: usize = 1_000;
/// Longest external id, in characters.
pub const EXTERNAL_ID: usize = 255;
/// Longest rhythm of reminders, in days.
pub const FREQUENCY_DAYS: i64 = 365;

/// Most bytes of a customer's `metadata`, as JSON text: every event about the customer carries it.
pub const METADATA_BYTES: usize = 32 * 1024;
/// Deepest nesting within `metadata`; a value at its top is the first level.
pub const METADATA_DEPTH: usize = 8;

/// The value as it may stand in a message: quoted, cut after 64 characters.
pub fn excerpt(value: &str) -> String {
    let short: String = value.chars().take(64).collect();
    if short.len() < value.len() { format!("{short:?}...") } else { format!("{short:?}") }
}

/// Text of at most `max` characters, without NUL (Postgres cannot hold one).
pub fn text(field: &str, value: &str, max: usize) -> Result<String, Refusal> {
    if value.contains('\0') {
        return Err(Refusal::field(
            Code::InvalidString,
            field,
            format!("{field} must not contain a NUL character"),
        ));
    }
    let count = value.chars().count();
    if count > max {
        return Err(Refusal::field(
            Code::TooLong,
            field,
            format!("{field} has {count} characters; at most {max} are allowed"),
        ));
    }
    Ok(value.to_string())
}

/// Like [`text`], and not empty or blank.
pub fn filled(field: &str, value: &str, max: usize) -> Result<String, Refusal> {
    if value.trim().is_empty() {
        return Err(Refusal::field(Code::TooSmall, field, format!("{field} must not be empty")));
    }
    text(field, value, max)
}

/// An e-mail address, lower-cased: one `@` outside quotes, no spaces or control characters, at most 254 bytes.
pub fn email(field: &str, value: &str) -> Result<String, Refusal> {
    let bad =
        |why: &str| Refusal::field(Code::InvalidString, field, format!("{field} {} {why}", excerpt(value)));
    let address = value.to_lowercase();
    // Lower case can be the longer one.
    if value.len().max(address.len()) > EMAIL {
        return Err(Refusal::field(Code::TooLong, field, format!("{field} is longer than {EMAIL} bytes")));
    }
    let (local, domain) = value.rsplit_once('@').ok_or_else(|| bad("is no e-mail address: it has no @"))?;
    let quoted = local.strip_prefix('"').map(|rest| rest.strip_suffix('"').unwrap_or(""));
    let local_ok = quoted.map_or_else(|| is_dot_atom(local), is_quoted_text);
    if !local_ok || local.len() > 64 || value.chars().any(char::is_control) {
        return Err(bad("is no e-mail address: the part before @ is not allowed"));
    }
    if !domain.split('.').all(is_label) {
        return Err(bad("is no e-mail address: the part after @ is no domain name"));
    }
    Ok(address)
}

/// The local part of most addresses: words between single dots.
fn is_dot_atom(local: &str) -> bool {
    local.split('.').all(|word| !word.is_empty())
        && !local.contains(['@', '"', '(', ')', '<', '>', ',', ';', ':', '\\', '[', ']'])
        && !local.contains(is_invisible)
}

/// What stands between the quotes of a quoted local part: not empty, quote and backslash only behind a backslash.
/// Anything less strict would let a second address into a header.
fn is_quoted_text(inner: &str) -> bool {
    let mut escaped = false;
    for c in inner.chars() {
        match (escaped, c) {
            (false, '"') => return false,
            (false, '\\') => escaped = true,
            (true | false, _) => escaped = false,
        }
    }
    !inner.is_empty() && !escaped
}

/// One label of a domain name, as ASCII or in the letters and marks of any script.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.chars().count())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || !(c.is_ascii() || is_invisible(c)))
}

/// White space, controls, and the marks that turn the direction of text or take no room.
fn is_invisible(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{ad}' | '\u{2000}'..='\u{206f}' | '\u{feff}')
}

/// The `metadata` of a customer as it is to stand: neither too large nor too deep.
pub fn metadata(whole: &Map<String, Value>) -> Result<(), Refusal> {
    let too_deep = whole.iter().find(|(_, value)| depth(value) > METADATA_DEPTH);
    if let Some((key, _)) = too_deep {
        let field: String = format!("metadata.{key}").chars().take(128).collect();
        let message = format!("{field} is nested more than {METADATA_DEPTH} levels deep");
        return Err(Refusal::field(Code::TooLong, field, message));
    }
    let size = serde_json::to_string(whole).map_or(0, |text| text.len());
    if size > METADATA_BYTES {
        let message = format!("metadata has {size} bytes as a whole; at most {METADATA_BYTES} are allowed");
        return Err(Refusal::field(Code::TooLong, "metadata", message));
    }
    Ok(())
}

/// Levels of the value: 1, and one more for each array or object within another.
fn depth(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
    }
}

/// A rhythm of 1 to 365 days.
pub fn frequency_days(field: &str, value: i64) -> Result<u16, Refusal> {
    let allowed = format!("{field} is {value}; 1 to {FREQUENCY_DAYS} days are allowed");
    if value < 1 {
        return Err(Refusal::field(Code::TooSmall, field, allowed));
    }
    u16::try_from(value)
        .ok()
        .filter(|days| i64::from(*days) <= FREQUENCY_DAYS)
        .ok_or_else(|| Refusal::field(Code::TooBig, field, allowed))
}

/// An RFC 3339 instant between the years 1900 and 9999, cut to microseconds.
pub fn instant(field: &str, value: &str) -> Result<DateTime<Utc>, Refusal> {
    let refuse = || {
        Refusal::field(
            Code::InvalidString,
            field,
            format!(
                "{field} is {}; an RFC 3339 instant with zone is wanted, like 2026-03-29T09:00:00Z",
                excerpt(value)
            ),
        )
    };
    // chrono takes a space there too.
    if !matches!(value.as_bytes().get(10), Some(b'T' | b't')) {
        return Err(refuse());
    }
    let parsed =
        DateTime::parse_from_rfc3339(value).map_err(|_| refuse())?.with_timezone(&Utc).trunc_subsecs(6);
    // A leap second is legal in the text; chrono carries it as 1,000 or more milliseconds, which no database holds.
    let parsed =
        DateTime::from_timestamp(parsed.timestamp(), parsed.timestamp_subsec_nanos().min(999_999_000))
            .ok_or_else(refuse)?;
    if (1900..=9999).contains(&parsed.year()) { Ok(parsed) } else { Err(refuse()) }
}
