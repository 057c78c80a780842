//! Where randomness comes in: ids are minted here and handed to the rules.

use chrono::{DateTime, Utc};
use usher_lifecycle::{EventId, ReminderId};

/// Random bits for a new id.
pub fn random() -> u128 {
    rand::random()
}

/// A token that proves a claim: whoever finishes must show it.
pub(crate) fn token() -> String {
    format!("{:032x}", random())
}

/// Mints ids outside of a command.
pub mod mint {
    use super::{DateTime, EventId, ReminderId, Utc, random};

    /// An event's id.
    pub fn event(now: DateTime<Utc>) -> EventId {
        EventId::new(now, random())
    }

    /// A delivery's id.
    pub fn reminder(now: DateTime<Utc>) -> ReminderId {
        ReminderId::new(now, random())
    }
}
