//! Every accepted form, every refused one, and whatever else may come.

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use usher_bus::{DecodeError, Headers, Identity, Incoming, Names, StreamFacts, decode_command, identify};

const SUBJECT: &str = "usher.commands.acme.onboarding.create";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Headers and body.
type Form<'a> = (&'a [(&'a str, &'a str)], &'a [u8]);
/// Headers, and a body that was made.
type Owned<'a> = (&'a [(&'a str, &'a str)], Vec<u8>);
/// Headers, body, and the code and field of the error.
type Refused<'a> = (Vec<(&'a str, &'a str)>, Vec<u8>, &'a str, Option<&'a str>);

fn facts() -> StreamFacts {
    let created = DateTime::<Utc>::from_timestamp(1_795_450_000, 123_456_789).unwrap();
    StreamFacts { name: "USHER_COMMANDS".into(), created, sequence: 7 }
}

fn decode(headers: &[(&str, &str)], payload: &[u8]) -> Result<Incoming, DecodeError> {
    let headers: Headers = headers.iter().copied().collect();
    decode_command(&Names::default(), SUBJECT, &headers, payload, Some(&facts()))
}

fn event() -> Value {
    json!({
        "specversion": "1.0", "id": "42", "source": "/crm", "type": "com.crm.deal.won", "sequence": "3",
        "time": "2026-11-23T10:00:00+01:00", "traceparent": TRACE, "data": {"name": "Acme"},
    })
}

fn event_with(name: &str, value: Value) -> Vec<u8> {
    let mut event = event();
    event[name] = value;
    event.to_string().into_bytes()
}

fn binary<'a>(prefix: &'a [&'a str; 4]) -> Vec<(&'a str, &'a str)> {
    vec![(prefix[0], "1.0"), (prefix[1], "42"), (prefix[2], "/crm"), (prefix[3], "com.crm.deal.won")]
}

#[test]
fn every_form_of_a_cloud_event_says_the_same() {
    let structured = event().to_string();
    let body = br#"{"name":"Acme"}"#;
    let extensions = [("CE-Sequence", "3"), ("ce-time", "2026-11-23T09:00:00Z"), ("traceparent", TRACE)];
    let of = |prefix| [binary(prefix), extensions.to_vec()].concat();
    let lower = of(&["ce-specversion", "ce-id", "ce-source", "ce-type"]);
    let title = of(&["Ce-Specversion", "Ce-Id", "Ce-Source", "Ce-Type"]);
    let upper = of(&["CE-SPECVERSION", "CE-ID", "CE-SOURCE", "CE-TYPE"]);
    let typed =
        [of(&["ce-specversion", "ce-id", "ce-source", "ce-type"]), vec![("content-type", "text/json")]]
            .concat();
    let forms: [Form; 8] = [
        (&[], structured.as_bytes()),
        (&[("Content-Type", "application/json")], structured.as_bytes()),
        (&[("Content-Type", "application/cloudevents+json")], structured.as_bytes()),
        (&[("content-type", "Application/CloudEvents+JSON; charset=UTF-8")], structured.as_bytes()),
        (&lower, body),
        (&title, body),
        (&upper, body),
        (&typed, body),
    ];
    for (headers, payload) in forms {
        let incoming = decode(headers, payload).unwrap();
        assert_eq!((incoming.workspace.as_str(), incoming.command), ("acme", "onboarding.create"));
        assert_eq!((incoming.source.as_str(), incoming.id.as_deref()), ("/crm", Some("42")), "{headers:?}");
        assert_eq!(incoming.kind.as_deref(), Some("com.crm.deal.won"));
        assert_eq!(incoming.sequence.as_deref(), Some("3"));
        assert_eq!(incoming.time, Some("2026-11-23T09:00:00Z".parse().unwrap()));
        assert_eq!(incoming.traceparent.as_deref(), Some(TRACE));
        assert_eq!(Value::Object(incoming.data), json!({"name": "Acme"}));
    }
}

