//! A redelivered old update after a newer one: nothing goes back.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use usher_bus::{Outgoing, Settings};
use usher_ingest::intake::Verdict;
use usher_store::Store;
use usher_testkit::skip_without_servers;

use crate::{
    app::{TestApp, on_both_engines},
    intake::{batch, create, customer, refusals},
    wire::{Wire, command, message},
};

on_both_engines! {
    a_redelivered_old_update_after_a_newer_one_nothing_goes_back,
    within_one_batch_nothing_goes_back,
    between_two_replicas_nothing_goes_back,
    after_a_crash_nothing_goes_back,
    upserts_have_an_order_too,
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
    app.made("onboardings", create("one")).await;
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
}
