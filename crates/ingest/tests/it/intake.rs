//! Commands from NATS, and what becomes of them.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use usher_bus::{Delivery, Outgoing, Settings};
use usher_ingest::intake::Verdict;
use usher_store::Ref;
use usher_testkit::{postgres::Postgres, skip_without_servers};

use crate::{
    app::{TestApp, on_both_engines},
    wire::{Wire, cloud_event, command, eventually, message},
};

on_both_engines! {
    plain_structured_and_binary_commands_create_onboardings,
    a_message_that_comes_again_has_one_effect,
    a_crash_between_commit_and_acknowledgement_has_one_effect,
    nothing_is_lost_while_nats_is_killed_and_comes_back,
    upserts_create_then_change_also_within_one_batch,
    updates_name_their_record_and_its_version,
    two_intakes_give_each_command_one_effect,
}

/// A customer with the key `crm-1`.
pub(crate) async fn customer(app: &TestApp) {
    app.made("customers", json!({"name": "Initech", "external_id": "crm-1"})).await;
}

pub(crate) fn create(key: &str) -> Value {
    json!({"customer_id": "external:crm-1", "external_id": key})
}

async fn keys(app: &TestApp) -> Vec<String> {
    let mut keys = Vec::new();
    let mut page = app.get("onboardings?limit=100").await.ok();
    loop {
        for item in page["data"].as_array().unwrap() {
            keys.push(item["external_id"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        page = app.get(&format!("onboardings?limit=100&cursor={cursor}")).await.ok();
    }
    keys.sort();
    keys
}

/// Code and message id of what was refused, oldest first.
pub(crate) async fn refusals(app: &TestApp) -> Vec<(String, String)> {
    let rejected = app.store.rejected(100).await.unwrap();
    rejected.into_iter().rev().map(|it| (it.what.code, it.what.message_id)).collect()
}

/// All of these messages in one batch, without anybody at work.
async fn batch(wire: &Wire, messages: Vec<Outgoing>) -> Vec<Delivery> {
    let wanted = messages.len();
    wire.publish(messages).await;
    let mut commands = wire.nats.commands().await.unwrap();
    let mut batch = Vec::new();
    while batch.len() < wanted {
        batch.extend(commands.next_batch(wanted - batch.len(), Duration::from_secs(1)).await.unwrap());
    }
    batch
}

async fn plain_structured_and_binary_commands_create_onboardings(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    customer(app).await;
    let work = wire.at_work(app);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let binary = [
        ("CE-SpecVersion", "1.0"),
        ("ce-id", "3"),
        ("Ce-Source", "crm"),
        ("ce-type", "deal.won"),
        ("traceparent", trace),
    ];
    wire.publish(vec![
        command("onboarding.create", "1", &create("plain")),
        cloud_event("onboarding.create", "2", &create("structured")),
        message("usher.commands.acme.onboarding.create", &binary, &create("binary").to_string()),
    ])
    .await;
    wire.drained().await;
    assert_eq!(keys(app).await, ["binary", "plain", "structured"]);
    eventually("their events", || async { wire.count("USHER_EVENTS").await == 4 }).await;
    work.end().await;
    let events: Vec<_> = wire.events().await.into_iter().skip(1).collect();
    for event in &events {
        assert_eq!(event.subject, "usher.events.acme.onboarding.created");
        let event = event.json();
        assert_eq!((&event["specversion"], &event["livemode"]), (&json!("1.0"), &json!(true)));
        assert_eq!(event["data"]["actor"]["type"], "nats");
    }
    let binary =
        events.iter().find(|event| event.json()["data"]["object"]["external_id"] == "binary").unwrap();
    assert_eq!(binary.json()["data"]["actor"]["id"], "crm");
    assert_eq!(binary.header("traceparent"), Some(trace));
    assert!(refusals(app).await.is_empty() && app.wakes() > 0);
}

async fn a_message_that_comes_again_has_one_effect(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    customer(app).await;
    let again = || cloud_event("onboarding.create", "1", &create("one"));
    // Twice in one batch, and later once more.
    let first = batch(&wire, vec![again(), again()]).await;
    let mut intake = wire.intake(app, Arc::new(|| ()));
    assert_eq!(intake.take(&first).await, [Verdict::Committed, Verdict::Unchanged]);
    // The same wish with its keys in another order is the same; another one under the same id is refused.
    let reordered = json!({"external_id": "one", "customer_id": "external:crm-1"});
    let second = batch(
        &wire,
        vec![
            cloud_event("onboarding.create", "1", &reordered),
            cloud_event("onboarding.create", "1", &create("other")),
        ],
    )
    .await;
    assert_eq!(intake.take(&second).await, [Verdict::Unchanged, Verdict::Rejected]);
    assert_eq!(intake.take(&second).await, [Verdict::Unchanged, Verdict::Rejected]);
    assert_eq!(keys(app).await, ["one"]);
    assert_eq!(refusals(app).await, [("idempotency_key_reused".to_owned(), "1".to_owned())]);
}

#[tokio::test]
async fn what_can_never_succeed_is_rejected_once_and_the_consumer_goes_on() {
    skip_without_servers!();
    let wire = Wire::with("max_payload: 4MB", |settings| settings).await;
    let app = TestApp::postgres().await;
    customer(&app).await;
    let work = wire.at_work(&app);
    let create_subject = "usher.commands.acme.onboarding.create";
    let large = format!("\"{}\"", "x".repeat(1024 * 1024 - 1));
    // Too long for an index of Postgres, even compressed.
    let digits = (1..800_u32).map(|n| n.wrapping_mul(2_654_435_761).to_string());
    let long_id: String = digits.collect();
    let bad = vec![
        ("invalid_json", message(create_subject, &[("Nats-Msg-Id", "a")], "{broken")),
        ("invalid_data", message(create_subject, &[("Nats-Msg-Id", "b")], "[1]")),
        ("unknown_workspace", message("usher.commands.nobody.onboarding.create", &[], "{}")),
        ("unknown_command", message("usher.commands.acme.onboarding.explode", &[], "{}")),
        ("unknown_subject", message("usher.commands.acme", &[], "{}")),
        ("invalid_type", command("onboarding.create", "c", &json!({"customer_id": 7}))),
        ("unrecognized_key", command("onboarding.create", "d", &json!({"customer": {}}))),
        ("customer_not_found", command("onboarding.create", "e", &json!({"customer_id": "external:nobody"}))),
        ("unknown_command", command("contact.upsert", "f", &json!({}))),
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
    eventually("the rejections are published", || async { wire.count("USHER_REJECTED").await == 12 }).await;
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
    let broken = rejected.iter().find(|it| it.header("usher-error-code") == Some("invalid_json")).unwrap();
    assert_eq!(broken.payload, b"{broken");
    assert_eq!(broken.header("usher-original-nats-msg-id"), Some("a"));
    let typed = rejected.iter().find(|it| it.header("usher-error-code") == Some("invalid_type")).unwrap();
    assert_eq!(typed.header("usher-error-field"), Some("customer_id"));
    assert_eq!(keys(&app).await, (0..12).map(|n| format!("k{n:02}")).collect::<Vec<_>>());
}

async fn a_crash_between_commit_and_acknowledgement_has_one_effect(app: &TestApp) {
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

async fn nothing_is_lost_while_nats_is_killed_and_comes_back(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    customer(app).await;
    let work = wire.at_work(app);
    let commands = |range: std::ops::Range<u32>| -> Vec<_> {
        range.map(|n| command("onboarding.create", &n.to_string(), &create(&format!("k{n:03}")))).collect()
    };
    wire.publish(commands(0..100)).await;
    wire.server.kill().await.unwrap();
    wire.server.restart().await.unwrap();
    eventually("NATS is back", || async { wire.nats.is_connected() }).await;
    // A sender that does not know whether the first ones arrived sends them again.
    wire.publish(commands(0..150)).await;
    wire.drained().await;
    eventually("all events", || async { wire.count("USHER_EVENTS").await >= 151 }).await;
    work.end().await;
    assert_eq!(keys(app).await, (0..150).map(|n| format!("k{n:03}")).collect::<Vec<_>>());
    assert!(refusals(app).await.is_empty());
}

async fn upserts_create_then_change_also_within_one_batch(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let upsert = |id: &str, data: Value| command("customer.upsert", id, &data);
    let taken = batch(
        &wire,
        vec![
            upsert("1", json!({"external_id": "crm-1"})),
            upsert("2", json!({"external_id": "crm-1", "name": "Initech"})),
            command("onboarding.create", "3", &create("one")),
            upsert("4", json!({"external_id": "crm-1", "plan": "pro"})),
            upsert("5", json!({"external_id": "crm-2", "name": "Globex", "expected_version": 1})),
            command(
                "user.upsert",
                "6",
                &json!({"external_id": "u-1", "name": "Ada", "email": "ada@example.com"}),
            ),
            command("user.upsert", "7", &json!({"external_id": "u-1", "active": false})),
        ],
    )
    .await;
    let mut intake = wire.intake(app, Arc::new(|| ()));
    let (done, refused) = (Verdict::Committed, Verdict::Rejected);
    assert_eq!(intake.take(&taken).await, [refused, done, done, done, refused, done, done]);
    let same = Verdict::Unchanged;
    assert_eq!(intake.take(&taken).await[1..4], [same, same, same], "once more, without effect");
    let found = |key: &str| Ref::ExternalId(key.into());
    let customer = app.store.customer(app.workspace.id, true, &found("crm-1")).await.unwrap().unwrap();
    assert_eq!((customer.fields.name.as_str(), customer.fields.plan.as_deref()), ("Initech", Some("pro")));
    assert_eq!(customer.version, 2);
    let user = app.store.user(app.workspace.id, true, &found("u-1")).await.unwrap().unwrap();
    assert!(!user.active);
    assert_eq!(keys(app).await, ["one"]);
    let mut codes: Vec<_> =
        refusals(app).await.into_iter().map(|(code, id)| format!("{id} {code}")).collect();
    codes.sort();
    // The first has no name; nobody has the version that the fifth expects.
    assert_eq!(codes, ["1 missing_field", "5 customer_not_found"]);
}

async fn updates_name_their_record_and_its_version(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    customer(app).await;
    let made = app.made("onboardings", create("one")).await;
    let taken = batch(
        &wire,
        vec![
            command(
                "onboarding.update",
                "1",
                &json!({"id": made["id"], "notes": "by id", "expected_version": 1}),
            ),
            command(
                "onboarding.update",
                "2",
                &json!({"display_id": made["display_id"], "phase": "program_design"}),
            ),
            command(
                "onboarding.update",
                "3",
                &json!({"external_id": "one", "notes": "old", "expected_version": 1}),
            ),
            command("onboarding.snooze", "4", &json!({"external_id": "one", "days": 3})),
            command("onboarding.update", "5", &json!({"external_id": "two", "notes": "x"})),
        ],
    )
    .await;
    let mut intake = wire.intake(app, Arc::new(|| ()));
    let verdicts = intake.take(&taken).await;
    let now = app.get(&format!("onboardings/{}", made["id"].as_str().unwrap())).await.ok();
    let (done, refused) = (Verdict::Committed, Verdict::Rejected);
    assert_eq!(verdicts, [done, done, refused, done, refused], "{:?}", refusals(app).await);
    assert_eq!((&now["notes"], &now["version"]), (&json!("by id"), &json!(4)));
    assert!(now["snoozed_until"].is_string());
    let mut codes: Vec<_> = refusals(app).await.into_iter().map(|(code, _)| code).collect();
    codes.sort();
    assert_eq!(codes, ["onboarding_not_found", "version_mismatch"]);
    let gone = batch(&wire, vec![command("onboarding.delete", "6", &json!({"external_id": "one"}))]).await;
    assert_eq!(intake.take(&gone).await, [done]);
    assert!(keys(app).await.is_empty());
}

async fn two_intakes_give_each_command_one_effect(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    customer(app).await;
    let works = [wire.at_work(app), wire.at_work(app)];
    let twice = (0..200)
        .map(|n| cloud_event("onboarding.create", &(n / 2).to_string(), &create(&format!("k{:03}", n / 2))));
    wire.publish(twice.collect()).await;
    wire.drained().await;
    eventually("all events", || async { wire.count("USHER_EVENTS").await == 101 }).await;
    for work in works {
        work.end().await;
    }
    assert_eq!(keys(app).await, (0..100).map(|n| format!("k{n:03}")).collect::<Vec<_>>());
    assert!(refusals(app).await.is_empty());
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_rejected_and_nothing_lost() {
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
