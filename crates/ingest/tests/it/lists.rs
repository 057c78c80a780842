//! Lists: filters and walks.

use serde_json::{Value, json};

use crate::app::{TestApp, on_both_engines};

on_both_engines!(
    a_walk_loses_and_repeats_nothing,
    onboardings_are_filtered,
    customers_are_filtered,
    bad_queries_are_refused,
);

fn ids(list: &Value) -> Vec<String> {
    list["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

async fn a_walk_loses_and_repeats_nothing(app: &TestApp) {
    let mut made = Vec::new();
    for number in 0..23 {
        let customer = app.made("customers", json!({"name": format!("No {number}")})).await;
        made.push(customer["id"].as_str().unwrap().to_owned());
    }
    made.reverse();
    let (mut walked, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("customers?limit=5{cursor}")).await.ok();
        let keys: Vec<&String> = page.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["object", "data", "has_more", "next_cursor"]);
        assert_eq!(page["object"], "list");
        walked.extend(ids(&page));
        // What is made while walking does not disturb the walk.
        app.made("customers", json!({"name": "later"})).await;
        if page["has_more"] == false {
            assert_eq!(page["next_cursor"], Value::Null);
            break;
        }
        let next = page["next_cursor"].as_str().unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(next).is_ok(), "{next}");
        cursor = format!("&cursor={next}");
    }
    assert_eq!(walked, made, "newest first, each once");
    assert_eq!(ids(&app.get("customers").await.ok()).len(), 25, "the default limit");
}

async fn onboardings_are_filtered(app: &TestApp) {
    let ada = app.made("users", json!({"name": "Ada", "email": "ada@example.com"})).await;
    let customer = app.made("customers", json!({"name": "One"})).await;
    let other = app.onboarding().await;
    let mine = app
        .made(
            "onboardings",
            json!({"customer_id": customer["id"], "csm_id": ada["id"], "phase": "review", "state": "waiting"}),
        )
        .await;
    let all = [&mine, &other].map(|it| it["id"].as_str().unwrap().to_owned());
    let [mine, other] = &all;
    let customer_id = customer["id"].as_str().unwrap();
    for (query, wanted) in [
        (String::new(), &all[..]),
        ("state=waiting".into(), std::slice::from_ref(mine)),
        ("state=paused".into(), &[]),
        ("phase=before_getting_started".into(), std::slice::from_ref(other)),
        (format!("customer_id={customer_id}"), std::slice::from_ref(mine)),
        (format!("customer_id={}", customer["display_id"]), std::slice::from_ref(mine)),
        ("csm_id=ada%40example.com".into(), std::slice::from_ref(mine)),
        ("updated_since=2026-03-02T08:00:00Z".into(), &all[..]),
        ("updated_since=2026-03-03T08:00:00Z".into(), &[]),
        ("due_before=2026-03-01T00:00:00Z".into(), &[]),
        ("due_before=2027-01-01T00:00:00Z".into(), &all[..]),
        ("state=waiting&phase=launch".into(), &[]),
    ] {
        assert_eq!(ids(&app.get(&format!("onboardings?{query}")).await.ok()), wanted, "{query}");
    }
    for (field, code) in [
        ("customer_id", "customer_not_found"),
        ("csm_id", "user_not_found"),
        ("template_id", "template_not_found"),
    ] {
        app.get(&format!("onboardings?{field}=nobody")).await.refused(404, code, Some(field));
    }
    let theirs = app.get(&format!("customers/{customer_id}/onboardings")).await.ok();
    assert_eq!(ids(&theirs), std::slice::from_ref(mine));
}

async fn customers_are_filtered(app: &TestApp) {
    let one = app
        .made(
            "customers",
            json!({"name": "One", "slug": "one", "domain": "One.example", "external_id": "e1", "status": "active"}),
        )
        .await;
    app.made("customers", json!({"name": "Two", "slug": "two"})).await;
    for query in ["slug=one", "domain=ONE.example", "external_id=e1", "status=active"] {
        assert_eq!(app.get(&format!("customers?{query}")).await.ok()["data"], json!([one]), "{query}");
    }
    assert_eq!(app.get("customers?slug=three").await.ok()["data"], json!([]));
}

async fn bad_queries_are_refused(app: &TestApp) {
    let id = app.onboarding().await["id"].as_str().unwrap().to_owned();
    let lists = [
        "onboardings",
        "customers",
        "users",
        "templates",
        "customers/1/contacts",
        &format!("onboardings/{id}/events"),
        &format!("onboardings/{id}/reminders"),
    ];
    for list in lists {
        let get = async |query: &str| app.get(&format!("{list}?{query}")).await;
        get("limit=0").await.refused(400, "too_small", Some("limit"));
        get("limit=101").await.refused(400, "too_big", Some("limit"));
        get("cursor=last").await.refused(400, "invalid_string", Some("cursor"));
        get("colour=red").await.refused(400, "unrecognized_key", Some("colour"));
        for cursor in
            ["0000-01-01T00:00:00%2B10:00", "9999-12-31T23:59:59.999999999Z", "2016-12-31T23:59:60Z"]
        {
            get(&format!("cursor={cursor}")).await.ok();
        }
    }
    app.get("onboardings?state=gone").await.refused(400, "invalid_value", Some("state"));
    app.get("customers?slug=%00").await.refused(400, "invalid_string", Some("slug"));
}
