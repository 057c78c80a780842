//! docs/asyncapi.json is what the code says. `scripts/asyncapi-check` has it read by the parser of the AsyncAPI project.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};
use usher_bus::{COMMANDS, Names, Settings};
use usher_ingest::asyncapi::document;
use usher_lifecycle::event::EventKind;

fn current() -> Value {
    document(&Settings::new("nats://localhost:4222"), env!("CARGO_PKG_VERSION"))
}

#[test]
fn the_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/asyncapi.json");
    let wanted = format!("{:#}\n", current());
    if std::fs::read_to_string(&path).is_ok_and(|found| found == wanted) {
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "a switch for people who regenerate the page")]
    let update = std::env::var("UPDATE_DOCS").is_ok();
    assert!(
        update,
        "docs/asyncapi.json is stale; UPDATE_DOCS=1 cargo test -p usher-ingest --test it rewrites it"
    );
    std::fs::write(&path, wanted).unwrap();
}

#[test]
fn it_has_every_command_and_event_and_no_reference_leads_nowhere() {
    let document = current();
    for command in COMMANDS {
        for (kind, base) in [("commands", "commands"), ("requests", "requests")] {
            let channel = &document["channels"][format!("{kind}.{command}")];
            assert_eq!(channel["address"], format!("usher.{base}.{{workspace}}.{command}"));
        }
    }
    let types: Vec<Value> = EventKind::ALL.iter().map(|kind| json!(kind.as_str())).collect();
    assert_eq!(document["channels"]["events"]["parameters"]["type"]["enum"], json!(types));
    assert_eq!(document["channels"]["events"]["address"], "usher.events.{workspace}.{type}");
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.len() > 40);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn other_names_are_in_it() {
    let names = Names::new("corp.usher", "CORP").unwrap();
    let document = document(&Settings { names, ..Settings::new("nats://localhost:4222") }, "1");
    let channels = &document["channels"];
    assert_eq!(channels["hints"]["address"], "corp.usher.hints.due");
    assert_eq!(channels["rejected"]["address"], "corp.usher.rejected.{workspace}.{command}");
    assert_eq!(channels["commands.user.upsert"]["x-nats-stream"]["name"], "CORP_COMMANDS");
}

fn collect(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            into.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| collect(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
