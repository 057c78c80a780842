//! From a command as it came in to what the store is asked. Pure.
//!
//! Which record an update, a deletion or a snooze is about stands in the data beside its fields: `id` (an id, or digits
//! for a `display_id`, as in the API's paths), else `display_id`, else `external_id`; and so may `expected_version`.
//! They are taken out before the body is read by the same functions as the API's.

use serde_json::{Map, Value};
use usher_bus::Incoming;
use usher_lifecycle::{
    Code, Command, Refusal,
    command::{Aggregate, Composite},
    limits::{self, excerpt},
};
use usher_store::Ref;

use crate::body;

/// Longest text that names a record.
pub(crate) const REFERENCE: usize = 300;

/// What a command asks of the store.
#[derive(Debug, Clone)]
pub(super) enum Plan {
    /// One thing, whatever is there.
    Fixed(Box<Step>),
    /// Change the record with this key if there is one, else create it.
    Upsert(Box<Upsert>),
}

/// A record by the caller's key: what to do with it, there or not.
#[derive(Debug, Clone)]
pub(super) struct Upsert {
    pub(super) kind: Aggregate,
    pub(super) key: String,
    pub(super) change: Step,
    /// A refusal when the data is not enough for a new record.
    pub(super) create: Result<Step, Refusal>,
}

/// One thing for the store to do.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) command: Command,
    pub(super) target: Option<Ref>,
    pub(super) expected_version: Option<i64>,
}

impl Plan {
    /// Which kind of record it is about.
    pub(super) const fn kind(&self) -> Aggregate {
        match self {
            Self::Fixed(step) => step.command.aggregate(),
            Self::Upsert(upsert) => upsert.kind,
        }
    }
}

/// Reads the data of a command.
pub(super) fn plan(incoming: &Incoming) -> Result<Plan, Refusal> {
    let data = incoming.data.clone();
    match incoming.command {
        "onboarding.create" if body::is_composite(&data) => Ok(whole(body::onboarding_with(data)?, None)),
        "contact.upsert" => contact(data),
        "onboarding.create" => {
            let command = Command::CreateOnboarding(body::create_onboarding(&Value::Object(data))?);
            Ok(Plan::Fixed(Box::new(Step { command, target: None, expected_version: None })))
        }
        "onboarding.update" => {
            fixed(data, |body| Ok(Command::ChangeOnboarding(body::patch_onboarding(body)?)))
        }
        "onboarding.snooze" => fixed(data, |body| Ok(Command::SnoozeOnboarding(body::snooze(body)?))),
        "onboarding.delete" => fixed(data, |body| nothing_else(body).map(|()| Command::DeleteOnboarding)),
        "customer.upsert" => upsert(
            data,
            Aggregate::Customer,
            |body| Ok(Command::ChangeCustomer(body::patch_customer(body)?)),
            |body| Ok(Command::CreateCustomer(body::create_customer(body)?)),
        ),
        "user.upsert" => upsert(
            data,
            Aggregate::User,
            |body| Ok(Command::ChangeUser(body::patch_user(body)?)),
            |body| Ok(Command::CreateUser(body::create_user(body)?)),
        ),
        other => Err(Refusal::new(Code::UnknownCommand, format!("{other} is not taken here"))),
    }
}

/// Several records of one message; a version is that of its contacts.
fn whole(composite: Composite, expected_version: Option<i64>) -> Plan {
    let command = Command::Compose(Box::new(composite));
    Plan::Fixed(Box::new(Step { command, target: None, expected_version }))
}

/// With `customer_id` a contact of that customer, by `external_id` or `email`; else by its own names, as any record.
fn contact(mut data: Map<String, Value>) -> Result<Plan, Refusal> {
    let change: Read = |body| Ok(Command::ChangeContact(body::patch_contact(body)?));
    if ["id", "display_id"].into_iter().any(|name| data.contains_key(name)) {
        if data.contains_key("customer_id") {
            let message =
                "a contact stays with its customer; beside id or display_id there is no customer_id";
            return Err(Refusal::field(Code::InvalidCombination, "customer_id", message));
        }
    } else if data.contains_key("customer_id") || !data.contains_key("external_id") {
        let expected_version = expected_version(&mut data)?;
        return Ok(whole(body::contact_of(data)?, expected_version));
    }
    upsert(data, Aggregate::Contact, change, |_nobodys| {
        let message = "there is no such contact, and a new one needs its customer_id";
        Err(Refusal::field(Code::MissingField, "customer_id", message))
    })
}

type Read = fn(&Value) -> Result<Command, Refusal>;

/// A command about a record that has to be there.
fn fixed(mut data: Map<String, Value>, read: Read) -> Result<Plan, Refusal> {
    let expected_version = expected_version(&mut data)?;
    let target = match named(&mut data)? {
        Some(target) => target,
        None => Ref::ExternalId(external_id(&mut data)?.ok_or_else(|| {
            let message = "id is missing; id, display_id or external_id says which record is meant";
            Refusal::field(Code::MissingField, "id", message)
        })?),
    };
    let command = read(&Value::Object(data))?;
    Ok(Plan::Fixed(Box::new(Step { command, target: Some(target), expected_version })))
}

