//! One batch of the outbox: published in windows, then marked in one statement.

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::time::timeout;
use usher_bus::{Bus, EventOut, Names, Outgoing, PublishError, Published, Rejected};
use usher_store::{OutboxEvent, OutboxRejected, StoreError};

use super::{LEFT, REJECTED_BATCH, Relay, RelayReport};

impl Relay {
    /// Publishes the events of the shards, given in the order of the outbox, and marks what was acknowledged. A subject
    /// of which one failed joins `blocked`.
    pub(super) async fn publish(
        &mut self,
        shards: &[i64],
        events: Vec<OutboxEvent>,
        blocked: &mut HashSet<String>,
        report: &mut RelayReport,
    ) -> Result<(), StoreError> {
        let before = *report;
        let mut acknowledged = Vec::with_capacity(events.len());
        let result = self.windows(shards, events, blocked, &mut acknowledged, report).await;
        let marked = if acknowledged.is_empty() {
            Ok(())
        } else {
            self.store.mark_published(&acknowledged, (self.clock)()).await
        };
        if marked.is_ok() {
            report.published += acknowledged.len();
        }
        self.metrics.count(before, *report);
        marked.and(result)
    }

    async fn windows(
        &mut self,
        shards: &[i64],
        mut events: Vec<OutboxEvent>,
        blocked: &mut HashSet<String>,
        acknowledged: &mut Vec<i64>,
        report: &mut RelayReport,
    ) -> Result<(), StoreError> {
        let names = names(&self.bus);
        while !events.is_empty() && !self.shutdown.is_cancelled() {
            // Renewed in time, or lost: then the rest is for whoever holds it now.
            if self.shards().await?.as_deref() != Some(shards) {
                return Ok(());
            }
            let window;
            (window, events) = next_window(events, blocked);
            for (event, result) in self.window(&names, window).await {
                match result {
                    Ok(Published { duplicate }) => {
                        report.repeated += usize::from(duplicate);
                        acknowledged.push(event.position);
                    }
                    Err(why) => {
                        failed(&event, &why, report);
                        blocked.insert(event.subject);
                    }
                }
            }
        }
        Ok(())
    }

    /// Publishes one window; each event with what became of it.
    async fn window(
        &self,
        names: &Names,
        window: Vec<OutboxEvent>,
    ) -> Vec<(OutboxEvent, Result<Published, PublishError>)> {
        let mut messages = Vec::with_capacity(window.len());
        let mut sent = Vec::with_capacity(window.len());
        let mut done = Vec::new();
        for event in window {
            match message(&event, names) {
                Ok(message) => {
                    messages.push(message);
                    sent.push(event);
                }
                Err(why) => done.push((event, Err(why))),
            }
        }
        // The bus has a limit of its own; this one is the lease's.
        match timeout(LEFT, self.bus.publish_window(messages)).await {
            Ok(results) => done.extend(sent.into_iter().zip(results)),
            Err(_elapsed) => {
                done.extend(sent.into_iter().map(|event| (event, Err(PublishError::Timeout(LEFT)))));
            }
        }
        done
    }

    /// Publishes refused commands until none is left or one fails. They need no lease: a repeat has the same id.
    pub(super) async fn rejected(&self, report: &mut RelayReport) -> Result<(), StoreError> {
        let names = names(&self.bus);
        while !self.shutdown.is_cancelled() {
            let waiting = self.store.unpublished_rejected(REJECTED_BATCH).await?;
            if waiting.is_empty() {
                return Ok(());
            }
            let before = *report;
            let max = self.bus.max_payload();
            let (ids, messages): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .map(|it| (it.id.clone(), rejected_message(it).to_message(&names, max)))
                .unzip();
            let count = ids.len();
            let mut published = Vec::with_capacity(count);
            for (id, result) in ids.into_iter().zip(self.bus.publish_window(messages).await) {
                match result {
                    Ok(_) => published.push(id),
                    Err(why) => {
                        report.failed += 1;
                        tracing::warn!(id, %why, "a refused command is not published yet");
                    }
                }
            }
            if !published.is_empty() {
                self.store.mark_rejected_published(&published, (self.clock)()).await?;
                report.rejected += published.len();
            }
            self.metrics.count(before, *report);
            if published.len() < count {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The first event of each subject, and the rest; those of blocked subjects are left out.
fn next_window(events: Vec<OutboxEvent>, blocked: &HashSet<String>) -> (Vec<OutboxEvent>, Vec<OutboxEvent>) {
    let mut subjects = HashSet::with_capacity(events.len());
    events
        .into_iter()
        .filter(|event| !blocked.contains(&event.subject))
        .partition(|event| subjects.insert(event.subject.clone()))
}

fn failed(event: &OutboxEvent, why: &PublishError, report: &mut RelayReport) {
    // One line tells enough of a server that is away.
    if report.failed == 0 || why.is_permanent() {
        let id = &event.id;
        tracing::warn!(id, %why, "an event is not published yet; the later ones of its subject wait for it");
    }
    report.failed += 1;
}

fn names(bus: &Bus) -> Names {
    bus.nats().map(|nats| nats.names().clone()).unwrap_or_default()
}

fn message(event: &OutboxEvent, names: &Names) -> Result<Outgoing, PublishError> {
    let data = RawValue::from_string(event.data.to_string());
    let out = EventOut {
        id: event.id.clone(),
        workspace: event.workspace.clone(),
        kind: event.kind.clone(),
        subject: event.subject.clone(),
        time: event.occurred_at,
        sequence: event.version,
        ordinal: event.ordinal,
        livemode: event.livemode,
        data: data.map_err(|error| PublishError::Failed(error.to_string()))?,
        traceparent: event.traceparent.clone(),
    };
    out.to_message(names).map_err(|error| PublishError::Failed(error.to_string()))
}

fn rejected_message(rejected: OutboxRejected) -> Rejected {
    let what = rejected.what;
    Rejected {
        id: rejected.id,
        subject: what.subject,
        headers: what.headers.into_iter().collect(),
        payload: Bytes::from(what.payload),
        code: what.code,
        message: what.message,
        field: what.field,
        attempts: u64::try_from(what.attempts).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::Value;

    use super::*;

    fn event(position: i64, subject: &str) -> OutboxEvent {
        OutboxEvent {
            position,
            id: format!("evt_{position}"),
            workspace: "acme".into(),
            livemode: true,
            kind: "onboarding.updated".into(),
            subject: subject.into(),
            version: position,
            ordinal: 0,
            occurred_at: DateTime::UNIX_EPOCH,
            data: Value::Null,
            traceparent: None,
        }
    }

    fn positions(events: &[OutboxEvent]) -> Vec<i64> {
        events.iter().map(|event| event.position).collect()
    }

    #[test]
    fn a_window_holds_the_first_event_of_each_subject() {
        let events = vec![event(1, "a"), event(2, "a"), event(3, "b"), event(4, "a"), event(5, "c")];
        let (window, rest) = next_window(events, &HashSet::new());
        assert_eq!((positions(&window), positions(&rest)), (vec![1, 3, 5], vec![2, 4]));
        let (window, rest) = next_window(rest, &HashSet::new());
        assert_eq!((positions(&window), positions(&rest)), (vec![2], vec![4]));
    }

    #[test]
    fn what_comes_after_a_failed_event_of_its_subject_waits() {
        let blocked = HashSet::from(["a".to_owned()]);
        let (window, rest) = next_window(vec![event(2, "a"), event(3, "b"), event(4, "a")], &blocked);
        assert_eq!((positions(&window), positions(&rest)), (vec![3], vec![]));
    }
}
