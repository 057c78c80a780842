//! NATS that is there and does not let us work: said plainly, and only once in the log. Streams that go away come back.

use std::time::Duration;

use serde_json::{Value, json};
use usher_bus::{Headers, Outgoing, Settings};
use usher_testkit::{http, nats::Nats};

use crate::{
    commands::usher,
    service::{Api, PATIENCE, eventually, start},
};

const ACCOUNTS: &str = r#"accounts { PLAIN { users: [{ user: "ada", password: "hunter2" }] } }"#;

#[tokio::test]
async fn a_refused_login_and_a_server_without_jetstream_are_told_by_readyz_and_once_in_the_log()
-> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let server = Nats::start_with(ACCOUNTS).await?;
    for (password, wanted) in
        [("wr0ng", "the server refuses the credentials"), ("hunter2", "JetStream is not enabled")]
    {
        let (dir, url) = (tempfile::tempdir()?, server.url());
        let env = [
            ("USHER_NATS__URL", url.as_str()),
            ("USHER_NATS__USER", "ada"),
            ("USHER_NATS__PASSWORD", password),
        ];
        let service = start(&[], dir.path(), &env).await?;
        // The API answers all the same.
        let api = Api::of(dir.path()).await?;
        let told = eventually("it is told", || async {
            let reply = http::request("GET", &format!("{}/readyz", api.url), &[], String::new()).await?;
            anyhow::ensure!(reply.status == 200);
            let body: serde_json::Value = reply.json()?;
            let bus = body["checks"]["bus"].as_str().unwrap_or_default().to_owned();
            Ok((body["status"] == "degraded" && bus.contains(wanted)).then_some(bus))
        })
        .await?;
        assert!(told.ends_with("events wait in the outbox") && !told.contains(password), "{told}");
        service.terminate()?;
        assert_eq!(service.wait_exit(PATIENCE).await?.0, 0);
        let log = service.output();
        let errors = log.lines().filter(|line| line.contains("ERROR") && line.contains(wanted)).count();
        assert!((1..=2).contains(&errors), "once where it happens, once where it is waited for:\n{log}");
    }
    Ok(())
}

#[tokio::test]
async fn a_removed_stream_is_made_again_and_a_changed_one_is_told() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let (server, dir) = (Nats::start().await?, tempfile::tempdir()?);
    let url = server.url();
    let _service = start(&[], dir.path(), &[("USHER_NATS__URL", url.as_str())]).await?;
    let api = Api::of(dir.path()).await?;
    let client = usher_bus::Nats::connect(Settings::new(&url)).await?;
    let ask = async |what: &str, body: Value| {
        let payload = body.to_string().into();
        let request = Outgoing { subject: format!("$JS.API.{what}"), headers: Headers::new(), payload };
        let (_, answer) = client.request(request, Duration::from_secs(10)).await?;
        anyhow::Ok(serde_json::from_slice::<Value>(&answer)?)
    };
    for stream in ["USHER_EVENTS", "USHER_COMMANDS"] {
        assert_eq!(ask(&format!("STREAM.DELETE.{stream}"), json!({})).await?["success"], true);
    }
    let made = api.expect(201, "POST", "/customers", json!({"name": "Acme"})).await?;
    let events = eventually("the event is on the stream", || async {
        let info = ask("STREAM.INFO.USHER_EVENTS", json!({})).await?;
        Ok(info["state"]["messages"].as_u64().filter(|messages| *messages > 0))
    });
    assert_eq!(events.await?, 1, "{made}");
    let subject = "usher.commands.main.customer.upsert".to_owned();
    let payload = json!({"external_id": "crm-1", "name": "Initech"}).to_string().into();
    let command = Outgoing { subject, headers: Headers::new(), payload };
    eventually("a command is taken again", || async {
        let published = client.publish_window(vec![command.clone()]).await;
        let customers = api.expect(200, "GET", "/customers?external_id=crm-1", json!(null)).await?;
        Ok((published.iter().all(Result::is_ok) && customers["data"][0]["name"] == "Initech").then_some(()))
    })
    .await?;

    let mut config = ask("STREAM.INFO.USHER_REJECTED", json!({})).await?["config"].take();
    config["max_age"] = json!(600_000_000_000_u64);
    assert_eq!(ask("STREAM.UPDATE.USHER_REJECTED", config).await?["error"], Value::Null);
    eventually("it is told", || async {
        let reply = http::request("GET", &format!("{}/readyz", api.url), &[], String::new()).await?;
        let bus = reply.json()?["checks"]["bus"].as_str().unwrap_or_default().to_owned();
        Ok((bus.contains("stream USHER_REJECTED") && bus.contains("max_age is 600s")).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_reminder_asked_for_on_the_command_line_wakes_the_schedulers() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let (server, dir) = (Nats::start().await?, tempfile::tempdir()?);
    let url = server.url();
    let service = start(&[], dir.path(), &[("USHER_NATS__URL", url.as_str())]).await?;
    let api = Api::of(dir.path()).await?;
    let acme = api.expect(201, "POST", "/customers", json!({"name": "Acme"})).await?;
    api.expect(201, "POST", "/users", json!({"name": "Ada", "email": "ada@story.example"})).await?;
    let body = json!({"customer_id": acme["id"], "csm_id": "ada@story.example"});
    api.expect(201, "POST", "/onboardings", body).await?;
    // From here on nobody else gives hints.
    service.terminate()?;
    assert_eq!(service.wait_exit(PATIENCE).await?.0, 0);
    let mut hints = usher_bus::Nats::connect(Settings::new(&url)).await?.listen("usher.hints.due").await?;
    let store = format!("store.url=sqlite://{}", dir.path().join("usher.db").display());
    let set = ["--set", store.as_str(), "--set", &format!("nats.url={url}")];
    let answer = usher(dir.path(), &[&set[..], &["reminders", "send", "1"]].concat()).await?;
    assert!(answer.status.success(), "{answer:?}");
    let hint = tokio::time::timeout(PATIENCE, hints.next()).await?;
    assert_eq!(hint.subject, "usher.hints.due");
    Ok(())
}
