//! The objects of answers. Those of `lifecycle::wire` bring their own schema; the others are described here.

use serde_json::{Map, Value, json};
use usher_lifecycle::{
    Phase, State,
    customer::CustomerStatus,
    event::EventKind,
    reminder::Channel,
    wire::{
        ApiKeyObject, ContactObject, CustomerObject, OnboardingObject, OnboardingTag, TemplateObject,
        UserObject, WorkspaceObject,
    },
};
use utoipa::PartialSchema;

use super::build::{answer, at, boolean, constant, integer, list, nullable, of, one_of, string, told, with};
use crate::http::error::HttpCode;

/// All of them by name, with the name as title.
pub(super) fn all() -> Map<String, Value> {
    let wire = [
        ("Onboarding", derived::<OnboardingObject>()),
        ("OnboardingObject", derived::<OnboardingTag>()),
        ("OnboardingPhase", derived::<Phase>()),
        ("OnboardingState", derived::<State>()),
        ("Customer", derived::<CustomerObject>()),
        ("CustomerStatus", derived::<CustomerStatus>()),
        ("User", derived::<UserObject>()),
        ("Contact", derived::<ContactObject>()),
        ("Template", derived::<TemplateObject>()),
        ("Workspace", derived::<WorkspaceObject>()),
        ("ApiKey", derived::<ApiKeyObject>()),
    ];
    let all = wire.into_iter().chain(errors()).chain(records()).chain(lists()).chain(super::bodies::all());
    all.map(|(name, schema)| (name.to_owned(), with(schema, json!({"title": name})))).collect()
}

fn derived<T: PartialSchema>() -> Value {
    serde_json::to_value(T::schema()).unwrap_or_default()
}

fn errors() -> Vec<(&'static str, Value)> {
    let kinds = [
        "invalid_request_error",
        "authentication_error",
        "permission_error",
        "rate_limit_error",
        "not_found",
        "conflict",
        "internal_error",
    ];
    let codes = HttpCode::ALL.iter().map(|it| it.as_str());
    let codes: Vec<&str> = usher_lifecycle::Code::ALL.iter().map(|it| it.as_str()).chain(codes).collect();
    let about = format!("What is wrong; more may come. Now: {}.", codes.join(", "));
    let code = with(string(), json!({"description": about}));
    let error = json!({
        "type": "object",
        "required": ["type", "code", "message"],
        "properties": {
            "type": of("ErrorErrorType"),
            "code": code,
            "message": told(string(), "For people: what was wrong with which value, and what is allowed."),
            "field": told(string(), "The path of the field at fault, when there is one."),
        },
    });
    vec![
        ("ErrorErrorType", one_of(kinds)),
        ("ErrorError", error),
        ("Error", answer([("error", of("ErrorError"))])),
    ]
}

