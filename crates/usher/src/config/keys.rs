//! The table of keys: each exists here once, with its kind and the sentence that says what is allowed.
//!
//! Environment parsing, the check for unknown keys, the fault messages and the test of the default file all read
//! this table. Defaults are not here: they are the values in `usher.default.toml`.

use super::check;

/// One setting.
pub(crate) struct Key {
    /// Dotted name as in the file: `http.listen`.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Completes "must be ...".
    pub(crate) must: &'static str,
}

/// What a value may be.
pub(crate) enum Kind {
    Text(fn(&str) -> bool),
    /// A name that the caller's `zone_ok` knows.
    Zone,
    /// May not exist yet.
    Path,
    /// Must be a file.
    File,
    Choice(&'static [&'static str]),
    /// From and to, both allowed.
    Integer(i64, i64),
    Flag,
    List(fn(&[&str]) -> bool),
    /// Never shown.
    Secret,
    /// Shown without its password.
    SecretUrl(fn(&str) -> bool),
}

impl Key {
    /// The environment variable: `USHER_HTTP__LISTEN`.
    pub(crate) fn env(&self) -> String {
        format!("USHER_{}", self.name.replace('.', "__").to_uppercase())
    }

    /// For `slack.token_file`: the key `slack.token`, whose value that file holds.
    pub(crate) fn holds(&self) -> Option<&'static Key> {
        find(self.name.strip_suffix("_file")?)
    }
}

/// The key of this dotted name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The tables that keys are in; a name may come more than once.
pub(crate) fn sections() -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(|key| key.name.split_once('.')).map(|(section, _)| section)
}

/// Variables of ours that are no settings, and those that Kubernetes makes for a Service named `usher...`
/// (`USHER_SERVICE_HOST`, `USHER_INGEST_PORT=tcp://...`, `USHER_PORT_8080_TCP_ADDR`).
pub(crate) fn is_other_variable(name: &str, text: &str) -> bool {
    let service = |tail: &str| tail == "_HOST" || tail == "_PORT" || tail.starts_with("_PORT_");
    let link = |tail: &str| {
        tail.starts_with(|c: char| c.is_ascii_digit()) && (tail.contains("_TCP") || tail.contains("_UDP"))
    };
    matches!(name, "USHER_BOOTSTRAP_KEY" | "USHER_CONFIG" | "USHER_LOG" | "USHER_URL" | "USHER_API_KEY")
        || name.starts_with("USHER_TEST_")
        || !name.contains("__")
            && (name.split_once("_SERVICE").is_some_and(|(_, tail)| service(tail))
                || name.split("_PORT_").skip(1).any(link)
                || name.ends_with("_PORT") && text.contains("://"))
}

const fn key(name: &'static str, kind: Kind, must: &'static str) -> Key {
    Key { name, kind, must }
}

const TOKEN: &str = "letters, digits, _ and - (at most 64)";
const DAYS: &str = "a whole number of days from 1 to 3650";
const SECRET: &str = "text without spaces or line breaks";
const EXISTING: &str = "the path of a file that can be read";
const BASE_URL: &str = "an http:// or https:// URL without credentials, query or slash at the end";
const TIME: &str = "a time HH:MM of the 24 hour clock";

const fn days(name: &'static str) -> Key {
    key(name, Kind::Integer(1, 3650), DAYS)
}

const fn file(name: &'static str) -> Key {
    key(name, Kind::File, EXISTING)
}

const fn secret(name: &'static str) -> Key {
    key(name, Kind::Secret, SECRET)
}

