//! `usher ingest` and `usher scheduler` on Postgres and NATS, each killed in the middle.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use usher_testkit::{mail, nats::Nats, postgres, process::Child, smtp::Sink};

use crate::{
    foreign::Foreign,
    service::{Api, PATIENCE, eventually, offset_to, start},
};

const COMMANDS: usize = 60;

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

/// The two processes and what they need.
pub(crate) struct Split {
    pub(crate) database: String,
    pub(crate) nats: String,
    pub(crate) smtp: String,
    pub(crate) ingest_dir: tempfile::TempDir,
    pub(crate) scheduler_dir: tempfile::TempDir,
}

impl Split {
    /// On a database of its own.
    pub(crate) async fn new(server: &Nats, sink: &Sink) -> anyhow::Result<Self> {
        Ok(Self {
            database: postgres::fresh_database().await?.url,
            nats: server.url(),
            smtp: format!("smtp://{}:{}", sink.host(), sink.port()),
            ingest_dir: tempfile::tempdir()?,
            scheduler_dir: tempfile::tempdir()?,
        })
    }

    /// Starts one of them with a clock that stands at `clock`.
    pub(crate) async fn start(&self, role: &str, clock: DateTime<Utc>) -> anyhow::Result<Child> {
        let seconds = offset_to(clock).num_seconds().to_string();
        let env = [
            ("USHER_STORE__URL", self.database.as_str()),
            ("USHER_NATS__URL", self.nats.as_str()),
            ("USHER_SMTP__URL", self.smtp.as_str()),
            ("USHER_SMTP__FROM", "usher <usher@story.example>"),
            ("USHER_TEST_CLOCK_OFFSET", seconds.as_str()),
        ];
        let dir = if role == "ingest" { self.ingest_dir.path() } else { self.scheduler_dir.path() };
        drop(std::fs::remove_file(dir.join("http.addr")));
        start(&[role], dir, &env).await
    }

    pub(crate) async fn api(&self) -> anyhow::Result<Api> {
        Api::of(self.ingest_dir.path()).await
    }
}

/// All onboardings, by walking the list.
async fn all(api: &Api) -> anyhow::Result<Vec<Value>> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.expect(200, "GET", &format!("/onboardings?limit=50{cursor}"), json!(null)).await?;
        found.extend(page["data"].as_array().into_iter().flatten().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(found),
        }
    }
}

