//! From the outbox to NATS, whatever fails on the way.

use std::{collections::HashMap, sync::Arc};

use axum::body::Body;
use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use usher_bus::{Bus, Local, Nats, Settings};
use usher_ingest::relay::{Relay, RelayReport};
use usher_testkit::skip_without_servers;

use crate::{
    app::{TestApp, on_both_engines},
    wire::{PATIENCE, Stored, Wire, eventually},
};

on_both_engines! {
    events_come_out_as_cloud_events,
    nothing_is_lost_while_nats_is_killed_and_comes_back,
    first_publications_are_in_order_under_eight_updaters,
    two_relays_publish_each_event_once,
    another_relay_takes_over_when_the_lease_ends,
}

pub(crate) async fn patch(app: &TestApp, id: &Value, notes: &str) {
    app.patch(&format!("onboardings/{}", id.as_str().unwrap()), json!({"notes": notes})).await.ok();
}

/// Version and ordinal of each event, by subject, in the order of the messages; repeats left out.
pub(crate) fn firsts(events: &[Stored]) -> HashMap<String, Vec<(i64, i64)>> {
    let mut subjects: HashMap<String, Vec<(i64, i64)>> = HashMap::new();
    for event in events {
        let event = event.json();
        let place =
            (event["sequence"].as_str().unwrap().parse().unwrap(), event["ordinal"].as_i64().unwrap());
        let places = subjects.entry(event["subject"].as_str().unwrap().to_owned()).or_default();
        if !places.contains(&place) {
            places.push(place);
        }
    }
    subjects
}

pub(crate) fn assert_in_order(events: &[Stored]) {
    for (subject, places) in firsts(events) {
        let mut sorted = places.clone();
        sorted.sort_unstable();
        assert_eq!(places, sorted, "{subject}");
    }
}

async fn events_come_out_as_cloud_events(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let live = app.onboarding().await;
    let test = TestApp::request_with(&app.test, "POST", "users").header("content-type", "application/json");
    let body = json!({"name": "Ada", "email": "ada@example.com"}).to_string();
    assert_eq!(app.send(test.body(Body::from(body)).unwrap()).await.status, 201);
    let mut relay = wire.relay(app);
    let report = relay.pass().await.unwrap();
    assert_eq!(report, RelayReport { published: 3, ..RelayReport::default() });
    assert_eq!(relay.pass().await.unwrap(), RelayReport::default());

    let events = wire.events().await;
    let subjects: Vec<_> = events.iter().map(|event| event.subject.as_str()).collect();
    assert_eq!(subjects, ["usher.events.acme.customer.created", "usher.events.acme.onboarding.created"]);
    let event = events[1].json();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["source"], "/usher/acme");
    assert_eq!(event["type"], "onboarding.created");
    assert_eq!(event["subject"], live["id"]);
    assert_eq!((&event["sequence"], &event["ordinal"]), (&json!("1"), &json!(0)));
    assert_eq!(event["data"]["object"], live, "exactly what the API returns");
    assert_eq!(event["data"]["actor"]["type"], "api_key");
    let id = format!("/usher/acme/{}", event["id"].as_str().unwrap());
    assert_eq!(events[1].header("nats-msg-id"), Some(id.as_str()));
    assert_eq!(events[1].header("content-type"), Some("application/cloudevents+json"));
    let test = wire.stored("USHER_TEST_EVENTS").await;
    assert_eq!(test.len(), 1);
    assert_eq!(test[0].subject, "usher.test.events.acme.user.created");
}

async fn nothing_is_lost_while_nats_is_killed_and_comes_back(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let work = wire.at_work(app);
    let id = app.onboarding().await["id"].clone();
    for n in 0..40 {
        match n {
            10 => wire.server.kill().await.unwrap(),
            30 => wire.server.restart().await.unwrap(),
            _ => {}
        }
        patch(app, &id, &format!("note {n}")).await;
        work.wake.notify_one();
    }
    eventually("all events are there", || async { wire.count("USHER_EVENTS").await >= 42 }).await;
    eventually("all events are marked", || async { app.store.outbox_backlog().await.unwrap().0 == 0 }).await;
    work.end().await;
    let events = wire.events().await;
    assert_in_order(&events);
    assert_eq!(firsts(&events)[id.as_str().unwrap()].len(), 41);
}

