//! Planning: due schedules become ledger rows. The rules decide what and to whom; this only writes their answer down.

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::Instant;
use usher_lifecycle::{
    Onboarding,
    customer::CustomerStatus,
    person::User,
    reminder::{Configured, Kind, Reason, Rules, Target, audience::audience, plan::step, spread},
};
use usher_store::{
    Advance, Delivery, DueSchedule, ManualRequest, PlanInput, PlanWrite, Situation, StoreError,
};

use crate::Scheduler;

/// Schedules that are planned in one transaction.
const BATCH: u32 = 500;

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
        loop {
            let count = self.plan_batch(now).await?;
            report.planned += count;
            if count < BATCH as usize {
                return Ok(report);
            }
        }
    }

    /// Plans one batch of what is due; how many schedules and requests.
    pub(crate) async fn plan_batch(&self, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let (configured, begun) = (self.configured(), Instant::now());
        let planned = self.store.plan(now, BATCH, |input| write(input, configured, now)).await?;
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
    });
    let Some(planned) = step.due else { return };
    let row = |send_after| {
        let slot = planned.slot.date.to_string();
        Delivery::pending(onboarding, Kind::Cadence, slot, planned.slot.due_at, send_after, now)
    };
    match audience(around.rules, onboarding, &around.people, configured, None) {
        Ok(targets) => {
            for target in targets {
                let recipient = target.recipient.to_string();
                let send_after = spread(&around.rules.policy, planned.send_after, &recipient, target.channel);
                write.deliveries.push(addressed(row(send_after), target));
            }
        }
        Err(reason) => write.deliveries.push(unaddressed(row(planned.send_after), reason)),
    }
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
    row.detail = Some(json!({"channels_given": request.channels.is_some()}));
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
        tracing::warn!(
            onboarding = %row.onboarding_id,
            slot = row.slot,
            "a reminder is due and nobody is there to be told; set ops_email or ops_slack_channel"
        );
    }
    row.skipped(reason)
}
