//! `/api_keys`: made, listed, replaced, revoked. A secret is in the answer that makes it and nowhere else, so these POSTs
//! take no `Idempotency-Key`: an answer that is kept would keep the secret.
//!
//! Laws: a key gives no scope that it has not; it cannot revoke itself; a test key knows of test keys only.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::TimeDelta;
use serde_json::Value;
use usher_lifecycle::{
    Code, Refusal,
    limits::excerpt,
    scope::{lacking, lacks},
    wire,
};
use usher_store::{ApiKey, NewKey, Ref};

use super::{
    ApiError,
    auth::Caller,
    error::HttpCode,
    list::{self, Query},
    payload::Payload,
    target::Target,
};
use crate::body;

pub(super) async fn list(caller: Caller, query: Query) -> Result<Response, ApiError> {
    let page = query.read(&[], |_| Ok(()))?;
    // So that what this process knows is in the answer.
    caller.store().write_key_uses().await?;
    let listed = caller.store().keys_page(caller.workspace(), !caller.livemode(), &page).await?;
    Ok(list::answer(&listed, ApiKey::object))
}

pub(super) async fn create(caller: Caller, payload: Payload) -> Result<Response, ApiError> {
    not_repeatable(&payload)?;
    let spec = body::create_api_key(&payload.json()?, caller.livemode())?;
    if let Some(scope) = lacking(&caller.key.scopes, &spec.scopes) {
        let message = format!("{}, and cannot give it to another", lacks(scope));
        return Err(ApiError::new(HttpCode::InsufficientScope, message).at("scopes"));
    }
    let made = caller.store().create_key_as(caller.workspace(), &spec, caller.now).await?;
    Ok(shown_once(&made))
}

pub(super) async fn rotate(caller: Caller, target: Target, payload: Payload) -> Result<Response, ApiError> {
    not_repeatable(&payload)?;
    let overlap = if payload.bytes.is_empty() { None } else { body::rotate_api_key(&payload.json()?)? };
    let key = find(&caller, &target).await?;
    if let Some(scope) = lacking(&caller.key.scopes, &key.scopes) {
        let message = format!("{}, and cannot make a key that has it", lacks(scope));
        return Err(ApiError::new(HttpCode::InsufficientScope, message));
    }
    let until = overlap.map(|seconds| caller.now + TimeDelta::seconds(seconds));
    let made = caller.store().rotate_key(caller.workspace(), &key.id.to_text(), until, caller.now).await?;
    Ok(shown_once(&made.ok_or_else(|| not_found(&target))?))
}

pub(super) async fn revoke(caller: Caller, target: Target) -> Result<Response, ApiError> {
    let key = find(&caller, &target).await?;
    if key.id == caller.key.id {
        let message =
            "a key cannot revoke itself; use another key with the scope admin, or `usher key revoke`";
        return Err(ApiError::new(HttpCode::OwnKey, message));
    }
    let revoked = caller.store().revoke_key(caller.workspace(), &key.id.to_text(), caller.now).await?;
    Ok(Json(revoked.ok_or_else(|| not_found(&target))?.object()).into_response())
}

/// The key that the path names by its id.
async fn find(caller: &Caller, target: &Target) -> Result<ApiKey, ApiError> {
    let Ref::Id(id) = &target.0 else { return Err(not_found(target)) };
    let id: usher_lifecycle::KeyId = id.parse().map_err(|_| not_found(target))?;
    let found = caller.store().key(caller.workspace(), &id.to_text()).await?;
    found.filter(|key| caller.livemode() || !key.livemode).ok_or_else(|| not_found(target))
}

fn not_found(target: &Target) -> ApiError {
    let message = format!("no valid API key with id {}", excerpt(&target.0.to_string()));
    ApiError::new(HttpCode::ApiKeyNotFound, message)
}

fn not_repeatable(payload: &Payload) -> Result<(), Refusal> {
    if payload.key.is_none() {
        return Ok(());
    }
    let message =
        "a secret is shown once and not kept, so this answer cannot be repeated; leave Idempotency-Key out";
    Err(Refusal::field(Code::InvalidCombination, "Idempotency-Key", message))
}

/// 201 with the key and, this once, its secret.
fn shown_once(made: &NewKey) -> Response {
    let mut object = wire::value(&made.key.object());
    object["secret"] = Value::from(made.secret.as_str());
    let mut response = (StatusCode::CREATED, Json(object)).into_response();
    let never = axum::http::HeaderValue::from_static("no-store");
    response.headers_mut().insert(axum::http::header::CACHE_CONTROL, never);
    response
}
