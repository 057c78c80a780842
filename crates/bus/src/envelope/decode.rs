//! What upstream systems send, read in any of four ways, by this rule and no other:
//!
//! 1. the content type starts with `application/cloudevents`: structured;
//! 2. else there is a `ce-specversion` header in any case: binary, attributes in `ce-` headers;
//! 3. else the body is a JSON object with `specversion`: structured;
//! 4. else plain JSON. Its source is the stream it came through with the stream's creation time (a stream made anew
//!    repeats its numbers), its id the `Nats-Msg-Id`, else the number in the stream. Numbers have a source of their own,
//!    so that number 17 and `Nats-Msg-Id: 17` are two messages.
//!
//! Reading never panics, whatever the bytes.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use thiserror::Error;
use usher_lifecycle::json::parse_json;

use super::percent;
use crate::headers::Headers;

/// Where in `JetStream` a message came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFacts {
    /// The stream's name.
    pub name: String,
    /// When the stream was created.
    pub created: DateTime<Utc>,
    /// The message's number in the stream.
    pub sequence: u64,
}

impl StreamFacts {
    /// The source of messages that name none but have a `Nats-Msg-Id`:
    /// `nats:USHER_COMMANDS:2026-11-23T09:00:00.123456789Z`.
    pub fn source(&self) -> String {
        format!("nats:{}:{}", self.name, self.created.to_rfc3339_opts(SecondsFormat::Nanos, true))
    }

    /// The source of messages whose id is their number in the stream: the same with `#sequence`.
    pub fn source_of_numbers(&self) -> String {
        format!("{}#sequence", self.source())
    }
}

/// A message as a `CloudEvent`, whatever form it had.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// Who sent it; with `id` the key by which a repeat is known.
    pub source: String,
    /// None only for a plain request without `Nats-Msg-Id`: nothing tells its repeat from a second wish.
    pub id: Option<String>,
    /// The type; plain JSON has none.
    pub kind: Option<String>,
    /// The extension `sequence`, when sent.
    pub sequence: Option<String>,
    /// When it happened, when sent.
    pub time: Option<DateTime<Utc>>,
    /// The W3C trace it belongs to, when well-formed.
    pub traceparent: Option<String>,
    /// The data; null when there is none.
    pub data: Value,
}

const SPECVERSION: &str = "specversion";
const ID: &str = "id";
const SOURCE: &str = "source";
const TYPE: &str = "type";
const TIME: &str = "time";
const SEQUENCE: &str = "sequence";
const DATACONTENTTYPE: &str = "datacontenttype";
const TRACEPARENT: &str = "traceparent";

/// The version of `CloudEvents` that is read.
pub const CLOUDEVENTS_VERSION: &str = "1.0";
/// The attributes that every `CloudEvent` needs.
pub const REQUIRED_ATTRIBUTES: [&str; 4] = [SPECVERSION, ID, SOURCE, TYPE];
/// The others that are read. In headers the content type is `Content-Type`, and a trace may be `traceparent` alone.
pub const OPTIONAL_ATTRIBUTES: [&str; 4] = [TIME, SEQUENCE, DATACONTENTTYPE, TRACEPARENT];
/// What an attribute is called among headers, in any case.
pub const ATTRIBUTE_HEADER: &str = "ce-";
/// Longest text of an attribute, in characters.
pub const LONGEST_ATTRIBUTE: usize = 255;

/// The codes that only a message can have; the others are those of the API.
pub const DECODE_CODES: [&str; 7] = [
    "missing_attribute",
    "invalid_attribute",
    "unsupported_specversion",
    "unsupported_content_type",
    "unknown_subject",
    "type_mismatch",
    "invalid_data",
];

/// Why a message cannot be read. It can never succeed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct DecodeError {
    /// For programs: `invalid_json`, `too_big` (a number beyond every range), `missing_attribute`, `invalid_attribute`, `unsupported_specversion`,
    /// `unsupported_content_type`, `unknown_subject`, `unknown_command`, `type_mismatch`, `invalid_data`.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// The attribute or field at fault.
    pub field: Option<String>,
}

