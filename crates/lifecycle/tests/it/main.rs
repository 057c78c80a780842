//! Proofs of the rule book: the table of every command in every phase and state, the rules of docs/lifecycle.md one by
//! one, and the laws as property tests over whole lives of onboardings.

mod accounts;
mod contacts;
mod docs;
mod laws;
mod limits;
mod measures;
mod moves;
mod records;
mod schedules;
mod table;
mod times;
mod waiting;
mod workspaces;
mod world;

use chrono::{DateTime, Utc};
use serde_json::Value;
use usher_lifecycle::{
    Book, Code, Command, Current, CustomerId, Decision, Onboarding, Phase, Record, Refusal, State,
    TemplateId, UserId, WorkspaceId,
    command::{CreateOnboarding, OnboardingPatch, References},
    customer::CustomerStatus,
    decide,
    event::EventKind,
    reminder::Rules,
    template::{Defaults, Template},
};

/// `2026-03-29T09:00:00+02:00`, or `2026-03-29 09:00` for UTC.
fn at(text: &str) -> DateTime<Utc> {
    let rfc = if text.len() == 16 { format!("{}:00Z", text.replace(' ', "T")) } else { text.to_string() };
    DateTime::parse_from_rfc3339(&rfc).expect(text).to_utc()
}

/// Monday, 2026-11-02, 08:00 UTC: where the examples begin.
fn monday() -> DateTime<Utc> {
    at("2026-11-02 08:00")
}

/// What the store finds: users `ann`, `bob` and `cyd`, a template, a customer who is being onboarded.
fn references() -> References {
    let user = |number: u128| UserId::new(DateTime::UNIX_EPOCH, number);
    References {
        customer: Some((CustomerId::new(DateTime::UNIX_EPOCH, 7), CustomerStatus::Onboarding)),
        users: [("ann", 1), ("bob", 2), ("cyd", 3)].map(|(name, it)| (name.to_string(), user(it))).into(),
        template: Some(template()),
        contacts: Vec::new(),
        display_id: 41,
        random: 0xfeed,
    }
}

/// A template that says nothing.
fn template() -> Template {
    Template {
        id: TemplateId::new(DateTime::UNIX_EPOCH, 9),
        workspace_id: WorkspaceId::new(DateTime::UNIX_EPOCH, 5),
        livemode: true,
        display_id: 4,
        name: "Standard".into(),
        defaults: Defaults::default(),
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        version: 1,
        deleted_at: None,
    }
}

fn nothing() -> Current {
    Current::Nothing { workspace_id: WorkspaceId::new(DateTime::UNIX_EPOCH, 5), livemode: true }
}

/// One decision about an onboarding, with the default references.
fn ask(
    rules: &Rules,
    it: &Onboarding,
    command: &Command,
    now: DateTime<Utc>,
) -> Result<(Onboarding, Decision), Refusal> {
    let references = references();
    let current = Current::Record(Record::Onboarding(it.clone()));
    decide(current, command, Book { rules, references: &references }, now).map(|decision| {
        let Record::Onboarding(after) = &decision.record else { panic!("{:?}", decision.record) };
        (after.clone(), decision)
    })
}

/// The onboarding that a create makes at `now`.
fn create(create: CreateOnboarding, now: DateTime<Utc>) -> Onboarding {
    let (rules, references) = (Rules::default(), references());
    let book = Book { rules: &rules, references: &references };
    let made = decide(nothing(), &Command::CreateOnboarding(create), book, now).expect("is legal");
    let Record::Onboarding(it) = made.record else { panic!("{:?}", made.record) };
    it
}

/// An onboarding in that phase and state, made on [`monday`].
fn standing(phase: Phase, state: State) -> Onboarding {
    create(
        CreateOnboarding { phase: Some(phase), state: Some(state), ..CreateOnboarding::default() },
        monday(),
    )
}

/// A patch by the default rules that is legal and changes something.
fn change(it: &Onboarding, patch: OnboardingPatch, now: DateTime<Utc>) -> (Onboarding, Decision) {
    let (after, decision) =
        ask(&Rules::default(), it, &Command::ChangeOnboarding(patch), now).expect("is legal");
    assert_eq!(after.version, it.version + 1, "the patch changed nothing");
    (after, decision)
}

/// The code and field of a patch that is refused by these rules.
fn refused(
    rules: &Rules,
    it: &Onboarding,
    patch: OnboardingPatch,
    now: DateTime<Utc>,
) -> (Code, Option<String>) {
    let refusal = ask(rules, it, &Command::ChangeOnboarding(patch), now).expect_err("is not legal");
    (refusal.code, refusal.field)
}

fn kinds(decision: &Decision) -> Vec<EventKind> {
    decision.events.iter().map(|event| event.kind).collect()
}

/// What the event of that kind tells beside the object.
fn extra(decision: &Decision, kind: EventKind, name: &str) -> Value {
    let event = decision.events.iter().find(|event| event.kind == kind).expect("happened");
    event.extra.get(name).cloned().unwrap_or_else(|| panic!("{name} is not told by {kind:?}"))
}

fn previous(decision: &Decision, kind: EventKind) -> Value {
    let event = decision.events.iter().find(|event| event.kind == kind).expect("happened");
    event.previous.clone().map_or(Value::Null, Value::Object)
}
