//! What a batch writes: one statement per table.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde_json::Value;
use usher_lifecycle::{
    Onboarding, OnboardingId,
    customer::{Contact, Customer},
    decide::{Record, RemindNow},
    event::{Actor, Event, EventKind},
    person::User,
    reminder::{escalation::is_sign_of_life, schedule::Schedule},
    template::Template,
    workspace::Workspace,
};

use super::{
    Request,
    release::Released,
    rows::{
        HEED, SAVE_CONTACTS, SAVE_CUSTOMERS, SAVE_ONBOARDINGS, SAVE_REQUESTS, SAVE_SCHEDULES, SAVE_TEMPLATES,
        SAVE_USERS, contact_row, customer_row, onboarding_row, schedule_row, template_row, user_row,
    },
};
use crate::{
    db::{Arg, Tx},
    deliveries::{self, Delivery},
    error::StoreError,
    outbox::{self, NewEvent},
    workspaces,
};

/// The rows a batch will write.
#[derive(Default)]
pub(super) struct Work {
    pub(super) onboardings: HashMap<OnboardingId, Onboarding>,
    customers: HashMap<String, Customer>,
    users: HashMap<String, User>,
    pub(super) contacts: HashMap<String, Contact>,
    templates: HashMap<String, Template>,
    workspaces: HashMap<String, Workspace>,
    schedules: HashMap<OnboardingId, Vec<Arg>>,
    heeded: BTreeMap<OnboardingId, DateTime<Utc>>,
    gaps: Vec<(Delivery, DateTime<Utc>)>,
    requests: Vec<Vec<Arg>>,
    events: Vec<NewEvent>,
    pub(super) released: Released,
}

impl Work {
    pub(super) fn save(&mut self, record: Record) {
        match record {
            Record::Onboarding(it) => drop(self.onboardings.insert(it.id, it)),
            Record::Customer(it) => drop(self.customers.insert(it.id.to_text(), it)),
            Record::User(it) => drop(self.users.insert(it.id.to_text(), it)),
            Record::Contact(it) => drop(self.contacts.insert(it.id.to_text(), it)),
            Record::Template(it) => drop(self.templates.insert(it.id.to_text(), it)),
            Record::Workspace(it) => drop(self.workspaces.insert(it.id.to_text(), it)),
        }
    }

    pub(super) fn events(&mut self, request: &Request, record: &Record, events: &[Event], object: &Value) {
        let onboarding = match record {
            Record::Onboarding(it) => Some(it.id),
            Record::Customer(_)
            | Record::User(_)
            | Record::Contact(_)
            | Record::Template(_)
            | Record::Workspace(_) => None,
        };
        let subject = record.id();
        for (ordinal, event) in (0_i64..).zip(events) {
            self.events.push(NewEvent {
                workspace_id: request.workspace_id,
                livemode: request.livemode,
                kind: event.kind,
                subject: subject.clone(),
                version: record.version(),
                ordinal,
                onboarding_id: onboarding,
                at: record.updated_at(),
                data: event.data(object, &request.actor),
                traceparent: request.traceparent.clone(),
            });
        }
    }

    pub(super) fn schedule(&mut self, onboarding: &Onboarding, schedule: &Schedule, now: DateTime<Utc>) {
        let Schedule::Set { next, silent, gaps } = schedule else { return };
        self.schedules.insert(
            onboarding.id,
            schedule_row(onboarding, next.map(|slot| slot.date), next.map(|slot| slot.due_at), *silent),
        );
        for gap in gaps.iter().flatten() {
            let row = Delivery::gap(onboarding, *gap, now);
            self.gaps.push((row, now));
        }
    }

    /// Notes a sign of life: the count of unheeded reminders begins anew.
    pub(super) fn heed(
        &mut self,
        onboarding: &Onboarding,
        events: &[Event],
        actor: &Actor,
        now: DateTime<Utc>,
    ) {
        if is_sign_of_life(events, actor) {
            self.heeded.insert(onboarding.id, now);
        }
    }

    pub(super) fn remind(&mut self, onboarding: &Onboarding, remind: &RemindNow, now: DateTime<Utc>) {
        let channels = remind
            .channels
            .as_ref()
            .map(|channels| Value::from(channels.iter().map(|channel| channel.as_str()).collect::<Vec<_>>()));
        self.requests.push(vec![
            Arg::id(remind.id),
            Arg::id(onboarding.workspace_id),
            Arg::Bool(onboarding.livemode),
            Arg::id(onboarding.id),
            channels.map_or(Arg::Text(None), Arg::Json),
            Arg::time(now),
        ]);
    }

    /// Writes everything; true when a record changed under us, so that the batch must be decided anew.
    pub(super) async fn write(self, tx: &mut Tx) -> Result<bool, StoreError> {
        let wanted = self.onboardings.len()
            + self.customers.len()
            + self.users.len()
            + self.contacts.len()
            + self.templates.len()
            + self.workspaces.len();
        self.released.write(tx).await?;
        // By the names that are unique, so that two transactions with the same names wait for each other in one order.
        let mut customers: Vec<&Customer> = self.customers.values().collect();
        customers.sort_by_key(|it| (&it.fields.external_id, &it.fields.slug));
        let mut users: Vec<&User> = self.users.values().collect();
        users.sort_by_key(|it| (&it.external_id, &it.email));
        let mut onboardings: Vec<&Onboarding> = self.onboardings.values().collect();
        onboardings.sort_by_key(|it| &it.external_id);
        // Whoever loses the place of the primary contact first: the index knows one at a time.
        let mut contacts: Vec<&Contact> = self.contacts.values().collect();
        contacts.sort_by_key(|it| (it.is_primary, it.id));
        let mut written = tx.bulk(&SAVE_CUSTOMERS, customers.into_iter().map(customer_row).collect()).await?;
        written += tx.bulk(&SAVE_USERS, users.into_iter().map(user_row).collect()).await?;
        written += tx.bulk(&SAVE_CONTACTS, contacts.into_iter().map(contact_row).collect()).await?;
        written += tx.bulk(&SAVE_TEMPLATES, self.templates.values().map(template_row).collect()).await?;
        for it in self.workspaces.values() {
            written += workspaces::update(tx, it).await?;
        }
        written += tx.bulk(&SAVE_ONBOARDINGS, onboardings.into_iter().map(onboarding_row).collect()).await?;
        if usize::try_from(written) != Ok(wanted) {
            return Ok(true);
        }
        tx.bulk(&SAVE_SCHEDULES, self.schedules.into_values().collect()).await?;
        let heeded = self.heeded.into_iter().map(|(id, at)| vec![Arg::id(id), Arg::time(at)]);
        tx.bulk(&HEED, heeded.collect()).await?;
        tx.bulk(&SAVE_REQUESTS, self.requests).await?;
        let gaps: Vec<Delivery> = self.gaps.iter().map(|(row, _)| row.clone()).collect();
        let written = deliveries::insert(tx, &gaps).await?;
        let skipped = Event::plain(EventKind::ReminderSkipped);
        let told = self.gaps.iter().filter(|(row, _)| written.contains(&row.id.to_text()));
        let told: Vec<NewEvent> = told.map(|(row, at)| row.event(&skipped, *at)).collect();
        outbox::insert(tx, self.events.into_iter().chain(told).collect()).await?;
        Ok(false)
    }
}
