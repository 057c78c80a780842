//! A composite: a customer with contacts and an onboarding, several decisions in one transaction.
//!
//! Law: all of it or nothing. The parts are decided one after the other, each seeing the earlier ones; when one is
//! refused, what the earlier ones did is forgotten and the composite is refused, with the part in the field's path
//! (`customer.name`, `contacts.0.email`). It is one request: one message id, one answer (the onboarding's, else the last
//! contact's, else the customer's), though each record has events of its own.
//!
//! For callers: `Request { command: Command::Compose(..), target: None, dedupe: Dedupe::Inbox { .. }, .. }`. A customer
//! that is given whole is looked up by the first of `external_id`, `slug`, `domain` that it has, and needs one of them;
//! a contact by `external_id`, else by `email` among the customer's. What is there is changed like by a PATCH, what is not
//! is created and needs what a POST needs. With an `expected_version` the contacts have to be there, in that version.
//!
//! A part that comes too late in the sender's order (`sequence`) is left out and the others go on; if all are too late,
//! the composite is superseded.

use chrono::{DateTime, Utc};
use usher_lifecycle::{
    Code, Command, CustomerId, Refusal,
    command::{Composite, ContactPatch, CreateCustomer, CustomerPart, CustomerPatch},
    decide::{Decision, Record},
};

use super::{
    Applied, Dedupe, Outcome, Ref, Request,
    batch::{Numbers, decided, finish, stale, superseded},
    facts::{Facts, customer_ref},
    sequence::Sequences,
    write::Work,
};

/// Decides all parts, then takes them into the work; or leaves work and facts as they were.
pub(super) fn one(
    request: &Request,
    composite: &Composite,
    now: DateTime<Utc>,
    facts: &mut Facts,
    numbers: &mut Numbers,
    work: &mut Work,
    sequences: &mut Sequences,
) -> Result<Applied, Refusal> {
    facts.journal = Some(Vec::new());
    let mut parts = Parts { request, now, facts, numbers, sequences, done: Vec::new() };
    let outcome = parts.all(composite);
    let done = parts.done;
    match outcome {
        Ok(()) => facts.journal = None,
        Err(refusal) => {
            facts.undo();
            return Err(refusal);
        }
    }
    let mut answer: Option<Applied> = None;
    for part in done {
        let mut applied = match part {
            Part::Decided(part, decision) => {
                let applied = finish(&part, *decision, facts, work, now);
                sequences.remember(request, &applied.id, now);
                applied
            }
            Part::Stale(record) => superseded(&record),
        };
        // One outcome of all: what changed something outweighs what did not, and that what came too late.
        let before = answer.map_or(Outcome::Superseded, |it| it.outcome);
        if before == Outcome::Committed || applied.outcome == Outcome::Superseded {
            applied.outcome = before;
        }
        answer = Some(applied);
    }
    answer.ok_or_else(|| Refusal::new(Code::MissingField, "the command has nothing in it"))
}

/// A part of a composite, as far as it came.
enum Part {
    Decided(Request, Box<Decision>),
    /// It comes too late for this record.
    Stale(Record),
}

struct Parts<'a> {
    request: &'a Request,
    now: DateTime<Utc>,
    facts: &'a mut Facts,
    numbers: &'a mut Numbers,
    sequences: &'a Sequences,
    done: Vec<Part>,
}

impl Parts<'_> {
    fn all(&mut self, composite: &Composite) -> Result<(), Refusal> {
        let customer = self.customer(&composite.customer)?;
        for (place, patch) in composite.contacts.iter().enumerate() {
            self.contact(customer, patch).map_err(|refusal| {
                // One contact that is the whole command: its fields are those of the command.
                if composite.is_one_contact() {
                    refusal
                } else {
                    within(&format!("contacts.{place}"), refusal)
                }
            })?;
        }
        if let Some(create) = &composite.onboarding {
            let mut create = create.clone();
            create.customer = customer.to_text();
            self.decide(Command::CreateOnboarding(create), None, None)?;
        }
        Ok(())
    }

    fn customer(&mut self, part: &CustomerPart) -> Result<CustomerId, Refusal> {
        let found = self.facts.customer_meant(part).map(|it| it.id);
        match (part, found) {
            (CustomerPart::Named(_), Some(id)) => Ok(id),
            (CustomerPart::Named(named), None) => Err(Refusal {
                field: Some("customer_id".into()),
                ..Refusal::not_found(Code::CustomerNotFound, "customer", &customer_ref(named))
            }),
            (CustomerPart::Upsert(patch), found) => {
                self.upsert(patch, found).map_err(|refusal| within("customer", refusal))
            }
        }
    }

    fn upsert(&mut self, patch: &CustomerPatch, found: Option<CustomerId>) -> Result<CustomerId, Refusal> {
        if let Some(id) = found {
            self.decide(Command::ChangeCustomer(patch.clone()), Some(id.to_text()), None)?;
            return Ok(id);
        }
        let is_named = |name| patch.texts.get(name).is_some_and(Option::is_some);
        if !["external_id", "slug", "domain"].into_iter().any(is_named) {
            let message = "external_id is missing; it says which customer is meant, or slug or domain";
            return Err(Refusal::field(Code::MissingField, "external_id", message));
        }
        let fields = patch.clone().into_new()?;
        let id = self.decide(Command::CreateCustomer(CreateCustomer { fields }), None, None)?;
        id.parse().map_err(|_| Refusal::new(Code::CustomerNotFound, "the customer has no id"))
    }

    fn contact(&mut self, customer: CustomerId, patch: &ContactPatch) -> Result<(), Refusal> {
        let found = self.facts.contact_meant(customer, patch).map(|it| it.id.to_text());
        let expected = self.request.expected_version;
        let (command, found) = match found {
            Some(id) => (Command::ChangeContact(patch.clone()), Some(id)),
            // Whoever knows a version means a record that is there.
            None if expected.is_some() => {
                let key = patch.external_id.clone().flatten().or_else(|| patch.email.clone());
                let which = Ref::ExternalId(key.unwrap_or_default());
                return Err(Refusal::not_found(Code::ContactNotFound, "contact", &which));
            }
            None => (Command::CreateContact(patch.clone().into_new(customer.to_text())?), None),
        };
        self.decide(command, found, expected).map(drop)
    }

    /// Decides one part and takes it into the facts, unless it comes too late; the id of its record.
    fn decide(
        &mut self,
        command: Command,
        target: Option<String>,
        expected_version: Option<i64>,
    ) -> Result<String, Refusal> {
        let part = Request {
            workspace_id: self.request.workspace_id,
            livemode: self.request.livemode,
            command,
            target: target.map(Ref::Id),
            actor: self.request.actor.clone(),
            dedupe: Dedupe::None,
            expected_version,
            traceparent: self.request.traceparent.clone(),
        };
        if let Some(record) = stale(self.request, &part, self.facts, self.sequences) {
            let id = record.id();
            self.done.push(Part::Stale(record));
            return Ok(id);
        }
        let decision = decided(&part, self.now, self.facts, self.numbers)?;
        self.facts.remember(decision.record.clone());
        for other in &decision.also {
            self.facts.remember(other.record.clone());
        }
        let id = decision.record.id();
        self.done.push(Part::Decided(part, Box::new(decision)));
        Ok(id)
    }
}

/// The refusal of a part, with its path from the top.
fn within(part: &str, mut refusal: Refusal) -> Refusal {
    let path = refusal.field.map_or_else(|| part.to_owned(), |field| format!("{part}.{field}"));
    refusal.field = Some(path);
    refusal
}
