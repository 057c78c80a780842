//! Composition: which parts a role has, how they wake each other, and in which order they end.

#[cfg(test)]
mod idle;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use secrecy::ExposeSecret as _;
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;
use usher_bus::{Bus, Nats};
use usher_ingest::{
    http::{App, Health, HttpMetrics, Operations, Readiness, operations, router, serve},
    intake::Intake,
    relay::Relay,
};
use usher_scheduler::{Clock, Scheduler};
use usher_store::{Bootstrapped, Store};

use crate::{
    config::Config,
    embedded,
    housekeeping::Housekeeping,
    messages, metrics,
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

    /// The file with the address that was really bound, within the data folder.
    const fn address_file(self) -> &'static str {
        match self {
            Self::All | Self::Ingest => "http.addr",
            Self::Scheduler => "scheduler.addr",
        }
    }
}

/// Runs the roles until the process is told to end.
pub(crate) async fn run(config: &Config, roles: Roles, secret: Option<String>) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    tokio::spawn(signals(shutdown.clone()));
    run_until(shutdown, Arc::new(store::now), config, roles, secret).await
}

/// Runs the roles by a clock until the shutdown.
async fn run_until(
    shutdown: CancellationToken,
    clock: Clock,
    config: &Config,
    roles: Roles,
    secret: Option<String>,
) -> anyhow::Result<()> {
    let url = config.store.url.expose_secret();
    if roles != Roles::All {
        refuse_alone(config, roles)?;
    }
    data_folder(&config.data_dir)?;
    let _lock = embedded::lock(url)?;
    let (listener, address) = listen(config, roles).await?;
    let (templates, channels) = (messages::templates(config)?, messages::channels(config)?);
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
    // What publishes and hints goes on until everybody who writes has ended.
    let quiet = CancellationToken::new();
    let (events, wake) = waker(&bus, &quiet);

    let streams = nats::Streams::default();
    let ready = readiness(&bus, &streams);
    let scheduler = roles.sends().then(|| {
        let (bus, clock) = (bus.clone(), Arc::clone(&clock));
        Scheduler::new(store.clone(), bus, clock, channels, templates, messages::settings(config))
            .with_events(Arc::clone(&events))
    });
    let intake = bus
        .nats()
        .filter(|_| roles.takes_in())
        .map(|nats| Intake::new(store.clone(), nats.clone(), Arc::clone(&clock), Arc::clone(&wake)));
    // Every role relays: the scheduler's own events do not wait for an ingest process. Leases keep them apart.
    let relay = Relay::new(store.clone(), bus.clone(), Arc::clone(&clock));
    let housekeeping = Housekeeping::new(store.clone(), config);
    let http = HttpMetrics::default();

    let mut registry = Registry::default();
    store.register(&mut registry);
    relay.register(&mut registry);
    housekeeping.register(&mut registry);
    http.register(&mut registry);
    if let Some(scheduler) = &scheduler {
        scheduler.register(&mut registry);
    }
    if let Some(intake) = &intake {
        intake.register(&mut registry);
    }
    let exposition = metrics::exposition(registry, store.clone(), bus.clone(), Arc::clone(&clock));

    let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    if let Some(scheduler) = scheduler {
        let shutdown = shutdown.clone();
        let checked = scheduler.clone();
        tokio::spawn(async move { checked.check_channels().await });
        parts.spawn(async move {
            scheduler.run(shutdown).await;
            Ok(())
        });
    }
    let router = if roles.takes_in() {
        router(App {
            store: store.clone(),
            clock: Arc::clone(&clock),
            wake,
            ready,
            channels: messages::configured(config),
            body_limit: config.http.body_limit_bytes,
            metrics: http,
            exposition,
        })
    } else {
        operations(Operations { store: store.clone(), ready, exposition }, http)
    };
    let ending = shutdown.clone();
    parts.spawn(async move {
        serve(listener, router, ending).await;
        Ok(())
    });
    let relay = tokio::spawn(relay.run(quiet.clone(), events));
    let ending = shutdown.clone();
    parts.spawn(housekeeping.run(ending));
    let (noting, ending) = (store.clone(), shutdown.clone());
    parts.spawn(async move {
        note_key_uses(&noting, ending).await;
        Ok(())
    });
    let address_file = (config.data_dir.join(roles.address_file()), address);
    if let Some(nats) = bus.nats() {
        let nats = NatsPart { nats: nats.clone(), streams, address_file: address_file.clone() };
        parts.spawn(nats.run(intake, shutdown.clone()));
    } else {
        write_address(&address_file.0, address);
    }
    announce(config, roles, address);

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
    let (path, address) = address_file;
    if std::fs::read_to_string(&path).is_ok_and(|text| text == address.to_string()) {
        drop(std::fs::remove_file(path));
    }
    failed.map_or(Ok(()), Err)
}

/// Takes the port, before anything is made that a failure would leave behind.
async fn listen(config: &Config, roles: Roles) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let (key, wanted) = if roles.takes_in() {
        ("http.listen", config.http.listen)
    } else {
        ("http.scheduler_listen", config.http.scheduler_listen)
    };
    let listener =
        TcpListener::bind(wanted).await.with_context(|| format!("{key} {wanted} cannot be bound"))?;
    let address = listener.local_addr().context(key)?;
    // One that a killed process left behind must not lead anybody astray.
    drop(std::fs::remove_file(config.data_dir.join(roles.address_file())));
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

fn readiness(bus: &Bus, streams: &nats::Streams) -> Arc<dyn Fn() -> Readiness + Send + Sync> {
    let (bus, streams) = (bus.clone(), streams.clone());
    Arc::new(move || {
        let health = if !bus.is_connected() {
            let cause = bus.nats().and_then(Nats::trouble);
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            Health::Degraded(format!("NATS is away{cause}; events wait in the outbox"))
        } else if let Some(cause) = bus.nats().and_then(|_| streams.missing()) {
            Health::Degraded(format!("NATS is not ready: {cause}; events wait in the outbox"))
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
        Ok(()) => tracing::info!(%address, file = %path.display(), "listening"),
        Err(error) => tracing::warn!(%error, file = %path.display(), "the address could not be written"),
    }
}

/// Says what to do next.
fn announce(config: &Config, roles: Roles, address: SocketAddr) {
    if !roles.takes_in() {
        println!("usher {} works; reminders go {}", roles.name(), messages::in_words(config));
        println!("  How it fares: http://{address}/readyz and /metrics");
        return;
    }
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
