//! Postgres for tests: a private server, and databases on one that many tests share.
//!
//! [`Postgres`] is for tests that kill and restart the server itself. All others take a database of their own from
//! the shared server ([`fresh_database`], [`database_from_template`]): that of `USHER_TEST_POSTGRES_URL` (set by
//! `cargo run -p usher-testkit -- <command>` and `scripts/test` for a whole run), else one per process.

mod database;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::{MissedTickBehavior, interval, timeout};

pub use database::{Database, Shared, database_from_template, fresh_database, shared};

pub use crate::env::{POSTGRES_URL, postgres_url as given_url};

use crate::daemon::{Daemon, LastSignal, RunAs};
use crate::{env, ports};

const PATIENCE: Duration = Duration::from_secs(30);

/// A private server on a port of its own, gone when dropped. Superuser `postgres`, no password, loopback only.
pub struct Postgres {
    daemon: Daemon,
    binaries: PathBuf,
    port: u16,
}

impl Postgres {
    /// Makes a new, empty cluster and starts the server: about a second.
    pub async fn start() -> anyhow::Result<Self> {
        let binaries = env::postgres_binaries()?;
        let daemon = Daemon::new("pg", RunAs::Unprivileged, LastSignal::Quit, &[])?;
        let mut server = Self { daemon, binaries, port: 0 };
        server.init().await.context("initdb")?;
        // Between choosing a port and taking it somebody else may take it.
        for _ in 0..20 {
            server.port = ports::candidate();
            server.daemon.run(&server.binaries.join("postgres"), &server.arguments()).await?;
            match server.ready().await {
                Ok(()) => return Ok(server),
                Err(_) if server.daemon.log().contains("could not create any TCP/IP sockets") => {}
                Err(error) => return Err(error),
            }
        }
        bail!("no free port for Postgres found:\n{}", server.daemon.log())
    }

    /// `postgres://postgres@127.0.0.1:PORT/database`; every new server has the database `postgres`.
    pub fn url(&self, database: &str) -> String {
        format!("{}/{database}", self.base_url())
    }

    /// The URL without a database, as `USHER_TEST_POSTGRES_URL` wants it.
    pub fn base_url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }

    /// The process id of the postmaster while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.pid()
    }

    /// The directory with data, socket and log.
    pub fn directory(&self) -> &Path {
        self.daemon.directory()
    }

    /// Shuts down as an operator does (fast: open transactions are rolled back, clients are told).
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.daemon.end("INT").await.map(drop)
    }

    /// Kills the postmaster with SIGKILL. Its children notice and go; what was committed is there after `restart`.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.daemon.end("KILL").await.map(drop)
    }

    /// Starts the stopped or killed server again: same data, same port.
    pub async fn restart(&self) -> anyhow::Result<()> {
        let restarting = async {
            let mut pause = ticks();
            loop {
                self.daemon.run(&self.binaries.join("postgres"), &self.arguments()).await?;
                match self.ready().await {
                    Ok(()) => return Ok(()),
                    // The children of a killed postmaster are still on their way out.
                    Err(error) if !self.log_tail().contains("is still in use") => return Err(error),
                    Err(_) => pause.tick().await,
                };
            }
        };
        timeout(PATIENCE, restarting).await.context("Postgres does not come back")?
    }

    async fn init(&self) -> anyhow::Result<()> {
        let data = self.data();
        let data = data.to_str().context("the temporary directory is UTF-8")?;
        let arguments =
            ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"];
        self.daemon.run(&self.binaries.join("initdb"), &arguments).await?;
        let exit = self.daemon.wait_exit(PATIENCE).await?;
        ensure!(exit.0 == 0, "ended with {}:\n{}", exit.0, self.daemon.log());
        Ok(())
    }

    /// `synchronous_commit` stays on: without fsync a commit still survives the death of the server (not of the
    /// machine), and crash tests rely on that.
    fn arguments(&self) -> Vec<String> {
        let directory = self.daemon.directory().display();
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={directory}"),
            "fsync=off".to_owned(),
            "max_connections=300".to_owned(),
            "timezone=UTC".to_owned(),
            "log_min_messages=warning".to_owned(),
        ];
        let mut arguments = vec!["-D".to_owned(), self.data().display().to_string()];
        arguments.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
        arguments
    }

    fn data(&self) -> PathBuf {
        self.daemon.directory().join("data")
    }

    fn log_tail(&self) -> String {
        let log = self.daemon.log();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.join("\n")
    }

    /// Waits until a connection through the socket in our own directory succeeds: a server on the same TCP port
    /// that is not ours cannot be mistaken for it.
    async fn ready(&self) -> anyhow::Result<()> {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(self.daemon.directory())
            .port(self.port)
            .username("postgres")
            .database("postgres");
        let connecting = async {
            let mut pause = ticks();
            loop {
                pause.tick().await;
                self.daemon.ensure_running()?;
                if let Ok(connection) = PgConnection::connect_with(&options).await {
                    connection.close().await?;
                    return anyhow::Ok(());
                }
            }
        };
        timeout(PATIENCE, connecting)
            .await
            .with_context(|| format!("Postgres is not ready:\n{}", self.daemon.log()))?
    }
}

fn ticks() -> tokio::time::Interval {
    let mut interval = interval(Duration::from_millis(10));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
