//! Every limit that the document publishes of a body is the server's: on it a value is taken, beyond it it is refused.

use std::cell::Cell;

use serde_json::{Map, Value, json};
use usher_ingest::http::document;

use crate::app::{TestApp, on_both_engines};

on_both_engines!(published_limits_are_kept);

/// A value for a schema: the path of what it probes, and whether the schema takes it.
struct Probe {
    path: Vec<String>,
    value: Value,
    fits: bool,
}

struct Prober {
    document: Value,
    customer: Value,
    count: Cell<u32>,
}

impl Prober {
    /// What the schema refers to; of a choice the first.
    fn schema<'a>(&'a self, schema: &'a Value) -> &'a Value {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.schema(self.document.pointer(&reference[1..]).unwrap());
        }
        schema["anyOf"].get(0).map_or(schema, |first| self.schema(first))
    }

    /// Text of so many characters, in the form that the schema asks for.
    fn text(&self, schema: &Value, length: usize) -> String {
        self.count.set(self.count.get() + 1);
        if schema["format"] == "email" {
            let local = format!("{:a<64}", self.count.get());
            let labels = ["b".repeat(63), "c".repeat(63), "d".repeat(length - 64 - 1 - 64 * 2)];
            return format!("{local}@{}", labels.join("."));
        }
        if schema["pattern"].as_str().is_some_and(|pattern| pattern.starts_with("^([01]")) {
            // Each later than the one before: of some pairs the second must be the later one.
            let minutes = 600 + self.count.get();
            return format!("{:0<length$}", format!("{:02}:{:02}", minutes / 60, minutes % 60));
        }
        "x".repeat(length)
    }

    /// A value that is taken.
    fn sample(&self, name: &str, schema: &Value) -> Value {
        let schema = self.schema(schema);
        if name == "customer_id" {
            return self.customer.clone();
        }
        if let Some(names) = schema["enum"].as_array() {
            return names[0].clone();
        }
        match schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap() {
            "object" => {
                let required =
                    schema["required"].as_array().into_iter().flatten().map(|it| it.as_str().unwrap());
                required.map(|it| (it.to_owned(), self.sample(it, &schema["properties"][it]))).collect()
            }
            "array" => Value::Array(Vec::new()),
            "integer" | "number" => schema["minimum"].clone(),
            "boolean" => Value::Bool(true),
            _ if schema["format"] == "date-time" => json!("2026-03-01T08:00:00Z"),
            _ if schema["format"] == "date" => json!("2026-12-24"),
            _ if schema["format"] == "email" => json!(self.text(schema, 254)),
            _ => json!(self.text(schema, 5)),
        }
    }

    /// Values on and beyond each limit of the schema and of what is in it.
    fn probes(&self, schema: &Value) -> Vec<Probe> {
        let schema = self.schema(schema);
        let probe = |value: Value, fits| Probe { path: Vec::new(), value, fits };
        let limit = |name: &str| schema[name].as_i64();
        let size = |name: &str| limit(name).map(|it| usize::try_from(it).unwrap());
        let mut all = Vec::new();
        for (name, beyond) in [("minimum", -1), ("maximum", 1)] {
            if let Some(limit) = limit(name) {
                all.extend([probe(json!(limit), true), probe(json!(limit + beyond), false)]);
            }
        }
        if let Some(most) = size("maxLength") {
            all.push(probe(json!(self.text(schema, most)), true));
            all.push(probe(json!(self.text(schema, most + 1)), false));
        }
        if let Some(least) = size("minLength") {
            all.push(probe(json!(self.text(schema, least)), true));
            all.push(probe(json!(""), false));
        }
        let items = |count: usize| (0..count).map(|_| self.sample("", &schema["items"])).collect::<Value>();
        if let Some(most) = size("maxItems") {
            all.extend([probe(items(most), true), probe(items(most + 1), false)]);
        }
        if let Some(least) = size("minItems") {
            all.extend([probe(items(least), true), probe(items(least - 1), false)]);
        }
        if schema.get("items").is_some() {
            all.extend(
                self.probes(&schema["items"]).into_iter().map(|it| it.within("0", |value| json!([value]))),
            );
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let Value::Object(rest) = self.sample("", schema) else { panic!("an object") };
            let whole = |value| {
                let mut whole: Map<String, Value> = rest.clone();
                whole.insert(name.clone(), value);
                Value::Object(whole)
            };
            all.extend(self.probes(inner).into_iter().map(|it| it.within(name, whole)));
        }
        if let Some(names) = schema.get("propertyNames") {
            let whole = |name: Value| json!({ (name.as_str().unwrap()): 1 });
            all.extend(self.probes(names).into_iter().map(|it| {
                let name = it.value.as_str().unwrap().to_owned();
                it.within(&name, whole)
            }));
        }
        all
    }
}

impl Probe {
    fn within(mut self, name: &str, whole: impl Fn(Value) -> Value) -> Self {
        self.path.insert(0, name.to_owned());
        Self { value: whole(self.value), ..self }
    }
}

async fn published_limits_are_kept(app: &TestApp) {
    let app_key = app.key(&["*"], Some(0)).await;
    let send = async |method: &str, path: &str, body: &Value| {
        app.with(&app_key, method, path, &body.to_string()).await
    };
    let onboarding = app.onboarding().await;
    let contacts = format!("customers/{}/contacts", onboarding["customer_id"].as_str().unwrap());
    app.made(&contacts, json!({"name": "Ada", "email": "ada@x.example"})).await;
    let quiet = json!({"from": "19:00", "to": "08:00"});
    app.made("users", json!({"name": "Ada", "email": "ada@example.com", "quiet_hours": quiet})).await;
    app.made("templates", json!({"name": "T"})).await;
    let document = document();
    let prober = Prober { document, customer: onboarding["customer_id"].clone(), count: Cell::new(0) };
    let (mut taken, mut refused) = (0, 0);
    for (path, item) in prober.document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            let Some(name) = body["$ref"].as_str() else { continue };
            let tried = prober.probes(body);
            assert!(!tried.is_empty(), "{name} has no limits");
            for Probe { path: at, value, fits } in tried {
                let mut path = path.replace("{id}", "1");
                if path.contains("/api_keys/") {
                    let key = app.key(&["*"], None).await;
                    let me = app.with(&key, "GET", "me", "").await.ok();
                    path = path.replace("/1/", &format!("/{}/", me["api_key"]["id"].as_str().unwrap()));
                }
                let answer = send(&method.to_uppercase(), &path, &value).await;
                let told = format!("{method} {path} {}: {}", at.join("."), answer.body);
                let told: String = told.chars().take(600).collect();
                if fits {
                    // It may name nobody, or be taken by another; its form is right.
                    let form = answer.status == 400 && !answer.error().1.starts_with("unknown_");
                    assert!(!form && answer.status.as_u16() < 500, "{told}");
                    taken += 1;
                } else {
                    assert_eq!(answer.status, 400, "{told}");
                    let field = answer.error().2.unwrap_or_default();
                    let wanted: String = at.join(".").chars().take(128).collect();
                    assert_eq!(field, wanted, "{told}");
                    refused += 1;
                }
            }
        }
    }
    assert!(taken > 150 && taken == refused, "{taken} {refused}");
}
