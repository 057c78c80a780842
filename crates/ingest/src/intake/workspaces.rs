//! Workspaces by the slug in the subject. What is found is remembered for a short while; what is not, is not: the next
//! message may come after its workspace was made.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::WorkspaceId;
use usher_store::{Store, StoreError};

use super::apply::guarded;

/// How long a slug is believed.
const LIFE: TimeDelta = TimeDelta::seconds(30);
/// Most slugs remembered.
const MOST: usize = 10_000;

type Found = HashMap<String, (WorkspaceId, DateTime<Utc>)>;

/// The workspaces found lately. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Workspaces(Arc<Mutex<Found>>);

impl Workspaces {
    /// The workspace with that slug.
    pub(super) async fn find(
        &self,
        store: &Store,
        slug: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<WorkspaceId>, StoreError> {
        if let Some((id, at)) = self.lock(|found| found.get(slug).copied())
            && (at..at + LIFE).contains(&now)
        {
            return Ok(Some(id));
        }
        let id = guarded(store.workspace_by_slug(slug)).await??.map(|workspace| workspace.id);
        self.lock(|found| {
            if found.len() >= MOST {
                found.clear();
            }
            match id {
                Some(id) => drop(found.insert(slug.to_owned(), (id, now))),
                None => drop(found.remove(slug)),
            }
        });
        Ok(id)
    }

    fn lock<T>(&self, use_it: impl FnOnce(&mut Found) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
