//! The defaults, the layers and the faults; `values` has what each key takes, `secrets` what is never shown.

mod secrets;
mod values;

use std::{fs, path::Path};

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::{CatchUp, Config, DEFAULT_FILE, Faults, LogFormat, Source, Sources, keys::KEYS, load};

/// A working directory and what is given in it.
struct Given {
    dir: TempDir,
    sources: Sources,
}

impl Given {
    fn nothing() -> Self {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let cwd = dir.path().to_owned();
        Self {
            dir,
            sources: Sources { file: None, elsewhere: Vec::new(), env: Vec::new(), flags: Vec::new(), cwd },
        }
    }

    fn file(self, text: &str) -> Self {
        self.with("usher.toml", text)
    }

    fn with(self, name: &str, text: &str) -> Self {
        fs::write(self.dir.path().join(name), text).expect("writes into the test's directory");
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.sources.flags.push((key.to_owned(), value.to_owned()));
        self
    }

    fn load(&self) -> Result<Config, Faults> {
        load(&self.sources, |zone| ["UTC", "Europe/Berlin"].contains(&zone))
    }

    fn config(&self) -> Config {
        self.load().unwrap_or_else(|faults| panic!("expected no faults:\n{faults}"))
    }

    /// Each fault as its line.
    fn faults(&self) -> Vec<String> {
        self.load().expect_err("expected faults").0.iter().map(ToString::to_string).collect()
    }

    fn fault(&self) -> String {
        let faults = self.faults();
        assert_eq!(faults.len(), 1, "expected one fault: {faults:#?}");
        faults.into_iter().next().expect("there is one")
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

/// The keys that the default file names, in order, with whether they are commented out, and the file with all of them
/// in force.
fn default_keys() -> (Vec<(String, bool)>, String) {
    let (mut section, mut keys, mut all) = (String::new(), Vec::new(), String::new());
    for line in DEFAULT_FILE.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let name = bare.split_once(" = ").map(|(name, _)| name).unwrap_or_default();
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = format!("{name}.");
            all.extend([line, "\n"]);
        } else if !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            keys.push((format!("{section}{name}"), bare != line));
            all.extend([bare, "\n"]);
        }
    }
    (keys, all)
}

#[test]
fn the_default_file_names_every_key_with_its_variable() {
    let (listed, _) = default_keys();
    let names: Vec<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
    for key in KEYS {
        let env = format!("env {}\n", key.env());
        assert!(DEFAULT_FILE.contains(&env), "the default file lacks {env}");
    }
}

#[test]
fn the_default_file_given_as_a_file_changes_nothing() {
    let given = Given::nothing();
    let defaults = given.config().show();
    assert_eq!(given.file(DEFAULT_FILE).config().show(), defaults);
}

#[test]
fn the_examples_in_the_default_file_are_valid() {
    let (_, all) = default_keys();
    // Of what excludes each other one way is kept, and files need not be there.
    let kept: Vec<&str> = all
        .lines()
        .filter(|line| !line.contains("_file = ") && !line.starts_with("token = \"secret"))
        .collect();
    let config = Given::nothing().file(&kept.join("\n")).config();
    let shown = config.show();
    for key in KEYS.iter().filter(|key| !key.name.ends_with("_file") && key.name != "nats.token") {
        let value = key.name.split('.').try_fold(&shown, |value, part| value.get(part));
        assert!(value.is_some(), "{} is not shown", key.name);
    }
}

#[test]
fn the_defaults() {
    let given = Given::nothing();
    let config = given.config();
    let shown = config.show_json();
    for (name, commented) in default_keys().0 {
        let unset = shown.pointer(&pointer(&name)).is_none_or(serde_json::Value::is_null);
        // The database follows from data_dir.
        assert_eq!(unset, commented && name != "store.url", "{name}");
    }
    assert_eq!(config.data_dir, Path::new(&given.path("usher-data")));
    assert_eq!(config.store.url.expose_secret(), format!("sqlite://{}", given.path("usher-data/usher.db")));
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.http.public_url, None);
    assert_eq!(config.http.body_limit_bytes, 1_048_576);
    assert_eq!(config.store.max_connections, 10);
    assert!(config.nats.url.is_none() && config.smtp.url.is_none() && config.slack.token.is_none());
    assert_eq!((config.nats.prefix.as_str(), config.nats.stream_prefix.as_str()), ("usher", "USHER"));
    assert_eq!((config.nats.replicas, config.nats.tls_required), (1, false));
    let nats = &config.nats;
    let ages =
        (nats.events_max_age_days, nats.commands_max_age_days, nats.rejected_max_age_days, nats.inbox_days);
    assert_eq!(ages, (30, 14, 90, 30));
    assert_eq!(config.housekeeping.rejected_days, 90);
    assert_eq!((config.smtp.from.as_str(), config.smtp.max_connections), ("usher <usher@localhost>", 8));
    assert_eq!(config.slack.api_url, "https://slack.com/api");
    assert_eq!(config.reminders.time_zone, "UTC");
    assert_eq!(config.reminders.time_of_day.to_string(), "09:00:00");
    assert_eq!(config.reminders.send_until.to_string(), "18:00:00");
    assert_eq!(
        config.show_json()["reminders"]["working_days"],
        serde_json::json!(["mon", "tue", "wed", "thu", "fri"])
    );
    assert_eq!((config.reminders.catch_up, config.reminders.spread_minutes), (CatchUp::Once, 0));
    assert!(config.reminders.holidays.is_empty() && config.reminders.ops_email.is_none());
    assert!(!config.reminders.nudge_customer && config.templates_dir.is_none());
    assert_eq!(
        (config.log.filter.as_str(), config.log.format),
        ("info,async_nats=error,sqlx=warn", LogFormat::Auto)
    );
    assert_eq!((config.workspace.slug.as_str(), config.workspace.name.as_str()), ("main", "Main"));
}

