//! The metrics of the process. Each part counts what it does and adds it to one registry; what lies in the tables is read
//! for each scrape. There is no global: another composition in the same process would have a registry of its own.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text},
    metrics::{family::Family, gauge::ConstGauge, gauge::Gauge},
    registry::Registry,
};
use usher_bus::Bus;
use usher_ingest::http::Exposition;
use usher_scheduler::Clock;
use usher_store::{Readings, Store};

/// What `/metrics` shows: what the parts have registered, and the tables as they are at that moment.
pub(crate) fn exposition(mut registry: Registry, store: Store, bus: Bus, clock: Clock) -> Exposition {
    let moment = Moment::default();
    registry.register_collector(Box::new(moment.clone()));
    build_info(&mut registry);
    let registry = Arc::new(registry);
    Exposition::new(move || {
        let (registry, store, bus, moment) =
            (Arc::clone(&registry), store.clone(), bus.clone(), moment.clone());
        let now = clock();
        async move {
            let readings = store.readings(now).await;
            let readings = readings
                .inspect_err(|error| tracing::warn!(%error, "the queues cannot be read for /metrics"))
                .ok();
            moment.set(Seen { now, readings, bus: bus.is_connected() });
            let mut text = String::new();
            if text::encode(&mut text, &registry).is_err() {
                tracing::error!("the metrics cannot be written");
            }
            text
        }
    })
}

fn build_info(registry: &mut Registry) {
    let build = Family::<[(&str, &str); 1], Gauge>::default();
    build.get_or_create_owned(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
    registry.register("usher_build_info", "The version that runs, always 1", build);
}

/// What was seen at a moment.
#[derive(Debug, Clone, Copy)]
struct Seen {
    now: DateTime<Utc>,
    /// None when the store does not answer; its gauges are then left out rather than shown as they were.
    readings: Option<Readings>,
    bus: bool,
}

/// The last moment that was looked at. Two scrapes at once may each show the later one.
#[derive(Debug, Clone, Default)]
struct Moment(Arc<Mutex<Option<Seen>>>);

impl Moment {
    fn set(&self, seen: Seen) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }
}

impl Collector for Moment {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let seen = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Seen { now, readings, bus }) = seen else { return Ok(()) };
        let mut gauge = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        let flag = |it: bool| if it { 1.0 } else { 0.0 };
        gauge("usher_store_up", "Whether the database answered this scrape", flag(readings.is_some()))?;
        gauge("usher_bus_connected", "Whether NATS is connected; 1 without NATS", flag(bus))?;
        let Some(it) = readings else { return Ok(()) };
        let age =
            |since: Option<DateTime<Utc>>| since.map_or(0.0, |since| (now - since).as_seconds_f64().max(0.0));
        #[expect(clippy::cast_precision_loss, reason = "at most a hundred thousand")]
        let count = |rows: i64| rows as f64;
        let rows = [
            ("usher_outbox_backlog", "Events that are not published yet", it.outbox),
            ("usher_rejected_backlog", "Refused commands that are not published yet", it.rejected),
            ("usher_schedules_due", "Schedules whose due time has come", it.schedules_due),
            ("usher_schedules_overdue", "Schedules due for more than a minute", it.schedules_overdue),
            ("usher_deliveries_due", "Deliveries that may be sent and are not claimed", it.deliveries_due),
            ("usher_deliveries_overdue", "Those for more than a minute", it.deliveries_overdue),
            ("usher_deliveries_leased", "Deliveries that are claimed", it.deliveries_leased),
        ];
        for (name, help, value) in rows {
            gauge(name, help, count(value))?;
        }
        gauge(
            "usher_outbox_oldest_age_seconds",
            "Age of the oldest event that is not published, 0 when there is none",
            age(it.outbox_oldest),
        )?;
        gauge(
            "usher_oldest_due_age_seconds",
            "For how long the oldest schedule or delivery has been due, 0 when none is",
            age(it.oldest_due),
        )?;
        gauge(
            "usher_store_connections",
            "Connections to the database of this process",
            f64::from(it.connections),
        )?;
        gauge("usher_store_connections_idle", "Those that nobody uses", f64::from(it.connections_idle))
    }
}
