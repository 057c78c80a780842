//! The bus against real servers, and the reading of messages against everything that may come.

#![expect(clippy::unwrap_used, reason = "a panic is the message of a failed test")]

mod commands;
mod connect;
mod core;
mod decode;
mod publish;
mod streams;
mod unreadable;

use std::time::Duration;

use bytes::Bytes;
use usher_bus::{Headers, Nats, Outgoing, Settings};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server of its own, connected.
async fn connected() -> (usher_testkit::nats::Nats, Nats) {
    let server = usher_testkit::nats::Nats::start().await.unwrap();
    let nats = Nats::connect(quick(&server.url())).await.unwrap();
    (server, nats)
}

/// A server with the streams.
async fn ready() -> (usher_testkit::nats::Nats, Nats) {
    let (server, nats) = connected().await;
    nats.ensure_streams().await.unwrap();
    (server, nats)
}

/// Settings whose timeouts end a test soon, yet not by accident.
fn quick(url: &str) -> Settings {
    Settings {
        request_timeout: Duration::from_secs(3),
        publish_timeout: Duration::from_secs(3),
        ..Settings::new(url)
    }
}

fn message(subject: &str, id: &str, payload: &'static str) -> Outgoing {
    let headers = if id.is_empty() { Headers::new() } else { Headers::new().with("Nats-Msg-Id", id) };
    Outgoing { subject: subject.to_owned(), headers, payload: Bytes::from_static(payload.as_bytes()) }
}

fn command(id: &str, payload: &'static str) -> Outgoing {
    message("usher.commands.acme.onboarding.create", id, payload)
}

/// `JetStream` of the same server without our crate, for what only an operator does.
async fn raw(server: &usher_testkit::nats::Nats) -> async_nats::jetstream::Context {
    async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

/// Tries again until it is so.
async fn eventually<F: Future<Output = bool>>(what: &str, mut attempt: impl FnMut() -> F) {
    let attempts = async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        while !attempt().await {
            pause.tick().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, attempts).await.is_ok(), "never: {what}");
}

/// The whole chain of an error, as a log shows it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
