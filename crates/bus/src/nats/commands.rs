//! Commands, pulled in batches. A message stays in the stream until it is acknowledged; what is not comes again after
//! `ack_wait`, also when the process died.
//!
//! One question is open at a time: "what you have, at most so many, and if there is nothing, wait for the first". It
//! is answered with messages and then a status, or with silence (server gone; an old server says nothing about a
//! missing consumer either), which ends at our own deadline. After trouble, and after every new connection, stream
//! and consumer are looked at again before the next question, and the consumer is made again if it is gone.

use std::sync::Arc;
use std::time::Duration;

use async_nats::StatusCode;
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::link::Lasting;
use super::streams::INTAKE_CONSUMER;
use super::{Nats, from_header_map};
use crate::envelope::decode::StreamFacts;
use crate::error::BusError;
use crate::headers::Headers;

/// Most bytes of one answer: far below what makes a server cut off a slow reader, and what a small process can hold.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What the server may take beyond the agreed time before it counts as silent.
const GRACE: Duration = Duration::from_secs(2);
const PULL: &str = "pull commands";

/// Commands for one worker. Several workers, in any process, share the work.
pub struct Commands {
    nats: Nats,
    inbox: Lasting,
    /// Answers come to `<inbox>.<number of the question>`.
    inbox_subject: String,
    question: u64,
    /// What came and is not handed out yet: it outlives a call that is cancelled.
    arrived: Vec<Arrived>,
    /// When the stream was created, as long as there is no reason to doubt it.
    created: Option<DateTime<Utc>>,
    /// The last number in the consumer; a smaller one tells that it is another consumer than before.
    last: u64,
    connects: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    stopper: Arc<watch::Sender<bool>>,
}

struct Arrived {
    message: async_nats::Message,
    reply: async_nats::Subject,
    stream: String,
    stream_sequence: u64,
    consumer_sequence: u64,
    num_delivered: u64,
    published_at: DateTime<Utc>,
    behind: u64,
}

/// Ends the pulling of one [`Commands`] from elsewhere.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// From now on `next_batch` returns at once with what has arrived already, then with nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// One command as it was delivered, to be acknowledged after its effect is durable.
pub struct Delivery {
    /// Where it was published to.
    pub subject: String,
    /// Its headers.
    pub headers: Headers,
    /// Its bytes.
    pub payload: Bytes,
    /// The stream and the number there.
    pub stream: StreamFacts,
    /// 1 for the first time.
    pub num_delivered: u64,
    /// When the server took it.
    pub published_at: DateTime<Utc>,
    /// Commands behind it in the stream that nobody has been given yet.
    pub behind: u64,
    nats: Nats,
    reply: async_nats::Subject,
}

impl Nats {
    /// Commands from the consumer `usher-intake`. Call `ensure_streams` before; the consumer alone is also made here.
    pub async fn commands(&self) -> Result<Commands, BusError> {
        let inbox_subject = self.shared.link.client().new_inbox();
        let inbox = Lasting::new(self, format!("{inbox_subject}.*"), None).await?;
        let (stopper, stop) = watch::channel(false);
        Ok(Commands {
            connects: self.shared.connects.subscribe(),
            nats: self.clone(),
            inbox,
            inbox_subject,
            question: 0,
            arrived: Vec::new(),
            created: None,
            last: 0,
            stop,
            stopper: Arc::new(stopper),
        })
    }
}

impl Commands {
    /// A handle to stop this.
    pub fn stop_handle(&self) -> Stop {
        Stop(Arc::clone(&self.stopper))
    }

