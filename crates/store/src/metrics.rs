//! What the store tells of itself. Transactions and outcomes are counted once they are durable; the queues are read when
//! somebody asks, each up to a limit and from an index, and are never polled.

use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use usher_lifecycle::reminder::{Channel, Kind};

use crate::{
    Applied, ApplyError, Delivery, Outcome, Status, Store,
    db::{Arg, Db, statements},
    error::StoreError,
};

/// Rows of a queue that are counted; a longer one shows as this long.
const COUNTED: i64 = 100_000;
/// What is due for longer than this is overdue.
const OVERDUE: TimeDelta = TimeDelta::seconds(60);

statements! {
    READ = "SELECT
        (SELECT COUNT(*) FROM (SELECT 1 AS one FROM events WHERE published_at IS NULL LIMIT $3) AS q) AS outbox,
        (SELECT MIN(occurred_at) FROM (
            SELECT occurred_at FROM (SELECT occurred_at FROM events
                WHERE livemode = TRUE AND published_at IS NULL ORDER BY position LIMIT 1) AS live
            UNION ALL SELECT occurred_at FROM (SELECT occurred_at FROM events
                WHERE livemode = FALSE AND published_at IS NULL ORDER BY position LIMIT 1) AS test) AS q) AS outbox_oldest,
        (SELECT COUNT(*) FROM (SELECT 1 AS one FROM rejected WHERE published_at IS NULL LIMIT $3) AS q) AS rejected,
        (SELECT COUNT(*) FROM (SELECT 1 AS one FROM schedules WHERE due_at <= $1 LIMIT $3) AS q) AS schedules_due,
        (SELECT COUNT(*) FROM (SELECT 1 AS one FROM schedules WHERE due_at <= $2 LIMIT $3) AS q) AS schedules_overdue,
        (SELECT MIN(due_at) FROM schedules WHERE due_at IS NOT NULL) AS schedules_oldest,
        (SELECT COUNT(*) FROM (SELECT 1 AS one FROM deliveries
            WHERE status = 'pending' AND lease_until IS NULL AND send_after <= $1 LIMIT $3) AS q) AS deliveries_due,
        (SELECT COUNT(*) FROM (SELECT 1 AS one FROM deliveries
            WHERE status = 'pending' AND lease_until IS NULL AND send_after <= $2 LIMIT $3) AS q) AS deliveries_overdue,
        (SELECT COUNT(*) FROM (SELECT 1 AS one FROM deliveries
            WHERE status = 'pending' AND lease_until IS NOT NULL LIMIT $3) AS q) AS deliveries_leased,
        (SELECT MIN(send_after) FROM deliveries WHERE status = 'pending' AND lease_until IS NULL) AS deliveries_oldest";
}

/// The queues and connections at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Readings {
    /// Events that are not published; at most 100,000 are counted, here and below.
    pub outbox: i64,
    /// When the first of them happened.
    pub outbox_oldest: Option<DateTime<Utc>>,
    /// Refused commands that are not published.
    pub rejected: i64,
    /// Schedules whose due time has come.
    pub schedules_due: i64,
    /// Those for more than a minute.
    pub schedules_overdue: i64,
    /// Deliveries that may be sent and are not claimed.
    pub deliveries_due: i64,
    /// Those for more than a minute.
    pub deliveries_overdue: i64,
    /// Deliveries that somebody has claimed.
    pub deliveries_leased: i64,
    /// The earliest due time of the schedules and unclaimed deliveries that are due.
    pub oldest_due: Option<DateTime<Utc>>,
    /// Connections to the database of this process.
    pub connections: u32,
    /// Those that nobody uses.
    pub connections_idle: u32,
}

/// What becomes of a request.
const OUTCOMES: [&str; 6] = ["committed", "unchanged", "superseded", "duplicate", "refused", "failed"];

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Counts of what this process did.
#[derive(Debug)]
pub(crate) struct Metrics {
    batches: Histogram,
    requests: Family<Labels<1>, Counter>,
    deliveries: Family<Labels<3>, Counter>,
    lag: Family<Labels<1>, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    /// Every series is there from the start: a rate over one that appears later misses its first count.
    fn default() -> Self {
        let metrics = Self {
            batches: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            requests: Family::default(),
            deliveries: Family::default(),
            lag: Family::new_with_constructor(lag),
        };
        for outcome in OUTCOMES {
            drop(metrics.requests.get_or_create(&[("outcome", outcome)]));
        }
        for channel in Channel::ALL {
            drop(metrics.lag.get_or_create(&[("channel", channel.as_str())]));
            for kind in Kind::ALL.into_iter().filter(|kind| kind.goes_by(channel)) {
                for status in
                    [Status::Sent, Status::Failed, Status::Ambiguous, Status::Skipped, Status::Pending]
                {
                    drop(metrics.deliveries.get_or_create(&labels(kind, Some(channel), status)));
                }
            }
        }
        metrics
    }
}

/// From a tenth of a second to two weeks.
fn lag() -> Histogram {
    let bounds =
        [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, 604_800.0];
    Histogram::new(bounds)
}

