//! `usher rejected` beside a running service, on SQLite with NATS.

use serde_json::{Value, json};
use usher_testkit::nats::Nats;

use crate::{
    commands::{json as answer, usher},
    foreign::Foreign,
    service::{Api, PATIENCE, eventually, start},
};

#[tokio::test]
async fn refused_commands_are_listed_shown_and_replayed() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let (server, dir) = (Nats::start().await?, tempfile::tempdir()?);
    let dir = dir.path();
    let url = server.url();
    let data = dir.join("usher-data");
    let service = start(&[], &data, &[("USHER_NATS__URL", url.as_str())]).await?;
    let api = Api::of(&data).await?;
    let acme = api.expect(201, "POST", "/customers", json!({"name": "Acme"})).await?;
    let mut upstream = Foreign::connect(&url).await?;
    let subject = "usher.commands.main.onboarding.create";
    let body =
        json!({"customer_id": acme["id"], "csm_id": "ada@story.example", "notes": "\u{1b}[2J\u{202e}"});
    upstream.publish(subject, "early", &body).await?;
    upstream.publish(subject, "wrong", &json!({"customer_id": 7})).await?;
    upstream.flush().await?;
    let set = format!("store.url=sqlite://{}", data.join("usher.db").display());
    let with = |arguments: &[&str]| {
        let all = [&["--set", set.as_str(), "rejected"][..], arguments].concat();
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let run = async |arguments: &[&str]| {
        let arguments = with(arguments);
        usher(dir, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    let ask = async |arguments: &[&str]| {
        let arguments = with(arguments);
        answer(dir, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    let rows = eventually("both are refused", || async {
        let rows = ask(&["list", "--json"]).await?;
        Ok((rows.as_array().is_some_and(|rows| rows.len() == 2)).then_some(rows))
    })
    .await?;
    let early = rows.as_array().into_iter().flatten().find(|row| row["message_id"] == "early");
    let id = early.and_then(|row| row["id"].as_str()).unwrap_or_default().to_owned();
    assert_eq!(ask(&["list", "--code", "unknown_user", "--json"]).await?[0]["id"], id);
    assert_eq!(ask(&["list", "--until", "2020-01-01T00:00:00Z", "--json"]).await?, json!([]));
    let shown = ask(&["show", &id, "--json"]).await?;
    assert_eq!((&shown["code"], &shown["attempts"]), (&json!("unknown_user"), &json!(4)));
    assert_eq!(shown["body"], json!({"encoding": "utf-8", "data": body.to_string()}));
    let table = String::from_utf8(run(&["show", &id]).await?.stdout)?;
    assert!(
        table.contains("Nats-Msg-Id: early") && table.contains("\"csm_id\": \"ada@story.example\""),
        "{table}"
    );
    assert!(!table.contains(['\u{1b}', '\u{202e}']), "{table:?}");
    assert_eq!(run(&["show", &id, "--body"]).await?.stdout, body.to_string().into_bytes());
    assert!(!run(&["show", "rej_nobody"]).await?.status.success());

    // Without a choice nothing is replayed; a rehearsal changes nothing.
    assert!(!run(&["replay"]).await?.status.success());
    let outcomes = |answer: &std::process::Output| -> anyhow::Result<Vec<String>> {
        let rows: Value = serde_json::from_slice(&answer.stdout)?;
        let rows = rows.as_array().into_iter().flatten();
        Ok(rows.map(|row| row["outcome"].as_str().unwrap_or_default().to_owned()).collect())
    };
    let rehearsed = run(&["replay", "--all", "--dry-run", "--json"]).await?;
    assert_eq!(outcomes(&rehearsed)?, ["refused", "refused"]);
    assert!(String::from_utf8_lossy(&rehearsed.stderr).contains("2 of 2 would be refused again"));
    api.expect(201, "POST", "/users", json!({"name": "Ada", "email": "ada@story.example"})).await?;
    let replayed = run(&["replay", "--command", "onboarding.create", "--json"]).await?;
    let mut seen = outcomes(&replayed)?;
    seen.sort();
    assert_eq!((seen, replayed.status.code()), (vec!["committed".to_owned(), "refused".to_owned()], Some(1)));
    let made = api.expect(200, "GET", "/onboardings", json!(null)).await?;
    assert_eq!(made["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(ask(&["list", "--replayed", "yes", "--json"]).await?[0]["replay_outcome"], "committed");

    // Once more: by filters it is left out, by its id it has no further effect.
    assert_eq!(outcomes(&run(&["replay", "--code", "unknown_user", "--json"]).await?)?, Vec::<String>::new());
    assert_eq!(outcomes(&run(&["replay", &id, "--json"]).await?)?, ["duplicate"]);
    let made = api.expect(200, "GET", "/onboardings", json!(null)).await?;
    assert_eq!(made["data"].as_array().map(Vec::len), Some(1));
    service.terminate()?;
    assert_eq!(service.wait_exit(PATIENCE).await?.0, 0);
    Ok(())
}
