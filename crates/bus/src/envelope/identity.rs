//! What a message is known by and what it wants, as far as either can be read, whatever else is wrong with it: so that
//! one that is refused is kept once, however often and in which form it comes, and its sender can be found.
//!
//! Law: of a message that can be read it is the same as what `decode_command` says.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use usher_lifecycle::json::parse_json;

use super::command::fingerprint;
use super::decode::{StreamFacts, identifier, is_structured};
use super::percent;
use crate::headers::Headers;
use crate::subject::Names;

/// What is known of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who sent it: the `CloudEvents` attribute, else the stream; empty for a request that names nobody.
    pub source: String,
    /// Its id: the `CloudEvents` attribute, else `Nats-Msg-Id`, else the number in the stream.
    pub id: Option<String>,
    /// What is wanted: hash this. As [`Incoming::fingerprint`](super::command::Incoming::fingerprint) where the data is
    /// JSON, else the bytes as they came.
    pub fingerprint: Vec<u8>,
}

/// Reads what a message is known by. Never fails.
pub fn identify(
    names: &Names,
    subject: &str,
    headers: &Headers,
    payload: &[u8],
    stream: Option<&StreamFacts>,
) -> Identity {
    let Parts { source, id, data } = parts(headers, payload);
    let id = id.or_else(|| {
        let id = headers.get("nats-msg-id")?;
        identifier("Nats-Msg-Id", id).ok()
    });
    let of_stream = match (&id, stream) {
        (_, None) => String::new(),
        (Some(_), Some(facts)) => facts.source(),
        (None, Some(facts)) => facts.source_of_numbers(),
    };
    let (workspace, command) = names.parse_command(subject).unwrap_or(("", subject));
    Identity {
        source: source.unwrap_or(of_stream),
        id: id.or_else(|| stream.map(|facts| facts.sequence.to_string())),
        fingerprint: match parse_json(data) {
            Ok(data) => fingerprint(workspace, command, &data),
            Err(_refusal) => [workspace.as_bytes(), b"\n", command.as_bytes(), b"\n", data].concat(),
        },
    }
}

struct Parts<'a> {
    source: Option<String>,
    id: Option<String>,
    data: &'a [u8],
}

/// By the rule of `decode`: structured, binary, or plain.
fn parts<'a>(headers: &Headers, payload: &'a [u8]) -> Parts<'a> {
    let structured = || Attributes::read(payload);
    if is_structured(headers) {
        return structured().map_or(Parts { source: None, id: None, data: payload }, Attributes::parts);
    }
    if headers.get("ce-specversion").is_some() {
        let attribute = |name| identifier(name, &percent::decode(headers.get(name)?)).ok();
        let data = if payload.is_empty() { b"null" } else { payload };
        return Parts { source: attribute("ce-source"), id: attribute("ce-id"), data };
    }
    match structured().filter(|it| it.specversion.is_some()) {
        Some(attributes) => attributes.parts(),
        None => Parts { source: None, id: None, data: payload },
    }
}

/// The attributes of a structured event that are of use here. All else is skipped, not read: a number beyond every range
/// or a key that stands twice in the data makes none of these unreadable.
#[derive(Deserialize)]
struct Attributes<'a> {
    // Null is there, too; what it holds is for `decode` to judge.
    #[serde(default, deserialize_with = "is_there")]
    specversion: Option<IgnoredAny>,
    #[serde(default, borrow)]
    source: Option<&'a RawValue>,
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

fn is_there<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<IgnoredAny>, D::Error> {
    IgnoredAny::deserialize(value).map(Some)
}

impl<'a> Attributes<'a> {
    fn read(payload: &'a [u8]) -> Option<Self> {
        // An array would be taken for the fields in their order.
        let is_object = payload.trim_ascii_start().first() == Some(&b'{');
        is_object.then(|| serde_json::from_slice(payload).ok()).flatten()
    }

    fn parts(self) -> Parts<'a> {
        let text = |name, value: Option<&RawValue>| {
            let text: String = serde_json::from_str(value?.get()).ok()?;
            identifier(name, &text).ok()
        };
        Parts {
            source: text("source", self.source),
            id: text("id", self.id),
            data: self.data.map_or(b"null", |data| data.get().as_bytes()),
        }
    }
}
