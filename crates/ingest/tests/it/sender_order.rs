//! A redelivered old update after a newer one: nothing goes back.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use usher_bus::{Outgoing, Settings};
use usher_ingest::intake::Verdict;
use usher_store::Store;
use usher_testkit::skip_without_servers;

use crate::{
    app::{TestApp, on_both_engines},
    intake::{batch, customer, refusals},
    wire::{Wire, command, message},
};

on_both_engines! {
    a_redelivered_old_update_after_a_newer_one_nothing_goes_back,
    within_one_batch_nothing_goes_back,
    between_two_replicas_nothing_goes_back,
    after_a_crash_nothing_goes_back,
    upserts_have_an_order_too,
    the_parts_of_a_composite_have_an_order_each,
}

/// An update from a source, with its place in the source's order.
fn numbered(command: &str, source: &str, id: &str, sequence: &Value, data: &Value) -> Outgoing {
    let event = json!({"specversion": "1.0", "id": id, "source": source, "type": "deal.changed",
                       "sequence": sequence, "data": data});
    message(&format!("usher.commands.acme.{command}"), &[], &event.to_string())
}

fn update(id: &str, sequence: &str, notes: &str) -> Outgoing {
    numbered("onboarding.update", "crm", id, &json!(sequence), &json!({"external_id": "one", "notes": notes}))
}

async fn notes(app: &TestApp) -> String {
    app.get("onboardings").await.ok()["data"][0]["notes"].as_str().unwrap_or_default().to_owned()
}

async fn onboarding(app: &TestApp) {
    customer(app).await;
    app.made("onboardings", json!({"customer_id": "1", "external_id": "one"})).await;
}

const DONE: Verdict = Verdict::Committed;
const SAME: Verdict = Verdict::Unchanged;

async fn a_redelivered_old_update_after_a_newer_one_nothing_goes_back(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    onboarding(app).await;
    let mut intake = wire.intake(app, Arc::new(|| ()));
    // Nine before ten: these are numbers.
    let taken = batch(&wire, vec![update("a", "9", "old"), update("b", "10", "new")]).await;
    assert_eq!(intake.take(&taken[1..]).await, [DONE]);
    assert_eq!(intake.take(&taken[..1]).await, [SAME], "acknowledged without an effect");
    assert_eq!(notes(app).await, "new");
    assert!(refusals(app).await.is_empty());
    // For good: it is in the inbox, as superseded.
    assert_eq!(intake.take(&taken).await, [SAME, SAME]);
    // Another source has an order of its own, and what has no sequence is not held up.
    let others = vec![
        numbered(
            "onboarding.update",
            "billing",
            "c",
            &json!(1),
            &json!({"external_id": "one", "notes": "other"}),
        ),
        command("onboarding.update", "d", &json!({"external_id": "one", "notes": "without"})),
        update("e", "11", "newest"),
    ];
    assert_eq!(intake.take(&batch(&wire, others).await).await, [DONE; 3]);
    assert_eq!(notes(app).await, "newest");
    // Beside it, the version that the sender knows: stale ones are refused, and told.
    let version = app.get("onboardings").await.ok()["data"][0]["version"].clone();
    let expecting = |id: &str, version: &Value, notes: &str| {
        command(
            "onboarding.update",
            id,
            &json!({"external_id": "one", "notes": notes, "expected_version": version}),
        )
    };
    let taken =
        batch(&wire, vec![expecting("f", &version, "versioned"), expecting("g", &version, "stale")]).await;
    assert_eq!(intake.take(&taken).await, [DONE, Verdict::Rejected]);
    assert_eq!(notes(app).await, "versioned");
    assert_eq!(refusals(app).await, [("version_mismatch".to_owned(), "g".to_owned())]);
}

async fn within_one_batch_nothing_goes_back(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    onboarding(app).await;
    let messages = vec![
        update("a", "2", "second"),
        update("b", "1", "first"),
        update("c", "3", "third"),
        update("d", "2", "second again"),
        // The same place: neither is older.
        update("e", "3", "third, too"),
    ];
    let taken = batch(&wire, messages).await;
    assert_eq!(wire.intake(app, Arc::new(|| ())).take(&taken).await, [DONE, SAME, DONE, SAME, DONE]);
    assert_eq!(notes(app).await, "third, too");
    // A change that changes nothing is the newest all the same.
    let taken = batch(&wire, vec![update("f", "9", "third, too"), update("g", "8", "old")]).await;
    assert_eq!(wire.intake(app, Arc::new(|| ())).take(&taken).await, [SAME, SAME]);
    assert_eq!(notes(app).await, "third, too");
}

/// Each replica has its own connection to the store, and they get the updates in opposite orders, many times.
async fn between_two_replicas_nothing_goes_back(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    onboarding(app).await;
    let other = Store::connect(&app.url, 2).await.unwrap();
    for round in 0..10 {
        let (old, new) = (format!("{}", 2 * round + 1), format!("{}", 2 * round + 2));
        let taken =
            batch(&wire, vec![update(&old, &old, &format!("old {round}")), update(&new, &new, &new)]).await;
        let (mut one, mut two) =
            (wire.intake(app, Arc::new(|| ())), wire.intake_on(other.clone(), Arc::new(|| ())));
        let (older, newer) = tokio::join!(one.take(&taken[..1]), two.take(&taken[1..]));
        assert_eq!(newer, [DONE]);
        assert!(older == [DONE] || older == [SAME], "{older:?}");
        assert_eq!(notes(app).await, new);
    }
    assert!(refusals(app).await.is_empty());
}

