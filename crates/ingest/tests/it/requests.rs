//! Commands whose sender waits for the answer.

use std::time::Duration;

use serde_json::{Value, json};
use usher_testkit::skip_without_servers;

use crate::{
    app::{TestApp, on_both_engines},
    intake::{create, customer, refusals},
    wire::{PATIENCE, Wire, eventually, message},
};

on_both_engines! { requests_are_answered }

async fn requests_are_answered(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    customer(app).await;
    let work = wire.at_work(app);
    let ask = |subject: &str, id: &str, data: Value| {
        let request = message(subject, &[("Nats-Msg-Id", id)], &data.to_string());
        let nats = wire.nats.clone();
        async move {
            let (headers, answer) = nats.request(request, PATIENCE).await.unwrap();
            assert_eq!(headers.get("content-type"), Some("application/json"));
            serde_json::from_slice::<Value>(&answer).unwrap()
        }
    };
    let subject = "usher.requests.acme.onboarding.create";
    eventually("somebody listens", || async {
        let request = message("usher.requests.acme.x", &[], "{}");
        wire.nats.request(request, Duration::from_secs(1)).await.is_ok()
    })
    .await;
    let made = ask(subject, "1", create("one")).await;
    let path = format!("onboardings/{}", made["id"].as_str().unwrap());
    assert_eq!(made, app.get(&path).await.ok(), "the API's body");
    assert_eq!(ask(subject, "1", create("one")).await, made, "a repeat");
    let other = ask(subject, "1", create("two")).await;
    assert_eq!(
        (&other["error"]["type"], &other["error"]["code"]),
        (&json!("conflict"), &json!("idempotency_key_reused"))
    );
    let refused = ask(subject, "2", json!({"customer_id": 7})).await;
    assert_eq!(refused["error"]["type"], "invalid_request_error");
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["field"]),
        (&json!("invalid_type"), &json!("customer_id"))
    );
    let nobody = ask("usher.requests.nobody.onboarding.create", "3", create("x")).await;
    assert_eq!(nobody["error"]["code"], "unknown_workspace");
    let unknown = ask("usher.requests.acme.onboarding.explode", "4", json!({})).await;
    assert_eq!(unknown["error"]["code"], "unknown_command");
    let deleted = ask("usher.requests.acme.onboarding.delete", "5", json!({"external_id": "one"})).await;
    assert_eq!((&deleted["id"], &deleted["deleted"]), (&made["id"], &json!(true)));
    work.end().await;
    assert!(refusals(app).await.is_empty(), "a requester knows already");
}
