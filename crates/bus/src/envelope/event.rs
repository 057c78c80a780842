//! An event of ours as a message: structured `CloudEvents` JSON. The same event makes the same `Nats-Msg-Id`, however
//! often it is published.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::headers::{Headers, Outgoing};
use crate::subject::{Names, SubjectError};

/// The content type of every event we publish.
pub const CLOUDEVENTS_JSON: &str = "application/cloudevents+json";
/// What the source of every event we publish starts with; the workspace's slug follows.
pub const EVENT_SOURCE: &str = "/usher/";
/// The content type of the data of every event we publish.
pub const EVENT_DATA: &str = "application/json";

/// An event to be published.
#[derive(Clone, Debug)]
pub struct EventOut {
    /// `evt_...`
    pub id: String,
    /// The workspace's slug; the source is `/usher/<slug>`.
    pub workspace: String,
    /// What happened, e.g. `onboarding.created`.
    pub kind: String,
    /// What it happened to, e.g. `onb_...`.
    pub subject: String,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// The subject's version after it; on the wire a string.
    pub sequence: i64,
    /// Its place among the events of that version, from 0.
    pub ordinal: i64,
    /// False for test data, which goes to a stream of its own.
    pub livemode: bool,
    /// The JSON text of `data`, copied to the wire as it is.
    pub data: Box<RawValue>,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
}

#[derive(Serialize)]
struct Wire<'a> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    subject: &'a str,
    time: String,
    datacontenttype: &'a str,
    sequence: String,
    ordinal: i64,
    livemode: bool,
    data: &'a RawValue,
}

impl EventOut {
    /// The message on the wire. Fails when workspace or kind cannot be part of a subject.
    pub fn to_message(&self, names: &Names) -> Result<Outgoing, SubjectError> {
        let subject = names.event(&self.workspace, &self.kind, self.livemode)?;
        let source = format!("{EVENT_SOURCE}{}", self.workspace);
        let wire = Wire {
            specversion: "1.0",
            id: &self.id,
            source: &source,
            kind: &self.kind,
            subject: &self.subject,
            time: self.time.to_rfc3339_opts(SecondsFormat::Micros, true),
            datacontenttype: EVENT_DATA,
            sequence: self.sequence.to_string(),
            ordinal: self.ordinal,
            livemode: self.livemode,
            data: &self.data,
        };
        let payload = serde_json::to_vec(&wire).expect("texts, numbers and JSON are JSON");
        let mut headers = Headers::new()
            .with("Content-Type", CLOUDEVENTS_JSON)
            .with("Nats-Msg-Id", format!("{source}/{}", self.id));
        if let Some(traceparent) = &self.traceparent {
            headers.push("traceparent", traceparent);
        }
        Ok(Outgoing { subject, headers, payload: Bytes::from(payload) })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the message of a failed test")]

    use super::*;
    use crate::decode_envelope;

    fn event() -> EventOut {
        EventOut {
            id: "evt_01kb2p0q7yf3h9m5c8t6r4w1xz".into(),
            workspace: "acme".into(),
            kind: "onboarding.created".into(),
            subject: "onb_01kb2p0q7ye1j8k4n2v6s3d5aq".into(),
            time: "2026-11-23T09:00:00.25Z".parse().unwrap(),
            sequence: 1,
            ordinal: 0,
            livemode: true,
            data: RawValue::from_string(
                r#"{"object":{"id":"onb_1","name":"B\u00e4r"},"previous_attributes":null}"#.into(),
            )
            .unwrap(),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        }
    }

    #[test]
    fn an_event_on_the_wire() {
        let message = event().to_message(&Names::default()).unwrap();
        let headers: Vec<_> =
            message.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let payload = std::str::from_utf8(&message.payload).unwrap();
        insta::assert_snapshot!(format!("{}\n{}\n\n{payload}", message.subject, headers.join("\n")), @r#"
        usher.events.acme.onboarding.created
        Content-Type: application/cloudevents+json
        Nats-Msg-Id: /usher/acme/evt_01kb2p0q7yf3h9m5c8t6r4w1xz
        traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01

        {"specversion":"1.0","id":"evt_01kb2p0q7yf3h9m5c8t6r4w1xz","source":"/usher/acme","type":"onboarding.created","subject":"onb_01kb2p0q7ye1j8k4n2v6s3d5aq","time":"2026-11-23T09:00:00.250000Z","datacontenttype":"application/json","sequence":"1","ordinal":0,"livemode":true,"data":{"object":{"id":"onb_1","name":"B\u00e4r"},"previous_attributes":null}}
        "#);
    }

    #[test]
    fn it_is_a_cloud_event_that_we_read_ourselves() {
        let test_event = EventOut { livemode: false, traceparent: None, ..event() };
        let message = test_event.to_message(&Names::default()).unwrap();
        assert_eq!(message.subject, "usher.test.events.acme.onboarding.created");
        let envelope = decode_envelope(&message.headers, &message.payload, None).unwrap();
        assert_eq!(envelope.id.as_deref(), Some("evt_01kb2p0q7yf3h9m5c8t6r4w1xz"));
        assert_eq!(envelope.source, "/usher/acme");
        assert_eq!(envelope.sequence.as_deref(), Some("1"));
        assert_eq!(envelope.data["object"]["name"], "B\u{e4}r");
    }
}
