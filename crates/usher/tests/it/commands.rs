//! The commands, each as a person runs it.

use std::{path::Path, process::Output};

use serde_json::Value;
use tokio::process::Command;

use crate::service::binary;

pub(crate) async fn usher(dir: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("USHER_")) {
        command.env_remove(name);
    }
    Ok(command.current_dir(dir).args(arguments).output().await?)
}

pub(crate) async fn json(dir: &Path, arguments: &[&str]) -> anyhow::Result<Value> {
    let output = usher(dir, arguments).await?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success(), "usher {arguments:?}: {errors}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[tokio::test]
async fn from_a_workspace_to_a_moved_onboarding() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let made = json(dir, &["workspace", "create", "acme", "--name", "Acme GmbH", "--json"]).await?;
    assert!(made["api_key"].as_str().is_some_and(|key| key.starts_with("pivotal_") && key.len() >= 40));
    let again = usher(dir, &["workspace", "create", "acme"]).await?;
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("there is a workspace \"acme\" already"));

    let user =
        json(dir, &["user", "create", "--name", "Ada", "--email", "Ada@Example.com", "--json"]).await?;
    assert_eq!(user["email"], "ada@example.com");
    let customer = json(dir, &["customer", "create", "--name", "Initech", "--json"]).await?;
    let number = customer["display_id"].to_string();
    let made = json(
        dir,
        &[
            "onboarding",
            "create",
            "--customer",
            &number,
            "--csm",
            "ada@example.com",
            "--frequency-days",
            "7",
            "--json",
        ],
    )
    .await?;
    let id = made["id"].as_str().unwrap_or_default();
    assert_eq!((&made["csm_id"], &made["reminder_frequency_days"]), (&user["id"], &Value::from(7)));
    let moved =
        json(dir, &["onboarding", "move", id, "--phase", "review", "--reason", "signed", "--json"]).await?;
    assert_eq!((&moved["phase"], &moved["version"]), (&Value::from("review"), &Value::from(2)));
    let shown = json(dir, &["onboarding", "show", id, "--json"]).await?;
    assert_eq!(shown, moved);
    let listed = json(dir, &["onboarding", "list", "--phase", "review", "--json"]).await?;
    assert_eq!(listed.as_array().map(Vec::len), Some(1));

    let table = usher(dir, &["onboarding", "list"]).await?;
    let table = String::from_utf8(table.stdout)?;
    assert!(table.starts_with("DISPLAY ID") && table.contains(id), "{table}");
    let refused = usher(dir, &["onboarding", "move", id, "--phase", "lunch"]).await?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("before_getting_started"),
        "names what is allowed"
    );
    let usage = usher(dir, &["onboarding", "move", id]).await?;
    assert_eq!(usage.status.code(), Some(2));
    Ok(())
}

#[tokio::test]
async fn keys_are_made_listed_without_their_secret_and_revoked() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    json(dir, &["workspace", "create", "acme", "--json"]).await?;
    let made = json(dir, &["key", "create", "--test", "--name", "ci", "--json"]).await?;
    let secret = made["secret"].as_str().unwrap_or_default();
    assert!(secret.starts_with("pivotal_test_"), "{secret}");
    let listed = json(dir, &["key", "list", "--json"]).await?;
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    assert!(!listed.to_string().contains(secret));
    let revoked =
        json(dir, &["key", "revoke", made["prefix"].as_str().unwrap_or_default(), "--json"]).await?;
    assert!(revoked["revoked_at"].is_string());
    let unknown = usher(dir, &["key", "revoke", "pivotal_nope"]).await?;
    assert_eq!(unknown.status.code(), Some(1));
    Ok(())
}

