//! Commands from NATS, and what becomes of them.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use usher_bus::{Delivery, Outgoing};
use usher_ingest::intake::Verdict;
use usher_store::Ref;
use usher_testkit::skip_without_servers;

use crate::{
    app::{TestApp, on_both_engines},
    wire::{Wire, cloud_event, command, eventually, message},
};

on_both_engines! {
    a_message_that_comes_again_has_one_effect,
    nothing_is_lost_while_nats_is_killed_and_comes_back,
    upserts_create_then_change_also_within_one_batch,
    updates_name_their_record_and_its_version,
    contacts_are_named_by_themselves_or_among_their_customers,
    a_number_of_the_stream_and_the_same_nats_msg_id_are_two_messages,
    two_intakes_give_each_command_one_effect,
}

/// A customer with the key `crm-1`.
pub(crate) async fn customer(app: &TestApp) {
    app.made("customers", json!({"name": "Initech", "external_id": "crm-1"})).await;
}

pub(crate) fn create(key: &str) -> Value {
    json!({"customer_id": "external:crm-1", "external_id": key})
}

pub(crate) async fn keys(app: &TestApp) -> Vec<String> {
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
pub(crate) async fn batch(wire: &Wire, messages: Vec<Outgoing>) -> Vec<Delivery> {
    let wanted = messages.len();
    wire.publish(messages).await;
    let mut commands = wire.nats.commands().await.unwrap();
    let mut batch = Vec::new();
    while batch.len() < wanted {
        batch.extend(commands.next_batch(wanted - batch.len(), Duration::from_secs(1)).await.unwrap());
    }
    batch
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
    // Nobody has the version that the fifth expects: it waits for a while.
    let waits = Verdict::Later(Duration::from_secs(1));
    assert_eq!(intake.take(&taken).await, [refused, done, done, done, waits, done, done]);
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
    // The first has no name.
    assert_eq!(codes, ["1 missing_field"]);
}

async fn updates_name_their_record_and_its_version(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    customer(app).await;
    let made = app.made("onboardings", json!({"customer_id": "1", "external_id": "one"})).await;
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
    let waits = Verdict::Later(Duration::from_secs(1));
    assert_eq!(verdicts, [done, done, refused, done, waits], "{:?}", refusals(app).await);
    assert_eq!((&now["notes"], &now["version"]), (&json!("by id"), &json!(4)));
    assert!(now["snoozed_until"].is_string());
    let mut codes: Vec<_> = refusals(app).await.into_iter().map(|(code, _)| code).collect();
    codes.sort();
    assert_eq!(codes, ["version_mismatch"]);
    let gone = batch(&wire, vec![command("onboarding.delete", "6", &json!({"external_id": "one"}))]).await;
    assert_eq!(intake.take(&gone).await, [done]);
    assert!(keys(app).await.is_empty());
}

async fn contacts_are_named_by_themselves_or_among_their_customers(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    customer(app).await;
    let upsert = |id: &str, data: Value| command("contact.upsert", id, &data);
    let among = |fields: Value| {
        let mut data = json!({"customer_id": "external:crm-1"});
        data.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        data
    };
    let mut intake = wire.intake(app, Arc::new(|| ()));
    let first = upsert("1", among(json!({"external_id": "p-1", "name": "Ada", "email": "ada@example.com"})));
    assert_eq!(intake.take(&batch(&wire, vec![first]).await).await, [Verdict::Committed]);
    let made = app.get("customers/1/contacts").await.ok()["data"][0].clone();
    let taken = batch(
        &wire,
        vec![
            upsert("2", json!({"id": made["id"], "title": "two", "expected_version": 1})),
            upsert("3", json!({"display_id": made["display_id"], "title": "three", "expected_version": 2})),
            upsert("4", json!({"external_id": "p-1", "title": "four"})),
            upsert("5", among(json!({"email": "ada@example.com", "title": "five", "expected_version": 4}))),
            // None of these has an effect.
            upsert("6", json!({"id": made["id"], "title": "old", "expected_version": 4})),
            upsert("7", among(json!({"external_id": "p-1", "title": "old", "expected_version": 1}))),
            upsert("8", among(json!({"external_id": "p-1", "email": "nobody"}))),
            upsert("9", json!({"external_id": "p-2", "name": "Bob", "email": "bob@example.com"})),
            // Those wait for their contact: a version is of a record that is there.
            upsert("10", among(json!({"external_id": "p-2", "name": "Bob", "expected_version": 1}))),
            upsert("11", json!({"id": "contact_nobody", "title": "x"})),
        ],
    )
    .await;
    let (done, refused, waits) =
        (Verdict::Committed, Verdict::Rejected, Verdict::Later(Duration::from_secs(1)));
    let verdicts = intake.take(&taken).await;
    let mut told: Vec<_> = app.store.rejected(100).await.unwrap().into_iter().map(|it| it.what).collect();
    told.sort_by_key(|it| it.message_id.parse::<u32>().unwrap());
    let told: Vec<_> = told.iter().map(|it| (it.code.as_str(), it.field.as_deref())).collect();
    assert_eq!(
        verdicts,
        [done, done, done, done, refused, refused, refused, refused, waits, waits],
        "{told:?}"
    );
    let (version, missing) = (("version_mismatch", None), ("missing_field", Some("customer_id")));
    assert_eq!(told, [version, version, ("invalid_string", Some("email")), missing]);
    let now = app.get("customers/1/contacts").await.ok()["data"].clone();
    assert_eq!((&now[0]["title"], &now[0]["version"]), (&json!("five"), &json!(5)));
    assert_eq!(now.as_array().map(Vec::len), Some(1));
}

async fn a_number_of_the_stream_and_the_same_nats_msg_id_are_two_messages(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    customer(app).await;
    let without_id =
        |key: &str| message("usher.commands.acme.onboarding.create", &[], &create(key).to_string());
    // The first is number 1; the last is number 4, which somebody counted to before.
    let messages = vec![
        without_id("a"),
        command("onboarding.create", "1", &create("b")),
        command("onboarding.create", "4", &create("c")),
        without_id("d"),
    ];
    let taken = batch(&wire, messages).await;
    let numbers: Vec<_> = taken.iter().map(|it| it.stream.sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let mut intake = wire.intake(app, Arc::new(|| ()));
    assert_eq!(intake.take(&taken).await, [Verdict::Committed; 4], "{:?}", refusals(app).await);
    assert_eq!(intake.take(&taken).await, [Verdict::Unchanged; 4]);
    assert_eq!(keys(app).await, ["a", "b", "c", "d"]);
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
