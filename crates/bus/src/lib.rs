//! Events and commands on the wire: CloudEvents over NATS `JetStream`, or in process. The only crate that knows NATS.
//!
//! The law of the house: **everything here may be lost or repeated; only latency depends on it.** Facts live in the
//! store. A publish that failed or was not acknowledged stays pending there, a command is acknowledged only after
//! its effect is durable there, and a lost hint is caught up by the next look at the tables.
//!
//! No type of the NATS client appears in a signature, and no secret in an error or in `Debug`.

mod envelope;
mod error;
mod headers;
mod local;
mod nats;
mod subject;

use std::time::Duration;

pub use envelope::command::{COMMANDS, Incoming, decode_command};
pub use envelope::decode::{
    ATTRIBUTE_HEADER, CLOUDEVENTS_VERSION, DECODE_CODES, DecodeError, Envelope, LONGEST_ATTRIBUTE,
    OPTIONAL_ATTRIBUTES, REQUIRED_ATTRIBUTES, StreamFacts, decode_envelope,
};
pub use envelope::event::{CLOUDEVENTS_JSON, EVENT_DATA, EVENT_SOURCE, EventOut};
pub use envelope::identity::{Identity, identify};
pub use envelope::rejected::{
    ORIGINAL, REJECTED_HEADERS, REJECTED_HEADERS_IF_ANY, REJECTED_ID, Rejected, STEERING,
};
pub use error::{BusError, Cause, Difference, Mismatch, PublishError};
pub use headers::{Headers, Outgoing, Published};
pub use local::Local;
pub use nats::Nats;
pub use nats::advisories::{Advisories, Advisory, Stranded};
pub use nats::commands::{Commands, Delivery, Stop};
pub use nats::requests::{Listener, REQUESTS_QUEUE_GROUP, Request, Requests};
pub use nats::settings::{Ages, Credentials, Intake, Settings, Tls};
pub use nats::streams::INTAKE_CONSUMER;
pub use nats::unreadable::{ORIGINAL_HEADERS, UNREADABLE_HEADERS};
pub use subject::{Names, SubjectError};

/// What usually fits into one message with its headers, in bytes: NATS' default, and the limit of [`Local`].
pub const DEFAULT_MAX_PAYLOAD: usize = 1024 * 1024;

/// The bus of a process: NATS, or nothing but the process itself. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Bus {
    /// In process: hints reach the tasks of this process, events whoever listens.
    Local(Local),
    /// NATS with `JetStream`.
    Nats(Nats),
}

impl Bus {
    /// Publishes all of `window` and waits for the acknowledgements together, at most as long as the publish timeout.
    /// One result per message, in order; only `Ok` means that the message is stored.
    pub async fn publish_window(&self, window: Vec<Outgoing>) -> Vec<Result<Published, PublishError>> {
        match self {
            Self::Local(local) => local.publish_window(window),
            Self::Nats(nats) => nats.publish_window(window).await,
        }
    }

    /// Tells the schedulers that something may be due sooner than they think. May be lost.
    pub async fn hint_due(&self) {
        match self {
            Self::Local(local) => local.hint_due(),
            Self::Nats(nats) => nats.hint_due().await,
        }
    }

    /// Listens for hints from now on: subscribe first, look at the tables then.
    pub async fn hints(&self) -> Result<Hints, BusError> {
        match self {
            Self::Local(local) => Ok(Hints(Source::Local(local.hints()))),
            Self::Nats(nats) => Ok(Hints(Source::Nats(nats.hints().await?))),
        }
    }

    /// Whether a publish has a chance right now. Always for [`Local`].
    pub fn is_connected(&self) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Nats(nats) => nats.is_connected(),
        }
    }

    /// The largest message (headers and payload together, in bytes) that the other side takes.
    pub fn max_payload(&self) -> usize {
        match self {
            Self::Local(_) => DEFAULT_MAX_PAYLOAD,
            Self::Nats(nats) => nats.max_payload(),
        }
    }

    /// NATS, when this is NATS: commands and requests come in only there.
    pub fn nats(&self) -> Option<&Nats> {
        match self {
            Self::Local(_) => None,
            Self::Nats(nats) => Some(nats),
        }
    }
}

/// Hints on their way to one scheduler. Several that arrive together count as one.
#[derive(Debug)]
pub struct Hints(Source);

#[derive(Debug)]
enum Source {
    Local(local::LocalHints),
    Nats(Listener),
}

impl Hints {
    /// Waits for a hint, at most `limit`. True when one came. Safe to cancel.
    pub async fn wait(&mut self, limit: Duration) -> bool {
        let hint = async {
            match &mut self.0 {
                Source::Local(hints) => hints.next().await,
                Source::Nats(listener) => listener.next_burst().await,
            }
        };
        tokio::time::timeout(limit, hint).await.is_ok()
    }
}
