//! Dead letters: commands over NATS that were refused, kept with their bytes and the reason. (The inbox itself, the ids
//! of handled messages, is written by apply.)

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use usher_lifecycle::ReminderId;

use crate::{
    Store,
    db::{Arg, Row, Stmt, statements},
    error::StoreError,
};

macro_rules! rejected_where {
    ($rest:literal) => {
        concat!(
            "SELECT id, workspace, command, subject, source, message_id, headers, payload, code, message, field, attempts, \
             rejected_at, published_at, replayed_at, replay_outcome, replay_message FROM rejected ",
            $rest
        )
    };
}
/// What a [`RejectedFilter`] says, as the arguments 1 to 7.
macro_rules! chosen {
    ($rest:literal) => {
        concat!(
            "WHERE rejected_at >= $1 AND rejected_at < $2 AND ($3 = '' OR workspace = $3) AND ($4 = '' OR command = $4)
              AND ($5 = '' OR code = $5) AND ($6 = '' OR source = $6)
              AND ($7 = '' OR ($7 = 'no' AND replay_outcome IS NULL)
                   OR ($7 = 'refused' AND replay_outcome = 'refused')
                   OR ($7 = 'yes' AND replay_outcome <> 'refused')
                   OR ($7 = 'open' AND (replay_outcome IS NULL OR replay_outcome = 'refused'))) ",
            $rest
        )
    };
}

statements! {
    INSERT = "INSERT INTO rejected (id, workspace, command, subject, source, message_id, body_hash, headers, payload, code,
                                    message, field, attempts, rejected_at)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
              ON CONFLICT (workspace, source, message_id, body_hash) DO NOTHING";
    UNPUBLISHED = rejected_where!("WHERE published_at IS NULL ORDER BY rejected_at, id LIMIT $1");
    NEWEST = concat!(rejected_where!(""), chosen!("ORDER BY rejected_at DESC, id DESC LIMIT $8"));
    OLDEST = concat!(rejected_where!(""), chosen!("AND (rejected_at, id) > ($8, $9) ORDER BY rejected_at, id LIMIT $10"));
    COUNT = concat!("SELECT COUNT(*) AS rows FROM rejected ", chosen!(""));
    ONE = rejected_where!("WHERE id = $1");
    FORGET_INBOX = "DELETE FROM inbox WHERE (workspace_id, source, message_id) IN (
                        SELECT workspace_id, source, message_id FROM inbox WHERE received_at < $1 LIMIT $2)";
    FORGET_SEQUENCES = "DELETE FROM source_sequences WHERE (workspace_id, source, subject_id) IN (
                        SELECT workspace_id, source, subject_id FROM source_sequences WHERE updated_at < $1 LIMIT $2)";
    FORGET_SUSPECTS = "DELETE FROM suspects WHERE (stream, sequence) IN (
                        SELECT stream, sequence FROM suspects WHERE begun_at < $1 LIMIT $2)";
    FORGET_ANSWERS = "DELETE FROM idempotency_keys WHERE (workspace_id, livemode, endpoint, key) IN (
                        SELECT workspace_id, livemode, endpoint, key FROM idempotency_keys WHERE created_at < $1 LIMIT $2)";
    REPLAYED = "UPDATE rejected SET replayed_at = $2, replay_outcome = $3, replay_message = $4 WHERE id = $1";
    // Ids begin with the time at which they were made, so the primary key finds the old ones.
    FORGET_LEDGER = "DELETE FROM deliveries WHERE id IN (
                        SELECT id FROM deliveries WHERE id < $1 AND status <> 'pending' ORDER BY id LIMIT $2)";
    FORGET_REQUESTS = "DELETE FROM reminder_requests WHERE id IN (
                        SELECT id FROM reminder_requests WHERE id < $1 AND planned_at IS NOT NULL ORDER BY id LIMIT $2)";
    // What was never published is kept: nobody was told of it yet.
    FORGET_REJECTED = "DELETE FROM rejected WHERE id IN (
                        SELECT id FROM rejected WHERE rejected_at < $1 AND published_at IS NOT NULL
                        ORDER BY rejected_at, id LIMIT $2)";
    TAKE_TURN = "INSERT INTO housekeeping (task, ran_at) VALUES ($1, $3)
                 ON CONFLICT (task) DO UPDATE SET ran_at = excluded.ran_at WHERE housekeeping.ran_at < $2";
    MARK = "UPDATE rejected SET published_at = $2 WHERE id {in:$1} AND published_at IS NULL";
}

/// A refused command, to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRejected {
    /// The workspace's slug as the subject has it; it may name none.
    pub workspace: String,
    /// The command as the subject has it.
    pub command: String,
    /// The subject it came on.
    pub subject: String,
    /// Where its id is unique.
    pub source: String,
    /// Its id.
    pub message_id: String,
    /// A hash of its bytes.
    pub body_hash: String,
    /// Its headers, in order.
    pub headers: Vec<(String, String)>,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// Why: the code.
    pub code: String,
    /// Why, in words.
    pub message: String,
    /// The field at fault.
    pub field: Option<String>,
    /// How often it was delivered.
    pub attempts: i64,
}

