//! Keys and walls.

use axum::{body::Body, http::Request};
use serde_json::json;
use usher_lifecycle::reminder::Rules;

use crate::app::{TestApp, on_both_engines, start};

on_both_engines!(
    a_key_is_needed,
    a_revoked_key_is_refused_at_once,
    test_and_live_are_apart,
    workspaces_are_walls,
    me
);

async fn a_key_is_needed(app: &TestApp) {
    let with = |value: Option<String>| {
        let mut request = Request::get("/api/v1/me");
        if let Some(value) = value {
            request = request.header("authorization", value);
        }
        app.send(request.body(Body::empty()).unwrap())
    };
    let answer = with(None).await;
    answer.refused(401, "missing_api_key", None);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    with(Some("Bearer ".into())).await.refused(401, "missing_api_key", None);
    with(Some("Bearer pivotal_nobody".into())).await.refused(401, "invalid_api_key", None);
    with(Some(format!("Basic {}", app.live))).await.refused(401, "invalid_api_key", None);
    with(Some(format!("Bearer {}x", app.live))).await.refused(401, "invalid_api_key", None);
    with(Some(format!("bEARER {}", app.live))).await.ok();
    // Before anything is said about the body or the record.
    let bare = Request::post("/api/v1/onboardings").body(Body::from("{")).unwrap();
    app.send(bare).await.refused(401, "missing_api_key", None);
}

async fn a_revoked_key_is_refused_at_once(app: &TestApp) {
    let key = app.store.create_key(app.workspace.id, "second", true, start()).await.unwrap();
    let ask = || app.send(TestApp::request_with(&key.secret, "GET", "me").body(Body::empty()).unwrap());
    ask().await.ok();
    app.store.revoke_key(app.workspace.id, &key.key.id.to_text(), start()).await.unwrap().unwrap();
    ask().await.refused(401, "api_key_revoked", None);
    app.get("me").await.ok();
}

async fn test_and_live_are_apart(app: &TestApp) {
    let live = app.made("customers", json!({"name": "Live"})).await;
    let path = format!("customers/{}", live["id"].as_str().unwrap());
    let as_test = |method: &str, path: &str, body: String| {
        app.send(TestApp::request_with(&app.test, method, path).body(Body::from(body)).unwrap())
    };
    as_test("GET", &path, String::new()).await.refused(404, "customer_not_found", None);
    as_test("PATCH", &path, "{}".into()).await.refused(404, "customer_not_found", None);
    as_test("DELETE", &path, String::new()).await.refused(404, "customer_not_found", None);
    let number = format!("customers/{}", live["display_id"]);
    as_test("GET", &number, String::new()).await.refused(404, "customer_not_found", None);
    let body = json!({"customer_id": live["id"]}).to_string();
    let refused = as_test("POST", "onboardings", body).await;
    refused.refused(404, "customer_not_found", Some("customer_id"));

    let test = as_test("POST", "customers", json!({"name": "Test"}).to_string()).await;
    assert_eq!((test.status.as_u16(), &test.json()["livemode"]), (201, &json!(false)));
    assert_eq!(as_test("GET", "customers", String::new()).await.ok()["data"], json!([test.json()]));
    assert_eq!(app.get("customers").await.ok()["data"], json!([live]));
}

async fn workspaces_are_walls(app: &TestApp) {
    let other =
        app.store.create_workspace("other", "Other", &Rules::default(), start()).await.unwrap().unwrap();
    let key = app.store.create_key(other.id, "theirs", true, start()).await.unwrap();
    let theirs = |method: &str, path: &str, body: String| {
        app.send(TestApp::request_with(&key.secret, method, path).body(Body::from(body)).unwrap())
    };
    let onboarding = app.onboarding().await;
    let user = app.made("users", json!({"name": "Ada", "email": "ada@example.com"})).await;
    let path = format!("onboardings/{}", onboarding["id"].as_str().unwrap());
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("GET", format!("{path}/events")),
        ("GET", format!("{path}/reminders")),
        ("POST", format!("{path}/reminders")),
        ("DELETE", format!("{path}/snooze")),
    ] {
        theirs(method, &path, String::new()).await.refused(404, "onboarding_not_found", None);
    }
    let body = json!({"customer_id": onboarding["customer_id"]}).to_string();
    theirs("POST", "onboardings", body).await.refused(404, "customer_not_found", Some("customer_id"));
    let mine = theirs("POST", "customers", json!({"name": "Mine"}).to_string()).await.json();
    let body = json!({"customer_id": mine["id"], "csm_id": user["id"]}).to_string();
    theirs("POST", "onboardings", body).await.refused(400, "unknown_user", Some("csm_id"));
    let filter = format!("onboardings?customer_id={}", onboarding["customer_id"].as_str().unwrap());
    theirs("GET", &filter, String::new()).await.refused(404, "customer_not_found", Some("customer_id"));
}

async fn me(app: &TestApp) {
    let me = app.get("me").await.ok();
    assert_eq!(me["object"], "me");
    assert_eq!(me["organization"], json!({"id": app.workspace.id, "slug": "acme", "name": "Acme"}));
    let prefix = me["api_key"]["prefix"].as_str().unwrap();
    assert!(app.live.starts_with(prefix) && prefix.len() < 20, "{prefix}");
    let keys: Vec<&String> = me["api_key"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "name", "prefix", "scopes", "rate_limit_tier"]);
}
