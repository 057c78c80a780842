//! Customers and members of the team: the same laws, fewer rules.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use usher_lifecycle::{
    Book, Code, Command, Current, Decision, Record,
    command::{
        CreateCustomer, CreateOnboarding, CreateUser, CustomerPatch, OnboardingPatch, QuietHoursPatch,
        UserPatch,
    },
    customer::{CustomerFields, CustomerStatus},
    decide,
    event::{Actor, EventKind},
    json, limits,
    onboarding::Role,
    person::Reach,
    refusal::Refusal,
    reminder::Rules,
};

use crate::{at, kinds, monday, nothing, previous, references, standing};

fn take(current: Current, command: &Command) -> Result<Decision, Refusal> {
    let (rules, references) = (Rules::default(), references());
    decide(current, command, Book { rules: &rules, references: &references }, monday())
}

fn on(decision: &Decision, command: &Command) -> Decision {
    take(Current::Record(decision.record.clone()), command).expect("is legal")
}

fn customer() -> Decision {
    let fields = CustomerFields {
        name: "Acme".into(),
        slug: Some("acme".into()),
        domain: None,
        status: CustomerStatus::Onboarding,
        plan: None,
        mrr: Some(99.5),
        monthly_orders: None,
        hubspot_company_id: None,
        hubspot_deal_id: None,
        stripe_customer_id: None,
        intercom_company_id: None,
        slack_channel_id: None,
        external_id: None,
        metadata: Map::from_iter([("tier".to_string(), json!("gold"))]),
    };
    take(nothing(), &Command::CreateCustomer(CreateCustomer { fields })).expect("is legal")
}

fn user() -> Decision {
    let create = CreateUser {
        active: true,
        name: "Ann".into(),
        email: "ann@example.com".into(),
        slack_user_id: Some("U1".into()),
        reach: Reach {
            email_broken: Some("550".into()),
            slack_broken: Some("gone".into()),
            ..Reach::default()
        },
        external_id: None,
    };
    take(nothing(), &Command::CreateUser(create)).expect("is legal")
}

#[test]
fn a_customer_is_created_changed_and_deleted_with_one_event_each() {
    let made = customer();
    assert_eq!((kinds(&made), made.record.version()), (vec![EventKind::CustomerCreated], 1));
    let patch = CustomerPatch {
        name: Some("Acme".into()),
        texts: [("slug", None), ("plan", Some("pro".to_string()))].into(),
        metadata: Some(Map::from_iter([("tier".to_string(), Value::Null), ("seats".to_string(), json!(5))])),
        ..CustomerPatch::default()
    };
    let patched = on(&made, &Command::ChangeCustomer(patch.clone()));
    assert_eq!(
        previous(&patched, EventKind::CustomerUpdated),
        json!({"slug": "acme", "plan": null, "metadata": {"tier": "gold"}})
    );
    assert_eq!(patched.record.object()["metadata"], json!({"seats": 5}));
    let again = on(&patched, &Command::ChangeCustomer(patch));
    assert_eq!((kinds(&again), again.record.version()), (vec![], 2));
    let gone = on(&patched, &Command::DeleteCustomer);
    assert_eq!((kinds(&gone), gone.record.version()), (vec![EventKind::CustomerDeleted], 3));
    let still = on(&gone, &Command::DeleteCustomer);
    assert_eq!((kinds(&still), still.record), (vec![], gone.record.clone()));
    let change = Command::ChangeCustomer(CustomerPatch::default());
    let refusal = take(Current::Record(gone.record), &change).expect_err("is gone");
    assert_eq!(refusal.code, Code::CustomerNotFound);
}

/// The examples of RFC 7396, appendix A, one level down: `metadata` itself is always an object.
#[test]
fn metadata_is_patched_as_rfc_7396_says() {
    for (target, patch, wanted) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!("bar"), json!("bar")),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        let mut whole = Map::from_iter([("it".to_string(), target.clone()), ("other".to_string(), json!(1))]);
        json::merge(&mut whole, &Map::from_iter([("it".to_string(), patch.clone())]));
        assert_eq!(Value::Object(whole), json!({"it": wanted, "other": 1}), "{target} with {patch}");
    }
}

