//! The binary as a process of its own, and how the stories talk to it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use usher_testkit::{
    http,
    process::{Child, wait_for_file},
};

/// The first key of every story's store.
pub(crate) const KEY: &str = "pivotal_story_0123456789abcdefghijklmnopqrst";
/// Nothing in a story takes longer on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_usher"))
}

/// The shift of the processes' clocks that makes it `wanted` now.
pub(crate) fn offset_to(wanted: DateTime<Utc>) -> TimeDelta {
    wanted - real_now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the story moves the clock of other processes relative to the real one"
)]
fn real_now() -> DateTime<Utc> {
    Utc::now()
}

/// An API that answers.
pub(crate) struct Api {
    pub(crate) url: String,
}

impl Api {
    /// Waits until the process has written its address.
    pub(crate) async fn of(data_dir: &Path) -> anyhow::Result<Self> {
        let file = data_dir.join("http.addr");
        wait_for_file(&file, PATIENCE).await?;
        Ok(Self { url: format!("http://{}", std::fs::read_to_string(&file)?) })
    }

    /// Sends a request with the key; status and body.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, Value)> {
        let authorization = format!("Bearer {KEY}");
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let body = body.map(ToString::to_string).unwrap_or_default();
        let reply = http::request(method, &format!("{}/api/v1{path}", self.url), &headers, body).await?;
        Ok((reply.status, reply.json()?))
    }

    /// Sends a request that must succeed with `status`.
    pub(crate) async fn expect(
        &self,
        status: u16,
        method: &str,
        path: &str,
        body: Value,
    ) -> anyhow::Result<Value> {
        let body = (!body.is_null()).then_some(body);
        let (got, answer) = self.call(method, path, body.as_ref()).await?;
        anyhow::ensure!(got == status, "{method} {path}: {got}, not {status}: {answer}");
        Ok(answer)
    }
}

/// Starts the binary with a fresh environment: nothing of ours but what is given.
pub(crate) async fn start(
    arguments: &[&str],
    data_dir: &Path,
    env: &[(&str, &str)],
) -> anyhow::Result<Child> {
    let data_dir = data_dir.display().to_string();
    let mut all = vec![
        ("USHER_DATA_DIR", data_dir.as_str()),
        ("USHER_HTTP__LISTEN", "127.0.0.1:0"),
        ("USHER_HTTP__SCHEDULER_LISTEN", "127.0.0.1:0"),
        ("USHER_BOOTSTRAP_KEY", KEY),
        ("USHER_LOG__FILTER", "info,usher=debug"),
    ];
    all.extend_from_slice(env);
    Child::spawn(binary(), arguments, &all).await
}

/// Asks again and again until the answer is there; the last answer when it never is.
pub(crate) async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let waiting = async {
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| anyhow::anyhow!("never came: {what}"))?
}
