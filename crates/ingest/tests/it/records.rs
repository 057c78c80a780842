//! Customers and users.

use std::sync::Arc;

use serde_json::{Value, json};
use usher_ingest::intake::Verdict;

use crate::{
    app::{TestApp, on_both_engines},
    intake::{batch, create, customer, keys},
    wire::{Wire, cloud_event},
};

on_both_engines!(
    a_customer_from_start_to_end,
    a_user_from_start_to_end,
    names_that_are_taken,
    keys_of_a_deleted_customers_children_are_free,
    commands_take_the_keys_of_a_deleted_customers_children
);

async fn a_customer_from_start_to_end(app: &TestApp) {
    let sent = json!({
        "name": "Initech", "slug": "initech", "domain": "initech.example", "status": "active", "plan": "gold",
        "mrr": 1234.5, "monthly_orders": 17, "hubspot_company_id": "h1", "hubspot_deal_id": "h2",
        "stripe_customer_id": "s1", "intercom_company_id": "i1", "slack_channel_id": "C1", "external_id": "e1",
        "metadata": {"tier": "a", "tags": [1, {"x": null}]},
    });
    let made = app.made("customers", sent.clone()).await;
    for (field, value) in sent.as_object().unwrap() {
        assert_eq!(&made[field], value, "{field}");
    }
    let wanted = [
        "object",
        "id",
        "display_id",
        "name",
        "slug",
        "domain",
        "status",
        "plan",
        "mrr",
        "monthly_orders",
        "hubspot_company_id",
        "hubspot_deal_id",
        "stripe_customer_id",
        "intercom_company_id",
        "slack_channel_id",
        "external_id",
        "metadata",
        "created_at",
        "updated_at",
    ];
    let keys: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(keys[..wanted.len()], wanted);

    let path = format!("customers/{}", made["id"].as_str().unwrap());
    let read = app.get(&path).await;
    assert_eq!((read.ok(), read.header("etag")), (made.clone(), Some("\"1\"")));
    assert_eq!(app.get(&format!("customers/{}", made["display_id"])).await.ok(), made);

    let fields = json!({"plan": null, "mrr": null, "metadata": {"tags": null, "new": true}});
    let changed = app.patch(&path, fields).await.ok();
    assert_eq!((&changed["plan"], &changed["mrr"]), (&Value::Null, &Value::Null));
    assert_eq!(changed["metadata"], json!({"tier": "a", "new": true}));
    assert_eq!(changed["version"], 2);
    let nested = json!({"metadata": {"a": {"b": {"keep": 1, "drop": 2}, "c": 3}, "list": [{"x": 1}]}});
    app.patch(&path, nested).await.ok();
    let merged =
        json!({"metadata": {"a": {"b": {"drop": null, "add": {"deep": null, "on": true}}}, "list": [{}]}});
    let merged = app.patch(&path, merged).await.ok();
    assert_eq!(
        merged["metadata"],
        json!({"tier": "a", "new": true, "a": {"b": {"keep": 1, "add": {"on": true}}, "c": 3}, "list": [{}]})
    );
    // Parts that are small enough each may be too much together.
    let part = |key: &str| json!({"metadata": {"parts": {(key): "x".repeat(20_000)}}});
    app.patch(&path, part("one")).await.ok();
    app.patch(&path, part("two")).await.refused(400, "too_long", Some("metadata"));
    app.patch(&path, json!({"metadata": {"parts": null}})).await.ok();
    app.patch(&path, part("two")).await.ok();
    app.patch(&path, json!({"name": null})).await.refused(400, "invalid_type", Some("name"));

    app.delete(&path).await.ok();
    app.get(&path).await.refused(404, "customer_not_found", None);
    app.made("customers", json!({"name": "Again", "slug": "initech", "external_id": "e1"})).await;
}

