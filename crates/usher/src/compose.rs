//! Composition: which parts a role has, how they wake each other, and in which order they end.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;
use usher_bus::{Ages, Bus, BusError, Credentials, Local, Names, Nats, Settings, Tls};
use usher_ingest::{
    http::{App, Health, Readiness, router, serve},
    intake::Intake,
    relay::Relay,
};
use usher_scheduler::{Scheduler, message::Templates};
use usher_store::{Bootstrapped, Store};

use crate::{config::Config, embedded, messages, store};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Roles {
    /// Everything.
    All,
    /// The way in.
    Ingest,
    /// The way out.
    Scheduler,
}

impl Roles {
    const fn takes_in(self) -> bool {
        matches!(self, Self::All | Self::Ingest)
    }

    const fn sends(self) -> bool {
        matches!(self, Self::All | Self::Scheduler)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::All => "run",
            Self::Ingest => "ingest",
            Self::Scheduler => "scheduler",
        }
    }
}

/// How long the address file waits for NATS, which may be starting at the same time.
const NATS_PATIENCE: Duration = Duration::from_secs(5);
/// Where the file with the real address is, within the data folder.
const ADDRESS_FILE: &str = "http.addr";

/// Runs the roles until the process is told to end.
pub(crate) async fn run(config: &Config, roles: Roles, secret: Option<String>) -> anyhow::Result<()> {
    let url = config.store.url.expose_secret();
    if roles != Roles::All {
        refuse_alone(config, roles)?;
    }
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("data_dir {} cannot be made", config.data_dir.display()))?;
    let _lock = embedded::lock(url)?;
    // One that a killed process left behind must not lead anybody astray.
    drop(std::fs::remove_file(config.data_dir.join(ADDRESS_FILE)));
    let shutdown = CancellationToken::new();
    tokio::spawn(signals(shutdown.clone()));

    let (templates, channels) =
        (Templates::embedded().context("the message templates")?, messages::channels(config)?);
    let opened = tokio::select! {
        store = open(config, secret) => store?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let (store, made) = opened;
    let bus = bus(config).await?;
    let clock: usher_scheduler::Clock = Arc::new(store::now);
    let (events, wake) = waker(&bus, &shutdown);

    let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    if roles.sends() {
        let scheduler = Scheduler::new(
            store.clone(),
            bus.clone(),
            Arc::clone(&clock),
            channels,
            templates,
            messages::settings(config),
        );
        let shutdown = shutdown.clone();
        let checked = scheduler.clone();
        tokio::spawn(async move { checked.check_channels().await });
        parts.spawn(async move {
            scheduler.run(shutdown).await;
            Ok(())
        });
    }
    let mut listening = None;
    if roles.takes_in() {
        let listener = TcpListener::bind(config.http.listen)
            .await
            .with_context(|| format!("http.listen {} cannot be bound", config.http.listen))?;
        let address = listener.local_addr().context("http.listen")?;
        let app = App {
            store: store.clone(),
            clock: Arc::clone(&clock),
            wake: Arc::clone(&wake),
            ready: readiness(&bus),
            channels: messages::configured(config),
            body_limit: config.http.body_limit_bytes,
        };
        let shutdown = shutdown.clone();
        parts.spawn(async move {
            serve(listener, router(app), shutdown).await;
            Ok(())
        });
        listening = Some(address);
    }
    // Every role relays: the scheduler's own events do not wait for an ingest process. Leases keep them apart.
    let relay = Relay::new(store.clone(), bus.clone(), Arc::clone(&clock));
    let ending = shutdown.clone();
    parts.spawn(async move {
        relay.run(ending, events).await;
        Ok(())
    });
    let (keeper, ending, inbox_days) = (store.clone(), shutdown.clone(), config.nats.inbox_days);
    parts.spawn(async move {
        housekeeping(&keeper, inbox_days, ending).await;
        Ok(())
    });
    let address_file = listening.map(|address| (config.data_dir.join(ADDRESS_FILE), address));
    if let Some(nats) = bus.nats() {
        let intake = roles.takes_in().then(|| Intake::new(store.clone(), nats.clone(), clock, wake));
        parts.spawn(with_nats(nats.clone(), intake, address_file.clone(), shutdown.clone()));
    } else if let Some((path, address)) = &address_file {
        write_address(path, *address);
    }
    announce(config, roles, listening, made.as_ref());

    let mut failed = None;
    while let Some(part) = parts.join_next().await {
        // No part ends before it is told to, so one that does takes the others with it: a supervisor starts us anew.
        failed = match part {
            _ if failed.is_some() => failed,
            Ok(Ok(())) if shutdown.is_cancelled() => None,
            Ok(Ok(())) => Some(anyhow::anyhow!("a part of the service ended by itself")),
            Ok(Err(error)) => Some(error),
            Err(panic) => Some(anyhow::Error::from(panic).context("a part of the service failed")),
        };
        if failed.is_some() {
            shutdown.cancel();
        }
    }
    store.close().await;
    if let Some((path, _)) = address_file {
        drop(std::fs::remove_file(path));
    }
    failed.map_or(Ok(()), Err)
}

