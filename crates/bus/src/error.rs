//! What can go wrong between us and the bus. No error carries a password, a token, or a url with one.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// The cause below an error of ours, with the client's types hidden.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why something asked of the bus did not happen.
#[derive(Debug, Error)]
pub enum BusError {
    /// A setting cannot be right; trying again does not help.
    #[error("{setting}: {reason}")]
    Setting {
        /// The setting's name, e.g. `servers`.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The server is there and does not let us in.
    #[error("{servers} refused the credentials")]
    Unauthorized {
        /// The servers tried, without user and password.
        servers: String,
    },
    /// No server could be reached.
    #[error("cannot connect to {servers}")]
    Connect {
        /// The servers tried, without user and password.
        servers: String,
        /// What the last attempt ended with.
        source: Cause,
    },
    /// The server, or our account on it, has no `JetStream`.
    #[error("JetStream is not enabled on the NATS server or not for this account")]
    NoJetStream,
    /// The server lacks what everything here builds on.
    #[error("nats-server {version} is too old: 2.9 or newer is needed")]
    TooOld {
        /// The server's version.
        version: String,
    },
    /// A stream or consumer is there and is not what was asked for. It is left as it is.
    #[error("{0}")]
    Mismatch(Mismatch),
    /// The connection is away at the moment; the client is trying to get it back.
    #[error("not connected to NATS")]
    NotConnected,
    /// No answer in time.
    #[error("{doing}: no answer within {after:?}")]
    Timeout {
        /// What was attempted.
        doing: String,
        /// How long the answer was waited for.
        after: Duration,
    },
    /// NATS answered with an error.
    #[error("{doing}: NATS answered: {description}")]
    Refused {
        /// What was attempted.
        doing: String,
        /// NATS' error code, e.g. 10077, or the status of a pull, e.g. 409.
        code: u64,
        /// NATS' words.
        description: String,
    },
    /// The client could not do it.
    #[error("{doing} failed")]
    Failed {
        /// What was attempted.
        doing: String,
        /// Why.
        source: Cause,
    },
}

/// A stream or consumer that differs from what the settings ask for, with every difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// `stream USHER_EVENTS` or `consumer usher-intake of stream USHER_COMMANDS`.
    pub object: String,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The field's name as NATS writes it, e.g. `max_age`.
    pub field: &'static str,
    /// What the settings ask for.
    pub wanted: String,
    /// What the server has.
    pub found: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is there with other settings:", self.object)?;
        for (index, difference) in self.differences.iter().enumerate() {
            let Difference { field, wanted, found } = difference;
            let separator = if index == 0 { "" } else { ";" };
            write!(f, "{separator} {field} is {found}, wanted {wanted}")?;
        }
        Ok(())
    }
}

/// Why a message is not known to be stored. It may be stored all the same: publish it again with the same id.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PublishError {
    /// The connection is away; nothing was sent.
    #[error("not connected to NATS")]
    NotConnected,
    /// No stream takes this subject.
    #[error("no stream takes the subject {0}")]
    NoStream(String),
    /// No acknowledgement in time.
    #[error("no acknowledgement within {0:?}")]
    Timeout(Duration),
    /// The server refused it, e.g. because the stream is full.
    #[error("NATS answered: {description}")]
    Refused {
        /// NATS' error code, e.g. 10077.
        code: u64,
        /// NATS' words.
        description: String,
    },
    /// Larger than the server takes. Trying again does not help.
    #[error("the message has more than {limit} bytes, the server's limit")]
    TooLarge {
        /// The server's limit in bytes.
        limit: usize,
    },
    /// The client could not send it.
    #[error("{0}")]
    Failed(String),
}

impl PublishError {
    /// Whether the same message can never be published: waiting does not help.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::TooLarge { .. } => true,
            Self::NotConnected
            | Self::NoStream(_)
            | Self::Timeout(_)
            | Self::Refused { .. }
            | Self::Failed(_) => false,
        }
    }
}
