//! `/onboardings/{id}/snooze`: silence for a while, and its end.

use axum::{http::StatusCode, response::Response};
use usher_lifecycle::Command;

use super::{ApiError, auth::Caller, payload::Payload, target::Target};
use crate::body;

pub(super) async fn begin(caller: Caller, target: Target, payload: Payload) -> Result<Response, ApiError> {
    let snooze = body::snooze(&payload.json()?)?;
    caller.post(&payload, Command::SnoozeOnboarding(snooze), Some(target.0), StatusCode::OK).await
}

pub(super) async fn end(caller: Caller, target: Target) -> Result<Response, ApiError> {
    caller.change(Command::UnsnoozeOnboarding, target.0).await
}
