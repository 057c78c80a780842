//! The outbox: events that are committed and not yet published.
//!
//! Guarantee: a subject's rows lie in the order of `position`, because a record's next event takes its position only
//! after the previous one is committed. A row stays unpublished until a publication was acknowledged.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, value::RawValue};
use usher_lifecycle::{OnboardingId, WorkspaceId, event::EventKind, reminder::stable_hash};

use crate::{
    Store,
    db::{Arg, Tx, bulks, statements},
    error::StoreError,
    ids,
};

/// Shards of subjects; a lease on each keeps replicas apart. The rows are made by the migration.
const SHARDS: u64 = 16;

statements! {
    LOCK = "SELECT shard FROM relay_shards ORDER BY shard {lock}";
    // A lease far ahead was taken by a clock that stood wrong, and holds nobody up.
    LEASE = "UPDATE relay_shards SET lease_until = $2, lease_token = $3
             WHERE lease_token = $3 OR lease_until IS NULL OR lease_until < $1 OR lease_until > $4 RETURNING shard";
    RELEASE = "UPDATE relay_shards SET lease_until = NULL, lease_token = NULL WHERE lease_token = $1";
    UNPUBLISHED = "SELECT e.position, e.id, e.livemode, e.kind, e.subject_id, e.subject_version, e.ordinal, e.occurred_at,
                          e.data, e.traceparent, w.slug
                   FROM events e JOIN workspaces w ON w.id = e.workspace_id
                   WHERE e.published_at IS NULL AND e.livemode = $1 AND e.shard {in:$2}
                     AND e.subject_id NOT IN (SELECT value FROM {each:$3})
                   ORDER BY e.position LIMIT $4";
    WAITING = "SELECT 1 AS one WHERE EXISTS (SELECT 1 FROM events WHERE published_at IS NULL)
                                  OR EXISTS (SELECT 1 FROM rejected WHERE published_at IS NULL)";
    BACKLOG = "SELECT COUNT(*) AS count, MIN(occurred_at) AS oldest FROM events WHERE published_at IS NULL";
}

bulks! {
    INSERT = "events" (
        id: Text, workspace_id: Text, livemode: Bool, kind: Text, subject_id: Text, subject_version: Int,
        ordinal: Int, onboarding_id: Text, occurred_at: Time, data: Json, traceparent: Text, shard: Int,
    ) "";
    MARK = "events" (position: Int, published_at: Time)
        "UPDATE events SET published_at = v.published_at FROM {rows} v
         WHERE events.position = v.position AND events.published_at IS NULL";
}

/// An event to be written in the transaction of its change.
#[derive(Debug, Clone)]
pub(crate) struct NewEvent {
    pub(crate) workspace_id: WorkspaceId,
    pub(crate) livemode: bool,
    pub(crate) kind: EventKind,
    pub(crate) subject: String,
    pub(crate) version: i64,
    pub(crate) ordinal: i64,
    pub(crate) onboarding_id: Option<OnboardingId>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) data: Value,
    pub(crate) traceparent: Option<String>,
}

pub(crate) async fn insert(tx: &mut Tx, events: Vec<NewEvent>) -> Result<(), StoreError> {
    let row = |it: NewEvent| {
        let shard = i64::try_from(stable_hash(&[&it.subject]) % SHARDS).unwrap_or(0);
        vec![
            Arg::id(ids::mint::event(it.at)),
            Arg::id(it.workspace_id),
            Arg::Bool(it.livemode),
            Arg::text(it.kind.as_str()),
            Arg::text(it.subject),
            Arg::int(it.version),
            Arg::int(it.ordinal),
            Arg::opt(it.onboarding_id),
            Arg::time(it.at),
            Arg::Json(it.data),
            Arg::Text(it.traceparent),
            Arg::int(shard),
        ]
    };
    tx.bulk(&INSERT, events.into_iter().map(row).collect()).await?;
    Ok(())
}