/// A kept command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its id in the dead letters.
    pub id: String,
    /// What was refused and why. The hash is not read back.
    pub what: NewRejected,
    /// When.
    pub rejected_at: DateTime<Utc>,
    /// When it was published to the rejected stream.
    pub published_at: Option<DateTime<Utc>>,
    /// When it was replayed last.
    pub replayed_at: Option<DateTime<Utc>>,
    /// What became of that: `committed`, `unchanged`, `duplicate`, `superseded` or `refused`.
    pub replay_outcome: Option<String>,
    /// Why it was refused again.
    pub replay_message: Option<String>,
}

impl Rejected {
    /// Whether it was replayed and accepted.
    pub fn is_accepted(&self) -> bool {
        self.replay_outcome.as_deref().is_some_and(|outcome| outcome != "refused")
    }
}

/// Which refused commands; the default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RejectedFilter {
    /// Of the workspace that their subject names.
    pub workspace: Option<String>,
    /// With this command.
    pub command: Option<String>,
    /// Refused with this code.
    pub code: Option<String>,
    /// From this source.
    pub source: Option<String>,
    /// Rejected then or later.
    pub since: Option<DateTime<Utc>>,
    /// Rejected before.
    pub until: Option<DateTime<Utc>>,
    /// By what became of their replay.
    pub replay: Option<ReplayState>,
}

/// What became of a refused command's replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayState {
    /// It was never replayed.
    No,
    /// It was replayed and accepted.
    Yes,
    /// It was replayed and refused again.
    Refused,
    /// Never replayed, or refused again: what is still to be seen to.
    Open,
}

impl ReplayState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::Refused => "refused",
            Self::Open => "open",
        }
    }
}

impl RejectedFilter {
    fn args(&self) -> Vec<Arg> {
        let text = |text: &Option<String>| Arg::text(text.as_deref().unwrap_or_default());
        vec![
            Arg::time(self.since.unwrap_or(DateTime::UNIX_EPOCH)),
            Arg::time(self.until.unwrap_or(LAST)),
            text(&self.workspace),
            text(&self.command),
            text(&self.code),
            text(&self.source),
            Arg::text(self.replay.map_or("", ReplayState::as_str)),
        ]
    }
}

/// The end of the year 9999, the last instant that both engines order as text.
pub(crate) const LAST: DateTime<Utc> =
    DateTime::from_timestamp(253_402_300_799, 0).expect("within chrono's range");

/// A refused command that is to be published.
pub type OutboxRejected = Rejected;

fn read(row: &Row) -> Result<Rejected, StoreError> {
    Ok(Rejected {
        id: row.text("id")?,
        what: NewRejected {
            workspace: row.text("workspace")?,
            command: row.text("command")?,
            subject: row.text("subject")?,
            source: row.text("source")?,
            message_id: row.text("message_id")?,
            body_hash: String::new(),
            headers: row.document("headers")?,
            payload: row.bytes("payload")?,
            code: row.text("code")?,
            message: row.text("message")?,
            field: row.opt_text("field")?,
            attempts: row.int("attempts")?,
        },
        rejected_at: row.time("rejected_at")?,
        published_at: row.opt_time("published_at")?,
        replayed_at: row.opt_time("replayed_at")?,
        replay_outcome: row.opt_text("replay_outcome")?,
        replay_message: row.opt_text("replay_message")?,
    })
}

/// Rows that are deleted in one transaction.
const SWEPT_AT_ONCE: i64 = 1_000;

impl Store {
    /// Forgets ids and sequences of messages handled before `inbox` and answers given before `answers`; how many rows.
    pub async fn forget_repeats(
        &self,
        inbox: DateTime<Utc>,
        answers: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let mut rows = 0;
        for (stmt, before) in [
            (&FORGET_INBOX, inbox),
            (&FORGET_SEQUENCES, inbox),
            (&FORGET_SUSPECTS, inbox),
            (&FORGET_ANSWERS, answers),
        ] {
            rows += self.forget(stmt, Arg::time(before)).await?;
        }
        Ok(rows)
    }

    /// Deletes rows of the ledger that were planned before that and are not pending, and the requests that are planned;
    /// how many rows.
    pub async fn forget_ledger(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let oldest_kept = ReminderId::new(before, 0);
        let rows = self.forget(&FORGET_LEDGER, Arg::id(oldest_kept)).await?;
        Ok(rows + self.forget(&FORGET_REQUESTS, Arg::id(oldest_kept)).await?)
    }

    /// Deletes commands that were refused before that and are on the rejected stream, replayed or not; how many rows.
    pub async fn forget_rejected(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        self.forget(&FORGET_REJECTED, Arg::time(before)).await
    }

