//! `usher reminders preview` without a record: a pure computation. It reads no configuration, makes no folder, and says
//! what is allowed when it is asked for something else (exit 2).

use std::path::Path;

use crate::commands::usher;

/// What a call prints, or why it fails, as a person sees it.
async fn seen(dir: &Path, arguments: &str) -> anyhow::Result<String> {
    let all: Vec<&str> = ["reminders", "preview"].into_iter().chain(arguments.split_whitespace()).collect();
    let output = usher(dir, &all).await?;
    let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    let code = output.status.code().unwrap_or(-1);
    Ok(format!("$ usher reminders preview {arguments}\n{out}{err}exit {code}\n"))
}

async fn story(calls: &[&str]) -> anyhow::Result<String> {
    let dir = tempfile::tempdir()?;
    let mut all = Vec::new();
    for call in calls {
        all.push(seen(dir.path(), call).await?);
    }
    anyhow::ensure!(std::fs::read_dir(dir.path())?.next().is_none(), "nothing was made");
    Ok(all.join("\n"))
}

const BERLIN: &str = "--time-zone Europe/Berlin --started-at 2026-03-01T12:00:00Z";

#[tokio::test]
async fn slots_of_a_rhythm() -> anyhow::Result<()> {
    let all_days = "--working-days mon,tue,wed,thu,fri,sat,sun";
    let calls = [
        // 02:30 does not exist on the 29th: it is read with the offset before the gap.
        format!("{BERLIN} {all_days} --time-of-day 02:30 --after 2026-03-28T12:00:00Z --count 2 --json"),
        // Sundays roll to Monday; Easter Monday rolls on to Tuesday, and the rhythm does not drift.
        format!(
            "{BERLIN} --frequency-days 7 --after 2026-04-01T00:00:00Z --count 3 --holidays 2026-04-06,2026-04-07"
        ),
        "--started-at 2011-12-28T20:00:00Z --after 2011-12-28T20:00:00Z --time-zone Pacific/Apia --count 3"
            .to_owned(),
        // The calendar ends.
        "--started-at 2026-01-01T00:00:00Z --after 9999-12-30T00:00:00Z --count 1000 --json".to_owned(),
        "--started-at 2026-01-01T00:00:00Z --after 9999-12-31T23:00:00Z --json".to_owned(),
    ];
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    insta::assert_snapshot!(story(&calls).await?);
    Ok(())
}

#[tokio::test]
async fn bad_values_say_what_is_allowed() -> anyhow::Result<()> {
    let calls = [
        "--frequency-days 0",
        "--frequency-days 366",
        "--frequency-days -1",
        "--frequency-days 1.5",
        "--time-zone Mars/Base",
        "--time-of-day 24:00",
        "--time-of-day 9:00",
        "--started-at 2026-03-01",
        "--started-at 10000-01-01T00:00:00Z",
        "--after yesterday",
        "--count 0",
        "--count 1001",
        "--count -1",
        "--working-days mon,funday",
        "--working-days=",
        "--holidays 2026-02-30",
        "--holidays 12026-01-01",
    ];
    insta::assert_snapshot!(story(&calls).await?);
    Ok(())
}

#[tokio::test]
async fn a_faulty_configuration_does_not_matter() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("usher.toml"), "no = \"such key\"\n")?;
    let told =
        seen(dir.path(), "--started-at 2026-03-02T00:00:00Z --after 2026-03-02T00:00:00Z --count 1").await?;
    anyhow::ensure!(told.contains("2026-03-03  2026-03-03T09:00:00Z\nexit 0"), "{told}");
    Ok(())
}

/// Nine years without a working day: the next slot is after them, and found in no time.
#[tokio::test]
async fn a_calendar_of_holidays_only_comes_to_an_end() -> anyhow::Result<()> {
    let first = chrono::NaiveDate::from_ymd_opt(2026, 1, 1).unwrap_or_default();
    let days: Vec<String> = first.iter_days().take(3_650).map(|day| day.to_string()).collect();
    let call = format!(
        "--started-at 2025-12-31T00:00:00Z --after 2026-01-01T00:00:00Z --count 1 --holidays {}",
        days.join(",")
    );
    let told = story(&[&call]).await?;
    anyhow::ensure!(
        told.ends_with("2035-12-31  2035-12-31T09:00:00Z\nexit 0\n"),
        "the end: {}",
        &told[told.len() - 80..]
    );
    Ok(())
}
