//! Every code of the API, provoked over HTTP, and the table of codes in docs/api.md.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use axum::body::Body;
use serde_json::json;
use usher_ingest::http::{HttpCode, status_of};
use usher_lifecycle::Code;

use crate::app::{Answer, TestApp};

/// Codes that only commands over NATS get: there is no such request over HTTP.
const NATS_ONLY: [Code; 4] = [Code::UnknownCommand, Code::UnknownWorkspace, Code::Superseded, Code::Poison];

/// Every code with its status.
fn all() -> BTreeMap<&'static str, u16> {
    let refusals = Code::ALL.iter().filter(|code| !NATS_ONLY.contains(code));
    let refusals = refusals.map(|code| (code.as_str(), status_of(*code)));
    refusals.chain(HttpCode::ALL.iter().map(|code| (code.as_str(), code.status()))).collect()
}

#[tokio::test]
async fn every_code_is_provoked() {
    let app = TestApp::sqlite().await;
    let mut seen: BTreeMap<String, u16> = BTreeMap::new();
    let mut note = |answer: Answer| {
        let (status, code, _) = answer.error();
        seen.insert(code, status);
    };
    let customer = app.made("customers", json!({"name": "Initech", "slug": "a", "external_id": "x"})).await;
    let onboarding = app.made("onboardings", json!({"customer_id": customer["id"]})).await;
    app.made("users", json!({"name": "Ada", "email": "ada@example.com"})).await;
    let onboarding = format!("onboardings/{}", onboarding["id"].as_str().unwrap());

    note(app.raw("POST", "customers", "{").await);
    for body in [
        json!({}),
        json!({"name": 1}),
        json!({"name": ""}),
        json!({"name": "x".repeat(256)}),
        json!({"name": "x", "status": "gone"}),
        json!({"name": "x", "domain": "no domain"}),
        json!({"name": "x", "nmae": "x"}),
        json!({"name": "x", "slug": "a"}),
        json!({"name": "x", "external_id": "x"}),
    ] {
        note(app.post("customers", body).await);
    }
    note(app.post("users", json!({"name": "Ada", "email": "ada@example.com"})).await);
    for body in [
        json!({"customer_id": customer["id"]}),
        json!({"reminder_frequency_days": 366}),
        json!({"csm_id": "nobody@example.com"}),
        json!({"template_id": "tmpl_none"}),
    ] {
        note(app.patch(&onboarding, body).await);
    }
    note(
        app.post(&format!("{onboarding}/snooze"), json!({"days": 1, "until": "2027-01-01T00:00:00Z"})).await,
    );
    for path in ["customers/x", "contacts/x", "templates/x", "users/x", "onboardings/x", "nothing"] {
        note(app.get(path).await);
    }
    note(app.delete("api_keys/x").await);
    let stale = app.request("PATCH", &onboarding).header("if-match", "\"99\"");
    note(app.send(stale.body(Body::from("{}")).unwrap()).await);
    app.patch(&onboarding, json!({"phase": "completed"})).await.ok();
    note(app.post(&format!("{onboarding}/reminders"), json!({})).await);

    let keyed = |body: &str| {
        let request = app.request("POST", "customers").header("idempotency-key", "k");
        app.send(request.body(Body::from(body.to_owned())).unwrap())
    };
    assert_eq!(keyed(r#"{"name": "one"}"#).await.status, 201);
    note(keyed(r#"{"name": "two"}"#).await);
    // Twins at once, until one of them is seen to wait for another.
    for attempt in 0..50 {
        let twin = || {
            let request =
                app.request("POST", "customers").header("idempotency-key", format!("twin {attempt}"));
            app.send(request.body(Body::from(r#"{"name": "twin"}"#)).unwrap())
        };
        let twins = futures_util::future::join_all((0..8).map(|_| twin())).await;
        if let Some(refused) = twins.into_iter().find(|answer| answer.status == 409) {
            note(refused);
            break;
        }
    }

    note(app.send(axum::http::Request::get("/api/v1/me").body(Body::empty()).unwrap()).await);
    note(app.with("pivotal_nobody", "GET", "me", "").await);
    let me = app.get("me").await.ok()["api_key"]["id"].as_str().unwrap().to_owned();
    note(app.delete(&format!("api_keys/{me}")).await);
    let other = app.made("api_keys", json!({"name": "other", "scopes": ["read:*"]})).await;
    let secret = other["secret"].as_str().unwrap();
    note(app.with(secret, "POST", "customers", "{}").await);
    app.delete(&format!("api_keys/{}", other["id"].as_str().unwrap())).await.ok();
    note(app.with(secret, "GET", "me", "").await);
    let slow = app.key(&["*"], Some(1)).await;
    app.with(&slow, "GET", "me", "").await.ok();
    note(app.with(&slow, "GET", "me", "").await);
    note(app.send(app.request("PUT", "me").body(Body::empty()).unwrap()).await);
    note(app.raw("POST", "customers", "x".repeat(1024 * 1024 + 1)).await);
    let text = app.request("POST", "customers").header("content-type", "text/plain");
    note(app.send(text.body(Body::from("{}")).unwrap()).await);

    let mut broken = TestApp::sqlite().await;
    broken.router = usher_ingest::http::router(usher_ingest::http::App {
        store: broken.store.clone(),
        clock: Arc::new(|| panic!("no clock")),
        wake: Arc::new(|| {}),
        ready: Arc::new(usher_ingest::http::Readiness::default),
        channels: usher_lifecycle::reminder::Configured { email: true, slack: false },
        body_limit: 1024,
        metrics: usher_ingest::http::HttpMetrics::default(),
        exposition: usher_ingest::http::Exposition::default(),
    });
    note(broken.get("me").await);
    app.store.close().await;
    note(app.get("me").await);

    let wanted: BTreeMap<String, u16> =
        all().into_iter().map(|(code, status)| (code.to_owned(), status)).collect();
    assert_eq!(seen, wanted);
}

/// The rows of the table in docs/api.md: each code of the API once, with its status.
#[test]
fn the_table_in_docs_is_complete() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with("| code | status |")).skip(2);
    let mut told = BTreeMap::new();
    for row in table.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [codes, status, cause, remedy] = cells[..] else { panic!("{row}") };
        assert!(!cause.is_empty() && !remedy.is_empty(), "{row}");
        for code in codes.split(", ") {
            let again = told.insert(code.trim_matches('`').to_owned(), status.parse::<u16>().unwrap());
            assert_eq!(again, None, "{code} stands twice");
        }
    }
    let wanted: BTreeMap<String, u16> =
        all().into_iter().map(|(code, status)| (code.to_owned(), status)).collect();
    assert_eq!(told, wanted);
}
