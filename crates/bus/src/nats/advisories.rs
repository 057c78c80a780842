//! What JetStream says of commands it gave up: the second net. Our consumer delivers for ever and nobody here ends a
//! message, so an advisory means that somebody changed the consumer or interfered. Advisories are not kept: they may be
//! lost like everything here, and the counting of failures where commands are handled is the first net.

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::time::timeout;

use super::requests::REQUESTS_QUEUE_GROUP;
use super::streams::INTAKE_CONSUMER;
use super::{Nats, from_header_map};
use crate::envelope::decode::StreamFacts;
use crate::error::BusError;
use crate::headers::Headers;

/// Advisories about the commands, each for one of all replicas.
#[derive(Debug)]
pub struct Advisories(futures_util::stream::Select<Subscriber, Subscriber>);

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
        let used_up = self.subscribe(format!("{USED_UP}.{of}"), group).await?;
        let ended = self.subscribe(format!("{ENDED}.{of}"), group).await?;
        Ok(Advisories(futures_util::stream::select(used_up, ended)))
    }

    /// The command with this number, if it is still in the stream.
    pub async fn stranded(&self, sequence: u64) -> Result<Option<Stranded>, BusError> {
        let name = self.names().commands_stream();
        let doing = format!("read message {sequence} of stream {name}");
        let created = self.commands_created().await?;
        let read = async {
            let stream = self.shared.jetstream.get_stream_no_info(&name).await;
            let stream = stream.map_err(|error| failed(&doing, error))?;
            match stream.get_raw_message(sequence).await {
                Ok(message) => Ok(Some(Stranded {
                    headers: from_header_map(Some(&message.headers)),
                    subject: message.subject.into_string(),
                    payload: message.payload,
                    stream: StreamFacts { name: name.clone(), created, sequence },
                })),
                Err(error) if error.to_string().contains("no message found") => Ok(None),
                Err(error) => Err(failed(&doing, error)),
            }
        };
        let after = self.shared.settings.request_timeout;
        let late = |_elapsed| BusError::Timeout { doing: doing.clone(), after };
        timeout(after, read).await.map_err(late)?
    }

    /// Takes the command with this number out of the stream. Only for what is recorded elsewhere.
    pub async fn remove_stranded(&self, sequence: u64) -> Result<(), BusError> {
        let name = self.names().commands_stream();
        let doing = format!("remove message {sequence} of stream {name}");
        let remove = async {
            let stream = self.shared.jetstream.get_stream_no_info(&name).await;
            let stream = stream.map_err(|error| failed(&doing, error))?;
            stream.delete_message(sequence).await.map(drop).map_err(|error| failed(&doing, error))
        };
        let after = self.shared.settings.request_timeout;
        let late = |_elapsed| BusError::Timeout { doing: doing.clone(), after };
        timeout(after, remove).await.map_err(late)?
    }
}

fn failed(doing: &str, error: impl std::error::Error + Send + Sync + 'static) -> BusError {
    BusError::Failed { doing: doing.to_owned(), source: error.into() }
}

impl Advisories {
    /// The next one; waits as long as it takes. None when the connection was closed for good. Safe to cancel.
    pub async fn next(&mut self) -> Option<Advisory> {
        loop {
            let message = self.0.next().await?;
            let used_up = message.subject.starts_with(USED_UP);
            match serde_json::from_slice(&message.payload) {
                Ok(Told { stream_seq, deliveries }) => {
                    return Some(Advisory { used_up, sequence: stream_seq, deliveries });
                }
                Err(error) => tracing::warn!(%error, "an advisory cannot be read"),
            }
        }
    }
}
