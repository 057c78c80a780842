//! What is another workspace's, or of the other mode, is not there: in every position.

use axum::body::Body;
use serde_json::{Value, json};
use usher_lifecycle::reminder::Rules;

use crate::app::{Answer, TestApp, on_both_engines, start};

on_both_engines!(
    ids_of_another_workspace_or_mode_are_404_in_every_position,
    records_of_test_keys_make_test_events_only
);

async fn send(app: &TestApp, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    app.send(TestApp::request_with(key, method, path).body(Body::from(body.to_string())).unwrap()).await
}

async fn ids_of_another_workspace_or_mode_are_404_in_every_position(app: &TestApp) {
    let customer = app.made("customers", json!({"name": "Acme", "external_id": "c"})).await;
    let contacts = format!("customers/{}/contacts", customer["id"].as_str().unwrap());
    let contact = app.made(&contacts, json!({"name": "Ada", "email": "ada@x.example"})).await;
    let user = app.made("users", json!({"name": "Ada", "email": "ada@example.com"})).await;
    let template = app.made("templates", json!({"name": "T", "csm_id": user["id"]})).await;
    let create = json!({"customer_id": customer["id"], "template_id": template["id"]});
    let onboarding = app.made("onboardings", create).await;

    let api_key = app.made("api_keys", json!({"name": "ours"})).await;

    let other =
        app.store.create_workspace("other", "Other", &Rules::default(), start()).await.unwrap().unwrap();
    let theirs = app.store.create_key(other.id, "theirs", true, start()).await.unwrap().secret;
    let theirs_test = app.store.create_key(other.id, "theirs", false, start()).await.unwrap().secret;
    for key in [&theirs, &theirs_test, &app.test] {
        let own = send(app, key, "POST", "customers", &json!({"name": "Own"})).await.json();
        for (kind, record, code) in [
            ("customers", &customer, "customer_not_found"),
            ("contacts", &contact, "contact_not_found"),
            ("users", &user, "user_not_found"),
            ("templates", &template, "template_not_found"),
            ("onboardings", &onboarding, "onboarding_not_found"),
        ] {
            // A number is one's own record's if there is one, so it is asked with one that is not.
            let path = format!("{kind}/{}", record["id"].as_str().unwrap());
            for (method, body) in
                [("GET", Value::Null), ("PATCH", json!({"name": "x"})), ("DELETE", Value::Null)]
            {
                if kind == "onboardings" && method == "PATCH" {
                    send(app, key, method, &path, &json!({"notes": "x"})).await.refused(404, code, None);
                } else {
                    send(app, key, method, &path, &body).await.refused(404, code, None);
                }
            }
        }
        let own_onboarding =
            send(app, key, "POST", "onboardings", &json!({"customer_id": own["id"]})).await.json();
        let own_path = format!("onboardings/{}", own_onboarding["id"].as_str().unwrap());
        let own_template = send(app, key, "POST", "templates", &json!({"name": "Own"})).await.json();
        let own_template = format!("templates/{}", own_template["id"].as_str().unwrap());
        for field in ["csm_id", "se_id", "designer_id", "product_ops_id"] {
            for named in [&user["id"], &user["email"]] {
                let body = json!({ (field): named });
                for path in [&own_path, &own_template] {
                    send(app, key, "PATCH", path, &body).await.refused(400, "unknown_user", Some(field));
                }
            }
        }
        let body = json!({"template_id": template["id"]});
        send(app, key, "PATCH", &own_path, &body).await.refused(400, "unknown_template", Some("template_id"));
        let path = format!("onboardings/{}", onboarding["id"].as_str().unwrap());
        for (method, part, body) in [
            ("GET", "events", Value::Null),
            ("GET", "reminders", Value::Null),
            ("POST", "reminders", json!({})),
            ("POST", "snooze", json!({"days": 1})),
            ("DELETE", "snooze", Value::Null),
        ] {
            let answer = send(app, key, method, &format!("{path}/{part}"), &body).await;
            answer.refused(404, "onboarding_not_found", None);
        }
        let path = format!("customers/{}/onboardings", customer["id"].as_str().unwrap());
        send(app, key, "GET", &path, &Value::Null).await.refused(404, "customer_not_found", None);
        let path = format!("api_keys/{}", api_key["id"].as_str().unwrap());
        send(app, key, "DELETE", &path, &Value::Null).await.refused(404, "api_key_not_found", None);
        let answer = send(app, key, "POST", &format!("{path}/rotate"), &json!({"overlap_seconds": 0})).await;
        answer.refused(404, "api_key_not_found", None);
        let body = json!({"name": "Eve", "email": "eve@x.example"});
        send(app, key, "POST", &contacts, &body).await.refused(404, "customer_not_found", None);
        send(app, key, "GET", &contacts, &Value::Null).await.refused(404, "customer_not_found", None);
        for (field, record, code) in [
            ("customer_id", &customer, "customer_not_found"),
            ("csm_id", &user, "user_not_found"),
            ("template_id", &template, "template_not_found"),
        ] {
            let path = format!("onboardings?{field}={}", record["id"].as_str().unwrap());
            send(app, key, "GET", &path, &Value::Null).await.refused(404, code, Some(field));
        }
        let list = send(app, key, "GET", "customers?external_id=c", &Value::Null).await.ok();
        assert_eq!(list["data"], json!([]));
        for (field, value, code) in [
            ("csm_id", &user["id"], "unknown_user"),
            ("se_id", &user["email"], "unknown_user"),
            ("template_id", &template["id"], "unknown_template"),
        ] {
            let body = json!({"customer_id": own["id"], (field): value});
            send(app, key, "POST", "onboardings", &body).await.refused(400, code, Some(field));
        }
        let body = json!({"name": "T", "designer_id": user["id"]});
        send(app, key, "POST", "templates", &body).await.refused(400, "unknown_user", Some("designer_id"));
        let body = json!({"customer_id": customer["id"]});
        send(app, key, "POST", "onboardings", &body).await.refused(
            404,
            "customer_not_found",
            Some("customer_id"),
        );
        // A cursor is an instant and names nobody's record: a walk shows one's own only.
        for list in ["customers", "users", "templates", "onboardings"] {
            let page =
                send(app, key, "GET", &format!("{list}?cursor=9999-01-01T00:00:00Z"), &Value::Null).await;
            let data = page.ok()["data"].clone();
            let is_own = |it: &Value| it["name"] == "Own" || it["customer_id"] == own["id"];
            assert!(data.as_array().unwrap().iter().all(is_own), "{list}: {data}");
        }
    }
    // Nothing of it was touched.
    let secret = api_key["secret"].as_str().unwrap();
    assert_eq!(send(app, secret, "GET", "me", &Value::Null).await.ok()["api_key"]["id"], api_key["id"]);
    assert_eq!(app.get(&format!("onboardings/{}", onboarding["display_id"])).await.ok(), onboarding);
}

