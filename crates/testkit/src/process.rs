//! The program under test as a process of its own, for what only the death of a process shows.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::daemon::{Daemon, Exit, LastSignal, RunAs};

/// A running program. Killed when dropped; if the test is failing then, its output is printed first.
pub struct Child {
    daemon: Daemon,
    name: String,
}

impl Child {
    /// Starts the program at `path`, with `env` added to our own environment.
    pub async fn spawn<A: AsRef<OsStr>>(
        path: impl AsRef<Path>,
        arguments: &[A],
        env: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let path = path.as_ref();
        let daemon = Daemon::new("child", RunAs::Ourselves, LastSignal::Kill, env)?;
        daemon.run(path, arguments).await?;
        let words = arguments.iter().map(|argument| argument.as_ref().display().to_string());
        let name = std::iter::once(path.display().to_string()).chain(words).collect::<Vec<_>>().join(" ");
        Ok(Self { daemon, name })
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.pid()
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub async fn kill_9(&self) -> anyhow::Result<Exit> {
        self.daemon.end("KILL").await
    }

    /// Asks it to end (SIGTERM). Then [`Child::wait_exit`].
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.daemon.signal("TERM")
    }

    /// Waits until it has ended by itself; an error with its output when it has not within `limit`.
    pub async fn wait_exit(&self, limit: Duration) -> anyhow::Result<Exit> {
        let exit = self.daemon.wait_exit(limit).await;
        exit.with_context(|| format!("{}, which said:\n{}", self.name, self.output()))
    }

    /// What it wrote to stdout and stderr so far.
    pub fn output(&self) -> String {
        self.daemon.log()
    }

    /// Waits until its output contains `text`; an error with the output when it has not within `limit`, or cannot
    /// any more because the program ended.
    pub async fn wait_for_output(&self, text: &str, limit: Duration) -> anyhow::Result<()> {
        let waiting = until(|| {
            // Asked first: what it wrote before it ended is in the log by then.
            let running = self.daemon.ensure_running();
            if self.output().contains(text) { Ok(true) } else { running.map(|()| false) }
        });
        let said = timeout(limit, waiting).await;
        said.with_context(|| format!("{} never said {text:?} but:\n{}", self.name, self.output()))?
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- output of {}\n{}--- end of output", self.name, self.output());
        }
    }
}

/// Waits until a file exists; an error when it does not within `limit`.
pub async fn wait_for_file(path: impl AsRef<Path>, limit: Duration) -> anyhow::Result<()> {
    let path = path.as_ref();
    let waiting = timeout(limit, until(|| Ok(path.exists()))).await;
    waiting.with_context(|| format!("{} is not there after {limit:?}", path.display()))?
}

/// Looks every 10 ms: neither files nor another program's output wake anybody up.
async fn until(mut condition: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let mut pause = interval(Duration::from_millis(10));
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !condition()? {
        pause.tick().await;
    }
    Ok(())
}
