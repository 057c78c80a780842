//! Changing an onboarding.

use axum::body::Body;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp, on_both_engines};

on_both_engines!(
    a_merge_patch,
    versions_guard_against_lost_updates,
    concurrent_patches_both_hold,
    completed_is_the_end,
    deleting,
    snoozing,
    the_form_is_looked_at_first_and_then_references_in_document_order,
);

fn path(onboarding: &Value) -> String {
    format!("onboardings/{}", onboarding["id"].as_str().unwrap())
}

async fn a_merge_patch(app: &TestApp) {
    let ada = app.made("users", json!({"name": "Ada", "email": "ada@example.com"})).await;
    let onboarding = app.onboarding().await;
    let path = path(&onboarding);
    let answer = app
        .patch(
            &path,
            json!({"notes": "a", "csm_id": "ada@example.com", "phase": "review", "state": "waiting"}),
        )
        .await;
    assert_eq!(answer.header("etag"), Some("\"2\""));
    let changed = answer.ok();
    assert_eq!((&changed["notes"], &changed["csm_id"]), (&json!("a"), &ada["id"]));
    assert_eq!((&changed["phase"], &changed["state"]), (&json!("review"), &json!("waiting")));
    assert_eq!(changed["waiting_on_customer"], true);

    let cleared =
        app.patch(&path, json!({"notes": null, "csm_id": null, "waiting_on_customer": false})).await.ok();
    assert_eq!((&cleared["notes"], &cleared["csm_id"]), (&Value::Null, &Value::Null));
    assert_eq!((&cleared["state"], &cleared["version"]), (&json!("active"), &json!(3)));

    let wakes = app.wakes();
    let same = app.patch(&path, json!({"state": "active", "notes": null})).await;
    assert_eq!(same.ok(), cleared, "no effective change, nothing written");
    app.patch(&path, json!({})).await.ok();
    assert_eq!(app.wakes(), wakes);
    assert_eq!(app.get(&path).await.ok(), cleared);

    app.patch(&path, json!({"customer_id": "cust_1"})).await.refused(
        400,
        "immutable_field",
        Some("customer_id"),
    );
    app.patch(&path, json!({"state": "waiting", "waiting_on_customer": false})).await.refused(
        400,
        "invalid_combination",
        Some("waiting_on_customer"),
    );
    app.patch(&path, json!({"phase": null})).await.refused(400, "invalid_type", Some("phase"));
    app.patch(&path, json!({"display_id": 7})).await.refused(400, "unrecognized_key", Some("display_id"));

    let events = app.get(&format!("{path}/events")).await.ok();
    let mut kinds: Vec<_> = events["data"].as_array().unwrap().iter().map(|it| it["type"].clone()).collect();
    kinds.sort_by_key(Value::to_string);
    let wanted = [
        "onboarding.created",
        "onboarding.phase_changed",
        "onboarding.state_changed",
        "onboarding.state_changed",
        "onboarding.updated",
        "onboarding.updated",
    ];
    assert_eq!(kinds, wanted);
    let actor = &events["data"][0]["data"]["actor"];
    assert_eq!((&actor["type"], &actor["name"]), (&json!("api_key"), &json!("first key")));
}