    /// The commands that are there, at most `max`; if there are none, waits up to `wait` for the first. An error says
    /// that the server is away or refuses: wait a little and call again. Never takes much longer than `wait`. When
    /// cancelled, what has arrived comes with the next call, and what was on its way again after `ack_wait`.
    pub async fn next_batch(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BusError> {
        let created = self.look().await?;
        self.take_what_is_there(max);
        let trouble = if self.arrived.is_empty() && !*self.stop.borrow() {
            self.ask(max, wait).await.err()
        } else {
            None
        };
        let deliveries = self.hand_out(created).await?;
        match trouble {
            Some(trouble) => {
                self.created = None;
                if deliveries.is_empty() { Err(trouble) } else { Ok(deliveries) }
            }
            None => Ok(deliveries),
        }
    }

    /// When the stream was created. After trouble or with a new connection, looks, and makes the consumer if it is
    /// gone.
    async fn look(&mut self) -> Result<DateTime<Utc>, BusError> {
        if !self.nats.is_connected() {
            return Err(BusError::NotConnected);
        }
        if self.connects.has_changed().unwrap_or(true) {
            self.connects.mark_unchanged();
            self.forget();
        }
        if let Some(created) = self.created {
            return Ok(created);
        }
        self.nats.ensure_consumer().await?;
        let created = self.nats.commands_created().await?;
        self.created = Some(created);
        Ok(created)
    }

    /// What came through another connection may be of another stream; it comes again.
    fn forget(&mut self) {
        self.created = None;
        self.take_what_is_there(usize::MAX);
        self.arrived.clear();
        self.last = 0;
    }

    /// What came after an earlier call was cancelled or gave up.
    fn take_what_is_there(&mut self, max: usize) {
        while self.arrived.len() < max {
            let Some(message) = self.inbox.at_hand() else { break };
            self.keep(message);
        }
    }

    /// Asks once; the answer ends up in `arrived`.
    async fn ask(&mut self, max: usize, wait: Duration) -> Result<(), BusError> {
        self.question += 1;
        let reply = format!("{}.{}", self.inbox_subject, self.question);
        let subject =
            format!("$JS.API.CONSUMER.MSG.NEXT.{}.{INTAKE_CONSUMER}", self.nats.names().commands_stream());
        let expires = u64::try_from(wait.max(Duration::from_millis(1)).as_nanos()).unwrap_or(u64::MAX);
        let body =
            json!({ "batch": max, "max_bytes": MOST_BYTES, "expires": expires, "no_wait": true }).to_string();
        self.nats.pull(subject, reply.clone(), body.into()).await?;
        let deadline = Instant::now() + wait + GRACE;
        while self.arrived.len() < max {
            let stop = &mut self.stop;
            let stopped = async { drop(stop.wait_for(|stop| *stop).await) };
            let next = tokio::select! {
                biased;
                // The server of the new connection knows nothing of the question.
                _ = self.connects.changed() => {
                    self.forget();
                    return Ok(());
                }
                next = timeout_at(deadline, self.inbox.next()) => next,
                // Once something has arrived the rest is on its way, and its end is near.
                () = stopped, if self.arrived.is_empty() => return Ok(()),
            };
            let late = |_elapsed| BusError::Timeout { doing: PULL.to_owned(), after: wait + GRACE };
            let message = next.map_err(late)?;
            match message.status {
                _ if is_of_a_stream(&message) => self.keep(message),
                None => self.keep(message),
                // The end of an earlier question.
                Some(_) if message.subject.as_str() != reply => {}
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => return Ok(()),
                // What fits has come; the rest comes with the next question.
                Some(_) if message.description.as_deref().is_some_and(|why| why.contains("MaxBytes")) => {
                    return Ok(());
                }
                Some(status) => {
                    let description = format!("{status} {}", message.description.unwrap_or_default());
                    let code = u64::from(status.as_u16());
                    return Err(BusError::Refused { doing: PULL.to_owned(), code, description });
                }
            }
        }
        Ok(())
    }

    /// Keeps a message of the stream; drops what only says that there is none.
    fn keep(&mut self, message: async_nats::Message) {
        if message.status.is_some() && !is_of_a_stream(&message) {
            return;
        }
        let message = Message { message, context: self.nats.shared.link.jetstream() };
        let (Ok(info), Some(reply)) = (message.info(), message.reply.clone()) else {
            tracing::warn!(subject = %message.subject, "a message that is not of a stream came to the inbox");
            return;
        };
        let (stream_sequence, consumer_sequence) = (info.stream_sequence, info.consumer_sequence);
        let num_delivered = u64::try_from(info.delivered).unwrap_or(1);
        let stream = info.stream.to_owned();
        let behind = info.pending;
        let nanos = i64::try_from(info.published.unix_timestamp_nanos()).unwrap_or_default();
        let published_at = DateTime::from_timestamp_nanos(nanos);
        let arrived = Arrived {
            reply,
            stream,
            stream_sequence,
            consumer_sequence,
            num_delivered,
            published_at,
            behind,
            message: message.message,
        };
        self.arrived.push(arrived);
    }

    /// What arrived, with the facts of its stream. A stream made anew repeats its numbers, so its creation time has
    /// to be the right one: numbers of the consumer that go backwards are a reason to look again.
    async fn hand_out(&mut self, mut created: DateTime<Utc>) -> Result<Vec<Delivery>, BusError> {
        let mut last = self.last;
        let mut backwards = false;
        for arrived in &self.arrived {
            backwards |= arrived.consumer_sequence <= last;
            last = arrived.consumer_sequence;
        }
        if backwards {
            created = self.nats.commands_created().await?;
            self.created = Some(created);
        }
        self.last = last;
        let deliver = |arrived: Arrived| Delivery {
            headers: from_header_map(arrived.message.headers.as_ref()),
            subject: arrived.message.subject.into_string(),
            payload: arrived.message.payload,
            stream: StreamFacts { name: arrived.stream, created, sequence: arrived.stream_sequence },
            num_delivered: arrived.num_delivered,
            published_at: arrived.published_at,
            behind: arrived.behind,
            nats: self.nats.clone(),
            reply: arrived.reply,
        };
        Ok(self.arrived.drain(..).map(deliver).collect())
    }
}

/// Whether this is a command rather than a word of the server about them. A command, too, may begin its headers with a
/// status, if its sender is a strange one.
fn is_of_a_stream(message: &async_nats::Message) -> bool {
    message.reply.as_ref().is_some_and(|reply| reply.starts_with("$JS.ACK."))
}

impl Delivery {
    /// Done: the command leaves the stream. Without waiting for the server; a lost acknowledgement means that the
    /// command comes again.
    pub async fn ack(&self) -> Result<(), BusError> {
        self.answer(AckKind::Ack).await
    }

