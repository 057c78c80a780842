//! The rule book of usher: what an onboarding is, which change is legal, which events follow, when the next
//! reminder is due, to whom, and whether a planned one is still wanted.
//!
//! Everything here is pure. There is no clock (`now` is an argument), no I/O, no randomness (ids come inside the
//! command) and no async. The crate is `no_std`, so that the compiler holds this law; time zone data is bundled.
#![cfg_attr(not(any(test, feature = "schema")), no_std)]
#![deny(clippy::wildcard_enum_match_arm)]

extern crate alloc;

pub mod command;
pub mod customer;
pub mod decide;
pub mod event;
pub mod id;
pub mod json;
pub mod limits;
pub mod measure;
pub mod onboarding;
pub mod person;
pub mod phase;
pub mod refusal;
pub mod reminder;
pub mod scope;
pub mod state;
pub mod template;
pub mod wire;
pub mod workspace;

pub use command::Command;
pub use decide::{Book, Current, Decision, Record, decide};
pub use id::{
    ContactId, CustomerId, EventId, KeyId, OnboardingId, ReminderId, TemplateId, UserId, WorkspaceId,
};
pub use onboarding::Onboarding;
pub use phase::Phase;
pub use refusal::{Code, Refusal};
pub use scope::Scope;
pub use state::State;