async fn if_match(app: &TestApp, method: &str, path: &str, tag: &str, body: Value) -> Answer {
    let request = app.request(method, path).header("if-match", tag);
    app.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn versions_guard_against_lost_updates(app: &TestApp) {
    let path = path(&app.onboarding().await);
    assert_eq!(app.get(&path).await.header("etag"), Some("\"1\""));
    if_match(app, "PATCH", &path, "\"1\"", json!({"notes": "a"})).await.ok();
    let stale = if_match(app, "PATCH", &path, "\"1\"", json!({"notes": "b"})).await;
    stale.refused(412, "version_mismatch", None);
    // What is no tag of ours is a version that no record has; whether there is a record comes first, and the body before.
    for tag in ["nonsense", "\"x\"", "\"0\"", "\"1\", \"2\"", ""] {
        let garbage = if_match(app, "PATCH", &path, tag, json!({"notes": "b"})).await;
        garbage.refused(412, "version_mismatch", None);
        if_match(app, "DELETE", &path, tag, json!({})).await.refused(412, "version_mismatch", None);
        let nowhere = if_match(app, "PATCH", "onboardings/onb_x", tag, json!({"notes": "b"})).await;
        nowhere.refused(404, "onboarding_not_found", None);
        let nobody = if_match(app, "DELETE", "users/nobody", tag, json!({})).await;
        nobody.refused(404, "user_not_found", None);
        let broken = if_match(app, "PATCH", &path, tag, json!({"notes": 1})).await;
        broken.refused(400, "invalid_type", Some("notes"));
    }
    let told = if_match(app, "PATCH", &path, "nonsense", json!({"notes": "b"})).await.body;
    assert!(told.contains("no tag of ours"), "{told}");
    if_match(app, "DELETE", &path, "\"1\"", json!({})).await.refused(412, "version_mismatch", None);
    if_match(app, "PATCH", &path, "*", json!({"notes": "c"})).await.ok();
    if_match(app, "DELETE", &path, "W/\"3\"", json!({})).await.ok();
}

async fn concurrent_patches_both_hold(app: &TestApp) {
    let path = path(&app.onboarding().await);
    let (phase, state) = tokio::join!(
        app.patch(&path, json!({"phase": "launch"})),
        app.patch(&path, json!({"state": "at_risk"})),
    );
    phase.ok();
    state.ok();
    let both = app.get(&path).await.ok();
    assert_eq!((&both["phase"], &both["state"]), (&json!("launch"), &json!("at_risk")));
    assert_eq!(both["version"], 3);
}

async fn completed_is_the_end(app: &TestApp) {
    let path = path(&app.onboarding().await);
    let done = app.patch(&path, json!({"phase": "completed"})).await.ok();
    assert!(done["completed_at"].is_string());
    assert_eq!(done["next_reminder_at"], Value::Null);
    app.patch(&path, json!({"phase": "launch"})).await.refused(409, "onboarding_completed", None);
    app.patch(&path, json!({"state": "paused"})).await.refused(409, "onboarding_completed", None);
    app.post(&format!("{path}/reminders"), json!({})).await.refused(409, "onboarding_completed", None);
    app.post(&format!("{path}/snooze"), json!({"days": 1})).await.refused(409, "onboarding_completed", None);
    assert_eq!(app.patch(&path, json!({"notes": "thanks"})).await.ok()["notes"], "thanks");
}

async fn deleting(app: &TestApp) {
    let onboarding = app.onboarding().await;
    let path = path(&onboarding);
    let wanted = json!({
        "object": "deleted", "id": onboarding["id"], "display_id": onboarding["display_id"], "deleted": true,
    });
    let first = app.delete(&path).await;
    assert_eq!((first.ok(), first.header("etag")), (wanted.clone(), None));
    assert_eq!(app.delete(&path).await.ok(), wanted, "and again");
    app.get(&path).await.refused(404, "onboarding_not_found", None);
    app.patch(&path, json!({"notes": "x"})).await.refused(404, "onboarding_not_found", None);
    assert_eq!(app.get("onboardings").await.ok()["data"], json!([]));

    let child = app.onboarding().await;
    let customer = format!("customers/{}", child["customer_id"].as_str().unwrap());
    assert_eq!(app.delete(&customer).await.ok()["deleted"], true);
    assert_eq!(app.delete(&customer).await.ok()["deleted"], true);
    app.get(&self::path(&child)).await.refused(404, "onboarding_not_found", None);
    app.patch(&self::path(&child), json!({})).await.refused(404, "onboarding_not_found", None);
    app.get(&format!("{customer}/onboardings")).await.refused(404, "customer_not_found", None);
    assert_eq!(app.get("onboardings").await.ok()["data"], json!([]));
}

async fn snoozing(app: &TestApp) {
    let path = path(&app.onboarding().await);
    let snooze = format!("{path}/snooze");
    let answer = app.post(&snooze, json!({"days": 3})).await;
    assert_eq!(answer.header("etag"), Some("\"2\""));
    assert_eq!(answer.ok()["snoozed_until"], "2026-03-05T00:00:00Z");
    let until = app.post(&snooze, json!({"until": "2026-03-09T12:00:00Z"})).await.ok();
    assert_eq!(until["snoozed_until"], "2026-03-09T12:00:00Z");
    app.post(&snooze, json!({"until": "2026-03-02T08:00:00Z"})).await.refused(
        400,
        "too_small",
        Some("until"),
    );
    app.post(&snooze, json!({})).await.refused(400, "missing_field", Some("until"));
    app.raw("POST", &snooze, "").await.refused(400, "invalid_json", None);
    let ended = app.delete(&snooze).await.ok();
    assert_eq!((&ended["snoozed_until"], &ended["version"]), (&Value::Null, &json!(4)));
    assert_eq!(app.delete(&snooze).await.ok(), ended, "nothing to end is no change");
}

async fn the_form_is_looked_at_first_and_then_references_in_document_order(app: &TestApp) {
    let onboarding = app.onboarding().await;
    let (own, path) = (onboarding["customer_id"].as_str().unwrap(), path(&onboarding));
    let form =
        format!(r#"{{"customer_id":"{own}","csm_id":"nobody@x.example","reminder_frequency_days":0}}"#);
    app.raw("POST", "onboardings", form).await.refused(400, "too_small", Some("reminder_frequency_days"));
    let users = ["csm_id", "se_id", "designer_id", "product_ops_id"];
    let code = |field: &str| match field {
        "customer_id" => (404, "customer_not_found"),
        "template_id" => (400, "unknown_template"),
        _ => (400, "unknown_user"),
    };
    let fields = ["product_ops_id", "customer_id", "se_id", "template_id", "csm_id", "designer_id"];
    for turn in 0..fields.len() {
        let turned = fields.iter().cycle().skip(turn).take(fields.len());
        let members = |of: &[&str]| {
            let members = turned.clone().filter(|field| of.contains(field));
            let members: Vec<String> = members.map(|field| format!(r#""{field}":"nobody""#)).collect();
            members.join(",")
        };
        let first = |of: &[&str]| turned.clone().find(|field| of.contains(field)).copied().unwrap();
        let (status, told) = code(first(&fields));
        let body = format!("{{{}}}", members(&fields));
        app.raw("POST", "onboardings", body).await.refused(status, told, Some(first(&fields)));
        let changeable: Vec<&str> = fields.into_iter().filter(|field| *field != "customer_id").collect();
        let (status, told) = code(first(&changeable));
        let body = format!(r#"{{"started_at":"9000-01-01T00:00:00Z",{}}}"#, members(&changeable));
        app.raw("PATCH", &path, body).await.refused(status, told, Some(first(&changeable)));
        let body = format!(r#"{{"name":"T",{}}}"#, members(&users));
        app.raw("POST", "templates", body).await.refused(400, "unknown_user", Some(first(&users)));
    }
}
