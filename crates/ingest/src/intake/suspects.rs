//! Messages that take down whoever handles them. Nobody is left to count those, so the store does.
//!
//! Law: a message that came often is handled by itself, so that its neighbours do not share its fate, and it is written
//! down before; when the process survives, whatever became of the message, that is taken back. One that was begun five
//! times and never ended is poison. The number of deliveries only says whom to suspect: it grows as well while the store
//! is away, and then nothing is counted, because the store answers nobody.

use chrono::{DateTime, Utc};
use usher_bus::Delivery;

use super::{
    Intake,
    apply::guarded,
    batch::{State, Verdict, failed, poison},
};
use crate::relay::chain;

/// Deliveries up to which a message shares a transaction with others.
const UNSUSPECTED: u64 = 3;
/// How often a message may be begun and not ended.
const DEATHS: u64 = 5;

/// A message: its stream with the time of creation, and its number there.
pub(super) type Key = (String, u64);

pub(super) const fn is_suspect(delivery: &Delivery) -> bool {
    delivery.num_delivered > UNSUSPECTED
}

impl Intake {
    /// Handles one message by itself.
    pub(super) async fn alone(&mut self, delivery: &Delivery, now: DateTime<Utc>) -> Verdict {
        let key = (delivery.stream.source(), delivery.stream.sequence);
        let begun = guarded(self.store.begin_suspect(&key.0, key.1, now)).await.and_then(|begun| begun);
        let is_poison = matches!(begun, Ok(begun) if begun > DEATHS);
        let verdicts = match begun {
            Ok(_) if is_poison => {
                tracing::error!(sequence = key.1, "a command has taken down its process {DEATHS} times");
                self.settle(&[delivery], vec![State::Faulty(poison())], now).await
            }
            Ok(_) => self.together(&[delivery], now).await,
            Err(error) => self.settle(&[delivery], vec![failed(&error)], now).await,
        };
        let verdict = verdicts.into_iter().next().unwrap_or(Verdict::Away);
        if is_poison && verdict != Verdict::Rejected {
            // It is not kept yet, and must not begin anew.
            return verdict;
        }
        self.unended.push(key);
        // If the store is away it is taken back before anything else is begun.
        if let Err(error) = self.end_what_ended().await {
            tracing::debug!(error = chain(&error), "a suspect is not taken back yet");
        }
        verdict
    }

    /// Takes back what this process has begun and survived.
    pub(super) async fn end_what_ended(&mut self) -> Result<(), usher_store::StoreError> {
        while let Some((stream, sequence)) = self.unended.last() {
            guarded(self.store.end_suspect(stream, *sequence)).await.and_then(|ended| ended)?;
            self.unended.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the message of a failed test")]

    use std::sync::Arc;

    use usher_store::Store;

    use super::*;
    use crate::intake::{batch::tests::delivered, read::DIED};

    async fn fresh() -> (usher_testkit::nats::Nats, tempfile::TempDir, Store) {
        let server = usher_testkit::nats::Nats::start().await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("usher.db").display());
        let store = Store::connect(&url, 1).await.unwrap();
        store.migrate().await.unwrap();
        (server, directory, store)
    }

    #[tokio::test]
    async fn a_message_that_takes_the_process_down_is_poison_after_5_deaths_and_its_neighbours_are_not() {
        usher_testkit::skip_without_servers!();
        let (server, _directory, store) = fresh().await;
        let (first, mut batch) = delivered(&server, store.clone(), "deadly").await;
        let nats = first.nats.clone();
        let clock = Arc::new(|| DateTime::<Utc>::UNIX_EPOCH);
        // Each process begins anew and knows nothing of the others.
        let process = || Intake::new(store.clone(), nats.clone(), clock.clone(), Arc::new(|| ()));
        for death in 1..=3 + DEATHS {
            for delivery in &mut batch {
                delivery.num_delivered = death;
            }
            let mut intake = process();
            let dead = tokio::select! {
                verdicts = intake.take(&batch) => Err(verdicts),
                () = DIED.notified() => Ok(()),
            };
            assert_eq!(dead, Ok(()), "death {death}");
            assert!(store.rejected(10).await.unwrap().is_empty());
        }
        for delivery in &mut batch {
            delivery.num_delivered += 1;
        }
        let mut intake = process();
        let verdicts = tokio::select! {
            verdicts = intake.take(&batch) => verdicts,
            () = DIED.notified() => Vec::new(),
        };
        assert_eq!(verdicts, [Verdict::Rejected, Verdict::Committed]);
        let kept = store.rejected(10).await.unwrap().remove(0).what;
        assert_eq!((kept.code.as_str(), kept.message_id.as_str(), kept.attempts), ("poison", "bad", 9));
        let key = batch[1].stream.source();
        assert_eq!(
            store.begin_suspect(&key, batch[1].stream.sequence, DateTime::UNIX_EPOCH).await.unwrap(),
            1
        );
    }

    #[tokio::test]
    async fn a_store_that_comes_and_goes_makes_no_poison() {
        usher_testkit::skip_without_servers!();
        let (server, _directory, store) = fresh().await;
        let (mut intake, mut batch) = delivered(&server, store.clone(), "flapping").await;
        for delivery in &mut batch {
            delivery.num_delivered = 1_000;
        }
        for _ in 0..3 * DEATHS {
            // The store answers, and is away by the time of the command itself.
            assert_eq!(intake.take(&batch[..1]).await, [Verdict::Away]);
        }
        assert_eq!(intake.take(&batch[1..]).await, [Verdict::Committed]);
        assert!(store.rejected(10).await.unwrap().is_empty());
        // Gone altogether.
        store.close().await;
        for _ in 0..3 * DEATHS {
            assert_eq!(intake.take(&batch).await, [Verdict::Away; 2]);
        }
    }
}
