//! Opening the store: retried while a database is away, migrated under its lock, bootstrapped once.

use std::{sync::OnceLock, time::Duration};

use anyhow::Context as _;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use secrecy::ExposeSecret as _;
use usher_lifecycle::reminder::{Policy, Rules, zone};
use usher_store::{Bootstrap, Bootstrapped, Store, StoreError};

use crate::config::{Config, Reminders};

/// Shifts the process's clock by so many seconds. For the story tests, which cannot wait for nine o'clock.
const CLOCK_OFFSET: &str = "USHER_TEST_CLOCK_OFFSET";

/// The process's clock, in microseconds as the tables keep them. The one place where it is read.
pub(crate) fn now() -> DateTime<Utc> {
    static OFFSET: OnceLock<TimeDelta> = OnceLock::new();
    let offset = OFFSET.get_or_init(|| {
        let seconds = std::env::var(CLOCK_OFFSET).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        if seconds != 0 {
            tracing::warn!(seconds, "the clock is shifted by {CLOCK_OFFSET}; this is for tests only");
        }
        TimeDelta::try_seconds(seconds).unwrap_or_default()
    });
    (real_now() + *offset).trunc_subsecs(6)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the clock of the process is here, and is handed down from here"
)]
fn real_now() -> DateTime<Utc> {
    Utc::now()
}

/// Connects to the store. With `patience` a database that is away is waited for: each attempt is logged.
pub(crate) async fn open(config: &Config, patience: bool) -> anyhow::Result<Store> {
    let url = config.store.url.expose_secret();
    let mut wait = Duration::from_millis(500);
    loop {
        match Store::connect(url, config.store.max_connections).await {
            Ok(store) => return Ok(store),
            Err(error) if patience && error.is_away() => {
                let error = anyhow::Error::from(error);
                tracing::error!(
                    error = format!("{error:#}"),
                    "the store (store.url) cannot be reached; trying again"
                );
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(10));
            }
            Err(error) => return Err(error).context("the store (store.url) cannot be opened"),
        }
    }
}

/// Opens the store for a command beside a running service: tables must be there.
pub(crate) async fn open_ready(config: &Config) -> anyhow::Result<Store> {
    let store = open(config, false).await?;
    store.check_tables().await.context("the store (store.url) is not ready")?;
    Ok(store)
}

/// Applies the migrations and makes the first workspace and key of a fresh store.
pub(crate) async fn prepare(
    store: &Store,
    config: &Config,
    secret: Option<String>,
) -> anyhow::Result<Option<Bootstrapped>> {
    store.migrate().await.context("the migrations of the store (store.url)")?;
    let first = Bootstrap {
        slug: config.workspace.slug.clone(),
        name: config.workspace.name.clone(),
        rules: rules(&config.reminders)?,
        secret,
    };
    match store.bootstrap(&first, now()).await {
        Ok(made) => Ok(made),
        Err(StoreError::Tables(fault)) => anyhow::bail!("USHER_BOOTSTRAP_KEY: {fault}"),
        Err(error) => Err(error).context("the first workspace"),
    }
}

/// The rules of a new workspace.
pub(crate) fn rules(reminders: &Reminders) -> anyhow::Result<Rules> {
    Ok(Rules {
        policy: Policy {
            time_zone: zone(&reminders.time_zone).context("reminders.time_zone")?,
            time_of_day: reminders.time_of_day,
            send_until: reminders.send_until,
            working_days: reminders.working_days.clone(),
            holidays: reminders.holidays.clone(),
            catch_up: reminders.catch_up,
            spread_minutes: reminders.spread_minutes,
        },
        nudge_customer: reminders.nudge_customer,
        ops_email: reminders.ops_email.clone(),
        ops_slack_channel: reminders.ops_slack_channel.clone(),
        ..Rules::default()
    })
}
