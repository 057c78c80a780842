//! Templates and the workspace over HTTP.

use axum::body::Body;
use serde_json::{Value, json};

use crate::app::{TestApp, on_both_engines};

on_both_engines!(
    a_template_from_start_to_end,
    an_onboarding_takes_its_templates_values,
    hostile_templates,
    the_workspace_is_shown_and_changed,
    hostile_settings,
    a_required_reason_is_required_at_once,
    a_test_key_cannot_change_the_workspace,
);

async fn a_template_from_start_to_end(app: &TestApp) {
    let ada = app.made("users", json!({"name": "Ada", "email": "ada@example.com"})).await;
    let body = json!({
        "name": "Standard", "reminder_email": false, "csm_id": "ada@example.com", "target_days": 90,
        "phase_target_days": {"review": 5, "launch": 2},
    });
    let made = app.made("templates", body).await;
    let keys: Vec<&String> = made.as_object().unwrap().keys().collect();
    let wanted = [
        "object",
        "id",
        "display_id",
        "name",
        "reminder_email",
        "reminder_slack",
        "reminder_frequency_days",
        "csm_id",
        "se_id",
        "designer_id",
        "product_ops_id",
        "target_days",
        "phase_target_days",
        "created_at",
        "updated_at",
        "livemode",
        "version",
    ];
    assert_eq!(keys, wanted);
    assert_eq!((&made["csm_id"], &made["se_id"]), (&ada["id"], &Value::Null));
    let path = format!("templates/{}", made["id"].as_str().unwrap());
    assert_eq!(app.get(&path).await.ok(), made);
    let change = json!({"csm_id": null, "phase_target_days": {"review": null, "internal_qa": 3}});
    let changed = app.patch(&path, change).await.ok();
    assert_eq!(changed["phase_target_days"], json!({"launch": 2, "internal_qa": 3}));
    assert_eq!((&changed["csm_id"], &changed["version"]), (&Value::Null, &json!(2)));
    assert_eq!(app.get("templates").await.ok()["data"], json!([changed]));
    assert_eq!(app.delete(&path).await.ok()["deleted"], true);
    assert_eq!(app.delete(&path).await.ok()["deleted"], true);
    app.get(&path).await.refused(404, "template_not_found", None);
    assert_eq!(app.get("templates").await.ok()["data"], json!([]));
}

async fn an_onboarding_takes_its_templates_values(app: &TestApp) {
    let ada = app.made("users", json!({"name": "Ada", "email": "ada@example.com"})).await;
    let body = json!({"name": "T", "csm_id": ada["id"], "reminder_frequency_days": 7, "target_days": 30});
    let template = app.made("templates", body).await;
    let customer = app.made("customers", json!({"name": "Acme"})).await;
    let create = json!({"customer_id": customer["id"], "template_id": template["id"], "started_at": "2026-03-01T00:00:00Z"});
    let made = app.made("onboardings", create).await;
    assert_eq!((&made["template_id"], &made["csm_id"]), (&template["id"], &ada["id"]));
    assert_eq!(made["reminder_frequency_days"], 7);
    assert_eq!(made["target_launch_date"], "2026-03-31T00:00:00Z");
    let create = json!({"customer_id": customer["id"], "template_id": template["id"], "csm_id": null,
                        "reminder_frequency_days": 2, "target_launch_date": "2026-05-01T00:00:00Z"});
    let own = app.made("onboardings", create).await;
    assert_eq!((&own["reminder_frequency_days"], &own["csm_id"]), (&json!(2), &ada["id"]));
    assert_eq!(own["target_launch_date"], "2026-05-01T00:00:00Z");
    app.made("onboardings", json!({"customer_id": customer["id"]})).await;
    let filtered = app.get(&format!("onboardings?template_id={}", template["display_id"])).await.ok();
    assert_eq!(filtered["data"], json!([own, made]));
    let unknown = json!({"customer_id": customer["id"], "template_id": "tmpl_1"});
    app.post("onboardings", unknown).await.refused(400, "unknown_template", Some("template_id"));
}

