//! The second net under the commands: what `JetStream` gave up is kept as rejected where it can still be read, and told
//! in the log in any case. With the consumer as it is made here this does not happen.

use prometheus_client::metrics::{counter::Counter, family::Family};
use tokio_util::sync::CancellationToken;
use usher_bus::{Advisory, BusError, Nats, Stranded};
use usher_lifecycle::{Code, Refusal};
use usher_store::Store;

use super::{
    Clock,
    apply::guarded,
    metrics::{ENDED, GIVEN_UP},
    pause,
    read::{Identity, Message, rejected},
};
use crate::relay::chain;

/// How long to wait before listening, or keeping a command, is tried again.
const BREATH: std::time::Duration = std::time::Duration::from_secs(5);

/// Listens to advisories.
pub(super) struct SecondNet {
    pub(super) store: Store,
    pub(super) nats: Nats,
    pub(super) clock: Clock,
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
                let Some(advisory) = advisory else { break };
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

    /// Keeps it as rejected, then takes it out of the stream.
    async fn keep(&self, sequence: u64, deliveries: u64) -> Result<(), String> {
        let told = |error: BusError| chain(&error);
        let Some(stranded) = self.nats.stranded(sequence).await.map_err(told)? else { return Ok(()) };
        let Stranded { subject, headers, payload, stream } = &stranded;
        let message = Message { subject, headers, payload, identity: Identity::Stream(stream) };
        let why = format!("JetStream delivered it {deliveries} times and gave it up");
        let row = rejected(message, deliveries, self.nats.names(), Refusal::new(Code::Poison, why).into());
        let kept = guarded(self.store.reject(vec![row], (self.clock)())).await;
        kept.and_then(|kept| kept).map_err(|error| chain(&error))?;
        self.nats.remove_stranded(sequence).await.map_err(told)
    }
}
