//! How long the relay waits between passes: ever longer while there is nothing to do, until somebody says that there
//! is, or until what failed is to be tried again. While the store fails, whoever says what is not heeded.

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
    /// The wait after a pass; `retry` is how long until something that failed is to be tried again.
    pub(super) fn after(
        &mut self,
        prompt: Prompt,
        result: &Result<RelayReport, StoreError>,
        retry: Option<Duration>,
    ) -> Pause {
        if let Err(error) = result {
            tracing::warn!(
                error = super::chain(error),
                "the relay cannot use the store; it tries again by itself"
            );
            return Pause { length: longer(&mut self.trouble), ends_early: false };
        }
        self.trouble = None;
        if prompt == Prompt::Woken || result.as_ref().is_ok_and(RelayReport::progressed) {
            self.idle = None;
        }
        let idle = longer(&mut self.idle);
        Pause { length: retry.map_or(idle, |retry| idle.min(retry)), ends_early: true }
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
        let pauses: Vec<_> = (0..7).map(|_| pace.after(Prompt::Timer, &nothing, None)).collect();
        assert_eq!(seconds(&pauses), [1, 2, 4, 8, 16, 30, 30]);
        assert!(pauses.iter().all(|pause| pause.ends_early));
        assert_eq!(pace.after(Prompt::Woken, &nothing, None).length, SHORTEST);
        let published = Ok(RelayReport { published: 1, ..RelayReport::default() });
        pace.after(Prompt::Timer, &nothing, None);
        assert_eq!(pace.after(Prompt::Timer, &published, None).length, SHORTEST);
    }

    #[test]
    fn while_the_store_fails_wakes_are_not_heeded_and_waits_grow() {
        let mut pace = Pace::default();
        let away = Err(StoreError::Closed);
        let pauses: Vec<_> = (0..6).map(|_| pace.after(Prompt::Woken, &away, None)).collect();
        assert_eq!(seconds(&pauses), [1, 2, 4, 8, 16, 30]);
        assert!(pauses.iter().all(|pause| !pause.ends_early));
        pace.after(Prompt::Woken, &Ok(RelayReport::default()), None);
        assert_eq!(pace.after(Prompt::Woken, &away, None).length, SHORTEST, "trouble starts anew");
    }

    #[test]
    fn what_failed_is_tried_again_in_its_time_and_new_events_at_once() {
        let mut pace = Pace::default();
        let failed = Ok(RelayReport { failed: 3, ..RelayReport::default() });
        let retry = Duration::from_millis(700);
        let pause = pace.after(Prompt::Timer, &failed, Some(retry));
        assert_eq!(pause, Pause { length: retry, ends_early: true });
        let later = pace.after(Prompt::Timer, &failed, Some(LONGEST));
        assert_eq!(later.length, Duration::from_secs(2), "it never waits longer than without");
    }
}
