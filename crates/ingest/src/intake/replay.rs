//! A refused command once more: its original bytes through the same code as a message from the stream, straight to the
//! store. No NATS is needed, and what became of it is known at once.
//!
//! Law: replaying twice does no harm. It is the same message with the same id, and the inbox knows it; a refused one has
//! used up no id. The inbox forgets, the row does not: one that was replayed and accepted is not applied again.

use chrono::{DateTime, Utc};
use usher_bus::{Headers, Names};
use usher_store::{ApplyError, Outcome, Rejected, Store, StoreError};

use super::{
    apply::{Way, apply, store_error},
    read::{Fault, Identity, Message, Unread, prepare},
    workspaces::Workspaces,
};

/// Replays refused commands.
pub struct Replay {
    store: Store,
    names: Names,
    workspaces: Workspaces,
}

/// Whether it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    /// The effect is durable, and so is what became of it.
    InEarnest,
    /// Nothing stays of it.
    Rehearsal,
}

/// What became of a replay, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// It changed something.
    Committed,
    /// There was nothing to change any more.
    Unchanged,
    /// The same message had its effect already.
    Duplicate,
    /// A newer one of the same source was applied to the record.
    Superseded,
    /// It is refused again.
    Refused {
        /// Why, for programs.
        code: &'static str,
        /// Why, for people.
        message: String,
        /// The field at fault.
        field: Option<String>,
    },
}

impl Replayed {
    /// The word for it, in the store and on the command line.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Unchanged => "unchanged",
            Self::Duplicate => "duplicate",
            Self::Superseded => "superseded",
            Self::Refused { .. } => "refused",
        }
    }

    /// The reason in one line, when it is refused again.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Refused { code, message, field } => {
                let field = field.as_ref().map(|field| format!(" ({field})")).unwrap_or_default();
                Some(format!("{code}{field}: {message}"))
            }
            Self::Committed | Self::Unchanged | Self::Duplicate | Self::Superseded => None,
        }
    }
}

impl Replay {
    /// For commands whose subjects have these names.
    pub fn new(store: Store, names: Names) -> Self {
        Self { store, names, workspaces: Workspaces::default() }
    }

    /// Replays one, and writes down what became of it. An error says that the store failed: the rest of a series would
    /// fail, too, and this one can be replayed again.
    pub async fn replay(
        &self,
        rejected: &Rejected,
        attempt: Try,
        now: DateTime<Utc>,
    ) -> Result<Replayed, StoreError> {
        if rejected.is_accepted() {
            // The row goes on telling what became of it.
            return Ok(Replayed::Duplicate);
        }
        let outcome = self.outcome(rejected, attempt, now).await.map_err(|error| match error {
            ApplyError::Store(error) => {
                std::sync::Arc::try_unwrap(error).unwrap_or_else(|shared| StoreError::Bug(shared.to_string()))
            }
            ApplyError::Refused(refusal) => StoreError::Bug(refusal.message),
        })?;
        if attempt == Try::InEarnest {
            let reason = outcome.reason();
            self.store.mark_replayed(&rejected.id, outcome.as_str(), reason.as_deref(), now).await?;
        }
        Ok(outcome)
    }

    async fn outcome(
        &self,
        rejected: &Rejected,
        attempt: Try,
        now: DateTime<Utc>,
    ) -> Result<Replayed, ApplyError> {
        let headers: Headers = rejected.what.headers.iter().map(|(name, value)| (name, value)).collect();
        let message = Message {
            subject: &rejected.what.subject,
            headers: &headers,
            payload: &rejected.what.payload,
            identity: Identity::Kept { source: &rejected.what.source, message_id: &rejected.what.message_id },
        };
        let prepared = match prepare(message, &self.names, &self.workspaces, &self.store, now).await {
            Ok(prepared) => prepared,
            Err(Unread::Fault(fault)) => return Ok(refused(fault)),
            Err(Unread::Store(error)) => return Err(store_error(error)),
        };
        let way = match attempt {
            Try::InEarnest => Way::Together,
            Try::Rehearsal => Way::Rehearsed,
        };
        let mut answers = apply(&self.store, std::slice::from_ref(&prepared), now, way).await;
        match answers.pop() {
            Some(Ok(applied)) => Ok(match applied.outcome {
                Outcome::Committed => Replayed::Committed,
                Outcome::Unchanged => Replayed::Unchanged,
                Outcome::Duplicate => Replayed::Duplicate,
                Outcome::Superseded => Replayed::Superseded,
            }),
            Some(Err(ApplyError::Refused(refusal))) => Ok(refused(refusal.into())),
            Some(Err(error @ ApplyError::Store(_))) => Err(error),
            None => Err(store_error(StoreError::Closed)),
        }
    }
}

fn refused(fault: Fault) -> Replayed {
    Replayed::Refused { code: fault.code, message: fault.message, field: fault.field }
}
