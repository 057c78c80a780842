//! NATS as configured: the connection, and what has to wait for it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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

/// The bus. A server that is away is no reason not to start: reminders and API go on without it.
pub(crate) async fn bus(config: &Config) -> anyhow::Result<Bus> {
    let Some(url) = &config.nats.url else { return Ok(Bus::Local(Local::new())) };
    let nats = &config.nats;
    let days = |days: u32| Duration::from_secs(u64::from(days) * 86_400);
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
    let settings = Settings {
        names: Names::new(&nats.prefix, &nats.stream_prefix).context("nats.prefix or nats.stream_prefix")?,
        credentials,
        tls: Tls { required: nats.tls_required, ca_file: nats.tls_ca_file.clone(), client_certificate: None },
        replicas: nats.replicas,
        ages: Ages {
            events: days(nats.events_max_age_days),
            commands: days(nats.commands_max_age_days),
            rejected: days(nats.rejected_max_age_days),
        },
        retry_on_initial_connect: true,
        ..Settings::new(url.expose_secret())
    };
    Ok(Bus::Nats(Nats::connect(settings).await.context("NATS (nats.url)")?))
}

/// What needs NATS: the streams, then the address file, then the intake. While NATS is away the API answers all the same.
pub(crate) struct NatsPart {
    pub(crate) nats: Nats,
    pub(crate) streams_exist: Arc<AtomicBool>,
    pub(crate) address_file: (PathBuf, SocketAddr),
}

impl NatsPart {
    pub(crate) async fn run(self, intake: Option<Intake>, shutdown: CancellationToken) -> anyhow::Result<()> {
        let write = || write_address(&self.address_file.0, self.address_file.1);
        let mut ready = Box::pin(streams(self.nats.clone(), shutdown.clone()));
        let mut written = false;
        let made = tokio::select! {
            made = &mut ready => made,
            () = tokio::time::sleep(NATS_PATIENCE) => {
                tracing::warn!("NATS (nats.url) is away; the API answers all the same, and events wait in the outbox");
                write();
                written = true;
                ready.await
            }
        };
        // Going on with streams that are not ours would fill the outbox unseen.
        made.context("a stream on NATS is not what this configuration asks for; change one of them")?;
        self.streams_exist.store(true, Ordering::Relaxed);
        if !written {
            write();
        }
        match intake {
            Some(intake) => Box::pin(intake.run(shutdown)).await,
            None => shutdown.cancelled().await,
        }
        Ok(())
    }
}

/// Makes the streams, as soon as NATS is there. An error only when they are there and different.
async fn streams(nats: Nats, shutdown: CancellationToken) -> Result<(), BusError> {
    let mut wait = Duration::from_millis(200);
    loop {
        match nats.ensure_streams().await {
            Ok(()) => {
                tracing::info!("NATS is there, and all streams exist");
                return Ok(());
            }
            Err(error @ BusError::Mismatch(_)) => return Err(error),
            // At a start the connection is a moment away, and that is nothing to tell.
            Err(error) if wait > Duration::from_millis(500) => {
                tracing::warn!(
                    error = format!("{:#}", anyhow::Error::from(error)),
                    "NATS (nats.url) is not ready; trying again"
                );
            }
            Err(error) => tracing::debug!(%error, "NATS (nats.url) is not ready yet"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(5)),
        }
    }
}