fn pointer(name: &str) -> String {
    format!("/{}", name.replace('.', "/"))
}

#[test]
fn the_later_layer_wins() {
    let given = Given::nothing()
        .file("[http]\nbody_limit_bytes = 2000\n[log]\nformat = \"json\"\n[smtp]\nmax_connections = 3\n");
    assert_eq!(given.config().http.body_limit_bytes, 2000);
    let given = given.env("USHER_HTTP__BODY_LIMIT_BYTES", "3000").env("USHER_LOG__FORMAT", "pretty");
    assert_eq!(given.config().http.body_limit_bytes, 3000);
    let given = given.flag("http.body_limit_bytes", "4000");
    let config = given.config();
    assert_eq!((config.http.body_limit_bytes, config.log.format), (4000, LogFormat::Pretty));
    assert_eq!(config.smtp.max_connections, 3, "what only the file gives stays");
}

#[test]
fn the_environment_is_read_by_the_kind_of_the_key() {
    let config = Given::nothing()
        .env("USHER_DATA_DIR", "/var/lib/usher")
        .env("USHER_NATS__TLS_REQUIRED", "true")
        .env("USHER_REMINDERS__WORKING_DAYS", "sun, mon")
        .env("USHER_REMINDERS__HOLIDAYS", "2026-12-25,2027-01-01")
        .env("USHER_REMINDERS__TIME_ZONE", "Europe/Berlin")
        .env("USHER_WORKSPACE__NAME", "42")
        .env("USHER_SLACK__TOKEN", "")
        .config();
    assert_eq!(config.data_dir, Path::new("/var/lib/usher"));
    assert_eq!(config.store.url.expose_secret(), "sqlite:///var/lib/usher/usher.db");
    assert!(config.nats.tls_required);
    let shown = config.show_json();
    assert_eq!(shown["reminders"]["working_days"], serde_json::json!(["sun", "mon"]));
    assert_eq!(shown["reminders"]["holidays"], serde_json::json!(["2026-12-25", "2027-01-01"]));
    assert_eq!(config.workspace.name, "42");
    assert!(config.slack.token.is_none(), "an empty variable is not set");
}

#[test]
fn a_named_file_must_exist_and_replaces_the_one_in_the_working_directory() {
    let mut given = Given::nothing()
        .file("[workspace]\nslug = \"here\"\n")
        .with("other.toml", "[workspace]\nname = \"Other\"\n");
    given.sources.file = Some("other.toml".into());
    let config = given.config();
    assert_eq!((config.workspace.slug.as_str(), config.workspace.name.as_str()), ("main", "Other"));
    given.sources.file = Some("missing.toml".into());
    assert!(given.fault().starts_with("config (missing.toml): cannot be read: "), "{}", given.fault());
}

#[test]
fn variables_that_are_no_settings_are_left_alone() {
    let mut given = Given::nothing();
    for name in [
        "USHER_BOOTSTRAP_KEY",
        "USHER_CONFIG",
        "USHER_LOG",
        "USHER_URL",
        "USHER_API_KEY",
        "USHER_TEST_X",
        "PATH",
        "USHERETTE",
    ] {
        given = given.env(name, "anything");
    }
    // What Kubernetes makes for the Services `usher` and `usher-ingest`.
    for name in [
        "USHER_SERVICE_HOST",
        "USHER_SERVICE_PORT",
        "USHER_INGEST_SERVICE_PORT_HTTP",
        "USHER_PORT_8080_TCP_ADDR",
        "USHER_INGEST_PORT_80_TCP_PORT",
    ] {
        given = given.env(name, "10.0.0.1");
    }
    given.env("USHER_PORT", "tcp://10.0.0.1:8080").config();
}

