//! Commands that came again and again, perhaps because they take down whoever handles them. Each is handled by itself, and
//! that it was begun is written down before: what the dead process knew is not lost with it.

use chrono::{DateTime, Utc};

use crate::{
    Store,
    db::{Arg, statements},
    error::StoreError,
};

statements! {
    BEGIN = "INSERT INTO suspects (stream, sequence, begun, begun_at) VALUES ($1, $2, 1, $3)
             ON CONFLICT (stream, sequence) DO UPDATE SET begun = suspects.begun + 1, begun_at = excluded.begun_at
             RETURNING begun";
    END = "DELETE FROM suspects WHERE stream = $1 AND sequence = $2";
}

impl Store {
    /// Writes down that a message of a stream is about to be handled; how often that was begun and not ended, this time
    /// included. `stream` is a name that a stream made anew has not.
    pub async fn begin_suspect(
        &self,
        stream: &str,
        sequence: u64,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let mut tx = self.db().begin().await?;
        let row = tx.first(&BEGIN, vec![Arg::text(stream), number(sequence), Arg::time(now)]).await?;
        tx.commit().await?;
        let begun = row.ok_or_else(|| StoreError::Bug("a suspect is not counted".into()))?.int("begun")?;
        Ok(u64::try_from(begun).unwrap_or_default())
    }

    /// The process has survived it: it counts from the beginning.
    pub async fn end_suspect(&self, stream: &str, sequence: u64) -> Result<(), StoreError> {
        self.db().execute(&END, vec![Arg::text(stream), number(sequence)]).await.map(drop)
    }
}

fn number(sequence: u64) -> Arg {
    Arg::int(i64::try_from(sequence).unwrap_or(i64::MAX))
}
