//! What callers may ask for. Ids and references come inside; a reference is what the caller wrote (an id, a
//! `display_id`, an address), and [`References`] says what the store found for it.

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};

use chrono::{DateTime, Utc};

use crate::{
    customer::{Contact, CustomerStatus},
    id::{CustomerId, OnboardingId, UserId},
    onboarding::Role,
    refusal::{Code, Refusal},
    reminder::Channel,
    template::Template,
};

mod onboarding;
mod records;

pub use self::{
    onboarding::{CreateOnboarding, OnboardingPatch, Snooze},
    records::{
        Composite, ContactPatch, CreateContact, CreateCustomer, CreateTemplate, CreateUser, CustomerPart,
        CustomerPatch, PolicyPatch, QuietHoursPatch, TemplatePatch, UserPatch, WorkspacePatch,
    },
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
    /// Create a contact of a customer.
    CreateContact(CreateContact),
    /// Change a contact.
    ChangeContact(ContactPatch),
    /// Delete a contact.
    DeleteContact,
    /// Create a template.
    CreateTemplate(CreateTemplate),
    /// Change a template; onboardings made from it stay as they are.
    ChangeTemplate(TemplatePatch),
    /// Delete a template; onboardings made from it stay as they are.
    DeleteTemplate,
    /// Change the workspace's name or rules.
    ChangeWorkspace(WorkspacePatch),
    /// A customer with contacts and an onboarding. The store decides its parts one by one.
    Compose(Box<Composite>),
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
    /// A contact of a customer.
    Contact,
    /// A template of defaults for new onboardings.
    Template,
    /// The workspace itself.
    Workspace,
}

impl Command {
    /// Which kind of record it is about, and its answer has.
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
            Self::CreateContact(_) | Self::ChangeContact(_) | Self::DeleteContact => Aggregate::Contact,
            Self::CreateTemplate(_) | Self::ChangeTemplate(_) | Self::DeleteTemplate => Aggregate::Template,
            Self::ChangeWorkspace(_) => Aggregate::Workspace,
            Self::Compose(it) => it.aggregate(),
        }
    }

    /// Whether it deletes: then a record that is deleted already is no change, not a refusal.
    pub const fn is_delete(&self) -> bool {
        match self {
            Self::DeleteOnboarding
            | Self::DeleteCustomer
            | Self::DeleteUser
            | Self::DeleteContact
            | Self::DeleteTemplate => true,
            Self::CreateOnboarding(_)
            | Self::ChangeOnboarding(_)
            | Self::SnoozeOnboarding(_)
            | Self::UnsnoozeOnboarding
            | Self::RemindOnboarding(_)
            | Self::CreateCustomer(_)
            | Self::ChangeCustomer(_)
            | Self::CreateUser(_)
            | Self::ChangeUser(_)
            | Self::CreateContact(_)
            | Self::ChangeContact(_)
            | Self::CreateTemplate(_)
            | Self::ChangeTemplate(_)
            | Self::ChangeWorkspace(_)
            | Self::Compose(_) => false,
        }
    }
}

impl Composite {
    /// The kind of its answer: the onboarding, else the last contact, else the customer.
    pub const fn aggregate(&self) -> Aggregate {
        if self.onboarding.is_some() {
            Aggregate::Onboarding
        } else if self.contacts.is_empty() {
            Aggregate::Customer
        } else {
            Aggregate::Contact
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
            Self::Contact => "contact",
            Self::Template => "template",
            Self::Workspace => "workspace",
        }
    }

    /// The code of a record of this kind that is not there.
    pub const fn not_found(self) -> Code {
        match self {
            Self::Onboarding => Code::OnboardingNotFound,
            Self::Customer => Code::CustomerNotFound,
            Self::User => Code::UserNotFound,
            Self::Contact => Code::ContactNotFound,
            Self::Template => Code::TemplateNotFound,
            Self::Workspace => Code::UnknownWorkspace,
        }
    }
}

/// A reference that a command may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// The customer of an onboarding.
    Customer,
    /// The template.
    Template,
    /// Who has a role.
    Role(Role),
}

/// What the store found for the references of a command, and the ids for what it creates.
#[derive(Debug, Clone, Default)]
pub struct References {
    /// The customer of an onboarding or contact that is created or changed.
    pub customer: Option<(CustomerId, CustomerStatus)>,
    /// The users that role fields and the template name, by what stands there.
    pub users: BTreeMap<String, UserId>,
    /// The template that is named.
    pub template: Option<Template>,
    /// The other living contacts of the customer, oldest first.
    pub contacts: Vec<Contact>,
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
