//! Schedules: which onboardings are due to be reminded. Planning locks the due rows, and in the same transaction writes
//! their deliveries and moves them on.
//!
//! Guarantee: a due row is planned by one worker; after a crash it is still due. Planning twice writes once (the
//! ledger's unique key). A row that cannot be read is moved on with its error in the ledger and holds nobody up.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use usher_lifecycle::{
    CustomerId, Onboarding, OnboardingId, ReminderId, UserId, WorkspaceId,
    customer::Customer,
    event::Event,
    onboarding::Silent,
    person::User,
    reminder::{Channel, Slot},
};

use crate::{
    Store,
    db::{Arg, Row, Tx, bulks, statements},
    deliveries::{self, Delivery, Status},
    error::StoreError,
    outbox,
    records::{self, customer_columns, onboarding_columns, user_columns},
    workspaces::{self, Workspace},
};

statements! {
    DUE = concat!("SELECT ", onboarding_columns!(), " FROM schedules s JOIN onboardings o ON o.id = s.onboarding_id
                   WHERE s.due_at <= $1 ORDER BY s.due_at LIMIT $2 {skip locked:s}");
    REQUESTED = concat!("SELECT ", onboarding_columns!(), ", r.id AS request_id, r.channels, r.requested_at
                   FROM reminder_requests r JOIN onboardings o ON o.id = r.onboarding_id
                   JOIN schedules s ON s.onboarding_id = o.id
                   WHERE r.planned_at IS NULL ORDER BY r.requested_at LIMIT $1 {skip locked:r}");
    PLANNED = "UPDATE reminder_requests SET planned_at = $2 WHERE id {in:$1}";
    CUSTOMERS = concat!("SELECT ", customer_columns!(), " FROM customers WHERE id {in:$1}");
    USERS = concat!("SELECT ", user_columns!(), " FROM users WHERE id {in:$1}");
    ONBOARDINGS = concat!("SELECT ", onboarding_columns!(), " FROM onboardings o JOIN schedules s ON s.onboarding_id = o.id
                   WHERE o.id {in:$1}");
    NEXT_WAKE = "SELECT MIN(at) AS at FROM (
                     SELECT MIN(due_at) AS at FROM schedules WHERE due_at IS NOT NULL
                     UNION ALL SELECT MIN(send_after) FROM deliveries WHERE status = 'pending' AND lease_until IS NULL
                     UNION ALL SELECT MIN(lease_until) FROM deliveries WHERE status = 'pending' AND lease_until IS NOT NULL
                     UNION ALL SELECT MIN(requested_at) FROM reminder_requests WHERE planned_at IS NULL) AS wakes";
    STUCK = "UPDATE schedules SET due_at = $2 WHERE onboarding_id = $1";
}

bulks! {
    ADVANCE = "schedules" (
        onboarding_id: Text, slot: Date, due_at: Time, last_slot: Date, silent_since: Time, silent_reason: Text,
    ) "UPDATE schedules SET slot = v.slot, due_at = v.due_at, last_slot = COALESCE(v.last_slot, schedules.last_slot),
         silent_since = v.silent_since, silent_reason = v.silent_reason
       FROM {rows} v WHERE schedules.onboarding_id = v.onboarding_id";
    SUPERSEDE = "deliveries" (onboarding_id: Text, slot: Text, now: Time)
      "UPDATE deliveries SET status = CASE WHEN attempts > 0 THEN 'failed' ELSE 'skipped' END,
         reason = 'superseded', updated_at = v.now, lease_until = NULL, lease_token = NULL
       FROM {rows} v
       WHERE deliveries.onboarding_id = v.onboarding_id AND deliveries.kind = 'cadence'
         AND deliveries.status = 'pending' AND deliveries.slot < v.slot AND deliveries.lease_until IS NULL
       RETURNING deliveries.id, deliveries.workspace_id, deliveries.livemode, deliveries.onboarding_id, deliveries.kind,
         deliveries.slot, deliveries.channel, deliveries.recipient, deliveries.why, deliveries.status,
         deliveries.reason, deliveries.detail, deliveries.due_at, deliveries.send_after, deliveries.sent_at,
         deliveries.attempts, deliveries.ambiguities, deliveries.errors, deliveries.message_id,
         deliveries.planned_at";
}

/// An onboarding whose reminder is due.
#[derive(Debug, Clone, PartialEq)]
pub struct DueSchedule {
    /// The onboarding, with its schedule.
    pub onboarding: Onboarding,
    /// The slot that fell due.
    pub pending: Slot,
}

/// A reminder that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ManualRequest {
    /// Its id, also its slot in the ledger.
    pub id: ReminderId,
    /// The onboarding.
    pub onboarding: Onboarding,
    /// The channels asked for; none = the onboarding's own.
    pub channels: Option<Vec<Channel>>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
}

/// The records around onboardings, as they stand now.
#[derive(Debug, Clone, Default)]
pub struct Situation {
    /// The workspaces.
    pub workspaces: HashMap<WorkspaceId, Workspace>,
    /// The customers, deleted ones too.
    pub customers: HashMap<CustomerId, Customer>,
    /// Everybody with a role and every recipient, deactivated ones too.
    pub users: HashMap<UserId, User>,
    /// The onboardings, where they were asked for by id.
    pub onboardings: HashMap<OnboardingId, Onboarding>,
}

/// What planning looks at.
#[derive(Debug, Default)]
pub struct PlanInput {
    /// Onboardings whose reminder is due.
    pub due: Vec<DueSchedule>,
    /// Reminders that were asked for.
    pub manual: Vec<ManualRequest>,
    /// The records around them.
    pub situation: Situation,
}

/// Where a schedule stands after planning.
#[derive(Debug, Clone, PartialEq)]
pub struct Advance {
    /// Whose.
    pub onboarding_id: OnboardingId,
    /// The next reminder, if one will come.
    pub next: Option<Slot>,
    /// The slot that was planned; none = none was.
    pub last_slot: Option<NaiveDate>,
    /// Since when and why slots pass unsent.
    pub silent: Option<Silent>,
}

/// What planning writes.
#[derive(Debug, Default)]
pub struct PlanWrite {
    /// The ledger rows.
    pub deliveries: Vec<Delivery>,
    /// Where the schedules stand.
    pub schedules: Vec<Advance>,
}

/// How long a schedule that cannot be read is left alone.
const UNREADABLE: TimeDelta = TimeDelta::hours(1);

impl Store {
    /// Plans up to `limit` due schedules and `limit` requests in one transaction: `planner` says what to write. The
    /// number of rows that were looked at; fewer than `limit` means that no more are due, or others hold them.
    pub async fn plan(
        &self,
        now: DateTime<Utc>,
        limit: u32,
        planner: impl FnOnce(&PlanInput) -> PlanWrite + Send,
    ) -> Result<usize, StoreError> {
        let mut tx = self.db().begin().await?;
        let mut input = PlanInput::default();
        for row in tx.all(&DUE, vec![Arg::time(now), Arg::int(limit.into())]).await? {
            match due(&row) {
                Ok(due) => input.due.push(due),
                Err(error) => {
                    let id = row.text("id")?;
                    tracing::error!(onboarding = id, %error, "a schedule cannot be read; it is tried again in an hour");
                    tx.execute(&STUCK, vec![Arg::text(id), Arg::time(now + UNREADABLE)]).await?;
                }
            }
        }
        for row in tx.all(&REQUESTED, vec![Arg::int(limit.into())]).await? {
            input.manual.push(requested(&row)?);
        }
        let count = input.due.len() + input.manual.len();
        if count == 0 {
            tx.commit().await?;
            return Ok(0);
        }
        let onboardings =
            input.due.iter().map(|it| &it.onboarding).chain(input.manual.iter().map(|it| &it.onboarding));
        input.situation = situation(&mut tx, onboardings, Vec::new()).await?;
        let write = planner(&input);
        let requests = Arg::texts(input.manual.iter().map(|it| it.id));
        write_plan(&mut tx, write, now).await?;
        tx.execute(&PLANNED, vec![requests, Arg::time(now)]).await?;
        tx.commit().await?;
        Ok(count)
    }

    /// Onboardings and the records around them, as they stand now.
    pub async fn situation(
        &self,
        ids: &[OnboardingId],
        recipients: &[UserId],
    ) -> Result<Situation, StoreError> {
        let mut tx = self.db().begin_read().await?;
        let mut onboardings = Vec::with_capacity(ids.len());
        for row in tx.all(&ONBOARDINGS, vec![Arg::texts(ids)]).await? {
            onboardings.push(records::onboarding(&row)?);
        }
        let recipients = recipients.iter().map(ToString::to_string).collect();
        let mut situation = situation(&mut tx, onboardings.iter(), recipients).await?;
        tx.commit().await?;
        situation.onboardings = onboardings.into_iter().map(|it| (it.id, it)).collect();
        Ok(situation)
    }

    /// When there is something to do next; it may lie in the past.
    pub async fn next_wake(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.db().first(&NEXT_WAKE, Vec::new()).await?.map_or(Ok(None), |row| row.opt_time("at"))
    }
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

async fn situation(
    tx: &mut Tx,
    onboardings: impl Iterator<Item = &Onboarding>,
    recipients: Vec<String>,
) -> Result<Situation, StoreError> {
    let (mut workspaces, mut customers) = (BTreeSet::new(), BTreeSet::new());
    let mut users: BTreeSet<String> = recipients.into_iter().collect();
    for it in onboardings {
        workspaces.insert(it.workspace_id.to_text());
        customers.insert(it.customer_id.to_text());
        users.extend(it.roles.people().map(|(_, user)| user.to_text()));
    }
    let mut situation = Situation::default();
    for it in workspaces::by_ids(tx, workspaces.into_iter().collect()).await? {
        situation.workspaces.insert(it.id, it);
    }
    for row in tx.all(&CUSTOMERS, vec![Arg::texts(customers)]).await? {
        let it = records::customer(&row)?;
        situation.customers.insert(it.id, it);
    }
    for row in tx.all(&USERS, vec![Arg::texts(users)]).await? {
        let it = records::user(&row)?;
        situation.users.insert(it.id, it);
    }
    Ok(situation)
}

async fn write_plan(tx: &mut Tx, write: PlanWrite, now: DateTime<Utc>) -> Result<(), StoreError> {
    // What waits of an older slot gives way to the new one.
    let newer: HashMap<OnboardingId, &String> = write
        .deliveries
        .iter()
        .filter(|it| it.kind == usher_lifecycle::reminder::Kind::Cadence)
        .map(|it| (it.onboarding_id, &it.slot))
        .collect();
    let rows =
        newer.into_iter().map(|(id, slot)| vec![Arg::id(id), Arg::text(slot), Arg::time(now)]).collect();
    let mut told = Vec::new();
    for row in tx.bulk_returning(&SUPERSEDE, rows).await? {
        told.push(deliveries::read(&row)?);
    }
    let advances = write.schedules.iter().map(|it| {
        vec![
            Arg::id(it.onboarding_id),
            Arg::Date(it.next.map(|slot| slot.date)),
            Arg::Time(it.next.map(|slot| slot.due_at)),
            Arg::Date(it.last_slot),
            Arg::Time(it.silent.map(|it| it.since)),
            Arg::opt(it.silent.map(|it| it.reason)),
        ]
    });
    tx.bulk(&ADVANCE, advances.collect()).await?;
    let written = deliveries::insert(tx, &write.deliveries).await?;
    let new = write.deliveries.into_iter().filter(|it| written.contains(&it.id.to_text()));
    told.extend(new.filter(|it| it.status != Status::Pending));
    let events = told
        .iter()
        .filter_map(|it| Some(it.event(&Event::plain(deliveries::told(it.status)?), now)))
        .collect();
    outbox::insert(tx, events).await
}
