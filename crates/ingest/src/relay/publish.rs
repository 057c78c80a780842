//! One batch of the outbox: published in windows, then marked in one statement.

use std::collections::HashSet;

use bytes::Bytes;
use tokio::time::timeout;
use usher_bus::{Bus, EventOut, Names, Outgoing, PublishError, Published, Rejected};
use usher_store::{OutboxEvent, OutboxRejected, StoreError};

use super::{BATCH, LEFT, REJECTED_BATCH, Relay, RelayReport, holds::Lane};

impl Relay {
    /// Publishes the oldest events of a lane and marks what was acknowledged; true when there may be more.
    pub(super) async fn events(&mut self, lane: Lane, report: &mut RelayReport) -> Result<bool, StoreError> {
        let Some(shards) = self.shards().await? else { return Ok(false) };
        let held = self.holds.subjects((self.clock)());
        let events = self.store.unpublished(lane == Lane::Live, &shards, &held, BATCH).await?;
        let full = events.len() >= BATCH as usize;
        let mut acknowledged = Vec::with_capacity(events.len());
        let result = self.windows(lane, &shards, events, &mut acknowledged, report).await;
        if !acknowledged.is_empty() {
            self.store.mark_published(&acknowledged, (self.clock)()).await?;
            report.published += acknowledged.len();
        }
        // Also when nothing got through: what failed is held and left out of the next claim.
        result.map(|()| full)
    }

    async fn windows(
        &mut self,
        lane: Lane,
        shards: &[i64],
        mut events: Vec<OutboxEvent>,
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
            (window, events) = next_window(events);
            let before = acknowledged.len();
            let mut failures = Vec::new();
            for (event, result) in self.window(&names, window).await {
                match result {
                    Ok(Published { duplicate }) => {
                        report.repeated += usize::from(duplicate);
                        self.holds.free_subject(&event.subject);
                        acknowledged.push(event.position);
                    }
                    Err(why) => failures.push((event, why)),
                }
            }
            let some = acknowledged.len() > before;
            if some {
                self.holds.free_lane(lane);
            }
            let now = (self.clock)();
            let mut blocked = HashSet::new();
            for (event, why) in failures {
                failed(&event, &why, report);
                blocked.insert(event.subject.clone());
                // Where others get through, or where no waiting helps, it is about this one.
                if some || why.is_permanent() {
                    self.holds.hold_subject(event.subject, now);
                } else if !self.holds.holds(lane, now) {
                    self.holds.hold_lane(lane, now);
                }
            }
            if self.holds.holds(lane, now) {
                return Ok(());
            }
            events.retain(|event| !blocked.contains(&event.subject));
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

    /// Publishes the oldest refused commands; true when there may be more. They need no lease: a repeat has the same id.
    pub(super) async fn rejected(&mut self, report: &mut RelayReport) -> Result<bool, StoreError> {
        let waiting = self.store.unpublished_rejected(REJECTED_BATCH).await?;
        let (names, max, count) = (names(&self.bus), self.bus.max_payload(), waiting.len());
        let (ids, messages): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .map(|it| (it.id.clone(), rejected_message(it).to_message(&names, max)))
            .unzip();
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
        if published.len() < count {
            self.holds.hold_lane(Lane::Rejected, (self.clock)());
            return Ok(false);
        }
        self.holds.free_lane(Lane::Rejected);
        Ok(count >= REJECTED_BATCH as usize)
    }
}

/// The first event of each subject, and the rest.
fn next_window(events: Vec<OutboxEvent>) -> (Vec<OutboxEvent>, Vec<OutboxEvent>) {
    let mut subjects = HashSet::with_capacity(events.len());
    events.into_iter().partition(|event| subjects.insert(event.subject.clone()))
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
    let out = EventOut {
        id: event.id.clone(),
        workspace: event.workspace.clone(),
        kind: event.kind.clone(),
        subject: event.subject.clone(),
        time: event.occurred_at,
        sequence: event.version,
        ordinal: event.ordinal,
        livemode: event.livemode,
        data: event.data.clone(),
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
    use serde_json::value::RawValue;

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
            data: RawValue::NULL.to_owned(),
            traceparent: None,
        }
    }

    fn positions(events: &[OutboxEvent]) -> Vec<i64> {
        events.iter().map(|event| event.position).collect()
    }

    #[test]
    fn a_window_holds_the_first_event_of_each_subject() {
        let events = vec![event(1, "a"), event(2, "a"), event(3, "b"), event(4, "a"), event(5, "c")];
        let (window, rest) = next_window(events);
        assert_eq!((positions(&window), positions(&rest)), (vec![1, 3, 5], vec![2, 4]));
        let (window, rest) = next_window(rest);
        assert_eq!((positions(&window), positions(&rest)), (vec![2], vec![4]));
    }
}
