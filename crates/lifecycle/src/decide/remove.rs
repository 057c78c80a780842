//! Deleting: a soft delete, one event; a second one is no change.

use alloc::{vec, vec::Vec};

use chrono::{DateTime, Utc};

use super::{Book, Decision, Record, moment};
use crate::{
    customer::Customer,
    event::{Event, EventKind},
    onboarding::Onboarding,
    person::User,
    reminder::schedule,
};

pub(super) fn onboarding(mut it: Onboarding, book: Book<'_>, now: DateTime<Utc>) -> Decision {
    if it.hidden.deleted_at.is_some() {
        return Decision::plain(Record::Onboarding(it), Vec::new());
    }
    it.updated_at = moment(it.updated_at, now);
    it.hidden.deleted_at = Some(it.updated_at);
    it.version += 1;
    let customer = book.references.customer.map(|(_, status)| status);
    let schedule = schedule::reschedule(book.rules, &mut it, customer, now);
    Decision {
        record: Record::Onboarding(it),
        events: vec![Event::plain(EventKind::OnboardingDeleted)],
        schedule,
        remind: None,
        also: Vec::new(),
    }
}

pub(super) fn customer(mut it: Customer, now: DateTime<Utc>) -> Decision {
    let mut events = Vec::new();
    if it.deleted_at.is_none() {
        it.updated_at = moment(it.updated_at, now);
        it.deleted_at = Some(it.updated_at);
        it.version += 1;
        events.push(Event::plain(EventKind::CustomerDeleted));
    }
    Decision::plain(Record::Customer(it), events)
}

pub(super) fn user(mut it: User, now: DateTime<Utc>) -> Decision {
    let mut events = Vec::new();
    if it.deleted_at.is_none() {
        it.updated_at = moment(it.updated_at, now);
        it.deleted_at = Some(it.updated_at);
        it.active = false;
        it.version += 1;
        events.push(Event::plain(EventKind::UserDeleted));
    }
    Decision::plain(Record::User(it), events)
}
