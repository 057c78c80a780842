//! Composition: which parts a role has, how they wake each other, and in which order they end.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use chrono::TimeDelta;
use secrecy::ExposeSecret as _;
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;
use usher_bus::Bus;
use usher_ingest::{
    http::{App, Health, Readiness, router, serve},
    intake::Intake,
    relay::Relay,
};
use usher_scheduler::{Scheduler, message::Templates};
use usher_store::{Bootstrapped, Store};

use crate::{
    config::Config,
    embedded, messages,
    nats::{self, NatsPart},
    store,
};

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

/// Where the file with the real address is, within the data folder.
const ADDRESS_FILE: &str = "http.addr";

/// Runs the roles until the process is told to end.
pub(crate) async fn run(config: &Config, roles: Roles, secret: Option<String>) -> anyhow::Result<()> {
    let url = config.store.url.expose_secret();
    if roles != Roles::All {
        refuse_alone(config, roles)?;
    }
    data_folder(&config.data_dir)?;
    let _lock = embedded::lock(url)?;
    let listener = if roles.takes_in() { Some(listen(config).await?) } else { None };
    let shutdown = CancellationToken::new();
    tokio::spawn(signals(shutdown.clone()));

    let (templates, channels) =
        (Templates::embedded().context("the message templates")?, messages::channels(config)?);
    let given = secret.is_some();
    let opened = tokio::select! {
        store = open(config, secret) => store?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let (store, made) = opened;
    if let Some(made) = &made {
        // At once, and by whichever role came first: it is never shown again.
        let (slug, key) = (&made.workspace.slug, &made.key);
        if given {
            println!(
                "\n  The API key of workspace {slug:?} is that of USHER_BOOTSTRAP_KEY, {}...\n",
                key.key.prefix
            );
        } else {
            println!("\n  API key of workspace {slug:?}, shown this once:\n\n    {}\n", key.secret);
        }
    }
    let bus = nats::bus(config).await?;
    let clock: usher_scheduler::Clock = Arc::new(store::now);
    // What publishes and hints goes on until everybody who writes has ended.
    let quiet = CancellationToken::new();
    let (events, wake) = waker(&bus, &quiet);

    let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    if roles.sends() {
        let scheduler = Scheduler::new(
            store.clone(),
            bus.clone(),
            Arc::clone(&clock),
            channels,
            templates,
            messages::settings(config),
        )
        .with_events(Arc::clone(&events));
        let shutdown = shutdown.clone();
        let checked = scheduler.clone();
        tokio::spawn(async move { checked.check_channels().await });
        parts.spawn(async move {
            scheduler.run(shutdown).await;
            Ok(())
        });
    }
    let mut listening = None;
    let streams_exist = Arc::new(AtomicBool::new(false));
    if let Some((listener, address)) = listener {
        let app = App {
            store: store.clone(),
            clock: Arc::clone(&clock),
            wake: Arc::clone(&wake),
            ready: readiness(&bus, &streams_exist),
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
    let relay = tokio::spawn(relay.run(quiet.clone(), events));
    let (keeper, ending, inbox_days) = (store.clone(), shutdown.clone(), config.nats.inbox_days);
    parts.spawn(async move {
        housekeeping(&keeper, inbox_days, ending).await;
        Ok(())
    });
    let (noting, ending) = (store.clone(), shutdown.clone());
    parts.spawn(async move {
        note_key_uses(&noting, ending).await;
        Ok(())
    });
    let address_file = listening.map(|address| (config.data_dir.join(ADDRESS_FILE), address));
    if let Some(nats) = bus.nats() {
        let intake =
            roles.takes_in().then(|| Intake::new(store.clone(), nats.clone(), Arc::clone(&clock), wake));
        let nats = NatsPart { nats: nats.clone(), streams_exist, address_file: address_file.clone() };
        parts.spawn(nats.run(intake, shutdown.clone()));
    } else if let Some((path, address)) = &address_file {
        write_address(path, *address);
    }
    announce(config, roles, listening);

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
    quiet.cancel();
    let last = async {
        if let Err(panic) = relay.await {
            tracing::error!(%panic, "the relay failed");
        }
        // What was written while the others ended.
        let mut relay = Relay::new(store.clone(), bus.clone(), clock);
        drop(relay.pass().await);
        drop(relay.release().await);
        drop(store.write_key_uses().await);
        store.close().await;
    };
    if tokio::time::timeout(LAST_WORDS, last).await.is_err() {
        tracing::warn!(
            "the store or NATS does not answer; events of the last moment are published at the next start"
        );
    }
    if let Some((path, address)) = address_file
        && std::fs::read_to_string(&path).is_ok_and(|text| text == address.to_string())
    {
        drop(std::fs::remove_file(path));
    }
    failed.map_or(Ok(()), Err)
}

/// Takes the port, before anything is made that a failure would leave behind.
async fn listen(config: &Config) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(config.http.listen)
        .await
        .with_context(|| format!("http.listen {} cannot be bound", config.http.listen))?;
    let address = listener.local_addr().context("http.listen")?;
    // One that a killed process left behind must not lead anybody astray.
    drop(std::fs::remove_file(config.data_dir.join(ADDRESS_FILE)));
    Ok((listener, address))
}

/// Makes the data folder, for nobody else to read: names, notes and mail are in it.
fn data_folder(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;

    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("data_dir {} cannot be made", path.display()))
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

/// How long the last events and the closing of the store may take.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How often old rows are swept out.
const SWEEP: Duration = Duration::from_hours(1);
/// How long answers under an `Idempotency-Key` are kept.
const ANSWERS: TimeDelta = TimeDelta::hours(24);

/// Forgets what is only kept so that repeats are known.
async fn housekeeping(store: &Store, inbox_days: u32, shutdown: CancellationToken) {
    let inbox = TimeDelta::days(i64::from(inbox_days));
    loop {
        let now = store::now();
        let swept = tokio::select! {
            () = shutdown.cancelled() => return,
            swept = store.forget_repeats(now - inbox, now - ANSWERS) => swept,
        };
        match swept {
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

/// How often it is written which keys were used.
const USES: Duration = Duration::from_secs(10);

/// Writes which keys were used, when, and from where.
async fn note_key_uses(store: &Store, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(USES) => {}
        }
        if let Err(error) = store.write_key_uses().await {
            let error = anyhow::Error::from(error);
            tracing::warn!(error = format!("{error:#}"), "the uses of keys are written later");
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

fn readiness(bus: &Bus, streams_exist: &Arc<AtomicBool>) -> Arc<dyn Fn() -> Readiness + Send + Sync> {
    let (bus, streams_exist) = (bus.clone(), Arc::clone(streams_exist));
    Arc::new(move || {
        let health = if !bus.is_connected() {
            Health::Degraded("NATS is away; events wait in the outbox".into())
        } else if bus.nats().is_some() && !streams_exist.load(Ordering::Relaxed) {
            Health::Degraded("the streams on NATS are not there yet; events wait in the outbox".into())
        } else {
            Health::Ok
        };
        Readiness(vec![("bus", health)])
    })
}

/// Written whole or not at all: whoever waits for the file must not read half an address.
pub(crate) fn write_address(path: &Path, address: SocketAddr) {
    let draft = path.with_extension("addr.new");
    let written = std::fs::write(&draft, address.to_string()).and_then(|()| std::fs::rename(&draft, path));
    match written {
        Ok(()) => tracing::info!(%address, file = %path.display(), "the API answers"),
        Err(error) => tracing::warn!(%error, file = %path.display(), "the address could not be written"),
    }
}

/// Says what to do next.
fn announce(config: &Config, roles: Roles, listening: Option<SocketAddr>) {
    let Some(address) = listening else {
        println!("usher {} works; reminders go {}", roles.name(), messages::in_words(config));
        return;
    };
    let url = config.http.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
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
