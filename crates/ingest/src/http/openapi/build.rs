//! Small words for JSON Schema, with the limits that the body readers keep.

use serde_json::{Map, Value, json};
use usher_lifecycle::limits;

/// Any text but NUL.
pub(super) const NO_NUL: &str = "^[^\\u0000]*$";
/// Neither empty nor blank, and no NUL. Blank is what Unicode calls white space.
pub(super) const FILLED: &str = "^[^\\u0000]*[^\\u0000\\u0009-\\u000d\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000][^\\u0000]*$";
/// Years 1900 to 9999 in every zone, `T` between date and time.
const INSTANT: &str = "^(190[1-9]|19[1-9][0-9]|[2-8][0-9]{3}|9[0-8][0-9]{2})-";

/// A named schema of the document.
pub(super) fn of(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Text of at most `max` characters.
pub(super) fn text(max: usize) -> Value {
    json!({"type": "string", "maxLength": max, "pattern": NO_NUL})
}

/// The same, neither empty nor blank.
pub(super) fn filled(max: usize) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": max, "pattern": FILLED})
}

/// Text of that form.
pub(super) fn form(pattern: &str, max: usize) -> Value {
    json!({"type": "string", "maxLength": max, "pattern": pattern})
}

/// An instant in a body.
pub(super) fn instant() -> Value {
    json!({"type": "string", "format": "date-time", "pattern": INSTANT})
}

/// A whole number of that range.
pub(super) fn within(least: i64, most: i64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most})
}

pub(super) fn boolean() -> Value {
    json!({"type": "boolean"})
}

pub(super) fn string() -> Value {
    json!({"type": "string"})
}

pub(super) fn integer() -> Value {
    json!({"type": "integer"})
}

/// An instant in an answer.
pub(super) fn at() -> Value {
    json!({"type": "string", "format": "date-time"})
}

/// One of a few names.
pub(super) fn one_of<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Value {
    let names: Vec<Value> = names.into_iter().map(|name| name.as_ref().into()).collect();
    json!({"type": "string", "enum": names})
}

/// A name that never varies.
pub(super) fn constant(name: &str) -> Value {
    one_of([name])
}

/// What names another record.
pub(super) fn reference(about: &str) -> Value {
    with(filled(300), json!({"description": about}))
}

/// An e-mail address, as `lifecycle::limits::email` takes it.
pub(super) fn email() -> Value {
    let about =
        "One @ outside quotes, no spaces or control characters, at most 254 bytes; kept in lower case.";
    json!({"type": "string", "format": "email", "maxLength": limits::EMAIL, "description": about})
}

/// Or null.
pub(super) fn nullable(schema: Value) -> Value {
    let Value::Object(mut map) = schema else { return schema };
    if map.contains_key("$ref") {
        return json!({"anyOf": [map, {"type": "null"}]});
    }
    if let Some(kind) = map.remove("type") {
        map.insert("type".into(), json!([kind, "null"]));
    }
    if let Some(Value::Array(names)) = map.get_mut("enum") {
        names.push(Value::Null);
    }
    Value::Object(map)
}

/// The schema and these keywords too.
pub(super) fn with(schema: Value, more: Value) -> Value {
    match (schema, more) {
        (Value::Object(mut map), Value::Object(more)) => {
            map.extend(more);
            Value::Object(map)
        }
        (schema, _) => schema,
    }
}

/// The same with a description.
pub(super) fn told(schema: Value, description: &str) -> Value {
    with(schema, json!({"description": description}))
}

fn properties<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// The object of a request: what it does not name is refused.
pub(super) fn body<const N: usize>(required: &[&str], members: [(&str, Value); N]) -> Value {
    let mut schema =
        json!({"type": "object", "properties": properties(members), "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The object of an answer: every member is always there; later versions may have more.
pub(super) fn answer<const N: usize>(members: [(&str, Value); N]) -> Value {
    let required: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    json!({"type": "object", "required": required, "properties": properties(members)})
}

/// `{object: "list", data, has_more, next_cursor}`.
pub(super) fn list(of_what: &str) -> Value {
    answer([
        ("object", constant("list")),
        ("data", json!({"type": "array", "items": of(of_what), "maxItems": 100})),
        ("has_more", boolean()),
        ("next_cursor", nullable(told(at(), "Give it back as `cursor` to go on."))),
    ])
}
