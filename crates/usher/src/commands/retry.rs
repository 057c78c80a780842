//! `usher reminders retry`: deliveries that did not certainly arrive are put back, and a running scheduler sends them.

use std::collections::HashSet;

use anyhow::Context as _;
use chrono::SubsecRound as _;
use serde_json::{Value, json};
use usher_lifecycle::ReminderId;
use usher_scheduler::{PutBack, put_back};
use usher_store::{Delivery, Ref, Store, UndeliveredFilter, Workspace};

use super::workspace;
use crate::{cli::Retry, config::Config, messages, output, store};

/// Deliveries that are put back in one transaction.
const BATCH: u32 = 200;

pub(super) async fn execute(config: &Config, which: &Retry, json: bool) -> anyhow::Result<()> {
    anyhow::ensure!(
        !which.is_empty(),
        "nothing is chosen; give ids, a filter, or --all for everything that failed or is ambiguous"
    );
    let (store, workspace) = workspace(config, &which.within).await?;
    let mut run =
        Retries { config, dry_run: which.dry_run, seen: HashSet::new(), rows: Vec::new(), refused: 0 };
    let end = if which.ids.is_empty() {
        run.chosen(&store, &workspace, which).await
    } else {
        run.named(&store, &workspace, &which.ids).await
    };
    store.close().await;
    run.tell(json)?;
    end?;
    let (refused, all) = (run.refused, run.rows.len());
    let would = if which.dry_run { "would be" } else { "were" };
    anyhow::ensure!(which.ids.is_empty() || refused == 0, "{refused} of {all} {would} refused");
    Ok(())
}

/// One call and what became of the deliveries.
struct Retries<'a> {
    config: &'a Config,
    dry_run: bool,
    seen: HashSet<ReminderId>,
    rows: Vec<Value>,
    refused: usize,
}

impl Retries<'_> {
    async fn named(&mut self, store: &Store, workspace: &Workspace, ids: &[String]) -> anyhow::Result<()> {
        let found = store.deliveries(workspace.id, ids).await?;
        let missing = ids.iter().find(|id| found.iter().all(|it| it.id.to_text() != **id));
        anyhow::ensure!(
            missing.is_none(),
            "there is no delivery {:?} in {}",
            missing.map_or("", String::as_str),
            workspace.slug
        );
        self.batch(store, &found).await
    }

    async fn chosen(&mut self, store: &Store, workspace: &Workspace, which: &Retry) -> anyhow::Result<()> {
        let onboarding = match &which.onboarding {
            Some(named) => {
                let found = store.onboarding(workspace.id, true, &Ref::parse(named)).await?;
                let found = found
                    .with_context(|| format!("there is no onboarding {named:?} in {}", workspace.slug))?;
                Some(found.id)
            }
            None => None,
        };
        let filter = UndeliveredFilter {
            status: which.status.map(Into::into),
            channel: which.channel,
            kind: which.kind,
            reason: which.reason.as_deref(),
            onboarding,
            since: which.since,
            until: which.until,
        };
        let mut last: Option<Delivery> = None;
        loop {
            let found = store.undelivered(workspace.id, &filter, last.as_ref(), BATCH).await?;
            self.batch(store, &found).await?;
            let Some(end) = found.into_iter().next_back() else { return Ok(()) };
            last = Some(end);
        }
    }

    async fn batch(&mut self, store: &Store, deliveries: &[Delivery]) -> anyhow::Result<()> {
        let configured = messages::configured(self.config);
        // What a companion of an earlier one was has been told already.
        let deliveries: Vec<Delivery> =
            deliveries.iter().filter(|it| !self.seen.contains(&it.id)).cloned().collect();
        let results = put_back(store, configured, &deliveries, self.dry_run, store::now()).await;
        let results = results.with_context(|| {
            format!(
                "the store failed after {} deliveries, and the same call goes on from there",
                self.rows.len()
            )
        })?;
        for (delivery, result) in results {
            self.seen.insert(delivery.id);
            let (outcome, reason, send_at) = match result {
                PutBack::Done(at) => ("put_back", None, Some(at.trunc_subsecs(6))),
                PutBack::Refused(reason) => ("refused", Some(reason), None),
            };
            self.refused += usize::from(reason.is_some());
            self.rows.push(json!({
                "object": "retry",
                "id": delivery.id,
                "onboarding_id": delivery.onboarding_id,
                "kind": delivery.kind,
                "slot": delivery.slot,
                "channel": delivery.channel,
                "recipient": delivery.recipient.as_ref().map(ToString::to_string),
                "was": delivery.status.as_str(),
                "outcome": outcome,
                "reason": reason,
                "send_at": send_at,
            }));
        }
        Ok(())
    }

    fn tell(&self, json: bool) -> anyhow::Result<()> {
        let columns = ["id", "slot", "channel", "recipient", "was", "outcome", "reason", "send_at"];
        output::list(json, &self.rows, &columns)?;
        let put_back = self.rows.len() - self.refused;
        // To people only: the document stands alone.
        if json {
            return Ok(());
        }
        output::line(&match (self.dry_run, put_back) {
            (true, count) => format!("a dry run: {count} of {} would be put back", self.rows.len()),
            (false, 0) => format!("none of {} is put back", self.rows.len()),
            (false, count) => format!(
                "{count} of {} are put back; a running scheduler sends them within half a minute of send_at",
                self.rows.len()
            ),
        })
    }
}
