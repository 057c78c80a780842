//! Messages on their way, and outcomes that are not recorded yet.
//!
//! Law: an outcome stays here until the store has it. What is dropped with this value comes back when its lease ends.

use std::collections::HashMap;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use usher_lifecycle::reminder::Channel;
use usher_store::Finish;

/// Messages of a channel in flight, or waiting for their turn, up to which more are claimed. A channel that stalls
/// holds the other one up in nothing.
const ROOM: usize = 256;

/// Messages on their way.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    set: JoinSet<Vec<Finish>>,
    channels: HashMap<Id, Channel>,
    /// What became of those that have landed.
    pub(crate) landed: Vec<Finish>,
    /// What a shutdown says to those that have not.
    pub(crate) stop: Stop,
}

/// How a shutdown ends flights.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// Who waits for a turn goes back unsent.
    pub(crate) waiting: CancellationToken,
    /// Who is in the middle of it stops, and nobody knows whether the message arrived.
    pub(crate) sending: CancellationToken,
}

impl Flights {
    pub(crate) fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether more may be claimed for the channel.
    pub(crate) fn has_room(&self, channel: Channel) -> bool {
        self.channels.values().filter(|it| **it == channel).count() <= ROOM
    }

    /// Sends a message on its way.
    pub(crate) fn launch(
        &mut self,
        channel: Channel,
        flight: impl Future<Output = Vec<Finish>> + Send + 'static,
    ) {
        let id = self.set.spawn(flight).id();
        self.channels.insert(id, channel);
    }

    /// Waits until a message has landed, and takes all others that have meanwhile; at once when none is on its way.
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) {
        let mut next = self.set.join_next_with_id().await;
        while let Some(result) = next {
            let id = match result {
                Ok((id, finished)) => {
                    self.landed.extend(finished);
                    id
                }
                // Its lease ends, and another worker takes it up as ambiguous.
                Err(error) => {
                    tracing::error!(%error, "sending a message failed unexpectedly");
                    error.id()
                }
            };
            self.channels.remove(&id);
            next = self.set.try_join_next_with_id();
        }
    }
}
