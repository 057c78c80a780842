//! Nothing is lost on the way out: what went wrong elsewhere, done here.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::body::Body;
use chrono::TimeDelta;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use usher_bus::Bus;
use usher_ingest::relay::{Relay, RelayReport};
use usher_testkit::skip_without_servers;

use crate::{
    app::{TestApp, on_both_engines},
    relay::{assert_in_order, firsts, patch},
    wire::{Stored, Wire, cloud_event, eventually, message},
};

on_both_engines! {
    crash_between_commit_and_publish_the_event_still_goes_out,
    publish_acknowledged_but_marking_failed_at_most_a_repeat_with_the_same_id,
    no_stream_stream_full_no_responders_pending_not_lost,
    nats_away_for_the_whole_run_and_back_again_drains_by_itself,
    a_thousand_events_that_cannot_go_out_do_not_hold_the_others_up,
    first_publications_stay_in_order_while_relays_take_over_from_each_other,
    a_bad_command_that_is_said_again_in_another_form_is_rejected_once,
}

/// More than one claim of the relay.
const MANY: usize = 1_100;

async fn backlog(app: &TestApp) -> u64 {
    app.store.outbox_backlog().await.unwrap().0
}

/// A relay whose process dies when it looks at the clock for the `n`th time; true when it came so far.
async fn dies_at(app: &TestApp, wire: &Wire, n: usize) -> bool {
    let (looks, clock) = (AtomicUsize::new(0), wire.clock.as_fn());
    let deadly = Arc::new(move || {
        assert!(looks.fetch_add(1, Ordering::SeqCst) < n, "the process dies here");
        clock()
    });
    let mut dying = Relay::new(app.store.clone(), Bus::Nats(wire.nats.clone()), deadly);
    let died = tokio::spawn(async move { dying.pass().await }).await.is_err();
    // Its lease ends.
    wire.clock.advance(TimeDelta::seconds(16));
    died
}

async fn crash_between_commit_and_publish_the_event_still_goes_out(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    app.onboarding().await;
    let mut deaths = 0;
    while dies_at(app, &wire, deaths).await && wire.count("USHER_EVENTS").await == 0 {
        assert_eq!(backlog(app).await, 2);
        deaths += 1;
    }
    assert!(deaths > 2, "it died before the lease, after it, and with the claim in hand: {deaths}");
    let report = wire.relay(app).pass().await.unwrap();
    assert_eq!((report.published, backlog(app).await), (2, 0));
    assert_eq!(wire.count("USHER_EVENTS").await, 2);
}

async fn publish_acknowledged_but_marking_failed_at_most_a_repeat_with_the_same_id(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let mut repeats = 0;
    for n in 0.. {
        let onboarding = app.onboarding().await;
        if !dies_at(app, &wire, n).await {
            break;
        }
        let (there, waiting) = (wire.count("USHER_EVENTS").await, backlog(app).await);
        let mut next = wire.relay(app);
        let report = next.pass().await.unwrap();
        next.release().await.unwrap();
        repeats += report.repeated;
        assert_eq!(report.published as u64, waiting, "died at look {n}");
        assert_eq!(wire.count("USHER_EVENTS").await, there + waiting - report.repeated as u64);
        let events = wire.events().await;
        let of_it = events.iter().filter(|event| event.json()["subject"] == onboarding["id"]);
        assert_eq!(of_it.count(), 1, "one event, one id");
    }
    assert!(repeats >= 2, "at least one died between acknowledgement and mark");
    assert_in_order(&wire.events().await);
}

/// Sets or lifts (-1) the limit of messages of a stream.
async fn limit(wire: &Wire, stream: &str, messages: i64) {
    let mut config = wire.api(&format!("STREAM.INFO.{stream}"), json!({})).await["config"].take();
    config["max_msgs"] = json!(messages);
    let answer = wire.api(&format!("STREAM.UPDATE.{stream}"), config).await;
    assert_eq!(answer["config"]["max_msgs"], json!(messages), "{answer}");
}