/// An event that is to be published.
#[derive(Debug, Clone)]
pub struct OutboxEvent {
    /// Its place in the outbox.
    pub position: i64,
    /// `evt_...`
    pub id: String,
    /// The slug of its workspace.
    pub workspace: String,
    /// False for test records.
    pub livemode: bool,
    /// The event type.
    pub kind: String,
    /// The record it is about.
    pub subject: String,
    /// The record's version.
    pub version: i64,
    /// Its place among the events of one command.
    pub ordinal: i64,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// The `data` on the wire: JSON text that nobody takes apart on the way.
    pub data: Box<RawValue>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

/// The shards a relay may publish, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardLease {
    /// The shards held.
    pub shards: Vec<i64>,
    /// What proves the lease.
    pub token: String,
    /// When it ends unless renewed.
    pub until: DateTime<Utc>,
}

impl Store {
    /// Takes every free shard and renews those held under `token` (none: a new one).
    pub async fn lease_shards(
        &self,
        token: Option<&str>,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<ShardLease, StoreError> {
        let token = token.map_or_else(ids::token, str::to_owned);
        let until = now + lease;
        let mut tx = self.db().begin().await?;
        tx.all(&LOCK, Vec::new()).await?;
        let rows = tx
            .all(&LEASE, vec![Arg::time(now), Arg::time(until), Arg::text(&token), Arg::time(until + lease)])
            .await?;
        tx.commit().await?;
        let shards = rows.iter().map(|row| row.int("shard")).collect::<Result<_, _>>()?;
        Ok(ShardLease { shards, token, until })
    }

    /// Gives the shards back.
    pub async fn release_shards(&self, token: &str) -> Result<(), StoreError> {
        self.db().execute(&RELEASE, vec![Arg::text(token)]).await?;
        Ok(())
    }

    /// The oldest unpublished events of the shards, live or test, in order, without those of the subjects `held` back.
    pub async fn unpublished(
        &self,
        livemode: bool,
        shards: &[i64],
        held: &[String],
        limit: u32,
    ) -> Result<Vec<OutboxEvent>, StoreError> {
        let args = vec![
            Arg::Bool(livemode),
            Arg::Ints(shards.to_vec()),
            Arg::Texts(held.to_vec()),
            Arg::int(limit.into()),
        ];
        let rows = self.db().all(&UNPUBLISHED, args).await?;
        rows.iter()
            .map(|row| {
                Ok(OutboxEvent {
                    position: row.int("position")?,
                    id: row.text("id")?,
                    workspace: row.text("slug")?,
                    livemode: row.bool("livemode")?,
                    kind: row.text("kind")?,
                    subject: row.text("subject_id")?,
                    version: row.int("subject_version")?,
                    ordinal: row.int("ordinal")?,
                    occurred_at: row.time("occurred_at")?,
                    data: row.json_text("data")?,
                    traceparent: row.opt_text("traceparent")?,
                })
            })
            .collect()
    }

    /// Marks events whose publication was acknowledged.
    pub async fn mark_published(&self, positions: &[i64], now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.db().begin().await?;
        tx.bulk(&MARK, positions.iter().map(|position| vec![Arg::int(*position), Arg::time(now)]).collect())
            .await?;
        tx.commit().await
    }

    /// Whether anything waits to be published: an event or a refused command.
    pub async fn outbox_waits(&self) -> Result<bool, StoreError> {
        Ok(self.db().first(&WAITING, Vec::new()).await?.is_some())
    }

    /// How many events wait, and since when the oldest does.
    pub async fn outbox_backlog(&self) -> Result<(u64, Option<DateTime<Utc>>), StoreError> {
        let Some(row) = self.db().first(&BACKLOG, Vec::new()).await? else { return Ok((0, None)) };
        Ok((u64::try_from(row.int("count")?).unwrap_or(0), row.opt_time("oldest")?))
    }
}
