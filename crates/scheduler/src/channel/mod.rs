//! The channels: each takes one rendered message and says what became of it.
//!
//! Laws: a send ends within its own deadline, whatever the other side does. It never fails silently and never says
//! more than it knows: an answer that did not come after the message was handed over is [`Outcome::Unknown`]. What is
//! our own fault (login, certificate, token) is [`Outcome::ChannelDown`], and marks no recipient as broken. One line
//! is logged per send, without addresses, secrets or what the other side wrote.

mod capture;
mod compose;
pub mod email;
mod function;
mod pace;
pub mod slack;
mod slack_verdict;
mod smtp;
mod tls;

use std::time::Duration;

pub use email::{Mailer, SmtpConfig};
pub use function::{Function, Handed};
pub use slack::SlackSender;

/// What became of one attempt. `code` is short, stable and fit for logs and metrics; `detail` may quote the other
/// side, perhaps with an address in it: for the ledger, not for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has it.
    Accepted {
        /// How the other side calls it, if it said so.
        reference: Option<String>,
    },
    /// Nothing was delivered; a later attempt may succeed.
    RefusedForNow {
        /// What happened.
        code: String,
        /// In more words.
        detail: String,
        /// Not before so long.
        retry_after: Option<Duration>,
        /// Whether the attempt counts; one that was merely throttled does not.
        counts: bool,
    },
    /// Nothing was delivered, and nothing will be.
    RefusedForGood {
        /// What happened.
        code: String,
        /// In more words.
        detail: String,
        /// Whether the address or channel itself is at fault and is to be marked so.
        broken: bool,
    },
    /// Nothing was delivered, through a fault of our configuration: it concerns every recipient of this channel.
    ChannelDown {
        /// What happened.
        code: String,
        /// In more words.
        detail: String,
    },
    /// It may have been delivered or not.
    Unknown {
        /// What is known.
        detail: String,
    },
}

impl Outcome {
    /// Every label.
    pub(crate) const LABELS: [&'static str; 5] =
        ["accepted", "refused_for_now", "refused_for_good", "channel_down", "unknown"];

    /// The variant's name, as it stands in logs and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::RefusedForNow { .. } => "refused_for_now",
            Self::RefusedForGood { .. } => "refused_for_good",
            Self::ChannelDown { .. } => "channel_down",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Short and without addresses; empty where there is none.
    pub fn code(&self) -> &str {
        match self {
            Self::Accepted { .. } | Self::Unknown { .. } => "",
            Self::RefusedForNow { code, .. }
            | Self::RefusedForGood { code, .. }
            | Self::ChannelDown { code, .. } => code,
        }
    }

    fn for_now(code: impl Into<String>, detail: impl AsRef<str>) -> Self {
        Self::RefusedForNow { code: code.into(), detail: brief(detail), retry_after: None, counts: true }
    }

    fn for_good(code: impl Into<String>, detail: impl AsRef<str>, broken: bool) -> Self {
        Self::RefusedForGood { code: code.into(), detail: brief(detail), broken }
    }

    fn down(code: impl Into<String>, detail: impl AsRef<str>) -> Self {
        Self::ChannelDown { code: code.into(), detail: brief(detail) }
    }

    fn unknown(detail: impl AsRef<str>) -> Self {
        Self::Unknown { detail: brief(detail) }
    }
}

/// What others wrote is kept short, and on one line.
fn brief(text: impl AsRef<str>) -> String {
    crate::message::clean::line(text.as_ref(), 300)
}

/// Why a channel cannot be set up. Never contains a URL: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The URL is none, or has something missing or unknown in it.
    #[error("the URL is not usable: {0}")]
    Url(&'static str),
    /// The sender's address.
    #[error("the sender is not usable")]
    From(#[source] lettre::address::AddressError),
    /// The extra certificate authority is no PEM file with certificates.
    #[error("the extra certificate authority is no certificate in PEM")]
    Authority,
    /// rustls wants a provider of cryptography, installed by the program's `main`.
    #[error("no rustls crypto provider is installed")]
    NoCryptoProvider,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The folder for captured mail cannot be made.
    #[error("the folder for captured mail cannot be made")]
    Folder(#[source] std::io::Error),
}
