//! `usher simulate`, as a person runs it.

use crate::commands::{json, usher};

const AFTER: &str = "2026-03-02T00:00:00Z";

#[tokio::test]
async fn a_made_up_mix_needs_no_store_and_is_the_same_again() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    std::fs::write(dir.join("policy.toml"), "[reminders]\nworking_days = [\"wed\"]\n")?;
    let flags =
        ["simulate", "--days", "14", "--onboardings", "40", "--after", AFTER, "--policy", "policy.toml"];
    let pictures = ["--svg", "load.svg", "--html", "load.html"];
    let one = json(dir, &[&flags[..], &pictures, &["--json"]].concat()).await?;
    assert_eq!(one, json(dir, &[&flags[..], &["--json"]].concat()).await?);
    let busy: Vec<_> = one["calendar"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|day| day["messages"] != 0)
        .map(|day| day["date"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(busy, ["2026-03-04", "2026-03-11"], "Wednesdays only");
    assert!(std::fs::read_to_string(dir.join("load.svg"))?.starts_with("<svg"));
    assert!(std::fs::read_to_string(dir.join("load.html"))?.contains("<table>"));
    let left: Vec<_> = std::fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    assert_eq!(left.len(), 3, "no store is made: {left:?}");

    std::fs::write(dir.join("policy.toml"), "[reminders]\nworking_day = [\"wed\"]\n")?;
    let output = usher(dir, &flags).await?;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("working_day"));
    Ok(())
}

#[tokio::test]
async fn from_the_store_what_preview_says_is_what_would_be_sent_and_nothing_is_written() -> anyhow::Result<()>
{
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    json(dir, &["workspace", "create", "acme", "--json"]).await?;
    json(dir, &["user", "create", "--name", "Ada", "--email", "ada@example.com", "--json"]).await?;
    json(dir, &["customer", "create", "--name", "Initech", "--json"]).await?;
    let create =
        ["onboarding", "create", "--customer", "1", "--csm", "ada@example.com", "--frequency-days", "7"];
    let made = json(dir, &[&create[..], &["--json"]].concat()).await?;
    let id = made["id"].as_str().unwrap_or_default();
    let before = json(dir, &["onboarding", "show", id, "--json"]).await?;
    let forecast = json(dir, &["simulate", "--days", "30", "--from-store", "--json"]).await?;
    let sent: Vec<_> = forecast["calendar"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|day| day["messages"] != 0)
        .map(|day| day["date"].clone())
        .collect();
    let count = sent.len().to_string();
    let preview = json(dir, &["reminders", "preview", id, "--count", &count, "--json"]).await?;
    let slots: Vec<_> = preview.as_array().into_iter().flatten().map(|slot| slot["slot"].clone()).collect();
    assert!(sent.len() >= 3, "{forecast}");
    assert_eq!(sent, slots);
    assert_eq!(forecast["people"][0]["name"], "Ada");
    assert_eq!(json(dir, &["onboarding", "show", id, "--json"]).await?, before);
    let ledger = json(dir, &["reminders", "explain", id, "--json"]).await?;
    assert_eq!(ledger["ledger"].as_array().map(Vec::len), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_policy_that_has_customers_told_is_tried_with_the_contacts_of_the_store() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    json(dir, &["workspace", "create", "acme", "--json"]).await?;
    let files = [
        ("customers.csv", "external_id,name\ncrm-1,Initech\ncrm-2,Umbrella\n"),
        ("contacts.csv", "external_id,customer_external_id,name,email\nc-1,crm-1,Bea,bea@customer.example\n"),
        ("onboardings.csv", "external_id,customer_external_id,state\no-1,crm-1,waiting\no-2,crm-2,waiting\n"),
    ];
    for (name, text) in files {
        std::fs::write(dir.join(name), text)?;
        json(dir, &["import", name, "--json"]).await?;
    }
    std::fs::write(
        dir.join("policy.toml"),
        "[reminders]\nnudge_customer = true\nops_email = \"ops@example.com\"\n",
    )?;
    let simulate = ["simulate", "--days", "14", "--from-store", "--policy", "policy.toml", "--json"];
    let forecast = json(dir, &simulate).await?;
    let people: Vec<_> = forecast["people"].as_array().into_iter().flatten().map(|it| &it["name"]).collect();
    assert!(people.contains(&&serde_json::json!("Bea")) && people.len() == 2, "{forecast}");
    let days = forecast["people"][0]["messages"].as_i64().unwrap_or_default();
    assert!(days >= 9 && forecast["unsent"] == serde_json::json!({"no_recipient": days}), "{forecast}");
    Ok(())
}
