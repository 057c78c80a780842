//! The second net under the commands: what `JetStream` gave up, and what the client cannot read, is kept as rejected, and
//! told in the log in any case. The first does not happen with the consumer as it is made here.

use std::sync::Arc;

use prometheus_client::metrics::{counter::Counter, family::Family};
use tokio_util::sync::CancellationToken;
use usher_bus::{Advisory, Nats, ORIGINAL_HEADERS, Stranded, UNREADABLE_HEADERS};
use usher_lifecycle::{Code, Refusal};
use usher_store::Store;

use super::{
    Clock,
    apply::guarded,
    metrics::{ENDED, GIVEN_UP},
    pause,
    read::{Fault, Identity, Message, rejected},
};
use crate::relay::chain;

/// How long to wait before listening, or keeping a command, is tried again.
const BREATH: std::time::Duration = std::time::Duration::from_secs(5);

/// Listens to advisories, and looks for what cannot be read.
#[derive(Clone)]
pub(super) struct SecondNet {
    pub(super) store: Store,
    pub(super) nats: Nats,
    pub(super) clock: Clock,
    pub(super) wake: Arc<dyn Fn() + Send + Sync>,
    pub(super) heard: Family<[(&'static str, &'static str); 1], Counter>,
}

impl SecondNet {
    /// Listens until `shutdown`.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let mut advisories = match self.nats.advisories().await {
                Ok(advisories) => advisories,
                Err(error) => {
                    tracing::debug!(error = chain(&error), "advisories cannot be listened to yet");
                    pause(BREATH, &shutdown).await;
                    continue;
                }
            };
            loop {
                let advisory = tokio::select! {
                    () = shutdown.cancelled() => return,
                    advisory = advisories.next() => advisory,
                };
                self.catch(&advisory, &shutdown).await;
            }
        }
    }

    async fn catch(&self, advisory: &Advisory, shutdown: &CancellationToken) {
        let Advisory { used_up, sequence, deliveries } = *advisory;
        self.heard.get_or_create(&[("kind", if used_up { GIVEN_UP } else { ENDED })]).inc();
        if !used_up {
            tracing::error!(sequence, "a command was ended by somebody else and is lost to us");
            return;
        }
        tracing::error!(
            sequence,
            deliveries,
            "JetStream gave a command up; is max_deliver of the consumer -1?"
        );
        while !shutdown.is_cancelled() {
            match self.keep(sequence, deliveries).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(sequence, error, "it cannot be kept as rejected yet"),
            }
            pause(BREATH, shutdown).await;
        }
    }

    async fn keep(&self, sequence: u64, deliveries: u64) -> Result<(), String> {
        let stranded = self.nats.stranded(sequence).await.map_err(|error| chain(&error))?;
        let Some(stranded) = stranded else { return Ok(()) };
        let why = format!("JetStream delivered it {deliveries} times and gave it up");
        self.reject(&stranded, deliveries, Refusal::new(Code::Poison, why).into()).await
    }

    /// Rejects commands that cannot be read: they break the connection whenever they are delivered. To be called after each
    /// new connection, before more is pulled.
    pub(super) async fn sweep(&self) -> Result<(), String> {
        for stranded in self.nats.unreadable_commands().await.map_err(|error| chain(&error))? {
            let why = stranded.unreadable.unwrap_or_default();
            let sequence = stranded.stream.sequence;
            tracing::error!(sequence, why, "a command breaks the connection whenever it is delivered");
            let fault = Fault {
                code: UNREADABLE_HEADERS,
                message: format!("{why}; the headers as they came are in {ORIGINAL_HEADERS}, in base64"),
                field: None,
                refusal: None,
            };
            self.reject(&stranded, 1, fault).await?;
        }
        Ok(())
    }

    /// Keeps it as rejected, then takes it out of the stream.
    async fn reject(&self, stranded: &Stranded, deliveries: u64, fault: Fault) -> Result<(), String> {
        let Stranded { subject, headers, payload, stream, unreadable: _ } = stranded;
        let message = Message { subject, headers, payload, identity: Identity::Stream(stream) };
        let row = rejected(message, deliveries, self.nats.names(), fault);
        let kept = guarded(self.store.reject(vec![row], (self.clock)())).await;
        kept.and_then(|kept| kept).map_err(|error| chain(&error))?;
        (self.wake)();
        self.nats.remove_stranded(stream.sequence).await.map_err(|error| chain(&error))
    }
}
