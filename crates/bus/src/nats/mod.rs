//! One connection to NATS. It comes back by itself; meanwhile everything here answers with an error, and nothing waits
//! longer than its timeout. Everything may be lost or repeated; only latency depends on it.
//!
//! Two traps of the client are closed here, once: awaiting a publish gives a future that has to be awaited again for
//! the acknowledgement, and a publish without a connection is kept and sent much later.

pub(crate) mod advisories;
pub(crate) mod commands;
mod link;
pub(crate) mod requests;
pub(crate) mod settings;
pub(crate) mod streams;
mod trouble;
pub(crate) mod unreadable;

use std::str::FromStr as _;
use std::sync::Arc;

use async_nats::header::{HeaderMap, HeaderName, HeaderValue};
use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind, RequestErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{BusError, PublishError};
use crate::headers::{Headers, Outgoing, Published};
use crate::subject::Names;
use link::Link;
use settings::Settings;

/// The codes that say that there is no `JetStream` for us.
const NO_JETSTREAM: [u64; 2] = [10039, 10076];

/// A connection to NATS. Clones share it.
#[derive(Clone)]
pub struct Nats {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    settings: Settings,
    /// How often a connection was made: what was true of the server before need not be true now.
    connects: Arc<watch::Sender<u64>>,
    trouble: trouble::Trouble,
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats").field("servers", &self.shared.settings.shown()).finish_non_exhaustive()
    }
}

impl Nats {
    /// Connects. Without a server this fails, unless `retry_on_initial_connect` is set.
    pub async fn connect(settings: Settings) -> Result<Self, BusError> {
        let (connects, trouble) = (Arc::new(watch::Sender::new(0)), trouble::Trouble::default());
        let link = Link::open(&settings, &connects, &trouble).await?;
        let nats = Self { shared: Arc::new(Shared { link, settings, connects, trouble }) };
        nats.keep_alive();
        Ok(nats)
    }

    /// The names in use.
    pub fn names(&self) -> &Names {
        &self.shared.settings.names
    }

    /// Whether the connection is there right now.
    pub fn is_connected(&self) -> bool {
        self.shared.link.is_connected()
    }

    /// How often a connection was made, to look at again after each.
    pub fn connections(&self) -> watch::Receiver<u64> {
        self.shared.connects.subscribe()
    }

