//! Contacts over HTTP.

use axum::body::Body;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp, on_both_engines};

on_both_engines!(
    a_contact_from_start_to_end,
    the_primary_contact_is_one,
    addresses_and_keys_are_taken_once,
    contacts_go_with_their_customer,
    parallel_twins_make_one_contact,
    versions_guard_contacts,
    a_walk_over_contacts_loses_and_repeats_nothing,
);

async fn customer(app: &TestApp) -> String {
    let made = app.made("customers", json!({"name": "Acme"})).await;
    made["id"].as_str().unwrap().to_owned()
}

async fn contact(app: &TestApp, customer: &str, email: &str) -> Value {
    app.made(&format!("customers/{customer}/contacts"), json!({"name": "Ada", "email": email})).await
}

fn path(contact: &Value) -> String {
    format!("contacts/{}", contact["id"].as_str().unwrap())
}

async fn a_contact_from_start_to_end(app: &TestApp) {
    let customer = customer(app).await;
    let body =
        json!({"name": "Ada", "email": "Ada@X.example", "labels": ["it", "it", "boss"], "title": null});
    let made = app.made(&format!("customers/{customer}/contacts"), body).await;
    let keys: Vec<&String> = made.as_object().unwrap().keys().collect();
    let wanted = [
        "object",
        "id",
        "display_id",
        "customer_id",
        "name",
        "email",
        "title",
        "is_primary",
        "labels",
        "email_broken",
        "external_id",
        "created_at",
        "updated_at",
        "livemode",
        "version",
    ];
    assert_eq!(keys, wanted);
    assert_eq!((&made["object"], &made["customer_id"]), (&json!("contact"), &json!(customer)));
    assert_eq!((&made["email"], &made["labels"]), (&json!("ada@x.example"), &json!(["it", "boss"])));
    assert_eq!((&made["is_primary"], &made["livemode"]), (&json!(true), &json!(true)));
    let shown = app.get(&path(&made)).await;
    assert_eq!((shown.ok(), shown.header("etag")), (made.clone(), Some("\"1\"")));
    assert_eq!(app.get(&format!("contacts/{}", made["display_id"])).await.ok(), made);

    let changed = app.patch(&path(&made), json!({"title": "CEO", "labels": []})).await.ok();
    assert_eq!(
        (&changed["title"], &changed["labels"], &changed["version"]),
        (&json!("CEO"), &json!([]), &json!(2))
    );
    let cleared = app.patch(&path(&made), json!({"title": null})).await.ok();
    assert_eq!((&cleared["title"], &cleared["name"]), (&Value::Null, &json!("Ada")));
    let same = app.patch(&path(&made), json!({"title": null})).await.ok();
    assert_eq!(same, cleared, "no change writes nothing");
    let listed = app.get(&format!("customers/{customer}/contacts")).await.ok();
    assert_eq!(listed["data"], json!([cleared]));

    let gone =
        json!({"object": "deleted", "id": made["id"], "display_id": made["display_id"], "deleted": true});
    assert_eq!(app.delete(&path(&made)).await.ok(), gone);
    assert_eq!(app.delete(&path(&made)).await.ok(), gone);
    app.get(&path(&made)).await.refused(404, "contact_not_found", None);
    app.patch(&path(&made), json!({})).await.refused(404, "contact_not_found", None);
    assert_eq!(app.get(&format!("customers/{customer}/contacts")).await.ok()["data"], json!([]));
}

async fn the_primary_contact_is_one(app: &TestApp) {
    let customer = customer(app).await;
    let ada = contact(app, &customer, "ada@x.example").await;
    let bob = contact(app, &customer, "bob@x.example").await;
    assert_eq!((&ada["is_primary"], &bob["is_primary"]), (&json!(true), &json!(false)));
    app.patch(&path(&bob), json!({"is_primary": true})).await.ok();
    let ada = app.get(&path(&ada)).await.ok();
    assert_eq!((&ada["is_primary"], &ada["version"]), (&json!(false), &json!(2)));
    app.delete(&path(&bob)).await.ok();
    let ada = app.get(&path(&ada)).await.ok();
    assert_eq!((&ada["is_primary"], &ada["version"]), (&json!(true), &json!(3)));
    // The only one stays.
    assert_eq!(app.patch(&path(&ada), json!({"is_primary": false})).await.ok(), ada);
}

