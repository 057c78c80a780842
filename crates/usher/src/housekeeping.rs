//! Housekeeping: rows that nobody needs any more are deleted, by cron expressions, in batches.
//!
//! Laws: of replicas one does it each time; a row goes only when nothing needs it: an inbox id after every copy of its
//! message is gone from the stream, a refused command after that, too, and never before it was published, an answer after
//! its key has expired, a ledger row never while it is pending. The rhythm, escalation and threading of reminders are kept elsewhere, and live longer than any ledger.

use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio_util::sync::CancellationToken;
use usher_lifecycle::reminder::zone;
use usher_store::{Store, StoreError};

use crate::{config::Config, cron::Cron, store};

/// What is done.
#[derive(Debug, Clone, Copy)]
enum Task {
    /// Ids of handled messages and answers under idempotency keys.
    Repeats,
    /// Old rows of the ledger.
    Ledger,
    /// Old refused commands.
    Rejected,
}

impl Task {
    const fn name(self) -> &'static str {
        match self {
            Self::Repeats => "repeats",
            Self::Ledger => "ledger",
            Self::Rejected => "rejected",
        }
    }
}

/// Longest sleep, so that a clock that was set is noticed.
const NAP: TimeDelta = TimeDelta::minutes(10);

/// Who does it.
pub(crate) struct Housekeeping {
    store: Store,
    config: Config,
    deleted: Counter,
    failures: Counter,
}

impl Housekeeping {
    pub(crate) fn new(store: Store, config: &Config) -> Self {
        Self { store, config: config.clone(), deleted: Counter::default(), failures: Counter::default() }
    }

    /// Adds what it counts to the registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("usher_housekeeping_rows", "Old rows that were deleted", self.deleted.clone());
        registry.register(
            "usher_housekeeping_failures",
            "Tasks that failed; the next time takes the rest",
            self.failures.clone(),
        );
    }

    /// Does what is to be done until the shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let keep = &self.config.housekeeping;
        let zone = zone(&keep.time_zone)?;
        let mut tasks: Vec<(Task, Cron)> = vec![
            (Task::Repeats, keep.repeats_schedule.clone()),
            (Task::Rejected, keep.rejected_schedule.clone()),
        ];
        if keep.ledger_days.is_some() {
            tasks.push((Task::Ledger, keep.ledger_schedule.clone()));
        }
        // A process that never lives until the hour does it at its start, once a day.
        let mut since = store::now() - TimeDelta::days(1);
        for (task, _) in &tasks {
            self.once(*task, since).await;
        }
        since = store::now();
        while !shutdown.is_cancelled() {
            let now = store::now();
            for (task, cron) in &tasks {
                if let Some(fire) = cron.next(&zone, since).filter(|fire| *fire <= now) {
                    self.once(*task, fire).await;
                }
            }
            since = now;
            let next = tasks.iter().filter_map(|(_, cron)| cron.next(&zone, now)).min();
            let nap = next.map_or(NAP, |next| next - now).min(NAP).to_std().unwrap_or_default();
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(nap) => {}
            }
        }
        Ok(())
    }

    /// Does a task, unless this or another process has done it since.
    async fn once(&self, task: Task, since: DateTime<Utc>) {
        let now = store::now();
        let done = async {
            if !self.store.take_turn(task.name(), since, now).await? {
                return Ok(None);
            }
            self.sweep(task, now).await.map(Some)
        };
        match done.await {
            Ok(None | Some(0)) => {}
            Ok(Some(rows)) => {
                self.deleted.inc_by(rows);
                tracing::info!(task = task.name(), rows, "old rows are deleted");
            }
            Err(error) => {
                self.failures.inc();
                let error = anyhow::Error::from(error);
                tracing::warn!(task = task.name(), error = format!("{error:#}"), "old rows stay for now");
            }
        }
    }

    async fn sweep(&self, task: Task, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let config = &self.config;
        let days = |days: u32| now - TimeDelta::days(days.into());
        match task {
            Task::Repeats => {
                let answers = now - TimeDelta::hours(config.housekeeping.idempotency_hours.into());
                self.store.forget_repeats(days(config.nats.inbox_days), answers).await
            }
            Task::Ledger => match config.housekeeping.ledger_days {
                Some(kept) => self.store.forget_ledger(days(kept)).await,
                None => Ok(0),
            },
            Task::Rejected => self.store.forget_rejected(days(config.housekeeping.rejected_days)).await,
        }
    }
}
