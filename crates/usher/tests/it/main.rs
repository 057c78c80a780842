//! Stories about the real binary, told from outside: HTTP, NATS, mail, Slack, signals.

mod commands;
mod embedded;
mod foreign;
mod import;
mod metrics;
mod preview;
mod service;
mod simulate;
mod split;