async fn a_user_from_start_to_end(app: &TestApp) {
    let made = app
        .made(
            "users",
            json!({
                "name": "Ada", "email": "Ada@Example.com", "slack_user_id": "U123", "time_zone": "Europe/Berlin",
                "quiet_hours": {"from": "22:00", "to": "07:00"}, "days_off": ["2026-12-24", "fri"],
                "mute_until": "2026-03-05T00:00:00Z", "slack_enabled": false,
            }),
        )
        .await;
    assert_eq!((&made["object"], &made["email"]), (&json!("user"), &json!("ada@example.com")));
    assert_eq!(made["quiet_hours"], json!({"from": "22:00", "to": "07:00"}));
    assert_eq!(made["days_off"], json!(["fri", "2026-12-24"]));
    assert_eq!((&made["email_enabled"], &made["slack_enabled"]), (&json!(true), &json!(false)));
    assert_eq!(made["active"], true);

    let path = format!("users/{}", made["id"].as_str().unwrap());
    let read = app.get(&path).await;
    assert_eq!((read.ok(), read.header("etag")), (made.clone(), Some("\"1\"")));
    let later = app.patch(&path, json!({"quiet_hours": {"from": "20:30"}})).await.ok();
    assert_eq!(later["quiet_hours"], json!({"from": "20:30", "to": "07:00"}));
    assert_eq!(app.patch(&path, json!({"quiet_hours": {}})).await.ok(), later);
    let null = app.patch(&path, json!({"quiet_hours": {"to": null}})).await;
    null.refused(400, "invalid_type", Some("quiet_hours.to"));
    let changed = app.patch(&path, json!({"active": false, "quiet_hours": null, "days_off": []})).await.ok();
    let half = app.patch(&path, json!({"quiet_hours": {"from": "20:30"}})).await;
    half.refused(400, "missing_field", Some("quiet_hours.to"));
    assert_eq!((&changed["active"], &changed["quiet_hours"]), (&json!(false), &Value::Null));
    assert_eq!(changed["days_off"], json!([]));
    assert_eq!(app.get("users").await.ok()["data"], json!([changed]));

    assert_eq!(app.delete(&path).await.ok()["object"], "deleted");
    assert_eq!(app.delete(&path).await.ok()["object"], "deleted");
    app.get(&path).await.refused(404, "user_not_found", None);
    assert_eq!(app.get("users").await.ok()["data"], json!([]));
    let away = json!({"name": "Bob", "email": "bob@example.com", "active": false});
    assert_eq!(app.made("users", away).await["active"], false);
}

async fn names_that_are_taken(app: &TestApp) {
    app.made("customers", json!({"name": "One", "slug": "one", "external_id": "e"})).await;
    let post = |body: Value| app.post("customers", body);
    post(json!({"name": "Two", "slug": "one"})).await.refused(409, "slug_taken", Some("slug"));
    post(json!({"name": "Two", "external_id": "e"})).await.refused(
        409,
        "external_id_taken",
        Some("external_id"),
    );
    app.made("users", json!({"name": "Ada", "email": "ada@example.com"})).await;
    let again = app.post("users", json!({"name": "Ada", "email": "ADA@example.com"})).await;
    again.refused(409, "email_taken", Some("email"));
}

async fn keys_of_a_deleted_customers_children_are_free(app: &TestApp) {
    for round in 0..2 {
        let customer = app.made("customers", json!({"name": "Acme", "external_id": "c"})).await;
        let path = format!("customers/{}", customer["id"].as_str().unwrap());
        let contact = json!({"name": "Ada", "email": "ada@example.com", "external_id": "k"});
        app.made(&format!("{path}/contacts"), contact.clone()).await;
        let onboarding = json!({"customer_id": customer["id"], "external_id": "o"});
        let made = app.made("onboardings", onboarding.clone()).await;
        let taken = (409, "external_id_taken", Some("external_id"));
        app.post("onboardings", onboarding).await.refused(taken.0, taken.1, taken.2);
        app.post(&format!("{path}/contacts"), contact).await.refused(taken.0, taken.1, taken.2);
        app.delete(&path).await.ok();
        let child = format!("onboardings/{}", made["id"].as_str().unwrap());
        app.get(&child).await.refused(404, "onboarding_not_found", None);
        assert_eq!(app.get("onboardings").await.ok()["data"], json!([]), "round {round}");
    }
}

async fn commands_take_the_keys_of_a_deleted_customers_children(app: &TestApp) {
    usher_testkit::skip_without_servers!();
    let wire = Wire::new().await;
    let mut intake = wire.intake(app, Arc::new(|| ()));
    for round in ["first", "second"] {
        customer(app).await;
        let contact = json!({
            "external_id": "k", "customer_id": "external:crm-1", "name": "Ada", "email": "ada@example.com",
        });
        let messages = vec![
            cloud_event("onboarding.create", &format!("{round} onboarding"), &create("one")),
            cloud_event("contact.upsert", &format!("{round} contact"), &contact),
        ];
        let taken = intake.take(&batch(&wire, messages).await).await;
        assert_eq!(taken, [Verdict::Committed, Verdict::Committed], "{round}");
        assert_eq!(keys(app).await, ["one"], "{round}");
        let customers = app.get("customers").await.ok();
        app.delete(&format!("customers/{}", customers["data"][0]["id"].as_str().unwrap())).await.ok();
    }
}
