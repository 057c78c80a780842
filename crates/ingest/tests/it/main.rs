//! The API from outside: the real router on a real store. Each story runs on SQLite and on Postgres.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod app;
mod asyncapi;
mod changes;
mod codes;
mod contacts;
mod contract;
mod idempotency;
mod import;
mod intake;
mod keys;
mod limits;
mod lists;
mod logs;
mod openapi;
mod outbox;
mod records;
mod refusals;
mod rejections;
mod relay;
mod reminders;
mod replay;
mod requests;
mod scenarios;
mod scopes;
mod sender_order;
mod server;
mod settings;
mod stranded;
mod walls;
mod wire;
