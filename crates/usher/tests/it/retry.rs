//! `usher reminders explain` and `retry` beside a running service: a customer is nudged, a mail server refuses, and what it
//! refused is put back.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use usher_testkit::smtp::{Behaviour, Sink};

use crate::service::{Api, PATIENCE, binary, eventually, offset_to, start};

/// A Tuesday at the default time of day.
const NINE: &str = "2026-03-03T08:59:58Z";

#[tokio::test]
async fn what_a_mail_server_refused_is_explained_and_put_back() -> anyhow::Result<()> {
    let (sink, dir) = (Sink::start().await?, tempfile::tempdir()?);
    let dir = dir.path();
    let data = dir.join("usher-data");
    let smtp = format!("smtp://{}:{}?tls=off", sink.host(), sink.port());
    let seconds = offset_to(NINE.parse::<DateTime<Utc>>()?).num_seconds().to_string();
    let offset = ("USHER_TEST_CLOCK_OFFSET", seconds.as_str());
    let text = "5.7.1 blocked for policy reasons".to_owned();
    sink.set(Behaviour::RejectRcpt { address_contains: "@customer".to_owned(), code: 550, text });
    let service = start(&[], &data, &[("USHER_SMTP__URL", smtp.as_str()), offset]).await?;
    let api = Api::of(&data).await?;
    api.expect(200, "PATCH", "/workspace", json!({"nudge_customer": true})).await?;
    api.expect(201, "POST", "/users", json!({"name": "Ada", "email": "ada@story.example"})).await?;
    api.expect(201, "POST", "/customers", json!({"name": "Acme"})).await?;
    let bea = json!({"name": "Bea", "email": "bea@customer.example"});
    api.expect(201, "POST", "/customers/1/contacts", bea).await?;
    let waiting = json!({
        "customer_id": "1", "state": "waiting", "csm_id": "ada@story.example", "started_at": "2026-03-02T08:00:00Z",
    });
    api.expect(201, "POST", "/onboardings", waiting).await?;
    let refused = |rows: &Value| {
        let rows = rows["data"].as_array().cloned().unwrap_or_default();
        rows.into_iter().find(|row| row["kind"] == "customer" && row["status"] == "failed")
    };
    let row = eventually("the nudge is refused", || async {
        Ok(refused(&api.expect(200, "GET", "/onboardings/1/reminders", Value::Null).await?))
    })
    .await?;
    let id = row["id"].as_str().unwrap_or_default().to_owned();

    let url = format!("store.url=sqlite://{}", data.join("usher.db").display());
    let run = async |arguments: &[&str]| {
        let all = [&["--set", url.as_str(), "reminders"][..], arguments].concat();
        let mut command = tokio::process::Command::new(binary());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("USHER_"))
        {
            command.env_remove(name);
        }
        let output = command.env(offset.0, offset.1).current_dir(dir).args(&all).output().await?;
        let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        anyhow::Ok((output.status.code().unwrap_or(-1), out, err))
    };
    let (code, told, _) = run(&["explain", "1"]).await?;
    assert_eq!(code, 0);
    assert!(told.contains("Bea (contact:") && told.contains("by email, as customer"), "{told}");
    assert!(told.contains("failed: 550") && told.contains("blocked for policy reasons"), "{told}");

    let (code, _, err) = run(&["retry"]).await?;
    assert!(code == 1 && err.contains("nothing is chosen"), "{code} {err}");
    assert_eq!(run(&["retry", &id, "--all"]).await?.0, 2);
    let (code, _, err) = run(&["retry", "rem_nobody"]).await?;
    assert!(code == 1 && err.contains("there is no delivery"), "{err}");
    let (code, none, _) = run(&["retry", "--reason", "450", "--json"]).await?;
    assert_eq!((code, serde_json::from_str(&none)?), (0, json!([])));
    let (code, dry, _) = run(&["retry", "--onboarding", "1", "--dry-run", "--json"]).await?;
    let dry: Value = serde_json::from_str(&dry)?;
    assert_eq!((code, &dry[0]["id"], &dry[0]["outcome"]), (0, &json!(id), &json!("put_back")));
    assert_eq!(
        (&dry[0]["was"], &dry[0]["kind"], &dry[0]["reason"]),
        (&json!("failed"), &json!("customer"), &Value::Null)
    );
    assert_eq!(dry.as_array().map(Vec::len), Some(1));
    for choice in [vec!["--all"], vec!["--reason", "550"], vec![id.as_str()]] {
        let (code, said, _) = run(&[&["retry", "--dry-run", "--json"][..], &choice].concat()).await?;
        let said: Value = serde_json::from_str(&said)?;
        assert_eq!(
            (code, &said[0]["id"], &said[0]["outcome"]),
            (0, &json!(id), &json!("put_back")),
            "{choice:?}"
        );
    }
    sink.set(Behaviour::Accept);
    let (code, table, err) = run(&["retry", "--kind", "customer", "--status", "failed"]).await?;
    assert_eq!(code, 0, "{err}");
    assert!(table.contains(&id) && table.contains("1 of 1 are put back"), "{table}");
    let (code, again, err) = run(&["retry", &id, "--json"]).await?;
    assert_eq!(code, 1);
    assert!(err.contains("1 of 1 were refused"), "{err}");
    let again: Value = serde_json::from_str(&again)?;
    assert_eq!((&again[0]["outcome"], &again[0]["reason"]), (&json!("refused"), &json!("pending")));
    let (code, rest, _) = run(&["retry", "--all", "--json"]).await?;
    assert_eq!(
        (code, serde_json::from_str(&rest)?),
        (0, json!([])),
        "nothing is left, and that is no failure"
    );
    // The scheduler would see it within half a minute; a reminder that is asked for wakes it now.
    api.expect(202, "POST", "/onboardings/1/reminders", Value::Null).await?;
    let hers = async || {
        let rows = api.expect(200, "GET", "/onboardings/1/reminders", Value::Null).await?;
        let rows = rows["data"].as_array().cloned().unwrap_or_default();
        anyhow::Ok(rows.into_iter().find(|row| row["id"] == id.as_str() && row["status"] == "sent"))
    };
    let sent = eventually("it is sent", hers).await?;
    assert_eq!((&sent["retries"], &sent["attempts"]), (&json!(1), &json!(2)));
    let mailed = sink.messages().into_iter().filter(|it| it.recipients == ["bea@customer.example"]).count();
    assert_eq!(mailed, 1);
    let (_, told, _) = run(&["explain", "1"]).await?;
    assert!(told.contains("put back by hand once, last at 2026-03-03T09:"), "{told}");
    service.terminate()?;
    assert_eq!(service.wait_exit(PATIENCE).await?.0, 0);
    Ok(())
}