async fn addresses_and_keys_are_taken_once(app: &TestApp) {
    let (acme, other) = (customer(app).await, customer(app).await);
    let post =
        async |customer: &str, body: Value| app.post(&format!("customers/{customer}/contacts"), body).await;
    let ada = json!({"name": "Ada", "email": "ada@x.example", "external_id": "a"});
    assert_eq!(post(&acme, ada.clone()).await.status, 201);
    post(&acme, json!({"name": "Ada", "email": "ADA@x.example"})).await.refused(
        409,
        "email_taken",
        Some("email"),
    );
    post(&other, ada).await.refused(409, "external_id_taken", Some("external_id"));
    assert_eq!(post(&other, json!({"name": "Ada", "email": "ada@x.example"})).await.status, 201);
    for (body, code, field) in [
        (json!({}), "missing_field", "name"),
        (json!({"name": "Ada"}), "missing_field", "email"),
        (json!({"email": "ada", "name": ""}), "invalid_string", "email"),
        (json!({"name": "", "email": "ada"}), "too_small", "name"),
        (json!({"name": "A\u{0}", "email": "a@b.c"}), "invalid_string", "name"),
        (json!({"labels": ["x", 1]}), "invalid_type", "labels.1"),
        (json!({"labels": vec!["x"; 21]}), "too_long", "labels"),
        (json!({"is_primary": null}), "invalid_type", "is_primary"),
        (json!({"customer_id": acme}), "immutable_field", "customer_id"),
        (json!({"nmae": "x"}), "unrecognized_key", "nmae"),
    ] {
        post(&acme, body).await.refused(400, code, Some(field));
    }
}

async fn contacts_go_with_their_customer(app: &TestApp) {
    let customer = customer(app).await;
    let ada = contact(app, &customer, "ada@x.example").await;
    app.delete(&format!("customers/{customer}")).await.ok();
    app.get(&path(&ada)).await.refused(404, "contact_not_found", None);
    app.patch(&path(&ada), json!({"name": "x"})).await.refused(404, "contact_not_found", None);
    app.delete(&path(&ada)).await.refused(404, "contact_not_found", None);
    let contacts = format!("customers/{customer}/contacts");
    app.get(&contacts).await.refused(404, "customer_not_found", None);
    let body = json!({"name": "Bob", "email": "bob@x.example"});
    app.post(&contacts, body).await.refused(404, "customer_not_found", None);
}

async fn keyed(app: &TestApp, path: &str, body: &Value) -> Answer {
    let request = app.request("POST", path).header("idempotency-key", "k");
    app.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn parallel_twins_make_one_contact(app: &TestApp) {
    let customer = customer(app).await;
    for (path, body) in [
        (format!("customers/{customer}/contacts"), json!({"name": "Ada", "email": "ada@x.example"})),
        ("templates".to_owned(), json!({"name": "Standard"})),
    ] {
        let twins = (0..6).map(|_| keyed(app, &path, &body));
        let answers = futures_util::future::join_all(twins).await;
        let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert!(!made.is_empty() && made.iter().all(|answer| answer.body == made[0].body), "{path}");
        let again = keyed(app, &path, &body).await;
        assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &made[0].body));
        assert_eq!(app.get(&path).await.ok()["data"].as_array().unwrap().len(), 1, "{path}");
    }
}

async fn versions_guard_contacts(app: &TestApp) {
    let customer = customer(app).await;
    let ada = contact(app, &customer, "ada@x.example").await;
    let patch = |tag: &'static str| {
        let request = app.request("PATCH", &path(&ada)).header("if-match", tag);
        app.send(request.body(Body::from(json!({"name": tag}).to_string())).unwrap())
    };
    assert_eq!(patch("\"1\"").await.header("etag"), Some("\"2\""));
    patch("\"1\"").await.refused(412, "version_mismatch", None);
    // Different fields at once: both hold.
    let (it, one, two) = (path(&ada), json!({"title": "CEO"}), json!({"labels": ["x"]}));
    let (one, two) = tokio::join!(app.patch(&it, one), app.patch(&it, two));
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (200, 200));
    let now = app.get(&it).await.ok();
    assert_eq!((&now["title"], &now["labels"], &now["version"]), (&json!("CEO"), &json!(["x"]), &json!(4)));
}

async fn a_walk_over_contacts_loses_and_repeats_nothing(app: &TestApp) {
    let customer = customer(app).await;
    for i in 0..23 {
        contact(app, &customer, &format!("c{i}@x.example")).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("customers/{customer}/contacts?limit=5{cursor}")).await.ok();
        seen.extend(page["data"].as_array().unwrap().iter().map(|it| it["id"].to_string()));
        // New ones in between come before what is left.
        contact(app, &customer, &format!("new{}@x.example", seen.len())).await;
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((all, seen.len()), (23, 23));
}
