//! What is only kept so that repeats are known is forgotten, once an hour.

use std::time::Duration;

use chrono::TimeDelta;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio_util::sync::CancellationToken;
use usher_store::Store;

use crate::store;

/// How often old rows are swept out.
const SWEEP: Duration = Duration::from_hours(1);
/// How long answers under an `Idempotency-Key` are kept.
const ANSWERS: TimeDelta = TimeDelta::hours(24);

/// The sweeper.
pub(crate) struct Housekeeping {
    store: Store,
    inbox: TimeDelta,
    forgotten: Counter,
    failures: Counter,
}

impl Housekeeping {
    pub(crate) fn new(store: Store, inbox_days: u32) -> Self {
        let inbox = TimeDelta::days(i64::from(inbox_days));
        Self { store, inbox, forgotten: Counter::default(), failures: Counter::default() }
    }

    /// Adds what it counts to the registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "usher_housekeeping_rows",
            "Old message ids and idempotency keys that were deleted",
            self.forgotten.clone(),
        );
        registry.register(
            "usher_housekeeping_failures",
            "Sweeps that failed; the next one takes the rest",
            self.failures.clone(),
        );
    }

    /// Sweeps until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        loop {
            let now = store::now();
            let swept = tokio::select! {
                () = shutdown.cancelled() => return,
                swept = self.store.forget_repeats(now - self.inbox, now - ANSWERS) => swept,
            };
            match swept {
                Ok(0) => {}
                Ok(rows) => {
                    self.forgotten.inc_by(rows);
                    tracing::info!(rows, "old message ids and idempotency keys are forgotten");
                }
                Err(error) => {
                    self.failures.inc();
                    let error = anyhow::Error::from(error);
                    tracing::warn!(error = format!("{error:#}"), "old rows stay for now");
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(SWEEP) => {}
            }
        }
    }
}