#[test]
fn the_content_type_decides_before_the_headers_and_these_before_the_body() {
    let structured = event().to_string();
    let other = [
        ("content-type", "application/cloudevents+json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "other"),
        ("ce-source", "/other"),
        ("ce-type", "other"),
    ];
    assert_eq!(decode(&other, structured.as_bytes()).unwrap().id.as_deref(), Some("42"));
    let incoming = decode(&other[1..], structured.as_bytes()).unwrap();
    assert_eq!(incoming.id.as_deref(), Some("other"));
    assert_eq!(incoming.data["specversion"], "1.0", "the body is the data");
}

#[test]
fn attributes_in_headers_are_percent_encoded() {
    let headers =
        [binary(&["ce-specversion", "ce-x", "ce-source", "ce-type"]), vec![("ce-id", "a%20%C3%A4")]].concat();
    assert_eq!(decode(&headers, b"{}").unwrap().id.as_deref(), Some("a \u{e4}"));
}

#[test]
fn plain_json_gets_source_and_id_from_the_stream() {
    let body = br#"{"name":"Acme"}"#;
    let incoming = decode(&[("nats-msg-id", "crm-1")], body).unwrap();
    assert_eq!(incoming.source, "nats:USHER_COMMANDS:2026-11-23T16:06:40.123456789Z");
    assert_eq!((incoming.id.as_deref(), incoming.kind), (Some("crm-1"), None));
    assert_eq!(decode(&[("traceparent", "nonsense")], body).unwrap().traceparent, None);
    let numbered = decode(&[], body).unwrap();
    assert_eq!(numbered.source, "nats:USHER_COMMANDS:2026-11-23T16:06:40.123456789Z#sequence");
    assert_eq!(numbered.id.as_deref(), Some("7"));
    // A sender that counts may come to the same number.
    let counted = decode(&[("nats-msg-id", "7")], body).unwrap();
    assert_eq!(counted.id, numbered.id);
    assert_ne!(counted.source, numbered.source);
    let request = "usher.requests.acme.onboarding.create";
    let incoming = decode_command(&Names::default(), request, &Headers::new(), body, None).unwrap();
    assert_eq!((incoming.source.as_str(), incoming.id), ("nats:requests", None));
}

#[test]
fn what_cannot_be_read_is_refused_with_the_reason() {
    let binary_of = |content_type: &'static str| {
        [binary(&["ce-specversion", "ce-id", "ce-source", "ce-type"]), vec![("Content-Type", content_type)]]
            .concat()
    };
    let deep = "[".repeat(100_000);
    let long = "x".repeat(256);
    let structured = [("content-type", "application/cloudevents+json")];
    let cases: Vec<Refused> = vec![
        (vec![], b"{broken".to_vec(), "invalid_json", None),
        (vec![], vec![], "invalid_json", None),
        (vec![], vec![0xff, 0xfe], "invalid_json", None),
        (vec![], b"{\"n\":1e999}".to_vec(), "too_big", Some("n")),
        // Which of the two was meant? Over HTTP it is refused, too.
        (vec![], b"{\"a\":{\"n\":1,\"n\":1}}".to_vec(), "invalid_json", Some("a.n")),
        (vec![], deep.into_bytes(), "invalid_json", None),
        (vec![], b"[1]".to_vec(), "invalid_data", Some("data")),
        (vec![("nats-msg-id", &long)], b"{}".to_vec(), "invalid_attribute", Some("Nats-Msg-Id")),
        (structured.to_vec(), b"[]".to_vec(), "invalid_data", None),
        (structured.to_vec(), b"{}".to_vec(), "missing_attribute", Some("specversion")),
        (
            vec![("content-type", "application/cloudevents-batch+json")],
            b"[]".to_vec(),
            "unsupported_content_type",
            None,
        ),
        (vec![], event_with("specversion", json!("0.3")), "unsupported_specversion", Some("specversion")),
        (vec![], event_with("specversion", json!(1.0)), "invalid_attribute", Some("specversion")),
        (vec![], event_with("id", Value::Null), "missing_attribute", Some("id")),
        (vec![], event_with("id", json!("")), "invalid_attribute", Some("id")),
        (vec![], event_with("id", json!("a\u{0}")), "invalid_attribute", Some("id")),
        (vec![], event_with("source", json!(long)), "invalid_attribute", Some("source")),
        (vec![], event_with("source", Value::Null), "missing_attribute", Some("source")),
        (vec![], event_with("type", Value::Null), "missing_attribute", Some("type")),
        (vec![], event_with("type", json!("usher.onboarding.delete")), "type_mismatch", Some("type")),
        (vec![], event_with("type", json!("customer.upsert")), "type_mismatch", Some("type")),
        (vec![], event_with("time", json!("yesterday")), "invalid_attribute", Some("time")),
        (vec![], event_with("sequence", json!(1.5)), "invalid_attribute", Some("sequence")),
        (vec![], event_with("data", json!("{}")), "invalid_data", Some("data")),
        (vec![], event_with("data_base64", json!("e30=")), "unsupported_content_type", Some("data_base64")),
        (
            vec![],
            event_with("datacontenttype", json!("text/xml")),
            "unsupported_content_type",
            Some("datacontenttype"),
        ),
        (binary_of("application/xml"), b"<a/>".to_vec(), "unsupported_content_type", Some("datacontenttype")),
        (binary_of("application/json"), b"{".to_vec(), "invalid_json", None),
        (binary_of("application/json"), vec![], "invalid_data", Some("data")),
        (vec![("ce-specversion", "1.0")], b"{}".to_vec(), "missing_attribute", Some("id")),
    ];
    for (headers, payload, code, field) in cases {
        let error = decode(&headers, &payload).expect_err(code);
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(200)]).into_owned();
        assert_eq!((error.code, error.field.as_deref()), (code, field), "{headers:?} {shown}: {error}");
    }
}

