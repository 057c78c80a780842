//! docs/examples/upstream.py against the real thing: a foreign client, and a page that shows what it really prints.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::process::Command;
use usher_testkit::nats::Nats;

use crate::service::{Api, PATIENCE, start};

const OPEN: &str = "<!-- generated: upstream -->\n";
const CLOSE: &str = "<!-- /generated -->";

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The Python of the environment `upstream`, made when it is not there yet.
pub(crate) async fn python() -> anyhow::Result<PathBuf> {
    let made = Command::new(root().join("scripts/venv")).arg("upstream").output().await?;
    let said = String::from_utf8_lossy(&made.stderr);
    anyhow::ensure!(made.status.success(), "scripts/venv upstream: {said}");
    Ok(PathBuf::from(String::from_utf8(made.stdout)?.trim()).join("bin/python"))
}

#[tokio::test]
async fn a_foreign_upstream_publishes_in_every_form_and_reads_every_event_back() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let (python, server, dir) = (python().await?, Nats::start().await?, tempfile::tempdir()?);
    let url = server.url();
    let service = start(&[], dir.path(), &[("USHER_NATS__URL", url.as_str())]).await?;
    // With NATS the address is written when the streams are there.
    Api::of(dir.path()).await?;
    let example = root().join("docs/examples/upstream.py");
    let run = Command::new(python).arg(example).args([url.as_str(), "main"]).output();
    let run = tokio::time::timeout(PATIENCE * 2, run).await.context("it does not end")??;
    let (said, errors) = (String::from_utf8(run.stdout)?, String::from_utf8_lossy(&run.stderr));
    anyhow::ensure!(run.status.success(), "{said}\n{errors}");
    service.terminate()?;
    assert_eq!(service.wait_exit(PATIENCE).await?.0, 0);
    fresh("docs/events.md", &format!("```\n{said}```\n"))
}

/// The page shows what was printed; `UPDATE_DOCS=1` rewrites it.
fn fresh(page: &str, wanted: &str) -> anyhow::Result<()> {
    let path = root().join(page);
    let text = std::fs::read_to_string(&path)?;
    let (head, rest) = text.split_once(OPEN).context("the page has the opening mark")?;
    let (found, tail) = rest.split_once(CLOSE).context("the page has the closing mark")?;
    if found == wanted {
        return Ok(());
    }
    let update = std::env::var("UPDATE_DOCS").is_ok();
    anyhow::ensure!(update, "{page} is stale; UPDATE_DOCS=1 rewrites it. Printed was:\n{wanted}");
    Ok(std::fs::write(&path, format!("{head}{OPEN}{wanted}{CLOSE}{tail}"))?)
}