async fn no_stream_stream_full_no_responders_pending_not_lost(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let id = app.onboarding().await["id"].clone();
    patch(app, &id, "one").await;
    patch(app, &id, "two").await;
    let mut relay = wire.relay(app);
    let published = |published| RelayReport { published, ..RelayReport::default() };

    // No stream: nobody responds to a publish.
    wire.api("STREAM.DELETE.USHER_EVENTS", json!({})).await;
    // Of each subject only the first is tried; the others wait for it.
    assert_eq!(relay.pass().await.unwrap(), RelayReport { failed: 2, ..RelayReport::default() });
    assert_eq!(backlog(app).await, 4);
    // It is not tried again at once, whoever asks.
    assert_eq!(relay.pass().await.unwrap(), RelayReport::default());
    wire.nats.ensure_streams().await.unwrap();
    wire.clock.advance(TimeDelta::seconds(1));
    assert_eq!(relay.pass().await.unwrap(), published(4));

    // Full in the middle of a window: what did not fit follows when there is room.
    for n in 0..3 {
        let id = app.onboarding().await["id"].clone();
        patch(app, &id, &format!("{n}")).await;
    }
    limit(&wire, "USHER_EVENTS", 6).await;
    let report = relay.pass().await.unwrap();
    assert_eq!((report.published, backlog(app).await), (2, 7), "{report:?}");
    limit(&wire, "USHER_EVENTS", -1).await;
    for _ in 0..3 {
        wire.clock.advance(TimeDelta::seconds(30));
        relay.pass().await.unwrap();
    }
    assert_eq!(backlog(app).await, 0);
    let events = wire.events().await;
    assert_eq!(events.len(), 13);
    assert_in_order(&events);
}

async fn nats_away_for_the_whole_run_and_back_again_drains_by_itself(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    wire.server.kill().await.unwrap();
    let work = wire.at_work(app);
    for _ in 0..30 {
        let id = app.onboarding().await["id"].clone();
        patch(app, &id, "meanwhile").await;
        work.wake.notify_one();
    }
    assert_eq!(backlog(app).await, 90);
    wire.server.restart().await.unwrap();
    // Nobody wakes it.
    eventually("the outbox drains", || async { backlog(app).await == 0 }).await;
    work.end().await;
    let events = wire.events().await;
    assert_eq!(events.len(), 90);
    assert_in_order(&events);
}

/// Users, or customers that make events of more than `size` bytes.
async fn records(app: &TestApp, key: &str, count: usize, size: usize) {
    let one = |n| async move {
        let (path, body) = if size == 0 {
            ("users", json!({"name": "Ada", "email": format!("ada{n}@example.com")}))
        } else {
            ("customers", json!({"name": format!("large {n}"), "metadata": {"text": "x".repeat(size)}}))
        };
        let request = TestApp::request_with(key, "POST", path).header("content-type", "application/json");
        let answer = app.send(request.body(Body::from(body.to_string())).unwrap()).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    };
    // No more in a minute than a key may ask for.
    for begin in (0..count).step_by(250) {
        let part = stream::iter(begin..count.min(begin + 250)).map(one);
        part.buffer_unordered(64).collect::<Vec<()>>().await;
        app.clock.advance(TimeDelta::minutes(2));
    }
}

async fn a_thousand_events_that_cannot_go_out_do_not_hold_the_others_up(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let mut relay = wire.relay(app);
    // A stream that is not there, and more events for it than are claimed at once.
    wire.api("STREAM.DELETE.USHER_TEST_EVENTS", json!({})).await;
    records(app, &app.test, MANY, 0).await;
    app.onboarding().await;
    let report = relay.pass().await.unwrap();
    assert_eq!((report.published, report.failed), (2, 1_000), "{report:?}");
    wire.nats.ensure_streams().await.unwrap();
    wire.clock.advance(TimeDelta::seconds(1));
    assert_eq!(relay.pass().await.unwrap().published, MANY);
}