async fn records_of_test_keys_make_test_events_only(app: &TestApp) {
    let key = app.test.clone();
    let customer = send(app, &key, "POST", "customers", &json!({"name": "T"})).await.json();
    let contacts = format!("customers/{}/contacts", customer["id"].as_str().unwrap());
    let contact =
        send(app, &key, "POST", &contacts, &json!({"name": "A", "email": "a@x.example"})).await.json();
    let second =
        send(app, &key, "POST", &contacts, &json!({"name": "B", "email": "b@x.example", "is_primary": true}))
            .await;
    assert_eq!(second.status, 201, "{}", second.body);
    let path = format!("contacts/{}", contact["id"].as_str().unwrap());
    send(app, &key, "DELETE", &path, &Value::Null).await.ok();
    let template = send(app, &key, "POST", "templates", &json!({"name": "T"})).await.json();
    let path = format!("templates/{}", template["id"].as_str().unwrap());
    send(app, &key, "PATCH", &path, &json!({"target_days": 3})).await.ok();
    send(app, &key, "DELETE", &path, &Value::Null).await.ok();
    assert_eq!((&contact["livemode"], &template["livemode"]), (&json!(false), &json!(false)));

    let lease = std::time::Duration::from_mins(1);
    let lease = app.store.lease_shards(None, start(), lease).await.unwrap();
    let events = app.store.unpublished(false, &lease.shards, &[], 100).await.unwrap();
    let mut kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    kinds.sort_unstable();
    let wanted = [
        "contact.created",
        "contact.created",
        "contact.deleted",
        "contact.updated",
        "customer.created",
        "template.created",
        "template.deleted",
        "template.updated",
    ];
    assert_eq!(kinds, wanted);
    assert!(app.store.unpublished(true, &lease.shards, &[], 100).await.unwrap().is_empty());
}
