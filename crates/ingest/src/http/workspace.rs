//! `/workspace`: the caller's own workspace, its name and rules. One for both modes: a test key reads it and cannot change
//! it, since live reminders go by it.

use axum::response::Response;
use usher_lifecycle::{Command, wire::WorkspaceObject};
use usher_store::Ref;

use super::{ApiError, auth::Caller, error::HttpCode, payload::Payload, write::object};
use crate::body;

pub(super) async fn show(caller: Caller) -> Result<Response, ApiError> {
    let found = caller.store().workspace(caller.workspace()).await?.ok_or_else(ApiError::internal)?;
    Ok(object(&WorkspaceObject::from(&found), found.version))
}

pub(super) async fn change(caller: Caller, payload: Payload) -> Result<Response, ApiError> {
    if !caller.livemode() {
        let message = "a test key cannot change the workspace: live reminders go by its rules";
        return Err(ApiError::new(HttpCode::InsufficientScope, message));
    }
    let patch = body::patch_workspace(&payload.json()?)?;
    let target = Ref::Id(caller.workspace().to_text());
    caller.change(Command::ChangeWorkspace(patch), target).await
}