#[tokio::test]
async fn commands_become_onboardings_events_and_one_digest_although_both_processes_are_killed()
-> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let (server, sink) = (Nats::start().await?, Sink::start().await?);
    let split = Split::new(&server, &sink).await?;
    // Both start together on an empty database: it is migrated and bootstrapped once.
    let eight = at("2026-03-03T08:00:00Z");
    let (ingest, scheduler) =
        tokio::try_join!(split.start("ingest", eight), split.start("scheduler", eight))?;
    let api = split.api().await?;
    api.expect(201, "POST", "/users", json!({"name": "Ada", "email": "ada@story.example"})).await?;
    let acme = api.expect(201, "POST", "/customers", json!({"name": "Acme"})).await?;

    let mut downstream = Foreign::connect(&split.nats).await?;
    downstream.subscribe("usher.events.main.onboarding.created").await?;
    let mut upstream = Foreign::connect(&split.nats).await?;
    let yesterday = eight - TimeDelta::days(1);
    for number in 0..COMMANDS {
        let body = json!({"customer_id": acme["id"], "csm_id": "ada@story.example", "started_at": yesterday,
                          "external_id": format!("deal-{number}")});
        upstream.publish("usher.commands.main.onboarding.create", &format!("deal-{number}"), &body).await?;
        if number == COMMANDS / 2 {
            // In the middle of it, without a word of farewell; and everything is said twice.
            upstream.flush().await?;
            ingest.kill_9().await?;
        }
        upstream.publish("usher.commands.main.onboarding.create", &format!("deal-{number}"), &body).await?;
    }
    upstream.flush().await?;
    let ingest = split.start("ingest", eight).await?;
    let api = split.api().await?;
    let made = eventually("all onboardings", || async {
        let made = all(&api).await?;
        Ok((made.len() >= COMMANDS).then_some(made))
    })
    .await?;
    let keys: BTreeSet<&str> = made.iter().filter_map(|it| it["external_id"].as_str()).collect();
    assert_eq!((made.len(), keys.len()), (COMMANDS, COMMANDS), "each command had one effect");

    eventually("an empty queue: everything is acknowledged", async || {
        let mut asking = Foreign::connect(&split.nats).await?;
        let info = asking.request("$JS.API.STREAM.INFO.USHER_COMMANDS").await?;
        Ok((info["state"]["messages"] == 0).then_some(()))
    })
    .await?;

    // Every creation is published, perhaps more than once, always under the same id.
    let mut published: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    while published.len() < COMMANDS {
        let (_, headers, event) = tokio::time::timeout(PATIENCE, downstream.next()).await??;
        assert!(headers.to_lowercase().contains("content-type: application/cloudevents+json"), "{headers}");
        assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("onboarding.created")));
        assert_eq!(event["data"]["object"]["id"], event["subject"]);
        let (subject, id) =
            (event["subject"].as_str().unwrap_or_default(), event["id"].as_str().unwrap_or_default());
        published.entry(subject.to_owned()).or_default().insert(id.to_owned());
    }
    assert!(published.values().all(|ids| ids.len() == 1), "{published:?}");

    // Both die; when they are back it is nearly nine.
    scheduler.kill_9().await?;
    ingest.kill_9().await?;
    assert!(sink.messages().is_empty(), "nothing was due");
    let nine = at("2026-03-03T08:59:57Z");
    let (ingest, scheduler) = tokio::try_join!(split.start("ingest", nine), split.start("scheduler", nine))?;
    let api = split.api().await?;
    let mails = sink.wait_for(1, PATIENCE).await;
    let message = mail::parse(&mails[0].data)?;
    let subject = message.header("Subject").unwrap_or_default();
    assert!(
        subject.starts_with(&format!("{COMMANDS} onboardings")),
        "one message with all of them: {subject}"
    );
    let first = made[0]["id"].as_str().unwrap_or_default().to_owned();
    eventually("the ledger", || async {
        let ledger = api.expect(200, "GET", &format!("/onboardings/{first}/reminders"), json!(null)).await?;
        Ok((ledger["data"][0]["status"] == "sent").then_some(()))
    })
    .await?;

    // Killed once more after the reminder is recorded: what was sent stays sent. A reminder by hand is asked for while
    // no scheduler is there, and goes out when one is.
    scheduler.kill_9().await?;
    api.expect(202, "POST", &format!("/onboardings/{first}/reminders"), json!(null)).await?;
    let scheduler = split.start("scheduler", at("2026-03-03T09:05:00Z")).await?;
    let mails = sink.wait_for(2, PATIENCE).await;
    let by_hand = mail::parse(&mails[1].data)?;
    assert!(
        by_hand.header("Subject").is_some_and(|subject| !subject.contains("60")),
        "{:?}",
        by_hand.headers
    );

    for process in [ingest, scheduler] {
        process.terminate()?;
        assert_eq!(process.wait_exit(PATIENCE).await?.0, 0);
    }
    assert_eq!(sink.messages().len(), 2, "nothing twice");
    Ok(())
}

#[tokio::test]
async fn a_malformed_command_is_rejected_with_its_reason_and_the_consumer_goes_on() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let (server, sink) = (Nats::start().await?, Sink::start().await?);
    let split = Split::new(&server, &sink).await?;
    let ingest = split.start("ingest", at("2026-03-03T08:00:00Z")).await?;
    let api = split.api().await?;
    let acme = api.expect(201, "POST", "/customers", json!({"name": "Acme"})).await?;
    let mut rejected = Foreign::connect(&split.nats).await?;
    rejected.subscribe("usher.rejected.>").await?;
    let mut upstream = Foreign::connect(&split.nats).await?;
    let bad = json!({"customer_id": acme["id"], "reminder_frequency_days": 0});
    upstream.publish("usher.commands.main.onboarding.create", "bad", &bad).await?;
    upstream
        .publish("usher.commands.nowhere.onboarding.create", "lost", &json!({"customer_id": "1"}))
        .await?;
    upstream
        .publish("usher.commands.main.onboarding.create", "good", &json!({"customer_id": acme["id"]}))
        .await?;
    let mut reasons = BTreeMap::new();
    while reasons.len() < 2 {
        let (subject, headers, body) = tokio::time::timeout(PATIENCE, rejected.next()).await??;
        if headers.contains("Usher-Error-Code: too_small") {
            assert!(headers.contains("Usher-Error-Field: reminder_frequency_days"), "{headers}");
            assert_eq!(body, bad, "the original bytes");
        }
        reasons.insert(subject, headers);
    }
    assert!(reasons["usher.rejected.nowhere.onboarding.create"].contains("unknown_workspace"), "{reasons:?}");
    let made = eventually("the good one", || async {
        let made = all(&api).await?;
        Ok((!made.is_empty()).then_some(made))
    })
    .await?;
    assert_eq!(made.len(), 1);
    ingest.terminate()?;
    assert_eq!(ingest.wait_exit(PATIENCE).await?.0, 0);
    Ok(())
}
