//! What an incoming message asks for. The subject decides: it is what NATS permissions are granted on. The type of a
//! `CloudEvent` is free (`com.crm.deal.won` may well be an `onboarding.create`), except that a type which names
//! another of our commands is a mistake, and refused.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::decode::{DecodeError, StreamFacts, decode_envelope};
use crate::headers::Headers;
use crate::subject::Names;

/// The commands there are.
pub const COMMANDS: [&str; 7] = [
    "onboarding.create",
    "onboarding.update",
    "onboarding.delete",
    "onboarding.snooze",
    "customer.upsert",
    "contact.upsert",
    "user.upsert",
];

/// A command as it came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// The workspace's slug.
    pub workspace: String,
    /// One of [`COMMANDS`].
    pub command: &'static str,
    /// Who sent it; with `id` the key by which a repeat is known.
    pub source: String,
    /// None only for a plain request without `Nats-Msg-Id`.
    pub id: Option<String>,
    /// The `CloudEvents` type, when there is one.
    pub kind: Option<String>,
    /// The extension `sequence`: the sender's order.
    pub sequence: Option<String>,
    /// When it happened at the sender's.
    pub time: Option<DateTime<Utc>>,
    /// The W3C trace it belongs to.
    pub traceparent: Option<String>,
    /// The body of the matching API call.
    pub data: Map<String, Value>,
}

impl Incoming {
    /// What makes two messages of one id the same wish: hash this. Workspace, command and data as JSON with sorted
    /// keys, so that neither spacing nor the order of keys nor the form of the envelope makes a difference.
    pub fn fingerprint(&self) -> Vec<u8> {
        let mut text = format!("{}\n{}\n", self.workspace, self.command);
        canonical_object(&self.data, &mut text);
        text.into_bytes()
    }
}

/// The same of data that may be anything.
pub(super) fn fingerprint(workspace: &str, command: &str, data: &Value) -> Vec<u8> {
    let mut text = format!("{workspace}\n{command}\n");
    canonical(data, &mut text);
    text.into_bytes()
}

/// Reads a command or request. An error is final: the message can never succeed.
pub fn decode_command(
    names: &Names,
    subject: &str,
    headers: &Headers,
    payload: &[u8],
    stream: Option<&StreamFacts>,
) -> Result<Incoming, DecodeError> {
    let Some((workspace, name)) = names.parse_command(subject) else {
        let message = format!("{subject:?} names no workspace and command");
        return Err(DecodeError::new("unknown_subject", None, message));
    };
    let Some(command) = known(name) else {
        let message = format!("there is no command {name:?}; there are {}", COMMANDS.join(", "));
        return Err(DecodeError::new("unknown_command", None, message));
    };
    let envelope = decode_envelope(headers, payload, stream)?;
    if let Some(kind) = &envelope.kind {
        let own = kind.strip_prefix(names.prefix()).and_then(|rest| rest.strip_prefix('.')).unwrap_or(kind);
        if known(own).is_some_and(|named| named != command) {
            let message = format!("type {kind:?} is another command than the subject's {command:?}");
            return Err(DecodeError::new("type_mismatch", Some("type"), message));
        }
    }
    let Value::Object(data) = envelope.data else {
        return Err(DecodeError::new("invalid_data", Some("data"), "the data must be a JSON object"));
    };
    Ok(Incoming {
        workspace: workspace.to_owned(),
        command,
        source: envelope.source,
        id: envelope.id,
        kind: envelope.kind,
        sequence: envelope.sequence,
        time: envelope.time,
        traceparent: envelope.traceparent,
        data,
    })
}

fn known(name: &str) -> Option<&'static str> {
    COMMANDS.into_iter().find(|command| *command == name)
}

/// Sorted here, because whether `Map` is sorted is for any crate of the build to choose.
fn canonical_object(object: &Map<String, Value>, text: &mut String) {
    let mut members: Vec<_> = object.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    text.push('{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&Value::String(name.clone()).to_string());
        text.push(':');
        canonical(value, text);
    }
    text.push('}');
}

fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(object) => canonical_object(object, text),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                canonical(item, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}
