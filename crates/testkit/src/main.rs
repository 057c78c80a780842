//! `usher-testkit <command...>`: runs a command with a private Postgres in `USHER_TEST_POSTGRES_URL` and ends with its
//! exit code. The server is gone afterwards, in any case. A server already named there is used instead.

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::process::Command;
use usher_testkit::postgres::{POSTGRES_URL, Postgres, given_url};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!(
            "usage: usher-testkit <command...>\nruns the command with a private Postgres in {POSTGRES_URL}"
        );
        return Ok(ExitCode::from(2));
    };
    // Dropped, and thereby ended, on every way out of here.
    let server = if given_url().is_none() { Some(Postgres::start().await?) } else { None };
    let url = server.as_ref().map(Postgres::base_url).or_else(given_url).context("given, or started")?;
    eprintln!("usher-testkit: {POSTGRES_URL}={url}");
    let mut child = Command::new(&program)
        .args(arguments)
        .env(POSTGRES_URL, &url)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            // Ctrl-C goes to the command as well. It ends first, while it still has its server.
            Ok(()) = tokio::signal::ctrl_c() => {}
        }
    };
    // A command that was killed has no code of its own.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
