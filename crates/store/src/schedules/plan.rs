//! Planning: locks the due rows, and in the same transaction writes their deliveries and moves them on.
//!
//! Guarantee: a due row is planned by one worker; after a crash it is still due. Planning twice writes once (the
//! ledger's unique key). A row that cannot be read or planned is moved on with its error in the ledger: while it stays
//! due, no delivery of the rhythm may be sent, of anybody.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use usher_lifecycle::{
    Command,
    event::{Actor, Event, EventKind},
    reminder::{Kind, Slot},
};

use super::{DueSchedule, Escalated, ManualRequest, PlanInput, PlanWrite, situation, supersede::supersede};
use crate::{
    Dedupe, Ref, Request, Store, apply,
    db::{Arg, Row, Tx, bulks, statements},
    deliveries::{self, AttemptError, Delivery, Status},
    error::StoreError,
    ids, outbox,
    records::{self, onboarding_columns},
};

statements! {
    // The minimum is read off the index. Asked whether any is due, Postgres supposes, for a time it does not know yet, that
    // a third of them are, and reads the table from end to end when none is.
    WAITS = "SELECT 1 AS one WHERE (SELECT MIN(due_at) FROM schedules WHERE due_at IS NOT NULL) <= $1
                                OR EXISTS (SELECT 1 FROM reminder_requests WHERE planned_at IS NULL)";
    DUE = concat!("SELECT ", onboarding_columns!(), " FROM schedules s JOIN onboardings o ON o.id = s.onboarding_id
                   WHERE s.due_at <= $1 ORDER BY s.due_at, s.onboarding_id LIMIT $2 {skip locked:o, s}");
    REQUESTED = concat!("SELECT ", onboarding_columns!(), ", r.id AS request_id, r.channels, r.requested_at
                   FROM reminder_requests r JOIN onboardings o ON o.id = r.onboarding_id
                   JOIN schedules s ON s.onboarding_id = o.id
                   WHERE r.planned_at IS NULL ORDER BY r.requested_at, r.id LIMIT $1 {skip locked:r}");
    PLANNED = "UPDATE reminder_requests SET planned_at = $2 WHERE id {in:$1} AND planned_at IS NULL";
    MOVE_ON = "UPDATE schedules SET due_at = $3 WHERE onboarding_id = $1 AND due_at <= $2";
}

bulks! {
    ADVANCE = "schedules" (
        onboarding_id: Text, slot: Date, due_at: Time, last_slot: Date, silent_since: Time, silent_reason: Text,
        escalated: Int,
    ) "UPDATE schedules SET slot = v.slot, due_at = v.due_at, last_slot = COALESCE(v.last_slot, schedules.last_slot),
         silent_since = v.silent_since, silent_reason = v.silent_reason,
         escalated = COALESCE(v.escalated, schedules.escalated)
       FROM {rows} v WHERE schedules.onboarding_id = v.onboarding_id";
}

/// How long a schedule that cannot be planned is left alone.
const SET_ASIDE: TimeDelta = TimeDelta::hours(1);
/// The reason in the ledger.
const FAULT: &str = "internal_error";

/// A row that planning looked at, as far as it is needed when it cannot be planned.
struct Looked {
    onboarding: String,
    request: Option<String>,
    /// None when not even this much of the row can be read.
    ledger: Option<Delivery>,
}

impl Store {
    /// Plans up to `limit` due schedules and `limit` requests in one transaction: `planner` says what to write. The
    /// number of rows that were looked at; fewer than `limit` means that no more are due, or others hold them.
    ///
    /// When that fails for a reason that may lie in one row, the rows are planned one by one; one that fails alone gets
    /// a row in the ledger (failed, `internal_error`) and, if it is a schedule, is due again in an hour.
    pub async fn plan(
        &self,
        now: DateTime<Utc>,
        limit: u32,
        planner: impl Fn(&PlanInput) -> PlanWrite + Send + Sync,
    ) -> Result<usize, StoreError> {
        // Often it is a message that waits, and nothing to be planned: then nothing is locked.
        if self.db().first(&WAITS, vec![Arg::time(now)]).await?.is_none() {
            return Ok(0);
        }
        match self.plan_together(now, (limit, limit), &planner, &mut Vec::new()).await {
            Err(error) if !error.is_away() => {
                tracing::warn!(%error, "a batch cannot be planned; its rows are planned one by one");
            }
            done => return done,
        }
        let mut count = 0;
        for one in [(1, 0), (0, 1)] {
            for _ in 0..limit {
                let mut looked = Vec::new();
                match self.plan_together(now, one, &planner, &mut looked).await {
                    Ok(0) => break,
                    Ok(done) => count += done,
                    Err(error) if error.is_away() || looked.is_empty() => return Err(error),
                    Err(error) if error.is_conflict() => {}
                    Err(error) => {
                        for it in looked {
                            self.set_aside(it, &error, now).await?;
                            count += 1;
                        }
                    }
                }
            }
        }
        Ok(count)
    }

    async fn plan_together(
        &self,
        now: DateTime<Utc>,
        (schedules, requests): (u32, u32),
        planner: &(impl Fn(&PlanInput) -> PlanWrite + Sync),
        looked: &mut Vec<Looked>,
    ) -> Result<usize, StoreError> {
        let mut tx = self.db().begin().await?;
        match plan_in(&mut tx, now, (schedules, requests), planner, looked).await {
            Ok(told) => {
                tx.commit().await?;
                self.metrics().recorded(told.iter());
            }
            Err(error) => {
                // At once: a transaction that is only dropped may hold its rows while they are planned one by one, and
                // they would look like somebody else's.
                if let Err(failed) = tx.rollback().await {
                    tracing::warn!(error = %failed, "a plan cannot be rolled back");
                }
                return Err(error);
            }
        }
        Ok(looked.len())
    }

    /// Moves a row on that cannot be planned; if even its error cannot be written, without.
    async fn set_aside(&self, it: Looked, error: &StoreError, now: DateTime<Utc>) -> Result<(), StoreError> {
        let bare = Looked { onboarding: it.onboarding.clone(), request: it.request.clone(), ledger: None };
        for it in [it, bare] {
            let mut tx = self.db().begin().await?;
            match set_aside(&mut tx, it, error, now).await {
                Ok(told) => {
                    tx.commit().await?;
                    self.metrics().recorded(told.iter());
                    return Ok(());
                }
                Err(error) if error.is_away() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "the fault of a schedule cannot be written to the ledger");
                }
            }
        }
        Err(StoreError::Bug("a schedule that cannot be planned cannot be moved on".into()))
    }
}

