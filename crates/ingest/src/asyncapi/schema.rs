//! The schemas of the document: the objects of the API as `utoipa` derives them from their types, and bodies made of the
//! keys that the readers take.

use serde_json::{Map, Value, json};
use usher_bus::DECODE_CODES;
use usher_lifecycle::wire::{ContactObject, CustomerObject, OnboardingObject, UserObject};
use utoipa::OpenApi;

use crate::body;

#[derive(OpenApi)]
#[openapi(components(schemas(OnboardingObject, CustomerObject, ContactObject, UserObject)))]
struct Objects;

/// All schemas by name.
pub(super) fn all() -> Value {
    let objects = serde_json::to_value(Objects::openapi()).unwrap_or_default();
    let mut schemas = objects["components"]["schemas"].as_object().cloned().unwrap_or_default();
    for (command, _) in BODIES {
        let body = body(&schemas, command);
        schemas.insert(body_name(command), body);
    }
    schemas.insert("CloudEvent".into(), cloud_event());
    schemas.insert("Actor".into(), actor());
    schemas.insert("Deleted".into(), deleted());
    schemas.insert("Error".into(), error());
    schemas
        .insert("Answer".into(), any_of(&["Onboarding", "Customer", "Contact", "User", "Deleted", "Error"]));
    schemas.insert("EventHeaders".into(), event_headers());
    schemas.insert("CommandHeaders".into(), command_headers());
    schemas.insert("RejectedHeaders".into(), rejected_headers());
    schemas.into()
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn any_of(names: &[&str]) -> Value {
    json!({"anyOf": names.iter().map(|name| reference(name)).collect::<Vec<_>>()})
}

/// The payload of an event of this type.
pub(super) fn event(kind: &str) -> Value {
    let record = kind.split('.').next().unwrap_or_default();
    let (object, prefix) = match record {
        "onboarding" => (any_of(&["Onboarding", "Deleted"]), "onb_"),
        "customer" => (any_of(&["Customer", "Deleted"]), "cust_"),
        "user" => (any_of(&["User", "Deleted"]), "user_"),
        "contact" => (any_of(&["Contact", "Deleted"]), "cont_"),
        // Of a reminder the object is its row in the ledger, of `reminder.snoozed` the onboarding.
        _ => (json!({"type": "object"}), ""),
    };
    json!({
        "allOf": [reference("CloudEvent")],
        "required": ["subject", "time", "datacontenttype", "sequence", "ordinal", "livemode", "data"],
        "properties": {
            "id": {"type": "string", "pattern": "^evt_"},
            "source": {"type": "string", "pattern": "^/usher/"},
            "type": {"const": kind},
            "subject": {"type": "string", "pattern": format!("^{prefix}")},
            "sequence": {"type": "string", "pattern": "^[0-9]+$", "description": "The subject's version after it."},
            "ordinal": {"type": "integer", "minimum": 0, "description": "The place among the events of that version."},
            "livemode": {"type": "boolean", "description": "False for test records."},
            "data": {
                "type": "object",
                "required": ["object", "previous_attributes", "actor"],
                "properties": {
                    "object": object,
                    "previous_attributes": {"type": ["object", "null"]},
                    "actor": reference("Actor"),
                },
            },
        },
    })
}

/// `onboarding.create` -> `OnboardingCreate`.
pub(super) fn body_name(command: &str) -> String {
    command
        .split('.')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().into_iter().flat_map(char::to_uppercase).chain(letters)
        })
        .collect()
}

/// The commands with the API object whose fields they take, when they take any.
const BODIES: [(&str, Option<&str>); 7] = [
    ("onboarding.create", Some("Onboarding")),
    ("onboarding.update", Some("Onboarding")),
    ("onboarding.delete", None),
    ("onboarding.snooze", None),
    ("customer.upsert", Some("Customer")),
    ("contact.upsert", Some("Contact")),
    ("user.upsert", Some("User")),
];

