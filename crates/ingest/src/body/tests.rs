//! Hostile bodies: each is refused with the code and the path of its first fault.

use proptest::prelude::*;
use serde_json::{Value, json};
use usher_lifecycle::{
    command::{CreateOnboarding, Reference, Snooze},
    limits::excerpt,
    onboarding::Role,
    refusal::Refusal,
    reminder::Channel,
};

use super::{
    contact, create_contact, create_customer, create_onboarding, create_template, create_user, customer,
    onboarding, parse_json, patch_customer, patch_onboarding, patch_user, patch_workspace, remind, snooze,
    template, user, workspace,
};

type Told = Result<(), (&'static str, Option<String>)>;

/// What a caller is told about `text`.
fn told<T>(text: &str, read: impl Fn(&Value) -> Result<T, Refusal>) -> Told {
    let read = parse_json(text.as_bytes()).and_then(|body| read(&body));
    read.map(drop).map_err(|refusal| (refusal.code.as_str(), refusal.field))
}

fn fault(code: &'static str, field: &str) -> Told {
    Err((code, (!field.is_empty()).then(|| field.to_owned())))
}

fn check<T>(read: impl Fn(&Value) -> Result<T, Refusal> + Copy, rows: &[(&str, &'static str, &str)]) {
    for (text, code, field) in rows {
        let wanted = if code.is_empty() { Ok(()) } else { fault(code, field) };
        assert_eq!(told(text, read), wanted, "{}", excerpt(text));
    }
}

#[test]
fn bytes_that_are_no_json_object() {
    let deep = "[".repeat(200);
    check(
        create_onboarding,
        &[
            ("", "invalid_json", ""),
            (" \n", "invalid_json", ""),
            ("{", "invalid_json", ""),
            ("{} {}", "invalid_json", ""),
            ("{'customer_id': 1}", "invalid_json", ""),
            (&deep, "invalid_json", ""),
            (r#"{"notes":"\ud800"}"#, "invalid_json", ""),
            ("null", "invalid_type", ""),
            ("[]", "invalid_type", ""),
            (r#""text""#, "invalid_type", ""),
            ("7", "invalid_type", ""),
            (r#"{"notes":"a","notes":"b"}"#, "invalid_json", "notes"),
            (r#"{"metadata":{"a":[{"b":1,"b":2}]}}"#, "invalid_json", "metadata.a.0.b"),
            ("1e999", "too_big", ""),
            (r#"{"reminder_frequency_days":1e999}"#, "too_big", "reminder_frequency_days"),
            (r#"{"a":[[],{},[1,-1e999]]}"#, "too_big", "a.2.1"),
        ],
    );
    let refusal = parse_json(b"{\"notes\":\"\xff\"}").expect_err("no UTF-8");
    assert_eq!(refusal.code.as_str(), "invalid_json");
}

#[test]
fn hostile_onboardings() {
    let frequency = |value: &str| format!(r#"{{"customer_id":"1","reminder_frequency_days":{value}}}"#);
    for (value, code) in [
        ("0", "too_small"),
        ("-1", "too_small"),
        ("-1e300", "too_small"),
        ("366", "too_big"),
        ("65537", "too_big"),
        ("1e300", "too_big"),
        ("18446744073709551615", "too_big"),
        ("1.5", "invalid_type"),
        ("\"1\"", "invalid_type"),
        ("null", "invalid_type"),
        ("true", "invalid_type"),
        ("[1]", "invalid_type"),
    ] {
        assert_eq!(
            told(&frequency(value), create_onboarding),
            fault(code, "reminder_frequency_days"),
            "{value}"
        );
    }
    for value in ["1", "365", "7.0", "3e2"] {
        assert_eq!(told(&frequency(value), create_onboarding), Ok(()), "{value}");
    }
    for (date, fits) in [
        ("2024-05-01", false),
        ("2024-05-01T09:00:00", false),
        ("10000-01-01T00:00:00Z", false),
        ("2023-02-29T00:00:00Z", false),
        ("", false),
        ("2024-02-29T00:00:00Z", true),
        ("2016-12-31T23:59:60Z", true),
        ("2024-05-01T09:00:00.123456789+02:00", true),
    ] {
        let wanted = if fits { Ok(()) } else { fault("invalid_string", "target_launch_date") };
        let body = format!(r#"{{"customer_id":"1","target_launch_date":"{date}"}}"#);
        assert_eq!(told(&body, create_onboarding), wanted, "{date}");
    }
    let long = format!(r#"{{"notes":"{}"}}"#, "x".repeat(10_001));
    check(
        create_onboarding,
        &[
            ("{}", "missing_field", "customer_id"),
            (r#"{"customer_id":""}"#, "too_small", "customer_id"),
            (r#"{"customer_id":12}"#, "invalid_type", "customer_id"),
            (r#"{"customer_id":null}"#, "invalid_type", "customer_id"),
            (r#"{"customer_id":"99999999999999999999"}"#, "", ""),
            (r#"{"customer_id":"a\u0000b"}"#, "invalid_string", "customer_id"),
            (r#"{"customer_id":"1","csm_id":null,"external_id":null}"#, "", ""),
            (r#"{"customer_id":"1","csm_id":5}"#, "invalid_type", "csm_id"),
            (r#"{"customer_id":"1","phase":"Launch"}"#, "invalid_value", "phase"),
            (r#"{"customer_id":"1","phase":null}"#, "invalid_type", "phase"),
            (r#"{"customer_id":"1","state":1}"#, "invalid_type", "state"),
            (r#"{"customer_id":"1","notes":null}"#, "invalid_type", "notes"),
            (r#"{"customer_id":"1","notes":"\u0000"}"#, "invalid_string", "notes"),
            (r#"{"customer_id":"1","reminder_email":"yes"}"#, "invalid_type", "reminder_email"),
            (r#"{"customer_id":"1","waiting_on_customer":true}"#, "unrecognized_key", "waiting_on_customer"),
            // The first in the order of the document, not of the alphabet.
            (r#"{"state":1,"notes":2,"customer_id":3}"#, "invalid_type", "state"),
            (r#"{"notes":2,"state":1}"#, "invalid_type", "notes"),
            (r#"{"zzz":1,"aaa":1}"#, "unrecognized_key", "zzz"),
            (&long, "too_long", "notes"),
        ],
    );
}

#[test]
fn a_whole_onboarding_is_read() {
    let body = json!({
        "customer_id": "cust_1", "template_id": "tmpl_1", "phase": "review", "state": "waiting",
        "started_at": "2024-04-01T08:00:00Z", "target_launch_date": "2024-05-01T09:00:00Z",
        "csm_id": "ada@example.com", "se_id": null, "designer_id": "user_2", "product_ops_id": "7",
        "notes": "", "reminder_email": false, "reminder_slack": true, "reminder_frequency_days": 7,
        "external_id": "deal-9",
    });
    assert_eq!(
        body.as_object().map(serde_json::Map::len),
        Some(onboarding::CREATE.len()),
        "every key is here"
    );
    let at = |text: &str| Some(text.parse().expect("an instant"));
    let wanted = CreateOnboarding {
        customer: "cust_1".into(),
        template: Some("tmpl_1".into()),
        phase: Some(usher_lifecycle::Phase::Review),
        state: Some(usher_lifecycle::State::Waiting),
        started_at: at("2024-04-01T08:00:00Z"),
        target_launch_date: at("2024-05-01T09:00:00Z"),
        roles: [(Role::Csm, "ada@example.com"), (Role::Designer, "user_2"), (Role::ProductOps, "7")]
            .map(|(role, user)| (role, user.to_owned()))
            .into(),
        notes: Some(String::new()),
        reminder_email: Some(false),
        reminder_slack: Some(true),
        reminder_frequency_days: Some(7),
        external_id: Some("deal-9".into()),
        order: [Reference::Customer, Reference::Template]
            .into_iter()
            .chain(Role::ALL.map(Reference::Role))
            .collect(),
    };
    assert_eq!(create_onboarding(&body), Ok(wanted));
}

#[test]
fn a_patch_tells_null_from_absent() {
    let patch = patch_onboarding(&json!({"notes": null, "csm_id": null, "target_launch_date": null}));
    let patch = patch.expect("all nullable");
    assert_eq!(patch.notes, Some(None));
    assert_eq!(patch.roles.get(&Role::Csm), Some(&None));
    assert_eq!(patch.target_launch_date, Some(None));
    assert_eq!((patch.external_id, patch.wizard_completed_at, patch.phase), (None, None, None));
    check(
        patch_onboarding,
        &[
            ("{}", "", ""),
            (r#"{"customer_id":"cust_1"}"#, "immutable_field", "customer_id"),
            (r#"{"id":"onb_1"}"#, "unrecognized_key", "id"),
            (r#"{"waiting_on_customer":null}"#, "invalid_type", "waiting_on_customer"),
            (r#"{"state":null}"#, "invalid_type", "state"),
            (r#"{"started_at":null}"#, "invalid_type", "started_at"),
            (r#"{"wizard_completed_at":"soon"}"#, "invalid_string", "wizard_completed_at"),
        ],
    );
}

#[test]
fn every_key_that_is_said_to_be_known_is() {
    let known = |read: &dyn Fn(&Value) -> Result<(), Refusal>, keys: &[&str]| {
        for key in keys {
            let refusal = read(&json!({(*key): [[]]})).expect_err("no field is such a value");
            assert_ne!(refusal.code.as_str(), "unrecognized_key", "{key}");
            assert!(refusal.field.is_some_and(|field| field.starts_with(key)), "{key}");
        }
    };
    known(&|body| create_onboarding(body).map(drop), &onboarding::CREATE);
    known(&|body| patch_onboarding(body).map(drop), &onboarding::PATCH);
    known(&|body| create_customer(body).map(drop), &customer::KNOWN);
    known(&|body| patch_customer(body).map(drop), &customer::KNOWN);
    known(&|body| create_user(body).map(drop), &user::KNOWN);
    known(&|body| patch_user(body).map(drop), &user::KNOWN);
    known(&|body| create_contact("1".into(), body).map(drop), &contact::KNOWN);
    known(&|body| create_template(body).map(drop), &template::KNOWN);
    known(&|body| patch_workspace(body).map(drop), &workspace::KNOWN);
}

#[test]
fn snoozes_and_reminders() {
    assert_eq!(snooze(&json!({"days": 3})), Ok(Snooze::Days(3)));
    check(
        snooze,
        &[
            (r#"{"until":"2026-01-01T00:00:00Z"}"#, "", ""),
            ("{}", "missing_field", "until"),
            (r#"{"days":0}"#, "too_small", "days"),
            (r#"{"days":366}"#, "too_big", "days"),
            (r#"{"until":null}"#, "invalid_type", "until"),
            (r#"{"days":1,"until":"2026-01-01T00:00:00Z"}"#, "invalid_combination", "until"),
            (r#"{"hours":1}"#, "unrecognized_key", "hours"),
        ],
    );
    assert_eq!(remind(&json!({})), Ok(None));
    assert_eq!(remind(&json!({"channels": ["email", "email"]})), Ok(Some(vec![Channel::Email])));
    check(
        remind,
        &[
            (r#"{"channels":[]}"#, "too_small", "channels"),
            (r#"{"channels":["fax"]}"#, "invalid_value", "channels.0"),
            (r#"{"channels":["slack",1]}"#, "invalid_type", "channels.1"),
            (r#"{"channels":"email"}"#, "invalid_type", "channels"),
        ],
    );
}

#[test]
fn hostile_customers() {
    let large = format!(r#"{{"name":"x","metadata":{{"a":"{}"}}}}"#, "x".repeat(33_000));
    let wide = (0..2000).map(|at| format!(r#""key-number-{at}":1"#)).collect::<Vec<_>>().join(",");
    let wide = format!(r#"{{"name":"x","metadata":{{{wide}}}}}"#);
    let deep = format!(r#"{{"name":"x","metadata":{{"a":{}1{}}}}}"#, "[".repeat(9), "]".repeat(9));
    check(
        create_customer,
        &[
            (r#"{"name":"Acme"}"#, "", ""),
            ("{}", "missing_field", "name"),
            (r#"{"name":"  "}"#, "too_small", "name"),
            (r#"{"name":"x","slug":"Acme"}"#, "invalid_string", "slug"),
            (r#"{"name":"x","slug":""}"#, "too_small", "slug"),
            (r#"{"name":"x","domain":"a b"}"#, "invalid_string", "domain"),
            (r#"{"name":"x","status":"gone"}"#, "invalid_value", "status"),
            (r#"{"name":"x","mrr":-1}"#, "too_small", "mrr"),
            (r#"{"name":"x","mrr":"12"}"#, "invalid_type", "mrr"),
            (r#"{"name":"x","monthly_orders":1.5}"#, "invalid_type", "monthly_orders"),
            (r#"{"name":"x","monthly_orders":9007199254740992}"#, "", ""),
            (r#"{"name":"x","monthly_orders":9007199254740993}"#, "too_big", "monthly_orders"),
            (r#"{"name":"x","metadata":[]}"#, "invalid_type", "metadata"),
            (r#"{"name":"x","metadata":null}"#, "invalid_type", "metadata"),
            (r#"{"name":"x","metadata":{"tier":"\u0000"}}"#, "invalid_string", "metadata.tier"),
            (r#"{"name":"x","metadata":{"tier":[{"a\u0000":1}]}}"#, "invalid_string", "metadata.tier"),
            (&large, "too_long", "metadata.a"),
            (&wide, "too_long", "metadata"),
            (&deep, "too_long", "metadata.a"),
        ],
    );
    let made = create_customer(&json!({"name": "x", "domain": "Acme.COM", "metadata": {"a": null, "b": 1}}));
    let made = made.expect("fine").fields;
    assert_eq!((made.domain.as_deref(), made.metadata.len()), (Some("acme.com"), 1));
}

#[test]
fn hostile_users() {
    let with = |rest: &str| format!(r#"{{"name":"Ada","email":"Ada@Example.com",{rest}}}"#);
    for (rest, code, field) in [
        (r#""time_zone":"Europe/Berlin""#, "", ""),
        (r#""time_zone":"Mars/Olympus""#, "invalid_value", "time_zone"),
        (r#""time_zone":"../../etc/passwd""#, "invalid_value", "time_zone"),
        (r#""quiet_hours":{"from":"22:00","to":"07:00"}"#, "", ""),
        (r#""quiet_hours":{"from":"22:00"}"#, "missing_field", "quiet_hours.to"),
        (r#""quiet_hours":{"from":"24:00","to":"07:00"}"#, "invalid_string", "quiet_hours.from"),
        (r#""quiet_hours":{"from":"1:00","to":"07:00"}"#, "invalid_string", "quiet_hours.from"),
        (r#""quiet_hours":{"at":1}"#, "unrecognized_key", "quiet_hours.at"),
        (r#""days_off":["mon","2026-12-24","mon"]"#, "", ""),
        (r#""days_off":["monday"]"#, "invalid_string", "days_off.0"),
        (r#""days_off":["mon","2026-02-30"]"#, "invalid_string", "days_off.1"),
        (r#""days_off":["+2026-1-1"]"#, "invalid_string", "days_off.0"),
        (r#""days_off":null"#, "invalid_type", "days_off"),
        (r#""mute_until":"tomorrow""#, "invalid_string", "mute_until"),
        (r#""slack_user_id":"<!here>""#, "invalid_string", "slack_user_id"),
        (r#""active":false"#, "", ""),
        (r#""active":null"#, "invalid_type", "active"),
        (r#""quiet_hours":{"to":"07:00"},"active":1"#, "missing_field", "quiet_hours.from"),
        (r#""email_broken":"x""#, "unrecognized_key", "email_broken"),
    ] {
        let wanted = if code.is_empty() { Ok(()) } else { fault(code, field) };
        assert_eq!(told(&with(rest), create_user), wanted, "{rest}");
    }
    check(
        create_user,
        &[
            (r#"{"email":"a@b.c"}"#, "missing_field", "name"),
            (r#"{"name":"x"}"#, "missing_field", "email"),
            (r#"{"name":"x","email":"no"}"#, "invalid_string", "email"),
            (r#"{"name":"x","email":"a@b.c\r\nBcc: d@e.f"}"#, "invalid_string", "email"),
        ],
    );
    let user =
        create_user(&json!({"name": "Ada", "email": "Ada@Example.com", "days_off": ["sun", "mon", "sun"]}));
    let user = user.expect("fine");
    assert_eq!(user.email, "ada@example.com");
    assert_eq!(user.reach.days_off.names(), ["mon", "sun"]);
    assert!(user.active);
    let away = create_user(&json!({"name": "Ada", "email": "ada@example.com", "active": false}));
    assert!(!away.expect("fine").active);
    assert_eq!(patch_user(&json!({"active": false})).expect("fine").active, Some(false));
    check(
        patch_user,
        &[
            (r#"{"quiet_hours":{"from":"22:00"}}"#, "", ""),
            (r#"{"quiet_hours":{"to":null}}"#, "invalid_type", "quiet_hours.to"),
        ],
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        Just(json!("2026-01-01T00:00:00Z")),
        Just(json!("review")),
    ];
    let key = prop_oneof![
        proptest::sample::select(&onboarding::PATCH[..]).prop_map(String::from),
        proptest::sample::select(&customer::KNOWN[..]).prop_map(String::from),
        proptest::sample::select(&user::KNOWN[..]).prop_map(String::from),
        proptest::sample::select(&contact::KNOWN[..]).prop_map(String::from),
        proptest::sample::select(&template::KNOWN[..]).prop_map(String::from),
        proptest::sample::select(&workspace::KNOWN[..]).prop_map(String::from),
        ".*",
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_json(&bytes);
    }

    #[test]
    fn no_json_panics(body in any_json()) {
        let _ = (create_onboarding(&body), patch_onboarding(&body), snooze(&body), remind(&body));
        let _ = (create_customer(&body), patch_customer(&body), create_user(&body), patch_user(&body));
        let _ = (create_contact("1".into(), &body), create_template(&body), patch_workspace(&body));
    }

    /// The strict reader reads what `serde_json` reads, wherever no key stands twice.
    #[test]
    fn the_strict_reader_agrees_with_serde_json(body in any_json()) {
        let text = body.to_string();
        let plain: Value = serde_json::from_str(&text).expect("its own text");
        prop_assert_eq!(parse_json(text.as_bytes()), Ok(plain));
    }
}
