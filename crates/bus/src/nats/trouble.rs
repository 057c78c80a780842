//! Why there is no connection, in words, for whoever asks how we are. The client tries again for ever and says the same
//! each time; the log has it once per cause.

use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Event, ServerError};

/// The last cause. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// What it is; none while there is a connection.
    pub(super) fn now(&self) -> Option<String> {
        self.with(|cause| cause.clone())
    }

    /// Takes in what happened to the connection, and logs it.
    pub(super) fn heard(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.with(|cause| *cause = None);
                tracing::info!("connected to NATS");
            }
            Event::Disconnected => tracing::warn!("connection to NATS lost"),
            Event::LameDuckMode | Event::Draining | Event::Closed => {
                tracing::info!(%event, "NATS connection");
            }
            Event::SlowConsumer(_) => tracing::warn!(%event, "NATS connection"),
            Event::ServerError(ServerError::AuthorizationViolation) => self.fails("authorization violation"),
            Event::ServerError(error) => tracing::warn!(%error, "NATS connection"),
            Event::ClientError(error) => self.fails(&error.to_string()),
        }
    }

    /// The client ended by a fault of its own.
    pub(super) fn ended(&self) {
        let cause = "the NATS client ended by a fault of its own and is replaced".to_owned();
        tracing::error!(cause, "no connection to NATS");
        self.with(|last| *last = Some(cause));
    }

    fn fails(&self, text: &str) {
        let cause = in_words(text);
        let known = self.with(|last| last.replace(cause.clone()).is_some_and(|last| last == cause));
        if known {
            tracing::debug!(cause, "still no connection to NATS");
        } else {
            tracing::error!(cause, "no connection to NATS; trying again until there is one");
        }
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Option<String>) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The client's words, and what to look at.
fn in_words(text: &str) -> String {
    let is = |part: &str| text.contains(part);
    if is("authorization violation") || is("failed signing nonce") {
        return "the server refuses the credentials (user and password, token, nkey or .creds)".to_owned();
    }
    if is("TLS error") {
        return "TLS fails: the certificate is not trusted, does not fit the name, or is not offered"
            .to_owned();
    }
    if is("IO error") || is("timed out") {
        return "no server can be reached".to_owned();
    }
    text.to_owned()
}
