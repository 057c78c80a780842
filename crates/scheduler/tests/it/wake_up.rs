//! What falls due sooner than the scheduler expects is seen at once, by hints over both forms of the bus; and a scheduler
//! with nothing to do asks the database next to nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use usher_bus::{Bus, Local, Nats, Settings};
use usher_lifecycle::{
    Command, OnboardingId, UserId,
    command::{CreateOnboarding, OnboardingPatch},
    onboarding::Role,
};
use usher_scheduler::{Channels, Clock};

use crate::{
    PATIENCE,
    rig::{Rig, scheduler, stories},
};

stories!(
    what_falls_due_sooner_is_seen_at_once_in_process,
    what_falls_due_sooner_is_seen_at_once_over_nats,
    an_idle_scheduler_makes_at_most_4_queries_a_minute,
);

/// Shows `from` now, and goes on as tokio's clock does.
fn running(from: DateTime<Utc>) -> Clock {
    let began = Instant::now();
    Arc::new(move || from + TimeDelta::from_std(began.elapsed()).unwrap())
}

async fn what_falls_due_sooner_is_seen_at_once_in_process(rig: Rig) {
    let bus = Bus::Local(Local::new());
    sooner(&rig, bus.clone(), bus).await;
}

async fn what_falls_due_sooner_is_seen_at_once_over_nats(rig: Rig) {
    usher_testkit::skip_without_servers!();
    let server = usher_testkit::nats::Nats::start().await.unwrap();
    let connect = async || Bus::Nats(Nats::connect(Settings::new(&server.url())).await.unwrap());
    sooner(&rig, connect().await, connect().await).await;
}

/// Once a year: nothing of it is due while the test runs, unless something makes it.
async fn rare(rig: &Rig, name: &str, ada: UserId) -> OnboardingId {
    let yearly = CreateOnboarding { reminder_frequency_days: Some(365), ..CreateOnboarding::default() };
    rig.create(name, &[(Role::Csm, ada)], yearly).await
}

/// The scheduler listens on one bus, and whoever writes tells it on the other.
async fn sooner(rig: &Rig, listening: Bus, telling: Bus) {
    rig.set("2026-03-03T08:59:50Z");
    let ada = rig.user("ada").await;
    let (first, changed) = (rare(rig, "Acme", ada).await, rare(rig, "Bolt", ada).await);
    rig.apply(Command::RemindOnboarding(None), Some(first.to_text())).await;
    let clock = running(rig.now());
    let channels = Channels { mailer: Some(rig.mailer()), slack: None };
    let worker = scheduler(rig.store.clone(), listening, Arc::clone(&clock), channels);
    let shutdown = CancellationToken::new();
    let ending = shutdown.clone();
    let worker = tokio::spawn(async move { worker.run(ending).await });
    // It listens, has looked, and sleeps for half a minute: nothing is due for a year.
    rig.sink.wait_for(1, PATIENCE).await;

    // Each is written just before nine and due at nine, or at once.
    rig.apply(Command::RemindOnboarding(None), Some(first.to_text())).await;
    telling.hint_due().await;
    rig.sink.wait_for(2, Duration::from_secs(10)).await;
    let daily = OnboardingPatch { reminder_frequency_days: Some(1), ..OnboardingPatch::default() };
    rig.patch(changed, daily).await;
    telling.hint_due().await;
    let new = rig.onboarding("Cask", &[(Role::Csm, ada)]).await;
    telling.hint_due().await;
    rig.sink.wait_for(3, Duration::from_secs(25)).await;
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, worker).await.unwrap().unwrap();
    for onboarding in [changed, new] {
        let [row] = rig.ledger(onboarding).await.try_into().unwrap();
        let lag = row.sent_at.unwrap() - row.due_at;
        assert!(lag < TimeDelta::seconds(10), "by a hint, not by the look of every half a minute: {lag}");
    }
}

/// Counts what is asked of the database.
#[derive(Clone, Default)]
struct Statements(Arc<AtomicUsize>);

impl tracing::Subscriber for Statements {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        if event.fields().any(|field| field.name() == "statement") {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Ten minutes of a clock that is moved by the second.
async fn an_idle_scheduler_makes_at_most_4_queries_a_minute(rig: Rig) {
    rig.set("2026-03-03T10:00:00Z");
    let ada = rig.user("ada").await;
    rare(&rig, "Acme", ada).await;
    let statements = Statements::default();
    let _counting = tracing::subscriber::set_default(statements.clone());
    tokio::time::pause();
    // A paused clock moves by itself when nothing runs, except while a blocking task does.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let holding = tokio::task::spawn_blocking(move || held.recv().is_ok());
    let channels = Channels { mailer: Some(rig.mailer()), slack: None };
    let worker = scheduler(rig.store.clone(), Bus::Local(Local::new()), running(rig.now()), channels);
    let shutdown = CancellationToken::new();
    let ending = shutdown.clone();
    let worker = tokio::spawn(async move { worker.run(ending).await });

    let count = || statements.0.load(Ordering::SeqCst);
    let mut seen = 0;
    for _ in 0..600 {
        tokio::time::advance(Duration::from_secs(1)).await;
        settle(Duration::from_millis(1)).await;
        if count() > seen {
            // What a look has to ask comes one after the other.
            settle(Duration::from_millis(100)).await;
            seen = count();
        }
    }
    assert!((10..=40).contains(&seen), "{seen} in ten minutes");
    shutdown.cancel();
    drop(release);
    assert!(!holding.await.unwrap());
    tokio::time::resume();
    tokio::time::timeout(PATIENCE, worker).await.unwrap().unwrap();
}

/// Lets the other tasks and the database go on for so long.
async fn settle(real: Duration) {
    let began = std::time::Instant::now();
    while began.elapsed() < real {
        tokio::task::yield_now().await;
    }
}
