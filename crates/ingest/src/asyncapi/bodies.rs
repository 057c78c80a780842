//! The data of commands: the body of the API's call, as OpenAPI has it, and what says which record is meant.

use serde_json::{Map, Value, json};
use usher_lifecycle::limits;

use crate::{body::CONTACTS, intake::plan::REFERENCE};

/// `onboarding.create` -> `OnboardingCreate`.
pub(super) fn name(command: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect::<String>()
    };
    command.split('.').map(capital).collect()
}

/// The schema of a command's data, made of the schemas of the API; nothing for a command that has none.
pub(super) fn data(api: &Map<String, Value>, command: &str) -> Option<Value> {
    let body = |name: &str| api.get(name).cloned();
    let mut schema = match command {
        "onboarding.create" => {
            with_its_customer(body("OnboardingCreate")?, body("CustomerUpdate")?, body("ContactUpdate")?)
        }
        "onboarding.update" => which(body("OnboardingUpdate")?),
        "onboarding.delete" => which(json!({"type": "object", "additionalProperties": false})),
        "onboarding.snooze" => snooze(body("Snooze")?),
        "customer.upsert" => which(body("CustomerUpdate")?),
        "user.upsert" => which(body("UserUpdate")?),
        "contact.upsert" => contact(body("ContactUpdate")?),
        _ => return None,
    };
    schema["title"] = name(command).into();
    Some(schema)
}

/// That one of these is there, none of them null.
fn one_of_these(names: &[&str]) -> Value {
    let there = |name: &&str| json!({"required": [name], "properties": {*name: {"not": {"type": "null"}}}});
    names.iter().map(there).collect()
}

fn text(longest: usize, about: &str) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": longest, "description": about})
}

/// What says which record is meant, and in which version.
fn add_names(schema: &mut Value) {
    let own = schema["properties"]["external_id"].take();
    let own = if own.is_null() { text(limits::EXTERNAL_ID, "Your own key.") } else { own };
    schema["properties"]["id"] = text(REFERENCE, "An id, or digits for a display_id.");
    schema["properties"]["display_id"] = json!({"type": "integer"});
    schema["properties"]["external_id"] = own;
    schema["properties"]["expected_version"] =
        json!({"type": "integer", "description": "Refused when the record has another version."});
}

fn which(mut schema: Value) -> Value {
    add_names(&mut schema);
    schema["anyOf"] = one_of_these(&["id", "display_id", "external_id"]);
    schema["not"] = json!({"required": ["id", "display_id"]});
    schema
}

/// One of `until` and `days`.
fn snooze(schema: Value) -> Value {
    let mut schema = which(schema);
    if let Value::Object(map) = &mut schema {
        // The API counts the members; here there are others.
        map.shift_remove("minProperties");
        map.shift_remove("maxProperties");
    }
    schema["oneOf"] = json!([{"required": ["until"]}, {"required": ["days"]}]);
    schema
}

fn customer_id() -> Value {
    let about = "The customer: id, display_id in digits, or `external:<key>`.";
    json!({"type": "string", "minLength": 1, "maxLength": REFERENCE, "description": about})
}

/// By its own names, or among those of its customer.
fn contact(mut schema: Value) -> Value {
    add_names(&mut schema);
    schema["properties"]["customer_id"] = customer_id();
    schema["anyOf"] = json!([
        {"anyOf": one_of_these(&["id", "display_id"]), "not": {"anyOf": [
            {"required": ["id", "display_id"]}, {"required": ["customer_id"]},
        ]}},
        {"anyOf": one_of_these(&["external_id"]), "not": {"anyOf": [
            {"required": ["id"]}, {"required": ["display_id"]}, {"required": ["customer_id"]},
        ]}},
        {"required": ["customer_id"], "anyOf": one_of_these(&["external_id", "email"]), "not": {"anyOf": [
            {"required": ["id"]}, {"required": ["display_id"]},
        ]}},
    ]);
    schema
}

/// With a whole customer in the place of `customer_id`, or with contacts.
fn with_its_customer(mut schema: Value, mut customer: Value, mut contact: Value) -> Value {
    customer["anyOf"] = one_of_these(&["external_id", "slug", "domain"]);
    customer["description"] =
        "Changed if it is there by the first of external_id, slug and domain, else created.".into();
    contact["anyOf"] = one_of_these(&["external_id", "email"]);
    contact["description"] = "Changed if the customer has it, else created.".into();
    for part in [&mut customer, &mut contact] {
        if let Value::Object(map) = part {
            map.shift_remove("title");
        }
    }
    if let Value::Object(map) = &mut schema {
        map.shift_remove("required");
    }
    schema["properties"]["customer_id"] = customer_id();
    schema["properties"]["customer"] = customer;
    schema["properties"]["contacts"] = json!({"type": "array", "items": contact, "maxItems": CONTACTS});
    schema["oneOf"] = json!([{"required": ["customer_id"]}, {"required": ["customer"]}]);
    schema
}
