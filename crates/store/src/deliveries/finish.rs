//! Finishing: what became of claimed deliveries, recorded only while the claim still holds.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, Utc};
use usher_lifecycle::{
    event::{Event, EventKind},
    reminder::Kind,
};

use super::{Delivery, Status};
use crate::{
    Store,
    db::{Arg, bulks, statements},
    deliveries,
    error::StoreError,
    outbox,
};

statements! {
    // In the order in which all transactions lock schedules.
    LOCK = "SELECT onboarding_id FROM schedules WHERE onboarding_id {in:$1} ORDER BY onboarding_id {lock}";
}

bulks! {
    FINISH = "deliveries" (
        id: Text, token: Text, status: Text, reason: Text, detail: Json, send_after: Time, sent_at: Time, attempts: Int,
        ambiguities: Int, errors: Json, message_id: Text, now: Time,
    ) "UPDATE deliveries SET status = v.status, reason = v.reason, detail = v.detail, send_after = v.send_after,
         sent_at = v.sent_at, attempts = v.attempts, ambiguities = v.ambiguities, errors = v.errors,
         message_id = v.message_id, updated_at = v.now, lease_until = NULL, lease_token = NULL
       FROM {rows} v
       WHERE deliveries.id = v.id AND deliveries.lease_token = v.token AND deliveries.status = 'pending'
       RETURNING deliveries.id";
    // A slot counts once, however many messages tell of it, and only if nobody took care of it before it was sent.
    REMINDED = "schedules" (onboarding_id: Text, sent_at: Time, slot: Date)
      "UPDATE schedules SET
         last_reminded_at = CASE WHEN schedules.last_reminded_at > v.sent_at THEN schedules.last_reminded_at ELSE v.sent_at END,
         unheeded = schedules.unheeded + CASE WHEN v.slot IS NULL OR schedules.counted_slot >= v.slot
           OR schedules.heeded_at > v.sent_at THEN 0 ELSE 1 END,
         counted_slot = CASE WHEN v.slot IS NULL OR schedules.counted_slot >= v.slot THEN schedules.counted_slot ELSE v.slot END
       FROM {rows} v
       WHERE schedules.onboarding_id = v.onboarding_id";
}

/// A claimed delivery as it is to stand now. `Pending` gives it back, to be tried from `send_after` on.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish {
    /// What proves the claim.
    pub token: String,
    /// The row as it is to stand.
    pub delivery: Delivery,
    /// Deliveries that take its place, written together with it.
    pub follow_ups: Vec<Delivery>,
}

/// How many outcomes were recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Finished {
    /// Recorded.
    pub recorded: u64,
    /// Refused: the lease had ended and somebody else holds or finished the row.
    pub late: u64,
}

/// Attempts before a conflict with another transaction is an error.
const ATTEMPTS: usize = 2;

impl Store {
    /// Records outcomes; with each final one goes its event.
    pub async fn finish(&self, outcomes: Vec<Finish>, now: DateTime<Utc>) -> Result<Finished, StoreError> {
        if outcomes.is_empty() {
            return Ok(Finished::default());
        }
        for _ in 0..ATTEMPTS {
            match self.try_finish(&outcomes, now).await {
                Err(error) if error.is_conflict() => {}
                finished => return finished,
            }
        }
        self.try_finish(&outcomes, now).await
    }

    async fn try_finish(&self, outcomes: &[Finish], now: DateTime<Utc>) -> Result<Finished, StoreError> {
        let rows = outcomes.iter().map(|outcome| row(outcome, now)).collect();
        let mut tx = self.db().begin().await?;
        let recorded = tx.bulk_returning(&FINISH, rows).await?;
        let recorded: HashSet<String> =
            recorded.iter().map(|row| row.text("id")).collect::<Result<_, _>>()?;
        let ours = outcomes.iter().filter(|it| recorded.contains(&it.delivery.id.to_text()));
        let (mut events, mut reminded, mut follow_ups) = (Vec::new(), Vec::new(), Vec::new());
        for Finish { delivery, follow_ups: more, .. } in ours {
            follow_ups.extend_from_slice(more);
            // What their customer is told reminds nobody who is responsible.
            let told_us = delivery.status == Status::Sent && delivery.kind != Kind::Customer;
            if let Some(sent_at) = delivery.sent_at.filter(|_| told_us) {
                let slot = (delivery.kind == Kind::Cadence).then(|| delivery.slot.parse().ok()).flatten();
                reminded.push((delivery.onboarding_id.to_text(), sent_at, slot));
            }
            events.extend(told(delivery.status).map(|kind| delivery.event(&Event::plain(kind), now)));
        }
        let reminded = one_per_onboarding(reminded);
        if tx.is_postgres() {
            tx.all(&LOCK, vec![Arg::texts(reminded.iter().map(|(id, ..)| id))]).await?;
        }
        let row = |(id, at, slot)| vec![Arg::Text(Some(id)), Arg::time(at), Arg::Date(slot)];
        tx.bulk(&REMINDED, reminded.into_iter().map(row).collect()).await?;
        let written = deliveries::insert(&mut tx, &follow_ups).await?;
        let new = follow_ups.iter().filter(|it| written.contains(&it.id.to_text()));
        events.extend(new.clone().filter_map(|it| Some(it.event(&Event::plain(told(it.status)?), now))));
        outbox::insert(&mut tx, events).await?;
        tx.commit().await?;
        let ours = outcomes.iter().map(|it| &it.delivery).filter(|it| recorded.contains(&it.id.to_text()));
        self.metrics().recorded(ours.chain(new.filter(|it| it.status != Status::Pending)));
        let count = recorded.len() as u64;
        Ok(Finished { recorded: count, late: outcomes.len() as u64 - count })
    }
}

/// When an onboarding was reminded, and of which slot of its rhythm.
type RemindedAt = (String, DateTime<Utc>, Option<NaiveDate>);

fn one_per_onboarding(mut reminded: Vec<RemindedAt>) -> Vec<RemindedAt> {
    reminded.sort();
    reminded.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 = earlier.1.max(later.1);
            earlier.2 = earlier.2.max(later.2);
        }
        same
    });
    reminded
}

/// The event that tells of a final status.
pub(crate) const fn told(status: Status) -> Option<EventKind> {
    match status {
        Status::Pending => None,
        Status::Sent => Some(EventKind::ReminderSent),
        Status::Failed | Status::Ambiguous => Some(EventKind::ReminderFailed),
        Status::Skipped => Some(EventKind::ReminderSkipped),
    }
}

fn row(outcome: &Finish, now: DateTime<Utc>) -> Vec<Arg> {
    let it = &outcome.delivery;
    vec![
        Arg::id(it.id),
        Arg::text(&outcome.token),
        Arg::text(it.status.as_str()),
        Arg::Text(it.reason.clone()),
        it.detail.clone().map_or(Arg::Text(None), Arg::Json),
        Arg::time(it.send_after),
        Arg::Time(it.sent_at),
        Arg::int(it.attempts),
        Arg::int(it.ambiguities),
        Arg::Json(usher_lifecycle::wire::value(&it.errors)),
        Arg::Text(it.message_id.clone()),
        Arg::time(now),
    ]
}