/// A command about a record that is there (by `id` or `display_id`), or may be (by `external_id`).
fn upsert(
    mut data: Map<String, Value>,
    kind: Aggregate,
    change: Read,
    create: Read,
) -> Result<Plan, Refusal> {
    let expected_version = expected_version(&mut data)?;
    if let Some(target) = named(&mut data)? {
        let command = change(&Value::Object(data))?;
        return Ok(Plan::Fixed(Box::new(Step { command, target: Some(target), expected_version })));
    }
    let whole = Value::Object(data.clone());
    let key = external_id(&mut data)?.ok_or_else(|| {
        let message = "external_id is missing; it says which record is meant, or id or display_id";
        Refusal::field(Code::MissingField, "external_id", message)
    })?;
    let target = Some(Ref::ExternalId(key.clone()));
    let change = Step { command: change(&Value::Object(data))?, target, expected_version };
    if expected_version.is_some() {
        // Whoever knows a version means a record that is there.
        return Ok(Plan::Fixed(Box::new(change)));
    }
    let create = create(&whole).map(|command| Step { command, target: None, expected_version: None });
    Ok(Plan::Upsert(Box::new(Upsert { kind, key, change, create })))
}

/// Takes `id` or `display_id` out of the data. With one of them an `external_id` is a field like any other.
fn named(data: &mut Map<String, Value>) -> Result<Option<Ref>, Refusal> {
    let id = match data.shift_remove("id") {
        None => None,
        Some(Value::String(text)) => Some(Ref::parse(&limits::filled("id", &text, REFERENCE)?)),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            return Err(Refusal::field(Code::InvalidType, "id", "id must be a string"));
        }
    };
    let Some(number) = data.shift_remove("display_id") else { return Ok(id) };
    let number = number.as_i64().ok_or_else(|| {
        Refusal::field(Code::InvalidType, "display_id", "display_id must be a whole number")
    })?;
    if id.is_some() {
        let message = "id and display_id may contradict each other; give one of them";
        return Err(Refusal::field(Code::InvalidCombination, "display_id", message));
    }
    Ok(Some(Ref::DisplayId(number)))
}

fn external_id(data: &mut Map<String, Value>) -> Result<Option<String>, Refusal> {
    match data.shift_remove("external_id") {
        None => Ok(None),
        Some(Value::String(text)) => limits::filled("external_id", &text, limits::EXTERNAL_ID).map(Some),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Refusal::field(Code::InvalidType, "external_id", "external_id must be a string"))
        }
    }
}

fn expected_version(data: &mut Map<String, Value>) -> Result<Option<i64>, Refusal> {
    let Some(value) = data.shift_remove("expected_version") else { return Ok(None) };
    value.as_i64().map(Some).ok_or_else(|| {
        let message = "expected_version must be a whole number, the record's version";
        Refusal::field(Code::InvalidType, "expected_version", message)
    })
}

