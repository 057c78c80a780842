//! A private nats-server with `JetStream`, as real as the one in production: it can be killed and come back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::daemon::{Daemon, LastSignal, RunAs};
use crate::{env, ports};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a port of its own, gone when dropped.
pub struct Nats {
    daemon: Daemon,
    binary: PathBuf,
    port: u16,
    version: String,
}

impl Nats {
    /// A server without authentication: 20 to 70 ms.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with("").await
    }

    /// A server whose configuration ends with `fragment`, e.g. `authorization { token: "secret" }`.
    pub async fn start_with(fragment: &str) -> anyhow::Result<Self> {
        let binary = env::nats_server()?;
        let daemon = Daemon::new("nats", RunAs::Ourselves, LastSignal::Kill, &[])?;
        let mut server = Self { daemon, binary, port: 0, version: String::new() };
        // The server could pick a free port itself (-1), but from a range where another may have it after a kill.
        for _ in 0..20 {
            server.port = ports::candidate();
            server.configure(fragment)?;
            match server.run().await {
                Ok(version) => {
                    server.version = version;
                    return Ok(server);
                }
                Err(_) if server.daemon.log().contains("address already in use") => {}
                Err(error) => return Err(error),
            }
        }
        bail!("no free port for nats-server found:\n{}", server.daemon.log())
    }

    /// `nats://127.0.0.1:PORT`, also after a restart.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// What the server says it is, e.g. `2.9.10`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.pid()
    }

    /// The directory with streams, configuration and log.
    pub fn directory(&self) -> &Path {
        self.daemon.directory()
    }

    /// Publishes as a foreign client might: this very block of headers, whatever it is. Returns when the server has it.
    pub async fn publish_raw(&self, subject: &str, headers: &[u8], payload: &[u8]) -> anyhow::Result<()> {
        let url = self.url();
        let mut stream = TcpStream::connect(url.trim_start_matches("nats://")).await?;
        let (header, total) = (headers.len(), headers.len() + payload.len());
        let hello = "CONNECT {\"verbose\":false,\"headers\":true}\r\n";
        let head = format!("{hello}HPUB {subject} {header} {total}\r\n");
        for part in [head.as_bytes(), headers, payload, b"\r\nPING\r\n"] {
            stream.write_all(part).await?;
        }
        let mut answers = BufReader::new(stream).lines();
        while let Some(line) = answers.next_line().await? {
            anyhow::ensure!(!line.starts_with("-ERR"), "{line}");
            if line == "PONG" {
                return Ok(());
            }
        }
        anyhow::bail!("the server ended the connection")
    }

    /// What the server logged so far.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Kills it with SIGKILL and waits until it is gone. Streams and consumers are there after `restart`.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.daemon.end("KILL").await.map(drop)
    }

    /// Starts the killed server again: same port, same streams.
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.run().await.map(drop)
    }

    fn configure(&self, fragment: &str) -> anyhow::Result<()> {
        let directory = self.daemon.directory().display();
        let configuration = format!(
            "server_name: usher-test-{port}\nlisten: \"127.0.0.1:{port}\"\nports_file_dir: \"{directory}\"\n\
             jetstream {{ store_dir: \"{directory}/jetstream\" }}\n{fragment}\n",
            port = self.port
        );
        std::fs::write(self.daemon.directory().join("nats.conf"), configuration)?;
        Ok(())
    }

    /// Starts it and returns its version once it serves. The file of ports, named after our process, says that the
    /// server that answers is this one.
    async fn run(&self) -> anyhow::Result<String> {
        let configuration = self.daemon.directory().join("nats.conf");
        let pid = self.daemon.run(&self.binary, &[Path::new("-c"), &configuration]).await?;
        let name = self.binary.file_name().context("the nats-server has a name")?.display();
        let ports_file = self.daemon.directory().join(format!("{name}_{pid}.ports"));
        let serving = async {
            let mut pause = interval(Duration::from_millis(5));
            pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !ports_file.exists() {
                pause.tick().await;
                self.daemon.ensure_running()?;
            }
            self.greeting().await
        };
        timeout(PATIENCE, serving)
            .await
            .with_context(|| format!("nats-server is not ready:\n{}", self.daemon.log()))?
    }

    /// Reads the version from the `INFO {...}` line with which the server greets.
    async fn greeting(&self) -> anyhow::Result<String> {
        let mut line = String::new();
        BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await?).read_line(&mut line).await?;
        let info: Value = serde_json::from_str(line.strip_prefix("INFO ").context("no NATS greeting")?)?;
        Ok(info["version"].as_str().context("no version in the greeting")?.to_owned())
    }
}