fn trees() -> impl Strategy<Value = Map<String, Value>> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0..9_i64).prop_map(Value::from)];
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            3 => prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(|it| it.into_iter().collect()),
        ]
    });
    prop::collection::btree_map("[a-c]", tree, 0..4).prop_map(|it| it.into_iter().collect())
}

/// The pseudocode of RFC 7396, section 2, word for word.
fn by_the_book(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = if let Value::Object(target) = target { target } else { Map::new() };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            let merged = by_the_book(target.get(name).cloned().unwrap_or(Value::Null), value);
            target.insert(name.clone(), merged);
        }
    }
    Value::Object(target)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn metadata_is_merged_by_the_book(target in trees(), patch in trees()) {
        let mut merged = target.clone();
        json::merge(&mut merged, &patch);
        prop_assert_eq!(Value::Object(merged.clone()), by_the_book(Value::Object(target), &Value::Object(patch.clone())));
        // Once more is no change.
        let again = merged.clone();
        json::merge(&mut merged, &patch);
        prop_assert_eq!(merged, again);
    }
}

#[test]
fn metadata_has_its_limits_as_a_whole() {
    let customer = |metadata: Value| CustomerPatch {
        metadata: metadata.as_object().cloned(),
        ..CustomerPatch::default()
    };
    let half = |key: &str| customer(json!({"parts": {(key): "x".repeat(limits::METADATA_BYTES / 2)}}));
    let one = on(&self::customer(), &Command::ChangeCustomer(half("one")));
    let both = take(Current::Record(one.record.clone()), &Command::ChangeCustomer(half("two")));
    let refusal = both.expect_err("is too large");
    assert_eq!((refusal.code, refusal.field.as_deref()), (Code::TooLong, Some("metadata")));
    let emptied = on(&one, &Command::ChangeCustomer(customer(json!({"parts": {"one": null}}))));
    assert_eq!(emptied.record.object()["metadata"]["parts"], json!({}));
    on(&emptied, &Command::ChangeCustomer(half("two")));
    let deep = |levels: usize| (1..levels).fold(json!(1), |inner, _| json!({ "a": inner }));
    let level = |levels| limits::metadata(&Map::from_iter([("top".to_string(), deep(levels))]));
    assert_eq!(level(limits::METADATA_DEPTH), Ok(()));
    let refusal = level(limits::METADATA_DEPTH + 1).expect_err("is too deep");
    assert_eq!((refusal.code, refusal.field.as_deref()), (Code::TooLong, Some("metadata.top")));
}

#[test]
fn the_end_of_quiet_hours_that_is_not_given_stays() {
    let time = |text: &str| Some(text.parse::<chrono::NaiveTime>().expect("a time"));
    let patch = |from, to| {
        let quiet_hours = Some(Some(QuietHoursPatch { from, to }));
        Command::ChangeUser(UserPatch { quiet_hours, ..UserPatch::default() })
    };
    let shown = |it: &Decision| it.record.object()["quiet_hours"].clone();
    for (from, to, field) in [
        (time("22:00:00"), None, "quiet_hours.to"),
        (None, time("07:00:00"), "quiet_hours.from"),
        (None, None, "quiet_hours.from"),
    ] {
        let refusal = take(Current::Record(user().record), &patch(from, to)).expect_err("is half of it");
        assert_eq!((refusal.code, refusal.field.as_deref()), (Code::MissingField, Some(field)));
    }
    let set = on(&user(), &patch(time("22:00:00"), time("07:00:00")));
    let later = on(&set, &patch(time("23:00:00"), None));
    assert_eq!(shown(&later), json!({"from": "23:00", "to": "07:00"}));
    assert_eq!(shown(&on(&later, &patch(None, time("06:30:00")))), json!({"from": "23:00", "to": "06:30"}));
    assert_eq!(kinds(&on(&later, &patch(None, None))), []);
}

#[test]
fn every_nullable_text_of_a_customer_can_be_set() {
    let names = [
        "slug",
        "domain",
        "plan",
        "hubspot_company_id",
        "hubspot_deal_id",
        "stripe_customer_id",
        "intercom_company_id",
        "slack_channel_id",
        "external_id",
    ];
    for name in names {
        let texts = [(name, Some("new".to_string()))].into();
        let patched =
            on(&customer(), &Command::ChangeCustomer(CustomerPatch { texts, ..CustomerPatch::default() }));
        assert_eq!(patched.record.object()[name], "new");
    }
}

