//! The people of the team: who may hold a role, and how and when each may be reached.

use alloc::{string::String, vec::Vec};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc, Weekday};
use serde::{Deserialize, Serialize};

use crate::id::{UserId, WorkspaceId};

/// A member of the team. A deactivated one stays referenced and gets nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// The workspace they belong to.
    pub workspace_id: WorkspaceId,
    /// False for test records.
    pub livemode: bool,
    /// Their number within the workspace.
    pub display_id: i64,
    /// Their name as it stands in messages.
    pub name: String,
    /// Their address, lower-cased, unique within the workspace and mode.
    pub email: String,
    /// Their Slack member id (`U...`).
    pub slack_user_id: Option<String>,
    /// When and how they may be reached.
    pub reach: Reach,
    /// False once deactivated.
    pub active: bool,
    /// The caller's own key.
    pub external_id: Option<String>,
    /// When the record was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Grows by one per effective change.
    pub version: i64,
    /// When it was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// When and how a person may be reached. Stored as one JSON document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reach {
    /// Their zone, a name of the tz database; none = the workspace's.
    pub time_zone: Option<String>,
    /// No messages from..to, local time; `from` later than `to` spans midnight.
    pub quiet_hours: Option<QuietHours>,
    /// Weekdays and dates without messages.
    pub days_off: DaysOff,
    /// No messages at all before this instant.
    pub mute_until: Option<DateTime<Utc>>,
    /// Whether email may be used.
    pub email_enabled: bool,
    /// Whether Slack may be used.
    pub slack_enabled: bool,
    /// Why email to them is known to fail, since a refusal for good.
    pub email_broken: Option<String>,
    /// Why Slack to them is known to fail.
    pub slack_broken: Option<String>,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            time_zone: None,
            quiet_hours: None,
            days_off: DaysOff::default(),
            mute_until: None,
            email_enabled: true,
            slack_enabled: true,
            email_broken: None,
            slack_broken: None,
        }
    }
}

/// A span of local time without messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// First quiet minute.
    #[serde(with = "crate::reminder::policy::hh_mm")]
    pub from: NaiveTime,
    /// First minute that is quiet no more.
    #[serde(with = "crate::reminder::policy::hh_mm")]
    pub to: NaiveTime,
}

/// Days without messages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DaysOff {
    /// Every such weekday.
    #[serde(with = "crate::reminder::policy::weekdays")]
    pub weekdays: Vec<Weekday>,
    /// Single dates.
    pub dates: Vec<NaiveDate>,
}
