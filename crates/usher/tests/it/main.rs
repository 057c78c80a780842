//! Stories about the real binary, told from outside: HTTP, NATS, mail, Slack, signals.

mod commands;
mod embedded;
mod foreign;
mod preview;
mod metrics;
mod service;
mod simulate;
mod split;
