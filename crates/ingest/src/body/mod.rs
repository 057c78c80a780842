//! From JSON to commands: what callers may write, over HTTP and NATS alike.
//!
//! Laws: whatever the bytes are, the answer is a command or a [`Refusal`](usher_lifecycle::Refusal), never a panic; the
//! first fault in document order is the one reported, with its path; a fault that needs the store or the clock (an
//! unknown user, a date in the future) is not looked for here, `lifecycle` finds it.

mod contact;
mod customer;
mod field;
mod json;
mod onboarding;
mod template;
#[cfg(test)]
mod tests;
mod user;
mod workspace;

pub use contact::{create_contact, patch_contact};
pub(crate) use customer::KNOWN as CUSTOMER;
pub use customer::{create_customer, patch_customer};
pub use json::parse_json;
pub(crate) use onboarding::CREATE as ONBOARDING;
pub use onboarding::{create_onboarding, patch_onboarding, remind, snooze};
pub use template::{create_template, patch_template};
pub use user::{create_user, patch_user};
pub use workspace::patch_workspace;
