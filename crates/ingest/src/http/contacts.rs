//! `/customers/{id}/contacts` and `/contacts/{id}`: the people at a customer.

use axum::{http::StatusCode, response::Response};
use usher_lifecycle::{Command, command::Aggregate, wire::ContactObject};

use super::{
    ApiError,
    auth::Caller,
    customers,
    list::{self, Query},
    payload::Payload,
    target::Target,
    write::object,
};
use crate::body;

pub(super) async fn create(caller: Caller, target: Target, payload: Payload) -> Result<Response, ApiError> {
    let create = body::create_contact(target.customer()?, &payload.json()?)?;
    caller.post(&payload, Command::CreateContact(create), None, StatusCode::CREATED).await
}

pub(super) async fn show(caller: Caller, target: Target) -> Result<Response, ApiError> {
    let found = caller.store().contact(caller.workspace(), caller.livemode(), &target.0).await?;
    let found = found.ok_or_else(|| target.not_found(Aggregate::Contact))?;
    Ok(object(&ContactObject::from(&found), found.version))
}

pub(super) async fn change(caller: Caller, target: Target, payload: Payload) -> Result<Response, ApiError> {
    let patch = body::patch_contact(&payload.json()?)?;
    caller.change(Command::ChangeContact(patch), target.0).await
}

pub(super) async fn delete(caller: Caller, target: Target) -> Result<Response, ApiError> {
    caller.change(Command::DeleteContact, target.0).await
}

pub(super) async fn list(caller: Caller, target: Target, query: Query) -> Result<Response, ApiError> {
    let page = query.read(&[], |_| Ok(()))?;
    let customer = customers::find(&caller, &target).await?;
    let listed = caller.store().contacts(caller.workspace(), caller.livemode(), customer.id, &page).await?;
    Ok(list::answer(&listed, ContactObject::from))
}
