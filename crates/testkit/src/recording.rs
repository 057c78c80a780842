//! What a server of the kit saw, and the way to wait for it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// A list that only grows (until cleared) and wakes those who wait for it.
pub(crate) struct Recording<T>(watch::Sender<Vec<T>>);

impl<T: Clone> Recording<T> {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }

    pub(crate) fn push(&self, item: T) {
        self.0.send_modify(|items| items.push(item));
    }

    pub(crate) fn clear(&self) {
        self.0.send_modify(Vec::clear);
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.borrow().clone()
    }

    /// Those that `wanted` picks, as soon as there are `n`. Panics after `limit`, saying what was there: this is an
    /// assertion.
    pub(crate) async fn wait_for(
        &self,
        what: &str,
        n: usize,
        limit: Duration,
        wanted: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        let mut receiver = self.0.subscribe();
        let pick = |items: &Vec<T>| items.iter().filter(|item| wanted(item)).cloned().collect::<Vec<T>>();
        let waiting = receiver.wait_for(|items| items.iter().filter(|item| wanted(item)).count() >= n);
        let found = timeout(limit, waiting).await.map(|items| pick(&items.expect("the sender is ours")));
        found.unwrap_or_else(|_| {
            let (all, picked) = (self.all(), pick(&self.all()).len());
            panic!("waited {limit:?} for {n} {what}, got {picked} (of {} in all)", all.len())
        })
    }
}
