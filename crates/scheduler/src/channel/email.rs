//! Email: composed here, handed to an SMTP server or, where none is configured, written to a folder.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use secrecy::SecretString;
use usher_lifecycle::reminder::Channel;

use super::capture::Capture;
use super::compose::{self, Composed};
use super::smtp::Smtp;
use super::{ConfigError, Function, Outcome};
use crate::message::{EmailBody, Message};

/// Files that are written at once.
const CAPTURED_AT_ONCE: usize = 4;

/// How to reach the SMTP server.
#[derive(Debug, Clone)]
pub struct SmtpConfig {
    /// `smtp://user:password@host:port` (STARTTLS if offered; required when there is a password, except on
    /// loopback), `smtps://...` (TLS from the first byte); `?tls=required` or `?tls=off`.
    pub url: SecretString,
    /// `Name <address>` or an address.
    pub from: String,
    /// Connections at once; at least 1.
    pub max_connections: usize,
    /// A certificate authority to believe beside the system's, PEM.
    pub extra_ca_pem: Option<Vec<u8>>,
    /// Until the server is ready to take messages: TCP, TLS, login.
    pub connect_limit: Duration,
    /// For a whole message, connecting included.
    pub message_limit: Duration,
}

impl SmtpConfig {
    /// With the usual limits: 8 connections, 10 s to connect, 30 s for a message.
    pub fn new(url: SecretString, from: impl Into<String>) -> Self {
        Self {
            url,
            from: from.into(),
            max_connections: 8,
            extra_ca_pem: None,
            connect_limit: Duration::from_secs(10),
            message_limit: Duration::from_secs(30),
        }
    }
}

/// Where email goes. Cheap to share behind an `Arc`; sends run at once, as many as there are connections.
#[derive(Debug)]
pub struct Mailer {
    from: Mailbox,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Smtp(Box<Smtp>),
    Capture(Capture),
    Function(Function),
}

impl Mailer {
    /// Sends by SMTP. Nothing is connected yet: see [`Mailer::check`].
    pub fn smtp(config: &SmtpConfig) -> Result<Self, ConfigError> {
        let from = compose::sender(&config.from)?;
        Ok(Self { from, way: Way::Smtp(Box::new(Smtp::new(config)?)) })
    }

    /// Writes `<folder>/<message id>.eml` instead of sending; makes the folder.
    pub fn capture(folder: impl Into<PathBuf>, from: &str) -> Result<Self, ConfigError> {
        let from = compose::sender(from)?;
        Ok(Self { from, way: Way::Capture(Capture::new(folder.into())?) })
    }

    /// Hands every message to a function instead of sending it, one at a time.
    pub fn function(function: Function, from: &str) -> Result<Self, ConfigError> {
        Ok(Self { from: compose::sender(from)?, way: Way::Function(function) })
    }

    /// Sends one message to its recipient, within the limits of the configuration (waiting for a free connection
    /// comes on top). Dropping the future abandons the message: it may or may not have been sent.
    pub async fn send(&self, message: &Message, body: &EmailBody) -> Outcome {
        let outcome = match compose::compose(&self.from, message, body) {
            Ok(composed) => self.hand_over(message, &composed).await,
            Err(outcome) => outcome,
        };
        tracing::info!(
            channel = "email",
            kind = message.kind.as_str(),
            message_id = message.message_id,
            onboardings = message.items.len(),
            outcome = outcome.label(),
            code = outcome.code(),
            "message attempted"
        );
        outcome
    }

    /// Connects, logs in, says NOOP (or, for a folder, writes to it): what `usher doctor` reports.
    pub async fn check(&self) -> Outcome {
        match &self.way {
            Way::Smtp(smtp) => smtp.check().await,
            Way::Capture(capture) => capture.check().await,
            Way::Function(_) => Outcome::Accepted { reference: None },
        }
    }

    /// Messages that can be sent at once.
    pub(crate) fn connections(&self) -> usize {
        match &self.way {
            Way::Smtp(smtp) => smtp.connections(),
            Way::Capture(_) => CAPTURED_AT_ONCE,
            Way::Function(_) => 1,
        }
    }

    async fn hand_over(&self, message: &Message, composed: &Composed) -> Outcome {
        match &self.way {
            Way::Smtp(smtp) => smtp.send(composed).await,
            Way::Capture(capture) => capture.write(composed).await,
            Way::Function(function) => {
                function.take(Channel::Email, message, (0..message.items.len()).collect()).await
            }
        }
    }
}
