//! `/docs`: the document as a page, written once by this process. It has no script and fetches nothing, and its policy
//! forbids both.

use std::{fmt::Write as _, sync::LazyLock};

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{Html, IntoResponse, Response},
};
use serde_json::{Map, Value};

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("page.css");

static PAGE: LazyLock<String> = LazyLock::new(|| page(&super::document()));

pub(in crate::http) async fn show() -> Response {
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, Html(PAGE.as_str())).into_response()
}

fn page(document: &Value) -> String {
    let mut out = String::new();
    let schemas = members(&document["components"]["schemas"]);
    put(
        &mut out,
        format_args!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>usher: HTTP API</title><style>{STYLE}</style>"
        ),
    );
    out.push_str(
        "<nav><h1>usher</h1><p><a href=\"/api/v1/openapi.json\">openapi.json</a></p><h2>Operations</h2>",
    );
    for (path, method, operation) in operations(document) {
        let (id, path) = (text(&operation["operationId"]), escaped(path));
        put(&mut out, format_args!("<a href=\"#{id}\"><b class=\"{method}\">{method}</b> {path}</a>"));
    }
    out.push_str("<h2>Objects</h2>");
    for name in schemas.keys() {
        put(&mut out, format_args!("<a href=\"#s-{name}\">{name}</a>"));
    }
    put(
        &mut out,
        format_args!(
            "</nav><main><p>{}</p><p>{}</p>",
            prose(&document["info"]["description"]),
            prose(&document["components"]["securitySchemes"]["BearerAuth"]["description"])
        ),
    );
    for (path, method, operation) in operations(document) {
        operation_section(&mut out, document, path, method, operation);
    }
    for (name, schema) in schemas {
        put(
            &mut out,
            format_args!("<section id=\"s-{name}\"><h3>{name}</h3>{}</section>", described(schema)),
        );
    }
    out.push_str("</main></html>\n");
    out
}

fn operation_section(out: &mut String, document: &Value, path: &str, method: &str, operation: &Value) {
    let (id, path) = (text(&operation["operationId"]), escaped(path));
    put(
        out,
        format_args!(
            "<section id=\"{id}\"><h3><b class=\"{method}\">{method}</b> <code>{path}</code></h3><p><strong>{}</strong>. {}</p>",
            text(&operation["summary"]),
            prose(&operation["description"])
        ),
    );
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        out.push_str("<table><tr><th>parameter<th>in<th>type");
        for parameter in parameters {
            let parameter = resolved(document, parameter);
            put(
                out,
                format_args!(
                    "<tr><td><code>{}</code><td>{}<td>{}",
                    text(&parameter["name"]),
                    text(&parameter["in"]),
                    told(&parameter["schema"])
                ),
            );
        }
        out.push_str("</table>");
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        let optional = if operation["requestBody"]["required"] == true { "" } else { ", or nothing" };
        put(out, format_args!("<p>Body: {}{optional}</p>", kind(body)));
    }
    out.push_str("<table><tr><th>status<th>answer<th>");
    for (status, answer) in members(&operation["responses"]) {
        let content = members(&answer["content"]).values().next().map(|it| kind(&it["schema"]));
        put(
            out,
            format_args!(
                "<tr><td>{status}<td>{}<td>{}",
                content.unwrap_or_default(),
                prose(&answer["description"])
            ),
        );
    }
    out.push_str("</table></section>");
}

/// A schema as a table of its members, or in a line.
fn described(schema: &Value) -> String {
    let mut out = String::new();
    if schema["description"].is_string() {
        put(&mut out, format_args!("<p>{}</p>", prose(&schema["description"])));
    }
    let properties = members(&schema["properties"]);
    if properties.is_empty() {
        put(&mut out, format_args!("<p>{}</p>", kind(schema)));
        return out;
    }
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    out.push_str("<table><tr><th>field<th>type");
    for (name, schema) in properties {
        let mark = if required.iter().any(|it| it == name.as_str()) { "" } else { " <i>optional</i>" };
        put(&mut out, format_args!("<tr><td><code>{name}</code>{mark}<td>{}", told(schema)));
    }
    out.push_str("</table>");
    out
}

/// The type and the description.
fn told(schema: &Value) -> String {
    let about = prose(&schema["description"]);
    if about.is_empty() { kind(schema) } else { kind(schema) + "<br>" + &about }
}

/// The type in words, with its limits.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("<a href=\"#s-{name}\">{name}</a>");
    }
    for (word, joint) in [("anyOf", " or "), ("oneOf", " or "), ("allOf", " and ")] {
        if let Some(parts) = schema[word].as_array() {
            return parts.iter().map(kind).collect::<Vec<_>>().join(joint);
        }
    }
    if let Some(names) = schema["enum"].as_array() {
        return names
            .iter()
            .map(|name| format!("<code>{}</code>", plain(name)))
            .collect::<Vec<_>>()
            .join(" ");
    }
    let mut out = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(plain).collect::<Vec<_>>().join(" or "),
        other => plain(other),
    };
    if schema["items"].is_object() {
        put(&mut out, format_args!(" of {}", kind(&schema["items"])));
    } else if !members(&schema["properties"]).is_empty() {
        let names: Vec<_> =
            members(&schema["properties"]).keys().map(|name| format!("<code>{name}</code>")).collect();
        put(&mut out, format_args!(" with {}", names.join(" ")));
    }
    for (word, before) in [
        ("format", ", "),
        ("minimum", ", from "),
        ("maximum", ", to "),
        ("maxLength", ", at most "),
        ("maxItems", ", at most "),
    ] {
        if !schema[word].is_null() {
            put(&mut out, format_args!("{before}{}", plain(&schema[word])));
        }
    }
    out
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    members(&document["paths"]).iter().flat_map(|(path, item)| {
        members(item).iter().map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
    pointer.and_then(|path| document.pointer(path)).unwrap_or(value)
}

fn members(value: &Value) -> &Map<String, Value> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE)
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

/// A description: what stands between backticks is code.
fn prose(value: &Value) -> String {
    let mut out = String::new();
    for (place, part) in text(value).split('`').enumerate() {
        let (before, after) = if place % 2 == 1 { ("<code>", "</code>") } else { ("", "") };
        put(&mut out, format_args!("{before}{part}{after}"));
    }
    out
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| escaped(&value.to_string()), escaped)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing into a string does not fail.
    let _ = out.write_fmt(what);
}