#[test]
fn a_new_address_may_work_where_the_old_one_did_not() {
    let patch = UserPatch {
        email: Some("ann@example.com".into()),
        slack_user_id: Some(Some("U2".into())),
        ..UserPatch::default()
    };
    let patched = on(&user(), &Command::ChangeUser(patch));
    let Record::User(ann) = &patched.record else { panic!("{:?}", patched.record) };
    assert_eq!((ann.reach.email_broken.as_deref(), ann.reach.slack_broken.as_deref()), (Some("550"), None));
    assert_eq!(previous(&patched, EventKind::UserUpdated)["slack_user_id"], "U1");
}

#[test]
fn a_deleted_user_is_not_active_and_not_found() {
    let gone = on(&user(), &Command::DeleteUser);
    let Record::User(ann) = &gone.record else { panic!("{:?}", gone.record) };
    assert!(!ann.active);
    assert_eq!((kinds(&gone), gone.record.version()), (vec![EventKind::UserDeleted], 2));
    assert_eq!(kinds(&on(&gone, &Command::DeleteUser)), []);
    let change = Command::ChangeUser(UserPatch::default());
    let refusal = take(Current::Record(gone.record), &change).expect_err("is gone");
    assert_eq!(refusal.code, Code::UserNotFound);
}

#[test]
fn references_that_name_nothing_are_refused_with_their_field() {
    let (rules, mut references) = (Rules::default(), references());
    let named = CreateOnboarding {
        customer: "cust_x".into(),
        template: Some("tmpl_x".into()),
        roles: [(Role::ProductOps, "nobody".to_string())].into(),
        ..CreateOnboarding::default()
    };
    let mut refuse = |change: fn(&mut usher_lifecycle::command::References)| {
        change(&mut references);
        let book = Book { rules: &rules, references: &references };
        let refusal = decide(nothing(), &Command::CreateOnboarding(named.clone()), book, monday());
        let refusal = refusal.expect_err("names nothing");
        (refusal.code, refusal.field.expect("names its field"))
    };
    assert_eq!(refuse(|_| ()), (Code::UnknownUser, "product_ops_id".into()));
    assert_eq!(refuse(|it| it.template = None), (Code::UnknownTemplate, "template_id".into()));
    assert_eq!(refuse(|it| it.customer = None), (Code::CustomerNotFound, "customer_id".into()));
    let patch = OnboardingPatch { template: Some(Some("tmpl_x".into())), ..OnboardingPatch::default() };
    let it = Current::Record(Record::Onboarding(standing(
        usher_lifecycle::Phase::Review,
        usher_lifecycle::State::Active,
    )));
    let book = Book { rules: &rules, references: &references };
    let refusal = decide(it, &Command::ChangeOnboarding(patch), book, monday()).expect_err("names nothing");
    assert_eq!(refusal.code, Code::UnknownTemplate);
}

#[test]
fn a_command_for_another_kind_of_record_is_refused() {
    for (record, command, code) in [
        (customer().record, Command::DeleteOnboarding, Code::OnboardingNotFound),
        (user().record, Command::DeleteCustomer, Code::CustomerNotFound),
        (customer().record, Command::DeleteUser, Code::UserNotFound),
    ] {
        assert_eq!(take(Current::Record(record), &command).expect_err("does not fit").code, code);
        assert_eq!(take(nothing(), &command).expect_err("is not there").code, code);
    }
}

#[test]
fn the_data_of_an_event_is_object_previous_and_actor() {
    let made = customer();
    let data = made.events[0].data(&made.record.object(), &Actor::system());
    assert_eq!(data["object"], made.record.object());
    assert_eq!(data["previous_attributes"], Value::Null);
    assert_eq!(data["actor"], json!({"type": "system", "id": null, "name": null}));
    assert_eq!(made.record.object()["created_at"], json!("2026-11-02T08:00:00Z"));
    assert_eq!(monday(), at("2026-11-02 08:00"));
}