    /// Done, and waits until the server says so.
    pub async fn ack_confirmed(&self) -> Result<(), BusError> {
        let ack = async_nats::Request::new().payload(AckKind::Ack.into());
        self.nats
            .ask("acknowledge", self.reply.clone(), ack, self.nats.shared.settings.request_timeout)
            .await?;
        Ok(())
    }

    /// Not now: the command comes again after `delay`.
    pub async fn nak(&self, delay: Duration) -> Result<(), BusError> {
        self.answer(AckKind::Nak(Some(delay))).await
    }

    /// Still at it: `ack_wait` starts anew.
    pub async fn progress(&self) -> Result<(), BusError> {
        self.answer(AckKind::Progress).await
    }

    /// Never again: the command leaves the stream without having been done. Only for what is recorded elsewhere.
    pub async fn term(&self) -> Result<(), BusError> {
        self.answer(AckKind::Term).await
    }

    async fn answer(&self, kind: AckKind) -> Result<(), BusError> {
        self.nats.core_publish("acknowledge", self.reply.clone(), None, kind.into()).await
    }
}

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commands").field("nats", &self.nats).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("subject", &self.subject)
            .field("stream", &self.stream)
            .field("num_delivered", &self.num_delivered)
            .finish_non_exhaustive()
    }
}
