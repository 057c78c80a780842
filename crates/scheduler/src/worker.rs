//! The loop: plan, send, sleep until the next due time or a hint. Nothing is polled more often than every 30 s when idle;
//! hints may be lost, the tables are looked at all the same.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use usher_store::StoreError;

use crate::{Scheduler, dispatch::DispatchReport, flights::Flights};

/// Longest sleep: what another process wrote without a hint is seen by then.
const IDLE: Duration = Duration::from_secs(30);
/// First sleep while something is due that cannot be had, because another worker holds it or its channel is down; each
/// further one is twice as long.
const HELD: Duration = Duration::from_millis(250);
/// Longest such sleep: other things fall due meanwhile, and are not to be late by more.
const HELD_AT_MOST: Duration = Duration::from_secs(2);
/// First sleep after a failure; each further one is twice as long.
const FAILED: Duration = Duration::from_millis(500);
/// How long what is in flight may take at shutdown.
const FINISH: Duration = Duration::from_secs(10);
/// How long, after that, its outcomes may take to be recorded.
const RECORD: Duration = Duration::from_secs(5);

/// What a look at the tables found.
enum Found {
    /// There was something to do, and there may be more.
    Work,
    /// Something is due that cannot be had.
    Held,
    /// Nothing is due before that instant, if ever.
    Nothing(Option<DateTime<Utc>>),
}

impl Scheduler {
    /// Works until `shutdown`; then lets what is in flight finish, and gives the rest back.
    pub async fn run(&self, shutdown: CancellationToken) {
        let (mut flights, mut report) = (Flights::default(), DispatchReport::default());
        let (mut failures, mut held) = (0_u32, 0_u32);
        // Subscribed before the tables are looked at, so that no hint falls in between.
        let mut hints =
            self.bus.hints().await.inspect_err(|error| tracing::warn!(%error, "no hints for now")).ok();
        while !shutdown.is_cancelled() {
            let found = self.turn(&mut flights, &mut report).await;
            let pause = match &found {
                Ok(Found::Work) => Duration::ZERO,
                Ok(Found::Held) => doubled(HELD, held).min(HELD_AT_MOST),
                Ok(Found::Nothing(next)) => next.map_or(IDLE, |at| until(at, (self.clock)())),
                Err(error) => {
                    tracing::error!(error = %chain(error), failures, "the scheduler cannot work; it tries again");
                    doubled(FAILED, failures)
                }
            };
            failures = if found.is_err() { failures + 1 } else { 0 };
            held = if matches!(found, Ok(Found::Held)) { held + 1 } else { 0 };
            if matches!(found, Ok(Found::Work)) {
                continue;
            }
            if hints.is_none() {
                hints = self.bus.hints().await.ok();
            }
            self.rest(&mut flights, &mut report, &mut hints, Instant::now() + pause, &shutdown).await;
        }
        self.wind_up(flights, report).await;
    }

    /// Plans and launches what is due. An idle scheduler costs one statement.
    async fn turn(&self, flights: &mut Flights, report: &mut DispatchReport) -> Result<Found, StoreError> {
        self.settle(flights, report).await?;
        let now = (self.clock)();
        if self.open_channels(flights, now).is_empty() && flights.len() > 0 {
            // Whoever lands makes room.
            return Ok(Found::Nothing(None));
        }
        let next = self.store.next_wake().await?;
        if next.is_none_or(|at| at > now) {
            return Ok(Found::Nothing(next));
        }
        // A batch at a time: between them what landed is recorded, and a shutdown is noticed. What a changed policy moves
        // is moved before anything is planned by it.
        if self.redate(now).await? {
            return Ok(Found::Work);
        }
        let planned = self.plan_batch(now).await?;
        let launched = self.launch(flights, now).await?;
        Ok(if planned > 0 || launched > 0 { Found::Work } else { Found::Held })
    }

    /// Sleeps until `wake`, a hint, the shutdown, or until there is room for more; records what lands meanwhile.
    async fn rest(
        &self,
        flights: &mut Flights,
        report: &mut DispatchReport,
        hints: &mut Option<usher_bus::Hints>,
        wake: Instant,
        shutdown: &CancellationToken,
    ) {
        let open = self.open_channels(flights, (self.clock)());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = hint(hints, wake) => return,
                () = flights.next(), if flights.len() > 0 => {
                    // The next turn tries again and tells of the error.
                    let settled = self.settle(flights, report).await.is_ok();
                    let now_open = self.open_channels(flights, (self.clock)());
                    if !settled || flights.len() == 0 || now_open != open {
                        return;
                    }
                }
            }
        }
    }

    /// The end: who has not begun goes back, who has may finish, and all outcomes are recorded.
    async fn wind_up(&self, mut flights: Flights, mut report: DispatchReport) {
        flights.stop.waiting.cancel();
        let landing = async {
            while flights.len() > 0 {
                flights.next().await;
                // What cannot be recorded now is tried once more below.
                if let Err(error) = self.settle(&mut flights, &mut report).await {
                    tracing::warn!(error = %chain(&error), "outcomes cannot be recorded yet");
                }
            }
        };
        if tokio::time::timeout(FINISH, landing).await.is_err() {
            tracing::warn!(messages = flights.len(), "messages are broken off by the shutdown");
            flights.stop.sending.cancel();
        }
        let recording = async {
            while flights.len() > 0 {
                flights.next().await;
            }
            self.settle_patiently(&mut flights, &mut report).await
        };
        match tokio::time::timeout(RECORD, recording).await {
            Ok(Ok(())) => {}
            // The leases end, and the deliveries come back as ambiguous.
            Ok(Err(error)) => tracing::error!(error = %chain(&error), "outcomes were lost"),
            Err(_) => tracing::error!("outcomes could not be recorded in time"),
        }
    }
}

fn until(at: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (at - now).to_std().unwrap_or_default().min(IDLE)
}

/// Waits for a hint or the end of the pause.
async fn hint(hints: &mut Option<usher_bus::Hints>, wake: Instant) {
    match hints {
        Some(hints) => drop(hints.wait(wake.saturating_duration_since(Instant::now())).await),
        None => tokio::time::sleep_until(wake).await,
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times.min(7))).min(IDLE)
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
