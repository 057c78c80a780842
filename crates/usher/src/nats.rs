//! NATS as configured: the connection, and what has to wait for it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;
use usher_bus::{Ages, Bus, BusError, Credentials, Local, Names, Nats, Settings, Tls};
use usher_ingest::intake::Intake;

use crate::{compose::write_address, config::Config};

/// How long the address file waits for NATS, which may be starting at the same time.
const NATS_PATIENCE: Duration = Duration::from_secs(5);

/// How often the streams are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// The bus. A server that is away is no reason not to start: reminders and API go on without it.
pub(crate) async fn bus(config: &Config) -> anyhow::Result<Bus> {
    let Some(settings) = settings(config)? else { return Ok(Bus::Local(Local::new())) };
    let settings = Settings { retry_on_initial_connect: true, ..settings };
    Ok(Bus::Nats(Nats::connect(settings).await.context("NATS (nats.url)")?))
}

/// Wakes the schedulers, from a process that does nothing else. Where that fails they see it at their next look.
pub(crate) async fn hint(config: &Config) {
    let told = async {
        let Some(settings) = settings(config)? else { return Ok(()) };
        let nats = Nats::connect(settings).await?;
        nats.hint_due().await;
        anyhow::Ok(nats.flush().await?)
    };
    if let Err(error) = told.await {
        tracing::debug!(error = format!("{error:#}"), "no hint");
    }
}

/// How to reach NATS; none when it is not configured.
fn settings(config: &Config) -> anyhow::Result<Option<Settings>> {
    let Some(url) = &config.nats.url else { return Ok(None) };
    let nats = &config.nats;
    let read =
        |path: &Path| std::fs::read_to_string(path).map(|text| SecretString::from(text.trim().to_owned()));
    let credentials = match (&nats.user, &nats.password, &nats.token, &nats.nkey_file, &nats.credentials_file)
    {
        (Some(user), Some(password), ..) => {
            Credentials::User { user: user.clone(), password: password.clone() }
        }
        (_, _, Some(token), ..) => Credentials::Token(token.clone()),
        (_, _, _, Some(path), _) => Credentials::Nkey(read(path).context("nats.nkey_file")?),
        (_, _, _, _, Some(path)) => Credentials::Creds(read(path).context("nats.credentials_file")?),
        _ => Credentials::None,
    };
    Ok(Some(Settings {
        credentials,
        tls: Tls {
            required: nats.tls_required,
            ca_file: nats.tls_ca_file.clone(),
            client_certificate: nats.tls_certificate_file.clone().zip(nats.tls_key_file.clone()),
        },
        servers: Settings::new(url.expose_secret()).servers,
        ..described(config)?
    }))
}

/// What is wanted of NATS, wherever it is: names, streams and their ages.
pub(crate) fn described(config: &Config) -> anyhow::Result<Settings> {
    let nats = &config.nats;
    let days = |days: u32| Duration::from_secs(u64::from(days) * 86_400);
    Ok(Settings {
        names: Names::new(&nats.prefix, &nats.stream_prefix).context("nats.prefix or nats.stream_prefix")?,
        replicas: nats.replicas,
        max_bytes: nats.max_bytes,
        ages: Ages {
            events: days(nats.events_max_age_days),
            commands: days(nats.commands_max_age_days),
            rejected: days(nats.rejected_max_age_days),
        },
        ..Settings::new("nats://localhost:4222")
    })
}

/// What needs NATS: the streams, then the address file, then the intake. While NATS is away the API answers all the same.
pub(crate) struct NatsPart {
    pub(crate) nats: Nats,
    pub(crate) streams: Streams,
    pub(crate) address_file: (PathBuf, SocketAddr),
}

impl NatsPart {
    pub(crate) async fn run(self, intake: Option<Intake>, shutdown: CancellationToken) -> anyhow::Result<()> {
        let write = || write_address(&self.address_file.0, self.address_file.1);
        let mut ready = Box::pin(streams(self.nats.clone(), self.streams.clone(), shutdown.clone()));
        let mut written = false;
        let made = tokio::select! {
            made = &mut ready => made,
            () = tokio::time::sleep(NATS_PATIENCE) => {
                let cause = self.streams.missing().unwrap_or_default();
                tracing::warn!(
                    cause,
                    "NATS (nats.url) is not ready; the API answers all the same, and events wait in the outbox"
                );
                write();
                written = true;
                ready.await
            }
        };
        // Going on with streams that are not ours would fill the outbox unseen.
        made.context("a stream on NATS is not what this configuration asks for; change one of them")?;
        self.streams.tell(None);
        if !written {
            write();
        }
        let work = async {
            match intake {
                Some(intake) => Box::pin(intake.run(shutdown.clone())).await,
                None => shutdown.cancelled().await,
            }
        };
        tokio::join!(work, still_there(&self.nats, &self.streams, &shutdown));
        Ok(())
    }
}

/// Looks again and again whether the streams are there, and makes those that somebody has removed. One that differs by
/// now is left as it is, and told.
async fn still_there(nats: &Nats, told: &Streams, shutdown: &CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let cause = match nats.ensure_streams().await {
            Ok(()) => None,
            // That has its own sign, and its own line in the log.
            Err(BusError::NotConnected) => continue,
            Err(error) => Some(format!("{:#}", anyhow::Error::from(error))),
        };
        if told.tell(cause.clone()) {
            if let Some(cause) = cause {
                tracing::error!(cause, "a stream on NATS is not as it should be");
            } else {
                tracing::info!("all streams on NATS exist again");
            }
        }
    }
}

/// Why the streams are not there, for whoever asks how we are. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Streams(Arc<Mutex<Option<String>>>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some("the streams are not looked at yet".into()))))
    }
}

impl Streams {
    /// The cause; none once they are there.
    pub(crate) fn missing(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in the cause; true when it is another one than before.
    fn tell(&self, cause: Option<String>) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = *last != cause;
        *last = cause;
        new
    }
}

/// Makes the streams, as soon as NATS is there. An error only when they are there and different. What is wrong is said
/// once per cause, and to whoever asks.
async fn streams(nats: Nats, told: Streams, shutdown: CancellationToken) -> Result<(), BusError> {
    let mut wait = Duration::from_millis(200);
    loop {
        match nats.ensure_streams().await {
            Ok(()) => {
                tracing::info!("NATS is there, and all streams exist");
                return Ok(());
            }
            Err(error @ BusError::Mismatch(_)) => return Err(error),
            // At a start the connection is a moment away, and that is nothing to tell.
            Err(BusError::NotConnected) if wait < Duration::from_millis(500) => {}
            Err(error) => {
                let cause = match error {
                    BusError::NotConnected => nats.trouble().unwrap_or_else(|| "not connected".into()),
                    other => format!("{:#}", anyhow::Error::from(other)),
                };
                if told.tell(Some(cause.clone())) {
                    tracing::error!(cause, "NATS (nats.url) is not ready; trying again until it is");
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(5)),
        }
    }
}
