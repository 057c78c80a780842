//! `usher rejected`: commands from NATS that were refused, and their replay. Works beside a running service and without
//! NATS: the bytes are in the store.

use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use usher_bus::Names;
use usher_ingest::intake::{Replay, Try};
use usher_lifecycle::limits;
use usher_store::{Rejected as Row, RejectedFilter, ReplayState, Store};

use super::records::told;
use crate::{
    cli::{Rejected, Replayed, Which},
    config::Config,
    output, store,
};

mod body;

/// Rows that are read at once: each may hold a body of 1 MiB.
const PAGE: u32 = 50;

pub(super) async fn execute(config: &Config, command: Rejected, json: bool) -> anyhow::Result<()> {
    let store = store::open_ready(config).await?;
    let done = match command {
        Rejected::List { which, limit } => {
            let rows = store.newest_rejected(&filter(&which, None)?, limit).await?;
            let rows: Vec<Value> = rows.iter().map(object).collect();
            output::list(
                json,
                &rows,
                &["id", "rejected_at", "workspace", "command", "code", "replay_outcome"],
            )
        }
        Rejected::Show { id, body } => {
            let row = one(&store, &id).await?;
            if body {
                std::io::stdout().lock().write_all(&row.what.payload).map_err(Into::into)
            } else {
                show(&row, json)
            }
        }
        Rejected::Replay { ids, which, all, dry_run } => {
            anyhow::ensure!(
                all || !ids.is_empty() || !which.is_empty(),
                "nothing is chosen; give ids, a filter, or --all for everything that is open"
            );
            anyhow::ensure!(
                ids.is_empty() || (which.is_empty() && !all),
                "ids and filters are two ways to choose; give one of them"
            );
            let names = Names::new(&config.nats.prefix, &config.nats.stream_prefix).context("nats.prefix")?;
            let attempt = if dry_run { Try::Rehearsal } else { Try::InEarnest };
            let mut series = Series {
                replay: Replay::new(store.clone(), names),
                attempt,
                json,
                results: Vec::new(),
                done: 0,
                refused: 0,
                total: 0,
            };
            let end = Box::pin(series.run(&store, &ids, &which)).await;
            series.tell().and(end)
        }
    };
    store.close().await;
    done
}

async fn one(store: &Store, id: &str) -> anyhow::Result<Row> {
    let found = store.rejected_by_id(id).await?;
    found.with_context(|| format!("there is no refused command {id:?}; `usher rejected list` lists them"))
}

fn filter(which: &Which, otherwise: Option<ReplayState>) -> anyhow::Result<RejectedFilter> {
    let instant = |flag: &str, text: &Option<String>| {
        text.as_deref().map(|text| limits::instant(flag, text).map_err(told)).transpose()
    };
    let replay = which.replayed.map(|replayed| match replayed {
        Replayed::No => ReplayState::No,
        Replayed::Yes => ReplayState::Yes,
        Replayed::Refused => ReplayState::Refused,
        Replayed::Open => ReplayState::Open,
    });
    Ok(RejectedFilter {
        workspace: which.workspace.clone(),
        command: which.command.clone(),
        code: which.code.clone(),
        source: which.source.clone(),
        since: instant("--since", &which.since)?,
        until: instant("--until", &which.until)?,
        replay: replay.or(otherwise),
    })
}

/// What is known of one, without headers and body.
fn object(row: &Row) -> Value {
    let what = &row.what;
    json!({
        "object": "rejected", "id": row.id, "workspace": what.workspace, "command": what.command,
        "subject": what.subject, "source": what.source, "message_id": what.message_id, "code": what.code,
        "message": what.message, "field": what.field, "attempts": what.attempts, "rejected_at": row.rejected_at,
        "published_at": row.published_at, "replayed_at": row.replayed_at,
        "replay_outcome": row.replay_outcome, "replay_message": row.replay_message,
    })
}

