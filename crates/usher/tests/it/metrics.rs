//! `/metrics` of both processes: what changes, and why, and that the documentation lists all of it.

#![expect(clippy::float_cmp, reason = "what is counted is whole")]

use std::{collections::BTreeSet, path::Path};

use serde_json::json;
use usher_testkit::{http, nats::Nats, process::wait_for_file, smtp::Sink};

use crate::{
    foreign::Foreign,
    service::{PATIENCE, eventually},
    split::{Split, at},
};

/// One scrape.
pub(crate) struct Scrape(String);

impl Scrape {
    /// Of the process that wrote its address to that file.
    pub(crate) async fn of(address: &Path) -> anyhow::Result<Self> {
        wait_for_file(address, PATIENCE).await?;
        let url = format!("http://{}/metrics", std::fs::read_to_string(address)?);
        let reply = http::request("GET", &url, &[], "").await?;
        anyhow::ensure!(reply.status == 200, "{}: {}", reply.status, reply.text());
        let kind = reply.header("content-type").unwrap_or_default();
        anyhow::ensure!(kind.starts_with("application/openmetrics-text"), "{kind}");
        anyhow::ensure!(reply.text().ends_with("# EOF\n"), "{}", reply.text());
        Ok(Self(reply.text()))
    }

    /// The value of a series, written as the exposition writes it; 0 when it is not there.
    fn value(&self, series: &str) -> f64 {
        self.shown(series).unwrap_or(0.0)
    }

    /// The value of a series that is there.
    pub(crate) fn shown(&self, series: &str) -> Option<f64> {
        let value = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok())
    }

    /// Name and type of each metric.
    fn kinds(&self) -> BTreeSet<(String, String)> {
        let kinds = self.0.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let total =
            |name: &str, kind: &str| format!("{name}{}", if kind == "counter" { "_total" } else { "" });
        kinds.map(|(name, kind)| (total(name, kind), kind.to_owned())).collect()
    }
}

/// The rows of the table in the documentation.
fn documented() -> BTreeSet<(String, String)> {
    let rows =
        include_str!("../../../../docs/operations.md").lines().filter_map(|it| it.strip_prefix("| `usher_"));
    let row = |row: &str| {
        let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
        Some((format!("usher_{}", cells.next()?), cells.next()?))
    };
    rows.filter_map(row).collect()
}

