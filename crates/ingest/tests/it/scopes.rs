//! What a key may do, how keys make and end each other, how often they may ask.

use std::{collections::BTreeSet, net::SocketAddr};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode},
};
use chrono::TimeDelta;
use serde_json::{Value, json};
use usher_ingest::http::document;
use usher_lifecycle::Scope;

use crate::app::{Answer, TestApp, on_both_engines};

on_both_engines!(
    each_route_asks_for_its_scope,
    a_key_gives_what_it_has,
    a_revocation_holds_on_the_next_request_of_another_replica,
    a_rotated_key_goes_on_until_its_time_is_over,
    test_keys_know_of_test_keys_only,
    use_is_noted,
    the_rate_is_limited_and_told,
    failed_authentication_is_limited_per_address,
);

/// Driven by the table of routes: the document says of each operation which scope it needs.
async fn each_route_asks_for_its_scope(app: &TestApp) {
    let every: Vec<String> = Scope::all().map(|scope| scope.to_string()).collect();
    let (mut asked, mut open) = (BTreeSet::new(), Vec::new());
    let document = document();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let needs = operation["description"].as_str().unwrap();
            let Some(scope) = needs.split('`').nth(1) else {
                open.push(path.as_str());
                continue;
            };
            // Whoever has it gets past the door; whoever has every other one does not.
            let group = scope.split_once(':').map(|(verb, _)| format!("{verb}:*"));
            let gives = |it: &&String| *it == scope || *it == "*" || Some(*it) == group.as_ref();
            let others: Vec<&str> = every.iter().filter(|it| !gives(it)).map(String::as_str).collect();
            let (method, path) = (method.to_uppercase(), path.replace("{id}", "none"));
            let refused = app.with(&app.key(&others, None).await, &method, &path, "{").await;
            refused.refused(403, "insufficient_scope", None);
            assert!(refused.body.contains(&format!("lacks the scope {scope}\"")), "{}", refused.body);
            assert!(refused.header("x-ratelimit-limit").is_some(), "the caller is known");
            for enough in every.iter().filter(gives) {
                let answer = app.with(&app.key(&[enough], None).await, &method, &path, "{").await;
                assert_ne!(answer.status, StatusCode::FORBIDDEN, "{method} {path} with {enough}");
            }
            asked.insert(scope.to_owned());
        }
    }
    // Every scope opens something, and nothing else is open but what says so.
    let single = every.iter().filter(|scope| !scope.ends_with('*')).cloned().collect();
    assert_eq!(asked, single);
    let free =
        ["/livez", "/readyz", "/metrics", "/api/v1/health", "/api/v1/openapi.json", "/docs", "/api/v1/me"];
    assert_eq!(BTreeSet::from_iter(open), BTreeSet::from(free));

    let customer = app.made("customers", json!({"name": "Initech"})).await;
    let path = format!("customers/{}", customer["id"].as_str().unwrap());
    let reader = app.key(&["read:customers"], None).await;
    let writer = app.key(&["write:*"], None).await;
    assert_eq!(app.with(&reader, "GET", &path, "").await.ok()["name"], "Initech");
    app.with(&writer, "PATCH", &path, r#"{"name": "Initrode"}"#).await.ok();
    // `/me` is open to every key.
    let me = app.with(&reader, "GET", "me", "").await.ok();
    assert_eq!(me["api_key"]["scopes"], json!(["read:customers"]));
    assert_eq!(app.get("me").await.ok()["api_key"]["scopes"], json!(["*"]));
}