    /// Deletes in batches, each in a transaction of its own.
    async fn forget(&self, stmt: &'static Stmt, before: Arg) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        loop {
            let rows = self.db().execute(stmt, vec![before.clone(), Arg::int(SWEPT_AT_ONCE)]).await?;
            forgotten += rows;
            if i64::try_from(rows).unwrap_or(0) < SWEPT_AT_ONCE {
                return Ok(forgotten);
            }
        }
    }

    /// Whether a task of housekeeping is the caller's to do: false when some process has taken it at `since` or later.
    pub async fn take_turn(
        &self,
        task: &str,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let args = vec![Arg::text(task), Arg::time(since), Arg::time(now)];
        Ok(self.db().execute(&TAKE_TURN, args).await? == 1)
    }

    /// Keeps refused commands; one that is kept already stays as it is.
    pub async fn reject(&self, rejected: Vec<NewRejected>, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.db().begin().await?;
        // A batch has one instant; a microsecond each keeps its order, in which they are replayed.
        for (nth, it) in (0..).zip(rejected) {
            let now = now + TimeDelta::microseconds(nth);
            // Postgres text holds no NUL; headers and subjects of foreign clients may.
            let clean = |text: &str| text.replace('\0', "\u{fffd}");
            let headers: Vec<(String, String)> =
                it.headers.iter().map(|(name, value)| (clean(name), clean(value))).collect();
            let id = format!("rej_{}", &crate::mint::event(now).to_text()[4..]);
            let args = vec![
                Arg::text(id),
                Arg::text(clean(&it.workspace)),
                Arg::text(clean(&it.command)),
                Arg::text(clean(&it.subject)),
                Arg::text(clean(&it.source)),
                Arg::text(clean(&it.message_id)),
                Arg::text(it.body_hash),
                Arg::Json(serde_json::to_value(headers).unwrap_or(Value::Null)),
                Arg::Bytes(it.payload),
                Arg::text(it.code),
                Arg::text(clean(&it.message)),
                Arg::Text(it.field.as_deref().map(clean)),
                Arg::int(it.attempts),
                Arg::time(now),
            ];
            tx.execute(&INSERT, args).await?;
        }
        tx.commit().await
    }

    /// Refused commands that are not on the rejected stream yet, oldest first.
    pub async fn unpublished_rejected(&self, limit: u32) -> Result<Vec<OutboxRejected>, StoreError> {
        self.db().all(&UNPUBLISHED, vec![Arg::int(limit.into())]).await?.iter().map(read).collect()
    }

    /// Marks refused commands whose publication was acknowledged.
    pub async fn mark_rejected_published(
        &self,
        ids: &[String],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.db().execute(&MARK, vec![Arg::texts(ids), Arg::time(now)]).await?;
        Ok(())
    }

    /// The newest refused commands.
    pub async fn rejected(&self, limit: u32) -> Result<Vec<Rejected>, StoreError> {
        self.newest_rejected(&RejectedFilter::default(), limit).await
    }

    /// The newest of those that are chosen.
    pub async fn newest_rejected(
        &self,
        filter: &RejectedFilter,
        limit: u32,
    ) -> Result<Vec<Rejected>, StoreError> {
        let args = [filter.args(), vec![Arg::int(limit.into())]].concat();
        self.db().all(&NEWEST, args).await?.iter().map(read).collect()
    }

    /// The oldest of those that are chosen, in the order in which they were refused; with `after` the ones behind it.
    pub async fn oldest_rejected(
        &self,
        filter: &RejectedFilter,
        after: Option<&Rejected>,
        limit: u32,
    ) -> Result<Vec<Rejected>, StoreError> {
        let (at, id) = after.map_or((DateTime::UNIX_EPOCH, ""), |it| (it.rejected_at, it.id.as_str()));
        let args = [filter.args(), vec![Arg::time(at), Arg::text(id), Arg::int(limit.into())]].concat();
        self.db().all(&OLDEST, args).await?.iter().map(read).collect()
    }

    /// How many are chosen.
    pub async fn count_rejected(&self, filter: &RejectedFilter) -> Result<u64, StoreError> {
        let row = self.db().first(&COUNT, filter.args()).await?;
        let rows = row.map(|row| row.int("rows")).transpose()?;
        Ok(rows.and_then(|rows| u64::try_from(rows).ok()).unwrap_or_default())
    }

    /// Writes down what became of a replay: the outcome, and why it was refused again.
    pub async fn mark_replayed(
        &self,
        id: &str,
        outcome: &str,
        message: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let message = message.map(|text| text.replace('\0', "\u{fffd}"));
        let args = vec![Arg::text(id), Arg::time(now), Arg::text(outcome), Arg::Text(message)];
        self.db().execute(&REPLAYED, args).await.map(drop)
    }

    /// One refused command.
    pub async fn rejected_by_id(&self, id: &str) -> Result<Option<Rejected>, StoreError> {
        self.db().first(&ONE, vec![Arg::text(id)]).await?.as_ref().map(read).transpose()
    }
}
