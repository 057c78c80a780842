//! The relay: from the outbox to the bus.
//!
//! Guarantees: every committed event is published at least once; first publications are in order per subject, repeats
//! may come later; each carries version and ordinal; the `Nats-Msg-Id` is stable.
//!
//! How: a lease keeps replicas apart; the oldest unpublished events are published in windows that hold at most one
//! event of a subject, whose next one enters only after this one is acknowledged; what was acknowledged is marked. A
//! publish that fails stays pending, with all later ones of its subject, and is tried again after 1 to 30 seconds;
//! the others go on without it. Refused commands go out the same way, in any order. While there is nothing to do the
//! relay asks the outbox one question every half minute.

mod holds;
mod metrics;
mod pace;
mod publish;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use prometheus_client::registry::Registry;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use usher_bus::{Bus, Hints};
use usher_store::{ShardLease, Store, StoreError};

use self::{
    holds::{Holds, Lane},
    metrics::Metrics,
    pace::Pace,
};

/// How long a lease lasts unless it is renewed.
const LEASE: Duration = Duration::from_secs(15);
/// A lease is renewed when less than this is left: no window of publishes takes longer.
const LEFT: Duration = Duration::from_secs(10);
/// Events claimed at once.
const BATCH: u32 = 1_000;
/// Refused commands claimed at once; each may have a megabyte.
const REJECTED_BATCH: u32 = 32;

/// Publishes what the outbox holds.
pub struct Relay {
    store: Store,
    bus: Bus,
    clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    lease: Option<ShardLease>,
    holds: Holds,
    shutdown: CancellationToken,
    metrics: Metrics,
}

/// What one pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayReport {
    /// Events that were acknowledged and marked.
    pub published: usize,
    /// Events that the stream had already, from a publication that was not marked.
    pub repeated: usize,
    /// Refused commands that were acknowledged and marked.
    pub rejected: usize,
    /// Publishes that failed; they stay pending.
    pub failed: usize,
}

/// Why a pass is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prompt {
    /// Something was committed, here or elsewhere, or nobody knows.
    Woken,
    /// Time went by.
    Timer,
}

impl Relay {
    /// A relay that holds nothing yet.
    pub fn new(store: Store, bus: Bus, clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>) -> Self {
        Self {
            store,
            bus,
            clock,
            lease: None,
            holds: Holds::default(),
            shutdown: CancellationToken::new(),
            metrics: Metrics::default(),
        }
    }

    /// Adds what the relay counts to the registry.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Publishes until `shutdown`, then gives its lease back. Call `wake.notify_one()` after a commit of this process;
    /// commits of others come by hint, or are found within half a minute. Never fails: what cannot be done now is done
    /// later.
    pub async fn run(mut self, shutdown: CancellationToken, wake: Arc<Notify>) {
        self.shutdown = shutdown.clone();
        let mut pace = Pace::default();
        let mut prompt = Prompt::Woken;
        let mut hints = None;
        while !shutdown.is_cancelled() {
            let pause = if self.bus.is_connected() {
                if hints.is_none() {
                    // Listen first, look then: a hint in between is not missed.
                    hints = self.bus.hints().await.ok();
                }
                let result = self.pass_for(prompt).await;
                pace.after(prompt, &result, self.holds.next((self.clock)()))
            } else {
                pace.away()
            };
            prompt = tokio::select! {
                () = shutdown.cancelled() => break,
                () = wake.notified(), if pause.ends_early => Prompt::Woken,
                prompt = wait(&mut hints, pause.length), if pause.ends_early => prompt,
                () = tokio::time::sleep(pause.length), if !pause.ends_early => Prompt::Woken,
            };
        }
        if let Err(error) = self.release().await {
            tracing::warn!(%error, "the relay's lease could not be given back; it ends by itself");
        }
    }

    /// Publishes until nothing is left that can be published now. What failed shortly before is left for a later pass.
    ///
    /// # Errors
    /// When the store fails. What was published and could not be marked is published again.
    pub async fn pass(&mut self) -> Result<RelayReport, StoreError> {
        self.pass_for(Prompt::Woken).await
    }

    /// Gives the shards back, so that another replica need not wait for the end of the lease.
    pub async fn release(&mut self) -> Result<(), StoreError> {
        match self.lease.take() {
            Some(lease) => self.store.release_shards(&lease.token).await,
            None => Ok(()),
        }
    }

    async fn pass_for(&mut self, prompt: Prompt) -> Result<RelayReport, StoreError> {
        let started = Instant::now();
        let mut report = RelayReport::default();
        let result = self.all(prompt, &mut report).await;
        if report != RelayReport::default() {
            let RelayReport { published, repeated, rejected, failed } = report;
            let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(published, repeated, rejected, failed, ms, "relayed");
        }
        result.map(|()| report)
    }

    async fn all(&mut self, prompt: Prompt, report: &mut RelayReport) -> Result<(), StoreError> {
        // Idle: one question instead of a lease and three.
        if prompt == Prompt::Timer && !self.leases() && !self.store.outbox_waits().await? {
            return Ok(());
        }
        let mut lanes = Lane::ALL.to_vec();
        while !lanes.is_empty() {
            // A batch of each in turn, so that none waits for the end of another.
            for lane in std::mem::take(&mut lanes) {
                if !self.shutdown.is_cancelled() && self.batch(lane, report).await? {
                    lanes.push(lane);
                }
            }
        }
        Ok(())
    }

    /// One batch of a lane; true when there may be more that can be published now.
    async fn batch(&mut self, lane: Lane, report: &mut RelayReport) -> Result<bool, StoreError> {
        if self.holds.holds(lane, (self.clock)()) {
            return Ok(false);
        }
        let before = *report;
        let more = match lane {
            Lane::Live | Lane::Test => self.events(lane, report).await,
            Lane::Rejected => self.rejected(report).await,
        };
        self.metrics.count(before, *report);
        more
    }

    /// Whether a lease on some shards has not ended.
    fn leases(&self) -> bool {
        let now = (self.clock)();
        self.lease.as_ref().is_some_and(|lease| now < lease.until && !lease.shards.is_empty())
    }

    /// The shards to publish, with enough of the lease left for one window; none when others hold all of them.
    async fn shards(&mut self) -> Result<Option<Vec<i64>>, StoreError> {
        let now = (self.clock)();
        // A lease that ends later than one taken now would end is of a clock that was set back.
        let fresh = |lease: &ShardLease| now + LEFT <= lease.until && lease.until <= now + LEASE;
        if !self.lease.as_ref().is_some_and(fresh) {
            let token = self.lease.as_ref().map(|lease| lease.token.as_str());
            let mut lease = self.store.lease_shards(token, now, LEASE).await?;
            lease.shards.sort_unstable();
            self.lease = Some(lease);
        }
        let shards = self.lease.as_ref().map(|lease| lease.shards.clone());
        Ok(shards.filter(|shards| !shards.is_empty()))
    }
}

impl RelayReport {
    /// Whether anything got through.
    const fn progressed(&self) -> bool {
        self.published > 0 || self.rejected > 0
    }
}

/// Waits for a hint, at most `limit`.
async fn wait(hints: &mut Option<Hints>, limit: Duration) -> Prompt {
    if let Some(hints) = hints {
        return if hints.wait(limit).await { Prompt::Woken } else { Prompt::Timer };
    }
    tokio::time::sleep(limit).await;
    Prompt::Timer
}

/// The error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
