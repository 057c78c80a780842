//! A process with nothing to do asks its database next to nothing, whatever parts it has: the law is for all of them together.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use usher_scheduler::Clock;
use usher_testkit::{nats::Nats, postgres, process::wait_for_file, statements::Statements};

use super::{Roles, run_until};
use crate::{
    config::{Sources, load},
    store,
};

/// How long the servers may take to be reached.
const PATIENCE: Duration = Duration::from_secs(20);

/// Goes on as tokio's clock does, which the test stops and moves.
fn clock() -> Clock {
    let (from, began) = (store::now(), Instant::now());
    Arc::new(move || from + TimeDelta::from_std(began.elapsed()).expect("a short time"))
}

/// Lets everybody else, servers included, go on for so long.
async fn settle(real: Duration) {
    let began = std::time::Instant::now();
    while began.elapsed() < real {
        tokio::task::yield_now().await;
    }
}

/// Housekeeping goes by the real clock: not during this.
const AWAY: [(&str, &str); 3] = [
    ("housekeeping.repeats_schedule", "0 0 29 2 *"),
    ("housekeeping.ledger_schedule", "0 0 29 2 *"),
    ("housekeeping.rejected_schedule", "0 0 29 2 *"),
];

/// How many statements the process makes in each of these minutes, once it has begun.
async fn statements_a_minute(roles: Roles, settings: &[(&str, &str)], minutes: usize) -> Vec<usize> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().expect("a directory for the test");
    let flags =
        [&[("http.listen", "127.0.0.1:0"), ("http.scheduler_listen", "127.0.0.1:0")], &AWAY[..], settings]
            .concat();
    let flags = flags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let sources =
        Sources { file: None, elsewhere: Vec::new(), env: Vec::new(), flags, cwd: dir.path().to_owned() };
    let config = load(&sources, |_| true).expect("a configuration");
    let address = config.data_dir.join(roles.address_file());

    let statements = Statements::default();
    let _counting = tracing::subscriber::set_default(statements.clone());
    let count = || statements.count();
    let shutdown = CancellationToken::new();
    let process = run_until(shutdown.clone(), clock(), &config, roles, None);
    let minutes = async {
        wait_for_file(&address, PATIENCE).await.expect("it begins");
        tokio::time::pause();
        // A stopped clock moves by itself when nothing runs, except while a blocking task does.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let holding = tokio::task::spawn_blocking(move || held.recv().is_ok());
        let mut per_minute = Vec::new();
        // The first minute has the end of the beginning: a lease that is not renewed, housekeeping.
        for _ in 0..=minutes {
            let before = count();
            let mut seen = before;
            for _ in 0..60 {
                tokio::time::advance(Duration::from_secs(1)).await;
                settle(Duration::from_millis(2)).await;
                if count() > seen {
                    // What a look has to ask comes one after the other.
                    settle(Duration::from_millis(50)).await;
                    seen = count();
                }
            }
            per_minute.push(seen - before);
        }
        drop(release);
        assert!(!holding.await.expect("it only waits"));
        tokio::time::resume();
        shutdown.cancel();
        per_minute.split_off(1)
    };
    let (ended, minutes) = tokio::join!(process, minutes);
    ended.expect("it ends when it is told to");
    minutes
}

#[tokio::test]
async fn an_idle_scheduler_process_makes_at_most_4_statements_a_minute() {
    usher_testkit::skip_without_servers!();
    let server = Nats::start().await.expect("a server");
    let database = postgres::fresh_database().await.expect("a database");
    let (store, nats) = (("store.url", database.url.as_str()), server.url());
    let counts = statements_a_minute(Roles::Scheduler, &[store, ("nats.url", &nats)], 10).await;
    // It looks, and its relay looks: both must, or nothing is seen that came without a hint.
    assert!(counts.iter().all(|count| (2..=4).contains(count)), "{counts:?}");
}

#[tokio::test]
async fn an_idle_process_with_all_roles_makes_at_most_4_statements_a_minute() {
    let counts = statements_a_minute(Roles::All, &[], 10).await;
    assert!(counts.iter().all(|count| (2..=4).contains(count)), "{counts:?}");
}