/// The newer one is applied by a process that dies; the older one, which another process had, comes again afterwards.
async fn after_a_crash_nothing_goes_back(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::with("", |mut settings: Settings| {
        settings.intake.ack_wait = Duration::from_secs(1);
        settings
    })
    .await;
    onboarding(app).await;
    let taken = batch(&wire, vec![update("a", "1", "old"), update("b", "2", "new")]).await;
    assert_eq!(wire.intake(app, Arc::new(|| ())).take(&taken[1..]).await, [DONE]);
    // Neither is acknowledged; both come again.
    drop(taken);
    let work = wire.at_work(app);
    wire.drained().await;
    work.end().await;
    assert_eq!(notes(app).await, "new");
    assert!(refusals(app).await.is_empty());
}

async fn upserts_have_an_order_too(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let upsert = |id: &str, sequence: i64, name: &str| {
        let data = json!({"external_id": "crm-1", "name": name});
        numbered("customer.upsert", "crm", id, &json!(sequence), &data)
    };
    let taken =
        batch(&wire, vec![upsert("a", 2, "New"), upsert("b", 1, "Old"), upsert("c", 3, "Newer")]).await;
    // The first one creates; a creation has its place, too.
    assert_eq!(wire.intake(app, Arc::new(|| ())).take(&taken).await, [DONE, SAME, DONE]);
    assert_eq!(app.get("customers").await.ok()["data"][0]["name"], "Newer");

    // A contact has an order of its own, by whichever of its names it is found.
    let contact = |id: &str, sequence: i64, title: &str, by: &str| {
        let mut data = json!({"customer_id": "external:crm-1", "name": "Ada", "title": title});
        data[by] = json!(if by == "email" { "ada@example.com" } else { "p-1" });
        numbered("contact.upsert", "crm", id, &json!(sequence), &data)
    };
    let first = json!({"customer_id": "external:crm-1", "external_id": "p-1", "name": "Ada",
                       "email": "ada@example.com", "title": "first"});
    let messages = vec![
        numbered("contact.upsert", "crm", "d", &json!(5), &first),
        contact("e", 7, "new", "external_id"),
        contact("f", 6, "old", "external_id"),
        contact("g", 6, "old", "email"),
        // What came too late is not the newest now.
        contact("h", 6, "old", "external_id"),
    ];
    let taken = batch(&wire, messages).await;
    assert_eq!(wire.intake(app, Arc::new(|| ())).take(&taken).await, [DONE, DONE, SAME, SAME, SAME]);
    let again = contact("i", 4, "older", "email");
    assert_eq!(wire.intake(app, Arc::new(|| ())).take(&batch(&wire, vec![again]).await).await, [SAME]);
    let titles = |found: Value| found["data"][0]["title"].clone();
    assert_eq!(titles(app.get("customers/1/contacts").await.ok()), "new");
    assert!(refusals(app).await.is_empty());
}

/// Each part of a composite has its record's order; what is new is made whatever came before.
async fn the_parts_of_a_composite_have_an_order_each(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let deal = |id: &str, sequence: i64, contacts: &Value| {
        let customer = json!({"external_id": "crm-1", "name": format!("Name {sequence}")});
        let data = json!({"external_id": format!("deal-{id}"), "customer": customer, "contacts": contacts});
        numbered("onboarding.create", "crm", id, &json!(sequence), &data)
    };
    let person = |name: &str, title: &str| json!({"email": format!("{name}@example.com"), "name": name, "title": title});
    let taken = batch(
        &wire,
        vec![
            deal("a", 10, &json!([person("ada", "new")])),
            deal("b", 9, &json!([person("ada", "old"), person("bob", "first")])),
        ],
    )
    .await;
    let mut intake = wire.intake(app, Arc::new(|| ()));
    assert_eq!(intake.take(&taken).await, [DONE, DONE]);
    let late = batch(&wire, vec![deal("c", 8, &json!([person("bob", "old"), person("ada", "older")]))]).await;
    assert_eq!(wire.intake(app, Arc::new(|| ())).take(&late).await, [DONE]);
    assert_eq!(app.get("customers").await.ok()["data"][0]["name"], "Name 10");
    let contacts = app.get("customers/1/contacts").await.ok();
    let mut titles: Vec<_> =
        contacts["data"].as_array().unwrap().iter().map(|it| it["title"].clone()).collect();
    titles.sort_by_key(Value::to_string);
    assert_eq!(titles, ["first", "new"]);
    assert_eq!(app.get("onboardings").await.ok()["data"].as_array().unwrap().len(), 3);
    // The customer has been told of by 10, so that what a customer.upsert says before that is old.
    let upsert = |id: &str, sequence: i64| {
        let data = json!({"external_id": "crm-1", "name": format!("Upsert {sequence}")});
        numbered("customer.upsert", "crm", id, &json!(sequence), &data)
    };
    let taken = batch(&wire, vec![upsert("d", 9), upsert("e", 11)]).await;
    assert_eq!(intake.take(&taken).await, [SAME, DONE]);
    assert_eq!(app.get("customers").await.ok()["data"][0]["name"], "Upsert 11");
    assert!(refusals(app).await.is_empty());
}