async fn first_publications_are_in_order_under_eight_updaters(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let mut seen = wire.nats.listen("usher.events.acme.onboarding.>").await.unwrap();
    let work = wire.at_work(app);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(app.onboarding().await["id"].clone());
    }
    let updates = (0..8).map(|updater| {
        let (ids, wake) = (&ids, Arc::clone(&work.wake));
        async move {
            for n in 0..15 {
                patch(app, &ids[(updater + n) % 3], &format!("{updater}: {n}")).await;
                wake.notify_one();
            }
        }
    });
    futures_util::future::join_all(updates).await;
    let mut events = Vec::new();
    while events.len() < 3 + 8 * 15 {
        let message = tokio::time::timeout(PATIENCE, seen.next()).await.expect("all come");
        let headers = String::new();
        events.push(Stored { subject: message.subject, headers, payload: message.payload.to_vec() });
    }
    work.end().await;
    assert_in_order(&events);
    for id in &ids {
        let versions: Vec<_> =
            firsts(&events)[id.as_str().unwrap()].iter().map(|(version, _)| *version).collect();
        assert_eq!(versions, (1..=41).collect::<Vec<_>>(), "without a gap");
    }
}

async fn two_relays_publish_each_event_once(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let mut seen = wire.nats.listen("usher.events.>").await.unwrap();
    let wakes = [Arc::new(Notify::new()), Arc::new(Notify::new())];
    let shutdowns = [CancellationToken::new(), CancellationToken::new()];
    let run = |n: usize| tokio::spawn(wire.relay(app).run(shutdowns[n].clone(), Arc::clone(&wakes[n])));
    let relays = [run(0), run(1)];
    for _ in 0..10 {
        app.onboarding().await;
        for wake in &wakes {
            wake.notify_one();
        }
    }
    eventually("all are published", || async { app.store.outbox_backlog().await.unwrap().0 == 0 }).await;
    assert_eq!(wire.count("USHER_EVENTS").await, 20);
    for (relay, shutdown) in relays.into_iter().zip(shutdowns) {
        shutdown.cancel();
        tokio::time::timeout(PATIENCE, relay).await.expect("it ends").unwrap();
    }
    let mut sent = 0;
    while sent < 20 {
        tokio::time::timeout(PATIENCE, seen.next()).await.expect("all come");
        sent += 1;
    }
    // Both gave their leases back: a third need not wait for their end. What it publishes comes next, not a repeat.
    app.onboarding().await;
    assert_eq!(wire.relay(app).pass().await.unwrap(), RelayReport { published: 2, ..RelayReport::default() });
    let next = tokio::time::timeout(PATIENCE, seen.next()).await.expect("it comes");
    assert_eq!(next.headers.get("nats-msg-id"), wire.events().await[20].header("nats-msg-id"));
}

async fn another_relay_takes_over_when_the_lease_ends(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let (mut first, mut second) = (wire.relay(app), wire.relay(app));
    app.onboarding().await;
    assert_eq!(first.pass().await.unwrap().published, 2);
    // The first one stalls. While its lease lasts, nobody else publishes.
    app.onboarding().await;
    assert_eq!(second.pass().await.unwrap(), RelayReport::default());
    wire.clock.advance(TimeDelta::seconds(14));
    assert_eq!(second.pass().await.unwrap(), RelayReport::default());
    wire.clock.advance(TimeDelta::seconds(6));
    assert_eq!(second.pass().await.unwrap().published, 2);
    // It wakes up late and leaves the work to the other.
    app.onboarding().await;
    assert_eq!(first.pass().await.unwrap(), RelayReport::default());
    assert_eq!(second.pass().await.unwrap().published, 2);
    second.release().await.unwrap();
    wire.clock.advance(TimeDelta::seconds(6));
    app.onboarding().await;
    assert_eq!(first.pass().await.unwrap().published, 2);
}

#[tokio::test]
async fn in_process_everything_is_published() {
    let app = TestApp::sqlite().await;
    let local = Local::new();
    let mut events = local.listen();
    let clock = usher_testkit::clock::VirtualClock::new(crate::app::start());
    let mut relay = Relay::new(app.store.clone(), Bus::Local(local), clock.as_fn());
    app.onboarding().await;
    assert_eq!(relay.pass().await.unwrap().published, 2);
    assert_eq!(events.recv().await.unwrap().subject, "usher.events.acme.customer.created");
    assert_eq!(events.recv().await.unwrap().subject, "usher.events.acme.onboarding.created");
    assert_eq!(app.store.outbox_backlog().await.unwrap().0, 0);
}

#[tokio::test]
async fn a_commit_of_another_process_is_found_by_its_hint() {
    skip_without_servers!();
    let (app, wire) = (TestApp::sqlite().await, Wire::new().await);
    let work = wire.at_work(&app);
    let other = Bus::Nats(Nats::connect(Settings::new(&wire.server.url())).await.unwrap());
    app.onboarding().await;
    // Nobody calls `wake`.
    eventually("the events are published", || async {
        other.hint_due().await;
        wire.count("USHER_EVENTS").await == 2
    })
    .await;
    work.end().await;
}
