//! Core NATS, without a stream: requests that are answered at once, hints, and listening along. Whoever is not there
//! when a message passes does not get it.

use std::time::Duration;

use async_nats::{RequestErrorKind, Subscriber};
use bytes::Bytes;
use tokio::time::timeout;

use super::link::Lasting;
use super::{Nats, from_header_map, header_map};
use crate::error::BusError;
use crate::headers::{Headers, Outgoing};

/// The queue group: each request goes to one of all replicas.
pub const REQUESTS_QUEUE_GROUP: &str = "usher";

/// Requests for one worker.
#[derive(Debug)]
pub struct Requests {
    subscription: Lasting,
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
pub struct Listener(Lasting);

impl Nats {
    /// Requests on `usher.requests.>`, shared among all who call this.
    pub async fn requests(&self) -> Result<Requests, BusError> {
        let group = Some(REQUESTS_QUEUE_GROUP);
        let subscription = Lasting::new(self, self.names().requests_filter(), group).await?;
        Ok(Requests { subscription, nats: self.clone() })
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
        Lasting::new(self, pattern.to_owned(), None).await.map(Listener)
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
        let client = self.shared.link.client();
        let subscribe = async {
            let subscriber = match group {
                Some(group) => client.queue_subscribe(pattern, group.to_owned()).await,
                None => client.subscribe(pattern).await,
            }
            .map_err(|error| failed(error.into()))?;
            if self.is_connected() {
                client.flush().await.map_err(|error| failed(error.into()))?;
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
        let client = self.shared.link.client();
        let asked = timeout(limit, client.send_request(subject, request.timeout(None))).await;
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
        let (after, client) = (self.shared.settings.request_timeout, self.shared.link.client());
        match timeout(after, client.publish_with_reply(subject, reply, body)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(BusError::Failed { doing: "pull commands".into(), source: error.into() }),
            Err(_elapsed) => Err(BusError::Timeout { doing: "pull commands".into(), after }),
        }
    }
}

impl Requests {
    /// The next request; waits as long as it takes. Safe to cancel.
    pub async fn next(&mut self) -> Request {
        let message = self.subscription.next().await;
        Request {
            headers: from_header_map(message.headers.as_ref()),
            subject: message.subject.into_string(),
            payload: message.payload,
            reply: message.reply,
            nats: self.nats.clone(),
        }
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
    /// The next message; waits as long as it takes. Safe to cancel.
    pub async fn next(&mut self) -> Outgoing {
        let message = self.0.next().await;
        Outgoing {
            headers: from_header_map(message.headers.as_ref()),
            subject: message.subject.into_string(),
            payload: message.payload,
        }
    }

    /// Waits for a message and takes all that are there with it.
    pub(crate) async fn next_burst(&mut self) {
        drop(self.0.next().await);
        while self.0.at_hand().is_some() {}
    }
}
