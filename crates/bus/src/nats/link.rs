//! The client behind a connection. It reconnects by itself; when it ends altogether (a fault in its own task takes
//! everything with it, without a word), it is replaced. Whoever listened listens anew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::{Client, ConnectErrorKind, Event, Message, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Nats;
use super::settings::Settings;
use super::trouble::Trouble;
use crate::error::BusError;

/// Publishes that may wait for their acknowledgement at once, over all windows.
const MAX_IN_FLIGHT: usize = 16 * 1024;
/// How long to wait before a client is replaced, or a subscription is made, once more.
const BREATH: Duration = Duration::from_secs(1);

/// The client in use.
pub(super) struct Link {
    now: RwLock<(Client, Context)>,
    /// The client ended and is not replaced yet. It would go on saying that it is connected.
    ended: AtomicBool,
    keeper: OnceLock<JoinHandle<()>>,
}

impl Link {
    pub(super) async fn open(
        settings: &Settings,
        connects: &Arc<watch::Sender<u64>>,
        trouble: &Trouble,
    ) -> Result<Self, BusError> {
        let now = RwLock::new(client(settings, connects, trouble).await?);
        Ok(Self { now, ended: AtomicBool::new(false), keeper: OnceLock::new() })
    }

    pub(super) fn client(&self) -> Client {
        self.now.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    pub(super) fn jetstream(&self) -> Context {
        self.now.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    pub(super) fn is_connected(&self) -> bool {
        !self.ended.load(Ordering::Acquire) && self.client().connection_state() == State::Connected
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
        }
    }
}

impl Nats {
    /// Replaces the client whenever it ends, as long as anybody has this connection.
    pub(super) fn keep_alive(&self) {
        let keeper = tokio::spawn(keep(Arc::downgrade(&self.shared)));
        // Set once, when the connection is made.
        drop(self.shared.link.keeper.set(keeper));
    }
}

async fn keep(shared: Weak<super::Shared>) {
    loop {
        let Some(ours) = shared.upgrade().map(|shared| shared.link.client()) else { return };
        // Nobody publishes there: it yields nothing, and ends with the client.
        if let Ok(mut nothing) = ours.subscribe(ours.new_inbox()).await {
            while nothing.next().await.is_some() {}
        }
        drop(ours);
        let Some(shared) = shared.upgrade() else { return };
        shared.link.ended.store(true, Ordering::Release);
        shared.trouble.ended();
        let settings = Settings { retry_on_initial_connect: true, ..shared.settings.clone() };
        loop {
            tokio::time::sleep(BREATH).await;
            match client(&settings, &shared.connects, &shared.trouble).await {
                Ok(now) => {
                    *shared.link.now.write().unwrap_or_else(PoisonError::into_inner) = now;
                    shared.link.ended.store(false, Ordering::Release);
                    break;
                }
                Err(error) => tracing::error!(%error, "the NATS client cannot be replaced yet"),
            }
        }
    }
}

async fn client(
    settings: &Settings,
    connects: &Arc<watch::Sender<u64>>,
    trouble: &Trouble,
) -> Result<(Client, Context), BusError> {
    let (servers, options) = settings.connect_options()?;
    let (counter, heard) = (Arc::clone(connects), trouble.clone());
    let options = options.event_callback(move |event| {
        if matches!(event, Event::Connected) {
            counter.send_modify(|connects| *connects += 1);
        }
        heard.heard(&event);
        std::future::ready(())
    });
    let client = options.connect(servers).await.map_err(|error| match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            BusError::Unauthorized { servers: settings.shown() }
        }
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Tls
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => {
            BusError::Connect { servers: settings.shown(), source: error.into() }
        }
    })?;
    let jetstream = ContextBuilder::new()
        .timeout(settings.request_timeout.max(settings.publish_timeout))
        .max_ack_inflight(MAX_IN_FLIGHT)
        .backpressure_on_inflight(true)
        .build(client.clone());
    Ok((client, jetstream))
}

/// A subscription that outlives the client.
#[derive(Debug)]
pub(super) struct Lasting {
    nats: Nats,
    pattern: String,
    group: Option<&'static str>,
    subscriber: Subscriber,
}

impl Lasting {
    pub(super) async fn new(
        nats: &Nats,
        pattern: String,
        group: Option<&'static str>,
    ) -> Result<Self, BusError> {
        let subscriber = nats.subscribe(pattern.clone(), group).await?;
        Ok(Self { nats: nats.clone(), pattern, group, subscriber })
    }

    /// The next message; waits as long as it takes. Safe to cancel.
    pub(super) async fn next(&mut self) -> Message {
        loop {
            if let Some(message) = self.subscriber.next().await {
                return message;
            }
            match self.nats.subscribe(self.pattern.clone(), self.group).await {
                Ok(subscriber) => self.subscriber = subscriber,
                Err(error) => {
                    tracing::debug!(%error, pattern = self.pattern, "not subscribed again yet");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    /// A message that is there already.
    pub(super) fn at_hand(&mut self) -> Option<Message> {
        self.subscriber.next().now_or_never().flatten()
    }
}
