//! Contacts of a customer.
//!
//! Law: a customer that has contacts has exactly one primary one. The first is; a new one takes the place over; when the
//! primary one goes or steps back, the oldest other takes it. Who gains or loses the place changes too, in the same
//! transaction and with an event of its own.

use alloc::{string::ToString, vec, vec::Vec};

use chrono::{DateTime, Utc};
use serde_json::{Map, json};

use super::{Also, Book, Decision, Record, changed_fields, moment};
use crate::{
    command::{ContactPatch, CreateContact},
    customer::Contact,
    event::{Event, EventKind},
    id::{ContactId, WorkspaceId},
    refusal::{Code, Refusal},
    wire,
};

pub(super) fn create(
    create: &CreateContact,
    workspace_id: WorkspaceId,
    livemode: bool,
    book: Book<'_>,
    now: DateTime<Utc>,
) -> Result<Decision, Refusal> {
    let (customer_id, _) = book
        .references
        .customer
        .ok_or_else(|| Refusal::not_found(Code::CustomerNotFound, "customer", &create.customer))?;
    let mut contact = Contact {
        id: ContactId::new(now, book.references.random),
        workspace_id,
        livemode,
        display_id: book.references.display_id,
        customer_id,
        name: create.name.clone(),
        email: create.email.clone(),
        title: create.title.clone(),
        is_primary: create.is_primary.unwrap_or(false),
        labels: create.labels.clone(),
        external_id: create.external_id.clone(),
        email_broken: None,
        created_at: now,
        updated_at: now,
        version: 1,
        deleted_at: None,
    };
    let also = settle(&mut contact, book, now);
    let events = vec![Event::plain(EventKind::ContactCreated)];
    Ok(Decision { also, ..Decision::plain(Record::Contact(contact), events) })
}

pub(super) fn change(before: Contact, patch: &ContactPatch, book: Book<'_>, now: DateTime<Utc>) -> Decision {
    let mut after = before.clone();
    apply(&mut after, patch);
    let also = settle(&mut after, book, now);
    let object = |it: &Contact| wire::value(&wire::ContactObject::from(it));
    let changed = changed_fields(&object(&before), &object(&after));
    if changed.is_empty() {
        return Decision::plain(Record::Contact(before), Vec::new());
    }
    after.version += 1;
    after.updated_at = moment(before.updated_at, now);
    let event = Event { kind: EventKind::ContactUpdated, previous: Some(changed), extra: Map::new() };
    Decision { also, ..Decision::plain(Record::Contact(after), vec![event]) }
}

pub(super) fn remove(mut it: Contact, book: Book<'_>, now: DateTime<Utc>) -> Decision {
    if it.deleted_at.is_some() {
        return Decision::plain(Record::Contact(it), Vec::new());
    }
    it.updated_at = moment(it.updated_at, now);
    it.deleted_at = Some(it.updated_at);
    it.version += 1;
    let also = settle(&mut it, book, now);
    let events = vec![Event::plain(EventKind::ContactDeleted)];
    Decision { also, ..Decision::plain(Record::Contact(it), events) }
}

fn apply(contact: &mut Contact, patch: &ContactPatch) {
    if let Some(name) = &patch.name {
        contact.name.clone_from(name);
    }
    // A new address may work where the old one was refused for good.
    if let Some(email) = &patch.email
        && *email != contact.email
    {
        contact.email.clone_from(email);
        contact.email_broken = None;
    }
    if let Some(title) = &patch.title {
        contact.title.clone_from(title);
    }
    if let Some(primary) = patch.is_primary {
        contact.is_primary = primary;
    }
    if let Some(labels) = &patch.labels {
        contact.labels.clone_from(labels);
    }
    if let Some(external_id) = &patch.external_id {
        contact.external_id.clone_from(external_id);
    }
    if let Some(broken) = &patch.email_broken {
        contact.email_broken.clone_from(broken);
    }
}

/// Makes exactly one primary among the contact, which may want to be it, and the others; the others that change.
fn settle(contact: &mut Contact, book: Book<'_>, now: DateTime<Utc>) -> Vec<Also> {
    let others = &book.references.contacts;
    let stays = contact.deleted_at.is_none();
    let other = others.iter().find(|it| it.is_primary).or(others.first());
    let other = other.filter(|_| !(stays && contact.is_primary));
    contact.is_primary = stays && other.is_none();
    let holder = other.map(|it| it.id);
    let changed = others.iter().filter(|it| it.is_primary != (Some(it.id) == holder));
    changed.map(|it| told(it.clone(), Some(it.id) == holder, now)).collect()
}

/// The other contact that gains or loses the place.
fn told(mut it: Contact, is_primary: bool, now: DateTime<Utc>) -> Also {
    let previous = Map::from_iter([("is_primary".to_string(), json!(it.is_primary))]);
    it.is_primary = is_primary;
    it.version += 1;
    it.updated_at = moment(it.updated_at, now);
    let event = Event { kind: EventKind::ContactUpdated, previous: Some(previous), extra: Map::new() };
    Also { record: Record::Contact(it), event }
}
