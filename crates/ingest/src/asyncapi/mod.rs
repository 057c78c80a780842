//! The AsyncAPI 3.0 document: what goes over NATS, for people and for generators of clients.
//!
//! Law: it is made of the constants and schemas that the code works with (subjects, commands, event types, attributes,
//! headers, bodies and objects of the API), so that it cannot say anything else. docs/asyncapi.json is its snapshot, and a
//! test of the whole holds what is really published and accepted against it.

mod bodies;
mod schema;

use serde_json::{Map, Value, json};
use usher_bus::{CLOUDEVENTS_JSON, COMMANDS, INTAKE_CONSUMER, Names, REQUESTS_QUEUE_GROUP, Settings};
use usher_lifecycle::event::EventKind;

/// The document for these subjects and streams; with `server` it names the place.
pub fn document(settings: &Settings, version: &str) -> Value {
    let names = &settings.names;
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "usher on NATS",
            "version": version,
            "description": "Commands in, events out. docs/events.md says what can be counted on.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "nats": {
                "host": "localhost:4222",
                "protocol": "nats",
                "description": "nats-server 2.9 or newer with JetStream",
            },
        },
        "channels": channels(settings),
        "operations": operations(names),
        "components": {"messages": messages(), "schemas": schema::all()},
    })
}

fn reference(path: &str, name: &str) -> Value {
    // In a JSON pointer a slash would be another step; no name of ours has one.
    json!({"$ref": format!("#/{path}/{name}")})
}

/// The messages of a channel, each under its name.
fn named<'a>(messages: impl Iterator<Item = &'a str>) -> Value {
    messages
        .map(|name| (name.to_owned(), reference("components/messages", name)))
        .collect::<Map<_, _>>()
        .into()
}

fn event_types() -> impl Iterator<Item = &'static str> {
    EventKind::ALL.iter().map(|kind| kind.as_str())
}

fn stream(name: &str, retention: &str, age: std::time::Duration) -> Value {
    json!({"name": name, "retention": retention, "max_age_days": age.as_secs() / 86_400})
}

/// The subject with the parameter in the place of a word that stands for it.
fn templated(subject: &str, word: &str, parameter: &str) -> String {
    subject.replacen(word, &format!("{{{parameter}}}"), 1)
}

/// A word that fits into a subject and is replaced by a parameter.
const ANY: &str = "any-workspace";

fn channels(settings: &Settings) -> Value {
    let (names, ages) = (&settings.names, settings.ages);
    let workspace =
        json!({"workspace": {"description": "The workspace's slug, `main` if no other was chosen."}});
    let mut channels = Map::new();
    for (livemode, name, what, stream) in [
        (
            true,
            "events",
            "What happened to live records.",
            stream(&names.events_stream(), "limits", ages.events),
        ),
        (
            false,
            "testEvents",
            "What happened to test records.",
            stream(&names.test_events_stream(), "limits", ages.events),
        ),
    ] {
        let subject = names.event(ANY, "any-type", livemode).unwrap_or_default();
        let address = templated(&templated(&subject, ANY, "workspace"), "any-type", "type");
        let mut parameters = workspace.clone();
        let types: Vec<_> = event_types().collect();
        parameters["type"] = json!({"description": "The type of the event.", "enum": types});
        channels.insert(
            name.into(),
            json!({"address": address, "description": what, "parameters": parameters,
                   "messages": named(event_types()), "x-nats-stream": stream}),
        );
    }
    for command in COMMANDS {
        let address = templated(&names.command(ANY, command).unwrap_or_default(), ANY, "workspace");
        let mut stream = stream(&names.commands_stream(), "workqueue", ages.commands);
        stream["consumer"] = INTAKE_CONSUMER.into();
        channels.insert(
            format!("commands.{command}"),
            json!({"address": address, "parameters": workspace, "messages": forms(command), "x-nats-stream": stream}),
        );
        let address = templated(&names.request(ANY, command).unwrap_or_default(), ANY, "workspace");
        channels.insert(
            format!("requests.{command}"),
            json!({"address": address, "parameters": workspace, "messages": forms(command)}),
        );
    }
    let rejected = names.rejected(&names.command(ANY, "any-command").unwrap_or_default());
    let mut parameters = workspace;
    parameters["command"] = json!({"description": "The command, also one that nobody knows."});
    channels.insert(
        "rejected".into(),
        json!({"address": templated(&templated(&rejected, ANY, "workspace"), "any-command", "command"),
               "description": "Refused commands: the original bytes and headers, with the reason.",
               "parameters": parameters, "messages": named(["rejected"].into_iter()),
               "x-nats-stream": stream(&names.rejected_stream(), "limits", ages.rejected)}),
    );
    channels.insert(
        "answers".into(),
        json!({"address": null, "description": "The inbox of whoever asked.",
               "messages": named(["answer"].into_iter())}),
    );
    channels.insert(
        "hints".into(),
        json!({"address": names.hint(), "description": "Wakes the schedulers; may be lost.",
               "messages": named(["hint"].into_iter())}),
    );
    channels.into()
}