fn show(row: &Row, json: bool) -> anyhow::Result<()> {
    let mut whole = object(row);
    if json {
        if let Some(whole) = whole.as_object_mut() {
            let headers = row.what.headers.iter().map(|(name, value)| json!({"name": name, "value": value}));
            whole.insert("headers".into(), headers.collect());
            whole.insert("body".into(), body::document(&row.what.payload));
        }
        return output::object(true, &whole);
    }
    output::object(false, &whole)?;
    if !row.what.headers.is_empty() {
        output::line("\nheaders")?;
        for (name, value) in &row.what.headers {
            output::line(&format!("  {}: {}", body::escaped(name), body::escaped(value)))?;
        }
    }
    output::line(&format!("\nbody, {} bytes", row.what.payload.len()))?;
    output::line(&body::for_people(&row.what.payload))
}

/// One run of replays and what became of them.
struct Series {
    replay: Replay,
    attempt: Try,
    json: bool,
    results: Vec<Value>,
    done: u64,
    refused: u64,
    total: u64,
}

impl Series {
    async fn run(&mut self, store: &Store, ids: &[String], which: &Which) -> anyhow::Result<()> {
        if !ids.is_empty() {
            self.total = u64::try_from(ids.len()).unwrap_or(u64::MAX);
            let mut rows = Vec::with_capacity(ids.len());
            for id in ids {
                rows.push(one(store, id).await?);
            }
            rows.sort_by(|one, other| (one.rejected_at, &one.id).cmp(&(other.rejected_at, &other.id)));
            return self.all(&rows).await;
        }
        let mut chosen = filter(which, Some(ReplayState::Open))?;
        // What is refused while this runs is not for this run.
        let now = store::now();
        chosen.until = Some(chosen.until.map_or(now, |until| until.min(now)));
        self.total = store.count_rejected(&chosen).await?;
        let mut last: Option<Row> = None;
        loop {
            let rows = store.oldest_rejected(&chosen, last.as_ref(), PAGE).await?;
            self.all(&rows).await?;
            let Some(row) = rows.into_iter().next_back() else { return Ok(()) };
            last = Some(row);
        }
    }

    async fn all(&mut self, rows: &[Row]) -> anyhow::Result<()> {
        for row in rows {
            let replayed = self.replay.replay(row, self.attempt, store::now()).await.with_context(|| {
                format!(
                    "the store failed at {}; {} of {} are done, and the same call goes on from there",
                    row.id, self.done, self.total
                )
            })?;
            self.done += 1;
            self.refused += u64::from(replayed.reason().is_some());
            let mut result = Map::new();
            result.insert("id".into(), row.id.clone().into());
            result.insert("workspace".into(), row.what.workspace.clone().into());
            result.insert("command".into(), row.what.command.clone().into());
            result.insert("outcome".into(), replayed.as_str().into());
            result.insert("reason".into(), replayed.reason().into());
            self.results.push(Value::Object(result));
            self.progress(false)?;
        }
        Ok(())
    }

    /// A line that counts, on a terminal only; it goes before the results come.
    fn progress(&self, end: bool) -> anyhow::Result<()> {
        let mut out = std::io::stderr().lock();
        if out.is_terminal() {
            let text = if end { String::new() } else { format!("{} of {}", self.done, self.total) };
            write!(out, "\r\x1b[2K{text}")?;
            out.flush()?;
        }
        Ok(())
    }

    fn tell(&self) -> anyhow::Result<()> {
        self.progress(true)?;
        output::list(self.json, &self.results, &["id", "workspace", "command", "outcome", "reason"])?;
        anyhow::ensure!(self.refused == 0, still_refused(self.refused, self.done, self.attempt));
        Ok(())
    }
}

fn still_refused(refused: u64, done: u64, attempt: Try) -> String {
    let verb = match (attempt, refused) {
        (Try::Rehearsal, _) => "would be",
        (Try::InEarnest, 1) => "is",
        (Try::InEarnest, _) => "are",
    };
    format!("{refused} of {done} {verb} refused again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_refused_and_several_are() {
        assert_eq!(still_refused(1, 3, Try::InEarnest), "1 of 3 is refused again");
        assert_eq!(still_refused(3, 3, Try::InEarnest), "3 of 3 are refused again");
        assert_eq!(still_refused(1, 1, Try::Rehearsal), "1 of 1 would be refused again");
    }
}
