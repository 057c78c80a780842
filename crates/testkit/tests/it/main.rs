//! The kit itself: what other tests rely on without looking.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod mail;
mod nats;
mod postgres;
mod process;
mod slack;
mod smtp;

use std::path::Path;
use std::time::Duration;

/// Long enough for a loaded machine; nothing waits for all of it unless it is broken.
const SOON: Duration = Duration::from_secs(20);

/// Whether a process of this number is there (a zombie still is).
fn is_there(pid: u32) -> bool {
    let state = std::process::Command::new("kill").args(["-0", &pid.to_string()]).output().unwrap();
    state.status.success()
}

/// Waits on a condition that nobody announces.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let mut pause = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        while !condition() {
            pause.tick().await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn assert_nothing_left(pid: u32, directory: &Path) {
    assert!(!is_there(pid), "process {pid} is still there");
    assert!(!directory.exists(), "{} is still there", directory.display());
}
