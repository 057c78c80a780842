//! `usher import`: records from a file.

use std::{fs::File, io::IsTerminal as _, path::Path, time::Duration};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use usher_ingest::import::{Import, Kind, Refused, Report};

use super::workspace;
use crate::{cli::Import as Arguments, config::Config, output, store};

/// Refused lines that are shown; all of them are in the report and in the JSON.
const SHOWN: usize = 20;

pub(super) async fn execute(config: &Config, arguments: Arguments, json: bool) -> anyhow::Result<()> {
    let Arguments { scope, file, kind, dry_run, report } = arguments;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kind = kind.map(Kind::from).or_else(|| Kind::of_file(&name)).with_context(|| {
        format!("{name:?} does not say what its lines are; say --kind customers, contacts or onboardings")
    })?;
    let opened = File::open(&file).with_context(|| format!("{} cannot be opened", file.display()))?;
    let size = opened.metadata().with_context(|| file.display().to_string())?.len();
    // Before anything is done: a report that cannot be written would be lost.
    let mut written = report.as_deref().map(report_file).transpose()?;
    let (store, workspace) = workspace(config, &scope.within).await?;
    let livemode = !scope.test;
    let import = Import { store: store.clone(), workspace_id: workspace.id, livemode, kind, dry_run };
    let bar = bar(size);
    let done = import.run(opened, &store::now, |bytes| bar.set_position(bytes)).await;
    bar.finish_and_clear();
    let done = done.with_context(|| file.display().to_string())?;
    store.close().await;
    if let Some(report) = &mut written {
        for Refused { line, field, code, message } in &done.refused {
            report.write_record([&line.to_string(), field.as_deref().unwrap_or_default(), code, message])?;
        }
        report.flush()?;
    }
    if json {
        output::object(true, &object(&name, kind, dry_run, &done))?;
    } else {
        for_people(&name, dry_run, &done, report.as_deref())?;
    }
    let refused = done.refused.len();
    anyhow::ensure!(refused == 0, "{refused} of {} lines of {name} were not taken", done.lines());
    Ok(())
}

fn report_file(path: &Path) -> anyhow::Result<csv::Writer<File>> {
    let wrote = csv::Writer::from_path(path).map_err(anyhow::Error::from).and_then(|mut report| {
        report.write_record(["line", "field", "code", "message"])?;
        Ok(report)
    });
    wrote.with_context(|| format!("the report {} cannot be written", path.display()))
}

/// On a terminal only.
fn bar(size: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(size);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %  {elapsed} / about {duration}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn object(name: &str, kind: Kind, dry_run: bool, report: &Report) -> Value {
    let refused = report
        .refused
        .iter()
        .map(|it| json!({"line": it.line, "field": it.field, "code": it.code, "message": it.message}));
    json!({
        "object": "import",
        "file": name,
        "kind": kind.as_str(),
        "dry_run": dry_run,
        "lines": report.lines(),
        "created": report.created,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "refused": report.refused.len(),
        "errors": refused.collect::<Vec<_>>(),
    })
}

fn for_people(name: &str, dry_run: bool, done: &Report, report: Option<&Path>) -> anyhow::Result<()> {
    for Refused { line, field, code, message } in done.refused.iter().take(SHOWN) {
        let field = field.as_deref().map(|field| format!(" {field}")).unwrap_or_default();
        output::line(&output::plain(&format!("line {line}:{field} {code}: {message}")))?;
    }
    let more = done.refused.len().saturating_sub(SHOWN);
    if more > 0 {
        let all = match report {
            Some(path) => format!("all are in {}", path.display()),
            None => "--report FILE or --json gives all of them".to_owned(),
        };
        output::line(&format!("... and {more} more; {all}"))?;
    }
    let Report { created, changed, unchanged, refused } = done;
    let refused = refused.len();
    let would = if dry_run { "a dry run, nothing was written: " } else { "" };
    output::line(&format!(
        "{name}: {would}{created} created, {changed} changed, {unchanged} unchanged, {refused} refused"
    ))
}
