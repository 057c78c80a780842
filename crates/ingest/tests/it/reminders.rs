//! "Remind now" and the ledger.

use axum::{body::Body, http::StatusCode};
use serde_json::{Value, json};

use crate::app::{TestApp, on_both_engines};

on_both_engines!(remind_now);

async fn remind_now(app: &TestApp) {
    let onboarding = app.onboarding().await;
    let path = format!("onboardings/{}/reminders", onboarding["id"].as_str().unwrap());
    let wakes = app.wakes();
    let bare = app.send(app.request("POST", &path).body(Body::empty()).unwrap()).await;
    assert_eq!(bare.status, StatusCode::ACCEPTED, "{}", bare.body);
    assert_eq!(bare.header("etag"), None);
    let request = bare.json();
    assert!(request["id"].as_str().unwrap().starts_with("rem_"));
    assert_eq!(request["onboarding_id"], onboarding["id"]);
    assert_eq!(app.wakes(), wakes + 1, "the scheduler is told");

    let typed = app.request("POST", &path).header("content-type", "application/x-www-form-urlencoded");
    let typed = app.send(typed.body(Body::empty()).unwrap()).await;
    assert_eq!(typed.status, StatusCode::ACCEPTED, "no body has no type");
    assert_eq!(app.post(&path, json!({})).await.status, StatusCode::ACCEPTED);
    assert_eq!(app.post(&path, json!({"channels": ["email"]})).await.status, StatusCode::ACCEPTED);
    app.post(&path, json!({"channels": ["fax"]})).await.refused(400, "invalid_value", Some("channels.0"));

    let ledger = app.get(&path).await.ok();
    let (rows, upcoming) = (&ledger["data"], &ledger["upcoming"]);
    assert_eq!(
        (rows, &ledger["has_more"], &ledger["next_cursor"]),
        (&json!([]), &json!(false), &Value::Null)
    );
    assert_eq!(upcoming["slots"].as_array().map(Vec::len), Some(5), "{upcoming}");
    assert_eq!(upcoming["slots"][0]["due_at"], onboarding["next_reminder_at"]);
    assert_eq!(upcoming["recipients"], json!([]), "nobody has a role");
    assert_eq!(upcoming["reason"], "no_recipient", "and no address stands in for them");
    let unchanged = app.get(&format!("onboardings/{}", onboarding["id"].as_str().unwrap())).await.ok();
    assert_eq!(unchanged["version"], 1, "asking for a reminder is no change of the onboarding");
}
