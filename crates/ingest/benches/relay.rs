//! The relay next to what bounds it, in alternating rounds of one run: events/s from the outbox to a stream, each marked;
//! messages/s of the same kind published in windows and nothing else; creates/s of the store that makes the events, 256
//! at a time.
//!
//! `cargo bench -p usher-ingest --bench relay`. Servers and clients share this machine's cores, so only the ratios say
//! something. The database keeps its promises (fsync on).
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on fails")]
#![expect(clippy::cast_precision_loss, reason = "rough figures")]

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use usher_bus::{Bus, Headers, Nats, Outgoing, Settings};
use usher_ingest::relay::Relay;
use usher_lifecycle::{
    Command,
    command::{CreateCustomer, CreateOnboarding},
    customer::{CustomerFields, CustomerStatus},
    event::Actor,
    reminder::Rules,
};
use usher_store::{Bootstrap, Dedupe, Request, Store};

const ROUNDS: usize = 5;
const EVENTS: usize = 20_000;
const AT_ONCE: usize = 256;
const WINDOW: usize = 1_000;

fn main() {
    // `cargo test --benches` only wants to see that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        println!(
            "{:<10} {:>10} {:>12} {:>10} {:>12} {:>14}",
            "", "relay/s", "publish/s", "creates/s", "of publish", "times creates"
        );
        let dir = tempfile::tempdir().unwrap();
        all("SQLite", &format!("sqlite://{}/usher.db", dir.path().display())).await;
        let postgres = usher_testkit::postgres::Postgres::start().await.unwrap();
        // The test kit's server forgets on purpose what a crash of the machine would lose; this one must not.
        for statement in ["ALTER SYSTEM SET fsync = on", "SELECT pg_reload_conf()"] {
            let psql = std::process::Command::new("psql")
                .args(["--quiet", "--no-psqlrc", "--command", statement, &postgres.url("postgres")])
                .output();
            assert!(psql.unwrap().status.success(), "{statement}");
        }
        all("Postgres", &postgres.url("postgres")).await;
    });
}

fn now() -> DateTime<Utc> {
    "2026-03-02T08:00:00Z".parse().unwrap()
}

async fn all(name: &str, url: &str) {
    let store = Store::connect(url, 8).await.unwrap();
    store.migrate().await.unwrap();
    let first =
        Bootstrap { slug: "bench".into(), name: "Bench".into(), rules: Rules::default(), secret: None };
    let workspace = store.bootstrap(&first, now()).await.unwrap().unwrap().workspace.id;
    let request = |command| Request {
        workspace_id: workspace,
        livemode: true,
        command,
        target: None,
        actor: Actor::system(),
        dedupe: Dedupe::None,
        expected_version: None,
        traceparent: None,
    };
    let customer = Command::CreateCustomer(CreateCustomer { fields: customer() });
    let customer = store.apply(request(customer), now()).await.unwrap().id;
    let server = usher_testkit::nats::Nats::start().await.unwrap();
    let nats = Nats::connect(Settings::new(&server.url())).await.unwrap();
    nats.ensure_streams().await.unwrap();
    let mut relay = Relay::new(store.clone(), Bus::Nats(nats.clone()), Arc::new(now));

    let (mut relayed, mut published, mut made) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let started = Instant::now();
        let create = CreateOnboarding { customer: customer.clone(), ..Default::default() };
        let creates =
            (0..EVENTS).map(|_| store.apply(request(Command::CreateOnboarding(create.clone())), now()));
        stream::iter(creates).buffer_unordered(AT_ONCE).for_each(async |done| drop(done.unwrap())).await;
        let creating = rate(started);

        let size = payload(&store).await;
        let started = Instant::now();
        let report = relay.pass().await.unwrap();
        assert!(report.published >= EVENTS && report.failed == 0, "{report:?}");
        let relaying = rate(started);

        let started = Instant::now();
        for window in 0..EVENTS / WINDOW {
            let messages = (0..WINDOW).map(|n| Outgoing {
                subject: "usher.events.bench.onboarding.created".into(),
                headers: Headers::new()
                    .with("Content-Type", usher_bus::CLOUDEVENTS_JSON)
                    .with("Nats-Msg-Id", format!("{round}-{window}-{n}")),
                payload: Bytes::from(vec![b'x'; size]),
            });
            assert!(nats.publish_window(messages.collect()).await.iter().all(Result::is_ok));
        }
        // The first round warms up.
        if round > 0 {
            made.push(creating);
            relayed.push(relaying);
            published.push(rate(started));
        }
    }
    let (relayed, published, made) = (median(relayed), median(published), median(made));
    println!(
        "{name:<10} {relayed:>10.0} {published:>12.0} {made:>10.0} {:>12.2} {:>14.1}",
        relayed / published,
        relayed / made
    );
    store.close().await;
}

/// The size of an event's `data`, which is most of the message.
async fn payload(store: &Store) -> usize {
    let shards: Vec<i64> = (0..16).collect();
    let events = store.unpublished(true, &shards, &[], 10).await.unwrap();
    events.last().unwrap().data.get().len() + 400
}

fn rate(started: Instant) -> f64 {
    EVENTS as f64 / started.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn customer() -> CustomerFields {
    CustomerFields {
        name: "Acme".into(),
        slug: None,
        domain: None,
        status: CustomerStatus::Onboarding,
        plan: None,
        mrr: None,
        monthly_orders: None,
        hubspot_company_id: None,
        hubspot_deal_id: None,
        stripe_customer_id: None,
        intercom_company_id: None,
        slack_channel_id: None,
        external_id: None,
        metadata: serde_json::Map::new(),
    }
}
