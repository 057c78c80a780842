//! Schedules: which onboardings are due to be reminded, and what planning looks at and writes.

mod plan;
mod redate;
mod supersede;

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use usher_lifecycle::{
    CustomerId, Onboarding, OnboardingId, ReminderId, UserId, WorkspaceId,
    customer::{Contact, Customer},
    onboarding::Silent,
    person::User,
    reminder::{Channel, EscalationStep, Recipient, Slot, audience::nudged},
    workspace::Workspace,
};

#[cfg(test)]
pub(crate) use self::{
    plan::{BULKS as PLAN_BULKS, STATEMENTS as PLAN},
    redate::{BULKS as REDATE_BULKS, STATEMENTS as REDATE},
    supersede::STATEMENTS as SUPERSEDE,
};
use crate::{
    Store,
    db::{Arg, Row, Tx, statements},
    deliveries::Delivery,
    error::StoreError,
    records::{self, contact_columns, customer_columns, onboarding_columns, user_columns},
    workspaces,
};

statements! {
    CUSTOMERS = concat!("SELECT ", customer_columns!(), " FROM customers WHERE id {in:$1}");
    PRIMARY_CONTACTS = concat!("SELECT ", contact_columns!(), " FROM contacts t
                   WHERE t.customer_id {in:$1} AND t.is_primary AND t.deleted_at IS NULL");
    USERS = concat!("SELECT ", user_columns!(), " FROM users WHERE id {in:$1}");
    ONBOARDINGS = concat!("SELECT ", onboarding_columns!(), " FROM onboardings o JOIN schedules s ON s.onboarding_id = o.id
                   WHERE o.id {in:$1}");
    LAST_CHANGES = "SELECT subject_id AS onboarding_id, kind, occurred_at FROM events WHERE position IN (
                        SELECT MAX(position) FROM events WHERE subject_id {in:$1} GROUP BY subject_id)";
    LAST_ESCALATIONS = "SELECT onboarding_id, channel, recipient, MAX(slot) AS slot FROM deliveries
                   WHERE onboarding_id {in:$1} AND kind = 'escalation' AND status <> 'skipped' AND channel <> 'none'
                   GROUP BY onboarding_id, channel, recipient";
    NEXT_WAKE = "SELECT MIN(at) AS at FROM (
                     SELECT MIN(due_at) AS at FROM schedules WHERE due_at IS NOT NULL
                     UNION ALL SELECT MIN(send_after) FROM deliveries WHERE status = 'pending' AND lease_until IS NULL
                     UNION ALL SELECT MIN(lease_until) FROM deliveries WHERE status = 'pending' AND lease_until IS NOT NULL
                     UNION ALL SELECT MIN(requested_at) FROM reminder_requests WHERE planned_at IS NULL
                     UNION ALL SELECT MIN(CASE WHEN redating_version < version THEN updated_at
                                               ELSE COALESCE(redating_again, updated_at) END)
                               FROM workspaces WHERE redated_version < version) AS wakes";
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
    /// The primary contacts of those customers whose side is written to.
    pub contacts: HashMap<CustomerId, Contact>,
    /// Everybody with a role and every recipient, deactivated ones too.
    pub users: HashMap<UserId, User>,
    /// The onboardings, where they were asked for by id.
    pub onboardings: HashMap<OnboardingId, Onboarding>,
    /// What happened last to each of those onboardings (an event type), and when.
    pub last_changes: HashMap<OnboardingId, (String, DateTime<Utc>)>,
    /// The last slot with which each recipient was escalated to, where it was asked for: see [`Store::last_escalations`].
    pub last_escalations: LastEscalations,
}

/// The last slot of the escalations of an onboarding to a recipient by a channel.
pub type LastEscalations = HashMap<(OnboardingId, Channel, Recipient), NaiveDate>;

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
    /// The `after_reminders` of the last step of escalation that is taken; none = no further one.
    pub escalated: Option<u32>,
}

/// A step of escalation that is taken with a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Escalated {
    /// Its delivery, or the first of them; the event is told about it.
    pub delivery: Delivery,
    /// The step, which may change the onboarding.
    pub step: EscalationStep,
}

/// What planning writes.
#[derive(Debug, Default)]
pub struct PlanWrite {
    /// The ledger rows.
    pub deliveries: Vec<Delivery>,
    /// Where the schedules stand.
    pub schedules: Vec<Advance>,
    /// The steps of escalation, whose deliveries are among the rows.
    pub escalated: Vec<Escalated>,
}

impl Store {
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
        for row in tx.all(&LAST_CHANGES, vec![Arg::texts(ids)]).await? {
            let change = (row.text("kind")?, row.time("occurred_at")?);
            situation.last_changes.insert(row.parsed("onboarding_id")?, change);
        }
        tx.commit().await?;
        situation.onboardings = onboardings.into_iter().map(|it| (it.id, it)).collect();
        Ok(situation)
    }

    /// The primary contacts of customers, for whoever asks what would be if their side were written to.
    pub async fn primary_contacts(
        &self,
        customers: impl IntoIterator<Item = &CustomerId>,
    ) -> Result<HashMap<CustomerId, Contact>, StoreError> {
        let rows = self.db().all(&PRIMARY_CONTACTS, vec![Arg::texts(customers)]).await?;
        let contacts = rows.iter().map(records::contact).collect::<Result<Vec<_>, _>>()?;
        Ok(contacts.into_iter().map(|it| (it.customer_id, it)).collect())
    }

    /// The last slot with which each recipient of these onboardings was escalated to by each channel, unless that was skipped.
    pub async fn last_escalations(
        &self,
        onboardings: impl IntoIterator<Item = &OnboardingId>,
    ) -> Result<LastEscalations, StoreError> {
        let rows = self.db().all(&LAST_ESCALATIONS, vec![Arg::texts(onboardings)]).await?;
        let read = |row: &Row| {
            let key = (row.parsed("onboarding_id")?, row.parsed("channel")?, row.parsed("recipient")?);
            Ok((key, row.parsed("slot")?))
        };
        rows.iter().map(read).collect()
    }

    /// When there is something to do next; it may lie in the past.
    pub async fn next_wake(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.db().first(&NEXT_WAKE, Vec::new()).await?.map_or(Ok(None), |row| row.opt_time("at"))
    }
}

async fn situation<'a>(
    tx: &mut Tx,
    onboardings: impl Iterator<Item = &'a Onboarding> + Clone,
    recipients: Vec<String>,
) -> Result<Situation, StoreError> {
    let (mut workspaces, mut customers) = (BTreeSet::new(), BTreeSet::new());
    let mut users: BTreeSet<String> = recipients.into_iter().collect();
    for it in onboardings.clone() {
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
    let nudged = onboardings.filter(|it| {
        let workspace = situation.workspaces.get(&it.workspace_id);
        workspace.is_some_and(|workspace| nudged(&workspace.rules, it).is_ok())
    });
    let nudged: BTreeSet<String> = nudged.map(|it| it.customer_id.to_text()).collect();
    // Most workspaces write to no customer, and are asked for no contact.
    if !nudged.is_empty() {
        for row in tx.all(&PRIMARY_CONTACTS, vec![Arg::texts(nudged)]).await? {
            let it = records::contact(&row)?;
            situation.contacts.insert(it.customer_id, it);
        }
    }
    for row in tx.all(&USERS, vec![Arg::texts(users)]).await? {
        let it = records::user(&row)?;
        situation.users.insert(it.id, it);
    }
    Ok(situation)
}
