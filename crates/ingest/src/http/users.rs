//! `/users`: the team.

use axum::{http::StatusCode, response::Response};
use usher_lifecycle::{Command, command::Aggregate, wire::UserObject};

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
    let create = body::create_user(&payload.json()?)?;
    caller.post(&payload, Command::CreateUser(create), None, StatusCode::CREATED).await
}

pub(super) async fn show(caller: Caller, target: Target) -> Result<Response, ApiError> {
    let found = caller.store().user(caller.workspace(), caller.livemode(), &target.0).await?;
    let found = found.ok_or_else(|| target.not_found(Aggregate::User))?;
    Ok(object(&UserObject::from(&found), found.version))
}

pub(super) async fn change(caller: Caller, target: Target, payload: Payload) -> Result<Response, ApiError> {
    let patch = body::patch_user(&payload.json()?)?;
    caller.change(Command::ChangeUser(patch), target.0).await
}

pub(super) async fn delete(caller: Caller, target: Target) -> Result<Response, ApiError> {
    caller.change(Command::DeleteUser, target.0).await
}

pub(super) async fn list(caller: Caller, query: Query) -> Result<Response, ApiError> {
    let page = query.read(&[], |_| Ok(()))?;
    let listed = caller.store().users(caller.workspace(), caller.livemode(), &page).await?;
    Ok(list::answer(&listed, UserObject::from))
}
