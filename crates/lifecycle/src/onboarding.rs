//! The onboarding: the aggregate that phases, states and reminders are about.

use alloc::string::String;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    id::{CustomerId, OnboardingId, TemplateId, UserId, WorkspaceId},
    phase::Phase,
    reminder::Reason,
    state::State,
};

/// One customer's onboarding, as the store holds it. Instants are UTC with microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onboarding {
    /// Its id.
    pub id: OnboardingId,
    /// The workspace it belongs to.
    pub workspace_id: WorkspaceId,
    /// False for test records: they cause nothing outside, ever.
    pub livemode: bool,
    /// Its number within the workspace, from 1, never reused.
    pub display_id: i64,
    /// The customer who is onboarded; never changes.
    pub customer_id: CustomerId,
    /// The template it was made from.
    pub template_id: Option<TemplateId>,
    /// Where it is.
    pub phase: Phase,
    /// Whether anything blocks.
    pub state: State,
    /// When the engagement began; at most `created_at`, unless changed later.
    pub started_at: DateTime<Utc>,
    /// When it entered `completed`.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it is to launch; none = no target.
    pub target_launch_date: Option<DateTime<Utc>>,
    /// Who is responsible.
    pub roles: Roles,
    /// Free text of the team; never shown to the customer.
    pub notes: Option<String>,
    /// Since when it waits on the customer; present exactly while the state is `waiting`.
    pub waiting_since: Option<DateTime<Utc>>,
    /// When the customer finished the wizard.
    pub wizard_completed_at: Option<DateTime<Utc>>,
    /// Whether reminders go out by email.
    pub reminder_email: bool,
    /// Whether reminders go out by Slack.
    pub reminder_slack: bool,
    /// The rhythm, 1 to 365 calendar days.
    pub reminder_frequency_days: u16,
    /// Until when no reminder is wanted.
    pub snoozed_until: Option<DateTime<Utc>>,
    /// The caller's own key, unique per workspace and mode.
    pub external_id: Option<String>,
    /// When the record was made.
    pub created_at: DateTime<Utc>,
    /// When a command last changed it.
    pub updated_at: DateTime<Utc>,
    /// Grows by exactly one per effective change, from 1.
    pub version: i64,
    /// What the rules need and the API does not show.
    pub hidden: Hidden,
    /// The schedule as it stands, outside the version.
    pub reminders: Reminded,
}

/// The people responsible, by role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles {
    /// Customer success manager.
    pub csm: Option<UserId>,
    /// Solution engineer.
    pub se: Option<UserId>,
    /// Designer.
    pub designer: Option<UserId>,
    /// Product operations.
    pub product_ops: Option<UserId>,
}

/// A role on an onboarding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Customer success manager.
    Csm,
    /// Solution engineer.
    Se,
    /// Designer.
    Designer,
    /// Product operations.
    ProductOps,
}

impl Role {
    /// All roles, in the order in which they are asked.
    pub const ALL: [Self; 4] = [Self::Csm, Self::Se, Self::Designer, Self::ProductOps];

    /// The name in policies and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csm => "csm",
            Self::Se => "se",
            Self::Designer => "designer",
            Self::ProductOps => "product_ops",
        }
    }

    /// The name for people, as it stands in messages.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Csm => "CSM",
            Self::Se => "SE",
            Self::Designer => "designer",
            Self::ProductOps => "product ops",
        }
    }

    /// The field of the API that carries it.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Csm => "csm_id",
            Self::Se => "se_id",
            Self::Designer => "designer_id",
            Self::ProductOps => "product_ops_id",
        }
    }
}

impl Roles {
    /// Who has the role.
    pub const fn get(&self, role: Role) -> Option<UserId> {
        match role {
            Role::Csm => self.csm,
            Role::Se => self.se,
            Role::Designer => self.designer,
            Role::ProductOps => self.product_ops,
        }
    }

    /// Gives the role to a person, or to nobody.
    pub const fn set(&mut self, role: Role, user: Option<UserId>) {
        match role {
            Role::Csm => self.csm = user,
            Role::Se => self.se = user,
            Role::Designer => self.designer = user,
            Role::ProductOps => self.product_ops = user,
        }
    }

    /// Everybody who has a role, in the order of [`Role::ALL`]; a person in two roles comes twice.
    pub fn people(&self) -> impl Iterator<Item = (Role, UserId)> + '_ {
        Role::ALL.into_iter().filter_map(|role| self.get(role).map(|user| (role, user)))
    }
}

/// Fields that the rules need and callers do not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// The date that the reminders' rhythm is counted from, in the policy's zone at the time it was set.
    pub cadence_base: NaiveDate,
    /// When the current phase began.
    pub phase_entered_at: DateTime<Utc>,
    /// Since when it is paused or waiting, while it is.
    pub idle_since: Option<DateTime<Utc>>,
    /// Seconds of finished pauses and waits within the current phase.
    pub idle_seconds: i64,
    /// Shifts of the target to later within the current phase.
    pub target_shifts: i32,
    /// When it was deleted; a deleted one is not found any more.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// What the schedule says about the onboarding: read with it, never part of its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reminded {
    /// The due time of the next reminder; none = none will come as things stand.
    pub next_reminder_at: Option<DateTime<Utc>>,
    /// The slot of the next reminder.
    pub next_slot: Option<NaiveDate>,
    /// When a reminder was last accepted by a channel.
    pub last_reminded_at: Option<DateTime<Utc>>,
    /// The slot last reminded.
    pub last_slot: Option<NaiveDate>,
    /// While slots pass unsent: since when and why.
    pub silent: Option<Silent>,
    /// Slots of the rhythm that were reminded since the last sign of life.
    pub unheeded: u32,
    /// The escalation since then: the `after_reminders` of the last step that was taken; 0 = none.
    pub escalated: u32,
}

/// A span in which slots pass unsent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silent {
    /// Why.
    pub reason: Reason,
    /// Since when.
    pub since: DateTime<Utc>,
}
