//! How often each message has failed its handler while the store answered. Deliveries that failed because the store was
//! away do not count, so the number of deliveries that NATS tells is no measure.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use usher_bus::StreamFacts;

/// Failures after which a message is given up.
const MOST: u32 = 5;
/// Messages remembered; a failing message that another replica settled is forgotten with the rest.
const REMEMBERED: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Strikes(HashMap<(DateTime<Utc>, u64), u32>);

/// What to do with a message that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strike {
    /// Try again after this time.
    Again(Duration),
    /// It is poison.
    Out,
}

impl Strikes {
    /// Counts a failure.
    pub(super) fn count(&mut self, stream: &StreamFacts) -> Strike {
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        let strikes = self.0.entry(key(stream)).or_default();
        *strikes += 1;
        if *strikes >= MOST {
            return Strike::Out;
        }
        // 1, 4, 16 and 60 seconds: whatever is wrong has some time to pass.
        Strike::Again(Duration::from_secs(60.min(4_u64.pow(*strikes - 1))))
    }

    /// The message is settled.
    pub(super) fn forget(&mut self, stream: &StreamFacts) {
        if !self.0.is_empty() {
            self.0.remove(&key(stream));
        }
    }
}

const fn key(stream: &StreamFacts) -> (DateTime<Utc>, u64) {
    (stream.created, stream.sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_failure_is_the_last() {
        let message = |sequence| StreamFacts { name: "S".into(), created: DateTime::UNIX_EPOCH, sequence };
        let mut strikes = Strikes::default();
        let again = |seconds| Strike::Again(Duration::from_secs(seconds));
        let counted: Vec<_> = (0..5).map(|_| strikes.count(&message(1))).collect();
        assert_eq!(counted, [again(1), again(4), again(16), again(60), Strike::Out]);
        assert_eq!(strikes.count(&message(2)), again(1), "each message for itself");
        strikes.forget(&message(2));
        assert_eq!(strikes.count(&message(2)), again(1));
    }
}
