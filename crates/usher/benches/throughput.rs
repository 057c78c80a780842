//! How much the real binary does, on SQLite and on Postgres (fsync on), next to what pgbench does with the same insert:
//!
//! - creates over HTTP on 32 connections,
//! - commands from NATS until they are committed and acknowledged,
//! - due reminders to an SMTP sink, one recipient each, rendered and recorded in the ledger.
//!
//! `cargo bench -p usher --bench throughput`. Everything runs on this machine and shares its cores, the clients too, so
//! only the ratios within one run say something.

#[path = "../tests/it/foreign.rs"]
mod foreign;
#[path = "../tests/it/service.rs"]
#[expect(dead_code, reason = "the stories use more of it")]
mod service;

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use usher_testkit::{nats::Nats, postgres::Postgres, process::Child, smtp::Sink};

use crate::{
    foreign::Foreign,
    service::{Api, KEY, offset_to, start},
};

const CONNECTIONS: usize = 32;
const HTTP_TIME: Duration = Duration::from_secs(5);
const COMMANDS: usize = 20_000;
const REMINDERS: usize = 3_000;
const LIMIT: Duration = Duration::from_mins(3);

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(all())
}

async fn all() -> anyhow::Result<()> {
    // `cargo test --benches` only wants to see that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let postgres = Postgres::start().await?;
    // The test kit's server forgets on purpose what a crash would lose; this one must not.
    psql(&postgres.url("postgres"), "ALTER SYSTEM SET fsync = on")?;
    psql(&postgres.url("postgres"), "SELECT pg_reload_conf()")?;
    psql(&postgres.url("postgres"), "CREATE DATABASE bench")?;
    println!("{:<10} {:>16} {:>18} {:>14}", "", "HTTP creates/s", "NATS commands/s", "reminders/s");
    let dir = tempfile::tempdir()?;
    round("SQLite", &format!("sqlite://{}/usher.db", dir.path().display())).await?;
    let url = postgres.url("bench");
    round("Postgres", &url).await?;
    println!(
        "{:<10} {:>16}  the same three inserts by pgbench, one per transaction, {CONNECTIONS} clients",
        "pgbench",
        pgbench(&url)?
    );
    Ok(())
}

async fn round(name: &str, store: &str) -> anyhow::Result<()> {
    let (nats, sink, dir) = (Nats::start().await?, Sink::start().await?, tempfile::tempdir()?);
    let nats_url = nats.url();
    let smtp = format!("smtp://{}:{}", sink.host(), sink.port());
    let service = async |clock: &str| -> anyhow::Result<(Child, Api)> {
        let clock: DateTime<Utc> = clock.parse()?;
        let seconds = offset_to(clock).num_seconds().to_string();
        let env = [
            ("USHER_STORE__URL", store),
            ("USHER_NATS__URL", nats_url.as_str()),
            ("USHER_SMTP__URL", smtp.as_str()),
            ("USHER_SMTP__FROM", "usher <usher@bench.example>"),
            ("USHER_LOG__FILTER", "error"),
            ("USHER_TEST_CLOCK_OFFSET", seconds.as_str()),
        ];
        drop(std::fs::remove_file(dir.path().join("http.addr")));
        let child = start(&["run"], dir.path(), &env).await?;
        let api = Api::of(dir.path()).await?;
        Ok((child, api))
    };
    let (child, api) = service("2026-03-03T08:00:00Z").await?;
    let customer = api.expect(201, "POST", "/customers", json!({"name": "Acme"})).await?;
    let customer = customer["id"].as_str().unwrap_or_default().to_owned();

    let quiet = json!({"customer_id": customer, "reminder_email": false, "reminder_slack": false});
    let until = Instant::now() + HTTP_TIME;
    let made = posts(&api, "/onboardings", move |_| (Instant::now() < until).then(|| quiet.clone())).await?;
    let creates = rate(made, HTTP_TIME);

    let commands = from_nats(&nats_url, &customer).await?;

    let person = |number: usize| {
        (number < REMINDERS)
            .then(|| json!({"name": format!("P{number}"), "email": format!("p{number}@bench.example")}))
    };
    posts(&api, "/users", person).await?;
    let began = "2026-03-03T08:00:00Z".parse::<DateTime<Utc>>()? - TimeDelta::days(1);
    let due = move |number: usize| {
        let csm = format!("p{number}@bench.example");
        (number < REMINDERS).then(|| json!({"customer_id": customer, "csm_id": csm, "started_at": began}))
    };
    posts(&api, "/onboardings", due).await?;
    child.terminate()?;
    child.wait_exit(LIMIT).await?;
    let (child, _) = service("2026-03-03T08:59:57Z").await?;
    let mails = sink.wait_for(REMINDERS, LIMIT).await;
    let first = mails.iter().map(|mail| mail.at).min().context("no mail")?;
    let last = mails.iter().map(|mail| mail.at).max().context("no mail")?;
    let reminders = rate(mails.len(), last - first);
    child.terminate()?;
    child.wait_exit(LIMIT).await?;
    println!("{name:<10} {creates:>16} {commands:>18} {reminders:>14}");
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "rough figures"
)]
fn rate(count: usize, time: Duration) -> u64 {
    (count as f64 / time.as_secs_f64()).round() as u64
}

