//! A template: what new onboardings get where their creation says nothing.

use alloc::{collections::BTreeMap, string::String};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    id::{TemplateId, UserId, WorkspaceId},
    onboarding::Role,
    phase::Phase,
};

/// A template. An onboarding takes its values once, when it is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its id.
    pub id: TemplateId,
    /// The workspace it belongs to.
    pub workspace_id: WorkspaceId,
    /// False for test records.
    pub livemode: bool,
    /// Its number within the workspace.
    pub display_id: i64,
    /// Its name.
    pub name: String,
    /// What it gives.
    pub defaults: Defaults,
    /// When the record was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Grows by one per effective change.
    pub version: i64,
    /// When it was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// What a template gives to new onboardings; none = nothing. Stored as one JSON document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Defaults {
    /// Reminders by email.
    pub reminder_email: Option<bool>,
    /// Reminders by Slack.
    pub reminder_slack: Option<bool>,
    /// The rhythm, 1 to 365 days.
    pub reminder_frequency_days: Option<u16>,
    /// Who gets which role. A user who is deleted by then does not.
    pub roles: BTreeMap<Role, UserId>,
    /// Days of 24 hours from `started_at` to the target.
    pub target_days: Option<u16>,
    /// Days that a phase is to take. Kept for reports; no rule reads it.
    pub phase_target_days: BTreeMap<Phase, u16>,
}
