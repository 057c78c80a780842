//! What callers may ask about an onboarding.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use chrono::{DateTime, Utc};

use super::Reference;
use crate::{onboarding::Role, phase::Phase, state::State};

/// The body of "create an onboarding". None = the template's value, else the default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CreateOnboarding {
    /// The customer: an id, a `display_id` or, over NATS, `external:<key>`.
    pub customer: String,
    /// The template, by id or `display_id`.
    pub template: Option<String>,
    /// `before_getting_started` by default.
    pub phase: Option<Phase>,
    /// `active` by default.
    pub state: Option<State>,
    /// Now by default; not in the future.
    pub started_at: Option<DateTime<Utc>>,
    /// When it is to launch.
    pub target_launch_date: Option<DateTime<Utc>>,
    /// Who gets which role: a user's id, `display_id` or address.
    pub roles: BTreeMap<Role, String>,
    /// Free text.
    pub notes: Option<String>,
    /// On by default.
    pub reminder_email: Option<bool>,
    /// On by default.
    pub reminder_slack: Option<bool>,
    /// 1 by default.
    pub reminder_frequency_days: Option<u16>,
    /// The caller's own key.
    pub external_id: Option<String>,
    /// The references as the caller wrote them: the first that names nothing is told. What is not listed comes last.
    pub order: Vec<Reference>,
}

/// A merge patch of an onboarding: `None` = not given, `Some(None)` = cleared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OnboardingPatch {
    /// Another template; changes nothing else.
    pub template: Option<Option<String>>,
    /// The new phase.
    pub phase: Option<Phase>,
    /// The new state.
    pub state: Option<State>,
    /// The same fact as the state `waiting`.
    pub waiting_on_customer: Option<bool>,
    /// When it began; not in the future. Renews the base of the rhythm.
    pub started_at: Option<DateTime<Utc>>,
    /// When it is to launch.
    pub target_launch_date: Option<Option<DateTime<Utc>>>,
    /// Who gets which role.
    pub roles: BTreeMap<Role, Option<String>>,
    /// Free text.
    pub notes: Option<Option<String>>,
    /// When the customer finished the wizard.
    pub wizard_completed_at: Option<Option<DateTime<Utc>>>,
    /// Reminders by email.
    pub reminder_email: Option<bool>,
    /// Reminders by Slack.
    pub reminder_slack: Option<bool>,
    /// The rhythm in days.
    pub reminder_frequency_days: Option<u16>,
    /// The caller's own key.
    pub external_id: Option<Option<String>>,
    /// Why; goes into the events.
    pub reason: Option<String>,
    /// The references as the caller wrote them: the first that names nothing is told.
    pub order: Vec<Reference>,
}

/// Until when reminders are to be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snooze {
    /// Until an instant in the future.
    Until(DateTime<Utc>),
    /// Until 00:00 local of today + so many days, 1 to 365.
    Days(u16),
}
