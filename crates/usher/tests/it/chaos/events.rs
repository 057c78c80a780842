//! The streams, read back from their first message to the last.

use std::collections::BTreeMap;

use anyhow::Context as _;
use base64::Engine as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use usher_bus::Nats;

use super::world::ask;

/// A message of a stream.
pub(super) struct Stored {
    pub(super) headers: String,
    pub(super) payload: Vec<u8>,
}

impl Stored {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let line = |line: &&str| line.split(':').next().is_some_and(|key| key.eq_ignore_ascii_case(name));
        Some(self.headers.lines().find(line)?.split_once(':')?.1.trim())
    }
}

/// Everything in a stream, in order.
pub(super) async fn stored(client: &Nats, name: &str) -> anyhow::Result<Vec<Stored>> {
    let info = ask(client, &format!("STREAM.INFO.{name}"), &json!({})).await?;
    let last = info["state"]["last_seq"].as_u64().context("a last message")?;
    let one = async |sequence: u64| {
        let answer = ask(client, &format!("STREAM.MSG.GET.{name}"), &json!({"seq": sequence})).await?;
        let bytes = |field: &str| {
            let text = answer["message"][field].as_str().unwrap_or_default();
            base64::engine::general_purpose::STANDARD.decode(text)
        };
        anyhow::Ok(Stored { headers: String::from_utf8(bytes("hdrs")?)?, payload: bytes("data")? })
    };
    stream::iter(1..=last).map(one).buffered(64).try_collect().await
}

/// The events of the subjects, first publications only, in the order of the stream.
pub(super) struct Events {
    pub(super) firsts: BTreeMap<String, Vec<Value>>,
    pub(super) count: usize,
    pub(super) repeats: usize,
}

impl Events {
    /// Checks while reading that a repeat is one: the same id.
    pub(super) fn read(messages: &[Stored]) -> anyhow::Result<Self> {
        let mut all = Self { firsts: BTreeMap::new(), count: messages.len(), repeats: 0 };
        for message in messages {
            let event: Value = serde_json::from_slice(&message.payload)?;
            let subject = event["subject"].as_str().context("a subject")?.to_owned();
            let id = event["id"].as_str().context("an id")?;
            anyhow::ensure!(
                message.header("Nats-Msg-Id") == Some(&format!("/usher/main/{id}")),
                "{}: of {id}",
                message.headers
            );
            let firsts = all.firsts.entry(subject).or_default();
            if firsts.iter().any(|first| first["id"] == event["id"]) {
                all.repeats += 1;
            } else {
                firsts.push(event);
            }
        }
        Ok(all)
    }

    /// Of each record: versions 1, 2, 3, ... and in each the ordinals 0, 1, ...; the last version of each.
    pub(super) fn in_order_without_a_gap(&self) -> anyhow::Result<BTreeMap<&str, i64>> {
        let mut last = BTreeMap::new();
        // A reminder is no record: its events count attempts.
        for (subject, events) in self.firsts.iter().filter(|(subject, _)| !subject.starts_with("rem_")) {
            let (mut version, mut ordinal) = (0, 0);
            for event in events {
                let place = (
                    event["sequence"].as_str().and_then(|text| text.parse().ok()),
                    event["ordinal"].as_i64(),
                );
                let next = [(Some(version + 1), Some(0)), (Some(version), Some(ordinal + 1))];
                anyhow::ensure!(
                    next.contains(&place),
                    "{subject}: {place:?} follows {:?}",
                    (version, ordinal)
                );
                (version, ordinal) = (place.0.unwrap_or(0), place.1.unwrap_or(0));
            }
            last.insert(subject.as_str(), version);
        }
        Ok(last)
    }

    /// How many events of a type have this text at this place of their object.
    pub(super) fn tally(&self, kind: &str, field: &str) -> BTreeMap<&str, usize> {
        let mut tally = BTreeMap::new();
        for event in self.firsts.values().flatten().filter(|event| event["type"] == kind) {
            if let Some(text) = event["data"]["object"][field].as_str() {
                *tally.entry(text).or_default() += 1;
            }
        }
        tally
    }
}