const fn labels(kind: Kind, channel: Option<Channel>, status: Status) -> Labels<3> {
    let channel = match channel {
        Some(channel) => channel.as_str(),
        None => "none",
    };
    [("kind", kind.as_str()), ("channel", channel), ("outcome", status.as_str())]
}

impl Metrics {
    pub(crate) fn applied(&self, answers: &[Result<Applied, ApplyError>], took: std::time::Duration) {
        self.batches.observe(took.as_secs_f64());
        for answer in answers {
            let outcome = match answer {
                Ok(applied) => match applied.outcome {
                    Outcome::Committed => "committed",
                    Outcome::Unchanged => "unchanged",
                    Outcome::Superseded => "superseded",
                    Outcome::Duplicate => "duplicate",
                },
                Err(ApplyError::Refused(_)) => "refused",
                Err(ApplyError::Store(_)) => "failed",
            };
            self.requests.get_or_create(&[("outcome", outcome)]).inc();
        }
    }

    /// Counts rows of the ledger as they stand after a commit.
    pub(crate) fn recorded<'a>(&self, rows: impl Iterator<Item = &'a Delivery>) {
        for row in rows {
            self.deliveries.get_or_create(&labels(row.kind, row.channel, row.status)).inc();
            if let (Some(channel), Some(sent_at), Status::Sent) = (row.channel, row.sent_at, row.status) {
                let lag = (sent_at - row.due_at).as_seconds_f64().max(0.0);
                self.lag.get_or_create(&[("channel", channel.as_str())]).observe(lag);
            }
        }
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "usher_apply_duration_seconds",
            "Time of one batch of commands, from the load to the commit",
            self.batches.clone(),
        );
        registry.register("usher_apply_requests", "Commands by what became of them", self.requests.clone());
        registry.register(
            "usher_deliveries",
            "Ledger rows by kind, channel and outcome (pending: given back, to be tried later)",
            self.deliveries.clone(),
        );
        registry.register(
            "usher_reminder_lag_seconds",
            "From the due time of a reminder to its acceptance by the channel",
            self.lag.clone(),
        );
    }
}

impl Store {
    /// Adds what the store counts to the registry.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics().register(registry);
    }

    /// The queues and connections as they are now: one statement, each queue counted up to a limit.
    pub async fn readings(&self, now: DateTime<Utc>) -> Result<Readings, StoreError> {
        let args = vec![Arg::time(now), Arg::time(now - OVERDUE), Arg::int(COUNTED)];
        // Planned for the time that it is: for any time, Postgres supposes that a third of all is due, and reads tables.
        let row = self.db().list(&READ, args).await?.into_iter().next();
        let row = row.ok_or_else(|| StoreError::Bug("no readings".into()))?;
        let (connections, idle) = match self.db() {
            Db::Postgres(pool) => (pool.size(), pool.num_idle()),
            Db::Sqlite { writer, readers } => {
                (writer.size() + readers.size(), writer.num_idle() + readers.num_idle())
            }
        };
        let oldest = [row.opt_time("schedules_oldest")?, row.opt_time("deliveries_oldest")?];
        Ok(Readings {
            outbox: row.int("outbox")?,
            outbox_oldest: row.opt_time("outbox_oldest")?,
            rejected: row.int("rejected")?,
            schedules_due: row.int("schedules_due")?,
            schedules_overdue: row.int("schedules_overdue")?,
            deliveries_due: row.int("deliveries_due")?,
            deliveries_overdue: row.int("deliveries_overdue")?,
            deliveries_leased: row.int("deliveries_leased")?,
            oldest_due: oldest.into_iter().flatten().min().filter(|oldest| *oldest <= now),
            connections,
            connections_idle: u32::try_from(idle).unwrap_or(u32::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use usher_lifecycle::{Code, Refusal};

    use super::*;
    use crate::StoreError;

    /// One answer of each kind; a new outcome is a compile error in `applied`, and counted here.
    fn answers() -> Vec<Result<Applied, ApplyError>> {
        let outcomes = [Outcome::Committed, Outcome::Unchanged, Outcome::Superseded, Outcome::Duplicate];
        let applied =
            |outcome| Applied { outcome, id: String::new(), version: 1, body: String::new(), status: None };
        let refused = Err(ApplyError::Refused(Refusal::new(Code::MissingField, "no")));
        let failed = Err(ApplyError::Store(Arc::new(StoreError::Closed)));
        outcomes.map(|outcome| Ok(applied(outcome))).into_iter().chain([refused, failed]).collect()
    }

    #[test]
    fn every_outcome_is_there_from_the_start() {
        let shown = |metrics: &Metrics| {
            let mut registry = Registry::default();
            metrics.register(&mut registry);
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
            let rows = text.lines().filter_map(|line| line.strip_prefix("usher_apply_requests_total"));
            let mut rows: Vec<String> = rows.map(str::to_owned).collect();
            rows.sort();
            rows
        };
        let metrics = Metrics::default();
        let before = shown(&metrics);
        assert!(before.iter().all(|row| row.ends_with(" 0")), "{before:?}");
        metrics.applied(&answers(), std::time::Duration::ZERO);
        let after: Vec<String> = before.iter().map(|row| row.replace(" 0", " 1")).collect();
        assert_eq!(shown(&metrics), after);
    }
}
