//! "Remind now" and the ledger.

use axum::{body::Body, http::StatusCode};
use serde_json::{Value, json};

use crate::app::{TestApp, on_both_engines};

on_both_engines!(remind_now, what_comes_next_for_the_customer, a_paused_one_tells_nobody);

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

/// What planning and the check before sending would say is what the API says, and nothing is left silent.
async fn what_comes_next_for_the_customer(app: &TestApp) {
    let customer = app.made("customers", json!({"name": "Acme"})).await;
    let number = customer["display_id"].to_string();
    let onboarding = app.made("onboardings", json!({"customer_id": number, "state": "waiting"})).await;
    let id = onboarding["id"].as_str().unwrap();
    let next =
        async || app.get(&format!("onboardings/{id}/reminders")).await.ok()["upcoming"]["customer"].clone();
    let nobody = |reason: &str| json!({"channel": null, "recipient": null, "name": null, "why": null, "send_at": null, "reason": reason});
    assert_eq!(next().await, nobody("customer_not_nudged"));
    app.patch("workspace", json!({"nudge_customer": true})).await.ok();
    assert_eq!(next().await, nobody("no_recipient"));
    let contacts = format!("customers/{number}/contacts");
    let bea = app.made(&contacts, json!({"name": "Bea", "email": "bea@customer.example"})).await;
    let told = json!({
        "channel": "email", "recipient": format!("contact:{}", bea["id"].as_str().unwrap()), "name": "Bea",
        "why": "customer", "send_at": "2026-03-03T09:00:00Z", "reason": null,
    });
    assert_eq!(next().await, told);
    // A second contact is none of it.
    app.made(&contacts, json!({"name": "Carl", "email": "carl@customer.example"})).await;
    assert_eq!(next().await, told);
    let change = async |body: Value| app.patch(&format!("onboardings/{id}"), body).await.ok();
    change(json!({"reminder_email": false})).await;
    assert_eq!(next().await, nobody("channel_off"));
    change(json!({"reminder_email": true, "state": "at_risk"})).await;
    assert_eq!(next().await, nobody("not_waiting"));
    change(json!({"state": "waiting"})).await;
    assert_eq!(next().await, told);
}

async fn a_paused_one_tells_nobody(app: &TestApp) {
    let ada = app.made("users", json!({"name": "Ada", "email": "ada@example.com"})).await;
    let customer = app.made("customers", json!({"name": "Acme"})).await;
    let asked = json!({"customer_id": customer["display_id"].to_string(), "csm_id": ada["id"]});
    let onboarding = app.made("onboardings", asked).await;
    let path = format!("onboardings/{}", onboarding["id"].as_str().unwrap());
    let next = async || app.get(&format!("{path}/reminders")).await.ok()["upcoming"].clone();
    let before = next().await;
    let first = &before["slots"][0];
    assert_eq!((&first["send_after"], &before["missed"]), (&first["due_at"], &json!([])));
    assert!(before["recipients"].as_array().is_some_and(|all| !all.is_empty()), "{before}");
    app.patch(&path, json!({"state": "paused"})).await.ok();
    let after = next().await;
    assert_eq!(
        (&after["slots"], &after["recipients"], &after["reason"]),
        (&json!([]), &json!([]), &json!("paused"))
    );
}
