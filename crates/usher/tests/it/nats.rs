//! NATS that is there and does not let us work: said plainly, and only once in the log.

use usher_testkit::{http, nats::Nats};

use crate::service::{Api, PATIENCE, eventually, start};

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
