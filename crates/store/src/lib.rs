//! The one durable store of usher, on SQLite or Postgres, and the only write path.
//!
//! Callers never see an engine, a pool or a transaction: they hand in requests and get decisions back, or claim work
//! from one of the leased queues (schedules, deliveries, outbox) and report how it went.

mod apply;
mod bootstrap;
mod counters;
mod db;
mod deliveries;
mod error;
#[cfg(test)]
mod general_plans;
mod ids;
mod imports;
mod inbox;
mod keys;
mod metrics;
mod outbox;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod prepared;
mod reads;
mod records;
mod schedules;
mod store;
mod suspects;
mod workspaces;

pub use apply::{Applied, ApplyError, Dedupe, Outcome, Ref, Rehearsal, Request};
pub use bootstrap::{Bootstrap, Bootstrapped, check_secret};
pub use deliveries::{
    AttemptError, Claim, ClaimLimits, Delivery, Finish, Finished, LedgerRow, Status, UndeliveredFilter,
};
pub use error::StoreError;
#[cfg(feature = "seeded")]
pub use ids::seeded::seed;
pub use ids::{mint, random};
pub use imports::CustomerNames;
pub use inbox::{NewRejected, OutboxRejected, Rejected, RejectedFilter, ReplayState};
pub use keys::{ApiKey, KeySpec, NewKey};
pub use metrics::Readings;
pub use outbox::{OutboxEvent, ShardLease};
pub use reads::{BadCursor, Cursor, ListFilter, Listed, Page, TimelineRow};
pub use schedules::{
    Advance, DueSchedule, Escalated, LastEscalations, ManualRequest, PlanInput, PlanWrite, Situation,
};
pub use store::Store;
pub use usher_lifecycle::workspace::Workspace;