#[test]
fn the_subject_decides_and_a_type_may_agree_or_be_foreign() {
    for kind in ["onboarding.create", "usher.onboarding.create", "com.crm.onboarding.delete.requested"] {
        assert_eq!(decode(&[], &event_with("type", json!(kind))).unwrap().command, "onboarding.create");
    }
    let of = |subject| decode_command(&Names::default(), subject, &Headers::new(), b"{}", Some(&facts()));
    assert_eq!(of("usher.commands.acme").unwrap_err().code, "unknown_subject");
    assert_eq!(of("usher.commands.acme.onboarding.explode").unwrap_err().code, "unknown_command");
}

#[test]
fn one_wish_has_one_fingerprint_in_every_form() {
    let print = |body: &[u8]| decode(&[], body).unwrap().fingerprint();
    let plain = print(br#"{"b":{"y":[1,"\u00e4"],"x":null},"a":1}"#);
    assert_eq!(plain, print("{ \"a\": 1, \"b\": {\"x\": null, \"y\": [1, \"\u{e4}\"]} }".as_bytes()));
    let data = json!({"a": 1, "b": {"x": null, "y": [1, "\u{e4}"]}});
    assert_eq!(plain, print(&event_with("data", data)));
    for other in [
        &br#"{"a":1}"#[..],
        br#"{"b":{"y":["\u00e4",1],"x":null},"a":1}"#,
        br#"{"b":{"y":[1,"\u00e4"]},"a":1}"#,
    ] {
        assert_ne!(plain, print(other));
    }
    let elsewhere = "usher.commands.globex.onboarding.create";
    let elsewhere =
        decode_command(&Names::default(), elsewhere, &Headers::new(), br#"{"a":1}"#, None).unwrap();
    assert_ne!(elsewhere.fingerprint(), print(br#"{"a":1}"#));
}

fn known_by(subject: &str, headers: &[(&str, &str)], payload: &[u8]) -> Identity {
    let headers: Headers = headers.iter().copied().collect();
    identify(&Names::default(), subject, &headers, payload, Some(&facts()))
}

#[test]
fn source_and_id_are_read_from_what_is_refused_for_another_reason() {
    let headers = binary(&["CE-specversion", "CE-id", "CE-source", "CE-type"]);
    let xml = [headers.clone(), vec![("content-type", "text/plain")]].concat();
    let structured = [("content-type", "application/cloudevents+json"), ("nats-msg-id", "other")];
    // Numbers beyond every range, keys that stand twice, nesting without end: all of it is in the data.
    let data = |data: &str| {
        format!(r#"{{"specversion":"1.0","id":"42","source":"/crm","type":"t","data":{data}}}"#).into_bytes()
    };
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let cases: Vec<Owned> = vec![
        (&headers, b"{broken".to_vec()),
        (&headers, vec![0xff]),
        (&headers, vec![]),
        (&xml, b"{}".to_vec()),
        (&structured, event_with("data", json!([1]))),
        (&structured, event_with("specversion", json!("0.3"))),
        (&[], event_with("specversion", Value::Null)),
        (&[], event_with("type", json!("usher.onboarding.delete"))),
        (&[], event_with("datacontenttype", json!("text/plain"))),
        (&[], event_with("data_base64", json!("e30="))),
        (&[], event_with("time", json!("yesterday"))),
        (&[], data(r#"{"n":1e999}"#)),
        (&[], data(r#"{"n":1,"n":2}"#)),
        (&[], data(&deep)),
    ];
    for (headers, payload) in cases {
        let shown = String::from_utf8_lossy(&payload).into_owned();
        assert!(decode(headers, &payload).is_err(), "{shown}");
        let known = known_by(SUBJECT, headers, &payload);
        assert_eq!((known.source.as_str(), known.id.as_deref()), ("/crm", Some("42")), "{headers:?} {shown}");
    }
    let known = known_by("usher.commands.acme.onboarding.explode", &[], &event_with("x", json!(1)));
    assert_eq!((known.source.as_str(), known.id.as_deref()), ("/crm", Some("42")));
}

#[test]
fn what_has_no_readable_name_is_known_by_the_streams() {
    let stream = "nats:USHER_COMMANDS:2026-11-23T16:06:40.123456789Z";
    let structured = ("content-type", "application/cloudevents+json");
    let msg_id = ("nats-msg-id", "crm-1");
    let long = "x".repeat(256);
    let by_id: [Form; 4] = [
        (&[msg_id], b"{broken"),
        (&[structured, msg_id], b"{broken"),
        (&[structured, msg_id], b"[\"1.0\",\"/crm\",\"42\"]"),
        (&[("ce-specversion", "1.0"), msg_id], b"{broken"),
    ];
    for (headers, payload) in by_id {
        let known = known_by(SUBJECT, headers, payload);
        assert_eq!((known.source.as_str(), known.id.as_deref()), (stream, Some("crm-1")), "{headers:?}");
    }
    for headers in [&[][..], &[("nats-msg-id", long.as_str())]] {
        let known = known_by(SUBJECT, headers, b"{broken");
        let numbers = format!("{stream}#sequence");
        assert_eq!((known.source, known.id.as_deref()), (numbers, Some("7")));
    }
    // What can be read of the two is.
    let sourceless = event_with("source", Value::Null);
    let known = known_by(SUBJECT, &[], &sourceless);
    assert_eq!((known.source.as_str(), known.id.as_deref()), (stream, Some("42")));
}

#[test]
fn what_is_refused_is_the_same_wish_in_every_form() {
    let print = |headers: &[(&str, &str)], payload: &[u8]| known_by(SUBJECT, headers, payload).fingerprint;
    let headers = binary(&["ce-specversion", "ce-id", "ce-source", "ce-type"]);
    let nothing = print(&[], &event_with("data", json!([1, {"b": 1, "a": 2}])));
    assert_eq!(nothing, print(&headers, br#"[1, {"a": 2, "b": 1}]"#));
    let elsewhere = known_by("usher.commands.acme.onboarding.explode", &headers, br#"[1, {"a": 2, "b": 1}]"#);
    assert_ne!(nothing, elsewhere.fingerprint);
    assert_eq!(print(&headers, b"{broken"), print(&[], b"{broken"));
    assert_ne!(print(&headers, b"{broken"), print(&headers, b"{ broken"));
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(json!("1.0")),
        Just(json!("application/json")),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let name = prop_oneof![
            "specversion|id|source|type|time|sequence|data|data_base64|datacontenttype|traceparent",
            ".{0,8}"
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((name, inner), 0..10)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        "(?i)ce-(specversion|id|source|type|time|sequence)",
        "(?i)content-type|nats-msg-id",
        ".{0,8}"
    ];
    let value = prop_oneof![
        "1\\.0",
        "application/(cloudevents(\\+json)?|json)(; x=y)?",
        ".{0,20}",
        "(%[0-9a-f]{0,2}){0,4}"
    ];
    proptest::collection::vec((name, value), 0..10)
}

proptest! {
    #[test]
    fn reading_never_panics_on_bytes(
        subject in ".{0,40}",
        headers in headers(),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let headers: Headers = headers.into_iter().collect();
        let _ = decode_command(&Names::default(), &subject, &headers, &payload, None);
        let _ = decode_command(&Names::default(), SUBJECT, &headers, &payload, Some(&facts()));
        let known = identify(&Names::default(), &subject, &headers, &payload, Some(&facts()));
        prop_assert!(known.id.is_some_and(|id| !id.is_empty() && id.chars().count() <= 255));
    }

    #[test]
    fn what_is_read_from_any_json_has_a_key_and_a_stable_fingerprint(headers in headers(), body in json_value()) {
        let headers: Headers = headers.into_iter().collect();
        let decode = || decode_command(&Names::default(), SUBJECT, &headers, body.to_string().as_bytes(), Some(&facts()));
        if let Ok(incoming) = decode() {
            let id = incoming.id.as_deref().unwrap_or_default();
            prop_assert!(!id.is_empty() && !incoming.source.is_empty());
            prop_assert!(id.chars().count() <= 255 && !id.contains(char::is_control));
            prop_assert_eq!(incoming.fingerprint(), decode().unwrap().fingerprint());
            let known = identify(&Names::default(), SUBJECT, &headers, body.to_string().as_bytes(), Some(&facts()));
            prop_assert_eq!((known.source, known.id), (incoming.source.clone(), incoming.id.clone()));
            prop_assert_eq!(known.fingerprint, incoming.fingerprint());
        }
    }
}
