//! The way in: what upstream systems ask for, read, checked for form, and handed to the store.

pub mod asyncapi;
pub mod body;
pub mod http;
pub mod import;
pub mod intake;
pub mod outlook;
pub mod relay;