impl DecodeError {
    pub(crate) fn new(code: &'static str, field: Option<&str>, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: field.map(str::to_owned) }
    }
}

/// Reads a message by the rule above. `stream` is None for requests, which come through no stream.
pub fn decode_envelope(
    headers: &Headers,
    payload: &[u8],
    stream: Option<&StreamFacts>,
) -> Result<Envelope, DecodeError> {
    if let Some(media) = structured_media(headers) {
        if !matches!(media.as_str(), "application/cloudevents" | "application/cloudevents+json") {
            let message = format!("events of type {media:?} are not read; one event as JSON is");
            return Err(DecodeError::new("unsupported_content_type", None, message));
        }
        return match parse(payload)? {
            Value::Object(attributes) => structured(attributes, headers),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(DecodeError::new("invalid_data", None, "a structured CloudEvent is a JSON object"))
            }
        };
    }
    if headers.get("ce-specversion").is_some() {
        return binary(headers, payload);
    }
    match parse(payload)? {
        Value::Object(attributes) if attributes.contains_key(SPECVERSION) => structured(attributes, headers),
        data @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_)) => plain(data, headers, stream),
    }
}

/// Whether the content type says that the body is a `CloudEvent`.
pub(super) fn is_structured(headers: &Headers) -> bool {
    structured_media(headers).is_some()
}

fn structured_media(headers: &Headers) -> Option<String> {
    headers.get("content-type").map(media_type).filter(|media| media.starts_with("application/cloudevents"))
}

fn structured(mut attributes: Map<String, Value>, headers: &Headers) -> Result<Envelope, DecodeError> {
    let data = attributes.remove("data").unwrap_or(Value::Null);
    if attributes.get("data_base64").is_some_and(|value| !value.is_null()) {
        let message = "data_base64 is not read: send JSON in data";
        return Err(DecodeError::new("unsupported_content_type", Some("data_base64"), message));
    }
    envelope(&attributes, headers, data)
}

fn binary(headers: &Headers, payload: &[u8]) -> Result<Envelope, DecodeError> {
    let mut attributes = Map::new();
    for (name, value) in headers.iter() {
        let name = name.to_ascii_lowercase();
        if let Some(attribute) = name.strip_prefix(ATTRIBUTE_HEADER) {
            // The first of several wins, as everywhere.
            attributes.entry(attribute).or_insert_with(|| Value::String(percent::decode(value)));
        }
    }
    if let Some(content_type) = headers.get("content-type") {
        attributes.insert(DATACONTENTTYPE.to_owned(), Value::String(content_type.to_owned()));
    }
    // The content type first: a body that is no JSON by its own account should not be called broken JSON.
    require_json(&attributes)?;
    let data = if payload.is_empty() { Value::Null } else { parse(payload)? };
    envelope(&attributes, headers, data)
}

fn plain(data: Value, headers: &Headers, stream: Option<&StreamFacts>) -> Result<Envelope, DecodeError> {
    let given = headers.get("nats-msg-id").filter(|id| !id.is_empty());
    let given = given.map(|id| identifier("Nats-Msg-Id", id)).transpose()?;
    let (source, id) = match (stream, given) {
        (None, id) => ("nats:requests".to_owned(), id),
        (Some(facts), Some(id)) => (facts.source(), Some(id)),
        (Some(facts), None) => (facts.source_of_numbers(), Some(facts.sequence.to_string())),
    };
    let traceparent = headers.get(TRACEPARENT).and_then(well_formed_trace);
    Ok(Envelope { source, id, kind: None, sequence: None, time: None, traceparent, data })
}

