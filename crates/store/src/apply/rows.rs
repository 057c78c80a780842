//! Records to rows: one bulk write and one writer per table.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use usher_lifecycle::{
    Onboarding,
    customer::{Contact, Customer},
    onboarding::Silent,
    person::User,
    template::Template,
};

use crate::db::{Arg, bulks};

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

    SAVE_CONTACTS = "contacts" (
        id: Text, workspace_id: Text, livemode: Bool, display_id: Int, customer_id: Text, name: Text, email: Text,
        title: Text, is_primary: Bool, labels: Json, external_id: Text, email_broken: Text, created_at: Time,
        updated_at: Time, version: Int, deleted_at: Time,
    ) "ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = excluded.email, title = excluded.title,
       is_primary = excluded.is_primary, labels = excluded.labels, external_id = excluded.external_id,
       email_broken = excluded.email_broken, updated_at = excluded.updated_at, version = excluded.version,
       deleted_at = excluded.deleted_at
       WHERE contacts.version < excluded.version";

    SAVE_TEMPLATES = "templates" (
        id: Text, workspace_id: Text, livemode: Bool, display_id: Int, name: Text, defaults: Json, created_at: Time,
        updated_at: Time, version: Int, deleted_at: Time,
    ) "ON CONFLICT (id) DO UPDATE SET name = excluded.name, defaults = excluded.defaults,
       updated_at = excluded.updated_at, version = excluded.version, deleted_at = excluded.deleted_at
       WHERE templates.version < excluded.version";

    SAVE_SCHEDULES = "schedules" (
        onboarding_id: Text, workspace_id: Text, slot: Date, due_at: Time, silent_since: Time, silent_reason: Text,
    ) "ON CONFLICT (onboarding_id) DO UPDATE SET slot = excluded.slot, due_at = excluded.due_at,
       silent_since = excluded.silent_since, silent_reason = excluded.silent_reason";

    HEED = "schedules" (onboarding_id: Text, heeded_at: Time)
      "UPDATE schedules SET heeded_at = v.heeded_at, unheeded = 0, escalated = 0 FROM {rows} v
       WHERE schedules.onboarding_id = v.onboarding_id";

    SAVE_REQUESTS = "reminder_requests" (
        id: Text, workspace_id: Text, livemode: Bool, onboarding_id: Text, channels: Json, requested_at: Time,
    ) "";
}

/// A row of `schedules`, for [`SAVE_SCHEDULES`].
pub(super) fn schedule_row(
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

pub(super) fn onboarding_row(it: &Onboarding) -> Vec<Arg> {
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

pub(super) fn customer_row(it: &Customer) -> Vec<Arg> {
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

pub(super) fn user_row(it: &User) -> Vec<Arg> {
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

pub(super) fn contact_row(it: &Contact) -> Vec<Arg> {
    vec![
        Arg::id(it.id),
        Arg::id(it.workspace_id),
        Arg::Bool(it.livemode),
        Arg::int(it.display_id),
        Arg::id(it.customer_id),
        Arg::text(&it.name),
        Arg::text(&it.email),
        Arg::Text(it.title.clone()),
        Arg::Bool(it.is_primary),
        Arg::Json(usher_lifecycle::wire::value(&it.labels)),
        Arg::Text(it.external_id.clone()),
        Arg::Text(it.email_broken.clone()),
        Arg::time(it.created_at),
        Arg::time(it.updated_at),
        Arg::int(it.version),
        Arg::Time(it.deleted_at),
    ]
}

pub(super) fn template_row(it: &Template) -> Vec<Arg> {
    vec![
        Arg::id(it.id),
        Arg::id(it.workspace_id),
        Arg::Bool(it.livemode),
        Arg::int(it.display_id),
        Arg::text(&it.name),
        Arg::Json(usher_lifecycle::wire::value(&it.defaults)),
        Arg::time(it.created_at),
        Arg::time(it.updated_at),
        Arg::int(it.version),
        Arg::Time(it.deleted_at),
    ]
}
