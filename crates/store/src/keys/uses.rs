//! When a key was last used, from where, how often: gathered in memory and written every few seconds, since one more
//! write per request would be the dearest part of it. What was gathered is lost when the process is killed.

use std::{
    collections::BTreeMap,
    mem,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use usher_lifecycle::KeyId;

use crate::{
    Store,
    db::{Arg, statements},
    error::StoreError,
};

statements! {
    // Replicas write in any order; the latest use stays.
    NOTE = "UPDATE api_keys SET use_count = use_count + $2,
              last_used_from = CASE WHEN last_used_at IS NULL OR last_used_at <= $3 THEN $4 ELSE last_used_from END,
              last_used_at = CASE WHEN last_used_at IS NULL OR last_used_at <= $3 THEN $3 ELSE last_used_at END
              WHERE id = $1";
}

/// Uses that are not written yet, in the order of the ids: processes that write at once take the rows in one order.
#[derive(Debug, Default)]
pub(crate) struct KeyUses(Mutex<BTreeMap<KeyId, Use>>);

#[derive(Debug, Clone, Copy)]
struct Use {
    count: i64,
    at: DateTime<Utc>,
    from: Option<IpAddr>,
}

impl KeyUses {
    fn add(&self, key: KeyId, used: Use) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = all.entry(key).or_insert(Use { count: 0, ..used });
        sum.count += used.count;
        if sum.at <= used.at {
            (sum.at, sum.from) = (used.at, used.from);
        }
    }

    fn take(&self) -> BTreeMap<KeyId, Use> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store {
    /// Notes that a key was used; see [`Store::write_key_uses`].
    pub fn note_key_use(&self, key: KeyId, from: Option<IpAddr>, at: DateTime<Utc>) {
        self.key_uses().add(key, Use { count: 1, at, from });
    }

    /// Writes what was noted since the last call. After a failure it is noted still.
    pub async fn write_key_uses(&self) -> Result<(), StoreError> {
        let uses = self.key_uses().take();
        if uses.is_empty() {
            return Ok(());
        }
        let written = self.write_uses(&uses).await;
        if written.is_err() {
            for (key, used) in uses {
                self.key_uses().add(key, used);
            }
        }
        written
    }

    async fn write_uses(&self, uses: &BTreeMap<KeyId, Use>) -> Result<(), StoreError> {
        let mut tx = self.db().begin().await?;
        for (key, used) in uses {
            let from = Arg::Text(used.from.map(|from| from.to_string()));
            tx.execute(&NOTE, vec![Arg::id(key), Arg::int(used.count), Arg::time(used.at), from]).await?;
        }
        tx.commit().await
    }
}
