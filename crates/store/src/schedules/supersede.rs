//! What waits gives way to what is planned, within planning's transaction.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use usher_lifecycle::{OnboardingId, reminder::Kind};

use super::PlanWrite;
use crate::{
    db::{Arg, Tx, statements},
    deliveries::{self, Delivery, Status, delivery_columns},
    error::StoreError,
};

statements! {
    // A row that is locked is being claimed or finished: it is not ours to supersede, and planning never waits for it.
    WAITING = "SELECT id, onboarding_id, kind, slot, channel, recipient FROM deliveries
               WHERE onboarding_id {in:$1} AND kind IN ('cadence', 'customer', 'escalation') AND status = 'pending'
                 AND lease_until IS NULL
               ORDER BY id {skip locked}";
    SUPERSEDE = concat!("UPDATE deliveries SET status = CASE WHEN ambiguities > 0 THEN 'ambiguous' WHEN attempts > 0 THEN 'failed'
                 ELSE 'skipped' END,
                 reason = 'superseded', updated_at = $2
               WHERE id {in:$1} RETURNING ", delivery_columns!());
}

/// What waits of an older slot gives way to the new one; an escalation only to one for the same recipient by the same channel.
pub(super) async fn supersede(
    tx: &mut Tx,
    write: &mut PlanWrite,
    now: DateTime<Utc>,
) -> Result<Vec<Delivery>, StoreError> {
    let mut newest: HashMap<OnboardingId, &String> = HashMap::new();
    let mut told: HashMap<(OnboardingId, String, String), &String> = HashMap::new();
    for it in &write.deliveries {
        let slot = match (it.kind, it.channel, &it.recipient) {
            (Kind::Cadence, ..) => newest.entry(it.onboarding_id).or_insert(&it.slot),
            (Kind::Escalation, Some(channel), Some(recipient)) if it.status == Status::Pending => {
                let key = (it.onboarding_id, channel.to_string(), recipient.to_string());
                told.entry(key).or_insert(&it.slot)
            }
            (Kind::Escalation | Kind::Customer | Kind::Manual, ..) => continue,
        };
        *slot = (*slot).max(&it.slot);
    }
    let mut older = Vec::new();
    // A step is taken with a slot, so that its onboarding is among these.
    if newest.is_empty() {
        return Ok(Vec::new());
    }
    for row in tx.all(&WAITING, vec![Arg::texts(newest.keys())]).await? {
        let (onboarding, slot): (OnboardingId, _) = (row.parsed("onboarding_id")?, row.text("slot")?);
        let later = match row.parsed("kind")? {
            Kind::Escalation => told.get(&(onboarding, row.text("channel")?, row.text("recipient")?)),
            Kind::Cadence | Kind::Customer | Kind::Manual => newest.get(&onboarding),
        };
        if later.is_some_and(|later| slot < **later) {
            older.push(row.text("id")?);
        }
    }
    if older.is_empty() {
        return Ok(Vec::new());
    }
    let rows = tx.all(&SUPERSEDE, vec![Arg::Texts(older), Arg::time(now)]).await?;
    let older: Vec<Delivery> = rows.iter().map(deliveries::read).collect::<Result<_, _>>()?;
    for it in older.iter().filter(|it| it.kind == Kind::Escalation) {
        let address = |row: &Delivery| (row.kind, row.onboarding_id, row.channel, row.recipient.clone());
        let later = write.deliveries.iter_mut().find(|row| address(row) == address(it));
        if let Some((later, steps)) = later.zip(it.detail.as_ref()) {
            // Whom those tell is still to be told.
            later.stand_for(steps);
        }
    }
    Ok(older)
}
