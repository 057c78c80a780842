//! How often each message has failed while the store answered. Deliveries that failed because the store was away do not
//! count, so the number of deliveries that NATS tells is no measure.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use usher_bus::StreamFacts;

/// Waits in seconds after a message has failed its handler; the fifth failure is the last. Whatever is wrong has some
/// time to pass.
const FAILED: &[u64] = &[1, 4, 16, 60];
/// Waits for a record that a message names and nobody knows yet: what makes it may be under way at another replica.
const MISSING: &[u64] = &[1, 2, 4];
/// Failing messages remembered; one that another replica settled is forgotten with the rest.
const REMEMBERED: usize = 10_000;
/// Messages that may wait for a record at once: they take up room among the unacknowledged ones, which other messages
/// need.
const WAITING: usize = 256;

/// Counts one kind of failure.
#[derive(Debug)]
pub(super) struct Strikes {
    counts: HashMap<(DateTime<Utc>, u64), usize>,
    waits: &'static [u64],
    room: usize,
}

/// What to do with a message that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strike {
    /// Try again after this time.
    Again(Duration),
    /// It is poison.
    Out,
}

impl Strikes {
    /// Of messages that fail their handler. All are remembered: none may go on failing for ever.
    pub(super) fn failed() -> Self {
        Self { counts: HashMap::new(), waits: FAILED, room: REMEMBERED }
    }

    /// Of messages that name a record that is not there.
    pub(super) fn missing() -> Self {
        Self { counts: HashMap::new(), waits: MISSING, room: WAITING }
    }

    /// Whether one more message can be waited for.
    pub(super) fn has_room_for(&self, stream: &StreamFacts) -> bool {
        self.counts.len() < self.room || self.counts.contains_key(&key(stream))
    }

    /// Counts a failure.
    pub(super) fn count(&mut self, stream: &StreamFacts) -> Strike {
        if !self.has_room_for(stream) {
            self.counts.clear();
        }
        let strikes = self.counts.entry(key(stream)).or_default();
        let wait = self.waits.get(*strikes);
        *strikes += 1;
        wait.map_or(Strike::Out, |seconds| Strike::Again(Duration::from_secs(*seconds)))
    }

    /// The message is settled.
    pub(super) fn forget(&mut self, stream: &StreamFacts) {
        self.counts.remove(&key(stream));
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
        let mut strikes = Strikes::failed();
        let again = |seconds| Strike::Again(Duration::from_secs(seconds));
        let counted: Vec<_> = (0..5).map(|_| strikes.count(&message(1))).collect();
        assert_eq!(counted, [again(1), again(4), again(16), again(60), Strike::Out]);
        assert_eq!(strikes.count(&message(2)), again(1), "each message for itself");
        strikes.forget(&message(2));
        assert_eq!(strikes.count(&message(2)), again(1));
    }

    #[test]
    fn a_missing_record_is_waited_for_by_a_few_messages_at_once() {
        let message = |sequence| StreamFacts { name: "S".into(), created: DateTime::UNIX_EPOCH, sequence };
        let mut strikes = Strikes::missing();
        let again = |seconds| Strike::Again(Duration::from_secs(seconds));
        let counted: Vec<_> = (0..4).map(|_| strikes.count(&message(0))).collect();
        assert_eq!(counted, [again(1), again(2), again(4), Strike::Out]);
        for sequence in 0..256 {
            assert!(strikes.has_room_for(&message(sequence)));
            strikes.count(&message(sequence));
        }
        assert!(strikes.has_room_for(&message(7)) && !strikes.has_room_for(&message(256)));
        strikes.forget(&message(7));
        assert!(strikes.has_room_for(&message(256)));
    }
}
