//! What JetStream says of commands it gave up: the second net. Our consumer delivers for ever and nobody here ends a
//! message, so an advisory means that somebody changed the consumer or interfered. Advisories are not kept: they may be
//! lost like everything here, and the counting of failures where commands are handled is the first net.

use bytes::Bytes;
use serde::Deserialize;

use super::Nats;
use super::link::Lasting;
use super::requests::REQUESTS_QUEUE_GROUP;
use super::streams::INTAKE_CONSUMER;
use crate::envelope::decode::StreamFacts;
use crate::error::BusError;
use crate::headers::Headers;

/// Advisories about the commands, each for one of all replicas.
#[derive(Debug)]
pub struct Advisories {
    used_up: Lasting,
    ended: Lasting,
}

/// JetStream will not deliver a command again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advisory {
    /// Whether its deliveries were used up (it is still in the stream); else somebody ended it, and it is gone.
    pub used_up: bool,
    /// Its number in the stream.
    pub sequence: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// A command that still lies in the stream.
#[derive(Clone, Debug)]
pub struct Stranded {
    /// Where it was published to.
    pub subject: String,
    /// Its headers.
    pub headers: Headers,
    /// Its bytes.
    pub payload: Bytes,
    /// The stream and the number there.
    pub stream: StreamFacts,
    /// Why its headers cannot be read, in words; None when they can.
    pub unreadable: Option<&'static str>,
}

#[derive(Deserialize)]
struct Told {
    stream_seq: u64,
    #[serde(default)]
    deliveries: u64,
}

const USED_UP: &str = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES";
const ENDED: &str = "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED";

impl Nats {
    /// Advisories about the consumer of commands, from now on.
    pub async fn advisories(&self) -> Result<Advisories, BusError> {
        let of = format!("{}.{INTAKE_CONSUMER}", self.names().commands_stream());
        let group = Some(REQUESTS_QUEUE_GROUP);
        let used_up = Lasting::new(self, format!("{USED_UP}.{of}"), group).await?;
        let ended = Lasting::new(self, format!("{ENDED}.{of}"), group).await?;
        Ok(Advisories { used_up, ended })
    }
}

impl Advisories {
    /// The next one; waits as long as it takes. Safe to cancel.
    pub async fn next(&mut self) -> Advisory {
        loop {
            let (used_up, message) = tokio::select! {
                message = self.used_up.next() => (true, message),
                message = self.ended.next() => (false, message),
            };
            match serde_json::from_slice(&message.payload) {
                Ok(Told { stream_seq, deliveries }) => {
                    return Advisory { used_up, sequence: stream_seq, deliveries };
                }
                Err(error) => tracing::warn!(%error, "an advisory cannot be read"),
            }
        }
    }
}
