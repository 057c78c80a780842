//! The configuration: what an operator may set, and the one place where the environment is read.
//!
//! The law: defaults < file < environment < flags, key by key; every fault is named at once, with its key and its
//! source; no secret is ever shown. The keys stand once, in `keys.rs`; their defaults and descriptions stand once, in
//! `usher.default.toml`. A `*_file` key and the key it holds count as one setting: the later layer wins, both in one
//! layer is a fault. `load` reads files and nothing else: environment and flags are handed in.

mod check;
mod fault;
mod keys;
mod load;
mod show;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

use chrono::{NaiveDate, NaiveTime, Weekday};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use usher_lifecycle::reminder::CatchUp;

use crate::cron::Cron;
pub(crate) use fault::{Fault, Faults, Source};
pub(crate) use load::{Sources, load};

/// The commented file that the defaults come from.
pub(crate) const DEFAULT_FILE: &str = include_str!("usher.default.toml");

/// Everything that can be set, valid; paths are resolved against the working directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    /// Texts of the operator's own, each in the place of the one of its name.
    pub(crate) templates_dir: Option<PathBuf>,
    pub(crate) http: Http,
    pub(crate) store: StoreConfig,
    pub(crate) nats: Nats,
    pub(crate) smtp: Smtp,
    pub(crate) slack: Slack,
    pub(crate) reminders: Reminders,
    pub(crate) housekeeping: Housekeeping,
    pub(crate) log: Log,
    pub(crate) workspace: Workspace,
}

/// The HTTP server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) listen: SocketAddr,
    pub(crate) scheduler_listen: SocketAddr,
    /// None: derive it from the address that was really bound. No slash at the end.
    pub(crate) public_url: Option<String>,
    /// The page of an onboarding, with `{id}`, `{display_id}` or `{external_id}`. None: messages have no link.
    pub(crate) onboarding_url: Option<String>,
    pub(crate) body_limit_bytes: usize,
}

/// The database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreConfig {
    /// `sqlite://` and a plain path (not percent-encoded), or a Postgres URL.
    #[serde(serialize_with = "show::url")]
    pub(crate) url: SecretString,
    pub(crate) max_connections: u32,
}

/// The bus; at most one way of authentication is set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nats {
    /// One or more servers, separated by commas. None: the in-process bus.
    #[serde(serialize_with = "show::optional_url")]
    pub(crate) url: Option<SecretString>,
    pub(crate) prefix: String,
    pub(crate) stream_prefix: String,
    pub(crate) replicas: usize,
    /// Of each stream; None: as large as the server lets it grow.
    pub(crate) max_bytes: Option<u64>,
    /// Set together with `password`.
    pub(crate) user: Option<String>,
    #[serde(serialize_with = "show::secret")]
    pub(crate) password: Option<SecretString>,
    #[serde(serialize_with = "show::secret")]
    pub(crate) token: Option<SecretString>,
    pub(crate) nkey_file: Option<PathBuf>,
    pub(crate) credentials_file: Option<PathBuf>,
    pub(crate) tls_ca_file: Option<PathBuf>,
    /// Set together with `tls_key_file`.
    pub(crate) tls_certificate_file: Option<PathBuf>,
    pub(crate) tls_key_file: Option<PathBuf>,
    pub(crate) tls_required: bool,
    pub(crate) events_max_age_days: u32,
    pub(crate) commands_max_age_days: u32,
    pub(crate) rejected_max_age_days: u32,
    /// Greater than `commands_max_age_days`.
    pub(crate) inbox_days: u32,
}

/// The mail server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Smtp {
    /// `smtp://` or `smtps://`, user and password percent-encoded. None: mail becomes files in `data_dir`/outbox.
    #[serde(serialize_with = "show::optional_url")]
    pub(crate) url: Option<SecretString>,
    pub(crate) from: String,
    pub(crate) max_connections: usize,
    pub(crate) ca_file: Option<PathBuf>,
}

/// Slack.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slack {
    #[serde(serialize_with = "show::secret")]
    pub(crate) token: Option<SecretString>,
    #[serde(serialize_with = "show::secret")]
    pub(crate) signing_secret: Option<SecretString>,
    /// No slash at the end.
    pub(crate) api_url: String,
}

/// The reminder policy that a new workspace starts with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reminders {
    pub(crate) time_zone: String,
    #[serde(with = "show::time")]
    pub(crate) time_of_day: NaiveTime,
    /// Later than `time_of_day`.
    #[serde(with = "show::time")]
    pub(crate) send_until: NaiveTime,
    /// Never empty, no day twice.
    #[serde(serialize_with = "show::days")]
    pub(crate) working_days: Vec<Weekday>,
    pub(crate) holidays: BTreeSet<NaiveDate>,
    pub(crate) catch_up: CatchUp,
    pub(crate) spread_minutes: u16,
    pub(crate) nudge_customer: bool,
    pub(crate) ops_email: Option<String>,
    pub(crate) ops_slack_channel: Option<String>,
}

/// What is deleted, and when.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Housekeeping {
    /// Of the schedules.
    pub(crate) time_zone: String,
    #[serde(with = "show::cron")]
    pub(crate) repeats_schedule: Cron,
    #[serde(with = "show::cron")]
    pub(crate) ledger_schedule: Cron,
    /// None: the ledger is kept for ever.
    pub(crate) ledger_days: Option<u32>,
    pub(crate) idempotency_hours: u32,
    #[serde(with = "show::cron")]
    pub(crate) rejected_schedule: Cron,
    /// Greater than `nats.commands_max_age_days`.
    pub(crate) rejected_days: u32,
}

/// Logging.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// Directives for `EnvFilter`.
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    Pretty,
    Json,
}

/// The first workspace of a fresh store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workspace {
    pub(crate) slug: String,
    pub(crate) name: String,
}

impl Config {
    /// What is in force, secrets hidden; what is not set is left out.
    pub(crate) fn show(&self) -> toml::Value {
        toml::Value::try_from(self).expect("a configuration is tables of text, numbers, flags and lists")
    }

    /// What is in force, secrets hidden; what is not set is null.
    pub(crate) fn show_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a configuration is objects of text, numbers, flags and lists")
    }
}
