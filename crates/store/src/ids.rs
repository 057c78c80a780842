//! Where randomness comes in: ids are minted here and handed to the rules.

use chrono::{DateTime, Utc};
use usher_lifecycle::{EventId, ReminderId};

/// Random bits for a new id.
pub fn random() -> u128 {
    #[cfg(feature = "seeded")]
    if let Some(bits) = seeded::next() {
        return bits;
    }
    rand::random()
}

/// Ids from a seed, for the whole process: a simulation's run can be had again, bit by bit.
#[cfg(feature = "seeded")]
pub(crate) mod seeded {
    use std::sync::atomic::{AtomicU64, Ordering};

    static STATE: AtomicU64 = AtomicU64::new(0);

    /// From here on ids come from the seed; 0 = from the system's randomness again.
    pub fn seed(seed: u64) {
        STATE.store(seed, Ordering::Relaxed);
    }

    /// `SplitMix64`, twice.
    pub(super) fn next() -> Option<u128> {
        let half = || {
            let state = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            u128::from(mixed ^ (mixed >> 31))
        };
        (STATE.load(Ordering::Relaxed) != 0).then(|| half() << 64 | half())
    }
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
