//! The published description: it holds the contract of the create call, is whole in itself, and its copy in docs/ is fresh.

use std::{collections::BTreeSet, path::Path};

use axum::{body::Body, http::Request};
use serde_json::Value;
use usher_ingest::http::document;

use crate::app::TestApp;

/// Everything that `wanted` says stands in `given` too, letter for letter; `given` may say more. Descriptions are free.
fn holds(path: &str, wanted: &Value, given: &Value, open: bool, faults: &mut Vec<String>) {
    match (wanted, given) {
        (Value::Object(wanted), Value::Object(given)) => {
            for (name, wanted) in wanted.iter().filter(|(name, _)| *name != "description") {
                let path = format!("{path}/{name}");
                match given.get(name) {
                    Some(given) => holds(&path, wanted, given, open, faults),
                    None => faults.push(format!("{path} is missing")),
                }
            }
        }
        // An answer may promise more fields; a request must not ask for more.
        (Value::Array(wanted), Value::Array(given)) if path.ends_with("/required") => {
            let lacking = wanted.iter().any(|name| !given.contains(name));
            if lacking || (!open && wanted.len() != given.len()) {
                faults.push(format!("{path} is {given:?} and should be {wanted:?}"));
            }
        }
        (wanted, given) if wanted == given => {}
        (wanted, given) => faults.push(format!("{path} is {given} and should be {wanted}")),
    }
}

#[test]
fn the_create_call_is_the_contracts_to_the_letter() {
    let contract = include_str!("../contract/create-onboarding.openapi.json");
    let contract: Value = serde_json::from_str(contract).unwrap();
    let document = document();
    let mut faults = Vec::new();
    let schemas = contract["components"]["schemas"].as_object().unwrap();
    assert_eq!(schemas.len(), 10);
    for (name, wanted) in schemas {
        let given = &document["components"]["schemas"][name];
        holds(name, wanted, given, !name.starts_with("OnboardingCreate"), &mut faults);
    }
    let path = "/api/v1/onboardings";
    let (wanted, given) = (&contract["paths"][path]["post"], &document["paths"][path]["post"]);
    for (status, answer) in wanted["responses"].as_object().unwrap() {
        let (wanted, given) = (&answer["content"], &given["responses"][status]["content"]);
        holds(&format!("responses/{status}"), wanted, given, true, &mut faults);
    }
    holds("requestBody", &wanted["requestBody"], &given["requestBody"], true, &mut faults);
    assert_eq!(given["operationId"], wanted["operationId"]);
    let scheme = &document["components"]["securitySchemes"]["BearerAuth"];
    holds("security", &contract["components"]["securitySchemes"]["BearerAuth"], scheme, true, &mut faults);
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn the_document_is_whole() {
    let document = document();
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.len() > 30);
    for reference in &references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for group in ["schemas", "parameters", "headers"] {
        for name in document["components"][group].as_object().unwrap().keys() {
            let reference = format!("#/components/{group}/{name}");
            assert!(references.contains(&reference), "nothing refers to {reference}");
        }
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path}");
            let named = operation["parameters"].as_array().into_iter().flatten();
            let named = named.filter(|it| it["in"] == "path").count();
            assert_eq!(named, path.matches('{').count(), "{method} {path}");
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let error = &answer["content"]["application/json"]["schema"]["$ref"];
                assert!(
                    status.starts_with('2') || path == "/readyz" || error == "#/components/schemas/Error",
                    "{method} {path} {status}"
                );
            }
            let body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str();
            if let Some(body) = body {
                let schema = document.pointer(body.strip_prefix('#').unwrap()).unwrap();
                assert_eq!(schema["additionalProperties"], false, "{body}");
            }
        }
    }
}

fn collect(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| collect(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `UPDATE_DOCS=1` writes the copy anew.
#[test]
fn the_copy_in_docs_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let fresh = format!("{:#}\n", document());
    #[expect(clippy::disallowed_methods, reason = "a switch for people who regenerate the copy")]
    let update = std::env::var("UPDATE_DOCS").is_ok();
    if update {
        std::fs::write(&path, &fresh).unwrap();
    }
    assert!(std::fs::read_to_string(&path).is_ok_and(|kept| kept == fresh), "run with UPDATE_DOCS=1");
}

#[tokio::test]
async fn the_document_and_the_page_are_served_without_a_key() {
    let app = TestApp::sqlite().await;
    let get = |path: &str| app.send(Request::get(path).body(Body::empty()).unwrap());
    assert_eq!(get("/api/v1/openapi.json").await.ok(), document());
    let page = get("/docs").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src"), "{policy}");
    for (path, item) in document()["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let id = format!("<section id=\"{}\">", operation["operationId"].as_str().unwrap());
            assert!(page.body.contains(&id), "{path}");
        }
    }
    for foreign in ["<script", "http://", "https://", "src=", "url(", "@import"] {
        assert!(!page.body.contains(foreign), "the page has {foreign}");
    }
}
