//! The one write path: load, decide, commit.
//!
//! Guarantees: a command with an id is applied at most once; a refused command changes nothing; after `Ok`, the record,
//! its events, its schedule and the answer under its key are durable together.

mod batch;
mod committer;
mod compose;
mod facts;
mod index;
mod load;
mod look;
mod rehearsal;
mod release;
mod rows;
mod seen;
mod sequence;
mod wanted;
mod write;

use std::sync::Arc;

pub(crate) use batch::within;
use chrono::{DateTime, Utc};
pub(crate) use committer::Committer;
pub use rehearsal::Rehearsal;
use serde_json::Value;
use usher_lifecycle::{Command, Refusal, WorkspaceId, event::Actor};

#[cfg(test)]
pub(crate) use self::{
    load::STATEMENTS as LOAD,
    rehearsal::STATEMENTS as REHEARSAL,
    release::STATEMENTS as RELEASE,
    rows::BULKS as ROWS,
    seen::{BULKS as SEEN_BULKS, STATEMENTS as SEEN},
    sequence::{BULKS as SEQUENCE_BULKS, STATEMENTS as SEQUENCES},
};
use crate::{Store, StoreError};

/// One command of one caller.
#[derive(Debug, Clone)]
pub struct Request {
    /// The workspace it is for.
    pub workspace_id: WorkspaceId,
    /// False for test records.
    pub livemode: bool,
    /// What is asked.
    pub command: Command,
    /// The record it is about; none when the command creates one.
    pub target: Option<Ref>,
    /// Who asks.
    pub actor: Actor,
    /// How a repeat is known.
    pub dedupe: Dedupe,
    /// Refuse when the record has another version; of a composite, each of its contacts.
    pub expected_version: Option<i64>,
    /// W3C trace context of the caller; travels with the events.
    pub traceparent: Option<String>,
}

/// A record as callers name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ref {
    /// By id; text that is no id names nothing.
    Id(String),
    /// By its number within the workspace.
    DisplayId(i64),
    /// By the caller's own key.
    ExternalId(String),
}

impl Ref {
    /// Digits only are a `display_id`, all else an id.
    pub fn parse(text: &str) -> Self {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Self::DisplayId(number),
            Ok(_) | Err(_) => Self::Id(text.to_owned()),
        }
    }
}

impl std::fmt::Display for Ref {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(text) | Self::ExternalId(text) => f.write_str(text),
            Self::DisplayId(number) => number.fmt(f),
        }
    }
}

/// How a repeat of a request is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dedupe {
    /// It is not.
    None,
    /// By an `Idempotency-Key`: the answer is kept and given again, byte for byte.
    Idempotency {
        /// `POST /api/v1/onboardings`: keys of other endpoints do not collide.
        endpoint: String,
        /// The key.
        key: String,
        /// A hash of the body; another body under the same key is refused.
        body_hash: String,
        /// The HTTP status of success, kept with the answer.
        status: u16,
    },
    /// By the id of a message: its effect happens once.
    Inbox {
        /// Where the id is unique.
        source: String,
        /// The id.
        message_id: String,
        /// A hash of the command; another command under the same id is refused.
        body_hash: String,
        /// The sender's order: an older one than was applied to the record has no effect.
        sequence: Option<String>,
    },
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Whether it changed anything.
    pub outcome: Outcome,
    /// The id of the record; for "remind now" of the onboarding.
    pub id: String,
    /// The record's version, or 0 for a duplicate message.
    pub version: i64,
    /// The answer as JSON text: the object as the API returns it. Empty for a duplicate message.
    pub body: String,
    /// The kept HTTP status of a replayed answer.
    pub status: Option<u16>,
}

/// Whether a request changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did.
    Committed,
    /// It had no effect to have.
    Unchanged,
    /// It had its effect before.
    Duplicate,
    /// A newer one of the same source was applied to the record; this one has no effect, for good.
    Superseded,
}

/// Why a request was not applied.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApplyError {
    /// The rules refuse it; the same request will be refused again.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed; whether the same request succeeds later depends on [`StoreError::is_away`].
    #[error(transparent)]
    Store(Arc<StoreError>),
}

impl Store {
    /// Applies one request. Requests that arrive while a commit runs share the next one.
    pub async fn apply(&self, request: Request, now: DateTime<Utc>) -> Result<Applied, ApplyError> {
        self.committer().apply(self, request, now).await
    }

    /// Applies many requests in one transaction, in order; later ones see what earlier ones did. One that is refused
    /// leaves the others alone.
    pub async fn apply_all(
        &self,
        requests: Vec<Request>,
        now: DateTime<Utc>,
    ) -> Vec<Result<Applied, ApplyError>> {
        batch::run(self, requests.into_iter().map(|request| (request, now)).collect()).await
    }
}

/// The answer to a request for a reminder now.
fn remind_body(id: &str, onboarding_id: &str, now: DateTime<Utc>) -> Value {
    serde_json::json!({
        "object": "reminder_request",
        "id": id,
        "onboarding_id": onboarding_id,
        "requested_at": now,
    })
}
