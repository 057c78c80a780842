//! The decision: what a command means for a record, as the rules of the workspace have it.
//!
//! Laws, held by the property tests: a refused command changes nothing; the version grows by exactly one per effective
//! change, and `updated_at` with it whatever the clock says; a command without an effective change writes nothing;
//! `completed` absorbs; `waiting` <=> `waiting_since`.

mod change;
mod contact;
mod create;
mod customer;
mod remove;
mod template;
mod user;
mod workspace;

use alloc::{string::String, vec::Vec};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::{
    command::{Command, References},
    customer::{Contact, Customer},
    event::Event,
    id::{ReminderId, WorkspaceId},
    onboarding::Onboarding,
    person::User,
    refusal::Refusal,
    reminder::{Channel, Rules, schedule::Schedule},
    template::Template,
    wire,
    workspace::Workspace,
};

/// A record of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// An onboarding.
    Onboarding(Onboarding),
    /// A customer.
    Customer(Customer),
    /// A member of the team.
    User(User),
    /// A contact of a customer.
    Contact(Contact),
    /// A template.
    Template(Template),
    /// The workspace.
    Workspace(Workspace),
}

/// What a command is applied to.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives for one decision; a box would be an allocation for nothing"
)]
pub enum Current {
    /// Nothing yet: the command creates.
    Nothing {
        /// Where the record is to live.
        workspace_id: WorkspaceId,
        /// False for test records.
        livemode: bool,
    },
    /// The record as it stands.
    Record(Record),
}

/// What a command does.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The record as it is to stand.
    pub record: Record,
    /// What happened, in order; empty = no effective change, nothing is to be written.
    pub events: Vec<Event>,
    /// What becomes of the onboarding's reminders.
    pub schedule: Schedule,
    /// A reminder that is to be sent now.
    pub remind: Option<RemindNow>,
    /// What else changes with it: the contact that gains or loses the place of the primary one.
    pub also: Vec<Also>,
}

/// Another record that a decision changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Also {
    /// The record as it is to stand.
    pub record: Record,
    /// What happened to it.
    pub event: Event,
}

/// A reminder that is to be sent now; planned and sent by the same code as a due one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemindNow {
    /// Its id, also its slot in the ledger.
    pub id: ReminderId,
    /// The channels asked for; none = the onboarding's own.
    pub channels: Option<Vec<Channel>>,
}

/// What the rules need beside the record.
#[derive(Debug, Clone, Copy)]
pub struct Book<'a> {
    /// What the workspace decides.
    pub rules: &'a Rules,
    /// What the command's references name.
    pub references: &'a References,
}

/// Decides what `command` does to `current` at `now`.
///
/// # Errors
/// The refusal, with the code and the field at fault; nothing is to be written then.
pub fn decide(
    current: Current,
    command: &Command,
    book: Book<'_>,
    now: DateTime<Utc>,
) -> Result<Decision, Refusal> {
    let now = now.trunc_subsecs(6);
    if let Current::Record(record) = &current
        && record.is_deleted()
        && !command.is_delete()
    {
        return Err(Refusal::new(command.aggregate().not_found(), "the record was deleted"));
    }
    match (command, current) {
        (Command::CreateOnboarding(create), Current::Nothing { workspace_id, livemode }) => {
            create::onboarding(create, workspace_id, livemode, book, now)
        }
        (Command::CreateCustomer(create), Current::Nothing { workspace_id, livemode }) => {
            Ok(customer::create(create, workspace_id, livemode, book, now))
        }
        (Command::CreateUser(create), Current::Nothing { workspace_id, livemode }) => {
            Ok(user::create(create, workspace_id, livemode, book, now))
        }
        (Command::ChangeOnboarding(patch), Current::Record(Record::Onboarding(before))) => {
            change::onboarding(before, patch, book, now)
        }
        (Command::SnoozeOnboarding(snooze), Current::Record(Record::Onboarding(before))) => {
            change::snooze(before, *snooze, book, now)
        }
        (Command::UnsnoozeOnboarding, Current::Record(Record::Onboarding(before))) => {
            Ok(change::unsnooze(before, book, now))
        }
        (Command::RemindOnboarding(channels), Current::Record(Record::Onboarding(before))) => {
            change::remind(before, channels.as_deref(), book, now)
        }
        (Command::DeleteOnboarding, Current::Record(Record::Onboarding(before))) => {
            Ok(remove::onboarding(before, book, now))
        }
        (Command::ChangeCustomer(patch), Current::Record(Record::Customer(before))) => {
            customer::change(before, patch, now)
        }
        (Command::DeleteCustomer, Current::Record(Record::Customer(before))) => {
            Ok(remove::customer(before, now))
        }
        (Command::ChangeUser(patch), Current::Record(Record::User(before))) => {
            user::change(before, patch, now)
        }
        (Command::DeleteUser, Current::Record(Record::User(before))) => Ok(remove::user(before, now)),
        (Command::CreateContact(create), Current::Nothing { workspace_id, livemode }) => {
            contact::create(create, workspace_id, livemode, book, now)
        }
        (Command::ChangeContact(patch), Current::Record(Record::Contact(before))) => {
            Ok(contact::change(before, patch, book, now))
        }
        (Command::DeleteContact, Current::Record(Record::Contact(before))) => {
            Ok(contact::remove(before, book, now))
        }
        (Command::CreateTemplate(create), Current::Nothing { workspace_id, livemode }) => {
            template::create(create, workspace_id, livemode, book, now)
        }
        (Command::ChangeTemplate(patch), Current::Record(Record::Template(before))) => {
            template::change(before, patch, book, now)
        }
        (Command::DeleteTemplate, Current::Record(Record::Template(before))) => {
            Ok(template::remove(before, now))
        }
        (Command::ChangeWorkspace(patch), Current::Record(Record::Workspace(before))) => {
            workspace::change(before, patch, now)
        }
        (
            Command::CreateOnboarding(_)
            | Command::CreateCustomer(_)
            | Command::CreateUser(_)
            | Command::ChangeOnboarding(_)
            | Command::SnoozeOnboarding(_)
            | Command::UnsnoozeOnboarding
            | Command::RemindOnboarding(_)
            | Command::DeleteOnboarding
            | Command::ChangeCustomer(_)
            | Command::DeleteCustomer
            | Command::ChangeUser(_)
            | Command::DeleteUser
            | Command::CreateContact(_)
            | Command::ChangeContact(_)
            | Command::DeleteContact
            | Command::CreateTemplate(_)
            | Command::ChangeTemplate(_)
            | Command::DeleteTemplate
            | Command::ChangeWorkspace(_)
            | Command::Compose(_),
            Current::Nothing { .. } | Current::Record(_),
        ) => Err(Refusal::new(command.aggregate().not_found(), "the command does not fit the record")),
    }
}