/// The messages that mean one command: plain JSON, or a `CloudEvent` in either form.
fn forms(command: &str) -> Value {
    named([command.to_owned(), format!("{command}.structured")].iter().map(String::as_str))
}

fn operations(names: &Names) -> Value {
    let mut operations = Map::new();
    for (name, channel, summary) in [
        ("publishEvents", "events", "Every change of live records, at least once, in order per subject."),
        ("publishTestEvents", "testEvents", "The same for test records."),
        ("reportRejected", "rejected", "Every command that was refused, at least once."),
        ("hint", "hints", "Something may be due sooner than a scheduler thinks."),
    ] {
        let channel = reference("channels", channel);
        operations.insert(name.into(), json!({"action": "send", "channel": channel, "summary": summary}));
    }
    for command in COMMANDS {
        let channel = reference("channels", &format!("commands.{command}"));
        operations.insert(
            format!("take.{command}"),
            json!({"action": "receive", "channel": channel, "summary": format!("Takes {command}; one effect per source and id.")}),
        );
        let channel = reference("channels", &format!("requests.{command}"));
        operations.insert(
            format!("answer.{command}"),
            json!({"action": "receive", "channel": channel, "summary": format!("Takes {command} and answers."),
                   "reply": {"channel": reference("channels", "answers")},
                   "bindings": {"nats": {"queue": REQUESTS_QUEUE_GROUP}}}),
        );
    }
    operations.insert(
        "heedHints".into(),
        json!({"action": "receive", "channel": reference("channels", "hints"),
               "summary": format!("Schedulers look at what is due when {} comes.", names.hint())}),
    );
    operations.into()
}

fn messages() -> Value {
    let mut messages = Map::new();
    for kind in EventKind::ALL {
        let name = kind.as_str();
        messages.insert(
            name.into(),
            json!({"name": name, "title": name, "contentType": CLOUDEVENTS_JSON,
                   "headers": reference("components/schemas", "EventHeaders"), "payload": schema::event(*kind)}),
        );
    }
    for command in COMMANDS {
        let body = reference("components/schemas", &bodies::name(command));
        messages.insert(
            command.into(),
            json!({"name": command, "title": format!("{command}, as plain JSON or as a binary CloudEvent"),
                   "contentType": "application/json",
                   "headers": reference("components/schemas", "CommandHeaders"), "payload": body}),
        );
        let payload = json!({"allOf": [reference("components/schemas", "CloudEvent")],
                             "properties": {"data": body}, "required": ["data"]});
        messages.insert(
            format!("{command}.structured"),
            json!({"name": format!("{command}.structured"), "title": format!("{command}, as a structured CloudEvent"),
                   "contentType": CLOUDEVENTS_JSON, "payload": payload}),
        );
    }
    messages.insert(
        "rejected".into(),
        json!({"name": "rejected", "title": "A refused command",
               "headers": reference("components/schemas", "RejectedHeaders"), "payload": {}}),
    );
    messages.insert(
        "answer".into(),
        json!({"name": "answer", "title": "The object as the API returns it, or the API's error envelope",
               "contentType": "application/json", "payload": reference("components/schemas", "Answer")}),
    );
    messages.insert("hint".into(), json!({"name": "hint", "title": "Nothing", "payload": {"maxLength": 0}}));
    messages.into()
}
