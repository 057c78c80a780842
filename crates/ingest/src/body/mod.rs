//! From JSON to commands: what callers may write, over HTTP and NATS alike.
//!
//! Laws: whatever the bytes are, the answer is a command or a [`Refusal`](usher_lifecycle::Refusal), never a panic; the
//! first fault in document order is the one reported, with its path; a fault that needs the store or the clock (an
//! unknown user, a date in the future) is not looked for here: `lifecycle` finds it, in a body whose form is right, and
//! the command says in which order the references stood.

mod composite;
mod contact;
mod customer;
mod field;
mod key;
mod onboarding;
mod template;
#[cfg(test)]
mod tests;
mod user;
mod workspace;

pub(crate) use composite::{CONTACTS, is_composite};
pub use composite::{contact_of, onboarding_with};
pub(crate) use contact::KNOWN as CONTACT;
pub use contact::{create_contact, patch_contact};
pub(crate) use customer::KNOWN as CUSTOMER;
pub use customer::{create_customer, patch_customer};
pub(crate) use field::COUNT;
pub(crate) use key::OVERLAP;
pub use key::{create_api_key, rotate_api_key};
pub(crate) use onboarding::CREATE as ONBOARDING;
pub use onboarding::{create_onboarding, patch_onboarding, remind, snooze};
pub use template::{create_template, patch_template};
pub use user::{create_user, patch_user};
pub use usher_lifecycle::json::parse_json;
pub use workspace::patch_workspace;

/// The fields of each body by the name of its schema.
#[cfg(test)]
pub(crate) const KNOWN_FIELDS: &[(&str, &[&str])] = &[
    ("OnboardingCreate", &onboarding::CREATE),
    ("OnboardingUpdate", &onboarding::PATCH),
    ("CustomerCreate", &customer::KNOWN),
    ("CustomerUpdate", &customer::KNOWN),
    ("UserCreate", &user::KNOWN),
    ("UserUpdate", &user::KNOWN),
    ("ContactCreate", &contact::KNOWN),
    ("ContactUpdate", &contact::KNOWN),
    ("TemplateCreate", &template::KNOWN),
    ("TemplateUpdate", &template::KNOWN),
    ("WorkspaceUpdate", &workspace::KNOWN),
    ("ApiKeyCreate", &key::CREATE),
];
