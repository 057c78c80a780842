//! What is said of an escalation before it comes, beside a running service: the API, `explain` and `simulate` agree.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::service::{Api, PATIENCE, binary, eventually, offset_to, start};

/// A Tuesday at the default time of day.
const NINE: &str = "2026-03-03T08:59:58Z";

#[tokio::test]
async fn a_step_to_come_is_told_with_whom_it_tells_and_what_it_sets() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let data = dir.join("usher-data");
    let seconds = offset_to(NINE.parse::<DateTime<Utc>>()?).num_seconds().to_string();
    let offset = ("USHER_TEST_CLOCK_OFFSET", seconds.as_str());
    let service = start(&[], &data, &[offset]).await?;
    let api = Api::of(&data).await?;
    api.expect(201, "POST", "/users", json!({"name": "Ada", "email": "ada@story.example"})).await?;
    api.expect(201, "POST", "/users", json!({"name": "Pam", "email": "pam@story.example"})).await?;
    api.expect(201, "POST", "/customers", json!({"name": "Acme"})).await?;
    let roles = json!({
        "customer_id": "1", "csm_id": "ada@story.example", "product_ops_id": "pam@story.example",
        "started_at": "2026-03-02T08:00:00Z",
    });
    api.expect(201, "POST", "/onboardings", roles).await?;
    let upcoming = eventually("one goes unheeded", || async {
        let ledger = api.expect(200, "GET", "/onboardings/1/reminders", Value::Null).await?;
        Ok(Some(ledger["upcoming"].clone()).filter(|it| it["unheeded"] == 1))
    })
    .await?;
    assert_eq!(upcoming["escalates"], json!([]), "the workspace has no steps");
    assert_eq!(upcoming["slots"].as_array().map(Vec::len), Some(5));

    let steps = json!([{"after_reminders": 1, "to": "product_ops", "set_state": "at_risk"}]);
    api.expect(200, "PATCH", "/workspace", json!({"escalation": steps})).await?;
    let ledger = api.expect(200, "GET", "/onboardings/1/reminders", Value::Null).await?;
    let [step] = &ledger["upcoming"]["escalates"].as_array().cloned().unwrap_or_default()[..] else {
        anyhow::bail!("one step: {ledger}")
    };
    assert_eq!(
        (&step["after_reminders"], &step["to"], &step["set_state"], &step["reason"]),
        (&json!(1), &json!("product_ops"), &json!("at_risk"), &Value::Null)
    );
    let told = &step["recipients"][0];
    assert_eq!(
        (&told["name"], &told["why"], &told["send_at"]),
        (&json!("Pam"), &json!("escalated"), &json!("2026-03-04T09:00:00Z"))
    );

    let url = format!("store.url=sqlite://{}", data.join("usher.db").display());
    let run = async |arguments: &[&str]| {
        let all = [&["--set", url.as_str()][..], arguments].concat();
        let mut command = tokio::process::Command::new(binary());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("USHER_"))
        {
            command.env_remove(name);
        }
        let output = command.env(offset.0, offset.1).current_dir(dir).args(&all).output().await?;
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::ensure!(output.status.success(), "{err}");
        anyhow::Ok(String::from_utf8(output.stdout)?)
    };
    let explained: Value = serde_json::from_str(&run(&["reminders", "explain", "1", "--json"]).await?)?;
    assert_eq!(explained["upcoming"]["escalates"], ledger["upcoming"]["escalates"]);
    let words = run(&["reminders", "explain", "1"]).await?;
    assert!(
        words.contains("escalates after 1 unheeded: product_ops, sets at_risk\nto        Pam (user:"),
        "{words}"
    );

    let simulate = ["simulate", "--from-store", "--days", "7", "--json"];
    let forecast: Value = serde_json::from_str(&run(&simulate).await?)?;
    assert_eq!((&forecast["escalations"], &forecast["states_set"]), (&json!(1), &json!({"at_risk": 1})));
    let days = forecast["calendar"].as_array().cloned().unwrap_or_default();
    let day = days.iter().find(|day| day["escalations"] == 1).cloned().unwrap_or_default();
    assert_eq!((&day["date"], &day["reminders"]), (&json!("2026-03-04"), &json!(2)), "{forecast}");
    // Another list is tried, of which nothing is due with one unheeded.
    std::fs::write(
        dir.join("policy.toml"),
        "[reminders]\nescalation = [{ after_reminders = 3, to = \"csm\", set_state = \"paused\" }]\n",
    )?;
    let forecast: Value =
        serde_json::from_str(&run(&[&simulate[..], &["--policy", "policy.toml"]].concat()).await?)?;
    assert_eq!(forecast["states_set"], json!({"paused": 1}), "{forecast}");
    // A pause stops the reminders that are planned with it, and is told itself.
    assert_eq!((&forecast["reminders"], &forecast["escalations"]), (&json!(3), &json!(1)), "{forecast}");

    service.terminate()?;
    assert_eq!(service.wait_exit(PATIENCE).await?.0, 0);
    Ok(())
}
