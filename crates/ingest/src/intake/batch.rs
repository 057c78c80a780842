//! One batch of commands: read, applied in one transaction, and what could not be applied kept with the reason. What is
//! said of a message here is durable; only then is it acknowledged.

use std::time::Duration;

use chrono::{DateTime, Utc};
use usher_bus::Delivery;
use usher_lifecycle::Code;
use usher_store::{ApplyError, NewRejected, Outcome, StoreError};

use super::{
    Intake,
    apply::{Way, apply, guarded},
    read::{Fault, Unread, prepare, rejected},
    strikes::Strike,
    suspects::is_suspect,
};
use crate::relay::chain;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its effect is durable: acknowledge it.
    Committed,
    /// It had its effect before, or has none: acknowledge it.
    Unchanged,
    /// It was refused for good, which is durable: acknowledge it.
    Rejected,
    /// Handling it failed: let it come again after this time.
    Later(Duration),
    /// The store is away: let it come again when that may have changed.
    Away,
}

/// What is known of a message so far.
pub(super) enum State {
    Settled(Verdict),
    /// To be kept with this reason.
    Faulty(Fault),
    /// The store or the handler failed.
    Failed(StoreErrorText),
}

/// The store's error as the log shows it.
pub(super) struct StoreErrorText(String);

impl Intake {
    /// Handles a batch and says of each message what became of it. Acknowledges nothing: a crash right after this only
    /// means that the messages come again, and then have no further effect.
    pub async fn take(&mut self, batch: &[Delivery]) -> Vec<Verdict> {
        let now = (self.clock)();
        let mut verdicts = vec![Verdict::Away; batch.len()];
        if self.end_what_ended().await.is_err() {
            return verdicts;
        }
        let (suspects, others): (Vec<_>, Vec<_>) =
            batch.iter().enumerate().partition(|(_, delivery)| is_suspect(delivery));
        let together: Vec<&Delivery> = others.iter().map(|(_, delivery)| *delivery).collect();
        let settled = self.together(&together, now).await;
        for ((place, _), verdict) in others.into_iter().zip(settled) {
            verdicts[place] = verdict;
        }
        for (place, delivery) in suspects {
            verdicts[place] = self.alone(delivery, now).await;
            if verdicts[place] == Verdict::Away {
                break;
            }
        }
        verdicts
    }

    /// Handles these in one transaction.
    pub(super) async fn together(&mut self, batch: &[&Delivery], now: DateTime<Utc>) -> Vec<Verdict> {
        let mut states = Vec::with_capacity(batch.len());
        let mut plans = Vec::with_capacity(batch.len());
        let mut away = false;
        for delivery in batch.iter().copied() {
            if away {
                // Asking for each would take a timeout each.
                states.push(Some(State::Settled(Verdict::Away)));
                continue;
            }
            let names = self.nats.names();
            match prepare(delivery.into(), names, &self.workspaces, &self.store, now).await {
                Ok(prepared) => {
                    plans.push(prepared);
                    states.push(None);
                }
                Err(Unread::Fault(fault)) => states.push(Some(State::Faulty(fault))),
                Err(Unread::Store(error)) => {
                    away = error.is_away();
                    states.push(Some(failed(&error)));
                }
            }
        }
        let mut answers = apply(&self.store, &plans, now, Way::Together).await.into_iter();
        let states: Vec<State> = states
            .into_iter()
            .map(|state| match state.or_else(|| answers.next().map(State::from)) {
                Some(state) => state,
                None => failed(&StoreError::Bug("a command got no answer".into())),
            })
            .collect();
        self.settle(batch, states, now).await
    }

