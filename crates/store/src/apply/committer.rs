//! Group commit: requests that arrive while a commit runs share the next transaction. There is no timer; a lone
//! request waits for nothing.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{Applied, ApplyError, Request, batch, batch::Timed};
use crate::{Store, StoreError};

/// Most requests that share a transaction.
const MOST: usize = 512;
/// Requests that may wait; more wait for room in the queue.
const QUEUE: usize = 4096;

type Answer = Result<Applied, ApplyError>;

struct Waiting {
    store: Store,
    request: Request,
    now: DateTime<Utc>,
    answer: oneshot::Sender<Answer>,
}

/// The way to the lanes.
#[derive(Debug, Clone)]
pub(crate) struct Committer(mpsc::Sender<Waiting>);

impl Committer {
    /// Starts the lanes; they end when the last sender is gone.
    pub(crate) fn start(lanes: usize) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..lanes {
            let run = |store: Store, requests| async move { batch::run(&store, requests).await };
            tokio::spawn(lane(Arc::clone(&receiver), run));
        }
        Self(sender)
    }

    pub(crate) async fn apply(&self, store: &Store, request: Request, now: DateTime<Utc>) -> Answer {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { store: store.clone(), request, now, answer };
        let closed = || ApplyError::Store(Arc::new(StoreError::Closed));
        self.0.send(waiting).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

/// Commits batches until the last sender is gone. Each runs in a task of its own: one that panics is an error for its
/// callers, and the lane goes on.
async fn lane<F, Running>(receiver: Arc<Mutex<mpsc::Receiver<Waiting>>>, run: F)
where
    F: Fn(Store, Vec<Timed>) -> Running,
    Running: Future<Output = Vec<Answer>> + Send + 'static,
{
    loop {
        let mut batch = Vec::new();
        if receiver.lock().await.recv_many(&mut batch, MOST).await == 0 {
            return;
        }
        let Some(store) = batch.first().map(|waiting| waiting.store.clone()) else { continue };
        let (requests, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| ((waiting.request, waiting.now), waiting.answer)).unzip();
        let results = tokio::spawn(run(store, requests)).await.unwrap_or_else(|error| {
            let error = if error.is_panic() {
                StoreError::Bug("a batch panicked".into())
            } else {
                StoreError::Closed
            };
            let error = Arc::new(error);
            answers.iter().map(|_| Err(ApplyError::Store(Arc::clone(&error)))).collect()
        });
        for (answer, result) in answers.into_iter().zip(results) {
            // A caller that went away does not undo what it asked for.
            drop(answer.send(result));
        }
    }
}

#[cfg(test)]
mod tests {
    use usher_lifecycle::{Command, WorkspaceId, event::Actor};

    use super::*;
    use crate::{Dedupe, Ref};

    /// A batch that panics is an error for those in it, and the only lane goes on.
    #[tokio::test]
    async fn a_lane_survives_a_batch_that_panics() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let store = Store::connect(&format!("sqlite://{}/usher.db", folder.path().display()), 1).await?;
        store.migrate().await?;
        let (sender, receiver) = mpsc::channel(8);
        let run = |store: Store, requests: Vec<Timed>| async move {
            assert!(requests.iter().all(|(request, _)| request.livemode), "a fault");
            batch::run(&store, requests).await
        };
        tokio::spawn(lane(Arc::new(Mutex::new(receiver)), run));
        let committer = Committer(sender);
        let now = DateTime::UNIX_EPOCH;
        let request = |livemode| Request {
            workspace_id: WorkspaceId::new(now, 1),
            livemode,
            command: Command::DeleteUser,
            target: Some(Ref::DisplayId(1)),
            actor: Actor::system(),
            dedupe: Dedupe::None,
            expected_version: None,
            traceparent: None,
        };
        for _ in 0..3 {
            let failed = committer.apply(&store, request(false), now).await;
            assert!(
                matches!(&failed, Err(ApplyError::Store(error)) if matches!(**error, StoreError::Bug(_)))
            );
            let refused = committer.apply(&store, request(true), now).await;
            assert!(matches!(refused, Err(ApplyError::Refused(_))), "{refused:?}");
        }
        Ok(())
    }
}
