//! `usher run` with nothing installed: SQLite, the bus in process, mail to a sink or into files, Slack to a stand-in.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use usher_testkit::{mail, slack::StandIn, smtp::Sink};

use crate::service::{Api, PATIENCE, eventually, offset_to, start};

/// The 23 fields of the public contract, in its order.
const CONTRACT: [&str; 23] = [
    "object",
    "id",
    "display_id",
    "customer_id",
    "template_id",
    "phase",
    "state",
    "started_at",
    "completed_at",
    "target_launch_date",
    "csm_id",
    "se_id",
    "designer_id",
    "product_ops_id",
    "notes",
    "waiting_on_customer",
    "waiting_on_customer_since",
    "wizard_completed_at",
    "reminder_email",
    "reminder_slack",
    "reminder_frequency_days",
    "created_at",
    "updated_at",
];

/// A Tuesday.
fn at(time: &str) -> DateTime<Utc> {
    format!("2026-03-03T{time}Z").parse().expect("an instant")
}

#[tokio::test]
async fn created_today_started_yesterday_it_is_reminded_of_at_nine_once_whatever_restarts_in_between()
-> anyhow::Result<()> {
    let (sink, slack) = (Sink::start().await?, StandIn::start("xoxb-story").await?);
    let dir = tempfile::tempdir()?;
    let smtp = format!("smtp://{}:{}", sink.host(), sink.port());
    let slack_url = slack.base_url();
    let service = async |clock: DateTime<Utc>| {
        let seconds = offset_to(clock).num_seconds().to_string();
        let env = [
            ("USHER_SMTP__URL", smtp.as_str()),
            ("USHER_SMTP__FROM", "usher <usher@story.example>"),
            ("USHER_SLACK__TOKEN", "xoxb-story"),
            ("USHER_SLACK__API_URL", slack_url.as_str()),
            ("USHER_TEST_CLOCK_OFFSET", seconds.as_str()),
        ];
        drop(std::fs::remove_file(dir.path().join("http.addr")));
        start(&[], dir.path(), &env).await
    };
    let first = service(at("08:00:00")).await?;
    let api = Api::of(dir.path()).await?;
    let ada = api
        .expect(
            201,
            "POST",
            "/users",
            json!({"name": "Ada", "email": "ada@story.example", "slack_user_id": "U0ADA"}),
        )
        .await?;
    let acme = api.expect(201, "POST", "/customers", json!({"name": "Acme"})).await?;
    let yesterday = at("08:00:00") - TimeDelta::days(1);
    let body = json!({"customer_id": acme["id"], "csm_id": ada["id"], "started_at": yesterday});
    let made = api.expect(201, "POST", "/onboardings", body).await?;
    let id = made["id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(made["next_reminder_at"], "2026-03-03T09:00:00Z");

    // Killed before the due time, and started again: nothing is forgotten.
    first.kill_9().await?;
    assert!(sink.messages().is_empty(), "nothing was due");
    let second = service(at("08:59:57")).await?;
    let mails = sink.wait_for(1, PATIENCE).await;
    let api = Api::of(dir.path()).await?;
    let message = mail::parse(&mails[0].data)?;
    assert_eq!(mails[0].recipients, ["ada@story.example"]);
    assert!(
        message.header("Subject").is_some_and(|subject| subject.contains("Acme")),
        "{:?}",
        message.headers
    );
    assert!(message.body("text/plain").is_some() && message.body("text/html").is_some());
    let calls = slack.wait_for_method("chat.postMessage", 1, PATIENCE).await;
    assert_eq!(calls[0].body["channel"], "U0ADA");

    // The schedule has moved on, the ledger tells both channels, and a restart sends nothing again.
    let reminded = eventually("the ledger", || async {
        let ledger = api.expect(200, "GET", &format!("/onboardings/{id}/reminders"), json!(null)).await?;
        let sent = ledger["data"]
            .as_array()
            .is_some_and(|rows| rows.len() == 2 && rows.iter().all(|row| row["status"] == "sent"));
        Ok(sent.then_some(ledger))
    })
    .await?;
    let lag = reminded["data"][0]["lag_seconds"].as_i64();
    assert!(lag.is_some_and(|lag| (0..=30).contains(&lag)), "{reminded}");
    let after = api.expect(200, "GET", &format!("/onboardings/{id}"), json!(null)).await?;
    assert_eq!(after["next_reminder_at"], "2026-03-04T09:00:00Z");
    assert!(after["last_reminded_at"].is_string());
    assert_eq!(after["version"], 1, "reminders are no change of the record");
    second.terminate()?;
    assert_eq!(second.wait_exit(PATIENCE).await?.0, 0);
    let third = service(at("09:05:00")).await?;
    let api = Api::of(dir.path()).await?;
    // A reminder by hand goes through the same code: when it is there, everything that was due before it is, too.
    api.expect(202, "POST", &format!("/onboardings/{id}/reminders"), json!(null)).await?;
    let mails = sink.wait_for(2, PATIENCE).await;
    assert_eq!(mails.len(), 2, "one of the rhythm, one by hand");
    assert_eq!(slack.wait_for_method("chat.postMessage", 2, PATIENCE).await.len(), 2);
    let after = api.expect(200, "GET", &format!("/onboardings/{id}"), json!(null)).await?;
    assert_eq!(after["next_reminder_at"], "2026-03-04T09:00:00Z", "by hand does not disturb the rhythm");
    third.terminate()?;
    assert_eq!(third.wait_exit(PATIENCE).await?.0, 0);
    Ok(())
}

#[tokio::test]
async fn with_nothing_configured_mail_is_captured_and_the_create_call_keeps_the_contract()
-> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let service = start(&["run"], dir.path(), &[]).await?;
    let api = Api::of(dir.path()).await?;
    let ada = api.expect(201, "POST", "/users", json!({"name": "Ada", "email": "ada@story.example"})).await?;
    let acme = api.expect(201, "POST", "/customers", json!({"name": "Acme"})).await?;
    let made = api
        .expect(
            201,
            "POST",
            "/onboardings",
            json!({"customer_id": acme["id"], "csm_id": "ada@story.example"}),
        )
        .await?;
    let names: Vec<&str> = made.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    for field in CONTRACT {
        assert!(names.contains(&field), "{field} is missing: {made}");
    }
    assert_eq!(made["csm_id"], ada["id"]);
    assert_eq!((&made["phase"], &made["state"]), (&json!("before_getting_started"), &json!("active")));
    for (status, code, body) in [
        (400, "missing_field", json!({})),
        (400, "invalid_type", json!([])),
        (400, "too_big", json!({"customer_id": acme["id"], "reminder_frequency_days": 366})),
        (400, "unknown_user", json!({"customer_id": acme["id"], "csm_id": "nobody@story.example"})),
        (404, "customer_not_found", json!({"customer_id": "cust_01h455vb4pex5vsknk084sn02q"})),
    ] {
        let (got, answer) = api.call("POST", "/onboardings", Some(&body)).await?;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{body} -> {answer}");
    }
    let anonymous = usher_testkit::http::request("GET", &format!("{}/api/v1/me", api.url), &[], "").await?;
    assert_eq!((anonymous.status, &anonymous.json()?["error"]["code"]), (401, &json!("missing_api_key")));

    let id = made["id"].as_str().unwrap_or_default();
    let moved = api
        .expect(200, "PATCH", &format!("/onboardings/{id}"), json!({"phase": "review", "state": "waiting"}))
        .await?;
    assert_eq!((&moved["version"], &moved["waiting_on_customer"]), (&json!(2), &json!(true)));
    let listed = api.expect(200, "GET", "/onboardings?state=waiting", json!(null)).await?;
    assert_eq!(listed["data"][0]["id"], made["id"]);

    api.expect(202, "POST", &format!("/onboardings/{id}/reminders"), json!(null)).await?;
    let outbox = dir.path().join("outbox");
    let captured = eventually("a captured mail", || async {
        let files = std::fs::read_dir(&outbox).into_iter().flatten().flatten().map(|file| file.path());
        Ok(files.into_iter().find(|path| path.extension().is_some_and(|end| end == "eml")))
    })
    .await?;
    let message = mail::parse(&std::fs::read_to_string(captured)?)?;
    assert!(
        message.header("Message-ID").is_some_and(|id| id.contains("@localhost")),
        "{:?}",
        message.headers
    );
    assert!(message.body("text/plain").is_some_and(|text| text.contains("Acme")));

    // A second process with roles is kept off the file; commands are not.
    let other = start(&["run"], dir.path(), &[]).await?;
    assert_eq!(other.wait_exit(PATIENCE).await?.0, 1);
    assert!(other.output().contains("another usher process"), "{}", other.output());
    let command = start(&["onboarding", "list", "--json"], dir.path(), &[]).await?;
    assert_eq!(command.wait_exit(PATIENCE).await?.0, 0);
    assert!(command.output().contains(id), "{}", command.output());
    service.terminate()?;
    assert_eq!(service.wait_exit(PATIENCE).await?.0, 0);
    Ok(())
}

