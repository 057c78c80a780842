//! The customer who is onboarded, and the contacts there.

use alloc::{string::String, vec::Vec};
use core::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    id::{ContactId, CustomerId, WorkspaceId},
    state::UnknownName,
};

/// A customer.
#[derive(Debug, Clone, PartialEq)]
pub struct Customer {
    /// Their id.
    pub id: CustomerId,
    /// The workspace they belong to.
    pub workspace_id: WorkspaceId,
    /// False for test records.
    pub livemode: bool,
    /// Their number within the workspace.
    pub display_id: i64,
    /// What the caller may set.
    pub fields: CustomerFields,
    /// When the record was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Grows by one per effective change.
    pub version: i64,
    /// When it was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// What callers may set on a customer.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomerFields {
    /// Their name.
    pub name: String,
    /// A short name for addresses, unique within workspace and mode.
    pub slug: Option<String>,
    /// Their internet domain.
    pub domain: Option<String>,
    /// Where the relation stands.
    pub status: CustomerStatus,
    /// What they bought.
    pub plan: Option<String>,
    /// Monthly recurring revenue.
    pub mrr: Option<f64>,
    /// Orders a month.
    pub monthly_orders: Option<i64>,
    /// Their company in `HubSpot`.
    pub hubspot_company_id: Option<String>,
    /// Their deal in `HubSpot`.
    pub hubspot_deal_id: Option<String>,
    /// Their Stripe customer.
    pub stripe_customer_id: Option<String>,
    /// Their Intercom company.
    pub intercom_company_id: Option<String>,
    /// The Slack channel shared with them; reminders never go there.
    pub slack_channel_id: Option<String>,
    /// The caller's own key.
    pub external_id: Option<String>,
    /// Whatever the caller wants to keep with the record.
    pub metadata: Map<String, Value>,
}

/// Where the relation with a customer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum CustomerStatus {
    /// Being onboarded (the default).
    Onboarding,
    /// Live.
    Active,
    /// In danger.
    AtRisk,
    /// Gone: no reminders.
    Churned,
    /// Put away: no reminders.
    Archived,
}

impl CustomerStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Onboarding, Self::Active, Self::AtRisk, Self::Churned, Self::Archived];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Onboarding => "onboarding",
            Self::Active => "active",
            Self::AtRisk => "at_risk",
            Self::Churned => "churned",
            Self::Archived => "archived",
        }
    }

    /// Whether onboardings of such a customer are reminded of.
    pub const fn is_reminded(self) -> bool {
        match self {
            Self::Onboarding | Self::Active | Self::AtRisk => true,
            Self::Churned | Self::Archived => false,
        }
    }
}

impl FromStr for CustomerStatus {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownName { allowed: "onboarding, active, at_risk, churned, archived" })
    }
}

/// A person at the customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Their id.
    pub id: ContactId,
    /// The workspace they belong to.
    pub workspace_id: WorkspaceId,
    /// False for test records.
    pub livemode: bool,
    /// Their number within the workspace.
    pub display_id: i64,
    /// The customer they belong to.
    pub customer_id: CustomerId,
    /// Their name.
    pub name: String,
    /// Their address, lower-cased, unique within the customer.
    pub email: String,
    /// Their title.
    pub title: Option<String>,
    /// The one who is written to; exactly one per customer that has contacts.
    pub is_primary: bool,
    /// Free labels.
    pub labels: Vec<String>,
    /// The caller's own key.
    pub external_id: Option<String>,
    /// Why email to them is known to fail, since a refusal for good; a new address clears it.
    pub email_broken: Option<String>,
    /// When the record was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Grows by one per effective change.
    pub version: i64,
    /// When it was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
}
