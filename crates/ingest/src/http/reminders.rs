//! `/onboardings/{id}/reminders`: what was sent to whom and why not, and "remind now".

use axum::{http::StatusCode, response::Response};
use usher_lifecycle::Command;
use usher_store::LedgerRow;

use super::{
    ApiError,
    auth::Caller,
    list::{self, Query},
    onboardings::find,
    payload::Payload,
    target::Target,
};
use crate::{body, outlook::outlook};

/// Slots that are shown beside the ledger.
const UPCOMING: usize = 5;

pub(super) async fn ledger(caller: Caller, target: Target, query: Query) -> Result<Response, ApiError> {
    let page = query.read(&[], |_| Ok(()))?;
    let onboarding = find(&caller, &target).await?;
    let listed = caller.store().ledger(onboarding.id, &page).await?;
    let (channels, now) = (caller.api.channels, caller.now);
    let upcoming = outlook(caller.store(), &onboarding, channels, now, None, UPCOMING).await?;
    Ok(list::answer_with(&listed, LedgerRow::object, Some(upcoming)))
}

pub(super) async fn remind(caller: Caller, target: Target, payload: Payload) -> Result<Response, ApiError> {
    let channels = if payload.bytes.is_empty() { None } else { body::remind(&payload.json()?)? };
    caller.post(&payload, Command::RemindOnboarding(channels), Some(target.0), StatusCode::ACCEPTED).await
}
