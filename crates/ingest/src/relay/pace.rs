//! How long the relay waits between passes: ever longer while there is nothing to do, until somebody says that there
//! is, and while nothing gets through, whoever says what.

use std::time::Duration;

use usher_store::StoreError;

use super::{Prompt, RelayReport};

/// The first wait.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest wait, idle and in trouble alike.
const LONGEST: Duration = Duration::from_secs(30);

/// The waits so far.
#[derive(Debug, Default)]
pub(super) struct Pace {
    idle: Option<Duration>,
    trouble: Option<Duration>,
}

/// The wait before the next pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) length: Duration,
    /// Whether a commit or a hint ends it.
    pub(super) ends_early: bool,
}

impl Pace {
    /// The wait after a pass.
    pub(super) fn after(&mut self, prompt: Prompt, result: &Result<RelayReport, StoreError>) -> Pause {
        let stuck = match result {
            Ok(report) => report.failed > 0 && !report.progressed(),
            Err(error) => {
                tracing::warn!(
                    error = super::chain(error),
                    "the relay cannot use the store; it tries again by itself"
                );
                true
            }
        };
        if stuck {
            return Pause { length: longer(&mut self.trouble), ends_early: false };
        }
        self.trouble = None;
        let busy = result.as_ref().is_ok_and(RelayReport::progressed);
        if busy || prompt == Prompt::Woken {
            self.idle = None;
        }
        Pause { length: longer(&mut self.idle), ends_early: true }
    }

    /// The wait without a connection: a look that costs nothing, so that publishing goes on as soon as it is back.
    pub(super) fn away(&mut self) -> Pause {
        *self = Self::default();
        Pause { length: SHORTEST, ends_early: false }
    }
}

fn longer(last: &mut Option<Duration>) -> Duration {
    *last.insert(last.map_or(SHORTEST, |last| LONGEST.min(last * 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(pauses: &[Pause]) -> Vec<u64> {
        pauses.iter().map(|pause| pause.length.as_secs()).collect()
    }

    #[test]
    fn idle_waits_grow_to_half_a_minute_and_end_with_a_commit() {
        let mut pace = Pace::default();
        let nothing = Ok(RelayReport::default());
        let pauses: Vec<_> = (0..7).map(|_| pace.after(Prompt::Timer, &nothing)).collect();
        assert_eq!(seconds(&pauses), [1, 2, 4, 8, 16, 30, 30]);
        assert!(pauses.iter().all(|pause| pause.ends_early));
        assert_eq!(pace.after(Prompt::Woken, &nothing).length, SHORTEST);
        let published = Ok(RelayReport { published: 1, ..RelayReport::default() });
        pace.after(Prompt::Timer, &nothing);
        assert_eq!(pace.after(Prompt::Timer, &published).length, SHORTEST);
    }

    #[test]
    fn while_nothing_gets_through_wakes_are_not_heeded_and_waits_grow() {
        let mut pace = Pace::default();
        let failed = Ok(RelayReport { failed: 3, ..RelayReport::default() });
        let pauses: Vec<_> = (0..6).map(|_| pace.after(Prompt::Woken, &failed)).collect();
        assert_eq!(seconds(&pauses), [1, 2, 4, 8, 16, 30]);
        assert!(pauses.iter().all(|pause| !pause.ends_early));
        let store_away = Err(StoreError::Closed);
        assert_eq!(pace.after(Prompt::Woken, &store_away).length, LONGEST);
        // Some got through: the others are tried again soon, and new ones at once.
        let some = Ok(RelayReport { published: 1, failed: 1, ..RelayReport::default() });
        assert_eq!(pace.after(Prompt::Timer, &some), Pause { length: SHORTEST, ends_early: true });
        assert_eq!(pace.after(Prompt::Woken, &failed).length, SHORTEST, "trouble starts anew");
    }
}
