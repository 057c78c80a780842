//! Core NATS, without a stream: requests that are answered at once, hints, and listening along. Whoever is not there
//! when a message passes does not get it.

use std::time::Duration;

use async_nats::{RequestErrorKind, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::timeout;

use super::{Nats, from_header_map, header_map};
use crate::error::BusError;
use crate::headers::{Headers, Outgoing};

/// The queue group: each request goes to one of all replicas.
pub const REQUESTS_QUEUE_GROUP: &str = "usher";

/// Requests for one worker.
#[derive(Debug)]
pub struct Requests {
    subscriber: Subscriber,
    nats: Nats,
}

/// A command whose sender waits for the answer.
#[derive(Debug)]
pub struct Request {
    /// Where it was published to.
    pub subject: String,
    /// Its headers.
    pub headers: Headers,
    /// Its bytes.
    pub payload: Bytes,
    reply: Option<async_nats::Subject>,
    nats: Nats,
}

/// Messages that pass on a subject.
#[derive(Debug)]
pub struct Listener(Subscriber);

impl Nats {
    /// Requests on `usher.requests.>`, shared among all who call this.
    pub async fn requests(&self) -> Result<Requests, BusError> {
        let subscriber = self.subscribe(self.names().requests_filter(), Some(REQUESTS_QUEUE_GROUP)).await?;
        Ok(Requests { subscriber, nats: self.clone() })
    }

    /// Sends a request and waits for the answer at most `limit`.
    pub async fn request(&self, request: Outgoing, limit: Duration) -> Result<(Headers, Bytes), BusError> {
        let Outgoing { subject, headers, payload } = request;
        let request = async_nats::Request::new().headers(header_map(&headers)).payload(payload);
        let answer = self.ask("request", subject.into(), request, limit).await?;
        Ok((from_header_map(answer.headers.as_ref()), answer.payload))
    }

    /// Listens along on `pattern` (e.g. `usher.events.>`) from now on.
    pub async fn listen(&self, pattern: &str) -> Result<Listener, BusError> {
        self.subscribe(pattern.to_owned(), None).await.map(Listener)
    }

    pub(crate) async fn hints(&self) -> Result<Listener, BusError> {
        self.listen(&self.names().hint()).await
    }

    /// Subscribes and, with a connection, waits until the server knows: what is published afterwards arrives.
    pub(super) async fn subscribe(
        &self,
        pattern: String,
        group: Option<&str>,
    ) -> Result<Subscriber, BusError> {
        let doing = format!("subscribe to {pattern}");
        let failed = |source| BusError::Failed { doing: doing.clone(), source };
        let subscribe = async {
            let subscriber = match group {
                Some(group) => self.shared.client.queue_subscribe(pattern, group.to_owned()).await,
                None => self.shared.client.subscribe(pattern).await,
            }
            .map_err(|error| failed(error.into()))?;
            if self.is_connected() {
                self.shared.client.flush().await.map_err(|error| failed(error.into()))?;
            }
            Ok(subscriber)
        };
        let after = self.shared.settings.request_timeout;
        let result = timeout(after, subscribe).await;
        result.unwrap_or_else(|_elapsed| Err(BusError::Timeout { doing: doing.clone(), after }))
    }

    pub(super) async fn ask(
        &self,
        doing: &str,
        subject: async_nats::Subject,
        request: async_nats::Request,
        limit: Duration,
    ) -> Result<async_nats::Message, BusError> {
        if !self.is_connected() {
            return Err(BusError::NotConnected);
        }
        let late = || BusError::Timeout { doing: doing.to_owned(), after: limit };
        let asked = timeout(limit, self.shared.client.send_request(subject, request.timeout(None))).await;
        asked.map_err(|_elapsed| late())?.map_err(|error| match error.kind() {
            RequestErrorKind::TimedOut => late(),
            RequestErrorKind::NoResponders => BusError::Refused {
                doing: doing.to_owned(),
                code: 503,
                description: "nobody is there to answer".to_owned(),
            },
            RequestErrorKind::InvalidSubject
            | RequestErrorKind::MaxPayloadExceeded
            | RequestErrorKind::Other => BusError::Failed { doing: doing.to_owned(), source: error.into() },
        })
    }

    pub(super) async fn pull(&self, subject: String, reply: String, body: Bytes) -> Result<(), BusError> {
        let after = self.shared.settings.request_timeout;
        match timeout(after, self.shared.client.publish_with_reply(subject, reply, body)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(BusError::Failed { doing: "pull commands".into(), source: error.into() }),
            Err(_elapsed) => Err(BusError::Timeout { doing: "pull commands".into(), after }),
        }
    }
}

impl Requests {
    /// The next request; waits as long as it takes. None when the connection was closed for good. Safe to cancel.
    pub async fn next(&mut self) -> Option<Request> {
        let message = self.subscriber.next().await?;
        Some(Request {
            headers: from_header_map(message.headers.as_ref()),
            subject: message.subject.into_string(),
            payload: message.payload,
            reply: message.reply,
            nats: self.nats.clone(),
        })
    }
}

impl Request {
    /// Answers. A request that nobody waits for needs no answer and gets none.
    pub async fn respond(&self, headers: Headers, payload: Bytes) -> Result<(), BusError> {
        let Some(reply) = self.reply.clone() else { return Ok(()) };
        self.nats.core_publish("answer a request", reply, Some(header_map(&headers)), payload).await
    }
}

impl Listener {
    /// The next message; waits as long as it takes. None when the connection was closed for good. Safe to cancel.
    pub async fn next(&mut self) -> Option<Outgoing> {
        let message = self.0.next().await?;
        Some(Outgoing {
            headers: from_header_map(message.headers.as_ref()),
            subject: message.subject.into_string(),
            payload: message.payload,
        })
    }

    /// Waits for a message and takes all that are there with it. Never returns when the connection was closed.
    pub(crate) async fn next_burst(&mut self) {
        if self.0.next().await.is_none() {
            std::future::pending::<()>().await;
        }
        while self.0.next().now_or_never().flatten().is_some() {}
    }
}
