//! What is refused is kept once, under the name that its sender gave it.

use std::sync::Arc;

use serde_json::json;
use usher_bus::Outgoing;
use usher_ingest::intake::Verdict;
use usher_testkit::skip_without_servers;

use crate::{
    app::{TestApp, on_both_engines},
    intake::{batch, refusals},
    wire::{Wire, message},
};

on_both_engines! {
    a_bad_cloud_event_twice_is_rejected_once_with_its_source_and_id,
}

async fn a_bad_cloud_event_twice_is_rejected_once_with_its_source_and_id(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let create = "usher.commands.acme.onboarding.create";
    let binary = |id: &'static str, subject: &str, kind: &'static str, content: &'static str, body: &str| {
        let headers = [
            ("ce-specversion", "1.0"),
            ("Ce-Id", id),
            ("CE-Source", "/crm"),
            ("ce-type", kind),
            ("content-type", content),
        ];
        message(subject, &headers, body)
    };
    let structured = |id: &str, subject: &str, kind: &str, data: &serde_json::Value| {
        let event = json!({"specversion": "1.0", "id": id, "source": "/crm", "type": kind, "data": data});
        message(subject, &[("Content-Type", "application/cloudevents+json")], &event.to_string())
    };
    let json_type = "application/json";
    // Each as it comes first and as it comes again, where it can in the other form.
    let bad: Vec<(&str, &str, Outgoing, Outgoing)> = vec![
        (
            "broken",
            "invalid_json",
            binary("broken", create, "deal", json_type, "{broken"),
            binary("broken", create, "deal", json_type, "{broken"),
        ),
        (
            "array",
            "invalid_data",
            structured("array", create, "deal", &json!([1])),
            binary("array", create, "deal", json_type, "[ 1 ]"),
        ),
        (
            "unknown",
            "unknown_command",
            structured("unknown", "usher.commands.acme.onboarding.explode", "deal", &json!({"a": 1})),
            binary("unknown", "usher.commands.acme.onboarding.explode", "deal", json_type, "{\"a\": 1}"),
        ),
        (
            "mismatch",
            "type_mismatch",
            structured("mismatch", create, "user.upsert", &json!({"a": 1})),
            binary("mismatch", create, "user.upsert", json_type, "{\"a\": 1}"),
        ),
        (
            "text",
            "unsupported_content_type",
            binary("text", create, "deal", "text/plain", "{\"a\": 1}"),
            binary("text", create, "deal", "text/plain", "{\"a\": 1}"),
        ),
    ];
    let (mut wanted, mut first, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for (id, code, one, two) in bad {
        wanted.push((code.to_owned(), id.to_owned()));
        first.push(one);
        again.push(two);
    }
    let mut intake = wire.intake(app, Arc::new(|| ()));
    for messages in [first, again] {
        assert_eq!(intake.take(&batch(&wire, messages).await).await, [Verdict::Rejected; 5]);
    }
    assert_eq!(refusals(app).await, wanted);
    assert!(app.store.rejected(10).await.unwrap().iter().all(|it| it.what.source == "/crm"));
    // The same id with other bytes is another message, and kept, too.
    let other = binary("broken", create, "deal", json_type, "{ broken, too");
    assert_eq!(intake.take(&batch(&wire, vec![other]).await).await, [Verdict::Rejected]);
    assert_eq!(refusals(app).await.len(), 6);
}