    /// Keeps what can never succeed; counts what failed.
    pub(super) async fn settle(
        &mut self,
        batch: &[&Delivery],
        states: Vec<State>,
        now: DateTime<Utc>,
    ) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(batch.len());
        let mut given_up = Vec::new();
        for (delivery, state) in batch.iter().copied().zip(states) {
            let verdict = match state {
                State::Settled(verdict) => verdict,
                State::Faulty(fault) if let Some(delay) = self.waits(delivery, &fault) => {
                    tracing::info!(
                        sequence = delivery.stream.sequence,
                        code = fault.code,
                        "a command waits for a record"
                    );
                    Verdict::Later(delay)
                }
                State::Faulty(fault) => {
                    given_up.push((verdicts.len(), fault));
                    Verdict::Rejected
                }
                State::Failed(StoreErrorText(error)) => match self.strikes.count(&delivery.stream) {
                    Strike::Again(delay) => {
                        tracing::error!(sequence = delivery.stream.sequence, error, "a command failed");
                        Verdict::Later(delay)
                    }
                    Strike::Out => {
                        tracing::error!(
                            sequence = delivery.stream.sequence,
                            error,
                            "a command failed for the last time"
                        );
                        given_up.push((verdicts.len(), poison()));
                        Verdict::Rejected
                    }
                },
            };
            verdicts.push(verdict);
        }
        self.keep(batch, given_up, &mut verdicts, now).await;
        for (delivery, verdict) in batch.iter().zip(&verdicts) {
            match verdict {
                Verdict::Committed | Verdict::Unchanged | Verdict::Rejected => {
                    self.strikes.forget(&delivery.stream);
                    self.missing.forget(&delivery.stream);
                }
                Verdict::Later(_) | Verdict::Away => {}
            }
        }
        verdicts
    }

    /// How long a message that names a record which is not there waits for it: the record may be under way at another
    /// replica, or come again itself.
    fn waits(&mut self, delivery: &Delivery, fault: &Fault) -> Option<Duration> {
        let code = fault.refusal.as_ref()?.code;
        let names_a_record = matches!(
            code,
            Code::CustomerNotFound
                | Code::OnboardingNotFound
                | Code::UserNotFound
                | Code::ContactNotFound
                | Code::UnknownUser
        );
        if !names_a_record || !self.missing.has_room_for(&delivery.stream) {
            return None;
        }
        match self.missing.count(&delivery.stream) {
            Strike::Again(delay) => Some(delay),
            Strike::Out => None,
        }
    }

    /// Writes the rejections; where that fails, the message comes again.
    async fn keep(
        &self,
        batch: &[&Delivery],
        given_up: Vec<(usize, Fault)>,
        verdicts: &mut [Verdict],
        now: DateTime<Utc>,
    ) {
        let mut places = Vec::with_capacity(given_up.len());
        let mut rows = Vec::with_capacity(given_up.len());
        for (place, fault) in given_up {
            let Some(delivery) = batch.get(place).copied() else { continue };
            let row = rejected(delivery.into(), delivery.num_delivered, self.nats.names(), fault);
            let NewRejected { source, message_id, code, field, .. } = &row;
            tracing::warn!(source, message_id, code, field, "a command is rejected");
            places.push(place);
            rows.push(row);
        }
        if rows.is_empty() {
            return;
        }
        if self.reject(rows.clone(), now).await.is_ok() {
            return;
        }
        // One that cannot be written must not hold the others up.
        for (place, row) in places.into_iter().zip(rows) {
            let verdict = match self.reject(vec![row], now).await {
                Ok(()) => Verdict::Rejected,
                Err(error) if error.is_away() => Verdict::Away,
                Err(error) => {
                    tracing::error!(error = chain(&error), "a rejected command could not be kept");
                    Verdict::Later(Duration::from_mins(1))
                }
            };
            if let Some(slot) = verdicts.get_mut(place) {
                *slot = verdict;
            }
            if verdict == Verdict::Away {
                // The rest would wait in vain, too, each for its own timeout.
                verdicts
                    .iter_mut()
                    .skip(place)
                    .filter(|it| **it == Verdict::Rejected)
                    .for_each(|it| *it = verdict);
                return;
            }
        }
    }

    async fn reject(&self, rows: Vec<NewRejected>, now: DateTime<Utc>) -> Result<(), StoreError> {
        guarded(self.store.reject(rows, now)).await?
    }
}

impl From<super::apply::Answer> for State {
    fn from(answer: super::apply::Answer) -> Self {
        match answer {
            Ok(applied) => Self::Settled(match applied.outcome {
                Outcome::Committed => Verdict::Committed,
                Outcome::Unchanged | Outcome::Duplicate | Outcome::Superseded => Verdict::Unchanged,
            }),
            Err(ApplyError::Refused(refusal)) => Self::Faulty(refusal.into()),
            Err(ApplyError::Store(error)) => failed(&error),
        }
    }
}

