//! The intake: commands from NATS, applied in batches.
//!
//! Guarantee: a message is acknowledged only after its effect, or its rejection with the reason, is durable.
//!
//! Hence exactly one effect per source and id, whatever crashes: what was applied and not acknowledged comes again, and
//! the inbox knows it. A message that can never succeed is kept as rejected and does not hold the others up. While the
//! store is away nothing is rejected: messages go back with a growing delay, and no more are pulled. Messages of a batch
//! are applied in the order of the stream; those that come again come later, and only `sequence` or `expected_version`
//! keeps an older change from overwriting a newer one. A message about a record that is not there waits a little for it:
//! what makes the record may be under way at another replica.

mod advisories;
mod apply;
mod batch;
mod metrics;
pub(crate) mod plan;
mod read;
mod replay;
mod requests;
mod strikes;
mod suspects;
mod workspaces;

use std::{pin::pin, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use usher_bus::{Commands, Delivery, Nats};
use usher_store::Store;

use self::{
    advisories::SecondNet, metrics::Metrics, requests::Answers, strikes::Strikes, workspaces::Workspaces,
};
pub use self::{
    batch::Verdict,
    replay::{Replay, Replayed, Try},
};
use crate::relay::chain;

/// Most messages of a batch, which are one transaction.
const BATCH: usize = 512;
/// How long a pull waits for the first message before it asks anew.
const PULL: Duration = Duration::from_secs(5);
/// The first wait when NATS or the store is away.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest wait when the store is away.
const LONGEST: Duration = Duration::from_mins(1);
/// The longest wait when NATS is away: asking costs nothing then.
const LONGEST_NATS: Duration = Duration::from_secs(5);

/// The process's clock.
type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Takes commands from NATS.
pub struct Intake {
    store: Store,
    nats: Nats,
    clock: Clock,
    wake: Arc<dyn Fn() + Send + Sync>,
    workspaces: Workspaces,
    strikes: Strikes,
    missing: Strikes,
    unended: Vec<suspects::Key>,
    metrics: Metrics,
}

impl Intake {
    /// An intake. `wake` is called after a batch that left something to publish or may have made a reminder due sooner;
    /// it must not block.
    pub fn new(
        store: Store,
        nats: Nats,
        clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self {
            store,
            nats,
            clock,
            wake,
            workspaces: Workspaces::default(),
            strikes: Strikes::failed(),
            missing: Strikes::missing(),
            unended: Vec::new(),
            metrics: Metrics::default(),
        }
    }

    /// Adds what the intake counts to the registry.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Takes commands and answers requests until `shutdown`, then finishes what it took. The streams have to be there.
    /// Never fails: what cannot be done now is done later.
    pub async fn run(self, shutdown: CancellationToken) {
        let answers = Answers {
            store: self.store.clone(),
            nats: self.nats.clone(),
            clock: Arc::clone(&self.clock),
            wake: Arc::clone(&self.wake),
            workspaces: self.workspaces.clone(),
        };
        let second_net = SecondNet {
            store: self.store.clone(),
            nats: self.nats.clone(),
            clock: Arc::clone(&self.clock),
            wake: Arc::clone(&self.wake),
            heard: self.metrics.advisories.clone(),
        };
        tokio::join!(
            self.commands(second_net.clone(), shutdown.clone()),
            answers.run(shutdown.clone()),
            second_net.run(shutdown)
        );
    }

    async fn commands(mut self, second_net: SecondNet, shutdown: CancellationToken) {
        let mut connections = self.nats.connections();
        // Also at the start: another process may have died of it.
        connections.mark_changed();
        let mut commands = None;
        let (mut without_nats, mut without_store) = (SHORTEST, SHORTEST);
        while !shutdown.is_cancelled() {
            if self.nats.is_connected() && connections.has_changed().unwrap_or(false) {
                match second_net.sweep().await {
                    Ok(()) => connections.mark_unchanged(),
                    Err(error) => {
                        tracing::warn!(
                            error,
                            "whether each command can be read is not known yet; trying again"
                        );
                        pause(SHORTEST, &shutdown).await;
                        continue;
                    }
                }
            }
            match self.next(&mut commands, &shutdown).await {
                Ok(batch) => {
                    without_nats = SHORTEST;
                    if batch.is_empty() {
                        continue;
                    }
                    if self.handle(&batch, without_store).await {
                        without_store = self.until_back(without_store, &shutdown).await;
                    } else {
                        without_store = SHORTEST;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "commands cannot be pulled; trying again");
                    pause(without_nats, &shutdown).await;
                    without_nats = LONGEST_NATS.min(without_nats * 2);
                }
            }
        }
    }

    /// The next batch; empty after a while without commands, and at the end.
    async fn next(
        &self,
        commands: &mut Option<Commands>,
        shutdown: &CancellationToken,
    ) -> Result<Vec<Delivery>, usher_bus::BusError> {
        let commands = match commands {
            Some(commands) => commands,
            None => commands.insert(self.nats.commands().await?),
        };
        let stop = commands.stop_handle();
        let mut batch = pin!(commands.next_batch(BATCH, PULL));
        tokio::select! {
            batch = &mut batch => batch,
            () = shutdown.cancelled() => {
                // What has arrived is handled rather than left to come again.
                stop.stop();
                batch.await
            }
        }
    }

    /// Handles and answers one batch. True when the store is away; what needs it then comes again after `delay`.
    async fn handle(&mut self, batch: &[Delivery], delay: Duration) -> bool {
        let started = Instant::now();
        let verdicts = self.take(batch).await;
        let count = |wanted: Verdict| verdicts.iter().filter(|verdict| **verdict == wanted).count();
        let (committed, rejected, away) =
            (count(Verdict::Committed), count(Verdict::Rejected), count(Verdict::Away));
        let unchanged = count(Verdict::Unchanged);
        let later = batch.len() - committed - rejected - away - unchanged;
        for (delivery, verdict) in batch.iter().zip(&verdicts) {
            let answered = match verdict {
                Verdict::Committed | Verdict::Unchanged | Verdict::Rejected => delivery.ack().await,
                Verdict::Later(delay) => delivery.nak(*delay).await,
                Verdict::Away => delivery.nak(delay).await,
            };
            if let Err(error) = answered {
                // It comes again, and the inbox knows it.
                tracing::debug!(error = chain(&error), "a command could not be acknowledged");
            }
        }
        if committed + rejected > 0 {
            (self.wake)();
        }
        self.metrics.taken(batch, &verdicts, (self.clock)(), started.elapsed());
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            received = batch.len(),
            committed,
            unchanged,
            rejected,
            later,
            away,
            ms,
            "commands taken"
        );
        away > 0
    }

    /// Waits until the store answers, `wait` at first, then ever longer. Returns the wait for the next time: a store
    /// that answers and still takes nothing (a full disk) is asked ever less, too.
    async fn until_back(&self, wait: Duration, shutdown: &CancellationToken) -> Duration {
        until(wait, shutdown, || async { self.store.ping().await.is_ok() }).await
    }
}

async fn until<F: Future<Output = bool>>(
    mut wait: Duration,
    shutdown: &CancellationToken,
    mut is_back: impl FnMut() -> F,
) -> Duration {
    loop {
        pause(wait, shutdown).await;
        wait = LONGEST.min(wait * 2);
        if shutdown.is_cancelled() || is_back().await {
            return wait;
        }
    }
}

async fn pause(length: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(length) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_is_asked_less_and_less() {
        let (began, mut asked) = (Instant::now(), Vec::new());
        let next = until(SHORTEST, &CancellationToken::new(), || {
            asked.push(began.elapsed().as_secs());
            std::future::ready(asked.len() == 8)
        })
        .await;
        assert_eq!(asked, [1, 3, 7, 15, 31, 63, 123, 183]);
        // If it takes nothing all the same, it is asked as seldom at once.
        assert_eq!(next, LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_the_store_at_the_end() {
        let (began, shutdown) = (Instant::now(), CancellationToken::new());
        shutdown.cancel();
        until(LONGEST, &shutdown, || std::future::ready(false)).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
