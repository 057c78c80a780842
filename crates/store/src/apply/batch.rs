//! One batch of requests in one transaction.
//!
//! Repeats are found first, then the records are loaded and locked, every request is decided in order, and what the
//! decisions say is written at the end, in one statement per table. If the database itself refuses (a unique index that
//! another process was faster on), everything is rolled back and the requests are applied one by one.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use usher_lifecycle::{
    Code, Command, Refusal, WorkspaceId,
    command::{Aggregate, CustomerPart},
    decide::{Book, Current, Decision, Record, decide},
    reminder::schedule::{Schedule, reschedule},
};

use super::{
    Applied, ApplyError, Outcome, Request, compose,
    facts::{Facts, group},
    look, remind_body,
    seen::Seen,
    sequence::{self, Sequences},
    write::Work,
};
use crate::{Store, StoreError, db::Tx};

/// Attempts at a batch that loses races; each loser has seen another one win.
pub(super) const ATTEMPTS: usize = 5;

pub(crate) type Timed = (Request, DateTime<Utc>);

pub(super) enum Failure {
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
    let begun = Instant::now();
    let answers = answers(store, requests).await;
    store.metrics().applied(&answers, begun.elapsed());
    answers
}

async fn answers(store: &Store, requests: Vec<Timed>) -> Vec<Result<Applied, ApplyError>> {
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
pub(super) fn refused_by_database(error: StoreError) -> ApplyError {
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
    let mut numbers = numbers(store, requests).await?;
    let mut tx = store.db().begin().await?;
    let Some(answers) = decide_all(&mut tx, requests, &mut numbers).await? else {
        tx.rollback().await?;
        return Err(Failure::Again(StoreError::Bug("a batch lost every race".into())));
    };
    tx.commit().await?;
    for ((request, _), left) in requests.iter().zip(numbers) {
        for (kind, number) in left.0 {
            store.counters().put((request.workspace_id, kind), [number]);
        }
    }
    Ok(answers)
}

/// Applies changes of records within a transaction that does more; none when another one was faster.
pub(crate) async fn within(
    tx: &mut Tx,
    requests: &[Timed],
) -> Result<Option<Vec<Result<Applied, Refusal>>>, StoreError> {
    decide_all(tx, requests, &mut []).await
}

/// Decides and writes the requests; none when somebody else was faster, and the transaction is of no use. A request
/// that creates records takes its numbers from those in its place.
pub(super) async fn decide_all(
    tx: &mut Tx,
    requests: &[Timed],
    numbers: &mut [Numbers],
) -> Result<Option<Vec<Result<Applied, Refusal>>>, StoreError> {
    let mut seen = Seen::load(tx, requests.iter().map(|(request, _)| request)).await?;
    let mut groups =
        group(requests.iter().enumerate(), |(_, (request, _))| (request.workspace_id, request.livemode));
    // Every transaction locks the groups in the same order.
    groups.sort_by_key(|(key, _)| *key);
    let (mut work, mut sequences) = (Work::default(), Sequences::default());
    let mut answers: Vec<Option<Result<Applied, Refusal>>> = requests.iter().map(|_| None).collect();
    for ((workspace, livemode), members) in groups {
        let named: Vec<&Request> = members.iter().map(|(_, (request, _))| request).collect();
        let mut facts = Facts::load(tx, workspace, livemode, &named).await?;
        if let Some(facts) = &facts {
            sequences.load(tx, workspace, &named, |it| look::subjects(it, facts)).await?;
        }
        for (place, (request, now)) in members {
            let answer = match (&mut facts, seen.before(request)) {
                (None, _) => Err(Refusal::new(Code::UnknownWorkspace, "there is no such workspace")),
                (Some(_), Some(before)) => before,
                (Some(facts), None) => {
                    let mut none = Numbers::default();
                    let numbers = numbers.get_mut(place).unwrap_or(&mut none);
                    one(request, *now, facts, numbers, &mut work, &mut sequences)
                }
            };
            if let Ok(applied) = &answer {
                seen.remember(request, applied, *now);
            }
            if let Some(slot) = answers.get_mut(place) {
                *slot = Some(answer);
            }
        }
        if let Some(facts) = &facts {
            work.release(facts);
        }
    }
    let refused = requests.iter().zip(&answers).filter(|(_, answer)| matches!(answer, Some(Err(_))));
    let refused: Vec<&Request> = refused.map(|((request, _), _)| request).collect();
    let raced = seen.overtaken(tx, &refused).await? || work.write(tx).await? || seen.write(tx).await?;
    sequences.write(tx).await?;
    Ok((!raced).then(|| answers.into_iter().flatten().collect()))
}

/// Numbers for what a request may create.
#[derive(Debug, Default)]
pub(super) struct Numbers(Vec<(Aggregate, i64)>);

impl Numbers {
    pub(super) fn take(&mut self, kind: Aggregate) -> i64 {
        let place = self.0.iter().position(|(of, _)| *of == kind);
        place.map_or(0, |place| self.0.remove(place).1)
    }
}

/// What the requests may create: the place of the request, where, and what.
fn creations(requests: &[Timed]) -> Vec<(usize, WorkspaceId, Aggregate)> {
    let mut wanted: Vec<(usize, WorkspaceId, Aggregate)> = Vec::new();
    for (place, (request, _)) in requests.iter().enumerate() {
        let mut want = |kind, count| wanted.extend((0..count).map(|_| (place, request.workspace_id, kind)));
        match &request.command {
            Command::Compose(composite) => {
                want(Aggregate::Customer, usize::from(matches!(composite.customer, CustomerPart::Upsert(_))));
                want(Aggregate::Contact, composite.contacts.len());
                want(Aggregate::Onboarding, usize::from(composite.onboarding.is_some()));
            }
            command => want(command.aggregate(), usize::from(request.target.is_none())),
        }
    }
    wanted
}

/// What each request may create gets a number below zero, which no counter gives: for records that do not stay.
pub(super) fn numbers_below_zero(requests: &[Timed], last: &mut i64) -> Vec<Numbers> {
    let mut numbers: Vec<Numbers> = requests.iter().map(|_| Numbers::default()).collect();
    for (place, _, kind) in creations(requests) {
        *last -= 1;
        if let Some(numbers) = numbers.get_mut(place) {
            numbers.0.push((kind, *last));
        }
    }
    numbers
}

/// What each request may create gets a number, in the places of the requests.
async fn numbers(store: &Store, requests: &[Timed]) -> Result<Vec<Numbers>, StoreError> {
    let mut numbers: Vec<Numbers> = requests.iter().map(|_| Numbers::default()).collect();
    for ((workspace, kind), places) in
        group(creations(requests).into_iter(), |(_, workspace, kind)| (*workspace, *kind))
    {
        let given = store.numbers(workspace, kind, places.len()).await?;
        for ((place, _, _), number) in places.into_iter().zip(given) {
            if let Some(numbers) = numbers.get_mut(place) {
                numbers.0.push((kind, number));
            }
        }
    }
    Ok(numbers)
}

/// Decides one request and takes its effects into the work and the facts.
fn one(
    request: &Request,
    now: DateTime<Utc>,
    facts: &mut Facts,
    numbers: &mut Numbers,
    work: &mut Work,
    sequences: &mut Sequences,
) -> Result<Applied, Refusal> {
    if let Command::Compose(composite) = &request.command {
        return compose::one(request, composite, now, facts, numbers, work, sequences);
    }
    if let Some(stale) = stale(request, request, facts, sequences) {
        return Ok(superseded(&stale));
    }
    let decision = decided(request, now, facts, numbers)?;
    let applied = finish(request, decision, facts, work, now);
    sequences.remember(request, &applied.id, now);
    Ok(applied)
}

/// What the rules say to a request that is about one record.
pub(super) fn decided(
    request: &Request,
    now: DateTime<Utc>,
    facts: &Facts,
    numbers: &mut Numbers,
) -> Result<Decision, Refusal> {
    let current = look::current(request, facts)?;
    if let (Some(expected), Current::Record(record)) = (request.expected_version, &current)
        && record.version() != expected
    {
        let found = record.version();
        return Err(Refusal::new(
            Code::VersionMismatch,
            format!("the record has version {found}, not {expected}; read it again and decide anew"),
        ));
    }
    let references = look::references(request, &current, facts, numbers);
    let book = Book { rules: &facts.rules, references: &references };
    let decision = decide(current, &request.command, book, now)?;
    look::unique(&decision.record, facts)?;
    Ok(decision)
}

/// Takes a decision into the work and the facts, and says what became of the request.
pub(super) fn finish(
    request: &Request,
    decision: Decision,
    facts: &mut Facts,
    work: &mut Work,
    now: DateTime<Utc>,
) -> Applied {
    let object = decision.record.object();
    let (id, version) = (decision.record.id(), decision.record.version());
    if let (Some(remind), Record::Onboarding(onboarding)) = (&decision.remind, &decision.record) {
        let body = remind_body(&remind.id.to_text(), &id, now).to_string();
        work.remind(onboarding, remind, now);
        return Applied { outcome: Outcome::Committed, id, version, body, status: None };
    }
    let outcome = if decision.events.is_empty() { Outcome::Unchanged } else { Outcome::Committed };
    if outcome == Outcome::Committed {
        commit(request, decision, &object, facts, work, now);
    }
    Applied { outcome, id, version, body: object.to_string(), status: None }
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
    work.events(request, &decision.record, &decision.events, object);
    for other in decision.also {
        let object = other.record.object();
        work.events(request, &other.record, std::slice::from_ref(&other.event), &object);
        work.save(other.record.clone());
        facts.remember(other.record);
    }
    if let Record::Onboarding(onboarding) = &decision.record {
        work.schedule(onboarding, &decision.schedule, now);
        work.heed(onboarding, &decision.events, &request.actor, now);
    }
    let customer = match &decision.record {
        Record::Customer(customer) => {
            Some((customer.id, customer.deleted_at.is_none().then_some(customer.fields.status)))
        }
        Record::Onboarding(_)
        | Record::User(_)
        | Record::Contact(_)
        | Record::Template(_)
        | Record::Workspace(_) => None,
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

/// The record that a request, or this part of it, is about, if a newer one of the same source was applied to it before.
pub(super) fn stale(
    request: &Request,
    part: &Request,
    facts: &Facts,
    sequences: &Sequences,
) -> Option<Record> {
    sequence::of(request)?;
    match look::current(part, facts).ok()? {
        Current::Record(record) => sequences.is_stale(request, &record.id()).then_some(record),
        Current::Nothing { .. } => None,
    }
}

/// The answer to what comes too late for this record.
pub(super) fn superseded(record: &Record) -> Applied {
    let (id, version, body) = (record.id(), record.version(), record.object().to_string());
    Applied { outcome: Outcome::Superseded, id, version, body, status: None }
}
