//! Repeats: what the store knows of the keys in a batch, and what the batch adds. The rows are written in the same
//! transaction as the effect, so that a crash cannot part them.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use usher_lifecycle::{Code, Refusal, WorkspaceId};

use super::{Applied, Dedupe, Outcome, Request};
use crate::{
    db::{Arg, Tx, bulks, statements},
    error::StoreError,
};

statements! {
    INBOX = "SELECT source, message_id, body_hash, subject_id FROM inbox
             WHERE workspace_id = $1 AND source {in:$2} AND message_id {in:$3}";
    ANSWERS = "SELECT livemode, endpoint, key, body_hash, status, body FROM idempotency_keys
               WHERE workspace_id = $1 AND endpoint {in:$2} AND key {in:$3}";
}

bulks! {
    SAVE_INBOX = "inbox" (
        workspace_id: Text, source: Text, message_id: Text, body_hash: Text, subject_id: Text, outcome: Text,
        received_at: Time,
    ) "ON CONFLICT (workspace_id, source, message_id) DO NOTHING";

    SAVE_ANSWERS = "idempotency_keys" (
        workspace_id: Text, livemode: Bool, endpoint: Text, key: Text, body_hash: Text, status: Int, body: Text,
        created_at: Time,
    ) "ON CONFLICT (workspace_id, livemode, endpoint, key) DO NOTHING";
}

/// Where a key is unique: messages have one space, API keys one per mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Space {
    Inbox,
    Answers { livemode: bool },
}

/// What identifies a repeat: workspace, space, endpoint or source, key or message id.
type Key = (WorkspaceId, Space, String, String);

fn repeat_key(request: &Request) -> Option<Key> {
    match &request.dedupe {
        Dedupe::None => None,
        Dedupe::Idempotency { endpoint, key, .. } => {
            let space = Space::Answers { livemode: request.livemode };
            Some((request.workspace_id, space, endpoint.clone(), key.clone()))
        }
        Dedupe::Inbox { source, message_id, .. } => {
            Some((request.workspace_id, Space::Inbox, source.clone(), message_id.clone()))
        }
    }
}

struct Kept {
    body_hash: String,
    applied: Applied,
}

/// Repeats: what the store knows of the batch's keys, and what this batch adds.
#[derive(Default)]
pub(super) struct Seen {
    known: HashMap<Key, Kept>,
    // By key, so that two transactions with the same keys wait for each other in one order.
    inbox: BTreeMap<(WorkspaceId, String, String), Vec<Arg>>,
    answers: BTreeMap<(WorkspaceId, String, String, bool), Vec<Arg>>,
}

impl Seen {
    pub(super) async fn load(
        tx: &mut Tx,
        requests: impl Iterator<Item = &Request>,
    ) -> Result<Self, StoreError> {
        let mut seen = Self::default();
        let mut asked: HashMap<_, (Vec<String>, Vec<String>)> = HashMap::new();
        for request in requests {
            if let Some((workspace, _, first, second)) = repeat_key(request) {
                let is_inbox = matches!(request.dedupe, Dedupe::Inbox { .. });
                let (firsts, seconds) = asked.entry((workspace, is_inbox)).or_default();
                firsts.push(first);
                seconds.push(second);
            }
        }
        for ((workspace, is_inbox), (firsts, seconds)) in asked {
            let stmt = if is_inbox { &INBOX } else { &ANSWERS };
            for row in tx.all(stmt, vec![Arg::id(workspace), Arg::Texts(firsts), Arg::Texts(seconds)]).await?
            {
                let (key, applied) = if is_inbox {
                    let id = row.opt_text("subject_id")?.unwrap_or_default();
                    let applied = Applied {
                        outcome: Outcome::Duplicate,
                        id,
                        version: 0,
                        body: String::new(),
                        status: None,
                    };
                    ((workspace, Space::Inbox, row.text("source")?, row.text("message_id")?), applied)
                } else {
                    let status = u16::try_from(row.int("status")?).ok();
                    let body = row.text("body")?;
                    let applied =
                        Applied { outcome: Outcome::Duplicate, id: String::new(), version: 0, body, status };
                    let space = Space::Answers { livemode: row.bool("livemode")? };
                    ((workspace, space, row.text("endpoint")?, row.text("key")?), applied)
                };
                seen.known.insert(key, Kept { body_hash: row.text("body_hash")?, applied });
            }
        }
        Ok(seen)
    }

