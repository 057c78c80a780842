//! What the scheduler counts. Outcomes of deliveries are counted by the store, once they are durable.

use std::time::Duration;

use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use usher_lifecycle::reminder::Channel;

use crate::channel::Outcome;

type Labels<const N: usize> = [(&'static str, &'static str); N];

#[derive(Debug)]
pub(crate) struct Metrics {
    plans: Histogram,
    claims: Histogram,
    messages: Family<Labels<2>, Counter>,
    sends: Family<Labels<1>, Histogram, fn() -> Histogram>,
    throttled: Counter,
    late: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let times: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let (messages, sends) =
            (Family::<Labels<2>, Counter>::default(), Family::<Labels<1>, _, _>::new_with_constructor(times));
        for channel in Channel::ALL.map(Channel::as_str) {
            drop(sends.get_or_create_owned(&[("channel", channel)]));
            for outcome in Outcome::LABELS {
                drop(messages.get_or_create_owned(&[("channel", channel), ("outcome", outcome)]));
            }
        }
        let (throttled, late) = Default::default();
        Self { plans: times(), claims: times(), messages, sends, throttled, late }
    }
}

impl Metrics {
    pub(crate) fn planned(&self, took: Duration) {
        self.plans.observe(took.as_secs_f64());
    }

    pub(crate) fn claimed(&self, took: Duration) {
        self.claims.observe(took.as_secs_f64());
    }

    /// Counts one attempt. What Slack's own pace holds back has not been attempted, and counts as throttled only.
    pub(crate) fn attempted(&self, channel: Channel, outcome: &Outcome, took: Duration) {
        if let (Channel::Slack, Outcome::RefusedForNow { counts: false, .. }) = (channel, outcome) {
            self.throttled.inc();
            return;
        }
        let (channel, outcome) = (channel.as_str(), outcome.label());
        self.sends.get_or_create_owned(&[("channel", channel)]).observe(took.as_secs_f64());
        self.messages.get_or_create(&[("channel", channel), ("outcome", outcome)]).inc();
    }

    pub(crate) fn came_late(&self, outcomes: u64) {
        self.late.inc_by(outcomes);
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "usher_plan_batch_duration_seconds",
            "Time of one batch of due schedules and requests becoming ledger rows",
            self.plans.clone(),
        );
        registry.register(
            "usher_dispatch_batch_duration_seconds",
            "Time of claiming deliveries and reading the records around them",
            self.claims.clone(),
        );
        registry.register(
            "usher_messages",
            "Messages attempted, by channel and answer",
            self.messages.clone(),
        );
        registry.register(
            "usher_send_duration_seconds",
            "Time of one attempt, the wait for a connection or a turn included",
            self.sends.clone(),
        );
        registry.register(
            "usher_slack_throttled",
            "Messages that Slack, or the pace kept for it, held back",
            self.throttled.clone(),
        );
        registry.register(
            "usher_deliveries_late",
            "Outcomes that came after their lease and were not recorded",
            self.late.clone(),
        );
    }
}
