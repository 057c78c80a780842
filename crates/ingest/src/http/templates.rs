//! `/templates`: defaults for new onboardings.

use axum::{http::StatusCode, response::Response};
use usher_lifecycle::{Command, command::Aggregate, wire::TemplateObject};

use super::{
    ApiError,
    auth::Caller,
    list::{self, Query},
    payload::Payload,
    target::Target,
    write::object,
};
use crate::body;

pub(super) async fn create(caller: Caller, payload: Payload) -> Result<Response, ApiError> {
    let create = body::create_template(&payload.json()?)?;
    caller.post(&payload, Command::CreateTemplate(create), None, StatusCode::CREATED).await
}

pub(super) async fn show(caller: Caller, target: Target) -> Result<Response, ApiError> {
    let found = caller.store().template(caller.workspace(), caller.livemode(), &target.0).await?;
    let found = found.ok_or_else(|| target.not_found(Aggregate::Template))?;
    Ok(object(&TemplateObject::from(&found), found.version))
}

pub(super) async fn change(caller: Caller, target: Target, payload: Payload) -> Result<Response, ApiError> {
    let patch = body::patch_template(&payload.json()?)?;
    caller.change(Command::ChangeTemplate(patch), target.0).await
}

pub(super) async fn delete(caller: Caller, target: Target) -> Result<Response, ApiError> {
    caller.change(Command::DeleteTemplate, target.0).await
}

pub(super) async fn list(caller: Caller, query: Query) -> Result<Response, ApiError> {
    let page = query.read(&[], |_| Ok(()))?;
    let listed = caller.store().templates(caller.workspace(), caller.livemode(), &page).await?;
    Ok(list::answer(&listed, TemplateObject::from))
}
