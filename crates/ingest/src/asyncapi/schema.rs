//! The schemas of the document: the objects of the API, the data of commands, envelopes and headers.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use usher_bus::{
    ATTRIBUTE_HEADER, CLOUDEVENTS_JSON, CLOUDEVENTS_VERSION, COMMANDS, DECODE_CODES, EVENT_DATA,
    EVENT_SOURCE, LONGEST_ATTRIBUTE, OPTIONAL_ATTRIBUTES, ORIGINAL, ORIGINAL_HEADERS, REJECTED_HEADERS,
    REJECTED_HEADERS_IF_ANY, REJECTED_ID, REQUIRED_ATTRIBUTES, STEERING, UNREADABLE_HEADERS,
};
use usher_lifecycle::{
    Code, ContactId, CustomerId, EventId, OnboardingId, ReminderId, TemplateId, UserId, WorkspaceId,
    event::{ActorKind, EventKind},
};

use super::bodies;
use crate::http::openapi;

/// The API's objects that answers to commands have.
const ANSWERS: [&str; 6] = ["Onboarding", "Customer", "Contact", "User", "Deleted", "Error"];

/// All schemas by name.
pub(super) fn all() -> Value {
    let api = openapi::schemas();
    let mut schemas = Map::new();
    for command in COMMANDS {
        schemas.extend(bodies::data(&api, command).map(|body| (bodies::name(command), body)));
    }
    let answers: Vec<Value> = ANSWERS.iter().map(|name| reference(name)).collect();
    schemas.insert("CloudEvent".into(), cloud_event());
    schemas.insert("Actor".into(), actor());
    schemas.insert("Answer".into(), json!({"anyOf": answers}));
    schemas.insert("EventHeaders".into(), event_headers());
    schemas.insert("CommandHeaders".into(), command_headers());
    schemas.insert("RejectedHeaders".into(), rejected_headers());
    // Of the API's what is referred to, and what that refers to.
    let mut wanted: BTreeSet<String> = EventKind::ALL.iter().map(|kind| about(*kind).1.to_owned()).collect();
    schemas.values().for_each(|schema| referred(schema, &mut wanted));
    while let Some(name) = wanted.pop_first() {
        if let (false, Some(schema)) = (schemas.contains_key(&name), api.get(&name)) {
            referred(schema, &mut wanted);
            schemas.insert(name, schema.clone());
        }
    }
    schemas.into()
}

const SCHEMAS: &str = "#/components/schemas/";

fn reference(name: &str) -> Value {
    json!({"$ref": format!("{SCHEMAS}{name}")})
}

