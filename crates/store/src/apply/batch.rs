//! One batch of requests in one transaction.
//!
//! Repeats are found first, then the records are loaded and locked, every request is decided in order, and what the
//! decisions say is written at the end, in one statement per table. If the database itself refuses (a unique index that
//! another process was faster on), everything is rolled back and the requests are applied one by one.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use usher_lifecycle::{
    Code, Command, Refusal, WorkspaceId,
    command::{Aggregate, References},
    decide::{Book, Current, Decision, Record, decide},
    reminder::schedule::{Schedule, reschedule},
};

use super::{
    Applied, ApplyError, Outcome, Ref, Request,
    facts::{self, Facts, group},
    remind_body,
    seen::Seen,
    write::Work,
};
use crate::{Store, StoreError, ids};

/// Attempts at a batch that loses races; each loser has seen another one win.
const ATTEMPTS: usize = 5;

pub(super) type Timed = (Request, DateTime<Utc>);

enum Failure {
    /// Another transaction was faster; the same batch may succeed at once.
    Again(StoreError),
    /// The database or this code failed.
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        // What a unique index has seen, the next attempt sees too: the repeat of a key, or a name that is taken.
        let again = error.is_conflict() || error.unique_violation().is_some();
        if again { Self::Again(error) } else { Self::Store(error) }
    }
}

/// Applies the requests; one answer each, in order.
pub(super) async fn run(store: &Store, requests: Vec<Timed>) -> Vec<Result<Applied, ApplyError>> {
    let requests: Vec<Timed> =
        requests.into_iter().map(|(request, now)| (request, store.own_instant(now))).collect();
    match together(store, &requests).await {
        Ok(answers) => answers,
        Err(error) if requests.len() > 1 && !error.is_away() => {
            let mut answers = Vec::with_capacity(requests.len());
            for request in requests {
                let alone = together(store, std::slice::from_ref(&request)).await;
                answers.extend(alone.unwrap_or_else(|error| vec![Err(refused_by_database(error))]));
            }
            answers
        }
        Err(error) => {
            let error = refused_by_database(error);
            requests.iter().map(|_| Err(error.clone())).collect()
        }
    }
}

async fn together(store: &Store, requests: &[Timed]) -> Result<Vec<Result<Applied, ApplyError>>, StoreError> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match attempt(store, requests).await {
            Ok(answers) => {
                return Ok(answers.into_iter().map(|it| it.map_err(ApplyError::Refused)).collect());
            }
            Err(Failure::Again(error)) => last = Some(error),
            Err(Failure::Store(error)) => return Err(error),
        }
    }
    Err(last.unwrap_or(StoreError::Closed))
}

/// A unique index refused although the records were looked at before: somebody was faster, in between.
fn refused_by_database(error: StoreError) -> ApplyError {
    let index = error.unique_violation().unwrap_or_default();
    let taken = |code, field| {
        ApplyError::Refused(Refusal::field(code, field, format!("this {field} is taken already")))
    };
    if index.contains("external_id") {
        taken(Code::ExternalIdTaken, "external_id")
    } else if index.contains("slug") {
        taken(Code::SlugTaken, "slug")
    } else if index.contains("email") {
        taken(Code::EmailTaken, "email")
    } else {
        ApplyError::Store(Arc::new(error))
    }
}

async fn attempt(store: &Store, requests: &[Timed]) -> Result<Vec<Result<Applied, Refusal>>, Failure> {
    let numbers = numbers(store, requests).await?;
    let mut tx = store.db().begin().await?;
    let mut seen = Seen::load(&mut tx, requests.iter().map(|(request, _)| request)).await?;
    let mut groups =
        group(requests.iter().enumerate(), |(_, (request, _))| (request.workspace_id, request.livemode));
    // Every transaction locks the groups in the same order.
    groups.sort_by_key(|(key, _)| *key);
    let mut work = Work::default();
    let mut answers: Vec<Option<Result<Applied, Refusal>>> = requests.iter().map(|_| None).collect();
    for ((workspace, livemode), members) in groups {
        let named: Vec<&Request> = members.iter().map(|(_, (request, _))| request).collect();
        let mut facts = Facts::load(&mut tx, workspace, livemode, &named).await?;
        for (place, (request, now)) in members {
            let answer = match (&mut facts, seen.before(request)) {
                (None, _) => Err(Refusal::new(Code::UnknownWorkspace, "there is no such workspace")),
                (Some(_), Some(before)) => before,
                (Some(facts), None) => {
                    let number = numbers.get(place).copied().unwrap_or_default();
                    one(request, *now, facts, number, &mut work)
                }
            };
            if let Ok(applied) = &answer {
                seen.remember(request, applied, *now);
            }
            if let Some(slot) = answers.get_mut(place) {
                *slot = Some(answer);
            }
        }
    }
    let refused = requests.iter().zip(&answers).filter(|(_, answer)| matches!(answer, Some(Err(_))));
    let refused: Vec<&Request> = refused.map(|((request, _), _)| request).collect();
    let raced =
        seen.overtaken(&mut tx, &refused).await? || work.write(&mut tx).await? || seen.write(&mut tx).await?;
    if raced {
        tx.rollback().await?;
        return Err(Failure::Again(StoreError::Bug("a batch lost every race".into())));
    }
    tx.commit().await?;
    Ok(answers.into_iter().flatten().collect())
}

