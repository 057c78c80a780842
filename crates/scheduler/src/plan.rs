//! Planning: due schedules become ledger rows. The rules decide what and to whom; this only writes their answer down.

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::Instant;
use usher_lifecycle::{
    Onboarding,
    customer::{Contact, CustomerStatus},
    person::User,
    reminder::{
        Configured, DueNow, EscalationStep, Kind, Reason, Rules, Taken, Target, Told,
        audience::{audience, nudge},
        escalate,
        plan::step,
        spread,
    },
};
use usher_store::{
    Advance, Delivery, DueSchedule, Escalated, ManualRequest, PlanInput, PlanWrite, Situation, StoreError,
};

use crate::{Scheduler, steps};

/// Schedules that are planned in one transaction.
pub(crate) const BATCH: u32 = 500;

/// What a planning pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlanReport {
    /// Schedules and requests that were planned.
    pub planned: usize,
}

impl Scheduler {
    /// Plans everything that is due at `now`, batch by batch.
    pub async fn plan(&self, now: DateTime<Utc>) -> Result<PlanReport, StoreError> {
        let mut report = PlanReport::default();
        while self.redate(now).await? {}
        loop {
            let count = self.plan_batch(now).await?;
            report.planned += count;
            if count < self.batch as usize {
                return Ok(report);
            }
        }
    }

    /// Carries a changed policy on by one batch; whether there was one, so that there may be more.
    pub(crate) async fn redate(&self, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let looked_at = self.store.redate(now, self.batch).await?;
        if let Some(onboardings) = looked_at {
            tracing::info!(onboardings, "pending reminders follow the changed policy of their workspace");
        }
        Ok(looked_at.is_some())
    }

    /// Plans one batch of what is due; how many schedules and requests.
    pub(crate) async fn plan_batch(&self, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let (configured, begun) = (self.configured(), Instant::now());
        let planned = self.store.plan(now, self.batch, |input| write(input, configured, now)).await?;
        self.metrics.planned(begun.elapsed());
        if planned > 0 {
            self.wrote_events();
            tracing::info!(planned, "reminders planned");
        }
        Ok(planned)
    }
}

/// What planning writes for what it sees.
fn write(input: &PlanInput, configured: Configured, now: DateTime<Utc>) -> PlanWrite {
    let mut write = PlanWrite::default();
    for due in &input.due {
        scheduled(due, &input.situation, configured, now, &mut write);
    }
    for request in &input.manual {
        manual(request, &input.situation, configured, now, &mut write);
    }
    write
}

/// The records that the rules ask about an onboarding.
struct Around<'a> {
    rules: &'a Rules,
    status: CustomerStatus,
    customer_deleted: bool,
    people: Vec<User>,
    contact: Option<&'a Contact>,
}

impl<'a> Around<'a> {
    fn of(onboarding: &Onboarding, situation: &'a Situation, fallback: &'a Rules) -> Self {
        let customer = situation.customers.get(&onboarding.customer_id);
        Self {
            rules: situation
                .workspaces
                .get(&onboarding.workspace_id)
                .map_or(fallback, |workspace| &workspace.rules),
            status: customer.map_or(CustomerStatus::Onboarding, |customer| customer.fields.status),
            customer_deleted: customer.is_none_or(|customer| customer.deleted_at.is_some()),
            people: people(onboarding, situation),
            contact: situation.contacts.get(&onboarding.customer_id),
        }
    }
}

/// Everybody with a role on the onboarding, each once, whether active or not.
pub(crate) fn people(onboarding: &Onboarding, situation: &Situation) -> Vec<User> {
    let mut people: Vec<User> = Vec::new();
    for (_, id) in onboarding.roles.people() {
        if let Some(user) = situation.users.get(&id)
            && people.iter().all(|known| known.id != id)
        {
            people.push(user.clone());
        }
    }
    people
}

fn scheduled(
    due: &DueSchedule,
    situation: &Situation,
    configured: Configured,
    now: DateTime<Utc>,
    write: &mut PlanWrite,
) {
    let onboarding = &due.onboarding;
    let defaults = Rules::default();
    let around = Around::of(onboarding, situation, &defaults);
    let step = step(around.rules, onboarding, around.status, around.customer_deleted, due.pending, now);
    write.deliveries.extend(step.gaps.iter().map(|gap| Delivery::gap(onboarding, *gap, now)));
    write.schedules.push(Advance {
        onboarding_id: onboarding.id,
        next: step.next,
        last_slot: step.due.map(|due| due.slot.date),
        silent: step.silent,
        escalated: None,
    });
    let Some(planned) = step.due else { return };
    escalated(onboarding, &around, planned, configured, now, write);
    let row = |send_after| {
        let slot = planned.slot.date.to_string();
        Delivery::pending(onboarding, Kind::Cadence, slot, planned.slot.due_at, send_after, now)
    };
    match audience(around.rules, onboarding, &around.people, configured, None) {
        Ok(targets) => {
            let to = |target| spread_to(around.rules, row(planned.send_after), target);
            write.deliveries.extend(targets.into_iter().map(to));
        }
        Err(reason) => write.deliveries.push(unaddressed(row(planned.send_after), reason)),
    }
    nudged(onboarding, &around, planned, configured, now, write);
}

