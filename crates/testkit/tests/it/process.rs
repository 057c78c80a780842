//! Children, and that nothing outlives a test process that is killed.

use usher_testkit::process::{Child, wait_for_file};
use usher_testkit::{Exit, http};

use crate::{SOON, assert_nothing_left, is_there, until};

#[tokio::test]
async fn arguments_env_output_and_exit_code_arrive() {
    let script = r#"echo "$1 and $GREETING"; echo oops >&2; exit 7"#;
    let child =
        Child::spawn("sh", &["-c", script, "sh", "two  words"], &[("GREETING", "hello")]).await.unwrap();
    assert_eq!(child.wait_exit(SOON).await.unwrap(), Exit(7));
    assert_eq!(child.output(), "two  words and hello\noops\n");
}

#[tokio::test]
async fn a_child_can_be_terminated_and_killed() {
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do read -r x <\"$FIFO\"; done";
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let env = [("FIFO", fifo.to_str().unwrap())];
    let child = Child::spawn("sh", &["-c", script], &env).await.unwrap();
    child.wait_for_output("ready", SOON).await.unwrap();
    child.terminate().unwrap();
    assert_eq!(child.wait_exit(SOON).await.unwrap(), Exit(3));
    assert!(child.output().contains("bye"));

    let child = Child::spawn("sleep", &["600"], &[]).await.unwrap();
    let pid = child.pid().unwrap();
    assert_eq!(child.kill_9().await.unwrap(), Exit(128 + 9));
    assert!(!is_there(pid));
    let gone = child.wait_for_output("never", SOON).await;
    assert!(gone.is_err(), "no use waiting for the output of a dead process");
}

#[tokio::test]
async fn a_dropped_child_is_gone() {
    let child = Child::spawn("sleep", &["600"], &[]).await.unwrap();
    let pid = child.pid().unwrap();
    drop(child);
    assert!(!is_there(pid));
}

#[tokio::test]
async fn a_server_is_gone_soon_after_its_test_was_killed() {
    usher_testkit::skip_without_servers!();
    // The binary stands for the test process: it holds a private Postgres while its command runs.
    let directory = tempfile::tempdir().unwrap();
    let seen = directory.path().join("seen");
    let command = r#"echo "$$ $USHER_TEST_POSTGRES_URL" >"$0.new"; mv "$0.new" "$0"; exec sleep 600"#;
    let arguments = ["sh", "-c", command, seen.to_str().unwrap()];
    let env = [("USHER_TEST_POSTGRES_URL", "")];
    let runner = Child::spawn(env!("CARGO_BIN_EXE_usher-testkit"), &arguments, &env).await.unwrap();
    wait_for_file(&seen, SOON).await.unwrap();
    let seen = std::fs::read_to_string(&seen).unwrap();
    let (command, url) = seen.trim().split_once(' ').unwrap();
    let port = url.rsplit_once(':').unwrap().1;
    std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();

    runner.kill_9().await.unwrap();
    let free = || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_err();
    until("the server is gone", free).await;
    // The command itself is not the kit's to end; it is ours here.
    std::process::Command::new("kill").arg(command).status().unwrap();
}

#[tokio::test]
async fn the_binary_passes_the_exit_code_on_and_stops_the_server() {
    usher_testkit::skip_without_servers!();
    let env = [("USHER_TEST_POSTGRES_URL", "")];
    let arguments = ["sh", "-c", "echo \"url=$USHER_TEST_POSTGRES_URL\"; exit 42"];
    let runner = Child::spawn(env!("CARGO_BIN_EXE_usher-testkit"), &arguments, &env).await.unwrap();
    assert_eq!(runner.wait_exit(SOON).await.unwrap(), Exit(42));
    let output = runner.output();
    let port =
        output.lines().find_map(|line| line.strip_prefix("url=postgres://postgres@127.0.0.1:")).unwrap();
    assert!(std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_err());
}

#[tokio::test]
async fn http_requests_that_cannot_be_made_say_where() {
    let error = http::request("GET", "http://127.0.0.1:1/x", &[], "").await.unwrap_err();
    assert!(format!("{error:#}").contains("http://127.0.0.1:1/x"));
}

#[test]
fn assert_nothing_left_notices_what_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let ours = std::process::id();
    assert!(std::panic::catch_unwind(|| assert_nothing_left(ours, directory.path())).is_err());
}