/// Every setting, in the order of the default file.
pub(crate) const KEYS: &[Key] = &[
    key("data_dir", Kind::Path, "a path"),
    key("templates_dir", Kind::Path, "a path"),
    key(
        "http.listen",
        Kind::Text(check::listen),
        "an address and a port such as 127.0.0.1:8080 or [::1]:8080 (port 0: any free one)",
    ),
    key(
        "http.scheduler_listen",
        Kind::Text(check::listen),
        "an address and a port such as 127.0.0.1:8081 or [::1]:8081 (port 0: any free one)",
    ),
    key("http.public_url", Kind::Text(check::base_url), BASE_URL),
    key(
        "http.onboarding_url",
        Kind::Text(check::record_url),
        "an http or https URL with {id}, {display_id} or {external_id} in it",
    ),
    key(
        "http.body_limit_bytes",
        Kind::Integer(1024, 67_108_864),
        "a whole number of bytes from 1024 to 67108864",
    ),
    key(
        "store.url",
        Kind::SecretUrl(check::store_url),
        "sqlite://path, postgres://user:password@host/database or postgresql://...",
    ),
    file("store.url_file"),
    key("store.max_connections", Kind::Integer(1, 1000), "a whole number from 1 to 1000"),
    key(
        "nats.url",
        Kind::SecretUrl(check::nats_url),
        "nats://[user:password@]host[:port] or tls://..., several separated by commas",
    ),
    key("nats.prefix", Kind::Text(check::token), TOKEN),
    key("nats.stream_prefix", Kind::Text(check::token), TOKEN),
    key("nats.replicas", Kind::Integer(1, 5), "a whole number from 1 to 5"),
    key(
        "nats.max_bytes",
        Kind::Integer(1_048_576, 1 << 50),
        "a whole number of bytes from 1048576 to 1125899906842624",
    ),
    key("nats.user", Kind::Text(check::word), SECRET),
    secret("nats.password"),
    file("nats.password_file"),
    secret("nats.token"),
    file("nats.token_file"),
    file("nats.nkey_file"),
    file("nats.credentials_file"),
    file("nats.tls_ca_file"),
    file("nats.tls_certificate_file"),
    file("nats.tls_key_file"),
    key("nats.tls_required", Kind::Flag, "true or false"),
    days("nats.events_max_age_days"),
    days("nats.commands_max_age_days"),
    days("nats.rejected_max_age_days"),
    days("nats.inbox_days"),
    key(
        "smtp.url",
        Kind::SecretUrl(check::smtp_url),
        "smtp://[user:password@]host[:port][?tls=required|opportunistic|off] or smtps://..., user and password percent-encoded",
    ),
    file("smtp.url_file"),
    key("smtp.from", Kind::Text(check::mailbox), "an address, or a name and <address>, with one @"),
    key("smtp.max_connections", Kind::Integer(1, 100), "a whole number from 1 to 100"),
    file("smtp.ca_file"),
    secret("slack.token"),
    file("slack.token_file"),
    secret("slack.signing_secret"),
    file("slack.signing_secret_file"),
    key("slack.api_url", Kind::Text(check::base_url), BASE_URL),
    key(
        "reminders.time_zone",
        Kind::Zone,
        "a name of the IANA time zone database such as UTC or Europe/Berlin",
    ),
    key("reminders.time_of_day", Kind::Text(check::time), TIME),
    key("reminders.send_until", Kind::Text(check::time), TIME),
    key(
        "reminders.working_days",
        Kind::List(check::working_days),
        "one or more of mon, tue, wed, thu, fri, sat, sun, each once",
    ),
    key("reminders.holidays", Kind::List(check::dates), "dates YYYY-MM-DD"),
    key("reminders.catch_up", Kind::Choice(&["once", "skip"]), "once or skip"),
    key("reminders.spread_minutes", Kind::Integer(0, 720), "a whole number of minutes from 0 to 720"),
    key("reminders.nudge_customer", Kind::Flag, "true or false"),
    key("reminders.ops_email", Kind::Text(check::address), "an email address"),
    key("reminders.ops_slack_channel", Kind::Text(check::word), "a channel id or #name"),
    key("housekeeping.time_zone", Kind::Zone, "a name of the IANA time zone database, such as Europe/Berlin"),
    key("housekeeping.repeats_schedule", Kind::Text(check::cron), crate::cron::WANTED),
    key("housekeeping.ledger_schedule", Kind::Text(check::cron), crate::cron::WANTED),
    key("housekeeping.ledger_days", Kind::Integer(30, 36_500), "a whole number of days from 30 to 36500"),
    key(
        "housekeeping.idempotency_hours",
        Kind::Integer(24, 8_760),
        "a whole number of hours from 24 to 8760",
    ),
    key("housekeeping.rejected_schedule", Kind::Text(check::cron), crate::cron::WANTED),
    key("housekeeping.rejected_days", Kind::Integer(1, 36_500), "a whole number of days from 1 to 36500"),
    key(
        "log.filter",
        Kind::Text(check::log_filter),
        "a level (error, warn, info, debug, trace) or target=level, separated by commas",
    ),
    key("log.format", Kind::Choice(&["auto", "pretty", "json"]), "auto, pretty or json"),
    key(
        "workspace.slug",
        Kind::Text(check::slug),
        "lower-case letters, digits and - (not first or last), at most 63",
    ),
    key("workspace.name", Kind::Text(check::title), "1 to 200 characters on one line"),
];