/// The names of the schemas that this one refers to.
fn referred(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            let name = object.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix(SCHEMAS));
            names.extend(name.map(str::to_owned));
            object.values().for_each(|value| referred(value, names));
        }
        Value::Array(items) => items.iter().for_each(|value| referred(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What an event is about: what its subject starts with, and the schema of its object.
const fn about(kind: EventKind) -> (&'static str, &'static str) {
    match kind {
        EventKind::OnboardingCreated
        | EventKind::OnboardingUpdated
        | EventKind::OnboardingPhaseChanged
        | EventKind::OnboardingStateChanged
        | EventKind::OnboardingAtRisk
        | EventKind::OnboardingBackOnTrack
        | EventKind::OnboardingLaunched
        | EventKind::OnboardingCompleted
        | EventKind::ReminderSnoozed => (OnboardingId::PREFIX, "Onboarding"),
        EventKind::OnboardingDeleted => (OnboardingId::PREFIX, "Deleted"),
        EventKind::ReminderSent
        | EventKind::ReminderFailed
        | EventKind::ReminderSkipped
        | EventKind::ReminderEscalated => (ReminderId::PREFIX, "Reminder"),
        EventKind::CustomerCreated | EventKind::CustomerUpdated => (CustomerId::PREFIX, "Customer"),
        EventKind::CustomerDeleted => (CustomerId::PREFIX, "Deleted"),
        EventKind::ContactCreated | EventKind::ContactUpdated => (ContactId::PREFIX, "Contact"),
        EventKind::ContactDeleted => (ContactId::PREFIX, "Deleted"),
        EventKind::TemplateCreated | EventKind::TemplateUpdated => (TemplateId::PREFIX, "Template"),
        EventKind::TemplateDeleted => (TemplateId::PREFIX, "Deleted"),
        EventKind::WorkspaceUpdated => (WorkspaceId::PREFIX, "Workspace"),
        EventKind::UserCreated | EventKind::UserUpdated => (UserId::PREFIX, "User"),
        EventKind::UserDeleted => (UserId::PREFIX, "Deleted"),
    }
}

/// The payload of an event of this type.
pub(super) fn event(kind: EventKind) -> Value {
    let (prefix, object) = about(kind);
    json!({
        "allOf": [reference("CloudEvent")],
        "required": ["subject", "time", "datacontenttype", "sequence", "ordinal", "livemode", "data"],
        "properties": {
            "id": {"type": "string", "pattern": format!("^{}_", EventId::PREFIX)},
            "source": {"type": "string", "pattern": format!("^{EVENT_SOURCE}")},
            "type": {"const": kind.as_str()},
            "subject": {"type": "string", "pattern": format!("^{prefix}_")},
            "datacontenttype": {"const": EVENT_DATA},
            "sequence": {"type": "string", "pattern": "^[0-9]+$", "description": "The subject's version after it."},
            "ordinal": {"type": "integer", "minimum": 0, "description": "The place among the events of that version."},
            "livemode": {"type": "boolean", "description": "False for test records."},
            "data": {
                "type": "object",
                "required": ["object", "previous_attributes", "actor"],
                "properties": {
                    "object": reference(object),
                    "previous_attributes": {"type": ["object", "null"]},
                    "actor": reference("Actor"),
                },
            },
        },
    })
}

/// What is read of a `CloudEvent`, ours or another one.
fn cloud_event() -> Value {
    let text = json!({"type": "string", "minLength": 1, "maxLength": LONGEST_ATTRIBUTE});
    let names = REQUIRED_ATTRIBUTES.into_iter().chain(OPTIONAL_ATTRIBUTES);
    let mut properties: Map<String, Value> = names.map(|name| (name.to_owned(), text.clone())).collect();
    properties["specversion"] = json!({"const": CLOUDEVENTS_VERSION});
    properties["time"]["format"] = "date-time".into();
    properties["sequence"] = json!({
        "type": ["string", "integer"],
        "description": "The sender's order: digits alone are compared as numbers, everything else byte by byte. An older \
                        command about the same record has no effect.",
    });
    properties.insert("subject".into(), json!({"type": "string"}));
    json!({"type": "object", "required": REQUIRED_ATTRIBUTES, "properties": properties})
}

fn actor() -> Value {
    json!({
        "type": "object",
        "required": ["type", "id", "name"],
        "properties": {
            "type": {"enum": ActorKind::ALL},
            "id": {"type": ["string", "null"]},
            "name": {"type": ["string", "null"]},
        },
    })
}

fn event_headers() -> Value {
    json!({
        "type": "object",
        "required": ["Content-Type", "Nats-Msg-Id"],
        "properties": {
            "Content-Type": {"const": CLOUDEVENTS_JSON},
            "Nats-Msg-Id": {
                "type": "string",
                "pattern": format!("^{EVENT_SOURCE}"),
                "description": "<source>/<id>, the same for every repeat.",
            },
            "traceparent": {"type": "string"},
        },
    })
}

fn command_headers() -> Value {
    let header = |name: &str| format!("{ATTRIBUTE_HEADER}{name}");
    let text = json!({"type": "string", "minLength": 1});
    // The content type of the data has a header of its own.
    let names =
        REQUIRED_ATTRIBUTES.into_iter().chain(OPTIONAL_ATTRIBUTES).filter(|name| *name != "datacontenttype");
    let mut properties: Map<String, Value> = names.map(|name| (header(name), text.clone())).collect();
    properties[&header("specversion")] = json!({"const": CLOUDEVENTS_VERSION});
    properties
        .insert("Content-Type".into(), json!({"type": "string", "description": "JSON, when it is given."}));
    properties.insert(
        "Nats-Msg-Id".into(),
        json!({"type": "string", "maxLength": LONGEST_ATTRIBUTE, "description": "The id of a command in plain JSON."}),
    );
    properties.insert("traceparent".into(), json!({"type": "string"}));
    let (version, others) = (header(REQUIRED_ATTRIBUTES[0]), REQUIRED_ATTRIBUTES[1..].iter());
    let others: Vec<String> = others.map(|name| header(name)).collect();
    json!({
        "type": "object",
        "description": format!("With {version} it is a binary CloudEvent. Names in any case."),
        "properties": properties,
        "dependencies": {version: others},
    })
}

fn rejected_headers() -> Value {
    let text = || json!({"type": "string"});
    let names = REJECTED_HEADERS.into_iter().chain(REJECTED_HEADERS_IF_ANY).chain([ORIGINAL_HEADERS]);
    let mut properties: Map<String, Value> = names.map(|name| (name.to_owned(), text())).collect();
    let codes = Code::ALL.iter().map(|code| code.as_str());
    let codes: BTreeSet<&str> = DECODE_CODES.into_iter().chain([UNREADABLE_HEADERS]).chain(codes).collect();
    properties[REJECTED_HEADERS[0]]["description"] =
        "A code of docs/api.md or docs/events.md; more may come.".into();
    properties[REJECTED_HEADERS[0]]["examples"] = json!(codes);
    let id = "Nats-Msg-Id";
    properties.insert(
        id.into(),
        json!({"type": "string", "pattern": format!("^{REJECTED_ID}"), "description": "The same for every repeat."}),
    );
    // In any case, as their sender wrote them.
    let steering: String = STEERING
        .chars()
        .map(|letter| {
            if letter.is_alphabetic() {
                format!("[{}{}]", letter.to_ascii_uppercase(), letter.to_ascii_lowercase())
            } else {
                letter.to_string()
            }
        })
        .collect();
    let original =
        json!({"type": "string", "description": "A header of the original that would steer the stream."});
    let required: Vec<&str> = REJECTED_HEADERS.into_iter().chain([id]).collect();
    json!({
        "type": "object",
        "description": "With the headers of the original.",
        "required": required,
        "properties": properties,
        "patternProperties": {format!("^{ORIGINAL}{steering}"): original},
    })
}
