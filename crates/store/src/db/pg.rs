//! A connection to Postgres, with a deadline on everything it is asked: one that went silent (a host that failed over, a
//! firewall that forgot it) must not hold its caller for good. Such a connection is thrown away, never given back.

use std::time::Duration;

use sqlx::{
    Connection as _, Executor as _, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgArguments, PgConnectOptions, PgRow},
};

use crate::error::StoreError;

/// Longest time for one statement. None takes a second; waiting for a lock is part of it.
const DEADLINE: Duration = Duration::from_secs(30);

/// A transaction. Dropped before its end, it takes its connection with it, and the server undoes it.
#[derive(Debug)]
pub(crate) struct PgTx {
    connection: PoolConnection<Postgres>,
    open: bool,
}

async fn within<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(StoreError::Database(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))),
    }
}

/// One plain attempt to connect. The pool would only say that it timed out; this says why.
pub(super) async fn probe(options: &PgConnectOptions) -> Result<(), StoreError> {
    within(async { PgConnection::connect_with(options).await?.close().await }).await
}

/// Reads outside a transaction.
pub(super) async fn all(
    pool: &PgPool,
    sql: &'static str,
    args: PgArguments,
) -> Result<Vec<PgRow>, StoreError> {
    fetch(pool, sqlx::query_with(sql, args)).await
}

/// The same by a statement without a name, which the server plans for the arguments it comes with.
pub(super) async fn all_planned(
    pool: &PgPool,
    sql: &'static str,
    args: PgArguments,
) -> Result<Vec<PgRow>, StoreError> {
    fetch(pool, sqlx::query_with(sql, args).persistent(false)).await
}

async fn fetch(
    pool: &PgPool,
    query: sqlx::query::Query<'static, Postgres, PgArguments>,
) -> Result<Vec<PgRow>, StoreError> {
    let mut connection = pool.acquire().await?;
    let rows = within(connection.fetch_all(query)).await;
    if rows.as_ref().is_err_and(StoreError::is_away) {
        connection.close_on_drop();
    }
    rows
}

impl PgTx {
    pub(super) async fn begin(pool: &PgPool, begin: &'static str) -> Result<Self, StoreError> {
        let mut tx = Self { connection: pool.acquire().await?, open: true };
        within(tx.connection.execute(begin)).await?;
        Ok(tx)
    }

    pub(super) async fn all(
        &mut self,
        sql: &'static str,
        args: PgArguments,
    ) -> Result<Vec<PgRow>, StoreError> {
        within(self.connection.fetch_all(sqlx::query_with(sql, args))).await
    }

    /// The number of rows it touched.
    pub(super) async fn execute(&mut self, sql: &'static str, args: PgArguments) -> Result<u64, StoreError> {
        Ok(within(self.connection.execute(sqlx::query_with(sql, args))).await?.rows_affected())
    }

    pub(super) async fn end(mut self, end: &'static str) -> Result<(), StoreError> {
        within(self.connection.execute(end)).await?;
        self.open = false;
        Ok(())
    }
}

impl Drop for PgTx {
    fn drop(&mut self) {
        if self.open {
            self.connection.close_on_drop();
        }
    }
}
