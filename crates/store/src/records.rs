//! Rows to records: one list of columns and one reader per table.

use usher_lifecycle::{
    Onboarding,
    customer::{Contact, Customer, CustomerFields},
    onboarding::{Hidden, Reminded, Roles, Silent},
    person::User,
    template::Template,
};

use crate::{db::Row, error::StoreError};

/// The columns of an onboarding with its schedule; `o` and `s` are the tables' aliases.
macro_rules! onboarding_columns {
    () => {
        "o.id, o.workspace_id, o.livemode, o.display_id, o.customer_id, o.template_id, o.phase, o.state, o.started_at, \
         o.completed_at, o.target_launch_date, o.csm_id, o.se_id, o.designer_id, o.product_ops_id, o.notes, \
         o.waiting_since, o.wizard_completed_at, o.reminder_email, o.reminder_slack, o.reminder_frequency_days, \
         o.snoozed_until, o.external_id, o.created_at, o.updated_at, o.version, o.cadence_base, o.phase_entered_at, \
         o.idle_since, o.idle_seconds, o.target_shifts, o.deleted_at, \
         s.slot, s.due_at, s.last_slot, s.last_reminded_at, s.silent_since, s.silent_reason, \
         s.unheeded, s.escalated"
    };
}

/// The columns of a customer.
macro_rules! customer_columns {
    () => {
        "id, workspace_id, livemode, display_id, name, slug, domain, status, plan, mrr, monthly_orders, \
         hubspot_company_id, hubspot_deal_id, stripe_customer_id, intercom_company_id, slack_channel_id, external_id, \
         metadata, created_at, updated_at, version, deleted_at"
    };
}

/// The columns of a user.
macro_rules! user_columns {
    () => {
        "id, workspace_id, livemode, display_id, name, email, slack_user_id, reach, active, external_id, created_at, \
         updated_at, version, deleted_at"
    };
}

/// The columns of a contact; `t` is the table's alias.
macro_rules! contact_columns {
    () => {
        "t.id, t.workspace_id, t.livemode, t.display_id, t.customer_id, t.name, t.email, t.title, t.is_primary, \
         t.labels, t.external_id, t.email_broken, t.created_at, t.updated_at, t.version, t.deleted_at"
    };
}

/// The columns of a template.
macro_rules! template_columns {
    () => {
        "id, workspace_id, livemode, display_id, name, defaults, created_at, updated_at, version, deleted_at"
    };
}

pub(crate) use {contact_columns, customer_columns, onboarding_columns, template_columns, user_columns};

fn small<T: TryFrom<i64>>(row: &Row, column: &'static str) -> Result<T, StoreError> {
    let value = row.int(column)?;
    T::try_from(value).map_err(|_| StoreError::decode(column, format!("{value} is out of range")))
}

pub(crate) fn onboarding(row: &Row) -> Result<Onboarding, StoreError> {
    let silent = match (row.opt_time("silent_since")?, row.parsed_opt("silent_reason")?) {
        (Some(since), Some(reason)) => Some(Silent { reason, since }),
        (Some(_) | None, _) => None,
    };
    Ok(Onboarding {
        id: row.parsed("id")?,
        workspace_id: row.parsed("workspace_id")?,
        livemode: row.bool("livemode")?,
        display_id: row.int("display_id")?,
        customer_id: row.parsed("customer_id")?,
        template_id: row.parsed_opt("template_id")?,
        phase: row.parsed("phase")?,
        state: row.parsed("state")?,
        started_at: row.time("started_at")?,
        completed_at: row.opt_time("completed_at")?,
        target_launch_date: row.opt_time("target_launch_date")?,
        roles: Roles {
            csm: row.parsed_opt("csm_id")?,
            se: row.parsed_opt("se_id")?,
            designer: row.parsed_opt("designer_id")?,
            product_ops: row.parsed_opt("product_ops_id")?,
        },
        notes: row.opt_text("notes")?,
        waiting_since: row.opt_time("waiting_since")?,
        wizard_completed_at: row.opt_time("wizard_completed_at")?,
        reminder_email: row.bool("reminder_email")?,
        reminder_slack: row.bool("reminder_slack")?,
        reminder_frequency_days: small(row, "reminder_frequency_days")?,
        snoozed_until: row.opt_time("snoozed_until")?,
        external_id: row.opt_text("external_id")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        version: row.int("version")?,
        hidden: Hidden {
            cadence_base: row.date("cadence_base")?,
            phase_entered_at: row.time("phase_entered_at")?,
            idle_since: row.opt_time("idle_since")?,
            idle_seconds: row.int("idle_seconds")?,
            target_shifts: small(row, "target_shifts")?,
            deleted_at: row.opt_time("deleted_at")?,
        },
        reminders: Reminded {
            next_reminder_at: row.opt_time("due_at")?,
            next_slot: row.opt_date("slot")?,
            last_reminded_at: row.opt_time("last_reminded_at")?,
            last_slot: row.opt_date("last_slot")?,
            silent,
            unheeded: small(row, "unheeded")?,
            escalated: small(row, "escalated")?,
        },
    })
}

