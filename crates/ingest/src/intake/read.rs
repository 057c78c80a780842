//! From a message to a plan, or to the reason why there can be none. What is wrong with a message is found here, before
//! it can spoil a batch.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use usher_bus::{DecodeError, Delivery, Headers, Incoming, Names, StreamFacts, decode_command, identify};
use usher_lifecycle::{
    Code, Refusal,
    event::{Actor, ActorKind},
    limits::excerpt,
};
use usher_store::{Dedupe, NewRejected, Store, StoreError};

use super::{
    apply::{Prepared, panicked},
    plan::plan,
    workspaces::Workspaces,
};
use crate::http::BODY_LIMIT;

/// Why a message can never succeed.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) field: Option<String>,
    /// The refusal it comes from, when it is not about the envelope.
    pub(super) refusal: Option<Refusal>,
}

/// Why a message has no plan.
#[derive(Debug)]
pub(super) enum Unread {
    /// It can never succeed.
    Fault(Fault),
    /// The store failed, or a handler panicked.
    Store(StoreError),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let (message, field) = (refusal.message.clone(), refusal.field.clone());
        Self { code: refusal.code.as_str(), message, field, refusal: Some(refusal) }
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self { code: error.code, message: error.message, field: error.field, refusal: None }
    }
}

impl<F: Into<Fault>> From<F> for Unread {
    fn from(fault: F) -> Self {
        Self::Fault(fault.into())
    }
}

/// What a plain message, which names neither, is known by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Identity<'a> {
    /// Its place in the stream.
    Stream(&'a StreamFacts),
    /// Nothing but its `Nats-Msg-Id`, if it has one: it is a request.
    Request,
    /// What was written down when it was rejected.
    Kept { source: &'a str, message_id: &'a str },
}

/// A message as it came, over a stream or as a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) subject: &'a str,
    pub(super) headers: &'a Headers,
    pub(super) payload: &'a [u8],
    pub(super) identity: Identity<'a>,
}

impl<'a> From<&'a Delivery> for Message<'a> {
    fn from(delivery: &'a Delivery) -> Self {
        Self {
            subject: &delivery.subject,
            headers: &delivery.headers,
            payload: &delivery.payload,
            identity: Identity::Stream(&delivery.stream),
        }
    }
}

/// Reads a message and finds its workspace.
pub(super) async fn prepare(
    message: Message<'_>,
    names: &Names,
    workspaces: &Workspaces,
    store: &Store,
    now: DateTime<Utc>,
) -> Result<Prepared, Unread> {
    let incoming = caught(|| decode(message, names))??;
    // First the workspace: of one that is not there no more is told.
    let found = workspaces.find(store, &incoming.workspace, now).await.map_err(Unread::Store)?;
    let workspace_id = found.ok_or_else(|| {
        let slug = excerpt(&incoming.workspace);
        Refusal::new(Code::UnknownWorkspace, format!("there is no workspace {slug}"))
    })?;
    #[cfg(test)]
    deadly(message.payload).await.map_err(Unread::Store)?;
    #[cfg(test)]
    caught(|| failpoint(message.payload))?;
    let plan = caught(|| plan(&incoming))??;
    let dedupe = match &incoming.id {
        // A plain request without an id: nothing tells its repeat from a second wish.
        None => Dedupe::None,
        Some(id) => Dedupe::Inbox {
            source: incoming.source.clone(),
            message_id: id.clone(),
            body_hash: hash(&incoming.fingerprint()),
            sequence: incoming.sequence.clone(),
        },
    };
    let actor = Actor { kind: ActorKind::Nats, id: Some(incoming.source), name: None };
    Ok(Prepared { workspace_id, actor, dedupe, traceparent: incoming.traceparent, plan })
}

/// Where the tests let a handler panic.
#[cfg(test)]
fn failpoint(payload: &[u8]) {
    assert!(!payload.windows(9).any(|it| it == b"failpoint"), "the handler of this message panics");
}

/// The tests are told here that a process would be dead now.
#[cfg(test)]
pub(super) static DIED: tokio::sync::Notify = tokio::sync::Notify::const_new();

/// Where the tests let a process die, or its store go away.
#[cfg(test)]
async fn deadly(payload: &[u8]) -> Result<(), StoreError> {
    let says = |word: &[u8]| payload.windows(word.len()).any(|it| it == word);
    if says(b"deadly") {
        DIED.notify_one();
        std::future::pending::<()>().await;
    }
    if says(b"flapping") { Err(StoreError::Closed) } else { Ok(()) }
}

/// Makes an error of a panic, so that the other messages of the batch go on.
fn caught<T>(handler: impl FnOnce() -> T) -> Result<T, Unread> {
    catch_unwind(AssertUnwindSafe(handler)).map_err(|_panic| Unread::Store(panicked()))
}

fn decode(message: Message<'_>, names: &Names) -> Result<Incoming, Fault> {
    let size = message.payload.len();
    if size > BODY_LIMIT {
        let why = format!("the body has {size} bytes, more than the {BODY_LIMIT} bytes that are allowed");
        return Err(Refusal::new(Code::PayloadTooLarge, why).into());
    }
    let Message { subject, headers, payload, identity } = message;
    let mut incoming = decode_command(names, subject, headers, payload, stream_of(identity))?;
    if let (Identity::Kept { source, message_id }, None) = (identity, &incoming.kind) {
        source.clone_into(&mut incoming.source);
        incoming.id = Some(message_id.to_owned());
    }
    Ok(incoming)
}

const fn stream_of(identity: Identity<'_>) -> Option<&StreamFacts> {
    match identity {
        Identity::Stream(facts) => Some(facts),
        Identity::Request | Identity::Kept { .. } => None,
    }
}

/// The row of a message that is given up, delivered so many times.
pub(super) fn rejected(message: Message<'_>, deliveries: u64, names: &Names, fault: Fault) -> NewRejected {
    let Message { subject, headers, payload, identity } = message;
    // What the subject says, also when nobody knows such a workspace or command.
    let (workspace, command) = names.parse_command(subject).unwrap_or(("", subject));
    // So that a repeat of the message is not rejected twice, also when it comes in another form.
    let identified = caught(|| identify(names, subject, headers, payload, stream_of(identity)));
    let known = identified.unwrap_or_else(|_panic| usher_bus::Identity {
        source: stream_of(identity).map_or_else(String::new, StreamFacts::source_of_numbers),
        id: stream_of(identity).map(|facts| facts.sequence.to_string()),
        fingerprint: payload.to_vec(),
    });
    NewRejected {
        workspace: workspace.to_owned(),
        command: command.to_owned(),
        subject: subject.to_owned(),
        source: known.source,
        message_id: known.id.unwrap_or_default(),
        body_hash: hash(&known.fingerprint),
        headers: headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        payload: payload.to_vec(),
        code: fault.code.to_owned(),
        message: fault.message,
        field: fault.field,
        attempts: i64::try_from(deliveries).unwrap_or(i64::MAX),
    }
}

/// SHA-256 in hex.
fn hash(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
