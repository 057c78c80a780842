//! What a batch writes: one statement per table.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use usher_lifecycle::{
    Onboarding, OnboardingId,
    customer::Customer,
    decide::{Decision, Record, RemindNow},
    event::{Event, EventKind},
    onboarding::Silent,
    person::User,
    reminder::schedule::Schedule,
};

use super::Request;
use crate::{
    db::{Arg, Tx, bulks},
    deliveries::{self, Delivery},
    error::StoreError,
    outbox::{self, NewEvent},
};

bulks! {
    SAVE_ONBOARDINGS = "onboardings" (
        id: Text, workspace_id: Text, livemode: Bool, display_id: Int, customer_id: Text, template_id: Text, phase: Text,
        state: Text, started_at: Time, completed_at: Time, target_launch_date: Time, csm_id: Text, se_id: Text,
        designer_id: Text, product_ops_id: Text, notes: Text, waiting_since: Time, wizard_completed_at: Time,
        reminder_email: Bool, reminder_slack: Bool, reminder_frequency_days: Int, snoozed_until: Time,
        external_id: Text, created_at: Time, updated_at: Time, version: Int, cadence_base: Date,
        phase_entered_at: Time, idle_since: Time, idle_seconds: Int, target_shifts: Int, deleted_at: Time,
    ) "ON CONFLICT (id) DO UPDATE SET template_id = excluded.template_id, phase = excluded.phase,
       state = excluded.state, started_at = excluded.started_at, completed_at = excluded.completed_at,
       target_launch_date = excluded.target_launch_date, csm_id = excluded.csm_id, se_id = excluded.se_id,
       designer_id = excluded.designer_id, product_ops_id = excluded.product_ops_id, notes = excluded.notes,
       waiting_since = excluded.waiting_since, wizard_completed_at = excluded.wizard_completed_at,
       reminder_email = excluded.reminder_email, reminder_slack = excluded.reminder_slack,
       reminder_frequency_days = excluded.reminder_frequency_days, snoozed_until = excluded.snoozed_until,
       external_id = excluded.external_id, updated_at = excluded.updated_at, version = excluded.version,
       cadence_base = excluded.cadence_base, phase_entered_at = excluded.phase_entered_at,
       idle_since = excluded.idle_since, idle_seconds = excluded.idle_seconds,
       target_shifts = excluded.target_shifts, deleted_at = excluded.deleted_at
       WHERE onboardings.version < excluded.version";

    SAVE_CUSTOMERS = "customers" (
        id: Text, workspace_id: Text, livemode: Bool, display_id: Int, name: Text, slug: Text, domain: Text,
        status: Text, plan: Text, mrr: Float, monthly_orders: Int, hubspot_company_id: Text, hubspot_deal_id: Text,
        stripe_customer_id: Text, intercom_company_id: Text, slack_channel_id: Text, external_id: Text,
        metadata: Json, created_at: Time, updated_at: Time, version: Int, deleted_at: Time,
    ) "ON CONFLICT (id) DO UPDATE SET name = excluded.name, slug = excluded.slug, domain = excluded.domain,
       status = excluded.status, plan = excluded.plan, mrr = excluded.mrr, monthly_orders = excluded.monthly_orders,
       hubspot_company_id = excluded.hubspot_company_id, hubspot_deal_id = excluded.hubspot_deal_id,
       stripe_customer_id = excluded.stripe_customer_id, intercom_company_id = excluded.intercom_company_id,
       slack_channel_id = excluded.slack_channel_id, external_id = excluded.external_id,
       metadata = excluded.metadata, updated_at = excluded.updated_at, version = excluded.version,
       deleted_at = excluded.deleted_at
       WHERE customers.version < excluded.version";

    SAVE_USERS = "users" (
        id: Text, workspace_id: Text, livemode: Bool, display_id: Int, name: Text, email: Text, slack_user_id: Text,
        reach: Json, active: Bool, external_id: Text, created_at: Time, updated_at: Time, version: Int,
        deleted_at: Time,
    ) "ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = excluded.email,
       slack_user_id = excluded.slack_user_id, reach = excluded.reach, active = excluded.active,
       external_id = excluded.external_id, updated_at = excluded.updated_at, version = excluded.version,
       deleted_at = excluded.deleted_at
       WHERE users.version < excluded.version";

    SAVE_SCHEDULES = "schedules" (
        onboarding_id: Text, workspace_id: Text, slot: Date, due_at: Time, silent_since: Time, silent_reason: Text,
    ) "ON CONFLICT (onboarding_id) DO UPDATE SET slot = excluded.slot, due_at = excluded.due_at,
       silent_since = excluded.silent_since, silent_reason = excluded.silent_reason";

    SAVE_REQUESTS = "reminder_requests" (
        id: Text, workspace_id: Text, livemode: Bool, onboarding_id: Text, channels: Json, requested_at: Time,
    ) "";
}

