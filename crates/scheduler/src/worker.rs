//! The loop: plan, send, sleep until the next due time or a hint. Nothing is polled more often than every 30 s when idle;
//! hints may be lost, the tables are looked at all the same.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use usher_store::StoreError;

use crate::{
    Scheduler,
    dispatch::{DispatchReport, Flights},
};

/// Longest sleep: what another process wrote without a hint is seen by then.
const IDLE: Duration = Duration::from_secs(30);
/// Sleep while something is due that cannot be had: another worker holds it, or its channel is down.
const HELD: Duration = Duration::from_secs(2);
/// How long what is in flight may take at shutdown.
const FINISH: Duration = Duration::from_secs(10);

impl Scheduler {
    /// Works until `shutdown`; then lets what is in flight finish.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut flights = Flights::default();
        let mut report = DispatchReport::default();
        let mut failures = 0_u32;
        // Subscribed before the tables are looked at, so that no hint falls in between.
        let mut hints =
            self.bus.hints().await.inspect_err(|error| tracing::warn!(%error, "no hints for now")).ok();
        while !shutdown.is_cancelled() {
            let busy = match self.turn(&mut flights).await {
                Ok(busy) => {
                    failures = 0;
                    busy
                }
                Err(error) => {
                    failures += 1;
                    tracing::error!(error = %chain(&error), failures, "the scheduler cannot work; it tries again");
                    false
                }
            };
            if busy {
                continue;
            }
            let pause = if failures > 0 { backoff(failures) } else { self.pause().await };
            tokio::select! {
                () = shutdown.cancelled() => break,
                landed = self.land(&mut flights, &mut report), if flights.len() > 0 => {
                    if let Err(error) = landed {
                        // The leases end, and the deliveries come back as ambiguous.
                        tracing::error!(error = %chain(&error), "outcomes were lost");
                    }
                }
                () = hint(&mut hints, pause) => {
                    if hints.is_none() {
                        hints = self.bus.hints().await.ok();
                    }
                }
            }
        }
        let finish = async {
            while flights.len() > 0 {
                if let Err(error) = self.land(&mut flights, &mut report).await {
                    tracing::error!(error = %chain(&error), "outcomes were lost");
                }
            }
        };
        if tokio::time::timeout(FINISH, finish).await.is_err() {
            tracing::warn!(messages = flights.len(), "messages were still in flight at shutdown");
        }
    }

    /// Plans and launches what is due; true when there was something, so that there may be more.
    async fn turn(&self, flights: &mut Flights) -> Result<bool, StoreError> {
        let now = (self.clock)();
        // Looked at alone first: an idle scheduler costs one statement.
        if flights.len() == 0 && self.store.next_wake().await?.is_none_or(|at| at > now) {
            return Ok(false);
        }
        let planned = self.plan(now).await?.planned;
        let launched = self.launch(flights, (self.clock)()).await?;
        Ok(planned > 0 || launched > 0)
    }

    /// How long nothing will be due.
    async fn pause(&self) -> Duration {
        match self.store.next_wake().await {
            Ok(Some(at)) => until(at, (self.clock)()),
            Ok(None) => IDLE,
            Err(_) => HELD,
        }
    }
}

fn until(at: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    match (at - now).to_std() {
        Ok(wait) if !wait.is_zero() => wait.min(IDLE),
        Ok(_) | Err(_) => HELD,
    }
}

/// Waits for a hint or the end of the pause.
async fn hint(hints: &mut Option<usher_bus::Hints>, pause: Duration) {
    match hints {
        Some(hints) => drop(hints.wait(pause).await),
        None => tokio::time::sleep(pause).await,
    }
}

fn backoff(failures: u32) -> Duration {
    Duration::from_millis(500).saturating_mul(2_u32.saturating_pow(failures.min(6))).min(IDLE)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
