//! How the sink answers.

use std::collections::VecDeque;
use std::time::Duration;

/// What the sink does with a message, or with a connection. A reply of 421 also closes the connection.
#[derive(Clone, Debug, Default)]
pub enum Behaviour {
    /// Takes everything.
    #[default]
    Accept,
    /// Connection: takes the TCP connection and never says a word.
    NeverGreet,
    /// Connection: greets with this reply instead of 220, and closes.
    Greet {
        /// Three digits.
        code: u16,
        /// What follows them.
        text: String,
    },
    /// Connection: closes it with 421 after so long without a command between two messages.
    CloseIdleAfter(Duration),
    /// Refuses MAIL FROM.
    RejectSender {
        /// Three digits.
        code: u16,
        /// What follows them.
        text: String,
    },
    /// Refuses the recipients whose address contains this; takes the message for the others.
    RejectRcpt {
        /// Empty: every recipient.
        address_contains: String,
        /// Three digits.
        code: u16,
        /// What follows them.
        text: String,
    },
    /// Reads the message, then refuses it; it is not recorded.
    RejectData {
        /// Three digits.
        code: u16,
        /// What follows them.
        text: String,
    },
    /// Lets the client send the message, reads it and never answers; it is not recorded.
    StallInData,
    /// Closes the connection when the client is to send the message; it is not recorded.
    DropInData,
    /// Takes and records the message, then closes the connection without an answer.
    DropAfterData,
    /// Takes and records the message, then never answers.
    StallAfterData,
}

impl Behaviour {
    fn is_of_connections(&self) -> bool {
        matches!(self, Self::NeverGreet | Self::Greet { .. } | Self::CloseIdleAfter(_))
    }
}

/// The behaviour of the moment: the front of the queue, else the constant one.
#[derive(Default)]
pub(super) struct Script {
    constant: Behaviour,
    queue: VecDeque<(usize, Behaviour)>,
}

impl Script {
    pub(super) fn set(&mut self, behaviour: Behaviour) {
        self.constant = behaviour;
    }

    pub(super) fn next(&mut self, n: usize, behaviour: Behaviour) {
        if n > 0 {
            self.queue.push_back((n, behaviour));
        }
    }

    /// For a connection just made; `Accept` when what comes next concerns messages.
    pub(super) fn for_connection(&mut self) -> Behaviour {
        self.take(true)
    }

    /// For a message just begun; `Accept` when what comes next concerns connections.
    pub(super) fn for_message(&mut self) -> Behaviour {
        self.take(false)
    }

    fn take(&mut self, of_connections: bool) -> Behaviour {
        let Some((left, front)) = self.queue.front_mut() else {
            return if self.constant.is_of_connections() == of_connections {
                self.constant.clone()
            } else {
                Behaviour::Accept
            };
        };
        if front.is_of_connections() != of_connections {
            return Behaviour::Accept;
        }
        let behaviour = front.clone();
        *left -= 1;
        if *left == 0 {
            self.queue.pop_front();
        }
        behaviour
    }
}
