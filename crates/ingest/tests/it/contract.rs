//! The create call, to the letter of the public contract.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::app::{TestApp, on_both_engines, start};

/// The required fields of the contract's `Onboarding`, in its order.
const FIELDS: [&str; 23] = [
    "object",
    "id",
    "display_id",
    "customer_id",
    "template_id",
    "phase",
    "state",
    "started_at",
    "completed_at",
    "target_launch_date",
    "csm_id",
    "se_id",
    "designer_id",
    "product_ops_id",
    "notes",
    "waiting_on_customer",
    "waiting_on_customer_since",
    "wizard_completed_at",
    "reminder_email",
    "reminder_slack",
    "reminder_frequency_days",
    "created_at",
    "updated_at",
];

on_both_engines!(a_customer_id_is_enough, every_field_is_answered_as_it_was_sent, what_the_contract_refuses);

async fn a_customer_id_is_enough(app: &TestApp) {
    let customer = app.made("customers", json!({"name": "Initech"})).await;
    let answer = app.post("onboardings", json!({"customer_id": customer["id"]})).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    assert_eq!(answer.header("etag"), Some("\"1\""));

    let body = answer.json();
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys[..FIELDS.len()], FIELDS, "the contract's fields come first, in its order");
    insta::assert_json_snapshot!("created", redacted(&body));
    assert_eq!(body["customer_id"], customer["id"]);
    assert_eq!(body["started_at"], body["created_at"]);
    assert_eq!(body["updated_at"], body["created_at"]);

    let read = app.get(&format!("onboardings/{}", body["id"].as_str().unwrap())).await;
    assert_eq!(read.body, answer.body, "what was answered is what is there, byte for byte");
    assert_eq!(app.wakes(), 2, "each commit has events for the relay, and may have made something due");
}

/// What differs from run to run, by its form.
fn redacted(body: &Value) -> Value {
    let mut body = body.clone();
    for (field, prefix) in [("id", "onb_"), ("customer_id", "cust_")] {
        let id = body[field].as_str().unwrap();
        assert_eq!(id.strip_prefix(prefix).map(str::len), Some(26), "{id}");
        body[field] = format!("[{prefix} and 26 letters]").into();
    }
    for field in ["started_at", "created_at", "updated_at"] {
        let instant = chrono::DateTime::parse_from_rfc3339(body[field].as_str().unwrap());
        assert_eq!(instant.unwrap().timestamp(), start().timestamp());
        body[field] = "[the instant of the request]".into();
    }
    assert!(body["display_id"].as_i64().is_some_and(|number| number >= 1));
    body["display_id"] = "[number]".into();
    body
}

async fn every_field_is_answered_as_it_was_sent(app: &TestApp) {
    let customer = app.made("customers", json!({"name": "Initech"})).await;
    let ada = app.made("users", json!({"name": "Ada", "email": "Ada@Example.com"})).await;
    let bob = app.made("users", json!({"name": "Bob", "email": "bob@example.com"})).await;
    let sent = json!({
        "customer_id": customer["display_id"].to_string(), "phase": "review", "state": "waiting",
        "started_at": "2026-02-01T10:00:00+02:00", "target_launch_date": "2026-05-01T09:00:00.123456Z",
        "csm_id": "ADA@example.com", "se_id": bob["id"], "designer_id": bob["display_id"].to_string(),
        "product_ops_id": null, "notes": "Zeile 1\nשורה 2", "reminder_email": false, "reminder_slack": true,
        "reminder_frequency_days": 7, "external_id": "deal-9",
    });
    let made = app.made("onboardings", sent.clone()).await;
    for field in [
        "phase",
        "state",
        "notes",
        "reminder_email",
        "reminder_slack",
        "reminder_frequency_days",
        "external_id",
    ] {
        assert_eq!(made[field], sent[field], "{field}");
    }
    assert_eq!(made["customer_id"], customer["id"]);
    assert_eq!((&made["csm_id"], &made["se_id"], &made["designer_id"]), (&ada["id"], &bob["id"], &bob["id"]));
    assert_eq!(made["product_ops_id"], Value::Null);
    assert_eq!(made["started_at"], "2026-02-01T08:00:00Z");
    assert_eq!(made["target_launch_date"], "2026-05-01T09:00:00.123456Z");
    assert_eq!(made["waiting_on_customer"], true);
    assert_eq!(made["waiting_on_customer_since"], made["created_at"]);
    assert_eq!(made["livemode"], true);
}

async fn what_the_contract_refuses(app: &TestApp) {
    let post = |body: Value| app.post("onboardings", body);
    post(json!({})).await.refused(400, "missing_field", Some("customer_id"));
    for unknown in ["cust_987654321", "9999999", "99999999999999999999", "nobody", "%00"] {
        post(json!({"customer_id": unknown})).await.refused(404, "customer_not_found", Some("customer_id"));
    }
    let customer = app.made("customers", json!({"name": "Initech", "external_id": "crm-9"})).await;
    let id = &customer["id"];
    // The form of commands over NATS.
    let over_nats = post(json!({"customer_id": "external:crm-9"})).await;
    over_nats.refused(404, "customer_not_found", Some("customer_id"));
    post(json!({"customer_id": id, "csm_id": "nobody@example.com"})).await.refused(
        400,
        "unknown_user",
        Some("csm_id"),
    );
    post(json!({"customer_id": id, "template_id": "tmpl_1"})).await.refused(
        400,
        "unknown_template",
        Some("template_id"),
    );
    post(json!({"customer_id": id, "started_at": "2030-01-01T00:00:00Z"})).await.refused(
        400,
        "too_big",
        Some("started_at"),
    );
    post(json!({"customer_id": id, "nickname": 1})).await.refused(400, "unrecognized_key", Some("nickname"));

    app.made("onboardings", json!({"customer_id": id, "external_id": "deal-1"})).await;
    let again = post(json!({"customer_id": id, "external_id": "deal-1"})).await;
    again.refused(409, "external_id_taken", Some("external_id"));

    app.delete(&format!("customers/{}", id.as_str().unwrap())).await.ok();
    post(json!({"customer_id": id})).await.refused(404, "customer_not_found", Some("customer_id"));
}