/// Posts bodies on many kept-alive connections until there are no more; how many were created.
async fn posts(
    api: &Api,
    path: &str,
    body: impl Fn(usize) -> Option<Value> + Send + Sync + 'static,
) -> anyhow::Result<usize> {
    let address = api.url.trim_start_matches("http://").to_owned();
    let (next, body) = (Arc::new(AtomicUsize::new(0)), Arc::new(body));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (address, path, next, body) =
            (address.clone(), path.to_owned(), Arc::clone(&next), Arc::clone(&body));
        clients.spawn(async move {
            let stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            let (read, mut write) = stream.into_split();
            let (mut read, mut made) = (BufReader::new(read), 0_usize);
            while let Some(body) = body(next.fetch_add(1, Ordering::Relaxed)) {
                let (body, mut line, mut length) = (body.to_string(), String::new(), 0);
                let request = format!(
                    "POST /api/v1{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {KEY}\r\n\
                     Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                write.write_all(request.as_bytes()).await?;
                read.read_line(&mut line).await?;
                anyhow::ensure!(line.contains("201"), "{line}");
                while !line.trim().is_empty() {
                    line.clear();
                    read.read_line(&mut line).await?;
                    if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse()?;
                    }
                }
                let mut answer = vec![0; length];
                read.read_exact(&mut answer).await?;
                made += 1;
            }
            Ok(made)
        });
    }
    let mut made = 0;
    while let Some(client) = clients.join_next().await {
        made += client??;
    }
    Ok(made)
}

/// Publishes commands and waits until the work queue is empty: each is committed and acknowledged then.
async fn from_nats(url: &str, customer: &str) -> anyhow::Result<u64> {
    let mut client = Foreign::connect(url).await?;
    let body = json!({"customer_id": customer, "reminder_email": false, "reminder_slack": false});
    let start = Instant::now();
    for number in 0..COMMANDS {
        client.publish("usher.commands.main.onboarding.create", &format!("bench-{number}"), &body).await?;
    }
    client.flush().await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let empty = async {
        loop {
            ticks.tick().await;
            let info = client.request("$JS.API.STREAM.INFO.USHER_COMMANDS").await?;
            if info["state"]["messages"] == 0 {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(LIMIT, empty).await.context("the commands were never all taken")??;
    Ok(rate(COMMANDS, start.elapsed()))
}

fn psql(url: &str, statement: &str) -> anyhow::Result<()> {
    let output = Command::new("psql")
        .args(["--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--command", statement, url])
        .output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

const INSERT: &str = "BEGIN;
INSERT INTO onboardings (id, workspace_id, livemode, display_id, customer_id, phase, state, started_at, reminder_email,
    reminder_slack, reminder_frequency_days, created_at, updated_at, version, cadence_base, phase_entered_at, idle_seconds,
    target_shifts)
  VALUES ('onb_' || gen_random_uuid(), 'org_bench', true, nextval('bench'), 'cust_bench', 'before_getting_started', 'active',
    now(), true, true, 1, now(), now(), 1, current_date, now(), 0, 0) RETURNING id AS onboarding \\gset
INSERT INTO events (id, workspace_id, livemode, kind, subject_id, subject_version, ordinal, onboarding_id, occurred_at, data, shard)
  VALUES ('evt_' || gen_random_uuid(), 'org_bench', true, 'onboarding.created', :onboarding, 1, 0, :onboarding, now(),
    jsonb_build_object('object', jsonb_build_object('id', :onboarding::text, 'padding', repeat('x', 900))), 0);
INSERT INTO schedules (onboarding_id, workspace_id, slot, due_at) VALUES (:onboarding, 'org_bench', current_date, now() + interval '1 day');
COMMIT;
";

fn pgbench(url: &str) -> anyhow::Result<u64> {
    let dir = tempfile::tempdir()?;
    let script = dir.path().join("insert.sql");
    std::fs::write(&script, INSERT)?;
    psql(url, "CREATE SEQUENCE bench CACHE 100")?;
    let clients = CONNECTIONS.to_string();
    let output = Command::new(pgbench_path())
        .args([
            "--no-vacuum",
            "--client",
            &clients,
            "--jobs",
            "2",
            "--time",
            "5",
            "--protocol",
            "prepared",
            "--file",
        ])
        .arg(&script)
        .arg(url)
        .output()
        .context("pgbench")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split('.').next()?.parse().ok());
    tps.with_context(|| format!("pgbench said: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// pgbench is not in everybody's PATH.
fn pgbench_path() -> std::path::PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = debian.map(|version| version.path().join("bin/pgbench")).find(|path| Path::exists(path));
    found.unwrap_or_else(|| "pgbench".into())
}
