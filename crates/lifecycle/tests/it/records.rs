//! Customers and members of the team: the same laws, fewer rules.

use serde_json::{Map, Value, json};
use usher_lifecycle::{
    Book, Code, Command, Current, Decision, Record,
    command::{CreateCustomer, CreateOnboarding, CreateUser, CustomerPatch, OnboardingPatch, UserPatch},
    customer::{CustomerFields, CustomerStatus},
    decide,
    event::{Actor, EventKind},
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
