//! NATS as others use it: commands published, events read back from the streams.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use base64::Engine as _;
use bytes::Bytes;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use usher_bus::{Bus, Headers, Nats, Outgoing, Settings};
use usher_ingest::{intake::Intake, relay::Relay};
use usher_store::Store;
use usher_testkit::clock::VirtualClock;

use crate::app::{TestApp, start};

/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A private nats-server, and a connection to it.
pub(crate) struct Wire {
    pub(crate) server: usher_testkit::nats::Nats,
    pub(crate) nats: Nats,
    pub(crate) clock: VirtualClock,
}

/// A message of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) subject: String,
    pub(crate) headers: String,
    pub(crate) payload: Vec<u8>,
}

impl Stored {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = |line: &&str| line.split(':').next().is_some_and(|key| key.eq_ignore_ascii_case(name));
        Some(self.headers.lines().find(line)?.split_once(':')?.1.trim())
    }
}

impl Wire {
    pub(crate) async fn new() -> Self {
        Self::with("", |settings| settings).await
    }

    /// With a fragment of the server's configuration and other settings.
    pub(crate) async fn with(fragment: &str, change: impl FnOnce(Settings) -> Settings) -> Self {
        let server = usher_testkit::nats::Nats::start_with(fragment).await.unwrap();
        let settings = Settings {
            request_timeout: Duration::from_secs(3),
            publish_timeout: Duration::from_secs(3),
            ..Settings::new(&server.url())
        };
        let nats = Nats::connect(change(settings)).await.unwrap();
        nats.ensure_streams().await.unwrap();
        Self { server, nats, clock: VirtualClock::new(start()) }
    }

    pub(crate) fn relay(&self, app: &TestApp) -> Relay {
        Relay::new(app.store.clone(), Bus::Nats(self.nats.clone()), self.clock.as_fn())
    }

    pub(crate) fn intake(&self, app: &TestApp, wake: Arc<dyn Fn() + Send + Sync>) -> Intake {
        self.intake_on(app.store.clone(), wake)
    }

    pub(crate) fn intake_on(&self, store: Store, wake: Arc<dyn Fn() + Send + Sync>) -> Intake {
        Intake::new(store, self.nats.clone(), self.clock.as_fn(), wake)
    }

    /// A relay and an intake at work.
    pub(crate) fn at_work(&self, app: &TestApp) -> Work {
        let (wake, shutdown) = (Arc::new(Notify::new()), CancellationToken::new());
        let (notify, wakes) = (Arc::clone(&wake), Arc::clone(&app.wakes));
        let intake = self.intake(
            app,
            Arc::new(move || {
                wakes.fetch_add(1, Ordering::SeqCst);
                notify.notify_one();
            }),
        );
        let mut metrics = Registry::default();
        intake.register(&mut metrics);
        // What failed is tried again after a while: this one's clock goes on by itself.
        let (began, shown) = (tokio::time::Instant::now(), self.clock.as_fn());
        let relay = Relay::new(
            app.store.clone(),
            Bus::Nats(self.nats.clone()),
            Arc::new(move || shown() + began.elapsed()),
        );
        let parts = vec![
            tokio::spawn(relay.run(shutdown.clone(), Arc::clone(&wake))),
            tokio::spawn(intake.run(shutdown.clone())),
        ];
        Work { wake, shutdown, parts, metrics }
    }

    /// Publishes; each must be stored.
    pub(crate) async fn publish(&self, messages: Vec<Outgoing>) {
        for result in self.nats.publish_window(messages).await {
            result.unwrap();
        }
    }

    /// How many messages a stream holds.
    pub(crate) async fn count(&self, stream: &str) -> u64 {
        self.api(&format!("STREAM.INFO.{stream}"), json!({})).await["state"]["messages"].as_u64().unwrap_or(0)
    }

    /// Everything in a stream that keeps its messages.
    pub(crate) async fn stored(&self, stream: &str) -> Vec<Stored> {
        let mut messages = Vec::new();
        for seq in 1..=self.count(stream).await {
            let answer = self.api(&format!("STREAM.MSG.GET.{stream}"), json!({"seq": seq})).await;
            let message = &answer["message"];
            let bytes = |name: &str| {
                let text = message[name].as_str().unwrap_or_default();
                base64::engine::general_purpose::STANDARD.decode(text).unwrap()
            };
            messages.push(Stored {
                subject: message["subject"].as_str().unwrap().to_owned(),
                headers: String::from_utf8(bytes("hdrs")).unwrap(),
                payload: bytes("data"),
            });
        }
        messages
    }

    pub(crate) async fn events(&self) -> Vec<Stored> {
        self.stored("USHER_EVENTS").await
    }

    /// Waits until every command has left its stream.
    pub(crate) async fn drained(&self) {
        eventually("every command leaves", || async { self.count("USHER_COMMANDS").await == 0 }).await;
    }

    pub(crate) async fn api(&self, what: &str, body: Value) -> Value {
        let request = message(&format!("$JS.API.{what}"), &[], &body.to_string());
        match self.nats.request(request, Duration::from_secs(3)).await {
            Ok((_, answer)) => serde_json::from_slice(&answer).unwrap(),
            Err(_away) => Value::Null,
        }
    }
}

/// Tasks at work, ended and awaited by `end`.
pub(crate) struct Work {
    pub(crate) wake: Arc<Notify>,
    shutdown: CancellationToken,
    parts: Vec<JoinHandle<()>>,
    /// What its intake counts.
    pub(crate) metrics: Registry,
}

impl Work {
    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        for part in self.parts {
            tokio::time::timeout(PATIENCE, part).await.expect("it ends").expect("it does not panic");
        }
    }
}

pub(crate) fn message(subject: &str, headers: &[(&str, &str)], payload: &str) -> Outgoing {
    let headers: Headers = headers.iter().copied().collect();
    Outgoing { subject: subject.to_owned(), headers, payload: Bytes::from(payload.to_owned()) }
}

/// A command to the workspace acme, as plain JSON with a message id.
pub(crate) fn command(name: &str, id: &str, data: &Value) -> Outgoing {
    message(&format!("usher.commands.acme.{name}"), &[("Nats-Msg-Id", id)], &data.to_string())
}

/// The same as a structured `CloudEvent`, which a stream takes as often as it is sent.
pub(crate) fn cloud_event(name: &str, id: &str, data: &Value) -> Outgoing {
    let event = json!({"specversion": "1.0", "id": id, "source": "crm", "type": "deal.won", "data": data});
    message(
        &format!("usher.commands.acme.{name}"),
        &[("Content-Type", "application/cloudevents+json")],
        &event.to_string(),
    )
}

/// Tries again until it is so.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut attempt: impl FnMut() -> F) {
    let attempts = async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        while !attempt().await {
            pause.tick().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, attempts).await.is_ok(), "never: {what}");
}
