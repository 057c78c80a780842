//! The store itself: opening, migrating, closing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, SubsecRound, Utc};
use sqlx::{
    error::DatabaseError,
    migrate::{Migrate, MigrateError, Migrator},
};

use crate::{
    apply::Committer,
    counters::Counters,
    db::{Db, statements},
    error::StoreError,
    keys::KeyUses,
    metrics::Metrics,
};

static POSTGRES: Migrator = sqlx::migrate!("../../migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("../../migrations/sqlite");

statements! {
    PING = "SELECT 1 AS one";
}

/// Transactions of concurrent requests under way at once; more would make the batches smaller.
const POSTGRES_LANES: usize = 3;

/// The one durable store. Cheap to clone; all clones share the connections.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Db,
    counters: Counters,
    committer: Committer,
    metrics: Metrics,
    key_uses: KeyUses,
    last_instant: AtomicI64,
}

impl Store {
    /// Connects. A missing SQLite file is made, tables are not: see [`Store::migrate`]. `max_connections` is for
    /// Postgres.
    ///
    /// # Errors
    /// [`StoreError::Url`] for a url of another kind, [`StoreError::Database`] when the database is away.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Self, StoreError> {
        let db = Db::connect(url, max_connections).await?;
        let committer = Committer::start(if db.is_postgres() { POSTGRES_LANES } else { 1 });
        Ok(Self(Arc::new(Inner {
            db,
            counters: Counters::default(),
            committer,
            metrics: Metrics::default(),
            key_uses: KeyUses::default(),
            last_instant: AtomicI64::new(0),
        })))
    }

    /// Applies the migrations, under a lock, so that several processes may start at once.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let (postgres, sqlite) = (known(&POSTGRES), known(&SQLITE));
        match self.db() {
            Db::Postgres(pool) => Ok(postgres.run(pool).await?),
            Db::Sqlite { writer, .. } => {
                // sqlx has no lock here. Who loses the race for a migration is rolled back, waits for the winner, and
                // goes on with the next one.
                for _ in 0..sqlite.iter().count() {
                    if sqlite.run(writer).await.is_ok() {
                        return Ok(());
                    }
                    self.db().begin().await?.rollback().await?;
                }
                Ok(sqlite.run(writer).await?)
            }
        }
    }

    /// Fails when a migration of this version is not applied yet. Newer ones than this version knows are fine: an old
    /// replica goes on working while a new one has migrated.
    pub async fn check_tables(&self) -> Result<(), StoreError> {
        let (applied, wanted) = match self.db() {
            Db::Postgres(pool) => {
                (pool.acquire().await?.list_applied_migrations(&POSTGRES.table_name).await, &POSTGRES)
            }
            Db::Sqlite { readers, .. } => {
                (readers.acquire().await?.list_applied_migrations(&SQLITE.table_name).await, &SQLITE)
            }
        };
        let applied = match applied {
            Ok(applied) => applied,
            Err(MigrateError::Execute(sqlx::Error::Database(error))) if has_no_tables(error.as_ref()) => {
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        let missing =
            wanted.iter().filter(|it| !applied.iter().any(|applied| applied.version == it.version)).count();
        if missing > 0 {
            let all = wanted.iter().count();
            return Err(StoreError::Tables(format!(
                "{missing} of {all} migrations are not applied; run `usher migrate`"
            )));
        }
        Ok(())
    }

    /// Whether the database answers within two seconds.
    pub async fn ping(&self) -> Result<(), StoreError> {
        match tokio::time::timeout(Duration::from_secs(2), self.db().all(&PING, Vec::new())).await {
            Ok(answer) => answer.map(|_| ()),
            Err(_) => Err(StoreError::Database(sqlx::Error::PoolTimedOut)),
        }
    }

    /// Whether it is Postgres: several processes may share it.
    pub fn is_shared(&self) -> bool {
        self.db().is_postgres()
    }

    /// Closes the connections after what is in flight.
    pub async fn close(&self) {
        self.db().close().await;
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn committer(&self) -> &Committer {
        &self.0.committer
    }

    pub(crate) fn key_uses(&self) -> &KeyUses {
        &self.0.key_uses
    }

    /// `now` cut to microseconds and moved so that this process never hands out one twice: lists are ordered by
    /// `created_at`, and a cursor is an instant.
    pub(crate) fn own_instant(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let wanted = now.trunc_subsecs(6).timestamp_micros();
        let last = self
            .0
            .last_instant
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(own(last, wanted)))
            .unwrap_or(0);
        DateTime::from_timestamp_micros(own(last, wanted)).unwrap_or(now)
    }
}

/// The migrations of this version; what a newer one has applied already is left alone.
fn known(migrator: &'static Migrator) -> Migrator {
    Migrator { migrations: migrator.migrations.clone(), ignore_missing: true, ..Migrator::DEFAULT }
}

/// Not even the list of migrations is there.
fn has_no_tables(error: &dyn DatabaseError) -> bool {
    error.code().is_some_and(|code| code == "42P01") || error.message().starts_with("no such table")
}

/// At most a second ahead of the clock: a clock that was set back is followed again.
const fn own(last: i64, wanted: i64) -> i64 {
    if last >= wanted && last - wanted < 1_000_000 { last + 1 } else { wanted }
}