async fn a_key_gives_what_it_has(app: &TestApp) {
    let admin = app.key(&["admin", "read:*"], None).await;
    let body = json!({"name": "reports", "scopes": ["read:onboardings"], "rate_limit": 0}).to_string();
    let answer = app.with(&admin, "POST", "api_keys", &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let made = answer.json();
    let secret = made["secret"].as_str().unwrap();
    app.with(secret, "GET", "onboardings", "").await.ok();
    assert_eq!(app.with(secret, "GET", "me", "").await.ok()["api_key"]["rate_limit_tier"], "unlimited");

    for scopes in [json!(["*"]), json!(["write:users"]), json!(["read:*", "write:*"])] {
        let body = json!({"name": "more", "scopes": scopes}).to_string();
        let refused = app.with(&admin, "POST", "api_keys", &body).await;
        refused.refused(403, "insufficient_scope", Some("scopes"));
    }
    // All scopes are the default, and that is more than this key has.
    let refused = app.with(&admin, "POST", "api_keys", r#"{"name": "all"}"#).await;
    refused.refused(403, "insufficient_scope", Some("scopes"));
    // Nor does it get hold of a stronger one by rotating it.
    let strong = app.made("api_keys", json!({"name": "all"})).await;
    let path = format!("api_keys/{}/rotate", strong["id"].as_str().unwrap());
    app.with(&admin, "POST", &path, "").await.refused(403, "insufficient_scope", None);

    let listed = app.get("api_keys").await;
    assert!(!listed.body.contains(secret) && !listed.body.contains("\"secret\""), "shown once");
    for (body, code, field) in [
        (json!({}), "missing_field", "name"),
        (json!({"name": ""}), "too_small", "name"),
        (json!({"name": "x", "scopes": []}), "too_small", "scopes"),
        (json!({"name": "x", "scopes": ["read:everything"]}), "invalid_value", "scopes.0"),
        (json!({"name": "x", "rate_limit": -1}), "too_small", "rate_limit"),
        (json!({"name": "x", "rate_limit": 1_000_000}), "too_big", "rate_limit"),
        (json!({"name": "x", "secret": "mine"}), "unrecognized_key", "secret"),
    ] {
        app.post("api_keys", body).await.refused(400, code, Some(field));
    }
    let request = app.request("POST", "api_keys").header("idempotency-key", "once");
    let refused = app.send(request.body(Body::from(r#"{"name": "x"}"#)).unwrap()).await;
    refused.refused(400, "invalid_combination", Some("Idempotency-Key"));
}

async fn a_revocation_holds_on_the_next_request_of_another_replica(app: &TestApp) {
    let replica = app.replica().await;
    let made = app.made("api_keys", json!({"name": "second"})).await;
    let secret = made["secret"].as_str().unwrap();
    let there = || {
        let request = TestApp::request_with(secret, "GET", "me").body(Body::empty()).unwrap();
        TestApp::send_to(&replica, request)
    };
    there().await.ok();
    let path = format!("api_keys/{}", made["id"].as_str().unwrap());
    // It cannot end itself.
    app.with(secret, "DELETE", &path, "").await.refused(409, "own_key", None);
    there().await.ok();
    let revoked = app.delete(&path).await.ok();
    assert!(revoked["revoked_at"].is_string());
    there().await.refused(401, "api_key_revoked", None);
    app.with(secret, "GET", "me", "").await.refused(401, "api_key_revoked", None);
    assert_eq!(app.delete(&path).await.ok(), revoked, "again is no change");
    app.delete("api_keys/1").await.refused(404, "api_key_not_found", None);
    app.delete("api_keys/key_x").await.refused(404, "api_key_not_found", None);
    let rotate = format!("{path}/rotate");
    app.post(&rotate, json!({})).await.refused(404, "api_key_not_found", None);
    app.get("me").await.ok();
}

async fn a_rotated_key_goes_on_until_its_time_is_over(app: &TestApp) {
    let old = app.made("api_keys", json!({"name": "crm", "scopes": ["read:*"], "rate_limit": 10})).await;
    let path = format!("api_keys/{}/rotate", old["id"].as_str().unwrap());
    let next = app.made(&path, json!({"overlap_seconds": 3600})).await;
    for field in ["name", "scopes", "rate_limit", "livemode"] {
        assert_eq!(next[field], old[field], "{field}");
    }
    assert_ne!(next["id"], old["id"]);
    let ask = |key: &Value| app_get(app, key["secret"].as_str().unwrap().to_owned());
    ask(&old).await.ok();
    ask(&next).await.ok();
    app.clock.advance(TimeDelta::seconds(3_599));
    ask(&old).await.ok();
    app.clock.advance(TimeDelta::seconds(1));
    ask(&old).await.refused(401, "api_key_revoked", None);
    ask(&next).await.ok();
    // Without an overlap the old one stays until it is revoked, and no body is needed.
    let path = format!("api_keys/{}/rotate", next["id"].as_str().unwrap());
    let last = app.raw("POST", &path, "").await;
    assert_eq!(last.status, StatusCode::CREATED, "{}", last.body);
    app.clock.advance(TimeDelta::days(400));
    ask(&next).await.ok();
    ask(&last.json()).await.ok();
    app.post(&path, json!({"overlap_seconds": 2_592_001})).await.refused(
        400,
        "too_big",
        Some("overlap_seconds"),
    );
}

async fn app_get(app: &TestApp, key: String) -> Answer {
    app.with(&key, "GET", "me", "").await
}

async fn test_keys_know_of_test_keys_only(app: &TestApp) {
    let live = app.get("me").await.ok()["api_key"]["id"].clone();
    let listed = app.with(&app.test, "GET", "api_keys", "").await.ok();
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed["data"][0]["livemode"], false);
    assert_eq!(app.get("api_keys").await.ok()["data"].as_array().map(Vec::len), Some(2));
    let path = format!("api_keys/{}", live.as_str().unwrap());
    app.with(&app.test, "DELETE", &path, "").await.refused(404, "api_key_not_found", None);
    let body = r#"{"name": "x", "livemode": true}"#;
    app.with(&app.test, "POST", "api_keys", body).await.refused(400, "invalid_value", Some("livemode"));
    let made = app.with(&app.test, "POST", "api_keys", r#"{"name": "x"}"#).await.json();
    assert_eq!(made["livemode"], false);
    assert!(made["secret"].as_str().unwrap().starts_with("pivotal_test_"));
    let made = app.made("api_keys", json!({"name": "x", "livemode": false})).await;
    assert_eq!(made["livemode"], false);
}

async fn use_is_noted(app: &TestApp) {
    let key = app.key(&["read:*"], None).await;
    for second in 0..3 {
        app.clock.advance(TimeDelta::seconds(second));
        let mut request = TestApp::request_with(&key, "GET", "customers").body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 40_000))));
        app.send(request).await.ok();
    }
    app.with(&key, "POST", "customers", "{}").await.refused(403, "insufficient_scope", None);
    let of = |listed: Value| {
        let all = listed["data"].as_array().unwrap().clone();
        all.into_iter().find(|it| key.starts_with(it["prefix"].as_str().unwrap())).unwrap()
    };
    let noted = of(app.get("api_keys").await.ok());
    assert_eq!(noted["request_count"], 4);
    assert_eq!(noted["last_used_at"], json!("2026-03-02T08:00:03Z"));
    assert_eq!(noted["last_used_from"], Value::Null, "the last one had no address");
    // What another process notes is added.
    let replica = app.replica().await;
    let request = |key: &str, path| TestApp::request_with(key, "GET", path).body(Body::empty()).unwrap();
    TestApp::send_to(&replica, request(&key, "customers")).await.ok();
    TestApp::send_to(&replica, request(&app.live, "api_keys")).await.ok();
    assert_eq!(of(app.get("api_keys").await.ok())["request_count"], 5);
}

async fn the_rate_is_limited_and_told(app: &TestApp) {
    let begun = app.clock.now().timestamp();
    let usual = app.get("me").await;
    assert_eq!(usual.header("x-ratelimit-limit"), Some("600"));
    assert_eq!(usual.header("x-ratelimit-remaining"), Some("599"));
    assert_eq!(app.with(&app.test, "GET", "me", "").await.header("x-ratelimit-limit"), Some("300"));

    let key = app.key(&["*"], Some(3)).await;
    for left in ["2", "1", "0"] {
        // Refused ones count and are told as well.
        let answer = app.with(&key, "GET", "onboardings/1", "").await;
        answer.refused(404, "onboarding_not_found", None);
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(left));
        assert_eq!(answer.header("x-ratelimit-reset"), Some((begun + 61).to_string().as_str()));
        app.clock.advance(TimeDelta::seconds(10));
    }
    let answer = app.with(&key, "GET", "me", "").await;
    answer.refused(429, "rate_limited", None);
    assert_eq!(answer.header("x-ratelimit-limit"), Some("3"));
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
    let wait: i64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(wait, 31);
    app.get("me").await.ok();
    app.clock.advance(TimeDelta::seconds(wait));
    app.with(&key, "GET", "me", "").await.ok();
    app.with(&key, "GET", "me", "").await.refused(429, "rate_limited", None);

    let free = app.key(&["*"], Some(0)).await;
    for _ in 0..700 {
        assert_eq!(app.with(&free, "GET", "/api/v1/none", "").await.header("x-ratelimit-limit"), None);
    }
    let answer = app.with(&free, "GET", "me", "").await;
    answer.ok();
    assert_eq!(answer.header("x-ratelimit-limit"), None, "no limit, no header");
}

async fn failed_authentication_is_limited_per_address(app: &TestApp) {
    let from = |address: [u8; 4], key: &str| {
        let mut request = TestApp::request_with(key, "GET", "me").body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 40_000))));
        app.send(request)
    };
    let (guesser, neighbour) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    from(guesser, &app.live).await.ok();
    for guess in 0..60 {
        from(guesser, &format!("pivotal_{guess}")).await.refused(401, "invalid_api_key", None);
    }
    let answer = from(guesser, "pivotal_60").await;
    answer.refused(429, "rate_limited", None);
    assert_eq!(answer.header("retry-after"), Some("61"));
    // Even the right one is not looked up any more, unless it worked before.
    from(guesser, &app.test).await.refused(429, "rate_limited", None);
    from(guesser, &app.live).await.ok();
    from(neighbour, &app.test).await.ok();
    from(guesser, &app.test).await.ok();
    let bare = Request::get("/api/v1/health").body(Body::empty()).unwrap();
    app.send(bare).await.ok();
    app.clock.advance(TimeDelta::seconds(61));
    from(guesser, "pivotal_61").await.refused(401, "invalid_api_key", None);
}