/// Single roles are made to be several processes.
fn refuse_alone(config: &Config, roles: Roles) -> anyhow::Result<()> {
    let role = roles.name();
    anyhow::ensure!(
        !config.store.url.expose_secret().starts_with("sqlite:"),
        "`usher {role}` works on Postgres, and store.url names a SQLite file; set store.url to postgres://..., or use \
         `usher run`, which has every role in one process"
    );
    anyhow::ensure!(
        config.nats.url.is_some(),
        "`usher {role}` needs NATS JetStream between the processes; set nats.url, or use `usher run`"
    );
    Ok(())
}

async fn open(config: &Config, secret: Option<String>) -> anyhow::Result<(Store, Option<Bootstrapped>)> {
    let store = store::open(config, true).await?;
    let made = store::prepare(&store, config, secret).await?;
    Ok((store, made))
}

/// The bus. A server that is away is no reason not to start: reminders and API go on without it.
async fn bus(config: &Config) -> anyhow::Result<Bus> {
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
async fn with_nats(
    nats: Nats,
    intake: Option<Intake>,
    address_file: Option<(PathBuf, SocketAddr)>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let write = || address_file.iter().for_each(|(path, address)| write_address(path, *address));
    let mut ready = Box::pin(streams(nats, shutdown.clone()));
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
    if !written {
        write();
    }
    match intake {
        Some(intake) => Box::pin(intake.run(shutdown)).await,
        None => shutdown.cancelled().await,
    }
    Ok(())
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
            Err(error) => {
                tracing::warn!(
                    error = format!("{:#}", anyhow::Error::from(error)),
                    "NATS (nats.url) is not ready; trying again"
                );
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(5)),
        }
    }
}

/// How often old rows are swept out.
const SWEEP: Duration = Duration::from_hours(1);
/// How long answers under an `Idempotency-Key` are kept.
const ANSWERS: TimeDelta = TimeDelta::hours(24);

/// Forgets what is only kept so that repeats are known.
async fn housekeeping(store: &Store, inbox_days: u32, shutdown: CancellationToken) {
    let inbox = TimeDelta::days(i64::from(inbox_days));
    loop {
        let now = store::now();
        match store.forget_repeats(now - inbox, now - ANSWERS).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "old message ids and idempotency keys are forgotten"),
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::warn!(error = format!("{error:#}"), "old rows stay for now");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}

/// What is called after a commit: the relay looks at the outbox, and the schedulers at what is due. Many calls that come
/// together are one.
fn waker(bus: &Bus, shutdown: &CancellationToken) -> (Arc<Notify>, Arc<dyn Fn() + Send + Sync>) {
    let (events, hint) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (bus, hinted, shutdown) = (bus.clone(), Arc::clone(&hint), shutdown.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = hinted.notified() => bus.hint_due().await,
            }
        }
    });
    let notified = Arc::clone(&events);
    let wake = move || {
        notified.notify_one();
        hint.notify_one();
    };
    (events, Arc::new(wake))
}

fn readiness(bus: &Bus) -> Arc<dyn Fn() -> Readiness + Send + Sync> {
    let bus = bus.clone();
    Arc::new(move || {
        let health = if bus.is_connected() {
            Health::Ok
        } else {
            Health::Degraded("NATS is away; events wait in the outbox".into())
        };
        Readiness(vec![("bus", health)])
    })
}

/// Written whole or not at all: whoever waits for the file must not read half an address.
fn write_address(path: &Path, address: SocketAddr) {
    let draft = path.with_extension("addr.new");
    let written = std::fs::write(&draft, address.to_string()).and_then(|()| std::fs::rename(&draft, path));
    match written {
        Ok(()) => tracing::info!(%address, file = %path.display(), "the API answers"),
        Err(error) => tracing::warn!(%error, file = %path.display(), "the address could not be written"),
    }
}

/// Says what to do next; the first key is shown here, once.
fn announce(config: &Config, roles: Roles, listening: Option<SocketAddr>, made: Option<&Bootstrapped>) {
    let Some(address) = listening else {
        println!("usher {} works; reminders go {}", roles.name(), messages::in_words(config));
        return;
    };
    let url = config.http.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    if let Some(made) = made {
        println!(
            "\n  API key of workspace {:?}, shown this once:\n\n    {}\n",
            made.workspace.slug, made.key.secret
        );
    }
    println!("  The API is at {url}/api/v1");
    println!("  Try it:       curl -H \"Authorization: Bearer $KEY\" {url}/api/v1/me");
    if roles.sends() {
        println!("  Reminders go  {}\n", messages::in_words(config));
    }
}

/// Ends on SIGTERM and SIGINT; a second one ends at once.
async fn signals(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be caught; only a hard kill will end this process");
        return;
    };
    for again in [false, true] {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        if again {
            std::process::exit(130);
        }
        shutdown.cancel();
    }
}