#[tokio::test]
async fn a_taken_port_makes_nothing_so_that_the_first_key_is_not_lost() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = taken.local_addr()?.to_string();
    let env = [("USHER_HTTP__LISTEN", address.as_str()), ("USHER_BOOTSTRAP_KEY", "")];
    let refused = start(&["run"], &data, &env).await?;
    assert_eq!(refused.wait_exit(PATIENCE).await?.0, 1);
    assert!(refused.output().contains("http.listen"), "{}", refused.output());
    assert!(!data.join("usher.db").exists(), "no store, so no key");
    drop(taken);
    let service = start(&["run"], &data, &[("USHER_BOOTSTRAP_KEY", "")]).await?;
    service.wait_for_output("shown this once", PATIENCE).await?;
    service.terminate()?;
    assert_eq!(service.wait_exit(PATIENCE).await?.0, 0);

    for bad in [
        "pivotal_short",
        "pivotal_test_0123456789abcdefghijklmnopqrstuvwxyz",
        "sk_0123456789abcdefghijklmnopqrstuvwxyz01234",
    ] {
        let refused = start(&["run"], &dir.path().join(bad), &[("USHER_BOOTSTRAP_KEY", bad)]).await?;
        assert_eq!(refused.wait_exit(PATIENCE).await?.0, 1);
        let told = refused.output();
        assert!(told.contains("USHER_BOOTSTRAP_KEY") && !told.contains(bad), "{told}");
    }
    Ok(())
}