async fn hostile_templates(app: &TestApp) {
    for (body, code, field) in [
        (json!({}), "missing_field", "name"),
        (json!({"name": 1}), "invalid_type", "name"),
        (json!({"name": "T", "target_days": 0}), "too_small", "target_days"),
        (json!({"name": "T", "target_days": 3651}), "too_big", "target_days"),
        (json!({"name": "T", "target_days": 1.5}), "invalid_type", "target_days"),
        (json!({"name": "T", "reminder_frequency_days": 366}), "too_big", "reminder_frequency_days"),
        (
            json!({"name": "T", "phase_target_days": {"reviw": 1}}),
            "unrecognized_key",
            "phase_target_days.reviw",
        ),
        (
            json!({"name": "T", "phase_target_days": {"review": "1"}}),
            "invalid_type",
            "phase_target_days.review",
        ),
        (json!({"name": "T", "phase_target_days": []}), "invalid_type", "phase_target_days"),
        (json!({"name": "T", "se_id": "nobody@example.com"}), "unknown_user", "se_id"),
        (json!({"name": "T", "notes": "x"}), "unrecognized_key", "notes"),
    ] {
        app.post("templates", body).await.refused(400, code, Some(field));
    }
}

async fn the_workspace_is_shown_and_changed(app: &TestApp) {
    let shown = app.get("workspace").await;
    assert_eq!(shown.header("etag"), Some("\"1\""));
    let shown = shown.ok();
    let keys: Vec<&String> = shown.as_object().unwrap().keys().collect();
    let wanted = [
        "object",
        "id",
        "slug",
        "name",
        "policy",
        "phase_owners",
        "escalation",
        "require_reason",
        "nudge_customer",
        "ops_email",
        "ops_slack_channel",
        "ambiguous",
        "created_at",
        "updated_at",
        "version",
    ];
    assert_eq!(keys, wanted);
    assert_eq!(shown["policy"]["working_days"], json!(["mon", "tue", "wed", "thu", "fri"]));
    let body = json!({
        "name": "Acme Ltd",
        "policy": {"time_zone": "europe/berlin", "working_days": ["sun", "mon", "sun"], "holidays": ["2026-12-25"],
                   "time_of_day": "08:30", "send_until": "17:00", "catch_up": "skip", "spread_minutes": 15},
        "phase_owners": {"review": "se"},
        "escalation": [{"after_reminders": 3, "to": "product_ops"},
                       {"after_reminders": 5, "to": "fallback", "set_state": "at_risk"}],
        "require_reason": "send_back", "nudge_customer": true, "ops_email": "Ops@example.com",
        "ops_slack_channel": "#ops", "ambiguous": "hold",
    });
    let changed = app.patch("workspace", body.clone()).await.ok();
    assert_eq!(changed["policy"]["time_zone"], "Europe/Berlin");
    assert_eq!(changed["policy"]["working_days"], json!(["mon", "sun"]));
    assert_eq!(changed["phase_owners"]["review"], "se");
    assert_eq!(
        changed["escalation"][0],
        json!({"after_reminders": 3, "to": "product_ops", "set_state": null})
    );
    assert_eq!((&changed["ops_email"], &changed["version"]), (&json!("ops@example.com"), &json!(2)));
    assert_eq!(app.patch("workspace", body).await.ok(), changed, "no change writes nothing");
    assert_eq!(app.get("workspace").await.ok(), changed);
    // What an answer says can be sent back.
    let again = json!({"policy": changed["policy"], "escalation": changed["escalation"],
                       "phase_owners": changed["phase_owners"]});
    assert_eq!(app.patch("workspace", again).await.ok()["version"], 2);
    let partly =
        app.patch("workspace", json!({"policy": {"spread_minutes": 0}, "ops_email": null})).await.ok();
    assert_eq!((&partly["policy"]["time_of_day"], &partly["ops_email"]), (&json!("08:30"), &Value::Null));
    let request = app.request("PATCH", "workspace").header("if-match", "\"1\"");
    let stale = app.send(request.body(Body::from("{\"name\": \"x\"}")).unwrap()).await;
    stale.refused(412, "version_mismatch", None);
    assert_eq!(app.get("me").await.ok()["organization"]["name"], "Acme Ltd");
}