/// The rows a batch will write.
#[derive(Default)]
pub(super) struct Work {
    onboardings: HashMap<OnboardingId, Onboarding>,
    customers: HashMap<String, Customer>,
    users: HashMap<String, User>,
    schedules: HashMap<OnboardingId, Vec<Arg>>,
    gaps: Vec<(Delivery, DateTime<Utc>)>,
    requests: Vec<Vec<Arg>>,
    events: Vec<NewEvent>,
}

impl Work {
    pub(super) fn save(&mut self, record: Record) {
        match record {
            Record::Onboarding(it) => drop(self.onboardings.insert(it.id, it)),
            Record::Customer(it) => drop(self.customers.insert(it.id.to_text(), it)),
            Record::User(it) => drop(self.users.insert(it.id.to_text(), it)),
        }
    }

    pub(super) fn events(
        &mut self,
        request: &Request,
        decision: &Decision,
        object: &Value,
        now: DateTime<Utc>,
    ) {
        let (subject, onboarding) = match &decision.record {
            Record::Onboarding(it) => (it.id.to_text(), Some(it.id)),
            Record::Customer(it) => (it.id.to_text(), None),
            Record::User(it) => (it.id.to_text(), None),
        };
        for (ordinal, event) in (0_i64..).zip(&decision.events) {
            self.events.push(NewEvent {
                workspace_id: request.workspace_id,
                livemode: request.livemode,
                kind: event.kind,
                subject: subject.clone(),
                version: decision.record.version(),
                ordinal,
                onboarding_id: onboarding,
                at: now,
                data: event.data(object, &request.actor),
                traceparent: request.traceparent.clone(),
            });
        }
    }

