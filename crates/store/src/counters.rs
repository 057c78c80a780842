//! `display_id`s: whole numbers per workspace and kind, taken from the database in blocks, so that creates do not queue
//! behind a counter. Gaps are normal; no number is given twice.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use usher_lifecycle::{WorkspaceId, command::Aggregate};

use crate::{
    Store,
    db::{Arg, statements},
    error::StoreError,
};

/// Fewest numbers that are taken at once.
const BLOCK: i64 = 32;

statements! {
    TAKE = "INSERT INTO counters (workspace_id, kind, next) VALUES ($1, $2, $3)
            ON CONFLICT (workspace_id, kind) DO UPDATE SET next = counters.next + excluded.next
            RETURNING next";
}

/// The numbers this process has taken and not given yet.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<HashMap<(WorkspaceId, Aggregate), BTreeSet<i64>>>);

impl Counters {
    fn take(&self, key: (WorkspaceId, Aggregate), count: usize) -> Vec<i64> {
        let mut stock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(numbers) = stock.get_mut(&key) else { return Vec::new() };
        std::iter::from_fn(|| numbers.pop_first()).take(count).collect()
    }

    /// Takes in numbers that nobody has: the rest of a block, or what turned out not to be needed.
    pub(crate) fn put(&self, key: (WorkspaceId, Aggregate), numbers: impl IntoIterator<Item = i64>) {
        let mut stock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stock.entry(key).or_default().extend(numbers);
    }
}

impl Store {
    /// `count` numbers for records of a kind.
    pub(crate) async fn numbers(
        &self,
        workspace: WorkspaceId,
        kind: Aggregate,
        count: usize,
    ) -> Result<Vec<i64>, StoreError> {
        let mut numbers = self.counters().take((workspace, kind), count);
        let missing = i64::try_from(count.saturating_sub(numbers.len())).unwrap_or(i64::MAX);
        if missing > 0 {
            let block = missing.max(BLOCK);
            let mut tx = self.db().begin().await?;
            let args = vec![Arg::id(workspace), Arg::text(kind.as_str()), Arg::int(block)];
            let row = tx.first(&TAKE, args).await?;
            tx.commit().await?;
            let last = row.ok_or_else(|| StoreError::Bug("a counter gave nothing".into()))?.int("next")?;
            let first = last - block + 1;
            numbers.extend(first..first + missing);
            self.counters().put((workspace, kind), first + missing..=last);
        }
        Ok(numbers)
    }
}