async fn hostile_settings(app: &TestApp) {
    for (body, code, field) in [
        (json!({"policy": {"working_days": []}}), "too_small", "policy.working_days"),
        (json!({"policy": {"working_days": ["mon", "Tue"]}}), "invalid_value", "policy.working_days.1"),
        (json!({"policy": {"time_zone": "Mars/Base"}}), "invalid_value", "policy.time_zone"),
        (json!({"policy": {"time_of_day": "9:00"}}), "invalid_string", "policy.time_of_day"),
        (json!({"policy": {"time_of_day": "24:00"}}), "invalid_string", "policy.time_of_day"),
        (json!({"policy": {"send_until": "09:00"}}), "invalid_combination", "policy.send_until"),
        (json!({"policy": {"time_of_day": "19:00"}}), "invalid_combination", "policy.time_of_day"),
        (json!({"policy": {"holidays": ["2026-02-29"]}}), "invalid_string", "policy.holidays.0"),
        (json!({"policy": {"catch_up": "twice"}}), "invalid_value", "policy.catch_up"),
        (json!({"policy": {"spread_minutes": 721}}), "too_big", "policy.spread_minutes"),
        (json!({"policy": {"time_zone": null}}), "invalid_type", "policy.time_zone"),
        (json!({"policy": null}), "invalid_type", "policy"),
        (json!({"policy": {"zone": "UTC"}}), "unrecognized_key", "policy.zone"),
        (json!({"phase_owners": {"reviw": "se"}}), "unrecognized_key", "phase_owners.reviw"),
        (json!({"phase_owners": {"review": "boss"}}), "invalid_value", "phase_owners.review"),
        (json!({"escalation": [{"to": "csm"}]}), "missing_field", "escalation.0.after_reminders"),
        (
            json!({"escalation": [{"after_reminders": 0, "to": "csm"}]}),
            "too_small",
            "escalation.0.after_reminders",
        ),
        (json!({"escalation": [{"after_reminders": 1, "to": "boss"}]}), "invalid_value", "escalation.0.to"),
        (
            json!({"escalation": [{"after_reminders": 1, "to": "csm", "set_state": "x"}]}),
            "invalid_value",
            "escalation.0.set_state",
        ),
        (json!({"require_reason": "sometimes"}), "invalid_value", "require_reason"),
        (json!({"nudge_customer": "yes"}), "invalid_type", "nudge_customer"),
        (json!({"ops_email": "ops"}), "invalid_string", "ops_email"),
        (json!({"ops_slack_channel": "a b"}), "invalid_string", "ops_slack_channel"),
        (json!({"ambiguous": "maybe"}), "invalid_value", "ambiguous"),
        (json!({"slug": "other"}), "immutable_field", "slug"),
        (json!({"nmae": "x"}), "unrecognized_key", "nmae"),
        // The first fault in document order.
        (json!({"policy": {"working_days": []}, "nmae": 1}), "too_small", "policy.working_days"),
    ] {
        app.patch("workspace", body.clone()).await.refused(400, code, Some(field));
    }
    assert_eq!(app.get("workspace").await.ok()["version"], 1);
}

async fn a_required_reason_is_required_at_once(app: &TestApp) {
    let onboarding = app.onboarding().await;
    let path = format!("onboardings/{}", onboarding["id"].as_str().unwrap());
    app.patch("workspace", json!({"require_reason": "any"})).await.ok();
    app.patch(&path, json!({"state": "paused"})).await.refused(400, "missing_field", Some("reason"));
    app.patch(&path, json!({"state": "paused", "reason": " "})).await.refused(
        400,
        "missing_field",
        Some("reason"),
    );
    app.patch(&path, json!({"state": "paused", "reason": "holidays"})).await.ok();
    app.patch(&path, json!({"notes": "x"})).await.ok();
}

async fn a_test_key_cannot_change_the_workspace(app: &TestApp) {
    let as_test = |method: &str, body: &'static str| {
        app.send(TestApp::request_with(&app.test, method, "workspace").body(Body::from(body)).unwrap())
    };
    assert_eq!(as_test("GET", "").await.ok(), app.get("workspace").await.ok());
    as_test("PATCH", "{\"name\": \"x\"}").await.refused(403, "insufficient_scope", None);
}