/// A row to a target, at the moment that spreading gives its message.
fn spread_to(rules: &Rules, row: Delivery, target: Target) -> Delivery {
    let recipient = target.recipient.to_string();
    let send_after = spread(&rules.policy, row.send_after, &recipient, target.channel);
    addressed(Delivery { send_after, ..row }, target)
}

/// The customer's side of the slot: a delivery of its own, in no digest of the team's.
fn nudged(
    onboarding: &Onboarding,
    around: &Around<'_>,
    planned: DueNow,
    configured: Configured,
    now: DateTime<Utc>,
    write: &mut PlanWrite,
) {
    let Some(nudge) = nudge(around.rules, onboarding, around.contact, configured) else { return };
    let slot = planned.slot.date.to_string();
    let (due_at, send_after) = (planned.slot.due_at, planned.send_after);
    let row = Delivery::pending(onboarding, Kind::Customer, slot, due_at, send_after, now);
    write.deliveries.push(match nudge {
        Ok(target) => spread_to(around.rules, row, target),
        Err(reason) => unaddressed(row, reason),
    });
}

/// The steps of escalation that are to be taken as another reminder is due.
fn escalated(
    onboarding: &Onboarding,
    around: &Around<'_>,
    planned: DueNow,
    configured: Configured,
    now: DateTime<Utc>,
    write: &mut PlanWrite,
) {
    let found = escalate(around.rules, onboarding, &around.people, configured);
    let detail = |step: EscalationStep| steps::detail(step, onboarding.reminders.unheeded);
    let row = |told: Told| {
        let slot = planned.slot.date.to_string();
        let (due_at, send_after) = (planned.slot.due_at, planned.send_after);
        let row = Delivery::pending(onboarding, Kind::Escalation, slot, due_at, send_after, now);
        let mut row = Delivery { detail: Some(detail(told.step)), ..row };
        for step in told.also {
            row.stand_for(&detail(step));
        }
        match told.to {
            Ok(target) => spread_to(around.rules, row, target),
            Err(reason) => unaddressed(row, reason),
        }
    };
    let reached = found.reached();
    let rows: Vec<Delivery> = found.rows.into_iter().map(row).collect();
    for Taken { step, row, .. } in found.steps {
        if let Some(row) = rows.get(row) {
            let delivery = Delivery { detail: Some(detail(step)), ..row.clone() };
            write.escalated.push(Escalated { delivery, step });
        }
    }
    if let Some(advance) = write.schedules.last_mut() {
        advance.escalated = reached;
    }
    write.deliveries.extend(rows);
}

/// "Remind now": no rhythm, no hours; the same audience, the same ledger, the same dispatch.
fn manual(
    request: &ManualRequest,
    situation: &Situation,
    configured: Configured,
    now: DateTime<Utc>,
    write: &mut PlanWrite,
) {
    let onboarding = &request.onboarding;
    let defaults = Rules::default();
    let around = Around::of(onboarding, situation, &defaults);
    // Another host's clock may be ahead of ours.
    let (at, send_after) = (request.requested_at, request.requested_at.min(now));
    let mut row = Delivery::pending(onboarding, Kind::Manual, request.id.to_text(), at, send_after, now);
    row.detail = Some(json!({"channels_given": request.channels.is_some(), "channels": request.channels}));
    match audience(around.rules, onboarding, &around.people, configured, request.channels.as_deref()) {
        Ok(targets) => {
            for target in targets {
                let own = Delivery { id: usher_store::mint::reminder(now), ..row.clone() };
                write.deliveries.push(addressed(own, target));
            }
        }
        Err(reason) => write.deliveries.push(unaddressed(row, reason)),
    }
}

pub(crate) fn addressed(row: Delivery, target: Target) -> Delivery {
    let livemode = row.livemode;
    let row = row.to(target.channel, target.recipient, target.why.as_str());
    if livemode { row } else { row.skipped(Reason::TestMode) }
}

pub(crate) fn unaddressed(row: Delivery, reason: Reason) -> Delivery {
    if reason == Reason::NoRecipient {
        let remedy = match row.kind {
            Kind::Cadence | Kind::Manual | Kind::Escalation => "set ops_email or ops_slack_channel",
            Kind::Customer => "the customer has no contact",
        };
        tracing::warn!(
            onboarding = %row.onboarding_id,
            slot = row.slot,
            kind = row.kind.as_str(),
            remedy,
            "a reminder is due and nobody is there to be told"
        );
    }
    row.skipped(reason)
}
