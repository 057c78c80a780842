//! Raw SQL past the store, on either engine: to see what is there, or to make a state that no command makes.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

/// Executes the statements; how many rows they touched.
///
/// # Errors
/// When the database refuses them or is not there.
pub async fn execute(url: &str, sql: &str) -> anyhow::Result<u64> {
    let sql = AssertSqlSafe(sql.to_owned());
    if url.starts_with("postgres") {
        let mut connection = PgConnection::connect(url).await?;
        Ok(sqlx::raw_sql(sql).execute(&mut connection).await?.rows_affected())
    } else {
        let mut connection = SqliteConnection::connect(url).await?;
        Ok(sqlx::raw_sql(sql).execute(&mut connection).await?.rows_affected())
    }
}

/// The texts of the first column.
///
/// # Errors
/// When the database refuses the query or is not there.
pub async fn texts(url: &str, sql: &str) -> anyhow::Result<Vec<String>> {
    let sql = AssertSqlSafe(sql.to_owned());
    if url.starts_with("postgres") {
        let mut connection = PgConnection::connect(url).await?;
        Ok(sqlx::query_scalar(sql).fetch_all(&mut connection).await?)
    } else {
        let mut connection = SqliteConnection::connect(url).await?;
        Ok(sqlx::query_scalar(sql).fetch_all(&mut connection).await?)
    }
}