    /// The answer to a request that was here before.
    pub(super) fn before(&self, request: &Request) -> Option<Result<Applied, Refusal>> {
        let kept = self.known.get(&repeat_key(request)?)?;
        let same = match &request.dedupe {
            Dedupe::None => true,
            Dedupe::Idempotency { body_hash, .. } | Dedupe::Inbox { body_hash, .. } => {
                *body_hash == kept.body_hash
            }
        };
        if same {
            return Some(Ok(kept.applied.clone()));
        }
        let message =
            "this key or message id was used before, with another body; use a new one for a new request";
        Some(Err(Refusal::new(Code::IdempotencyKeyReused, message)))
    }

    /// Whether one of these requests is the repeat of one that another process committed since this was loaded. What that
    /// one did may be why ours was refused.
    pub(super) async fn overtaken(&self, tx: &mut Tx, refused: &[&Request]) -> Result<bool, StoreError> {
        let unknown = refused.iter().copied().filter(|request| self.before(request).is_none());
        let unknown: Vec<&Request> = unknown.filter(|request| repeat_key(request).is_some()).collect();
        if unknown.is_empty() || !tx.is_postgres() {
            return Ok(false);
        }
        let now = Self::load(tx, unknown.iter().copied()).await?;
        Ok(unknown.iter().any(|request| now.before(request).is_some()))
    }

    pub(super) fn remember(&mut self, request: &Request, applied: &Applied, now: DateTime<Utc>) {
        let Some(key) = repeat_key(request) else { return };
        if self.known.contains_key(&key) {
            return;
        }
        let superseded = applied.outcome == Outcome::Superseded;
        let mut again = applied.clone();
        again.outcome = Outcome::Duplicate;
        let body_hash = match &request.dedupe {
            Dedupe::None => return,
            Dedupe::Idempotency { body_hash, status, .. } => {
                again.status = Some(*status);
                let row = vec![
                    Arg::id(key.0),
                    Arg::Bool(request.livemode),
                    Arg::text(&key.2),
                    Arg::text(&key.3),
                    Arg::text(body_hash),
                    Arg::int((*status).into()),
                    Arg::text(&applied.body),
                    Arg::time(now),
                ];
                self.answers.insert((key.0, key.2.clone(), key.3.clone(), request.livemode), row);
                body_hash
            }
            Dedupe::Inbox { body_hash, .. } => {
                again.body = String::new();
                let row = vec![
                    Arg::id(key.0),
                    Arg::text(&key.2),
                    Arg::text(&key.3),
                    Arg::text(body_hash),
                    Arg::text(&applied.id),
                    Arg::text(if superseded { "superseded" } else { "applied" }),
                    Arg::time(now),
                ];
                self.inbox.insert((key.0, key.2.clone(), key.3.clone()), row);
                body_hash
            }
        };
        self.known.insert(key, Kept { body_hash: body_hash.clone(), applied: again });
    }

    /// Writes the keys; true when another process wrote one of them first.
    pub(super) async fn write(self, tx: &mut Tx) -> Result<bool, StoreError> {
        let wanted = self.inbox.len() + self.answers.len();
        let mut written = tx.bulk(&SAVE_INBOX, self.inbox.into_values().collect()).await?;
        written += tx.bulk(&SAVE_ANSWERS, self.answers.into_values().collect()).await?;
        Ok(usize::try_from(written) != Ok(wanted))
    }
}
