//! The one private executor that knows the engine. Everything above it speaks statements, arguments and rows.
//!
//! Law: the SQL text is shared. What differs between the engines (locks, bulk writes, list arguments, times, booleans)
//! stands in this folder and nowhere else.

mod args;
mod pg;
mod row;
mod stmt;

use std::{str::FromStr, time::Duration};

pub(crate) use args::{Arg, Kind};
pub(crate) use row::Row;
use sqlx::{
    Executor, PgPool, Sqlite, SqlitePool, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
pub(crate) use stmt::{Bulk, Stmt, bulks, statements};

use self::pg::PgTx;
use crate::error::StoreError;

/// Both engines, one of them.
#[derive(Debug, Clone)]
pub(crate) enum Db {
    Postgres(PgPool),
    /// One connection writes; readers do not wait for it (WAL).
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
}

/// A write transaction.
#[derive(Debug)]
pub(crate) enum Tx {
    Postgres(PgTx),
    Sqlite(Transaction<'static, Sqlite>),
}

impl Db {
    /// Connects; a missing SQLite file is made, with its folder.
    pub(crate) async fn connect(url: &str, max_connections: u32) -> Result<Self, StoreError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url)
                .map_err(|error| StoreError::Url(error.to_string()))?
                .application_name("usher");
            pg::probe(&options).await?;
            let pool = PgPoolOptions::new()
                .max_connections(max_connections)
                .acquire_timeout(Duration::from_secs(5))
                .connect_with(options)
                .await?;
            return Ok(Self::Postgres(pool));
        }
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if let Some(folder) =
                std::path::Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty())
            {
                std::fs::create_dir_all(folder)
                    .map_err(|error| StoreError::Url(format!("{}: {error}", folder.display())))?;
            }
            let options = SqliteConnectOptions::new()
                .filename(path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(10))
                // Bulk writes keep a journal per statement. Without this a longer one is a file in the folder for
                // temporary ones, which a container that may write to its volume alone does not have.
                .pragma("temp_store", "MEMORY")
                .statement_cache_capacity(256);
            let writer = SqlitePoolOptions::new()
                .max_connections(1)
                .idle_timeout(None)
                .max_lifetime(None)
                .connect_with(options.clone())
                .await?;
            let readers = SqlitePoolOptions::new()
                .max_connections(4)
                .idle_timeout(None)
                .max_lifetime(None)
                .connect_with(options.read_only(true).create_if_missing(false))
                .await?;
            return Ok(Self::Sqlite { writer, readers });
        }
        Err(StoreError::Url("a store url starts with sqlite:// or postgres://".into()))
    }

    pub(crate) const fn is_postgres(&self) -> bool {
        match self {
            Self::Postgres(_) => true,
            Self::Sqlite { .. } => false,
        }
    }

    /// A transaction that will write. On SQLite it takes the write lock at once: a deferred one that upgrades later
    /// fails under contention, whatever the busy timeout.
    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        match self {
            Self::Postgres(pool) => Ok(Tx::Postgres(PgTx::begin(pool, "BEGIN").await?)),
            Self::Sqlite { writer, .. } => Ok(Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?)),
        }
    }

    /// A transaction that only reads, so that what it reads belongs together.
    pub(crate) async fn begin_read(&self) -> Result<Tx, StoreError> {
        match self {
            Self::Postgres(pool) => {
                Ok(Tx::Postgres(PgTx::begin(pool, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?))
            }
            Self::Sqlite { readers, .. } => Ok(Tx::Sqlite(readers.begin().await?)),
        }
    }

    /// Reads outside a transaction.
    pub(crate) async fn all(&self, stmt: &'static Stmt, args: Vec<Arg>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Postgres(pool) => {
                tracing::trace!(statement = stmt.name);
                let rows = pg::all(pool, stmt.postgres(), args::postgres(args)?).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Self::Sqlite { readers, .. } => lite_all(readers, stmt, args).await,
        }
    }

    /// Reads a list: planned for these arguments, not for arguments in general, since the best index depends on which
    /// filters are there and how rare their values are.
    pub(crate) async fn list(&self, stmt: &'static Stmt, args: Vec<Arg>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Postgres(pool) => {
                tracing::trace!(statement = stmt.name);
                let rows = pg::all_planned(pool, stmt.postgres(), args::postgres(args)?).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Self::Sqlite { .. } => self.all(stmt, args).await,
        }
    }

    /// How Postgres reads such a list, as JSON, with the rows and blocks it read.
    #[cfg(test)]
    pub(crate) async fn explain(
        &self,
        stmt: &'static Stmt,
        args: Vec<Arg>,
    ) -> Result<serde_json::Value, StoreError> {
        let Self::Postgres(pool) = self else { return Err(StoreError::Bug("this is not Postgres".into())) };
        let sql = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {}", stmt.postgres());
        let query = sqlx::query_with(sqlx::AssertSqlSafe(sql), args::postgres(args)?).persistent(false);
        Ok(sqlx::Row::try_get(&pool.fetch_one(query).await?, 0)?)
    }

    /// The first row, if any.
    pub(crate) async fn first(&self, stmt: &'static Stmt, args: Vec<Arg>) -> Result<Option<Row>, StoreError> {
        Ok(self.all(stmt, args).await?.into_iter().next())
    }

    /// Writes one statement in a transaction of its own; the number of rows it touched.
    pub(crate) async fn execute(&self, stmt: &'static Stmt, args: Vec<Arg>) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let touched = tx.execute(stmt, args).await?;
        tx.commit().await?;
        Ok(touched)
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

impl Tx {
    pub(crate) async fn all(&mut self, stmt: &'static Stmt, args: Vec<Arg>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Postgres(tx) => {
                tracing::trace!(statement = stmt.name);
                let rows = tx.all(stmt.postgres(), args::postgres(args)?).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Self::Sqlite(tx) => lite_all(&mut **tx, stmt, args).await,
        }
    }

    pub(crate) async fn first(
        &mut self,
        stmt: &'static Stmt,
        args: Vec<Arg>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.all(stmt, args).await?.into_iter().next())
    }

    pub(crate) async fn execute(&mut self, stmt: &'static Stmt, args: Vec<Arg>) -> Result<u64, StoreError> {
        tracing::trace!(statement = stmt.name);
        match self {
            Self::Postgres(tx) => tx.execute(stmt.postgres(), args::postgres(args)?).await,
            Self::Sqlite(tx) => {
                let done = tx.execute(sqlx::query_with(stmt.sqlite(), args::sqlite(args)?)).await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// Writes many rows in one statement, since every statement is a trip to the server or, on SQLite, to the thread that
    /// has the connection. Every row has the bulk's columns in order. The number of rows that were written.
    pub(crate) async fn bulk(&mut self, bulk: &'static Bulk, rows: Vec<Vec<Arg>>) -> Result<u64, StoreError> {
        if rows.is_empty() {
            return Ok(0);
        }
        tracing::trace!(statement = bulk.name, rows = rows.len());
        match self {
            Self::Postgres(tx) => {
                tx.execute(bulk.postgres(), args::postgres_columns(bulk.columns, rows)?).await
            }
            Self::Sqlite(tx) => {
                let rows = args::sqlite_rows(bulk.columns, rows)?;
                Ok(tx.execute(sqlx::query_with(bulk.sqlite(), rows)).await?.rows_affected())
            }
        }
    }

    /// Like [`Tx::bulk`], with the rows that the statement returns.
    pub(crate) async fn bulk_returning(
        &mut self,
        bulk: &'static Bulk,
        rows: Vec<Vec<Arg>>,
    ) -> Result<Vec<Row>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        tracing::trace!(statement = bulk.name, rows = rows.len());
        match self {
            Self::Postgres(tx) => {
                let rows = tx.all(bulk.postgres(), args::postgres_columns(bulk.columns, rows)?).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Self::Sqlite(tx) => {
                let rows = args::sqlite_rows(bulk.columns, rows)?;
                let rows = tx.fetch_all(sqlx::query_with(bulk.sqlite(), rows)).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// Whether this is Postgres, where other processes write too.
    pub(crate) const fn is_postgres(&self) -> bool {
        match self {
            Self::Postgres(_) => true,
            Self::Sqlite(_) => false,
        }
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(tx) => tx.end("COMMIT").await?,
            Self::Sqlite(tx) => tx.commit().await?,
        }
        Ok(())
    }

    pub(crate) async fn rollback(self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(tx) => tx.end("ROLLBACK").await?,
            Self::Sqlite(tx) => tx.rollback().await?,
        }
        Ok(())
    }
}

async fn lite_all<'e>(
    executor: impl Executor<'e, Database = Sqlite>,
    stmt: &'static Stmt,
    args: Vec<Arg>,
) -> Result<Vec<Row>, StoreError> {
    tracing::trace!(statement = stmt.name);
    let rows = executor.fetch_all(sqlx::query_with(stmt.sqlite(), args::sqlite(args)?)).await?;
    Ok(rows.into_iter().map(Row::Sqlite).collect())
}