impl Decision {
    /// A decision about a record that has no reminders of its own.
    const fn plain(record: Record, events: Vec<Event>) -> Self {
        Self { record, events, schedule: Schedule::Keep, remind: None, also: Vec::new() }
    }
}

impl Record {
    /// The object as the API returns it.
    pub fn object(&self) -> Value {
        match self {
            Self::Onboarding(it) if self.is_deleted() => wire::deleted(&it.id.to_text(), it.display_id),
            Self::Customer(it) if self.is_deleted() => wire::deleted(&it.id.to_text(), it.display_id),
            Self::User(it) if self.is_deleted() => wire::deleted(&it.id.to_text(), it.display_id),
            Self::Contact(it) if self.is_deleted() => wire::deleted(&it.id.to_text(), it.display_id),
            Self::Template(it) if self.is_deleted() => wire::deleted(&it.id.to_text(), it.display_id),
            Self::Onboarding(it) => wire::value(&wire::OnboardingObject::from(it)),
            Self::Customer(it) => wire::value(&wire::CustomerObject::from(it)),
            Self::User(it) => wire::value(&wire::UserObject::from(it)),
            Self::Contact(it) => wire::value(&wire::ContactObject::from(it)),
            Self::Template(it) => wire::value(&wire::TemplateObject::from(it)),
            Self::Workspace(it) => wire::value(&wire::WorkspaceObject::from(it)),
        }
    }

    /// Whether it was deleted; a deleted one is not found any more.
    pub const fn is_deleted(&self) -> bool {
        match self {
            Self::Onboarding(it) => it.hidden.deleted_at.is_some(),
            Self::Customer(it) => it.deleted_at.is_some(),
            Self::User(it) => it.deleted_at.is_some(),
            Self::Contact(it) => it.deleted_at.is_some(),
            Self::Template(it) => it.deleted_at.is_some(),
            Self::Workspace(_) => false,
        }
    }

    /// Its id.
    pub fn id(&self) -> String {
        match self {
            Self::Onboarding(it) => it.id.to_text(),
            Self::Customer(it) => it.id.to_text(),
            Self::User(it) => it.id.to_text(),
            Self::Contact(it) => it.id.to_text(),
            Self::Template(it) => it.id.to_text(),
            Self::Workspace(it) => it.id.to_text(),
        }
    }

    /// When it was last changed; its latest events happened then.
    pub const fn updated_at(&self) -> DateTime<Utc> {
        match self {
            Self::Onboarding(it) => it.updated_at,
            Self::Customer(it) => it.updated_at,
            Self::User(it) => it.updated_at,
            Self::Contact(it) => it.updated_at,
            Self::Template(it) => it.updated_at,
            Self::Workspace(it) => it.updated_at,
        }
    }

    /// Its version.
    pub const fn version(&self) -> i64 {
        match self {
            Self::Onboarding(it) => it.version,
            Self::Customer(it) => it.version,
            Self::User(it) => it.version,
            Self::Contact(it) => it.version,
            Self::Template(it) => it.version,
            Self::Workspace(it) => it.version,
        }
    }
}

/// When a change happens to a record that was last changed at `last`: at `now`, but never before or with that change.
/// Processes take `now` before they wait for the record, and may get it in another order; the times of a record's
/// versions and events still grow with the version. What is asked of the calendar goes by `now` itself.
fn moment(last: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    last.checked_add_signed(TimeDelta::microseconds(1)).map_or(now, |after| after.max(now))
}

/// The fields whose values differ between two objects, with the values before; bookkeeping fields left out.
fn changed_fields(before: &Value, after: &Value) -> Map<String, Value> {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else { return Map::new() };
    before
        .iter()
        .filter(|(name, value)| {
            after.get(*name) != Some(value)
                && !["version", "updated_at", "next_reminder_at", "last_reminded_at"].contains(&name.as_str())
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
