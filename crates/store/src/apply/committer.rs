//! Group commit: requests that arrive while a commit runs share the next transaction. There is no timer; a lone
//! request waits for nothing.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{Applied, ApplyError, Request, batch};
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
            tokio::spawn(lane(Arc::clone(&receiver)));
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

async fn lane(receiver: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
    loop {
        let mut batch = Vec::new();
        if receiver.lock().await.recv_many(&mut batch, MOST).await == 0 {
            return;
        }
        let Some(store) = batch.first().map(|waiting| waiting.store.clone()) else { continue };
        let (requests, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| ((waiting.request, waiting.now), waiting.answer)).unzip();
        let results = batch::run(&store, requests).await;
        for (answer, result) in answers.into_iter().zip(results) {
            // A caller that went away does not undo what it asked for.
            drop(answer.send(result));
        }
    }
}