#[tokio::test]
async fn a_key_with_scopes_and_a_limit_is_rotated() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    json(dir, &["workspace", "create", "acme", "--json"]).await?;
    let scopes = ["--scope", "read:*", "--scope", "write:customers"];
    let create = [&["key", "create", "--name", "crm", "--rate-limit", "0", "--json"], &scopes[..]].concat();
    let made = json(dir, &create).await?;
    assert_eq!(made["scopes"], serde_json::json!(["read:*", "write:customers"]));
    assert_eq!((&made["rate_limit"], &made["request_count"]), (&Value::from(0), &Value::from(0)));
    let id = made["id"].as_str().unwrap_or_default();
    let next = json(dir, &["key", "rotate", id, "--overlap-hours", "1", "--json"]).await?;
    assert_ne!(next["secret"], made["secret"]);
    for field in ["name", "scopes", "rate_limit", "livemode"] {
        assert_eq!(next[field], made[field], "{field}");
    }
    let listed = json(dir, &["key", "list", "--json"]).await?;
    let old = listed.as_array().into_iter().flatten().find(|key| key["id"] == made["id"]);
    assert!(old.is_some_and(|old| old["expires_at"].is_string() && old["revoked_at"].is_null()), "{listed}");
    for wrong in [["--scope", "read:everything"], ["--rate-limit", "-1"]] {
        let refused = usher(dir, &[&["key", "create"], &wrong[..]].concat()).await?;
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_broken_configuration_is_told_whole_and_single_roles_refuse_sqlite() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let broken = "http.listen=nowhere";
    let output =
        usher(dir, &["config", "check", "--set", broken, "--set", "reminders.time_zone=Mars/Base"]).await?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("http.listen") && told.contains("reminders.time_zone"), "{told}");
    for role in ["ingest", "scheduler"] {
        let output = usher(dir, &[role]).await?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1));
        assert!(told.contains("store.url") && told.contains("usher run"), "{told}");
    }
    let output = usher(dir, &["onboarding", "list"]).await?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("migrate"), "a store without tables says what to do: {told}");
    let default = usher(dir, &["config", "default"]).await?;
    std::fs::write(dir.join("usher.toml"), &default.stdout)?;
    assert_eq!(
        usher(dir, &["config", "check"]).await?.status.code(),
        Some(0),
        "the reference is itself valid"
    );
    Ok(())
}

#[tokio::test]
async fn explain_says_what_comes_and_why_nothing_will() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    json(dir, &["workspace", "create", "acme", "--json"]).await?;
    json(dir, &["user", "create", "--name", "Ada", "--email", "ada@example.com", "--json"]).await?;
    json(dir, &["customer", "create", "--name", "Initech", "--json"]).await?;
    let made =
        json(dir, &["onboarding", "create", "--customer", "1", "--csm", "ada@example.com", "--json"]).await?;
    let explained = json(dir, &["reminders", "explain", "1", "--json"]).await?;
    let upcoming = &explained["upcoming"];
    assert_eq!(upcoming["slots"].as_array().map(Vec::len), Some(5));
    assert_eq!(upcoming["slots"][0]["due_at"], made["next_reminder_at"]);
    assert_eq!((&upcoming["recipients"][0]["why"], &upcoming["reason"]), (&Value::from("csm"), &Value::Null));
    let previewed = json(dir, &["reminders", "preview", "1", "--json"]).await?;
    assert_eq!(previewed, upcoming["slots"], "preview and explain call the same function");
    let third = previewed[2]["due_at"].as_str().unwrap_or_default();
    let flags = ["reminders", "preview", "1", "--after", third, "--count", "2", "--json"];
    let later = json(dir, &flags).await?;
    assert_eq!(later[0], previewed[3], "what is pending is due before that");
    assert_eq!(later.as_array().map(Vec::len), Some(2));
    let both = usher(dir, &["reminders", "preview", "1", "--frequency-days", "7"]).await?;
    assert_eq!(both.status.code(), Some(2), "a record has a rhythm of its own");

    json(dir, &["onboarding", "move", "1", "--state", "paused", "--json"]).await?;
    let explained = json(dir, &["reminders", "explain", "1", "--json"]).await?;
    assert_eq!(explained["upcoming"]["reason"], "paused");
    assert_eq!(json(dir, &["reminders", "preview", "1", "--json"]).await?, serde_json::json!([]));
    let told = String::from_utf8(usher(dir, &["reminders", "explain", "1"]).await?.stdout)?;
    assert!(told.contains("next      none: paused"), "{told}");
    assert_eq!(explained["upcoming"]["recipients"], serde_json::json!([]), "nobody is told of nothing");
    Ok(())
}

#[tokio::test]
async fn a_template_of_the_operator_s_is_tried_at_start() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let folder = dir.join("templates/email");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("customer.txt"), "{{ items[0].phase }} {{ notes }}")?;
    let set = ["--set", "templates_dir=templates", "--set", "http.listen=127.0.0.1:0"];
    let output = usher(dir, &[&set[..], &["run"]].concat()).await?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("templates_dir") && told.contains("email/customer.txt uses notes"), "{told}");
    Ok(())
}
