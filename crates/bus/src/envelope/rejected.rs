//! A refused command as a message: the original bytes and headers, and why. `Nats-` headers steer the stream that
//! they are published to (`Nats-Expected-Stream: USHER_COMMANDS` would keep the report out of `USHER_REJECTED` for
//! ever), so the original ones come back under `Usher-Original-Nats-...`.

use bytes::Bytes;

use crate::headers::{Headers, Outgoing};
use crate::subject::Names;

const ERROR: &str = "Usher-Error-";
const CODE: &str = "Usher-Error-Code";
const MESSAGE: &str = "Usher-Error-Message";
const FIELD: &str = "Usher-Error-Field";
const ATTEMPTS: &str = "Usher-Error-Attempts";
const LENGTH: &str = "Usher-Original-Length";
/// What stands before the name of an original header that would steer the stream, `Nats-...`.
pub const ORIGINAL: &str = "Usher-Original-";
/// Headers that steer a stream begin so, in any case.
pub const STEERING: &str = "Nats-";
/// What the `Nats-Msg-Id` of a refused command starts with; the id of its row follows.
pub const REJECTED_ID: &str = "rejected/";
/// Longest message or field in a header, in characters; the whole text stands in the `rejected` table.
const LONGEST: usize = 500;

/// The headers that are added to every refused command, beside `Nats-Msg-Id`.
pub const REJECTED_HEADERS: [&str; 3] = [CODE, MESSAGE, ATTEMPTS];
/// The headers that are added where there is something to say.
pub const REJECTED_HEADERS_IF_ANY: [&str; 2] = [FIELD, LENGTH];

/// A refused command and the reason.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The id of its row; the message's id is made of it.
    pub id: String,
    /// The subject that it arrived on.
    pub subject: String,
    /// Its headers.
    pub headers: Headers,
    /// Its bytes.
    pub payload: Bytes,
    /// Why, for programs, e.g. `invalid_json`.
    pub code: String,
    /// Why, for people.
    pub message: String,
    /// The field at fault, e.g. `customer.domain`.
    pub field: Option<String>,
    /// How often it was delivered.
    pub attempts: u64,
}

impl Rejected {
    /// The message on the wire, at most `max_payload` bytes with its headers: what does not fit is cut off, and
    /// `Usher-Original-Length` then tells the length in bytes.
    pub fn to_message(&self, names: &Names, max_payload: usize) -> Outgoing {
        let reasons = self.reasons();
        let mut headers = reasons.clone();
        for (name, value) in self.headers.iter() {
            if starts_with(name, STEERING) {
                headers.push(format!("{ORIGINAL}{name}"), value);
            } else if !starts_with(name, ERROR) {
                headers.push(name, value);
            }
        }
        if headers.wire_len() > max_payload {
            headers = reasons;
        }
        let mut payload = self.payload.clone();
        if headers.wire_len() + payload.len() > max_payload {
            headers.push(LENGTH, payload.len().to_string());
            payload.truncate(max_payload.saturating_sub(headers.wire_len()));
        }
        Outgoing { subject: names.rejected(&self.subject), headers, payload }
    }

    fn reasons(&self) -> Headers {
        let short = |text: &str| text.chars().take(LONGEST).collect::<String>();
        let mut headers = Headers::new()
            .with("Nats-Msg-Id", format!("{REJECTED_ID}{}", self.id))
            .with(CODE, &self.code)
            .with(MESSAGE, short(&self.message))
            .with(ATTEMPTS, self.attempts.to_string());
        if let Some(field) = &self.field {
            headers.push(FIELD, short(field));
        }
        headers
    }
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected() -> Rejected {
        Rejected {
            id: "rej_1".into(),
            subject: "usher.commands.acme.onboarding.create".into(),
            headers: Headers::new()
                .with("Ce-Id", "42")
                .with("Ce-Id", "43")
                .with("nats-msg-id", "crm-42")
                .with("Nats-Expected-Stream", "USHER_COMMANDS")
                .with("usher-error-code", "forged"),
            payload: Bytes::from_static(b"{broken"),
            code: "invalid_json".into(),
            message: "line 1\r\nNats-Rollup: all".into(),
            field: Some("name".into()),
            attempts: 2,
        }
    }

    #[test]
    fn a_rejected_command_on_the_wire() {
        let message = rejected().to_message(&Names::default(), crate::DEFAULT_MAX_PAYLOAD);
        assert_eq!(message.subject, "usher.rejected.acme.onboarding.create");
        assert_eq!(message.payload, "{broken");
        let headers: Vec<_> =
            message.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        insta::assert_snapshot!(headers.join("\n"), @"
        Nats-Msg-Id: rejected/rej_1
        Usher-Error-Code: invalid_json
        Usher-Error-Message: line 1  Nats-Rollup: all
        Usher-Error-Attempts: 2
        Usher-Error-Field: name
        Ce-Id: 42
        Ce-Id: 43
        Usher-Original-nats-msg-id: crm-42
        Usher-Original-Nats-Expected-Stream: USHER_COMMANDS
        ");
    }

    #[test]
    fn what_does_not_fit_is_cut_off_and_said() {
        let large = Rejected { payload: Bytes::from(vec![b'x'; 4096]), ..rejected() };
        let message = large.to_message(&Names::default(), 4096);
        assert_eq!(message.headers.wire_len() + message.payload.len(), 4096);
        assert_eq!(message.headers.get("Usher-Original-Length"), Some("4096"));
        let stuffed = Rejected { headers: Headers::new().with("X", "x".repeat(5000)), ..large };
        let message = stuffed.to_message(&Names::default(), 4096);
        assert_eq!(message.headers.wire_len() + message.payload.len(), 4096);
        assert_eq!(message.headers.get("Usher-Error-Code"), Some("invalid_json"));
    }
}
