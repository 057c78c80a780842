//! Stories about the real binary, told from outside: HTTP, NATS, mail, Slack, signals.

mod asyncapi;
mod chaos;
mod commands;
mod embedded;
mod foreign;
mod foresight;
mod import;
mod metrics;
mod nats;
mod preview;
mod rejected;
mod retry;
mod service;
mod shutdown;
mod simulate;
mod split;
mod upstream;
mod wake_up;