async fn plan_in(
    tx: &mut Tx,
    now: DateTime<Utc>,
    (schedules, requests): (u32, u32),
    planner: &(impl Fn(&PlanInput) -> PlanWrite + Sync),
    looked: &mut Vec<Looked>,
) -> Result<Vec<Delivery>, StoreError> {
    let mut told = Vec::new();
    let mut input = PlanInput::default();
    let mut unreadable = Vec::new();
    for row in tx.all(&DUE, vec![Arg::time(now), Arg::int(schedules.into())]).await? {
        let it = Looked::schedule(&row, now)?;
        match due(&row) {
            Ok(due) => input.due.push(due),
            Err(error) => unreadable.push((Looked::schedule(&row, now)?, error)),
        }
        looked.push(it);
    }
    for row in tx.all(&REQUESTED, vec![Arg::int(requests.into())]).await? {
        let it = Looked::request(&row, now)?;
        match requested(&row) {
            Ok(request) => input.manual.push(request),
            Err(error) => unreadable.push((Looked::request(&row, now)?, error)),
        }
        looked.push(it);
    }
    for (it, error) in unreadable {
        told.extend(set_aside(tx, it, &error, now).await?);
    }
    if !input.due.is_empty() || !input.manual.is_empty() {
        let onboardings = input.due.iter().map(|it| &it.onboarding);
        let onboardings = onboardings.chain(input.manual.iter().map(|it| &it.onboarding));
        input.situation = situation(tx, onboardings, Vec::new()).await?;
        let write = catch_unwind(AssertUnwindSafe(|| planner(&input)));
        let write = write.map_err(|_| StoreError::Bug("the planner panicked".into()))?;
        told.extend(write_plan(tx, write, now).await?);
        let requests = Arg::texts(input.manual.iter().map(|it| it.id));
        tx.execute(&PLANNED, vec![requests, Arg::time(now)]).await?;
    }
    Ok(told)
}

impl Looked {
    fn schedule(row: &Row, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let ledger = row
            .date("slot")
            .and_then(|slot| ledger_row(row, Kind::Cadence, slot.to_string(), row.time("due_at")?, now));
        Ok(Self { onboarding: row.text("id")?, request: None, ledger: ledger.ok() })
    }

    fn request(row: &Row, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let request = row.text("request_id")?;
        let ledger =
            row.time("requested_at").and_then(|at| ledger_row(row, Kind::Manual, request.clone(), at, now));
        Ok(Self { onboarding: row.text("id")?, request: Some(request), ledger: ledger.ok() })
    }
}

/// The ledger's row for a slot that cannot be planned: nobody gets it.
fn ledger_row(
    row: &Row,
    kind: Kind,
    slot: String,
    due_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: ids::mint::reminder(now),
        workspace_id: row.parsed("workspace_id")?,
        livemode: row.bool("livemode")?,
        onboarding_id: row.parsed("id")?,
        kind,
        slot,
        channel: None,
        recipient: None,
        why: String::new(),
        status: Status::Failed,
        reason: Some(FAULT.into()),
        detail: None,
        due_at,
        send_after: now,
        sent_at: None,
        attempts: 0,
        ambiguities: 0,
        errors: Vec::new(),
        message_id: None,
        planned_at: now,
        retries: 0,
        retried_at: None,
        forgiven: 0,
    })
}