    pub(super) fn schedule(&mut self, onboarding: &Onboarding, schedule: &Schedule, now: DateTime<Utc>) {
        let Schedule::Set { next, silent, gap } = schedule else { return };
        self.schedules.insert(
            onboarding.id,
            schedule_row(onboarding, next.map(|slot| slot.date), next.map(|slot| slot.due_at), *silent),
        );
        if let Some(gap) = gap {
            let row = Delivery::gap(onboarding, *gap, now);
            self.gaps.push((row, now));
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
        let wanted = self.onboardings.len() + self.customers.len() + self.users.len();
        // By the names that are unique, so that two transactions with the same names wait for each other in one order.
        let mut customers: Vec<&Customer> = self.customers.values().collect();
        customers.sort_by_key(|it| (&it.fields.external_id, &it.fields.slug));
        let mut users: Vec<&User> = self.users.values().collect();
        users.sort_by_key(|it| (&it.external_id, &it.email));
        let mut onboardings: Vec<&Onboarding> = self.onboardings.values().collect();
        onboardings.sort_by_key(|it| &it.external_id);
        let mut written = tx.bulk(&SAVE_CUSTOMERS, customers.into_iter().map(customer_row).collect()).await?;
        written += tx.bulk(&SAVE_USERS, users.into_iter().map(user_row).collect()).await?;
        written += tx.bulk(&SAVE_ONBOARDINGS, onboardings.into_iter().map(onboarding_row).collect()).await?;
        if usize::try_from(written) != Ok(wanted) {
            return Ok(true);
        }
        tx.bulk(&SAVE_SCHEDULES, self.schedules.into_values().collect()).await?;
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

/// A row of `schedules`, for [`SAVE_SCHEDULES`].
pub(crate) fn schedule_row(
    onboarding: &Onboarding,
    slot: Option<NaiveDate>,
    due_at: Option<DateTime<Utc>>,
    silent: Option<Silent>,
) -> Vec<Arg> {
    vec![
        Arg::id(onboarding.id),
        Arg::id(onboarding.workspace_id),
        Arg::Date(slot),
        Arg::Time(due_at),
        Arg::Time(silent.map(|it| it.since)),
        Arg::opt(silent.map(|it| it.reason)),
    ]
}

fn onboarding_row(it: &Onboarding) -> Vec<Arg> {
    vec![
        Arg::id(it.id),
        Arg::id(it.workspace_id),
        Arg::Bool(it.livemode),
        Arg::int(it.display_id),
        Arg::id(it.customer_id),
        Arg::opt(it.template_id),
        Arg::text(it.phase.as_str()),
        Arg::text(it.state.as_str()),
        Arg::time(it.started_at),
        Arg::Time(it.completed_at),
        Arg::Time(it.target_launch_date),
        Arg::opt(it.roles.csm),
        Arg::opt(it.roles.se),
        Arg::opt(it.roles.designer),
        Arg::opt(it.roles.product_ops),
        Arg::Text(it.notes.clone()),
        Arg::Time(it.waiting_since),
        Arg::Time(it.wizard_completed_at),
        Arg::Bool(it.reminder_email),
        Arg::Bool(it.reminder_slack),
        Arg::int(it.reminder_frequency_days.into()),
        Arg::Time(it.snoozed_until),
        Arg::Text(it.external_id.clone()),
        Arg::time(it.created_at),
        Arg::time(it.updated_at),
        Arg::int(it.version),
        Arg::Date(Some(it.hidden.cadence_base)),
        Arg::time(it.hidden.phase_entered_at),
        Arg::Time(it.hidden.idle_since),
        Arg::int(it.hidden.idle_seconds),
        Arg::int(it.hidden.target_shifts.into()),
        Arg::Time(it.hidden.deleted_at),
    ]
}

fn customer_row(it: &Customer) -> Vec<Arg> {
    let fields = &it.fields;
    vec![
        Arg::id(it.id),
        Arg::id(it.workspace_id),
        Arg::Bool(it.livemode),
        Arg::int(it.display_id),
        Arg::text(&fields.name),
        Arg::Text(fields.slug.clone()),
        Arg::Text(fields.domain.clone()),
        Arg::text(fields.status.as_str()),
        Arg::Text(fields.plan.clone()),
        Arg::Float(fields.mrr),
        Arg::Int(fields.monthly_orders),
        Arg::Text(fields.hubspot_company_id.clone()),
        Arg::Text(fields.hubspot_deal_id.clone()),
        Arg::Text(fields.stripe_customer_id.clone()),
        Arg::Text(fields.intercom_company_id.clone()),
        Arg::Text(fields.slack_channel_id.clone()),
        Arg::Text(fields.external_id.clone()),
        Arg::Json(Value::Object(fields.metadata.clone())),
        Arg::time(it.created_at),
        Arg::time(it.updated_at),
        Arg::int(it.version),
        Arg::Time(it.deleted_at),
    ]
}

fn user_row(it: &User) -> Vec<Arg> {
    vec![
        Arg::id(it.id),
        Arg::id(it.workspace_id),
        Arg::Bool(it.livemode),
        Arg::int(it.display_id),
        Arg::text(&it.name),
        Arg::text(&it.email),
        Arg::Text(it.slack_user_id.clone()),
        Arg::Json(usher_lifecycle::wire::value(&it.reach)),
        Arg::Bool(it.active),
        Arg::Text(it.external_id.clone()),
        Arg::time(it.created_at),
        Arg::time(it.updated_at),
        Arg::int(it.version),
        Arg::Time(it.deleted_at),
    ]
}
