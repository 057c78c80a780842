//! The wire form of each object, defined once: what the API returns and what events carry.

use alloc::{string::String, vec::Vec};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    customer::{Customer, CustomerStatus},
    onboarding::Onboarding,
    person::{DaysOff, QuietHours, User},
    phase::Phase,
    state::State,
};

mod records;

pub use self::records::{ContactObject, TemplateObject, WorkspaceObject};

/// An onboarding as callers see it: the 23 fields of the public contract, then usher's own.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = Onboarding))]
#[expect(missing_docs, reason = "the fields are described at the aggregate and in docs/api.md")]
#[expect(clippy::struct_excessive_bools, reason = "the public contract has them")]
pub struct OnboardingObject {
    /// Always `onboarding`.
    #[cfg_attr(feature = "schema", schema(value_type = OnboardingTag))]
    pub object: &'static str,
    pub id: String,
    pub display_id: i64,
    pub customer_id: String,
    #[cfg_attr(feature = "schema", schema(required))]
    pub template_id: Option<String>,
    pub phase: Phase,
    pub state: State,
    pub started_at: DateTime<Utc>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub completed_at: Option<DateTime<Utc>>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub target_launch_date: Option<DateTime<Utc>>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub csm_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub se_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub designer_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub product_ops_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub notes: Option<String>,
    pub waiting_on_customer: bool,
    #[cfg_attr(feature = "schema", schema(required))]
    pub waiting_on_customer_since: Option<DateTime<Utc>>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub wizard_completed_at: Option<DateTime<Utc>>,
    pub reminder_email: bool,
    pub reminder_slack: bool,
    pub reminder_frequency_days: u16,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// The due time of the next reminder; null when none will come as things stand.
    #[cfg_attr(feature = "schema", schema(required))]
    pub next_reminder_at: Option<DateTime<Utc>>,
    /// When a reminder was last accepted by a channel.
    #[cfg_attr(feature = "schema", schema(required))]
    pub last_reminded_at: Option<DateTime<Utc>>,
    /// Until when reminders are snoozed.
    #[cfg_attr(feature = "schema", schema(required))]
    pub snoozed_until: Option<DateTime<Utc>>,
    /// The caller's own key.
    #[cfg_attr(feature = "schema", schema(required))]
    pub external_id: Option<String>,
    /// False for test records.
    pub livemode: bool,
    /// Grows by one per effective change; also the `ETag`.
    pub version: i64,
}

/// The constant of the `object` field.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = OnboardingObject))]
pub enum OnboardingTag {
    /// `onboarding`
    Onboarding,
}

impl From<&Onboarding> for OnboardingObject {
    fn from(it: &Onboarding) -> Self {
        Self {
            object: "onboarding",
            id: it.id.into(),
            display_id: it.display_id,
            customer_id: it.customer_id.into(),
            template_id: it.template_id.map(Into::into),
            phase: it.phase,
            state: it.state,
            started_at: it.started_at,
            completed_at: it.completed_at,
            target_launch_date: it.target_launch_date,
            csm_id: it.roles.csm.map(Into::into),
            se_id: it.roles.se.map(Into::into),
            designer_id: it.roles.designer.map(Into::into),
            product_ops_id: it.roles.product_ops.map(Into::into),
            notes: it.notes.clone(),
            waiting_on_customer: it.waiting_since.is_some(),
            waiting_on_customer_since: it.waiting_since,
            wizard_completed_at: it.wizard_completed_at,
            reminder_email: it.reminder_email,
            reminder_slack: it.reminder_slack,
            reminder_frequency_days: it.reminder_frequency_days,
            created_at: it.created_at,
            updated_at: it.updated_at,
            next_reminder_at: it.reminders.next_reminder_at,
            last_reminded_at: it.reminders.last_reminded_at,
            snoozed_until: it.snoozed_until,
            external_id: it.external_id.clone(),
            livemode: it.livemode,
            version: it.version,
        }
    }
}

/// A customer as callers see it.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = Customer))]
#[expect(missing_docs, reason = "the fields are described at the aggregate and in docs/api.md")]
pub struct CustomerObject {
    pub object: &'static str,
    pub id: String,
    pub display_id: i64,
    pub name: String,
    #[cfg_attr(feature = "schema", schema(required))]
    pub slug: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub domain: Option<String>,
    pub status: CustomerStatus,
    #[cfg_attr(feature = "schema", schema(required))]
    pub plan: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub mrr: Option<f64>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub monthly_orders: Option<i64>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub hubspot_company_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub hubspot_deal_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub stripe_customer_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub intercom_company_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub slack_channel_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub external_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub metadata: Map<String, Value>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub livemode: bool,
    pub version: i64,
}