    /// Why there is no connection, in words; None while there is one, and before the first attempt has failed.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.now()
    }

    /// The largest message the server takes, headers and payload together, in bytes.
    pub fn max_payload(&self) -> usize {
        self.shared
            .link
            .client()
            .try_server_info()
            .map_or(crate::DEFAULT_MAX_PAYLOAD, |info| info.max_payload)
    }

    /// The server's version, e.g. `2.9.10`; None before the first connection.
    pub fn server_version(&self) -> Option<String> {
        self.shared.link.client().try_server_info().map(|info| info.version)
    }

    /// Publishes all of `window` and waits for the acknowledgements together. One result per message, in order; only
    /// `Ok` means that a stream has it. What was not acknowledged in time may have been stored all the same.
    pub async fn publish_window(&self, window: Vec<Outgoing>) -> Vec<Result<Published, PublishError>> {
        let deadline = Instant::now() + self.shared.settings.publish_timeout;
        let late = || PublishError::Timeout(self.shared.settings.publish_timeout);
        let mut sent = Vec::with_capacity(window.len());
        for outgoing in window {
            let subject = outgoing.subject.clone();
            let ack = match timeout_at(deadline, self.send(outgoing)).await {
                Ok(result) => result,
                Err(_elapsed) => Err(late()),
            };
            sent.push((subject, ack));
        }
        let mut results = Vec::with_capacity(sent.len());
        // One after the other is together: each is only a look at an answer that arrives meanwhile.
        for (subject, ack) in sent {
            results.push(match ack {
                Ok(ack) => match timeout_at(deadline, ack.into_future()).await {
                    Ok(Ok(ack)) => Ok(Published { duplicate: ack.duplicate }),
                    Ok(Err(error)) => Err(self.publish_error(&error, subject)),
                    Err(_elapsed) => Err(late()),
                },
                Err(error) => Err(error),
            });
        }
        results
    }

    /// The first half of a publish; its acknowledgement is still to be awaited.
    async fn send(&self, outgoing: Outgoing) -> Result<PublishAckFuture, PublishError> {
        // Without a connection the client would keep it and send it whenever the server is back, perhaps after the
        // time in which the stream knows a repeat.
        if !self.is_connected() {
            return Err(PublishError::NotConnected);
        }
        let Outgoing { subject, headers, payload } = outgoing;
        let message = PublishMessage::build().payload(payload).headers(header_map(&headers));
        let sent = self.shared.link.jetstream().send_publish(subject.clone(), message).await;
        sent.map_err(|error| self.publish_error(&error, subject))
    }

    fn publish_error(
        &self,
        error: &async_nats::jetstream::context::PublishError,
        subject: String,
    ) -> PublishError {
        match error.kind() {
            PublishErrorKind::StreamNotFound => PublishError::NoStream(subject),
            PublishErrorKind::TimedOut => PublishError::Timeout(self.shared.settings.publish_timeout),
            PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge { limit: self.max_payload() },
            PublishErrorKind::BrokenPipe => PublishError::NotConnected,
            PublishErrorKind::WrongLastMessageId
            | PublishErrorKind::WrongLastSequence
            | PublishErrorKind::MaxAckPending
            | PublishErrorKind::Other => {
                match std::error::Error::source(error).and_then(|source| source.downcast_ref()) {
                    Some(answer) => {
                        let (code, description) = answered(answer);
                        PublishError::Refused { code, description }
                    }
                    None => PublishError::Failed(error.to_string()),
                }
            }
        }
    }

    /// Asks the `JetStream` API. `Ok(None)`: what was asked for does not exist.
    async fn api<T: DeserializeOwned>(
        &self,
        doing: &str,
        subject: String,
        body: &impl Serialize,
    ) -> Result<Option<T>, BusError> {
        if !self.is_connected() {
            return Err(BusError::NotConnected);
        }
        let (after, jetstream) = (self.shared.settings.request_timeout, self.shared.link.jetstream());
        let late = || BusError::Timeout { doing: doing.to_owned(), after };
        match timeout(after, jetstream.request(subject, body)).await {
            Err(_elapsed) => Err(late()),
            Ok(Ok(Response::Ok(answer))) => Ok(Some(answer)),
            Ok(Ok(Response::Err { error })) => {
                let (code, description) = answered(&error);
                match code {
                    _ if error.code() == 404 => Ok(None),
                    _ if NO_JETSTREAM.contains(&code) => Err(BusError::NoJetStream),
                    _ => Err(BusError::Refused { doing: doing.to_owned(), code, description }),
                }
            }
            Ok(Err(error)) => Err(match error.kind() {
                RequestErrorKind::NoResponders => BusError::NoJetStream,
                RequestErrorKind::TimedOut => late(),
                RequestErrorKind::InvalidSubject | RequestErrorKind::Other => {
                    BusError::Failed { doing: doing.to_owned(), source: error.into() }
                }
            }),
        }
    }

    /// Publishes without a stream, or acknowledges. Done means: handed to the connection.
    async fn core_publish(
        &self,
        doing: &str,
        subject: async_nats::Subject,
        headers: Option<HeaderMap>,
        payload: bytes::Bytes,
    ) -> Result<(), BusError> {
        if !self.is_connected() {
            return Err(BusError::NotConnected);
        }
        let client = self.shared.link.client();
        let publish = async {
            match headers {
                Some(headers) => client.publish_with_headers(subject, headers, payload).await,
                None => client.publish(subject, payload).await,
            }
        };
        let after = self.shared.settings.request_timeout;
        match timeout(after, publish).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(BusError::Failed { doing: doing.to_owned(), source: error.into() }),
            Err(_elapsed) => Err(BusError::Timeout { doing: doing.to_owned(), after }),
        }
    }

    /// Waits until the server has what was published: for a process that ends right after.
    pub async fn flush(&self) -> Result<(), BusError> {
        let (client, after) = (self.shared.link.client(), self.shared.settings.request_timeout);
        let doing = || "flush".to_owned();
        match timeout(after, client.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(BusError::Failed { doing: doing(), source: error.into() }),
            Err(_elapsed) => Err(BusError::Timeout { doing: doing(), after }),
        }
    }

    /// Tells the schedulers that something may be due sooner than they think. A hint that cannot go out is dropped.
    pub async fn hint_due(&self) {
        let hint = self.core_publish("hint", self.names().hint().into(), None, bytes::Bytes::new()).await;
        if let Err(error) = hint {
            tracing::debug!(%error, "hint dropped");
        }
    }
}

/// NATS' error code and its words.
fn answered(error: &async_nats::jetstream::Error) -> (u64, String) {
    (error.error_code().0, error.to_string())
}

fn header_map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter() {
        // `Headers` lets nothing in that could fail here.
        if let (Ok(name), Ok(value)) = (HeaderName::from_str(name), HeaderValue::from_str(value)) {
            map.append(name, value);
        }
    }
    map
}

fn from_header_map(map: Option<&HeaderMap>) -> Headers {
    let pairs = map.into_iter().flat_map(HeaderMap::iter);
    let mut headers: Vec<_> = pairs
        .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.as_str())))
        .collect();
    // The client keeps them in a hash map: give them an order that is always the same.
    headers.sort_by(|one, other| one.0.cmp(&other.0));
    headers.into_iter().collect()
}