/// What is larger than the server takes, once at the head of the outbox.
#[tokio::test]
async fn events_that_are_too_large_hold_only_their_own_subjects_up() {
    skip_without_servers!();
    let app = TestApp::sqlite().await;
    let wire = Wire::with("max_payload: 4096", |settings| settings).await;
    let mut relay = wire.relay(&app);
    records(&app, &app.live, MANY, 5_000).await;
    let user = app.made("users", json!({"name": "Ada", "email": "ada@example.com"})).await;
    let report = relay.pass().await.unwrap();
    assert_eq!((report.published, report.failed), (1, MANY), "{report:?}");
    assert_eq!(wire.events().await[0].json()["subject"], user["id"]);
    // They are left out of the next claim, not tried and not forgotten.
    app.patch(&format!("users/{}", user["id"].as_str().unwrap()), json!({"name": "Ada L."})).await.ok();
    let next = RelayReport { published: 1, ..RelayReport::default() };
    assert_eq!(relay.pass().await.unwrap(), next);
    wire.clock.advance(TimeDelta::seconds(1));
    assert_eq!(relay.pass().await.unwrap(), RelayReport { failed: MANY, ..RelayReport::default() });
    assert_eq!(backlog(&app).await, MANY as u64);
}

/// Three relays in all stages of life and death, and changes in between.
async fn first_publications_stay_in_order_while_relays_take_over_from_each_other(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let mut seen = wire.nats.listen("usher.events.acme.onboarding.>").await.unwrap();
    let mut ids: Vec<Value> = Vec::new();
    for _ in 0..3 {
        ids.push(app.onboarding().await["id"].clone());
    }
    let mut relays = [wire.relay(app), wire.relay(app), wire.relay(app)];
    let mut total = 0;
    for turn in 0_usize..60 {
        patch(app, &ids[turn % 3], &format!("{turn}")).await;
        patch(app, &ids[(turn * 2) % 3], &format!("{turn} again")).await;
        let relay = &mut relays[(turn * 7 + turn / 5) % 3];
        match turn % 6 {
            // Dies in the middle of a pass, holding the lease.
            0 => drop(dies_at(app, &wire, turn % 10).await),
            1 => *relay = wire.relay(app),
            2 => relay.release().await.unwrap(),
            // The lease is near its end, or over.
            3 => drop(wire.clock.advance(TimeDelta::seconds(6))),
            4 => drop(wire.clock.advance(TimeDelta::seconds(16))),
            _ => {}
        }
        total += relay.pass().await.unwrap().published;
    }
    assert!(total > 0);
    wire.clock.advance(TimeDelta::seconds(16));
    wire.relay(app).pass().await.unwrap();
    assert_eq!(backlog(app).await, 0);
    let mut events = Vec::new();
    // Also the repeats that the stream drops are seen here.
    while firsts(&events).values().map(Vec::len).sum::<usize>() < 123 {
        let message = tokio::time::timeout(crate::wire::PATIENCE, seen.next()).await.expect("it comes");
        events.push(Stored {
            subject: message.subject,
            headers: String::new(),
            payload: message.payload.to_vec(),
        });
    }
    assert_in_order(&events);
    for id in &ids {
        let versions: Vec<_> =
            firsts(&events)[id.as_str().unwrap()].iter().map(|(version, _)| *version).collect();
        assert_eq!(versions, (1..=41).collect::<Vec<_>>(), "without a gap");
    }
}

async fn a_bad_command_that_is_said_again_in_another_form_is_rejected_once(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let work = wire.at_work(app);
    let data = json!({"customer_id": "1", "reminder_frequency_days": 0});
    let binary = [("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-source", "crm"), ("ce-type", "deal.won")];
    let binary = message("usher.commands.acme.onboarding.create", &binary, &data.to_string());
    for said in [cloud_event("onboarding.create", "7", &data), binary] {
        wire.publish(vec![said]).await;
        wire.drained().await;
    }
    work.end().await;
    let kept = app.store.rejected(10).await.unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!((kept[0].what.source.as_str(), kept[0].what.message_id.as_str()), ("crm", "7"));
}
