//! `usher import` as a person runs it.

use serde_json::{Value, json};

use crate::commands::{json, usher};

#[tokio::test]
async fn a_dry_run_an_import_and_the_same_again() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    json(dir, &["workspace", "create", "acme", "--json"]).await?;
    json(dir, &["user", "create", "--name", "Ada", "--email", "ada@example.com", "--json"]).await?;
    std::fs::write(
        dir.join("customers.csv"),
        "\u{feff}external_id;name\r\ncrm-1;\"Acme; Inc.\"\r\ncrm-2;Initech\r\n",
    )?;
    let onboardings = "external_id,customer_external_id,csm_id,started_at\n\
                       deal-1,crm-1,ada@example.com,2024-01-02T09:00:00Z\n\
                       deal-2,crm-9,ada@example.com,2024-01-02T09:00:00Z\n\
                       deal-3,crm-2,nobody@example.com,yesterday\n";
    std::fs::write(dir.join("onboardings.csv"), onboardings)?;

    let dry = json(dir, &["import", "customers.csv", "--dry-run", "--json"]).await?;
    assert_eq!((&dry["created"], &dry["dry_run"]), (&json!(2), &json!(true)));
    assert_eq!(json(dir, &["customer", "list", "--json"]).await?, json!([]), "a dry run writes nothing");
    let done = usher(dir, &["import", "customers.csv"]).await?;
    let told = String::from_utf8(done.stdout)?;
    assert_eq!(
        (done.status.code(), told.as_str()),
        (Some(0), "customers.csv: 2 created, 0 changed, 0 unchanged, 0 refused\n")
    );
    let again = json(dir, &["import", "customers.csv", "--json"]).await?;
    assert_eq!((&again["created"], &again["unchanged"]), (&json!(0), &json!(2)));

    let done = usher(dir, &["import", "onboardings.csv", "--json", "--report", "report.csv"]).await?;
    assert_eq!(done.status.code(), Some(1), "not every line was taken");
    assert!(String::from_utf8_lossy(&done.stderr).contains("2 of 3 lines of onboardings.csv were not taken"));
    let told: Value = serde_json::from_slice(&done.stdout)?;
    assert_eq!((&told["created"], &told["refused"], &told["lines"]), (&json!(1), &json!(2), &json!(3)));
    assert_eq!(
        (&told["errors"][0]["line"], &told["errors"][0]["code"]),
        (&json!(3), &json!("customer_not_found"))
    );
    assert_eq!(
        (&told["errors"][1]["field"], &told["errors"][1]["code"]),
        (&json!("started_at"), &json!("invalid_string"))
    );
    let report = std::fs::read_to_string(dir.join("report.csv"))?;
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(lines[0], "line,field,code,message");
    assert!(
        lines[1].starts_with("3,customer_external_id,customer_not_found,") && lines.len() == 3,
        "{report}"
    );

    let unknown = usher(dir, &["import", "customers.csv", "--kind", "onboardings"]).await?;
    let told = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.status.code() == Some(1) && told.contains("\"name\" is not known"), "{told}");
    std::fs::rename(dir.join("customers.csv"), dir.join("list.csv"))?;
    let nameless = usher(dir, &["import", "list.csv"]).await?;
    assert!(String::from_utf8_lossy(&nameless.stderr).contains("--kind"), "the name says nothing");
    Ok(())
}

#[tokio::test]
async fn shells_learn_every_command() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    for shell in ["bash", "zsh", "fish"] {
        let script = usher(dir.path(), &["completions", shell]).await?;
        let script = String::from_utf8(script.stdout)?;
        for command in ["scheduler", "reminders", "import", "completions"] {
            assert!(script.contains(command), "{shell} {command}");
        }
    }
    Ok(())
}