fn nothing_else(body: &Value) -> Result<(), Refusal> {
    let Some(key) = body.as_object().and_then(|data| data.keys().next()) else { return Ok(()) };
    let message =
        format!("{} is not known here; a deletion takes nothing but the record's name", excerpt(key));
    Err(Refusal::field(Code::UnrecognizedKey, key.chars().take(128).collect::<String>(), message))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the message of a failed test")]

    use serde_json::json;

    use super::*;

    fn incoming(command: &'static str, data: &Value) -> Incoming {
        Incoming {
            workspace: "acme".into(),
            command,
            source: "crm".into(),
            id: Some("1".into()),
            kind: None,
            sequence: None,
            time: None,
            traceparent: None,
            data: data.as_object().unwrap().clone(),
        }
    }

    fn step(command: &'static str, data: &Value) -> Step {
        match plan(&incoming(command, data)).unwrap() {
            Plan::Fixed(step) => *step,
            Plan::Upsert(upsert) => upsert.change,
        }
    }

    fn refused(command: &'static str, data: &Value) -> (&'static str, Option<String>) {
        let refusal = plan(&incoming(command, data)).unwrap_err();
        (refusal.code.as_str(), refusal.field)
    }

    #[test]
    fn a_record_is_named_by_id_number_or_the_callers_key() {
        let target = |data| step("onboarding.update", &data).target.unwrap();
        assert_eq!(target(json!({"id": "onb_1", "notes": "x"})), Ref::Id("onb_1".into()));
        assert_eq!(target(json!({"id": "42"})), Ref::DisplayId(42));
        assert_eq!(target(json!({"display_id": 42})), Ref::DisplayId(42));
        assert_eq!(target(json!({"external_id": "deal-1"})), Ref::ExternalId("deal-1".into()));
        // Beside an id the caller's key is a field to change.
        let step = step("onboarding.update", &json!({"id": "onb_1", "external_id": "deal-2"}));
        let Command::ChangeOnboarding(patch) = step.command else { panic!("{:?}", step.command) };
        assert_eq!(step.target, Some(Ref::Id("onb_1".into())));
        assert_eq!(patch.external_id, Some(Some("deal-2".into())));
    }

    #[test]
    fn a_version_is_taken_out_of_the_data() {
        for command in ["onboarding.update", "onboarding.delete", "customer.upsert", "contact.upsert"] {
            let step = step(command, &json!({"external_id": "x", "expected_version": 3}));
            assert_eq!(step.expected_version, Some(3), "{command}");
        }
        let snooze = step("onboarding.snooze", &json!({"id": "onb_1", "days": 3, "expected_version": 3}));
        assert_eq!(snooze.expected_version, Some(3));
    }

    #[test]
    fn only_an_upsert_by_the_callers_key_may_create() {
        let is_upsert = |data| {
            let plan = plan(&incoming("customer.upsert", &data)).unwrap();
            assert_eq!(plan.kind(), Aggregate::Customer);
            matches!(plan, Plan::Upsert(_))
        };
        assert!(is_upsert(json!({"external_id": "x", "name": "Acme"})));
        assert!(!is_upsert(json!({"external_id": "x", "name": "Acme", "expected_version": 1})));
        assert!(!is_upsert(json!({"id": "cus_1", "name": "Acme"})));
    }

    #[test]
    fn a_contact_has_names_of_its_own_and_those_among_its_customers() {
        let step = |data| step("contact.upsert", &data);
        let by_id = step(json!({"id": "contact_1", "external_id": "p-2", "expected_version": 3}));
        assert_eq!((by_id.target, by_id.expected_version), (Some(Ref::Id("contact_1".into())), Some(3)));
        let Command::ChangeContact(patch) = by_id.command else { panic!("{:?}", by_id.command) };
        assert_eq!(patch.external_id, Some(Some("p-2".into())));
        assert_eq!(step(json!({"display_id": 4})).target, Some(Ref::DisplayId(4)));
        assert_eq!(step(json!({"external_id": "p-1"})).target, Some(Ref::ExternalId("p-1".into())));
        let among = step(json!({"customer_id": "1", "email": "a@b.example", "expected_version": 3}));
        assert!(matches!(among.command, Command::Compose(_)), "{:?}", among.command);
        assert_eq!((among.target, among.expected_version), (None, Some(3)));
    }

    #[test]
    fn faults_are_named() {
        for (command, data, code, field) in [
            ("onboarding.update", json!({"notes": "x"}), "missing_field", "id"),
            ("customer.upsert", json!({"name": "x"}), "missing_field", "external_id"),
            ("onboarding.create", json!({"notes": "x"}), "missing_field", "customer_id"),
            ("onboarding.update", json!({"id": 7}), "invalid_type", "id"),
            ("onboarding.update", json!({"id": "a\u{0}"}), "invalid_string", "id"),
            ("onboarding.update", json!({"display_id": "7"}), "invalid_type", "display_id"),
            ("onboarding.update", json!({"id": "1", "display_id": 7}), "invalid_combination", "display_id"),
            (
                "onboarding.update",
                json!({"id": "1", "expected_version": "1"}),
                "invalid_type",
                "expected_version",
            ),
            ("onboarding.update", json!({"external_id": null}), "invalid_type", "external_id"),
            ("onboarding.delete", json!({"id": "1", "why": "x"}), "unrecognized_key", "why"),
            ("onboarding.create", json!({"customer": 7}), "invalid_type", "customer"),
            ("onboarding.create", json!({"customer": {"domain": 7}}), "invalid_type", "customer.domain"),
            (
                "onboarding.create",
                json!({"customer": {}, "customer_id": "1"}),
                "invalid_combination",
                "customer_id",
            ),
            ("onboarding.create", json!({"contacts": []}), "missing_field", "customer_id"),
            (
                "onboarding.create",
                json!({"customer_id": "1", "contacts": [{"email": "a@b.example"}, {"name": 7}]}),
                "invalid_type",
                "contacts.1.name",
            ),
            ("contact.upsert", json!({"email": "a@b.example"}), "missing_field", "customer_id"),
            ("contact.upsert", json!({"customer_id": "1", "name": "x"}), "missing_field", "external_id"),
            (
                "contact.upsert",
                json!({"customer_id": "1", "id": "contact_1"}),
                "invalid_combination",
                "customer_id",
            ),
            ("contact.upsert", json!({"display_id": 1, "email": 7}), "invalid_type", "email"),
            ("user.upsert", json!({"external_id": "x", "email": 1}), "invalid_type", "email"),
        ] {
            assert_eq!(refused(command, &data), (code, Some(field.to_owned())), "{command} {data}");
        }
    }
}
