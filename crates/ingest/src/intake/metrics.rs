//! What the intake counts.

use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use usher_bus::Delivery;

use super::Verdict;

/// An advisory about a message that was delivered as often as its consumer allows.
pub(super) const GIVEN_UP: &str = "given_up";
/// An advisory about a message that somebody else ended.
pub(super) const ENDED: &str = "ended";

#[derive(Debug)]
pub(super) struct Metrics {
    messages: Family<[(&'static str, &'static str); 1], Counter>,
    lag: Histogram,
    batches: Histogram,
    waiting: Gauge,
    /// What JetStream gave up, or somebody else ended.
    pub(super) advisories: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let messages = Family::<[(&str, &str); 1], Counter>::default();
        for outcome in ["committed", "unchanged", "rejected", "later"] {
            drop(messages.get_or_create_owned(&[("outcome", outcome)]));
        }
        let advisories = Family::<[(&str, &str); 1], Counter>::default();
        for kind in [GIVEN_UP, ENDED] {
            drop(advisories.get_or_create_owned(&[("kind", kind)]));
        }
        let lag = Histogram::new(exponential_buckets(0.005, 3.0, 14));
        let batches = Histogram::new(exponential_buckets(0.001, 2.0, 15));
        Self { messages, lag, batches, waiting: Gauge::default(), advisories }
    }
}

impl Metrics {
    /// Counts a batch that was handled. The lag of what comes again later counts when it is settled.
    pub(super) fn taken(&self, batch: &[Delivery], verdicts: &[Verdict], now: DateTime<Utc>, took: Duration) {
        self.batches.observe(took.as_secs_f64());
        for (delivery, verdict) in batch.iter().zip(verdicts) {
            let outcome = match verdict {
                Verdict::Committed => "committed",
                Verdict::Unchanged => "unchanged",
                Verdict::Rejected => "rejected",
                Verdict::Later(_) | Verdict::Away => "later",
            };
            self.messages.get_or_create(&[("outcome", outcome)]).inc();
            match verdict {
                Verdict::Committed | Verdict::Unchanged | Verdict::Rejected => {
                    self.lag.observe((now - delivery.published_at).as_seconds_f64().max(0.0));
                }
                Verdict::Later(_) | Verdict::Away => {}
            }
        }
        if let Some(last) = batch.last() {
            self.waiting.set(i64::try_from(last.behind).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("usher_intake_messages", "Commands from NATS by outcome", self.messages.clone());
        registry.register(
            "usher_intake_lag_seconds",
            "From the arrival of a command in its stream to its durable effect or rejection",
            self.lag.clone(),
        );
        registry.register(
            "usher_intake_batch_duration_seconds",
            "Time of a batch of commands, acknowledgements included",
            self.batches.clone(),
        );
        registry.register(
            "usher_intake_waiting",
            "Commands in the stream that nobody has been given yet, as the last message told",
            self.waiting.clone(),
        );
        registry.register(
            "usher_intake_advisories",
            "Commands that JetStream gave up or somebody else ended",
            self.advisories.clone(),
        );
    }
}
