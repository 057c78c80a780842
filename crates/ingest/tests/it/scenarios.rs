//! What broke elsewhere, "Intake and events": each scenario by its name, on a real nats-server, on SQLite and on Postgres.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use usher_bus::Settings;
use usher_ingest::intake::Verdict;
use usher_store::Store;
use usher_testkit::{postgres::Postgres, skip_without_servers};

use crate::{
    app::{TestApp, on_both_engines},
    intake::{batch, create, customer, keys, refusals},
    wire::{Wire, cloud_event, command, eventually, message},
};

on_both_engines! {
    broken_json_wrong_types_unknown_names_and_1_mib_plus_1_are_rejected_once_and_the_consumer_goes_on,
    the_store_away_deliveries_spaced_none_rejected_none_lost,
    crash_between_commit_and_ack_one_effect,
    the_same_cloudevents_id_inside_and_after_the_dedupe_window_one_effect,
    nats_msg_id_reused_for_a_different_message_is_visible_not_silently_lost,
    envelope_variants_structured_with_and_without_content_type_binary_with_ce_in_any_case,
    an_onboarding_that_is_faster_than_its_customer_waits_for_it,
    one_message_brings_customer_contacts_and_onboarding,
}

async fn broken_json_wrong_types_unknown_names_and_1_mib_plus_1_are_rejected_once_and_the_consumer_goes_on(
    app: &TestApp,
) {
    skip_without_servers!();
    let wire = Wire::with("max_payload: 4MB", |settings| settings).await;
    customer(app).await;
    let work = wire.at_work(app);
    let create_subject = "usher.commands.acme.onboarding.create";
    let large = format!("\"{}\"", "x".repeat(1024 * 1024 - 1));
    // Too long for an index of Postgres, even compressed.
    let digits = (1..800_u32).map(|n| n.wrapping_mul(2_654_435_761).to_string());
    let long_id: String = digits.collect();
    let bad = vec![
        ("invalid_json", message(create_subject, &[("Nats-Msg-Id", "a")], "{broken")),
        ("invalid_json", message(create_subject, &[("Nats-Msg-Id", "h")], r#"{"notes":"a","notes":"b"}"#)),
        ("too_big", message(create_subject, &[("Nats-Msg-Id", "i")], r#"{"notes":1e999}"#)),
        ("invalid_data", message(create_subject, &[("Nats-Msg-Id", "b")], "[1]")),
        ("unknown_workspace", message("usher.commands.nobody.onboarding.create", &[], "{}")),
        ("unknown_command", message("usher.commands.acme.onboarding.explode", &[], "{}")),
        ("unknown_subject", message("usher.commands.acme", &[], "{}")),
        ("invalid_type", command("onboarding.create", "c", &json!({"customer_id": 7}))),
        ("unrecognized_key", command("onboarding.create", "d", &json!({"customer_id": "1", "colour": 1}))),
        ("missing_field", command("contact.upsert", "f", &json!({}))),
        ("missing_attribute", message(create_subject, &[("ce-specversion", "1.0")], "{}")),
        ("payload_too_large", message(create_subject, &[("Nats-Msg-Id", "g")], &large)),
        ("invalid_attribute", message(create_subject, &[("Nats-Msg-Id", &long_id)], "{}")),
    ];
    let mut wanted: Vec<_> =
        bad.iter().map(|(code, sent)| (code.to_string(), sent.subject.clone())).collect();
    for (n, (_, message)) in bad.into_iter().enumerate() {
        wire.publish(vec![
            message,
            command("onboarding.create", &format!("good-{n}"), &create(&format!("k{n:02}"))),
        ])
        .await;
    }
    wire.drained().await;
    eventually("the rejections are published", || async { wire.count("USHER_REJECTED").await == 13 }).await;
    work.end().await;
    let rejected = wire.stored("USHER_REJECTED").await;
    let mut told: Vec<_> = rejected
        .iter()
        .map(|it| {
            assert_eq!(it.header("usher-error-attempts"), Some("1"));
            assert!(!it.header("usher-error-message").unwrap().is_empty());
            let code = it.header("usher-error-code").unwrap().to_owned();
            (code, it.subject.replacen("usher.rejected", "usher.commands", 1))
        })
        .collect();
    wanted.sort();
    told.sort();
    assert_eq!(told, wanted);
    let broken = rejected.iter().find(|it| it.payload == b"{broken").unwrap();
    assert_eq!(broken.header("usher-error-code"), Some("invalid_json"));
    assert_eq!(broken.header("usher-original-nats-msg-id"), Some("a"));
    let typed = rejected.iter().find(|it| it.header("usher-error-code") == Some("invalid_type")).unwrap();
    assert_eq!(typed.header("usher-error-field"), Some("customer_id"));
    assert_eq!(keys(app).await, (0..13).map(|n| format!("k{n:02}")).collect::<Vec<_>>());
}

/// The store as a process sees it whose database is gone: closed. Another process, whose store is there, takes over.
async fn the_store_away_deliveries_spaced_none_rejected_none_lost(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    customer(app).await;
    let gone = Store::connect(&app.url, 1).await.unwrap();
    gone.close().await;
    let messages = vec![
        command("onboarding.create", "1", &create("one")),
        command("onboarding.create", "2", &json!({})),
        command("onboarding.create", "3", &create("three")),
    ];
    let taken = batch(&wire, messages).await;
    let mut blind = wire.intake_on(gone, Arc::new(|| ()));
    for _ in 0..10 {
        assert_eq!(blind.take(&taken).await, [Verdict::Away; 3], "however often it is tried");
    }
    assert!(refusals(app).await.is_empty());
    // At work, it gives a message back for a second, so that nobody else burns it in the meantime, and pulls no more.
    let (began, shutdown) = (Instant::now(), CancellationToken::new());
    let running = tokio::spawn(blind.run(shutdown.clone()));
    wire.publish(vec![command("onboarding.create", "4", &create("four"))]).await;
    eventually("it has had it", || async {
        wire.api("CONSUMER.INFO.USHER_COMMANDS.usher-intake", json!({})).await["delivered"]["consumer_seq"]
            == 4
    })
    .await;
    let mut commands = wire.nats.commands().await.unwrap();
    let mut given = Vec::new();
    while given.is_empty() {
        given = commands.next_batch(1, Duration::from_secs(5)).await.unwrap();
    }
    assert_eq!(given[0].num_delivered, 2);
    assert!(began.elapsed() >= Duration::from_secs(1), "after {:?}", began.elapsed());
    shutdown.cancel();
    running.await.unwrap();
    for delivery in taken.iter().chain(&given) {
        delivery.nak(Duration::from_millis(10)).await.unwrap();
    }
    let work = wire.at_work(app);
    wire.drained().await;
    work.end().await;
    assert_eq!(keys(app).await, ["four", "one", "three"]);
    assert_eq!(refusals(app).await, [("missing_field".to_owned(), "2".to_owned())]);
}

#[tokio::test]
async fn the_store_away_and_back_deliveries_spaced_none_rejected_none_lost_on_postgres() {
    skip_without_servers!();
    let (server, wire) = (Postgres::start().await.unwrap(), Wire::new().await);
    let app = TestApp::on_postgres(&server.url("postgres")).await;
    customer(&app).await;
    let messages = vec![
        command("onboarding.create", "1", &create("one")),
        command("onboarding.create", "2", &json!({})),
    ];
    let taken = batch(&wire, messages).await;
    server.stop().await.unwrap();
    let mut intake = wire.intake(&app, Arc::new(|| ()));
    assert_eq!(intake.take(&taken).await, [Verdict::Away, Verdict::Away]);
    for delivery in &taken {
        delivery.nak(Duration::from_millis(10)).await.unwrap();
    }
    let work = wire.at_work(&app);
    wire.publish(vec![command("onboarding.create", "3", &create("three"))]).await;
    server.restart().await.unwrap();
    wire.drained().await;
    eventually("all events", || async { wire.count("USHER_EVENTS").await == 3 }).await;
    work.end().await;
    assert_eq!(keys(&app).await, ["one", "three"]);
    assert_eq!(refusals(&app).await, [("missing_field".to_owned(), "2".to_owned())]);
}

async fn crash_between_commit_and_ack_one_effect(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::with("", |mut settings: Settings| {
        settings.intake.ack_wait = Duration::from_secs(1);
        settings
    })
    .await;
    customer(app).await;
    let messages = vec![
        command("onboarding.create", "1", &create("one")),
        command("onboarding.create", "2", &json!({"customer_id": 7})),
    ];
    let taken = batch(&wire, messages).await;
    let verdicts = wire.intake(app, Arc::new(|| ())).take(&taken).await;
    assert_eq!(verdicts, [Verdict::Committed, Verdict::Rejected]);
    // Never acknowledged: another process gets both again.
    drop(taken);
    let work = wire.at_work(app);
    wire.drained().await;
    work.end().await;
    assert_eq!(keys(app).await, ["one"]);
    assert_eq!(refusals(app).await, [("invalid_type".to_owned(), "2".to_owned())]);
    assert_eq!(wire.count("USHER_REJECTED").await, 1);
}

async fn the_same_cloudevents_id_inside_and_after_the_dedupe_window_one_effect(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    customer(app).await;
    let work = wire.at_work(app);
    let again = || {
        let mut message = cloud_event("onboarding.create", "1", &create("one"));
        message.headers.push("Nats-Msg-Id", "crm/1");
        message
    };
    // Inside the stream's window the stream drops the second one.
    wire.publish(vec![again(), again()]).await;
    wire.drained().await;
    // After it the stream takes it once more, and the inbox knows it.
    eventually("the window is over", || async {
        let results = wire.nats.publish_window(vec![again()]).await;
        results.iter().all(|it| it.as_ref().is_ok_and(|it| !it.duplicate))
    })
    .await;
    wire.drained().await;
    eventually("its event", || async { wire.count("USHER_EVENTS").await == 2 }).await;
    work.end().await;
    assert_eq!(keys(app).await, ["one"]);
    assert!(refusals(app).await.is_empty());
}

async fn nats_msg_id_reused_for_a_different_message_is_visible_not_silently_lost(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    customer(app).await;
    let work = wire.at_work(app);
    wire.publish(vec![command("onboarding.create", "1", &create("one"))]).await;
    wire.drained().await;
    // Within a tenth of a second the stream drops it, and says so to the publisher: `duplicate`. After that it arrives.
    let other = || command("onboarding.create", "1", &create("two"));
    eventually("the stream takes it", || async {
        let results = wire.nats.publish_window(vec![other()]).await;
        results.iter().all(|it| it.as_ref().is_ok_and(|it| !it.duplicate))
    })
    .await;
    wire.drained().await;
    eventually("it is reported", || async { wire.count("USHER_REJECTED").await == 1 }).await;
    work.end().await;
    assert_eq!(keys(app).await, ["one"]);
    assert_eq!(refusals(app).await, [("idempotency_key_reused".to_owned(), "1".to_owned())]);
    let told = wire.stored("USHER_REJECTED").await.remove(0);
    assert_eq!(told.json(), create("two"), "what was not done is there to be read");
}

async fn envelope_variants_structured_with_and_without_content_type_binary_with_ce_in_any_case(
    app: &TestApp,
) {
    skip_without_servers!();
    let wire = Wire::new().await;
    customer(app).await;
    let work = wire.at_work(app);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = |names: [&'static str; 4], id: &'static str| {
        let [version, of, source, kind] = names;
        vec![(version, "1.0"), (of, id), (source, "crm"), (kind, "deal.won"), ("traceparent", trace)]
    };
    let create_subject = "usher.commands.acme.onboarding.create";
    let binary = |names, id, key| message(create_subject, &headers(names, id), &create(key).to_string());
    let bare =
        json!({"specversion": "1.0", "id": "3", "source": "crm", "type": "deal.won", "data": create("bare")});
    wire.publish(vec![
        command("onboarding.create", "1", &create("plain")),
        message(create_subject, &[], &create("without-id").to_string()),
        cloud_event("onboarding.create", "2", &create("structured")),
        message(create_subject, &[], &bare.to_string()),
        binary(["ce-specversion", "ce-id", "ce-source", "ce-type"], "4", "lower"),
        binary(["Ce-Specversion", "Ce-Id", "Ce-Source", "Ce-Type"], "5", "title"),
        binary(["CE-SPECVERSION", "CE-ID", "CE-SOURCE", "CE-TYPE"], "6", "upper"),
    ])
    .await;
    wire.drained().await;
    assert_eq!(keys(app).await, ["bare", "lower", "plain", "structured", "title", "upper", "without-id"]);
    eventually("their events", || async { wire.count("USHER_EVENTS").await == 8 }).await;
    work.end().await;
    let events: Vec<_> = wire.events().await.into_iter().skip(1).collect();
    for event in &events {
        assert_eq!(event.subject, "usher.events.acme.onboarding.created");
        let event = event.json();
        assert_eq!((&event["specversion"], &event["livemode"]), (&json!("1.0"), &json!(true)));
        assert_eq!(event["data"]["actor"]["type"], "nats");
    }
    let binary =
        events.iter().find(|event| event.json()["data"]["object"]["external_id"] == "upper").unwrap();
    assert_eq!(binary.json()["data"]["actor"]["id"], "crm");
    assert_eq!(binary.header("traceparent"), Some(trace));
    assert!(refusals(app).await.is_empty() && app.wakes() > 0);
}

/// Two replicas may have one each at the same time.
async fn an_onboarding_that_is_faster_than_its_customer_waits_for_it(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let early = batch(&wire, vec![command("onboarding.create", "1", &create("one"))]).await;
    let mut intake = wire.intake(app, Arc::new(|| ()));
    let later = |seconds| Verdict::Later(Duration::from_secs(seconds));
    assert_eq!(intake.take(&early).await, [later(1)]);
    assert_eq!(intake.take(&early).await, [later(2)]);
    customer(app).await;
    assert_eq!(intake.take(&early).await, [Verdict::Committed]);
    // What never comes is waited for three times, and then refused.
    let lost = json!({"customer_id": "external:nobody"});
    let lost = batch(&wire, vec![command("onboarding.create", "2", &lost)]).await;
    for seconds in [1, 2, 4] {
        assert_eq!(intake.take(&lost).await, [later(seconds)]);
    }
    assert_eq!(intake.take(&lost).await, [Verdict::Rejected]);
    assert_eq!(refusals(app).await, [("customer_not_found".to_owned(), "2".to_owned())]);
}

async fn one_message_brings_customer_contacts_and_onboarding(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let work = wire.at_work(app);
    let deal = |key: &str, plan: &str, email: &str| {
        json!({
            "external_id": key, "notes": "from the CRM",
            "customer": {"external_id": "crm-1", "name": "Initech", "plan": plan},
            "contacts": [{"name": "Bill", "email": "bill@initech.example"}, {"name": "Peter", "email": email}],
        })
    };
    wire.publish(vec![cloud_event("onboarding.create", "1", &deal("one", "basic", "peter@initech.example"))])
        .await;
    eventually("all events", || async { wire.count("USHER_EVENTS").await == 4 }).await;
    let kinds: Vec<_> = wire.events().await.into_iter().map(|event| event.json()["type"].clone()).collect();
    assert_eq!(kinds, ["customer.created", "contact.created", "contact.created", "onboarding.created"]);
    // The same message again has no effect; the next deal finds customer and contacts, and changes what differs.
    wire.publish(vec![
        cloud_event("onboarding.create", "1", &deal("one", "basic", "peter@initech.example")),
        cloud_event("onboarding.create", "2", &deal("two", "pro", "peter@initech.example")),
        // All or nothing: the last contact is faulty.
        cloud_event("onboarding.create", "3", &deal("three", "free", "nobody")),
        command(
            "contact.upsert",
            "4",
            &json!({"customer_id": "external:crm-1", "email": "peter@initech.example", "title": "CEO"}),
        ),
    ])
    .await;
    wire.drained().await;
    eventually("all events", || async { wire.count("USHER_EVENTS").await == 7 }).await;
    work.end().await;
    assert_eq!(keys(app).await, ["one", "two"]);
    let customers = app.get("customers").await.ok();
    assert_eq!(customers["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(customers["data"][0]["plan"], "pro");
    assert_eq!(refusals(app).await, [("invalid_string".to_owned(), "3".to_owned())]);
    let kinds: Vec<_> =
        wire.events().await.into_iter().map(|event| event.json()["type"].clone()).skip(4).collect();
    assert_eq!(kinds, ["customer.updated", "onboarding.created", "contact.updated"]);
}
