//! What the API and the command line say about an onboarding's coming reminders.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use usher_lifecycle::{
    Onboarding,
    person::User,
    reminder::{Configured, outlook as decide},
};
use usher_store::{Store, StoreError};

/// The next `count` slots of an onboarding with their due times, who would be told, or why nothing will come:
/// `{slots: [{slot, due_at}], recipients: [{channel, recipient, why}], reason}`.
///
/// # Errors
/// When the store is away.
pub async fn outlook(
    store: &Store,
    onboarding: &Onboarding,
    configured: Configured,
    now: DateTime<Utc>,
    count: usize,
) -> Result<Value, StoreError> {
    let situation = store.situation(&[onboarding.id], &[]).await?;
    let Some(workspace) = situation.workspaces.get(&onboarding.workspace_id) else { return Ok(Value::Null) };
    let customer = situation.customers.get(&onboarding.customer_id);
    let status = customer.filter(|it| it.deleted_at.is_none()).map(|it| it.fields.status);
    let people: Vec<User> = situation.users.into_values().collect();
    let outlook = decide(&workspace.rules, onboarding, status, &people, configured, now, count);
    let slots: Vec<Value> =
        outlook.slots.iter().map(|slot| json!({"slot": slot.date, "due_at": slot.due_at})).collect();
    let (recipients, nobody) = match outlook.recipients {
        Ok(targets) => (targets, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let recipients: Vec<Value> = recipients
        .iter()
        .map(|it| json!({"channel": it.channel, "recipient": it.recipient.to_string(), "why": it.why.as_str()}))
        .collect();
    let reason = match (onboarding.livemode, outlook.silence.or(nobody)) {
        (_, Some(reason)) => Some(reason.as_str()),
        (false, None) => Some("test_mode"),
        (true, None) => None,
    };
    Ok(json!({"slots": slots, "recipients": recipients, "reason": reason}))
}