/// The data of a command: the keys that its reader takes, each as the object of the API has it.
fn body(schemas: &Map<String, Value>, command: &str) -> Value {
    let object = BODIES.iter().find(|(name, _)| *name == command).and_then(|(_, object)| *object);
    let mut properties = Map::new();
    for key in body::keys_of_command(command) {
        let like = object.and_then(|object| schemas.get(object)).map(|it| &it["properties"][*key]);
        properties.insert((*key).to_owned(), field(key, like.filter(|it| !it.is_null())));
    }
    let required = body::required_of_command(command);
    match command {
        // In the place of customer_id; with it everything of one customer comes in one message.
        "onboarding.create" => {
            properties.insert("customer".into(), reference("CustomerUpsert"));
            properties.insert(
                "contacts".into(),
                json!({"type": "array", "items": {"type": "object"}, "maxItems": 100}),
            );
        }
        "contact.upsert" => drop(properties.insert("customer_id".into(), json!({"type": "string"}))),
        _ => {}
    }
    if !["onboarding.create", "contact.upsert"].contains(&command) {
        properties.insert(
            "id".into(),
            json!({"type": "string", "description": "An id, or digits for a display_id."}),
        );
        properties.insert("display_id".into(), json!({"type": "integer"}));
        properties.insert("external_id".into(), json!({"type": ["string", "null"]}));
        properties.insert("expected_version".into(), json!({"type": "integer"}));
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// A field that callers write: as the object has it, and what only bodies have.
fn field(key: &str, like: Option<&Value>) -> Value {
    match (key, like) {
        ("until", _) => json!({"type": "string", "format": "date-time"}),
        ("days" | "reminder_frequency_days", _) => json!({"type": "integer", "minimum": 1, "maximum": 365}),
        (_, Some(like)) => like.clone(),
        ("reason", None) => json!({"type": "string"}),
        (_, None) => json!(true),
    }
}

fn cloud_event() -> Value {
    let text = json!({"type": "string", "minLength": 1, "maxLength": 255});
    json!({
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": text,
            "source": text,
            "type": text,
            "subject": {"type": "string"},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"type": "string"},
            "sequence": {
                "type": "string",
                "description": "The sender's order: digits alone are compared as numbers, everything else byte by byte. An \
                                older command about the same record has no effect.",
            },
            "traceparent": {"type": "string"},
        },
    })
}

fn actor() -> Value {
    json!({
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"enum": ["api_key", "user", "nats", "system"]},
            "id": {"type": ["string", "null"]},
            "name": {"type": ["string", "null"]},
        },
    })
}

fn deleted() -> Value {
    json!({
        "type": "object",
        "required": ["object", "id", "deleted"],
        "properties": {
            "object": {"const": "deleted"}, "id": {"type": "string"}, "display_id": {"type": "integer"},
            "deleted": {"const": true},
        },
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["type", "code", "message"],
                "properties": {
                    "type": {"type": "string"}, "code": {"type": "string"}, "message": {"type": "string"},
                    "field": {"type": "string"},
                },
            },
        },
    })
}

fn event_headers() -> Value {
    json!({
        "type": "object",
        "required": ["Content-Type", "Nats-Msg-Id"],
        "properties": {
            "Content-Type": {"const": usher_bus::CLOUDEVENTS_JSON},
            "Nats-Msg-Id": {"type": "string", "description": "<source>/<id>, the same for every repeat."},
            "traceparent": {"type": "string"},
        },
    })
}

fn command_headers() -> Value {
    let header = |name: &str| (format!("ce-{name}"), json!({"type": "string"}));
    let mut properties: Map<String, Value> =
        ["specversion", "id", "source", "type", "sequence", "time"].into_iter().map(header).collect();
    properties.insert(
        "Nats-Msg-Id".into(),
        json!({"type": "string", "description": "The id of a command in plain JSON."}),
    );
    json!({
        "type": "object",
        "description": "With ce-specversion, in any case, it is a binary CloudEvent.",
        "properties": properties,
    })
}

fn rejected_headers() -> Value {
    let names = usher_bus::REJECTED_HEADERS;
    let mut properties: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
    let codes: Vec<&str> = DECODE_CODES.into_iter().collect();
    properties["Usher-Error-Code"]["examples"] = json!(codes);
    json!({
        "type": "object",
        "required": ["Usher-Error-Code", "Usher-Error-Message", "Usher-Error-Attempts"],
        "properties": properties,
    })
}
