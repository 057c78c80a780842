//! `/onboardings/{id}/reminders`: what was sent to whom and why not, and "remind now".

use axum::{http::StatusCode, response::Response};
use serde_json::{Value, json};
use usher_lifecycle::{Command, reminder::Recipient};
use usher_store::LedgerRow;

use super::{
    ApiError,
    auth::Caller,
    list::{self, Query},
    onboardings::find,
    payload::Payload,
    target::Target,
};
use crate::body;

pub(super) async fn ledger(caller: Caller, target: Target, query: Query) -> Result<Response, ApiError> {
    let page = query.read(&[], |_| Ok(()))?;
    let onboarding = find(&caller, &target).await?;
    let listed = caller.store().ledger(onboarding.id, &page).await?;
    Ok(list::answer(&listed, view))
}

pub(super) async fn remind(caller: Caller, target: Target, payload: Payload) -> Result<Response, ApiError> {
    let channels = if payload.bytes.is_empty() { None } else { body::remind(&payload.json()?)? };
    caller.post(&payload, Command::RemindOnboarding(channels), Some(target.0), StatusCode::ACCEPTED).await
}

/// A row of the ledger as callers see it.
fn view(row: &LedgerRow) -> Value {
    json!({
        "object": "reminder",
        "id": row.id,
        "onboarding_id": row.onboarding_id,
        "kind": row.kind.as_str(),
        "slot": row.slot,
        "channel": row.channel,
        "recipient": row.recipient.as_ref().map(Recipient::to_string),
        "why": row.why,
        "status": row.status,
        "reason": row.reason,
        "detail": row.detail,
        "due_at": row.due_at,
        "send_after": row.send_after,
        "sent_at": row.sent_at,
        "attempts": row.attempts,
        "errors": row.errors,
        "message_id": row.message_id,
        "planned_at": row.planned_at,
        "livemode": row.livemode,
    })
}