/// A number for every request that creates a record, in the places of the requests.
async fn numbers(store: &Store, requests: &[Timed]) -> Result<Vec<i64>, StoreError> {
    let creates = requests.iter().enumerate().filter(|(_, (request, _))| request.target.is_none());
    let mut numbers = vec![0; requests.len()];
    for ((workspace, kind), places) in
        group(creates.map(|(place, (request, _))| (place, request)), |(_, request)| key(request))
    {
        let given = store.numbers(workspace, kind, places.len()).await?;
        for ((place, _), number) in places.into_iter().zip(given) {
            if let Some(slot) = numbers.get_mut(place) {
                *slot = number;
            }
        }
    }
    Ok(numbers)
}

const fn key(request: &Request) -> (WorkspaceId, Aggregate) {
    (request.workspace_id, request.command.aggregate())
}

/// Decides one request and takes its effects into the work and the facts.
fn one(
    request: &Request,
    now: DateTime<Utc>,
    facts: &mut Facts,
    number: i64,
    work: &mut Work,
) -> Result<Applied, Refusal> {
    let current = current(request, facts)?;
    if let (Some(expected), Current::Record(record)) = (request.expected_version, &current)
        && record.version() != expected
    {
        let found = record.version();
        return Err(Refusal::new(
            Code::VersionMismatch,
            format!("the record has version {found}, not {expected}; read it again and decide anew"),
        ));
    }
    let references = references(request, &current, facts, number);
    let book = Book { rules: &facts.rules, references: &references };
    let decision = decide(current, &request.command, book, now)?;
    unique(&decision.record, facts)?;

    let object = decision.record.object();
    let version = decision.record.version();
    let id = record_id(&decision.record);
    if let (Some(remind), Record::Onboarding(onboarding)) = (&decision.remind, &decision.record) {
        let body = remind_body(&remind.id.to_text(), &id, now).to_string();
        work.remind(onboarding, remind, now);
        return Ok(Applied { outcome: Outcome::Committed, id, version, body, status: None });
    }
    let outcome = if decision.events.is_empty() { Outcome::Unchanged } else { Outcome::Committed };
    if outcome == Outcome::Committed {
        commit(request, decision, &object, facts, work, now);
    }
    Ok(Applied { outcome, id, version, body: object.to_string(), status: None })
}

/// Takes an effective decision into the work and the facts.
fn commit(
    request: &Request,
    decision: Decision,
    object: &serde_json::Value,
    facts: &mut Facts,
    work: &mut Work,
    now: DateTime<Utc>,
) {
    work.events(request, &decision, object, now);
    if let Record::Onboarding(onboarding) = &decision.record {
        work.schedule(onboarding, &decision.schedule, now);
    }
    let customer = match &decision.record {
        Record::Customer(customer) => {
            Some((customer.id, customer.deleted_at.is_none().then_some(customer.fields.status)))
        }
        Record::Onboarding(_) | Record::User(_) => None,
    };
    work.save(decision.record.clone());
    facts.remember(decision.record);
    // A customer that left, came back or was deleted silences or wakes the reminders of its onboardings.
    if let Some((customer, status)) = customer
        && matches!(request.command, Command::ChangeCustomer(_) | Command::DeleteCustomer)
    {
        let is_theirs = |it: &&usher_lifecycle::Onboarding| {
            it.customer_id == customer && it.hidden.deleted_at.is_none() && it.completed_at.is_none()
        };
        let theirs: Vec<_> = facts.onboardings.all().filter(is_theirs).cloned().collect();
        for mut onboarding in theirs {
            let schedule = reschedule(&facts.rules, &mut onboarding, status, now);
            if schedule != Schedule::Keep {
                work.schedule(&onboarding, &schedule, now);
                facts.remember(Record::Onboarding(onboarding));
            }
        }
    }
}

fn record_id(record: &Record) -> String {
    match record {
        Record::Onboarding(it) => it.id.to_text(),
        Record::Customer(it) => it.id.to_text(),
        Record::User(it) => it.id.to_text(),
    }
}