fn envelope(
    attributes: &Map<String, Value>,
    headers: &Headers,
    data: Value,
) -> Result<Envelope, DecodeError> {
    let version = required(attributes, SPECVERSION)?;
    if version != CLOUDEVENTS_VERSION {
        let message = format!("specversion {version:?} is not read; {CLOUDEVENTS_VERSION:?} is");
        return Err(DecodeError::new("unsupported_specversion", Some(SPECVERSION), message));
    }
    let id = Some(required(attributes, ID)?);
    let source = required(attributes, SOURCE)?;
    let kind = Some(required(attributes, TYPE)?);
    require_json(attributes)?;
    let time = match optional(attributes, TIME)? {
        Some(text) => Some(DateTime::parse_from_rfc3339(&text).map_err(|_| {
            DecodeError::new("invalid_attribute", Some(TIME), format!("time {text:?} is not RFC 3339"))
        })?),
        None => None,
    };
    let traceparent = attributes.get(TRACEPARENT).and_then(Value::as_str).or(headers.get(TRACEPARENT));
    Ok(Envelope {
        source,
        id,
        kind,
        sequence: sequence(attributes)?,
        time: time.map(|time| time.with_timezone(&Utc)),
        traceparent: traceparent.and_then(well_formed_trace),
        data,
    })
}

/// A text by the specification; a whole number is what senders mean by one.
fn sequence(attributes: &Map<String, Value>) -> Result<Option<String>, DecodeError> {
    match attributes.get(SEQUENCE) {
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(Some(number.to_string())),
        Some(_) | None => optional(attributes, SEQUENCE),
    }
}

fn required(attributes: &Map<String, Value>, name: &str) -> Result<String, DecodeError> {
    optional(attributes, name)?.ok_or_else(|| {
        DecodeError::new(
            "missing_attribute",
            Some(name),
            format!("the CloudEvents attribute {name} is missing"),
        )
    })
}

/// The attribute, when it is there and not null: a text that is not empty, not too long, and free of control
/// characters.
fn optional(attributes: &Map<String, Value>, name: &str) -> Result<Option<String>, DecodeError> {
    match attributes.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => identifier(name, text).map(Some),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(DecodeError::new("invalid_attribute", Some(name), format!("{name} must be a string")))
        }
    }
}

/// A text that an attribute may be.
pub(super) fn identifier(name: &str, text: &str) -> Result<String, DecodeError> {
    let reason = if text.is_empty() {
        "must not be empty"
    } else if text.chars().count() > LONGEST_ATTRIBUTE {
        "must not have more than 255 characters"
    } else if text.contains(char::is_control) {
        "must not contain control characters"
    } else {
        return Ok(text.to_owned());
    };
    Err(DecodeError::new("invalid_attribute", Some(name), format!("{name} {reason}")))
}

fn require_json(attributes: &Map<String, Value>) -> Result<(), DecodeError> {
    let Some(content_type) = optional(attributes, DATACONTENTTYPE)? else { return Ok(()) };
    let media = media_type(&content_type);
    if matches!(media.as_str(), "application/json" | "text/json") || media.ends_with("+json") {
        return Ok(());
    }
    let message = format!("data of type {media:?} is not read; JSON is");
    Err(DecodeError::new("unsupported_content_type", Some(DATACONTENTTYPE), message))
}

/// `Application/JSON; charset=utf-8` is `application/json`.
fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn parse(payload: &[u8]) -> Result<Value, DecodeError> {
    parse_json(payload)
        .map_err(|refusal| DecodeError::new(refusal.code.as_str(), refusal.field.as_deref(), refusal.message))
}

/// `00-<32 hex>-<16 hex>-<2 hex>`; anything else is no reason to refuse a command.
fn well_formed_trace(text: &str) -> Option<String> {
    let lengths = [2, 32, 16, 2];
    let parts: Vec<_> = text.split('-').collect();
    let hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let fits = parts.len() == 4 && parts.iter().zip(lengths).all(|(part, n)| part.len() == n && hex(part));
    fits.then(|| text.to_owned())
}
