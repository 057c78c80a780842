//! The way out: reminders planned into the ledger, rendered and sent by email and Slack.

pub mod channel;
pub mod message;