async fn set_aside(
    tx: &mut Tx,
    it: Looked,
    error: &StoreError,
    now: DateTime<Utc>,
) -> Result<Option<Delivery>, StoreError> {
    let (onboarding, request) = (it.onboarding, it.request);
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(onboarding, request, %error, cause, "a reminder cannot be planned; it is set aside");
    let moved = if let Some(request) = request {
        tx.execute(&PLANNED, vec![Arg::Texts(vec![request]), Arg::time(now)]).await?
    } else {
        let args = vec![Arg::text(onboarding), Arg::time(now), Arg::time(now + SET_ASIDE)];
        tx.execute(&MOVE_ON, args).await?
    };
    // None: somebody else has planned it meanwhile.
    let Some(mut row) = it.ledger.filter(|_| moved > 0) else { return Ok(None) };
    row.errors.push(AttemptError { at: now, code: FAULT.into(), detail: error.to_string() });
    if deliveries::insert(tx, std::slice::from_ref(&row)).await?.is_empty() {
        return Ok(None);
    }
    outbox::insert(tx, vec![row.event(&Event::plain(EventKind::ReminderFailed), now)]).await?;
    Ok(Some(row))
}

fn due(row: &Row) -> Result<DueSchedule, StoreError> {
    let onboarding = records::onboarding(row)?;
    let pending = Slot { date: row.date("slot")?, due_at: row.time("due_at")? };
    Ok(DueSchedule { onboarding, pending })
}

fn requested(row: &Row) -> Result<ManualRequest, StoreError> {
    let channels = row.opt_json("channels")?.map(serde_json::from_value).transpose();
    Ok(ManualRequest {
        id: row.parsed("request_id")?,
        onboarding: records::onboarding(row)?,
        channels: channels.map_err(|error| StoreError::decode("channels", error.to_string()))?,
        requested_at: row.time("requested_at")?,
    })
}

/// Writes what was planned; the rows that ended in it, skipped or superseded.
async fn write_plan(
    tx: &mut Tx,
    mut write: PlanWrite,
    now: DateTime<Utc>,
) -> Result<Vec<Delivery>, StoreError> {
    let mut told = supersede(tx, &mut write, now).await?;
    let advances = write.schedules.iter().map(|it| {
        vec![
            Arg::id(it.onboarding_id),
            Arg::Date(it.next.map(|slot| slot.date)),
            Arg::Time(it.next.map(|slot| slot.due_at)),
            Arg::Date(it.last_slot),
            Arg::Time(it.silent.map(|it| it.since)),
            Arg::opt(it.silent.map(|it| it.reason)),
            Arg::Int(it.escalated.map(i64::from)),
        ]
    });
    tx.bulk(&ADVANCE, advances.collect()).await?;
    let written = deliveries::insert(tx, &write.deliveries).await?;
    let new = write.deliveries.into_iter().filter(|it| written.contains(&it.id.to_text()));
    told.extend(new.filter(|it| it.status != Status::Pending));
    let events =
        told.iter().filter_map(|it| Some(it.event(&Event::plain(deliveries::told(it.status)?), now)));
    let taken: Vec<Escalated> =
        write.escalated.into_iter().filter(|it| written.contains(&it.delivery.id.to_text())).collect();
    let earlier = |place: usize, it: &Escalated| {
        taken.iter().take(place).filter(|other| other.delivery.id == it.delivery.id).count()
    };
    let escalations = taken.iter().enumerate();
    let escalations = escalations.map(|(place, it)| escalation_event(&it.delivery, earlier(place, it), now));
    let events = escalations.chain(events).collect();
    outbox::insert(tx, events).await?;
    set_states(tx, &taken, now).await?;
    Ok(told)
}

/// Version 0: it comes before all that becomes of the delivery, which may stand for several steps.
fn escalation_event(delivery: &Delivery, ordinal: usize, now: DateTime<Utc>) -> outbox::NewEvent {
    let mut event = Event::plain(EventKind::ReminderEscalated);
    if let Some(Value::Object(step)) = &delivery.detail {
        event.extra.clone_from(step);
    }
    let ordinal = i64::try_from(ordinal).unwrap_or(i64::MAX);
    outbox::NewEvent { version: 0, ordinal, ..delivery.event(&event, now) }
}

/// What steps of escalation make of the state, by the write path of all changes and in the same transaction.
async fn set_states(tx: &mut Tx, taken: &[Escalated], now: DateTime<Utc>) -> Result<(), StoreError> {
    let request = |it: &Escalated| {
        let request = Request {
            workspace_id: it.delivery.workspace_id,
            livemode: it.delivery.livemode,
            command: Command::ChangeOnboarding(it.step.change()?),
            target: Some(Ref::Id(it.delivery.onboarding_id.to_text())),
            actor: Actor::system(),
            dedupe: Dedupe::None,
            expected_version: None,
            traceparent: None,
        };
        Some((request, now))
    };
    let requests: Vec<_> = taken.iter().filter_map(request).collect();
    if requests.is_empty() {
        return Ok(());
    }
    // The onboardings are locked: nobody was faster.
    let answers = apply::within(tx, &requests).await?.unwrap_or_default();
    for refusal in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        tracing::warn!(code = refusal.code.as_str(), "an escalation cannot set the state");
    }
    Ok(())
}
