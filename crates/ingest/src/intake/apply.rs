//! From plans to answers of the store: one transaction, or two when an upsert turns out to be a creation.
//!
//! An upsert is tried as a change first. If there is nothing to change it is tried again as a creation, together with
//! all that was refused after it, which may have needed it; and the other way round if somebody else was faster.

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use tokio::time::timeout;
use usher_lifecycle::{Code, WorkspaceId, command::Aggregate, event::Actor};
use usher_store::{Applied, ApplyError, Dedupe, Request, Store, StoreError};

use super::plan::{Plan, Step, Upsert};

/// How long the store may take for one transaction: less than the time after which messages come again.
const PATIENCE: Duration = Duration::from_secs(20);
/// Tries of one batch. Each but the last has seen a record appear or vanish.
const ROUNDS: usize = 12;

pub(super) type Answer = Result<Applied, ApplyError>;

/// A plan, and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) workspace_id: WorkspaceId,
    pub(super) actor: Actor,
    pub(super) dedupe: Dedupe,
    pub(super) traceparent: Option<String>,
    pub(super) plan: Plan,
}

/// How the plans are brought to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// All in a transaction of their own.
    Together,
    /// One plan, in a transaction shared with whoever else asks for something.
    Shared,
    /// All in a transaction of which nothing stays.
    Rehearsed,
}

struct Open<'a> {
    prepared: &'a Prepared,
    creates: bool,
    answer: Option<Answer>,
}

/// Applies the plans in order; one answer each.
pub(super) async fn apply(store: &Store, plans: &[Prepared], now: DateTime<Utc>, way: Way) -> Vec<Answer> {
    let mut open: Vec<_> =
        plans.iter().map(|prepared| Open { prepared, creates: false, answer: None }).collect();
    for _ in 0..ROUNDS {
        if !round(store, &mut open, now, way).await {
            break;
        }
    }
    let unsettled = || store_error(StoreError::Bug("a record came and went".into()));
    open.into_iter().map(|open| open.answer.unwrap_or_else(|| Err(unsettled()))).collect()
}

/// Tries what has no answer yet; true when something is to be tried again.
async fn round(store: &Store, open: &mut [Open<'_>], now: DateTime<Utc>, way: Way) -> bool {
    let mut new = HashSet::new();
    let mut tried = Vec::new();
    let mut requests = Vec::new();
    for (place, open) in open.iter_mut().enumerate().filter(|(_, open)| open.answer.is_none()) {
        match open.step(&mut new) {
            Ok((creates, step)) => {
                tried.push((place, creates));
                requests.push(open.prepared.request(step));
            }
            Err(refusal) => open.answer = Some(Err(refusal)),
        }
    }
    let answers = ask(store, requests, now, way).await;
    let mut again = false;
    for ((place, creates), answer) in tried.into_iter().zip(answers) {
        let Some(open) = open.get_mut(place) else { continue };
        if open.guessed_wrong(creates, &answer) {
            again = true;
        } else if !again || !matches!(answer, Err(ApplyError::Refused(_))) {
            open.answer = Some(answer);
        }
    }
    again
}

impl<'a> Open<'a> {
    /// What to try now, and whether that creates. Of several upserts of one new record the first creates and the others
    /// change.
    fn step(
        &self,
        new: &mut HashSet<(WorkspaceId, Aggregate, &'a str)>,
    ) -> Result<(bool, &'a Step), ApplyError> {
        let Upsert { kind, key, change, create } = match &self.prepared.plan {
            Plan::Fixed(step) => return Ok((false, step)),
            Plan::Upsert(upsert) => &**upsert,
        };
        let record = (self.prepared.workspace_id, *kind, key.as_str());
        if !self.creates || new.contains(&record) {
            return Ok((false, change));
        }
        let create = create.as_ref().map_err(|refusal| ApplyError::Refused(refusal.clone()))?;
        new.insert(record);
        Ok((true, create))
    }

    /// Whether an upsert found the opposite of what was assumed; then the next guess is the other one.
    fn guessed_wrong(&mut self, creates: bool, answer: &Answer) -> bool {
        let (Plan::Upsert(upsert), Err(ApplyError::Refused(refusal))) = (&self.prepared.plan, answer) else {
            return false;
        };
        let wrong = if creates {
            refusal.code == Code::ExternalIdTaken
        } else {
            refusal.code == upsert.kind.not_found()
        };
        if wrong {
            self.creates = !creates;
        }
        wrong
    }
}

impl Prepared {
    fn request(&self, step: &Step) -> Request {
        Request {
            workspace_id: self.workspace_id,
            livemode: true,
            command: step.command.clone(),
            target: step.target.clone(),
            actor: self.actor.clone(),
            dedupe: self.dedupe.clone(),
            expected_version: step.expected_version,
            traceparent: self.traceparent.clone(),
        }
    }
}

/// One call of the store. If it panics, the requests are applied one by one, to find the one at fault.
async fn ask(store: &Store, mut requests: Vec<Request>, now: DateTime<Utc>, way: Way) -> Vec<Answer> {
    if requests.is_empty() {
        return Vec::new();
    }
    if way == Way::Shared && requests.len() == 1 {
        let request = requests.remove(0);
        return vec![
            guarded(store.apply(request, now)).await.unwrap_or_else(|error| Err(store_error(error))),
        ];
    }
    if way == Way::Rehearsed {
        let rehearsal = async {
            let mut rehearsal = store.rehearsal().await?;
            let answers = rehearsal.apply_all(requests.clone(), now).await;
            rehearsal.end().await.map(|()| answers)
        };
        let answers = guarded(rehearsal).await.and_then(|answers| answers).map_err(store_error);
        return answers.unwrap_or_else(|error| requests.iter().map(|_| Err(error.clone())).collect());
    }
    match guarded(store.apply_all(requests.clone(), now)).await {
        Ok(answers) => answers,
        Err(error) if error.is_away() || requests.len() == 1 => {
            let error = store_error(error);
            requests.iter().map(|_| Err(error.clone())).collect()
        }
        Err(_panicked) => {
            let mut answers = Vec::with_capacity(requests.len());
            for request in requests {
                match guarded(store.apply_all(vec![request], now)).await {
                    Ok(answer) => answers.extend(answer),
                    Err(error) => answers.push(Err(store_error(error))),
                }
            }
            answers
        }
    }
}

/// Bounds a call in time, and makes an error of a panic.
pub(super) async fn guarded<T>(call: impl Future<Output = T>) -> Result<T, StoreError> {
    match timeout(PATIENCE, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_panic)) => Err(panicked()),
        Err(_elapsed) => {
            tracing::warn!("the store did not answer within {PATIENCE:?}");
            Err(StoreError::Closed)
        }
    }
}

/// The error that stands for a panic; the panic itself is in the log already.
pub(super) fn panicked() -> StoreError {
    StoreError::Bug("a handler panicked".into())
}

pub(super) fn store_error(error: StoreError) -> ApplyError {
    ApplyError::Store(Arc::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_of_that_call_alone() {
        let handlers = [1, 2, 3].map(|n| async move { assert!(n != 2, "the handler of message {n} panics") });
        let mut outcomes = Vec::new();
        for handler in handlers {
            outcomes.push(guarded(handler).await.map_err(|error| error.is_away()));
        }
        assert_eq!(outcomes, [Ok(()), Err(false), Ok(())]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_counts_as_away() {
        let silent = guarded(std::future::pending::<()>()).await;
        assert!(silent.is_err_and(|error| error.is_away()));
    }
}