fn records() -> Vec<(&'static str, Value)> {
    let date = || json!({"type": "string", "format": "date"});
    let channel = || one_of(Channel::ALL.map(Channel::as_str));
    let deleted = answer([
        ("object", constant("deleted")),
        ("id", string()),
        ("display_id", integer()),
        ("deleted", json!({"type": "boolean", "enum": [true]})),
    ]);
    let me = answer([
        ("object", constant("me")),
        (
            "api_key",
            answer([
                ("id", string()),
                ("name", string()),
                ("prefix", string()),
                ("scopes", json!({"type": "array", "items": string()})),
                ("rate_limit_tier", one_of(["default", "custom", "unlimited"])),
            ]),
        ),
        ("organization", answer([("id", string()), ("slug", string()), ("name", string())])),
    ]);
    let event = answer([
        ("object", constant("event")),
        ("id", string()),
        ("type", one_of(EventKind::ALL.iter().map(|kind| kind.as_str()))),
        ("subject_id", string()),
        ("version", integer()),
        ("ordinal", integer()),
        ("created_at", at()),
        ("livemode", boolean()),
        ("data", json!({"type": "object", "description": "As on NATS: docs/events.md."})),
    ]);
    let reminder = answer([
        ("object", constant("reminder")),
        ("id", string()),
        ("onboarding_id", string()),
        ("kind", told(string(), "cadence, manual, escalation, customer, or another that came later.")),
        ("slot", told(string(), "A date; of a reminder now, the id of the request.")),
        ("channel", nullable(channel())),
        ("recipient", nullable(string())),
        ("why", nullable(string())),
        ("status", string()),
        ("reason", nullable(string())),
        (
            "detail",
            json!({"type": ["object", "null"], "description": "What belongs to the kind and the reason."}),
        ),
        ("due_at", at()),
        ("send_after", nullable(at())),
        ("sent_at", nullable(at())),
        ("lag_seconds", nullable(integer())),
        ("attempts", integer()),
        ("errors", json!({"type": "array"})),
        ("message_id", nullable(string())),
        ("livemode", boolean()),
        ("planned_at", at()),
        ("retries", told(integer(), "How often it was put back by hand.")),
        ("retried_at", nullable(at())),
    ]);
    let prospects = json!({"type": "array", "items": answer([
        ("channel", channel()),
        ("recipient", string()),
        ("name", nullable(string())),
        ("why", string()),
        ("send_at", nullable(told(at(), "When, as things stand; later than the due time while they rest."))),
        ("reason", nullable(told(string(), "Why they would get nothing."))),
    ])});
    let upcoming = answer([
        (
            "slots",
            json!({"type": "array", "items": answer([
                ("slot", date()),
                ("due_at", at()),
                ("send_after", told(at(), "Later than the due time for what is overdue.")),
            ])}),
        ),
        (
            "missed",
            json!({"type": "array", "items": answer([
                ("reason", told(string(), "Such as superseded or too_late.")),
                ("first_slot", date()),
                ("last_slot", date()),
                ("slots", told(integer(), "How many that are overdue will not be sent.")),
            ])}),
        ),
        ("recipients", prospects.clone()),
        (
            "customer",
            told(
                answer([
                    ("channel", nullable(channel())),
                    ("recipient", nullable(string())),
                    ("name", nullable(string())),
                    ("why", nullable(string())),
                    ("send_at", nullable(at())),
                    ("reason", nullable(told(string(), "Why they would get nothing, such as not_waiting."))),
                ]),
                "The customer's primary contact, while the onboarding waits on them; only reason is set when nobody there would be told.",
            ),
        ),
        (
            "escalates",
            told(
                json!({"type": "array", "items": answer([
                    ("after_reminders", integer()),
                    ("to", told(string(), "A role, or fallback.")),
                    ("set_state", nullable(of("OnboardingState"))),
                    ("recipients", prospects),
                    ("reason", nullable(told(string(), "Why nobody is told."))),
                ])}),
                "The steps of escalation that are taken with the next slot, if nobody reacts before.",
            ),
        ),
        ("not_configured", json!({"type": "array", "items": channel()})),
        ("unheeded", told(integer(), "Reminders since the last sign of life.")),
        ("reason", nullable(told(string(), "Why nothing or nobody would be told; null when it would."))),
    ]);
    let request = answer([
        ("object", constant("reminder_request")),
        ("id", string()),
        ("onboarding_id", string()),
        ("requested_at", at()),
    ]);
    let secret = with(string(), json!({"description": "Shown this once."}));
    let new_key = json!({"allOf": [of("ApiKey"), answer([("secret", secret)])]});
    let health = answer([("status", constant("ok")), ("timestamp", at())]);
    let ready = answer([
        ("status", one_of(["ready", "degraded", "unavailable"])),
        ("checks", json!({"type": "object", "additionalProperties": string()})),
    ]);
    vec![
        ("Deleted", deleted),
        ("Me", me),
        ("Event", event),
        ("Reminder", reminder),
        ("Upcoming", upcoming),
        ("ReminderRequest", request),
        ("NewApiKey", new_key),
        ("Health", health),
        ("Liveness", answer([("status", constant("ok"))])),
        ("Readiness", ready),
    ]
}

fn lists() -> Vec<(&'static str, Value)> {
    let ledger = json!({"allOf": [list("Reminder"), answer([("upcoming", of("Upcoming"))])]});
    vec![
        ("OnboardingList", list("Onboarding")),
        ("CustomerList", list("Customer")),
        ("ContactList", list("Contact")),
        ("TemplateList", list("Template")),
        ("UserList", list("User")),
        ("ApiKeyList", list("ApiKey")),
        ("EventList", list("Event")),
        ("ReminderList", ledger),
    ]
}