/// The record the request is about, as it stands within the batch.
fn current(request: &Request, facts: &Facts) -> Result<Current, Refusal> {
    let Some(target) = &request.target else {
        return Ok(Current::Nothing { workspace_id: request.workspace_id, livemode: request.livemode });
    };
    let kind = request.command.aggregate();
    let again =
        matches!(request.command, Command::DeleteOnboarding | Command::DeleteCustomer | Command::DeleteUser);
    let found = match kind {
        Aggregate::Onboarding => facts
            .onboardings
            .get(target)
            .filter(|it| (again || it.hidden.deleted_at.is_none()) && facts.customer_of(it).is_some())
            .map(|it| Record::Onboarding(it.clone())),
        Aggregate::Customer => facts
            .customers
            .get(target)
            .filter(|it| again || it.deleted_at.is_none())
            .map(|it| Record::Customer(it.clone())),
        Aggregate::User => facts
            .users
            .get(target)
            .filter(|it| again || it.deleted_at.is_none())
            .map(|it| Record::User(it.clone())),
    };
    found.map(Current::Record).ok_or_else(|| Refusal::not_found(kind.not_found(), kind.as_str(), target))
}

fn references(request: &Request, current: &Current, facts: &Facts, number: i64) -> References {
    let mut references = References { display_id: number, random: ids::random(), ..References::default() };
    let mut named_users: Vec<&String> = Vec::new();
    let mut template = None;
    match &request.command {
        Command::CreateOnboarding(create) => {
            let customer = facts.customers.get(&facts::customer_ref(&create.customer));
            references.customer =
                customer.filter(|it| it.deleted_at.is_none()).map(|it| (it.id, it.fields.status));
            named_users.extend(create.roles.values());
            template = create.template.as_ref();
        }
        Command::ChangeOnboarding(patch) => {
            named_users.extend(patch.roles.values().flatten());
            template = patch.template.as_ref().and_then(Option::as_ref);
        }
        Command::DeleteOnboarding
        | Command::SnoozeOnboarding(_)
        | Command::UnsnoozeOnboarding
        | Command::RemindOnboarding(_)
        | Command::CreateCustomer(_)
        | Command::ChangeCustomer(_)
        | Command::DeleteCustomer
        | Command::CreateUser(_)
        | Command::ChangeUser(_)
        | Command::DeleteUser => {}
    }
    if let Current::Record(Record::Onboarding(it)) = current {
        references.customer = facts.status_of(it).map(|status| (it.customer_id, status));
    }
    references.template = template.and_then(|named| facts.templates.get(&Ref::parse(named)).copied());
    references.users = named_users
        .into_iter()
        .filter_map(|named| Some((named.clone(), facts.user_named(named)?.id)))
        .collect();
    references
}

/// Names that must be unique, looked up in what the batch knows; the indexes hold the same law.
fn unique(record: &Record, facts: &Facts) -> Result<(), Refusal> {
    let taken = |code, field: &str, value: &str, owner: String| {
        let shown = usher_lifecycle::limits::excerpt(value);
        Err(Refusal::field(code, field, format!("{field} {shown} is taken by {owner}")))
    };
    match record {
        Record::Onboarding(it) => {
            if let Some(key) = &it.external_id
                && let Some(owner) =
                    facts.onboardings.get(&Ref::ExternalId(key.clone())).filter(|other| other.id != it.id)
            {
                return taken(Code::ExternalIdTaken, "external_id", key, owner.id.to_text());
            }
        }
        Record::Customer(it) => {
            if let Some(key) = &it.fields.external_id
                && let Some(owner) =
                    facts.customers.get(&Ref::ExternalId(key.clone())).filter(|other| other.id != it.id)
            {
                return taken(Code::ExternalIdTaken, "external_id", key, owner.id.to_text());
            }
            let alive = |other: &&usher_lifecycle::customer::Customer| {
                other.id != it.id && other.deleted_at.is_none()
            };
            if let Some(slug) = &it.fields.slug
                && let Some(owner) =
                    facts.customers.all().filter(alive).find(|other| other.fields.slug.as_ref() == Some(slug))
            {
                return taken(Code::SlugTaken, "slug", slug, owner.id.to_text());
            }
        }
        Record::User(it) => {
            if let Some(key) = &it.external_id
                && let Some(owner) =
                    facts.users.get(&Ref::ExternalId(key.clone())).filter(|other| other.id != it.id)
            {
                return taken(Code::ExternalIdTaken, "external_id", key, owner.id.to_text());
            }
            let alive =
                |other: &&usher_lifecycle::person::User| other.id != it.id && other.deleted_at.is_none();
            if let Some(owner) = facts.users.all().filter(alive).find(|other| other.email == it.email) {
                return taken(Code::EmailTaken, "email", &it.email, owner.id.to_text());
            }
        }
    }
    Ok(())
}
