//! A reminder that is asked for over HTTP is sent at once: who answers the request wakes the scheduler, in one process and over
//! NATS. Without that it would be seen at the scheduler's next look, half a minute later.

use std::time::Duration;

use serde_json::json;
use usher_testkit::{nats::Nats, smtp::Sink};

use crate::{
    service::{Api, PATIENCE, eventually, offset_to, start},
    split::{Split, at},
};

/// Well under the half minute between two looks at the tables.
const AT_ONCE: Duration = Duration::from_secs(10);
/// A Tuesday, with nothing due for hours.
const NOON: &str = "2026-03-03T12:00:00Z";

/// Asks again and again: the first time the scheduler may look by itself, since it has just begun. From then on it sleeps whenever
/// it is asked, since what it sent is recorded.
async fn asked_for_over_http_it_is_sent_at_once(api: &Api, sink: &Sink) -> anyhow::Result<()> {
    api.expect(201, "POST", "/users", json!({"name": "Ada", "email": "ada@story.example"})).await?;
    let acme = api.expect(201, "POST", "/customers", json!({"name": "Acme"})).await?;
    let body = json!({"customer_id": acme["id"], "csm_id": "ada@story.example"});
    let made = api.expect(201, "POST", "/onboardings", body).await?;
    let reminders = format!("/onboardings/{}/reminders", made["id"].as_str().unwrap_or_default());
    for round in 1..=4 {
        api.expect(202, "POST", &reminders, json!(null)).await?;
        sink.wait_for(round, if round == 1 { PATIENCE } else { AT_ONCE }).await;
        eventually("it is recorded", || async {
            let ledger = api.expect(200, "GET", &reminders, json!(null)).await?;
            let rows = ledger["data"].as_array().cloned().unwrap_or_default();
            Ok((rows.len() == round && rows.iter().all(|row| row["status"] == "sent")).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn in_one_process_a_reminder_asked_for_over_http_is_sent_at_once() -> anyhow::Result<()> {
    let (sink, dir) = (Sink::start().await?, tempfile::tempdir()?);
    let smtp = format!("smtp://{}:{}", sink.host(), sink.port());
    let seconds = offset_to(at(NOON)).num_seconds().to_string();
    let env = [("USHER_SMTP__URL", smtp.as_str()), ("USHER_TEST_CLOCK_OFFSET", seconds.as_str())];
    let service = start(&["run"], dir.path(), &env).await?;
    asked_for_over_http_it_is_sent_at_once(&Api::of(dir.path()).await?, &sink).await?;
    service.terminate()?;
    assert_eq!(service.wait_exit(PATIENCE).await?.0, 0);
    Ok(())
}

#[tokio::test]
async fn in_two_processes_a_reminder_asked_for_over_http_is_sent_at_once() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let (server, sink) = (Nats::start().await?, Sink::start().await?);
    let split = Split::new(&server, &sink).await?;
    let noon = at(NOON);
    let (ingest, scheduler) = tokio::try_join!(split.start("ingest", noon), split.start("scheduler", noon))?;
    asked_for_over_http_it_is_sent_at_once(&split.api().await?, &sink).await?;
    for process in [ingest, scheduler] {
        process.terminate()?;
        assert_eq!(process.wait_exit(PATIENCE).await?.0, 0);
    }
    Ok(())
}
