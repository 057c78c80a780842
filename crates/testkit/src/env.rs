//! The environment variables the kit listens to, read here and nowhere else.

use std::env::var_os;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Base URL of a running Postgres with superuser rights, without a database in its path.
pub const POSTGRES_URL: &str = "USHER_TEST_POSTGRES_URL";
const NATS_SERVER: &str = "USHER_TEST_NATS_SERVER";
const EMBEDDED: &str = "USHER_TEST_EMBEDDED";
const SKIPPED: &str = "USHER_TEST_SKIPPED";

/// False when the run leaves the tests that need Postgres or nats-server out (`scripts/test --embedded`).
pub fn servers_available() -> bool {
    var_os(EMBEDDED).is_none_or(|value| value.is_empty() || value == "0")
}

/// Says that a test was left out, on stderr and in the file that `scripts/test` counts at the end.
///
/// Use [`skip_without_servers!`](crate::skip_without_servers) rather than this.
pub fn note_skipped(module: &str, line: u32) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or(module);
    eprintln!("skipped: {test} ({module}:{line}) needs Postgres or nats-server (--embedded)");
    if let Some(path) = var_os(SKIPPED) {
        let file = OpenOptions::new().create(true).append(true).open(path);
        // One write per line: many test processes append to this file at once.
        file.and_then(|mut file| file.write_all(format!("{module}: {test}\n").as_bytes()))
            .expect("the file of skipped tests can be appended to");
    }
}

/// The Postgres given by `USHER_TEST_POSTGRES_URL`, if any.
pub fn postgres_url() -> Option<String> {
    let value = var_os(POSTGRES_URL)?.into_string().expect("USHER_TEST_POSTGRES_URL is UTF-8");
    (!value.is_empty()).then_some(value)
}

/// The directory that holds `initdb` and `postgres`: that of the one in PATH, else the newest Debian keeps aside.
pub(crate) fn postgres_binaries() -> anyhow::Result<PathBuf> {
    if let Some(initdb) = in_path("initdb") {
        // Packagers link `initdb` into PATH, and not always all of its siblings.
        let real = initdb.canonicalize()?;
        return Ok(real.parent().context("initdb has a directory")?.to_path_buf());
    }
    let version = |path: &PathBuf| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(version)
        .map(|path| path.join("bin"))
        .context("no initdb in PATH or /usr/lib/postgresql: install Postgres, or run scripts/test --embedded")
}

/// The nats-server to run.
pub(crate) fn nats_server() -> anyhow::Result<PathBuf> {
    match var_os(NATS_SERVER).filter(|value| !value.is_empty()) {
        Some(path) => Ok(PathBuf::from(path)),
        None => in_path("nats-server")
            .or_else(|| Some(PathBuf::from("/usr/sbin/nats-server")).filter(|path| path.exists()))
            .context("no nats-server in PATH: install it, or run scripts/test --embedded"),
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| is_file(file))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}
