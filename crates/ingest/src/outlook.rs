//! What the API and the command line say about an onboarding's coming reminders.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use usher_lifecycle::{
    Onboarding,
    customer::CustomerStatus,
    person::User,
    reminder::{Channel, Configured, Context, Escalates, Prospect, Reason, Recipient, outlook as decide},
};
use usher_store::{Situation, Store, StoreError};

/// What comes for an onboarding from `now` on, the first `count` of what falls due later than `after` (of all if that is
/// none), who would be told and when, or why nothing will come:
/// `{slots: [{slot, due_at, send_after}], missed: [{reason, first_slot, last_slot, slots}], recipients: [{channel,
/// recipient, name, why, send_at, reason}], customer, escalates: [{after_reminders, to, set_state, recipients, reason}],
/// reason, not_configured, unheeded}`. `send_after` is later than
/// `due_at` for what is overdue; `missed` is what is overdue and will not be sent, with the reason. A recipient
/// has either `send_at` (later still while quiet hours or a day off defer it) or a `reason` why they would get nothing
/// (`muted`). `customer` is the customer's side in the same form; where nobody there would be told, it has the `reason`
/// alone (`not_waiting`), and the rest is null. `escalates` has the steps of escalation that are taken with the next slot if
/// nobody reacts, whom each tells, or the `reason` why nobody. `unheeded` counts the reminders since the last sign of life.
///
/// # Errors
/// When the store is away.
pub async fn outlook(
    store: &Store,
    onboarding: &Onboarding,
    configured: Configured,
    now: DateTime<Utc>,
    after: Option<DateTime<Utc>>,
    count: usize,
) -> Result<Value, StoreError> {
    let situation = store.situation(&[onboarding.id], &[]).await?;
    let Some(workspace) = situation.workspaces.get(&onboarding.workspace_id) else { return Ok(Value::Null) };
    let customer = situation.customers.get(&onboarding.customer_id);
    let people: Vec<User> = situation.users.values().cloned().collect();
    let context = Context {
        rules: &workspace.rules,
        onboarding,
        customer_status: customer.map_or(CustomerStatus::Onboarding, |it| it.fields.status),
        customer_deleted: customer.is_none_or(|it| it.deleted_at.is_some()),
        people: &people,
        primary_contact: situation.contacts.get(&onboarding.customer_id),
        configured,
    };
    let outlook = decide(&context, now, after, count);
    let coming = outlook.coming.iter();
    let slots: Vec<Value> = coming
        .map(|it| json!({"slot": it.slot.date, "due_at": it.slot.due_at, "send_after": it.send_after}))
        .collect();
    let missed = outlook.missed.iter();
    let missed: Vec<Value> = missed
        .map(|gap| json!({"reason": gap.reason, "first_slot": gap.first, "last_slot": gap.last, "slots": gap.count}))
        .collect();
    let (recipients, nobody) = match &outlook.recipients {
        Ok(prospects) => (prospects.iter().map(|it| recipient(it, onboarding, &situation)).collect(), None),
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
        "missed": missed,
        "recipients": recipients,
        "customer": outlook.customer.as_ref().map_or_else(|reason| nobody_there(*reason), |it| recipient(it, onboarding, &situation)),
        "escalates": outlook.escalates.iter().map(|it| escalates(it, onboarding, &situation)).collect::<Vec<_>>(),
        "reason": reason,
        "not_configured": not_configured,
        "unheeded": onboarding.reminders.unheeded,
    }))
}

fn escalates(it: &Escalates, onboarding: &Onboarding, situation: &Situation) -> Value {
    let told = it.to.iter().flatten().map(|it| recipient(it, onboarding, situation));
    json!({
        "after_reminders": it.step.after_reminders,
        "to": it.step.to,
        "set_state": it.step.set_state,
        "recipients": told.collect::<Vec<_>>(),
        "reason": it.to.as_ref().err(),
    })
}

fn nobody_there(reason: Reason) -> Value {
    json!({"channel": null, "recipient": null, "name": null, "why": null, "send_at": null, "reason": reason})
}

fn recipient(prospect: &Prospect, onboarding: &Onboarding, situation: &Situation) -> Value {
    let name = match &prospect.target.recipient {
        Recipient::User(id) => situation.users.get(id).map(|user| user.name.as_str()),
        Recipient::Contact(id) => {
            let contact = situation.contacts.get(&onboarding.customer_id).filter(|contact| contact.id == *id);
            contact.map(|contact| contact.name.as_str())
        }
        Recipient::Email(_) | Recipient::Slack(_) => None,
    };
    json!({
        "channel": prospect.target.channel,
        "recipient": prospect.target.recipient.to_string(),
        "name": name,
        "why": prospect.target.why.as_str(),
        "send_at": prospect.sends.ok(),
        "reason": prospect.sends.err(),
    })
}
