//! `Idempotency-Key`.

use axum::body::Body;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp, on_both_engines};

on_both_engines!(
    a_repeat_is_answered_byte_for_byte,
    another_body_is_refused,
    a_failed_first_try_frees_the_key,
    keys_do_not_collide_across_endpoints_and_modes,
    parallel_twins_make_one_record,
);

async fn keyed(app: &TestApp, secret: &str, path: &str, key: &str, body: &Value) -> Answer {
    let request = TestApp::request_with(secret, "POST", path).header("idempotency-key", key);
    app.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn a_repeat_is_answered_byte_for_byte(app: &TestApp) {
    let onboarding = app.onboarding().await;
    let id = onboarding["id"].as_str().unwrap();
    for (path, body, status) in [
        ("customers".to_owned(), json!({"name": "Twice"}), 201),
        (format!("onboardings/{id}/snooze"), json!({"days": 3}), 200),
        (format!("onboardings/{id}/reminders"), json!({"channels": ["email"]}), 202),
    ] {
        let first = keyed(app, &app.live, &path, "k", &body).await;
        assert_eq!(first.status, status, "{path}: {}", first.body);
        assert_eq!(first.header("idempotent-replayed"), None);
        // What happens in between does not show in the kept answer.
        app.patch(&format!("onboardings/{id}"), json!({"notes": path})).await.ok();
        let wakes = app.wakes();
        let again = keyed(app, &app.live, &path, "k", &body).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body), "{path}");
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{path}");
        assert_eq!(app.wakes(), wakes, "a repeat does nothing");
    }
    assert_eq!(app.get("customers?limit=100").await.ok()["data"].as_array().unwrap().len(), 2);
}

async fn another_body_is_refused(app: &TestApp) {
    assert_eq!(keyed(app, &app.live, "customers", "k", &json!({"name": "One"})).await.status, 201);
    let other = keyed(app, &app.live, "customers", "k", &json!({"name": "Two"})).await;
    other.refused(409, "idempotency_key_reused", None);
    let empty = keyed(app, &app.live, "customers", "", &json!({"name": "Two"})).await;
    empty.refused(400, "too_small", Some("Idempotency-Key"));
    let long = keyed(app, &app.live, "customers", &"k".repeat(256), &json!({"name": "Two"})).await;
    long.refused(400, "too_long", Some("Idempotency-Key"));
}

async fn a_failed_first_try_frees_the_key(app: &TestApp) {
    let body = json!({"customer_id": "1", "external_id": "e"});
    keyed(app, &app.live, "onboardings", "k", &body).await.refused(
        404,
        "customer_not_found",
        Some("customer_id"),
    );
    let customer = app.made("customers", json!({"name": "Now"})).await;
    let body = json!({"customer_id": customer["id"], "external_id": "e"});
    assert_eq!(keyed(app, &app.live, "onboardings", "k", &body).await.status, 201);
}

async fn keys_do_not_collide_across_endpoints_and_modes(app: &TestApp) {
    let body = json!({"name": "Ada", "email": "ada@example.com"});
    let live = keyed(app, &app.live, "users", "k", &body).await;
    let test = keyed(app, &app.test, "users", "k", &body).await;
    assert_eq!((live.status.as_u16(), test.status.as_u16()), (201, 201), "{}", test.body);
    assert_ne!(live.json()["id"], test.json()["id"]);
    let customer = keyed(app, &app.live, "customers", "k", &json!({"name": "Ada"})).await;
    assert_eq!((customer.status.as_u16(), &customer.json()["object"]), (201, &json!("customer")));
    let (one, other) = (app.onboarding().await, app.onboarding().await);
    for onboarding in [one, other] {
        let path = format!("onboardings/{}/snooze", onboarding["id"].as_str().unwrap());
        let answer = keyed(app, &app.live, &path, "s", &json!({"days": 2})).await;
        assert_eq!(answer.ok()["id"], onboarding["id"]);
    }
}

async fn parallel_twins_make_one_record(app: &TestApp) {
    let body = json!({"name": "Twin"});
    let twins = (0..8).map(|_| keyed(app, &app.live, "customers", "k", &body));
    let answers = futures_util::future::join_all(twins).await;
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert!(!made.is_empty());
    assert!(made.iter().all(|answer| answer.body == made[0].body), "one record, one answer");
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.refused(409, "idempotency_key_in_progress", Some("Idempotency-Key"));
    }
    assert_eq!(app.get("customers").await.ok()["data"].as_array().unwrap().len(), 1);
}
