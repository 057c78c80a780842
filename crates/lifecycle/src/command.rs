//! What callers may ask for. Ids and references come inside; a reference is what the caller wrote (an id, a
//! `display_id`, an address), and [`References`] says what the store found for it.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use chrono::{DateTime, Utc};

use crate::{
    customer::{CustomerFields, CustomerStatus},
    id::{CustomerId, OnboardingId, TemplateId, UserId},
    onboarding::Role,
    person::Reach,
    phase::Phase,
    refusal::{Code, Refusal},
    reminder::Channel,
    state::State,
};

/// One request, over all aggregates.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Create an onboarding.
    CreateOnboarding(CreateOnboarding),
    /// Change fields of an onboarding.
    ChangeOnboarding(OnboardingPatch),
    /// Delete an onboarding; again is no change.
    DeleteOnboarding,
    /// Stop its reminders until then.
    SnoozeOnboarding(Snooze),
    /// End a snooze.
    UnsnoozeOnboarding,
    /// Send a reminder now, whatever the rhythm says; `None` = the onboarding's own channels.
    RemindOnboarding(Option<Vec<Channel>>),
    /// Create a customer.
    CreateCustomer(CreateCustomer),
    /// Change a customer.
    ChangeCustomer(CustomerPatch),
    /// Delete a customer; its onboardings are not found any more.
    DeleteCustomer,
    /// Create a member of the team.
    CreateUser(CreateUser),
    /// Change a member of the team.
    ChangeUser(UserPatch),
    /// Delete a member of the team.
    DeleteUser,
}

/// Which kind of record a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aggregate {
    /// An onboarding.
    Onboarding,
    /// A customer.
    Customer,
    /// A member of the team.
    User,
}

impl Command {
    /// Which kind of record it is about.
    pub const fn aggregate(&self) -> Aggregate {
        match self {
            Self::CreateOnboarding(_)
            | Self::ChangeOnboarding(_)
            | Self::DeleteOnboarding
            | Self::SnoozeOnboarding(_)
            | Self::UnsnoozeOnboarding
            | Self::RemindOnboarding(_) => Aggregate::Onboarding,
            Self::CreateCustomer(_) | Self::ChangeCustomer(_) | Self::DeleteCustomer => Aggregate::Customer,
            Self::CreateUser(_) | Self::ChangeUser(_) | Self::DeleteUser => Aggregate::User,
        }
    }

    /// Whether it deletes: then a record that is deleted already is no change, not a refusal.
    pub const fn is_delete(&self) -> bool {
        match self {
            Self::DeleteOnboarding | Self::DeleteCustomer | Self::DeleteUser => true,
            Self::CreateOnboarding(_)
            | Self::ChangeOnboarding(_)
            | Self::SnoozeOnboarding(_)
            | Self::UnsnoozeOnboarding
            | Self::RemindOnboarding(_)
            | Self::CreateCustomer(_)
            | Self::ChangeCustomer(_)
            | Self::CreateUser(_)
            | Self::ChangeUser(_) => false,
        }
    }
}

impl Aggregate {
    /// The name in the API and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Onboarding => "onboarding",
            Self::Customer => "customer",
            Self::User => "user",
        }
    }

    /// The code of a record of this kind that is not there.
    pub const fn not_found(self) -> Code {
        match self {
            Self::Onboarding => Code::OnboardingNotFound,
            Self::Customer => Code::CustomerNotFound,
            Self::User => Code::UserNotFound,
        }
    }
}

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
}

/// Until when reminders are to be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snooze {
    /// Until an instant in the future.
    Until(DateTime<Utc>),
    /// Until 00:00 local of today + so many days, 1 to 365.
    Days(u16),
}

/// The body of "create a customer".
#[derive(Debug, Clone, PartialEq)]
pub struct CreateCustomer {
    /// All fields.
    pub fields: CustomerFields,
}

/// A merge patch of a customer: the fields as they are to be, none = not given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CustomerPatch {
    /// Their name.
    pub name: Option<String>,
    /// Where the relation stands.
    pub status: Option<CustomerStatus>,
    /// Nullable texts by field name: slug, domain, plan, the foreign ids, `external_id`.
    pub texts: BTreeMap<&'static str, Option<String>>,
    /// Monthly recurring revenue.
    pub mrr: Option<Option<f64>>,
    /// Orders a month.
    pub monthly_orders: Option<Option<i64>>,
    /// Keys to set; null removes one.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The body of "create a user".
#[derive(Debug, Clone, PartialEq)]
pub struct CreateUser {
    /// Their name.
    pub name: String,
    /// Their address, lower-cased.
    pub email: String,
    /// Their Slack member id.
    pub slack_user_id: Option<String>,
    /// When and how they may be reached.
    pub reach: Reach,
    /// The caller's own key.
    pub external_id: Option<String>,
}

/// A merge patch of a user.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UserPatch {
    /// Their name.
    pub name: Option<String>,
    /// Their address, lower-cased.
    pub email: Option<String>,
    /// Their Slack member id.
    pub slack_user_id: Option<Option<String>>,
    /// Their zone.
    pub time_zone: Option<Option<String>>,
    /// Quiet hours.
    pub quiet_hours: Option<Option<crate::person::QuietHours>>,
    /// Days off.
    pub days_off: Option<crate::person::DaysOff>,
    /// Muted until.
    pub mute_until: Option<Option<DateTime<Utc>>>,
    /// Whether email may be used.
    pub email_enabled: Option<bool>,
    /// Whether Slack may be used.
    pub slack_enabled: Option<bool>,
    /// Whether they are still with us.
    pub active: Option<bool>,
    /// A channel that refused them for good, and why; `None` = it works again.
    pub broken: Option<(Channel, Option<String>)>,
    /// The caller's own key.
    pub external_id: Option<Option<String>>,
}

/// What the store found for the references of a command, and the ids for what it creates.
#[derive(Debug, Clone, Default)]
pub struct References {
    /// The customer of an onboarding that is created or changed.
    pub customer: Option<(CustomerId, CustomerStatus)>,
    /// The users that role fields name, by what the caller wrote.
    pub users: BTreeMap<String, UserId>,
    /// The template that is named.
    pub template: Option<TemplateId>,
    /// The number for a record that is created.
    pub display_id: i64,
    /// The random bits for the id of a record that is created.
    pub random: u128,
}

impl References {
    /// The user a role field names.
    pub fn user(&self, role: Role, named: &str) -> Result<UserId, Refusal> {
        self.users.get(named).copied().ok_or_else(|| {
            Refusal::field(
                Code::UnknownUser,
                role.field(),
                alloc::format!(
                    "{} names no user: {}; the id or e-mail address of a user is wanted",
                    role.field(),
                    crate::limits::excerpt(named)
                ),
            )
        })
    }

    /// The id of an onboarding that is created at `now`.
    pub fn onboarding_id(&self, now: DateTime<Utc>) -> OnboardingId {
        OnboardingId::new(now, self.random)
    }
}