#[tokio::test]
async fn metrics_change_for_a_reason_and_the_documentation_lists_them_all() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let (server, sink) = (Nats::start().await?, Sink::start().await?);
    let split = Split::new(&server, &sink).await?;
    let eight = at("2026-03-03T08:00:00Z");
    let (ingest, scheduler) =
        tokio::try_join!(split.start("ingest", eight), split.start("scheduler", eight))?;
    let (way_in, way_out) =
        (split.ingest_dir.path().join("http.addr"), split.scheduler_dir.path().join("scheduler.addr"));
    let api = split.api().await?;

    // Requests and commands.
    api.expect(201, "POST", "/users", json!({"name": "Ada", "email": "ada@story.example"})).await?;
    let acme = api.expect(201, "POST", "/customers", json!({"name": "Acme"})).await?;
    api.expect(400, "POST", "/customers", json!({"name": ""})).await?;
    api.expect(404, "GET", "/nothing", json!(null)).await?;
    let good = json!({"customer_id": acme["id"], "csm_id": "ada@story.example"});
    let bad = json!({"customer_id": acme["id"], "reminder_frequency_days": 0});
    let mut upstream = Foreign::connect(&split.nats).await?;
    upstream.publish("usher.commands.main.onboarding.create", "good", &good).await?;
    upstream.publish("usher.commands.main.onboarding.create", "bad", &bad).await?;
    upstream.flush().await?;
    eventually("both commands", || async {
        let seen = Scrape::of(&way_in).await?;
        let rejected = seen.value("usher_intake_messages_total{outcome=\"rejected\"}");
        Ok((rejected == 1.0 && seen.value("usher_intake_messages_total{outcome=\"committed\"}") == 1.0)
            .then_some(()))
    })
    .await?;
    let seen = Scrape::of(&way_in).await?;
    let requests = |method, route, status| {
        format!("usher_http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}")
    };
    assert_eq!(seen.value(&requests("POST", "/api/v1/customers", 201)), 1.0, "{}", seen.0);
    assert_eq!(seen.value(&requests("POST", "/api/v1/customers", 400)), 1.0);
    assert_eq!(seen.value(&requests("GET", "none", 404)), 1.0);
    let timed = "usher_http_request_duration_seconds_count{method=\"POST\",route=\"/api/v1/customers\"}";
    assert_eq!(seen.value(timed), 2.0);
    assert_eq!(seen.value("usher_apply_requests_total{outcome=\"committed\"}"), 3.0);
    assert_eq!(seen.value("usher_intake_lag_seconds_count"), 2.0);

    // The outbox, of which either process may publish.
    let published = || async {
        let (one, other) = tokio::try_join!(Scrape::of(&way_in), Scrape::of(&way_out))?;
        let name = "usher_relay_events_published_total";
        anyhow::Ok((one.value("usher_outbox_backlog"), one.value(name) + other.value(name)))
    };
    eventually("an empty outbox", || async { Ok((published().await? == (0.0, 3.0)).then_some(())) }).await?;
    server.kill().await?;
    api.expect(201, "POST", "/customers", json!({"name": "Initech"})).await?;
    eventually("a backlog that grows old", || async {
        let seen = Scrape::of(&way_in).await?;
        let (backlog, age) =
            (seen.value("usher_outbox_backlog"), seen.value("usher_outbox_oldest_age_seconds"));
        Ok((backlog == 1.0 && age > 0.0 && seen.value("usher_bus_connected") == 0.0).then_some(()))
    })
    .await?;
    server.restart().await?;
    eventually("an empty outbox", || async { Ok((published().await? == (0.0, 4.0)).then_some(())) }).await?;
    assert_eq!(Scrape::of(&way_in).await?.value("usher_outbox_oldest_age_seconds"), 0.0);

    // A reminder.
    api.expect(202, "POST", "/onboardings/1/reminders", json!(null)).await?;
    sink.wait_for(1, PATIENCE).await;
    let seen = eventually("the recorded reminder", || async {
        let seen = Scrape::of(&way_out).await?;
        let sent = seen.value("usher_deliveries_total{kind=\"manual\",channel=\"email\",outcome=\"sent\"}");
        Ok((sent == 1.0).then_some(seen))
    })
    .await?;
    assert_eq!(seen.value("usher_messages_total{channel=\"email\",outcome=\"accepted\"}"), 1.0);
    assert_eq!(seen.value("usher_messages_total{channel=\"slack\",outcome=\"accepted\"}"), 0.0);
    assert_eq!(seen.value("usher_reminder_lag_seconds_count{channel=\"email\"}"), 1.0);
    assert_eq!(seen.value("usher_schedules_due"), 0.0);

    let mut shown = Scrape::of(&way_in).await?.kinds();
    shown.extend(seen.kinds());
    assert_eq!(shown, documented());
    for process in [ingest, scheduler] {
        process.terminate()?;
        assert_eq!(process.wait_exit(PATIENCE).await?.0, 0);
    }
    Ok(())
}

const COMMANDS: u32 = 1_500;

/// Commands that come as fast as they can be published; the backlog of the outbox goes by itself.
#[tokio::test]
async fn the_relay_keeps_up_with_the_intake() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let (server, sink) = (Nats::start().await?, Sink::start().await?);
    let split = Split::new(&server, &sink).await?;
    let ingest = split.start("ingest", at("2026-03-03T08:00:00Z")).await?;
    let way_in = split.ingest_dir.path().join("http.addr");
    let api = split.api().await?;
    let acme = api.expect(201, "POST", "/customers", json!({"name": "Acme"})).await?;
    let mut upstream = Foreign::connect(&split.nats).await?;
    let began = tokio::time::Instant::now();
    for number in 0..COMMANDS {
        let create = json!({"customer_id": acme["id"], "external_id": format!("k-{number}")});
        upstream.publish("usher.commands.main.onboarding.create", &number.to_string(), &create).await?;
    }
    upstream.flush().await?;
    eventually("every command is committed", || async {
        let seen = Scrape::of(&way_in).await?;
        let committed = seen.value("usher_intake_messages_total{outcome=\"committed\"}");
        Ok((committed == f64::from(COMMANDS)).then_some(()))
    })
    .await?;
    let taken = began.elapsed();
    // One of the customer, one of each onboarding.
    eventually("every event is published", || async {
        let seen = Scrape::of(&way_in).await?;
        let published = seen.value("usher_relay_events_published_total") == f64::from(COMMANDS + 1);
        Ok((published && seen.shown("usher_outbox_backlog") == Some(0.0)).then_some(()))
    })
    .await?;
    let published = began.elapsed();
    assert!(published < taken * 2 + PATIENCE / 10, "in after {taken:?}, out after {published:?}");
    assert_eq!(Scrape::of(&way_in).await?.shown("usher_outbox_oldest_age_seconds"), Some(0.0));
    ingest.terminate()?;
    assert_eq!(ingest.wait_exit(PATIENCE).await?.0, 0);
    Ok(())
}
