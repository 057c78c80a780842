//! The bus of one process, for `usher run` without NATS: hints for its own tasks, events for whoever listens, and no
//! commands. Everything here may be lost or repeated; only latency depends on it.

use std::sync::Arc;

use tokio::sync::{broadcast, watch};

use crate::PublishError;
use crate::headers::{Outgoing, Published};

/// How far a listener may fall behind before it misses events.
const BACKLOG: usize = 1024;

/// The in-process bus. Clones are the same bus.
#[derive(Clone, Debug)]
pub struct Local {
    hints: Arc<watch::Sender<()>>,
    events: broadcast::Sender<Outgoing>,
}

impl Default for Local {
    fn default() -> Self {
        Self { hints: Arc::new(watch::Sender::new(())), events: broadcast::Sender::new(BACKLOG) }
    }
}

impl Local {
    /// A bus that nobody listens to yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that is published from now on. A listener that falls 1,024 messages behind misses the oldest.
    pub fn listen(&self) -> broadcast::Receiver<Outgoing> {
        self.events.subscribe()
    }

    pub(crate) fn publish_window(&self, window: Vec<Outgoing>) -> Vec<Result<Published, PublishError>> {
        let publish = |outgoing| {
            // An error says that nobody listens, which is the normal case.
            let _ = self.events.send(outgoing);
            Ok(Published { duplicate: false })
        };
        window.into_iter().map(publish).collect()
    }

    pub(crate) fn hint_due(&self) {
        self.hints.send_replace(());
    }

    pub(crate) fn hints(&self) -> LocalHints {
        LocalHints { receiver: self.hints.subscribe(), _bus: Arc::clone(&self.hints) }
    }
}

/// Hints for one task; keeps the bus alive, so that waiting never ends for another reason than a hint.
#[derive(Debug)]
pub(crate) struct LocalHints {
    receiver: watch::Receiver<()>,
    _bus: Arc<watch::Sender<()>>,
}

impl LocalHints {
    pub(crate) async fn next(&mut self) {
        self.receiver.changed().await.expect("the sender lives as long as this value");
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the message of a failed test")]

    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::{Bus, Headers};

    #[tokio::test]
    async fn a_hint_reaches_every_listener_once_however_many_were_sent() {
        let bus = Bus::Local(Local::new());
        let (mut one, mut other) = (bus.hints().await.unwrap(), bus.hints().await.unwrap());
        bus.hint_due().await;
        bus.hint_due().await;
        assert!(one.wait(Duration::from_secs(5)).await);
        assert!(other.wait(Duration::from_secs(5)).await);
        assert!(!one.wait(Duration::ZERO).await);
    }

    #[tokio::test]
    async fn events_are_accepted_with_and_without_a_listener() {
        let local = Local::new();
        let bus = Bus::Local(local.clone());
        let event =
            Outgoing { subject: "a".into(), headers: Headers::new(), payload: Bytes::from_static(b"{}") };
        assert_eq!(bus.publish_window(vec![event.clone()]).await, [Ok(Published { duplicate: false })]);
        let mut listener = local.listen();
        bus.publish_window(vec![event.clone()]).await;
        assert_eq!(listener.recv().await.unwrap(), event);
        assert!(bus.is_connected() && bus.nats().is_none());
    }
}
