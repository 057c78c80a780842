//! SIGTERM: what is in flight is finished, leases are given back, the exit code is 0.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};
use usher_store::Store;
use usher_testkit::{nats::Nats, postgres, process::Child};

use crate::service::{Api, KEY, PATIENCE, eventually, offset_to, start};

/// A mail server that takes one message and answers its last dot only when it may.
struct SlowMail {
    port: u16,
    arrived: Arc<Notify>,
    may_answer: Arc<Notify>,
}

impl SlowMail {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (arrived, may_answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (told, gate) = (Arc::clone(&arrived), Arc::clone(&may_answer));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(Self::serve(socket, Arc::clone(&told), Arc::clone(&gate)));
            }
        });
        Ok(Self { port, arrived, may_answer })
    }

    async fn serve(socket: TcpStream, arrived: Arc<Notify>, may_answer: Arc<Notify>) -> anyhow::Result<()> {
        let (read, mut write) = socket.into_split();
        let (mut lines, mut in_data) = (BufReader::new(read).lines(), false);
        write.write_all(b"220 slow\r\n").await?;
        while let Some(line) = lines.next_line().await? {
            let answer: &[u8] = match (in_data, line.as_str()) {
                (true, ".") => {
                    in_data = false;
                    arrived.notify_one();
                    may_answer.notified().await;
                    b"250 taken\r\n"
                }
                (true, _) => continue,
                (false, "DATA") => {
                    in_data = true;
                    b"354 go on\r\n"
                }
                (false, _) => b"250 fine\r\n",
            };
            write.write_all(answer).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn sigterm_lets_what_is_in_flight_finish_gives_leases_back_and_exits_with_0() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let (server, mail, database) =
        (Nats::start().await?, SlowMail::start().await?, postgres::fresh_database().await?);
    let (nats, smtp) = (server.url(), format!("smtp://127.0.0.1:{}", mail.port));
    let dirs = [tempfile::tempdir()?, tempfile::tempdir()?];
    let run = async |role: &str, dir: usize, clock: &str| -> anyhow::Result<Child> {
        let seconds = offset_to(clock.parse()?).num_seconds().to_string();
        let env = [
            ("USHER_STORE__URL", database.url.as_str()),
            ("USHER_NATS__URL", nats.as_str()),
            ("USHER_SMTP__URL", smtp.as_str()),
            ("USHER_SMTP__FROM", "usher <usher@story.example>"),
            ("USHER_TEST_CLOCK_OFFSET", seconds.as_str()),
        ];
        start(&[role], dirs[dir].path(), &env).await
    };
    let ingest = run("ingest", 0, "2026-03-03T08:59:00Z").await?;
    let api = Api::of(dirs[0].path()).await?;
    api.expect(201, "POST", "/users", json!({"name": "Ada", "email": "ada@story.example"})).await?;
    let acme = api.expect(201, "POST", "/customers", json!({"name": "Acme"})).await?;
    let body = json!({"customer_id": acme["id"], "csm_id": "ada@story.example", "started_at": "2026-03-02T08:00:00Z"});
    let due = api.expect(201, "POST", "/onboardings", body).await?;

    // The mail server has the whole message and has not answered.
    let scheduler = run("scheduler", 1, "2026-03-03T08:59:58Z").await?;
    timeout(PATIENCE, mail.arrived.notified()).await?;
    scheduler.terminate()?;
    anyhow::ensure!(scheduler.wait_exit(Duration::from_secs(1)).await.is_err(), "it waits for the answer");
    mail.may_answer.notify_one();
    assert_eq!(scheduler.wait_exit(PATIENCE).await?.0, 0);
    let ledger = format!("/onboardings/{}/reminders", due["id"].as_str().unwrap_or_default());
    let ledger = api.expect(200, "GET", &ledger, json!(null)).await?;
    assert_eq!(
        (&ledger["data"][0]["status"], ledger["data"].as_array().map(Vec::len)),
        (&json!("sent"), Some(1))
    );

    // A request of which half has arrived.
    let address = api.url.trim_start_matches("http://").to_owned();
    let mut busy = TcpStream::connect(&address).await?;
    let head = format!(
        "POST /api/v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: 15\r\n\r\n"
    );
    busy.write_all(head.as_bytes()).await?;
    let mut interim = [0; 25];
    timeout(PATIENCE, busy.read_exact(&mut interim)).await??;
    ingest.terminate()?;
    eventually("nobody else gets in", async || Ok(TcpStream::connect(&address).await.is_err().then_some(())))
        .await?;
    busy.write_all(br#"{"name":"Late"}"#).await?;
    let mut answer = String::new();
    timeout(PATIENCE, busy.read_to_string(&mut answer)).await??;
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert_eq!(ingest.wait_exit(PATIENCE).await?.0, 0);

    // Its event went out, and the shards are free at once: by the clock of the processes the leases would still last.
    let store = Store::connect(&database.url, 1).await?;
    assert_eq!(store.outbox_backlog().await?.0, 0);
    let now: DateTime<Utc> = "2026-03-03T08:59:01Z".parse()?;
    let lease = store.lease_shards(None, now, TimeDelta::seconds(60).to_std()?).await?;
    assert_eq!(lease.shards.len(), 16);
    Ok(())
}