#[test]
fn unknown_names_are_faults_with_the_nearest_known_one() {
    let given = Given::nothing()
        .file("port = 1\n[http]\nlisten_on = \"hunter2\"\n[slcak]\ntoken = \"hunter2\"\n")
        .env("USHER_STORE_URL", "hunter2")
        .env("USHER_HTTP_PORT", "8080")
        .env("USHER_NATS__INBOX_DAY", "40")
        .flag("log.filtre", "debug");
    let faults = given.faults();
    let expected = [
        "port (usher.toml:1): there is no such key; the nearest is ",
        "http.listen_on (usher.toml:3): there is no such key; the nearest is http.listen",
        "slcak (usher.toml:4): there is no such section; the nearest is slack",
        "USHER_HTTP_PORT: there is no such variable; the nearest is USHER_",
        "USHER_NATS__INBOX_DAY: there is no such variable; the nearest is USHER_NATS__INBOX_DAYS",
        "USHER_STORE_URL: there is no such variable; the nearest is USHER_STORE__URL",
        "log.filtre (command line): there is no such key; the nearest is log.filter",
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, start) in faults.iter().zip(expected) {
        assert!(fault.starts_with(start), "{fault}");
        assert!(!fault.contains("hunter2"), "{fault}");
    }
}

#[test]
fn faults_of_every_layer_are_reported_at_once() {
    let faults = Given::nothing()
        .file("log = 3\n[http]\nlisten = \"localhost\"\nbody_limit_bytes = \"many\"\n[reminders]\nworking_days = [1]\n")
        .env("USHER_LOG__FORMAT", "xml")
        .flag("workspace.slug", "Main")
        .faults();
    assert_eq!(
        faults,
        [
            "log (usher.toml:1): is a section: write [log] and its keys below",
            "http.listen (usher.toml:3): \"localhost\" is not allowed; must be an address and a port such as \
             127.0.0.1:8080 or [::1]:8080 (port 0: any free one)",
            "http.body_limit_bytes (usher.toml:4): \"many\" is not allowed; must be a whole number of bytes from 1024 \
             to 67108864",
            "reminders.working_days (usher.toml:6): [1] is not allowed; must be one or more of mon, tue, wed, thu, \
             fri, sat, sun, each once",
            "log.format (USHER_LOG__FORMAT): \"xml\" is not allowed; must be auto, pretty or json",
            "workspace.slug (command line): \"Main\" is not allowed; must be lower-case letters, digits and - (not \
             first or last), at most 63",
        ]
    );
}

#[test]
fn a_file_that_is_not_toml_is_named_by_line_and_never_quoted() {
    let given = Given::nothing().file("[slack]\ntoken = hunter2\n\n[log]\nfilter = \"\n");
    let faults = given.faults();
    assert!(faults[0].starts_with("config (usher.toml:2): is not TOML: "), "{faults:#?}");
    assert!(faults.iter().any(|fault| fault.contains("usher.toml:5")), "{faults:#?}");
    assert!(!faults.concat().contains("hunter2"), "{faults:#?}");
}

#[test]
fn what_belongs_together_is_compared() {
    let fault = Given::nothing().env("USHER_NATS__COMMANDS_MAX_AGE_DAYS", "30").fault();
    assert_eq!(
        fault,
        "nats.inbox_days (USHER_NATS__COMMANDS_MAX_AGE_DAYS): 30 must be greater than nats.commands_max_age_days, \
         which is 30"
    );
    let fault = Given::nothing().env("USHER_HOUSEKEEPING__REJECTED_DAYS", "14").fault();
    assert_eq!(
        fault,
        "housekeeping.rejected_days (USHER_HOUSEKEEPING__REJECTED_DAYS): 14 must be greater than \
         nats.commands_max_age_days, which is 14"
    );
    let fault = Given::nothing().file("[reminders]\ntime_of_day = \"18:00\"\n").fault();
    assert_eq!(
        fault,
        "reminders.send_until (usher.toml:2): \"18:00\" must be later than reminders.time_of_day, which is \"18:00\""
    );
    let fault = Given::nothing().env("USHER_NATS__USER", "u").fault();
    assert!(fault.starts_with("nats.user (USHER_NATS__USER): is given without nats.password"), "{fault}");
    let given = Given::nothing()
        .env("USHER_NATS__USER", "u")
        .env("USHER_NATS__PASSWORD", "p")
        .env("USHER_NATS__TOKEN", "t");
    assert!(given.fault().starts_with("nats.token (USHER_NATS__TOKEN): only one way"), "{}", given.fault());
    let fault = Given::nothing()
        .env("USHER_NATS__INBOX_DAYS", "x")
        .env("USHER_NATS__COMMANDS_MAX_AGE_DAYS", "60")
        .fault();
    assert!(fault.contains("\"x\" is not allowed"), "a key with a fault is not compared: {fault}");
}

#[test]
fn layers_are_ordered() {
    let file = Source::File { path: "usher.toml".into(), line: 1 };
    let layers = [Source::Default, file, Source::Env("X".into()), Source::Flag].map(|source| source.layer());
    assert!(layers.is_sorted_by(|a, b| a < b));
}
