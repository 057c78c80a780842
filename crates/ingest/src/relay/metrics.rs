//! What the relay counts: each publication as it is marked or fails, not at the end of a pass, which may be long.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use super::RelayReport;

#[derive(Debug, Default)]
pub(super) struct Metrics {
    published: Counter,
    repeated: Counter,
    rejected: Counter,
    failures: Counter,
}

impl Metrics {
    /// Counts what came between two moments of a pass.
    pub(super) fn count(&self, before: RelayReport, after: RelayReport) {
        let more = |before: usize, after: usize| u64::try_from(after - before).unwrap_or(0);
        self.published.inc_by(more(before.published, after.published));
        self.repeated.inc_by(more(before.repeated, after.repeated));
        self.rejected.inc_by(more(before.rejected, after.rejected));
        self.failures.inc_by(more(before.failed, after.failed));
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "usher_relay_events_published",
            "Events that the bus acknowledged and that are marked",
            self.published.clone(),
        );
        registry.register(
            "usher_relay_events_repeated",
            "Events that the stream had already",
            self.repeated.clone(),
        );
        registry.register(
            "usher_relay_rejected_published",
            "Refused commands that were published",
            self.rejected.clone(),
        );
        registry.register(
            "usher_relay_publish_failures",
            "Publications that failed; they stay in the outbox",
            self.failures.clone(),
        );
    }
}
