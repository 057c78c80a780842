//! Every way to be refused has the envelope and an id.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::json;

use crate::app::{TestApp, on_both_engines};

on_both_engines!(no_route_no_method, bodies, ids_that_are_none, the_store_is_away, probes);

async fn no_route_no_method(app: &TestApp) {
    app.get("/").await.refused(404, "route_not_found", None);
    app.get("/api/v1/nothing").await.refused(404, "route_not_found", None);
    app.get("/api/v1/onboardings/").await.refused(404, "route_not_found", None);
    app.get("/api/v1/%ff").await.refused(404, "route_not_found", None);
    for (method, path, allow) in [
        ("PUT", "onboardings", "GET,HEAD,POST"),
        ("POST", "onboardings/1", "GET,HEAD,PATCH,DELETE"),
        ("GET", "onboardings/1/snooze", "POST,DELETE"),
        ("OPTIONS", "users", "GET,HEAD,POST"),
        ("BREW", "/livez", "GET,HEAD"),
    ] {
        let answer = app.send(app.request(method, path).body(Body::empty()).unwrap()).await;
        answer.refused(405, "method_not_allowed", None);
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    let head = app.send(app.request("HEAD", "onboardings").body(Body::empty()).unwrap()).await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
}

async fn bodies(app: &TestApp) {
    app.raw("POST", "onboardings", "").await.refused(400, "invalid_json", None);
    app.raw("POST", "onboardings", "{").await.refused(400, "invalid_json", None);
    app.raw("POST", "onboardings", vec![b'{', 0xff, b'}']).await.refused(400, "invalid_json", None);
    app.raw("POST", "onboardings", "[".repeat(100_000)).await.refused(400, "invalid_json", None);
    app.raw("POST", "onboardings", "[]").await.refused(400, "invalid_type", None);
    app.raw("POST", "onboardings", "null").await.refused(400, "invalid_type", None);
    app.raw("PATCH", "onboardings/1", "7").await.refused(400, "invalid_type", None);
    let twice = r#"{"customer_id":"1","customer_id":"2"}"#;
    app.raw("POST", "onboardings", twice).await.refused(400, "invalid_json", Some("customer_id"));
    let far = r#"{"customer_id":"1","reminder_frequency_days":1e999}"#;
    app.raw("POST", "onboardings", far).await.refused(400, "too_big", Some("reminder_frequency_days"));

    let padded = |size: usize| format!("{{}}{}", " ".repeat(size - 2));
    let limit = 1024 * 1024;
    app.raw("POST", "onboardings", padded(limit)).await.refused(400, "missing_field", Some("customer_id"));
    app.raw("POST", "onboardings", padded(limit + 1)).await.refused(413, "payload_too_large", None);

    // Nobody waits for a body that is too large by its own account; this one never comes.
    let announced = |size: usize, expect: bool| {
        let mut request = app.request("POST", "onboardings").header("content-length", size);
        if expect {
            request = request.header("expect", "100-continue");
        }
        let body = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        app.send(request.body(body).unwrap())
    };
    announced(limit + 1, true).await.refused(413, "payload_too_large", None);
    announced(limit * 100, false).await.refused(413, "payload_too_large", None);

    let coded = |coding: &str| {
        let request = app.request("POST", "onboardings").header("content-encoding", coding);
        app.send(request.body(Body::from("{}")).unwrap())
    };
    coded("gzip").await.refused(415, "unsupported_media_type", None);
    coded("Identity").await.refused(400, "missing_field", Some("customer_id"));

    let typed = |content_type: &str| {
        let request = app.request("POST", "onboardings").header("content-type", content_type);
        app.send(request.body(Body::from("{}")).unwrap())
    };
    typed("text/plain").await.refused(415, "unsupported_media_type", None);
    typed("application/x-www-form-urlencoded").await.refused(415, "unsupported_media_type", None);
    typed("application/json; charset=utf-8").await.refused(400, "missing_field", Some("customer_id"));
    let untyped = app.request("POST", "onboardings").body(Body::from("{}")).unwrap();
    app.send(untyped).await.refused(400, "missing_field", Some("customer_id"));
}

async fn ids_that_are_none(app: &TestApp) {
    for id in [
        "onb_1",
        "0",
        "99999999999999999999",
        "%00",
        "%ff",
        "a%2Fb",
        "..%2f",
        "cust_01h455vb4pex5vsknk084sn02q",
    ] {
        for (kind, code) in [
            ("onboardings", "onboarding_not_found"),
            ("customers", "customer_not_found"),
            ("users", "user_not_found"),
            ("contacts", "contact_not_found"),
            ("templates", "template_not_found"),
        ] {
            let path = format!("{kind}/{id}");
            app.get(&path).await.refused(404, code, None);
            app.patch(&path, json!({})).await.refused(404, code, None);
            app.delete(&path).await.refused(404, code, None);
        }
        for part in ["events", "reminders"] {
            let answer = app.get(&format!("onboardings/{id}/{part}")).await;
            answer.refused(404, "onboarding_not_found", None);
        }
        for part in ["onboardings", "contacts"] {
            let answer = app.get(&format!("customers/{id}/{part}")).await;
            answer.refused(404, "customer_not_found", None);
        }
        let ada = json!({"name": "Ada", "email": "ada@x.example"});
        let answer = app.post(&format!("customers/{id}/contacts"), ada).await;
        answer.refused(404, "customer_not_found", None);
        let answer = app.post(&format!("onboardings/{id}/snooze"), json!({"days": 1})).await;
        answer.refused(404, "onboarding_not_found", None);
    }
}

async fn the_store_is_away(app: &TestApp) {
    app.store.close().await;
    let answer = app.get("onboardings").await;
    answer.refused(503, "unavailable", None);
    assert!(answer.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()));
    app.post("customers", json!({"name": "x"})).await.refused(503, "unavailable", None);
    assert_eq!(app.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(app.get("/livez").await.status, StatusCode::OK);
}

async fn probes(app: &TestApp) {
    let bare = |path: &str| app.send(Request::get(path).body(Body::empty()).unwrap());
    assert_eq!(bare("/livez").await.ok()["status"], "ok");
    let health = bare("/api/v1/health").await.ok();
    assert_eq!((&health["status"], &health["timestamp"]), (&json!("ok"), &json!("2026-03-02T08:00:00Z")));
    assert_eq!(bare("/readyz").await.ok(), json!({"status": "ready", "checks": {"store": "ok"}}));
}

#[tokio::test]
async fn a_bus_that_is_away_degrades_and_a_part_that_is_down_is_503() {
    use usher_ingest::http::{App, Health, Readiness, router};
    let mut app = TestApp::sqlite().await;
    for (health, status, word) in [
        (Health::Degraded("away since noon".into()), StatusCode::OK, "degraded"),
        (Health::Down("gone".into()), StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    ] {
        let told = health.clone();
        app.router = router(App {
            store: app.store.clone(),
            clock: Arc::new(crate::app::start),
            wake: Arc::new(|| {}),
            ready: Arc::new(move || Readiness(vec![("bus", told.clone())])),
            channels: usher_lifecycle::reminder::Configured { email: true, slack: false },
            body_limit: 1024,
            metrics: usher_ingest::http::HttpMetrics::default(),
            exposition: usher_ingest::http::Exposition::default(),
        });
        let answer = app.get("/readyz").await;
        assert_eq!((answer.status, &answer.json()["status"]), (status, &json!(word)), "{health:?}");
    }
}

#[tokio::test]
async fn a_panic_is_a_500_in_the_envelope_and_the_next_request_is_served() {
    use usher_ingest::http::{App, Readiness, router};
    let mut app = TestApp::sqlite().await;
    app.router = router(App {
        store: app.store.clone(),
        clock: Arc::new(|| panic!("the clock fell off the wall")),
        wake: Arc::new(|| {}),
        ready: Arc::new(Readiness::default),
        channels: usher_lifecycle::reminder::Configured { email: true, slack: false },
        body_limit: 1024,
        metrics: usher_ingest::http::HttpMetrics::default(),
        exposition: usher_ingest::http::Exposition::default(),
    });
    let answer = app.get("onboardings").await;
    answer.refused(500, "internal_error", None);
    assert!(!answer.body.contains("wall"), "callers see no cause");
    assert_eq!(app.get("/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_sane_request_id_comes_back() {
    let app = TestApp::sqlite().await;
    let with =
        |id: &str| app.send(app.request("GET", "me").header("x-request-id", id).body(Body::empty()).unwrap());
    assert_eq!(with("abc-123").await.header("x-request-id"), Some("abc-123"));
    let replaced = with("two words").await;
    assert!(replaced.header("x-request-id").is_some_and(|id| id.starts_with("req_")));
}