pub(crate) fn customer(row: &Row) -> Result<Customer, StoreError> {
    Ok(Customer {
        id: row.parsed("id")?,
        workspace_id: row.parsed("workspace_id")?,
        livemode: row.bool("livemode")?,
        display_id: row.int("display_id")?,
        fields: CustomerFields {
            name: row.text("name")?,
            slug: row.opt_text("slug")?,
            domain: row.opt_text("domain")?,
            status: row.parsed("status")?,
            plan: row.opt_text("plan")?,
            mrr: row.opt_float("mrr")?,
            monthly_orders: row.opt_int("monthly_orders")?,
            hubspot_company_id: row.opt_text("hubspot_company_id")?,
            hubspot_deal_id: row.opt_text("hubspot_deal_id")?,
            stripe_customer_id: row.opt_text("stripe_customer_id")?,
            intercom_company_id: row.opt_text("intercom_company_id")?,
            slack_channel_id: row.opt_text("slack_channel_id")?,
            external_id: row.opt_text("external_id")?,
            metadata: row.document("metadata")?,
        },
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        version: row.int("version")?,
        deleted_at: row.opt_time("deleted_at")?,
    })
}

pub(crate) fn user(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: row.parsed("id")?,
        workspace_id: row.parsed("workspace_id")?,
        livemode: row.bool("livemode")?,
        display_id: row.int("display_id")?,
        name: row.text("name")?,
        email: row.text("email")?,
        slack_user_id: row.opt_text("slack_user_id")?,
        reach: row.document("reach")?,
        active: row.bool("active")?,
        external_id: row.opt_text("external_id")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        version: row.int("version")?,
        deleted_at: row.opt_time("deleted_at")?,
    })
}

pub(crate) fn contact(row: &Row) -> Result<Contact, StoreError> {
    Ok(Contact {
        id: row.parsed("id")?,
        workspace_id: row.parsed("workspace_id")?,
        livemode: row.bool("livemode")?,
        display_id: row.int("display_id")?,
        customer_id: row.parsed("customer_id")?,
        name: row.text("name")?,
        email: row.text("email")?,
        title: row.opt_text("title")?,
        is_primary: row.bool("is_primary")?,
        labels: row.document("labels")?,
        external_id: row.opt_text("external_id")?,
        email_broken: row.opt_text("email_broken")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        version: row.int("version")?,
        deleted_at: row.opt_time("deleted_at")?,
    })
}

pub(crate) fn template(row: &Row) -> Result<Template, StoreError> {
    Ok(Template {
        id: row.parsed("id")?,
        workspace_id: row.parsed("workspace_id")?,
        livemode: row.bool("livemode")?,
        display_id: row.int("display_id")?,
        name: row.text("name")?,
        defaults: row.document("defaults")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        version: row.int("version")?,
        deleted_at: row.opt_time("deleted_at")?,
    })
}
