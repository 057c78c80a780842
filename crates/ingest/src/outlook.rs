//! What the API and the command line say about an onboarding's coming reminders.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use usher_lifecycle::{
    Onboarding, UserId,
    person::User,
    reminder::{Channel, Configured, Prospect, Recipient, outlook as decide},
};
use usher_store::{Store, StoreError};

/// The next `count` slots of an onboarding with their due times, who would be told and when, or why nothing will come:
/// `{slots: [{slot, due_at}], recipients: [{channel, recipient, name, why, send_at, reason}], reason, not_configured,
/// unheeded}`. A recipient has either `send_at` (later than the due time while quiet hours or a day off defer it) or a
/// `reason` why they would get nothing (`muted`). `unheeded` counts the reminders since the last sign of life.
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
    let people: Vec<User> = situation.users.values().cloned().collect();
    let outlook = decide(&workspace.rules, onboarding, status, &people, configured, now, count);
    let slots: Vec<Value> =
        outlook.slots.iter().map(|slot| json!({"slot": slot.date, "due_at": slot.due_at})).collect();
    let (recipients, nobody) = match &outlook.recipients {
        Ok(prospects) => {
            (prospects.iter().map(|it| recipient(it, onboarding, &situation.users)).collect(), None)
        }
        Err(reason) => (Vec::new(), Some(*reason)),
    };
    let reason = match (onboarding.livemode, outlook.silence.or(nobody)) {
        (_, Some(reason)) => Some(reason.as_str()),
        (false, None) => Some("test_mode"),
        (true, None) => None,
    };
    let not_configured: Vec<&str> = outlook.not_configured.iter().map(|it| Channel::as_str(*it)).collect();
    Ok(json!({
        "slots": slots,
        "recipients": recipients,
        "reason": reason,
        "not_configured": not_configured,
        "unheeded": onboarding.reminders.unheeded,
    }))
}

fn recipient(prospect: &Prospect, onboarding: &Onboarding, users: &HashMap<UserId, User>) -> Value {
    let name = match &prospect.target.recipient {
        Recipient::User(id) => users.get(id).map(|user| user.name.as_str()),
        Recipient::Contact(_) | Recipient::Email(_) | Recipient::Slack(_) => None,
    };
    // That the onboarding is silent is said once, for all.
    let reason = prospect.sends.err().filter(|_| onboarding.reminders.next_reminder_at.is_some());
    json!({
        "channel": prospect.target.channel,
        "recipient": prospect.target.recipient.to_string(),
        "name": name,
        "why": prospect.target.why.as_str(),
        "send_at": prospect.sends.ok(),
        "reason": reason,
    })
}
