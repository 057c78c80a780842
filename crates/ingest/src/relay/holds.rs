//! What is held back after a failure, and until when: a whole lane while nothing of it gets through, else single
//! subjects. Each further failure doubles the wait. A held lane is not looked at, a held subject is left out of the claim:
//! whatever is held costs the others nothing but its rows' place in the outbox.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};

/// The first wait.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);

/// What is published independently of the rest: each has a stream of its own, which may be missing or full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Events of live records.
    Live,
    /// Events of test records.
    Test,
    /// Refused commands.
    Rejected,
}

impl Lane {
    pub(super) const ALL: [Self; 3] = [Self::Live, Self::Test, Self::Rejected];
}

#[derive(Debug, Clone, Copy)]
struct Hold {
    wait: Duration,
    until: DateTime<Utc>,
}

/// Everything that is held back.
#[derive(Debug, Default)]
pub(super) struct Holds {
    lanes: HashMap<Lane, Hold>,
    subjects: HashMap<String, Hold>,
}

impl Hold {
    fn longer(last: Option<&Self>, now: DateTime<Utc>) -> Self {
        let wait = last.map_or(SHORTEST, |last| LONGEST.min(last.wait * 2));
        Self { wait, until: now + wait }
    }

    /// One further ahead than any is of a clock that was set back.
    fn lasts(&self, now: DateTime<Utc>) -> bool {
        now < self.until && self.until <= now + LONGEST
    }
}

impl Holds {
    pub(super) fn hold_lane(&mut self, lane: Lane, now: DateTime<Utc>) {
        self.lanes.insert(lane, Hold::longer(self.lanes.get(&lane), now));
    }

    pub(super) fn hold_subject(&mut self, subject: String, now: DateTime<Utc>) {
        let hold = Hold::longer(self.subjects.get(&subject), now);
        self.subjects.insert(subject, hold);
    }

    /// Something of the lane got through.
    pub(super) fn free_lane(&mut self, lane: Lane) {
        self.lanes.remove(&lane);
    }

    /// An event of the subject got through.
    pub(super) fn free_subject(&mut self, subject: &str) {
        self.subjects.remove(subject);
    }

    pub(super) fn holds(&self, lane: Lane, now: DateTime<Utc>) -> bool {
        self.lanes.get(&lane).is_some_and(|hold| hold.lasts(now))
    }

    /// The subjects to leave out now.
    pub(super) fn subjects(&mut self, now: DateTime<Utc>) -> Vec<String> {
        // Not tried again for so long: another process publishes them, or they are published.
        self.subjects.retain(|_, hold| now < hold.until + LONGEST);
        self.subjects.iter().filter(|(_, hold)| hold.lasts(now)).map(|(subject, _)| subject.clone()).collect()
    }

    /// How long until the first of them is to be tried again.
    pub(super) fn next(&self, now: DateTime<Utc>) -> Option<Duration> {
        let all = self.lanes.values().chain(self.subjects.values());
        all.filter(|hold| hold.lasts(now)).filter_map(|hold| (hold.until - now).to_std().ok()).min()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn each_failure_doubles_the_wait_up_to_half_a_minute_and_success_ends_it() {
        let (mut holds, mut now) = (Holds::default(), DateTime::UNIX_EPOCH);
        let mut waits = Vec::new();
        for _ in 0..7 {
            holds.hold_lane(Lane::Live, now);
            let wait = holds.next(now).expect("something is held");
            assert!(holds.holds(Lane::Live, now) && !holds.holds(Lane::Test, now));
            waits.push(wait.as_secs());
            now += wait;
            assert!(!holds.holds(Lane::Live, now));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        holds.free_lane(Lane::Live);
        holds.hold_lane(Lane::Live, now);
        assert_eq!(holds.next(now), Some(SHORTEST));
    }

    #[test]
    fn a_held_subject_is_left_out_until_its_time_and_forgotten_when_nobody_asks() {
        let (mut holds, now) = (Holds::default(), DateTime::UNIX_EPOCH);
        holds.hold_subject("a".into(), now);
        holds.hold_subject("b".into(), now);
        holds.hold_subject("b".into(), now);
        let mut held = holds.subjects(now);
        held.sort_unstable();
        assert_eq!(held, ["a", "b"]);
        assert_eq!(holds.subjects(now + TimeDelta::seconds(1)), ["b"]);
        holds.free_subject("b");
        assert!(holds.subjects(now).iter().all(|subject| subject == "a"));
        assert!(holds.subjects(now + TimeDelta::minutes(5)).is_empty());
        assert!(holds.subjects.is_empty(), "no trace is left");
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up() {
        let (mut holds, now) = (Holds::default(), DateTime::UNIX_EPOCH);
        holds.hold_lane(Lane::Test, now);
        assert!(!holds.holds(Lane::Test, now - TimeDelta::hours(1)));
        assert_eq!(holds.next(now - TimeDelta::hours(1)), None);
    }
}
