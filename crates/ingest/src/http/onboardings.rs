//! `/onboardings`: the heart of the API.

use axum::{http::StatusCode, response::Response};
use usher_lifecycle::{Command, Onboarding, Refusal, command::Aggregate, wire::OnboardingObject};
use usher_store::{ListFilter, Page, Ref};

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

pub(super) async fn create(caller: Caller, payload: Payload) -> Result<Response, ApiError> {
    let create = body::create_onboarding(&payload.json()?)?;
    if let Err(refusal) = Target(Ref::parse(&create.customer)).customer() {
        return Err(Refusal { field: Some("customer_id".to_owned()), ..refusal }.into());
    }
    caller.post(&payload, Command::CreateOnboarding(create), None, StatusCode::CREATED).await
}

pub(super) async fn show(caller: Caller, target: Target) -> Result<Response, ApiError> {
    let found = find(&caller, &target).await?;
    Ok(object(&OnboardingObject::from(&found), found.version))
}

pub(super) async fn change(caller: Caller, target: Target, payload: Payload) -> Result<Response, ApiError> {
    let patch = body::patch_onboarding(&payload.json()?)?;
    caller.change(Command::ChangeOnboarding(patch), target.0).await
}

pub(super) async fn delete(caller: Caller, target: Target) -> Result<Response, ApiError> {
    caller.change(Command::DeleteOnboarding, target.0).await
}

pub(super) async fn list(caller: Caller, query: Query) -> Result<Response, ApiError> {
    let mut filter = ListFilter::default();
    let (mut customer, mut csm, mut template) = (None, None, None);
    let known = ["customer_id", "state", "phase", "csm_id", "template_id", "updated_since", "due_before"];
    let page = query.read(&known, |param| {
        match param.name {
            "customer_id" => customer = Some(param.target()?),
            "state" => filter.state = Some(param.one_of()?),
            "phase" => filter.phase = Some(param.one_of()?),
            "csm_id" => csm = Some(param.target()?),
            "template_id" => template = Some(param.target()?),
            "updated_since" => filter.updated_since = Some(param.instant()?),
            _ => filter.due_before = Some(param.instant()?),
        }
        Ok(())
    })?;
    // An id that names nothing is 404 wherever it stands: an empty list would hide a typing error.
    let (store, workspace, livemode) = (caller.store(), caller.workspace(), caller.livemode());
    if let Some(named) = customer {
        let found = store.customer(workspace, livemode, &named.0).await?;
        let found = found.ok_or_else(|| named.not_found_in("customer_id", Aggregate::Customer))?;
        filter.customer = Some(Ref::Id(found.id.to_text()));
    }
    if let Some(named) = csm {
        let found = store.user(workspace, livemode, &named.0).await?;
        filter.csm = Some(found.ok_or_else(|| named.not_found_in("csm_id", Aggregate::User))?.id);
    }
    if let Some(named) = template {
        let found = store.template(workspace, livemode, &named.0).await?;
        filter.template =
            Some(found.ok_or_else(|| named.not_found_in("template_id", Aggregate::Template))?.id);
    }
    listed(&caller, &filter, &page).await
}

pub(super) async fn list_of_customer(
    caller: Caller,
    target: Target,
    query: Query,
) -> Result<Response, ApiError> {
    let page = query.read(&[], |_| Ok(()))?;
    let customer = customers::find(&caller, &target).await?;
    let filter = ListFilter { customer: Some(Ref::Id(customer.id.to_text())), ..ListFilter::default() };
    listed(&caller, &filter, &page).await
}

async fn listed(caller: &Caller, filter: &ListFilter, page: &Page) -> Result<Response, ApiError> {
    let listed = caller.store().onboardings(caller.workspace(), caller.livemode(), filter, page).await?;
    Ok(list::answer(&listed, OnboardingObject::from))
}

/// The onboarding that the path names.
pub(super) async fn find(caller: &Caller, target: &Target) -> Result<Onboarding, ApiError> {
    let found = caller.store().onboarding(caller.workspace(), caller.livemode(), &target.0).await?;
    Ok(found.ok_or_else(|| target.not_found(Aggregate::Onboarding))?)
}