impl From<&Customer> for CustomerObject {
    fn from(it: &Customer) -> Self {
        let fields = it.fields.clone();
        Self {
            object: "customer",
            id: it.id.into(),
            display_id: it.display_id,
            name: fields.name,
            slug: fields.slug,
            domain: fields.domain,
            status: fields.status,
            plan: fields.plan,
            mrr: fields.mrr,
            monthly_orders: fields.monthly_orders,
            hubspot_company_id: fields.hubspot_company_id,
            hubspot_deal_id: fields.hubspot_deal_id,
            stripe_customer_id: fields.stripe_customer_id,
            intercom_company_id: fields.intercom_company_id,
            slack_channel_id: fields.slack_channel_id,
            external_id: fields.external_id,
            metadata: fields.metadata,
            created_at: it.created_at,
            updated_at: it.updated_at,
            livemode: it.livemode,
            version: it.version,
        }
    }
}

/// A member of the team as callers see them.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = User))]
#[expect(missing_docs, reason = "the fields are described at the aggregate and in docs/api.md")]
#[expect(clippy::struct_excessive_bools, reason = "three switches and the mode, each a field of the API")]
pub struct UserObject {
    pub object: &'static str,
    pub id: String,
    pub display_id: i64,
    pub name: String,
    pub email: String,
    #[cfg_attr(feature = "schema", schema(required))]
    pub slack_user_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub time_zone: Option<String>,
    #[cfg_attr(feature = "schema", schema(required, value_type = Option<Object>))]
    pub quiet_hours: Option<QuietHours>,
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub days_off: Vec<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub mute_until: Option<DateTime<Utc>>,
    pub email_enabled: bool,
    pub slack_enabled: bool,
    /// Why email to them failed for good; null while it works.
    #[cfg_attr(feature = "schema", schema(required))]
    pub email_broken: Option<String>,
    /// Why Slack to them failed for good; null while it works.
    #[cfg_attr(feature = "schema", schema(required))]
    pub slack_broken: Option<String>,
    pub active: bool,
    #[cfg_attr(feature = "schema", schema(required))]
    pub external_id: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub livemode: bool,
    pub version: i64,
}

impl From<&User> for UserObject {
    fn from(it: &User) -> Self {
        let reach = it.reach.clone();
        Self {
            object: "user",
            id: it.id.into(),
            display_id: it.display_id,
            name: it.name.clone(),
            email: it.email.clone(),
            slack_user_id: it.slack_user_id.clone(),
            time_zone: reach.time_zone,
            quiet_hours: reach.quiet_hours,
            days_off: reach.days_off.names(),
            mute_until: reach.mute_until,
            email_enabled: reach.email_enabled,
            slack_enabled: reach.slack_enabled,
            email_broken: reach.email_broken,
            slack_broken: reach.slack_broken,
            active: it.active,
            external_id: it.external_id.clone(),
            created_at: it.created_at,
            updated_at: it.updated_at,
            livemode: it.livemode,
            version: it.version,
        }
    }
}

/// An API key as callers see it; the secret is in the answer that made it, and nowhere else.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = ApiKey))]
#[expect(missing_docs, reason = "docs/api.md describes the fields")]
pub struct ApiKeyObject {
    pub object: &'static str,
    pub id: String,
    pub name: String,
    /// How the secret begins.
    pub prefix: String,
    /// False: it sees and writes test records only.
    pub livemode: bool,
    /// What it may do: `*` is everything.
    pub scopes: Vec<String>,
    /// Requests in any 60 seconds; null is the default, 0 no limit.
    #[cfg_attr(feature = "schema", schema(required))]
    pub rate_limit: Option<i64>,
    pub created_at: DateTime<Utc>,
    /// Until when it is valid; null is until it is revoked.
    #[cfg_attr(feature = "schema", schema(required))]
    pub expires_at: Option<DateTime<Utc>>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub revoked_at: Option<DateTime<Utc>>,
    /// May lag behind by some seconds, as the two that follow.
    #[cfg_attr(feature = "schema", schema(required))]
    pub last_used_at: Option<DateTime<Utc>>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub last_used_from: Option<String>,
    pub request_count: i64,
}

impl DaysOff {
    /// Weekdays (`mon`) and dates (`2026-12-24`), as callers write and see them.
    pub fn names(&self) -> Vec<String> {
        use alloc::string::ToString;
        let weekdays =
            self.weekdays.iter().map(|day| crate::reminder::policy::weekdays::name(*day).to_string());
        weekdays.chain(self.dates.iter().map(ToString::to_string)).collect()
    }
}

/// A deleted record as callers see it.
pub fn deleted(id: &str, display_id: i64) -> Value {
    json!({"object": "deleted", "id": id, "display_id": display_id, "deleted": true})
}

/// Any object as JSON. The objects above always serialise.
pub fn value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap_or(Value::Null)
}
