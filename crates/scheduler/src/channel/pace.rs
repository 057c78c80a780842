//! When a Slack channel may have its next message. Pure: instants come in, instants go out.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Between two messages to one channel.
pub(super) const SPACING: Duration = Duration::from_secs(1);
/// Nobody is kept waiting for longer: the lease of a delivery is finite.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// From so many channels on, those whose turn is over are forgotten.
const CHANNELS: usize = 1_000;

/// The pace of one token.
#[derive(Debug, Default)]
pub(super) struct Pace {
    next: HashMap<String, Instant>,
    held_until: Option<Instant>,
}

/// Not now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Slack wants silence for so long.
    Held(Duration),
    /// So many messages to this channel are before.
    Spaced(Duration),
}

impl Pace {
    /// Takes the channel's next turn and says when it is: now, or within ten seconds.
    pub(super) fn turn(&mut self, channel: &str, now: Instant) -> Result<Instant, Wait> {
        if let Some(until) = self.held_until.filter(|until| *until > now) {
            return Err(Wait::Held(until - now));
        }
        if self.next.len() >= CHANNELS {
            self.next.retain(|_, next| *next > now);
        }
        let at = self.next.get(channel).copied().unwrap_or(now).max(now);
        if at - now > LONGEST_WAIT {
            return Err(Wait::Spaced(at - now));
        }
        self.next.insert(channel.to_owned(), at + SPACING);
        Ok(at)
    }

    /// Nobody takes a turn before that.
    pub(super) fn hold(&mut self, until: Instant) {
        self.held_until = self.held_until.max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_of_a_channel_are_a_second_apart_and_others_do_not_wait() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for n in 0..=10 {
            assert_eq!(pace.turn("C1", now), Ok(now + n * SPACING));
        }
        assert_eq!(pace.turn("C1", now), Err(Wait::Spaced(11 * SPACING)), "too long a wait takes no turn");
        assert_eq!(pace.turn("C2", now), Ok(now));
        assert_eq!(pace.turn("C1", now + 2 * SPACING), Ok(now + 11 * SPACING));
        let later = now + 60 * SPACING;
        assert_eq!(pace.turn("C1", later), Ok(later));
    }

    #[test]
    fn silence_holds_for_every_channel_until_it_ends() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.hold(now + 5 * SPACING);
        pace.hold(now + 2 * SPACING);
        assert_eq!(pace.turn("C1", now), Err(Wait::Held(5 * SPACING)));
        assert_eq!(pace.turn("C2", now + 4 * SPACING), Err(Wait::Held(SPACING)));
        assert_eq!(pace.turn("C1", now + 5 * SPACING), Ok(now + 5 * SPACING));
    }

    #[test]
    fn channels_are_forgotten_once_their_turn_is_over() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for n in 0..CHANNELS {
            assert!(pace.turn(&n.to_string(), now).is_ok());
        }
        assert!(pace.turn("one more", now + 2 * SPACING).is_ok());
        assert_eq!(pace.next.len(), 1);
    }
}