pub(super) fn failed(error: &StoreError) -> State {
    if error.is_away() { State::Settled(Verdict::Away) } else { State::Failed(StoreErrorText(chain(error))) }
}

pub(super) fn poison() -> Fault {
    let message = "handling this message failed again and again for a reason of ours; the log tells it";
    usher_lifecycle::Refusal::new(Code::Poison, message).into()
}

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the message of a failed test")]

    use std::sync::Arc;

    use bytes::Bytes;
    use usher_bus::{Headers, Nats, Outgoing, Settings};
    use usher_lifecycle::reminder::Rules;
    use usher_store::{Bootstrap, Store};

    use super::*;

    /// Two commands as they are delivered, and an intake on a store with the workspace acme. The first one says what its
    /// handler does.
    pub(in crate::intake) async fn delivered(
        server: &usher_testkit::nats::Nats,
        store: Store,
        bad: &'static str,
    ) -> (Intake, Vec<Delivery>) {
        let (slug, name, rules) = ("acme".into(), "Acme".into(), Rules::default());
        store.bootstrap(&Bootstrap { slug, name, rules, secret: None }, DateTime::UNIX_EPOCH).await.unwrap();
        let nats = Nats::connect(Settings::new(&server.url())).await.unwrap();
        nats.ensure_streams().await.unwrap();
        let command = |id: &str, name: &str, body: &str| Outgoing {
            subject: format!("usher.commands.acme.{name}"),
            headers: Headers::new().with("Nats-Msg-Id", id),
            payload: Bytes::copy_from_slice(body.as_bytes()),
        };
        let messages = vec![
            command("bad", "onboarding.create", &format!(r#"{{"customer_id":"1","notes":"{bad}"}}"#)),
            command("good", "customer.upsert", r#"{"external_id":"crm-1","name":"Initech"}"#),
        ];
        assert!(nats.publish_window(messages).await.iter().all(Result::is_ok));
        let mut commands = nats.commands().await.unwrap();
        let mut batch = Vec::new();
        while batch.len() < 2 {
            batch.extend(commands.next_batch(2, Duration::from_secs(5)).await.unwrap());
        }
        let clock = Arc::new(|| DateTime::<Utc>::UNIX_EPOCH);
        (Intake::new(store, nats, clock, Arc::new(|| ())), batch)
    }

    #[tokio::test]
    async fn poison_after_5_crashes_while_the_store_answered_and_its_neighbours_are_not() {
        usher_testkit::skip_without_servers!();
        let server = usher_testkit::nats::Nats::start().await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("usher.db").display());
        let store = Store::connect(&url, 1).await.unwrap();
        store.migrate().await.unwrap();
        let (mut intake, batch) = delivered(&server, store.clone(), "failpoint").await;
        let (mut bad, mut good) = (Vec::new(), Vec::new());
        for crashes in 1..=5 {
            // The handler of the first message really panics.
            let verdicts = intake.take(&batch).await;
            bad.push(verdicts[0]);
            good.push(verdicts[1]);
            assert_eq!(store.rejected(10).await.unwrap().len(), usize::from(crashes == 5));
            // That the store was away meanwhile is no fault of the message.
            let away = vec![failed(&StoreError::Closed), State::Settled(Verdict::Unchanged)];
            let both: Vec<&Delivery> = batch.iter().collect();
            assert_eq!(intake.settle(&both, away, DateTime::UNIX_EPOCH).await[0], Verdict::Away);
        }
        let later = |seconds| Verdict::Later(Duration::from_secs(seconds));
        assert_eq!(bad, [later(1), later(4), later(16), later(60), Verdict::Rejected]);
        let same = Verdict::Unchanged;
        assert_eq!(good, [Verdict::Committed, same, same, same, same]);
        let kept = store.rejected(10).await.unwrap().remove(0).what;
        assert_eq!((kept.code.as_str(), kept.message_id.as_str()), ("poison", "bad"));
    }
}
