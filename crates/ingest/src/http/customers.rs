//! `/customers`.

use axum::{http::StatusCode, response::Response};
use usher_lifecycle::{Command, command::Aggregate, customer::Customer, wire::CustomerObject};
use usher_store::ListFilter;

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
    let create = body::create_customer(&payload.json()?)?;
    caller.post(&payload, Command::CreateCustomer(create), None, StatusCode::CREATED).await
}

pub(super) async fn show(caller: Caller, target: Target) -> Result<Response, ApiError> {
    let found = find(&caller, &target).await?;
    Ok(object(&CustomerObject::from(&found), found.version))
}

pub(super) async fn change(caller: Caller, target: Target, payload: Payload) -> Result<Response, ApiError> {
    let patch = body::patch_customer(&payload.json()?)?;
    caller.change(Command::ChangeCustomer(patch), target.0).await
}

pub(super) async fn delete(caller: Caller, target: Target) -> Result<Response, ApiError> {
    caller.change(Command::DeleteCustomer, target.0).await
}

pub(super) async fn list(caller: Caller, query: Query) -> Result<Response, ApiError> {
    let mut filter = ListFilter::default();
    let page = query.read(&["status", "slug", "external_id", "domain"], |param| {
        match param.name {
            "status" => filter.status = Some(param.one_of()?),
            "slug" => filter.slug = Some(param.text()?),
            "external_id" => filter.external_id = Some(param.text()?),
            // Domains are kept in lower case.
            _ => filter.domain = Some(param.text()?.to_lowercase()),
        }
        Ok(())
    })?;
    let listed = caller.store().customers(caller.workspace(), caller.livemode(), &filter, &page).await?;
    Ok(list::answer(&listed, CustomerObject::from))
}

/// The customer that the path names.
pub(super) async fn find(caller: &Caller, target: &Target) -> Result<Customer, ApiError> {
    let found = caller.store().customer(caller.workspace(), caller.livemode(), &target.0).await?;
    Ok(found.ok_or_else(|| target.not_found(Aggregate::Customer))?)
}
