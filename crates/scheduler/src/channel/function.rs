//! A function in the place of a channel: what a simulation hands in to see every message, and to say what becomes of it.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use usher_lifecycle::reminder::Channel;

use super::Outcome;
use crate::message::Message;

/// What a channel is given to send.
#[derive(Debug, Clone)]
pub struct Handed {
    /// By which channel.
    pub channel: Channel,
    /// The message.
    pub message: Message,
    /// Which of its items this part shows: positions in [`Message::items`].
    pub items: Vec<usize>,
}

/// Takes messages. Cheap to clone.
#[derive(Clone)]
pub struct Function(Arc<dyn Fn(Handed) -> BoxFuture<'static, Outcome> + Send + Sync>);

impl Function {
    /// From a closure; its future is dropped where a send would be broken off.
    pub fn new(function: impl Fn(Handed) -> BoxFuture<'static, Outcome> + Send + Sync + 'static) -> Self {
        Self(Arc::new(function))
    }

    pub(super) async fn take(&self, channel: Channel, message: &Message, items: Vec<usize>) -> Outcome {
        (self.0)(Handed { channel, message: message.clone(), items }).await
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Function")
    }
}
