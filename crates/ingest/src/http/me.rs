//! `/me`: what the caller's key is.

use axum::Json;
use serde_json::{Value, json};

use super::{ApiError, auth::Caller};

pub(super) async fn show(caller: Caller) -> Result<Json<Value>, ApiError> {
    let workspace = caller.store().workspace(caller.workspace()).await?.ok_or_else(ApiError::internal)?;
    let key = &caller.key;
    let tier = match key.rate_limit {
        None => "default",
        Some(0) => "unlimited",
        Some(_) => "custom",
    };
    Ok(Json(json!({
        "object": "me",
        "api_key": {
            "id": key.id,
            "name": key.name,
            "prefix": key.prefix,
            "scopes": key.object().scopes,
            "rate_limit_tier": tier,
        },
        "organization": {"id": workspace.id, "slug": workspace.slug, "name": workspace.name},
    })))
}
