//! Commands whose headers the client cannot read. It gives the connection up over one, or ends, and everything that was
//! under way with it comes again after `ack_wait`, that one included. So after every new connection the stream is asked
//! for such commands in another way, in which the server does not deliver them but describes them.
//!
//! What is readable is decided here by the same rules as the client's; a test holds the two together.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

use super::Nats;
use super::advisories::Stranded;
use super::streams::INTAKE_CONSUMER;
use crate::envelope::decode::StreamFacts;
use crate::error::BusError;
use crate::headers::Headers;

/// The code of commands that are rejected for this.
pub const UNREADABLE_HEADERS: &str = "invalid_headers";
/// Has the headers as they came, in base64, when they cannot be read.
pub const ORIGINAL_HEADERS: &str = "Usher-Original-Headers";

#[derive(Deserialize)]
struct Found {
    message: Raw,
}

/// A message as the server describes it.
#[derive(Deserialize)]
struct Raw {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

#[derive(Deserialize)]
struct Consumer {
    num_ack_pending: u64,
    ack_floor: Place,
    delivered: Place,
}

#[derive(Deserialize)]
struct Place {
    stream_seq: u64,
}

impl Nats {
    /// Commands that were given to somebody, are not acknowledged, and cannot be read. Each can be kept elsewhere and then
    /// be removed.
    pub async fn unreadable_commands(&self) -> Result<Vec<Stranded>, BusError> {
        let stream = self.names().commands_stream();
        let doing = format!("look at consumer {INTAKE_CONSUMER} of stream {stream}");
        let path = format!("CONSUMER.INFO.{stream}.{INTAKE_CONSUMER}");
        let Some(consumer) = self.api::<Consumer>(&doing, path, &json!({})).await? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        if consumer.num_ack_pending == 0 {
            return Ok(found);
        }
        let created = self.commands_created().await?;
        let mut next = consumer.ack_floor.stream_seq + 1;
        while next <= consumer.delivered.stream_seq {
            // The first there is from this number on: the others are done and gone.
            let Some(raw) = self.raw(&json!({ "seq": next, "next_by_subj": ">" })).await? else { break };
            next = raw.seq + 1;
            if raw.seq <= consumer.delivered.stream_seq && raw.why_unreadable().is_some() {
                found.push(raw.stranded(&stream, created));
            }
        }
        Ok(found)
    }

    /// The command with this number, if it is still in the stream.
    pub async fn stranded(&self, sequence: u64) -> Result<Option<Stranded>, BusError> {
        let created = self.commands_created().await?;
        let raw = self.raw(&json!({ "seq": sequence })).await?;
        Ok(raw.map(|raw| raw.stranded(&self.names().commands_stream(), created)))
    }

    /// Takes the command with this number out of the stream. Only for what is recorded elsewhere.
    pub async fn remove_stranded(&self, sequence: u64) -> Result<(), BusError> {
        let stream = self.names().commands_stream();
        // The consumer forgets what is acknowledged; a message that is only deleted, old servers count for ever.
        let reply = format!("$JS.ACK.{stream}.{INTAKE_CONSUMER}.1.{sequence}.1.0.0");
        self.core_publish("acknowledge", reply.into(), None, Bytes::from_static(b"+ACK")).await?;
        let doing = format!("remove message {sequence} of stream {stream}");
        let body = json!({ "seq": sequence });
        match self.api::<serde_json::Value>(&doing, format!("STREAM.MSG.DELETE.{stream}"), &body).await {
            Ok(_) => Ok(()),
            // By its acknowledgement, or by another replica.
            Err(BusError::Refused { .. }) if self.raw(&body).await?.is_none() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn raw(&self, which: &serde_json::Value) -> Result<Option<Raw>, BusError> {
        let stream = self.names().commands_stream();
        let doing = format!("read a message of stream {stream}");
        let answer: Option<Found> = self.api(&doing, format!("STREAM.MSG.GET.{stream}"), which).await?;
        Ok(answer.map(|found| found.message))
    }
}

impl Raw {
    fn header_block(&self) -> Vec<u8> {
        STANDARD.decode(&self.hdrs).unwrap_or_default()
    }

    /// Why the client cannot read it, in words; None when it can.
    fn why_unreadable(&self) -> Option<&'static str> {
        if self.subject.contains(char::REPLACEMENT_CHARACTER) {
            return Some("the subject is not UTF-8");
        }
        let block = self.header_block();
        if block.is_empty() { None } else { why_unreadable(&block) }
    }

    fn stranded(self, stream: &str, created: DateTime<Utc>) -> Stranded {
        let (block, unreadable) = (self.header_block(), self.why_unreadable());
        let mut headers = lenient(&block);
        if unreadable.is_some() {
            headers.push(ORIGINAL_HEADERS, STANDARD.encode(&block));
        }
        Stranded {
            headers,
            subject: self.subject,
            payload: STANDARD.decode(&self.data).unwrap_or_default().into(),
            stream: StreamFacts { name: stream.to_owned(), created, sequence: self.seq },
            unreadable,
        }
    }
}

/// Why the client cannot read this block of headers, which has at least a byte.
fn why_unreadable(block: &[u8]) -> Option<&'static str> {
    let Ok(text) = std::str::from_utf8(block) else { return Some("a header is not UTF-8") };
    let mut lines = text.lines();
    let Some(status) = lines.next().and_then(|line| line.strip_prefix("NATS/1.0")).map(str::trim) else {
        return Some("the headers do not begin with NATS/1.0");
    };
    let status = status.split_once(' ').map_or(status, |(status, _)| status.trim());
    let digits = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    if !status.is_empty() && (!digits || status.starts_with('0')) {
        return Some("the status of the headers is no number of three digits");
    }
    let mut before = false;
    for line in lines {
        if line.is_empty() {
            before = false;
            continue;
        }
        if line.contains('\r') {
            return Some("a header has a carriage return in it");
        }
        // A line that begins with a space goes on with the value before it.
        if before && line.starts_with(char::is_whitespace) {
            continue;
        }
        let Some((name, _)) = line.split_once(':') else { return Some("a header has no colon") };
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some("the name of a header has other than printable ASCII characters");
        }
        before = true;
    }
    None
}

/// What can be read of a block of headers.
fn lenient(block: &[u8]) -> Headers {
    let text = String::from_utf8_lossy(block);
    text.split(['\r', '\n']).skip(1).filter_map(|line| line.split_once(':')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_is_kept() {
        let headers = lenient(b"NATS/1.0\r\nNats-Msg-Id: 7\r\nx: caf\xe9\r\nno colon\r\na b: c\r\n\r\n");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("Nats-Msg-Id", "7"), ("x", "caf\u{fffd}")]);
    }
}
