//! Runs a program for a test, in a temporary directory of its own, so that neither stays behind.
//!
//! The program runs under `daemon.sh`, whose stdin is a pipe from this process. The kernel closes the pipe when this
//! process ends, even by SIGKILL; the script then ends the program and removes the directory. The script has a
//! process group of its own, so that neither Ctrl-C nor a test runner's timeout reaches it before it has done so.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::sync::watch;
use tokio::time::timeout;

/// Servers refuse to run as root: then they run as `nobody`, whose number is the same everywhere.
const NOBODY: u32 = 65534;
/// No program here takes this long to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a program ended: its exit code, or 128 + the number of the signal that ended it (137 for SIGKILL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub i32);

/// What the script said last. A program may have ended before anybody asks, so both facts are kept.
#[derive(Clone, Copy, Debug, Default)]
struct Status {
    runs: u32,
    pid: u32,
    exit: Option<Exit>,
}

/// The uid the program runs under.
#[derive(Clone, Copy)]
pub(crate) enum RunAs {
    Ourselves,
    /// `nobody` when we are root, else ourselves.
    Unprivileged,
}

/// What to do with a program that still runs at the end.
#[derive(Clone, Copy)]
pub(crate) enum LastSignal {
    Kill,
    Quit,
}

pub(crate) struct Daemon {
    directory: PathBuf,
    script: Mutex<std::process::Child>,
    status: watch::Receiver<Status>,
}

impl Daemon {
    /// Prepares the directory and the script; nothing runs yet. `env` is added to our own environment.
    pub(crate) fn new(
        name: &str,
        run_as: RunAs,
        last: LastSignal,
        env: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        // Not the temporary directory of the environment: the path of a unix socket has at most 107 bytes.
        let parent = if Path::new("/tmp").is_dir() { PathBuf::from("/tmp") } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new().prefix(&format!("usher-{name}-")).tempdir_in(parent)?;
        let mut command = Command::new("sh");
        command.args(["-c", include_str!("daemon.sh"), "daemon.sh"]).arg(directory.path());
        command.arg(match last {
            LastSignal::Kill => "KILL",
            LastSignal::Quit => "QUIT",
        });
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        command.envs(env.iter().copied());
        let root = directory.path().metadata()?.uid() == 0;
        if root && matches!(run_as, RunAs::Unprivileged) {
            std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY))?;
            command.uid(NOBODY).gid(NOBODY).current_dir(directory.path());
        }
        let mut script = command.spawn().context("sh does not start")?;
        let answers = script.stdout.take().context("the script's stdout is a pipe")?;
        let (sender, status) = watch::channel(Status::default());
        std::thread::spawn(move || {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                sender.send_modify(|status| status.heard(&line));
            }
        });
        // From here on the script removes it.
        Ok(Self { directory: directory.keep(), script: Mutex::new(script), status })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the programs wrote to stdout and stderr so far.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.directory.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Starts a program; an error when one still runs. Returns its process id.
    pub(crate) async fn run<A: AsRef<OsStr>>(&self, program: &Path, arguments: &[A]) -> anyhow::Result<u32> {
        ensure!(self.pid().is_none(), "a program is running already");
        let mut words = vec![program.as_os_str().as_bytes()];
        words.extend(arguments.iter().map(|argument| argument.as_ref().as_bytes()));
        let mut command = format!("run {}\n", words.len()).into_bytes();
        for word in words {
            ensure!(!word.contains(&b'\n'), "an argument may not contain a line feed");
            command.extend_from_slice(word);
            command.push(b'\n');
        }
        let before = self.status.borrow().runs;
        self.tell(&command)?;
        let mut status = self.status.clone();
        let started = status.wait_for(|status| status.runs > before);
        Ok(timeout(PATIENCE, started).await.context("the program does not start")??.pid)
    }

    /// The process id while a program runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        let status = *self.status.borrow();
        (status.runs > 0 && status.exit.is_none()).then_some(status.pid)
    }

    /// Sends a signal (`TERM`, `KILL`, ...) to the program, if it still runs.
    pub(crate) fn signal(&self, name: &str) -> anyhow::Result<()> {
        self.tell(format!("signal {name}\n").as_bytes())
    }

    /// Sends a signal and waits until the program is gone.
    pub(crate) async fn end(&self, signal: &str) -> anyhow::Result<Exit> {
        self.signal(signal)?;
        self.wait_exit(PATIENCE).await
    }

    /// Waits until the program has ended; an error when it has not within `limit`.
    pub(crate) async fn wait_exit(&self, limit: Duration) -> anyhow::Result<Exit> {
        let mut status = self.status.clone();
        let ended = status.wait_for(|status| status.exit.is_some());
        let status =
            timeout(limit, ended).await.with_context(|| format!("still running after {limit:?}"))??;
        status.exit.context("waited for the exit")
    }

    /// An error with the log when the program is not running any more: waiting for it to be ready is in vain.
    pub(crate) fn ensure_running(&self) -> anyhow::Result<()> {
        ensure!(self.pid().is_some(), "it ended:\n{}", self.log());
        Ok(())
    }

    fn tell(&self, command: &[u8]) -> anyhow::Result<()> {
        let mut script = self.script.lock().expect("no holder panics");
        let stdin = script.stdin.as_mut().context("the script's stdin is open until drop")?;
        stdin.write_all(command).context("the script ended")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let script = self.script.get_mut().expect("no holder panics");
        drop(script.stdin.take());
        // Milliseconds: the program ends by its last signal. Afterwards process and directory are gone.
        let _ = script.wait();
    }
}

impl Status {
    fn heard(&mut self, line: &str) {
        match line.split_once(' ').map(|(word, number)| (word, number.parse())) {
            Some(("started", Ok(pid))) => *self = Self { runs: self.runs + 1, pid, exit: None },
            Some(("exited", Ok(code))) => self.exit = Some(Exit(code.cast_signed())),
            _ => {}
        }
    }
}
