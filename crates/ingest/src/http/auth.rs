//! Who asks: the API key of a request, looked up in the store each time, so that a revocation holds at once; how much it
//! has left of its rate; whether its scopes allow the route.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use chrono::{DateTime, Utc};
use usher_lifecycle::{
    Scope, WorkspaceId,
    event::{Actor, ActorKind},
    scope::{lacking, lacks},
};
use usher_store::{ApiKey, Store};

use super::{Api, ApiError, error::HttpCode, limit::FAILURES, target::Expected, trace::Who};

/// A caller with a valid key, and what its request says beside path and body.
pub(super) struct Caller {
    pub(super) api: Api,
    pub(super) key: ApiKey,
    /// The instant of the request.
    pub(super) now: DateTime<Utc>,
    /// What `If-Match` wants.
    pub(super) expected: Expected,
    /// W3C trace context, if sane.
    pub(super) traceparent: Option<String>,
}

impl Caller {
    pub(super) fn store(&self) -> &Store {
        &self.api.store
    }

    pub(super) const fn workspace(&self) -> WorkspaceId {
        self.key.workspace_id
    }

    pub(super) const fn livemode(&self) -> bool {
        self.key.livemode
    }

    /// The caller as events name it.
    pub(super) fn actor(&self) -> Actor {
        Actor { kind: ActorKind::ApiKey, id: Some(self.key.id.to_text()), name: Some(self.key.name.clone()) }
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let now = api.now();
        let from = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        let key = match authenticate(&parts.headers, from, api, now).await {
            Err(error) if error.status() == StatusCode::UNAUTHORIZED => {
                api.0.guests.failed(from, now);
                return Err(error);
            }
            other => other?,
        };
        api.store.note_key_use(key.id, from, now);
        let budget = api.0.limits.take(&key, now);
        if let Some(who) = parts.extensions.get::<Who>() {
            who.is(key.workspace_id, &key.prefix, budget);
        }
        if let Some(budget) = budget.filter(|budget| !budget.admitted) {
            return Err(budget.refusal(&format!("this API key has {} requests in 60 seconds", budget.limit)));
        }
        // A route without a scope of its own is open to every key.
        if let Some(Needs(scope)) = parts.extensions.get::<Needs>()
            && lacking(&key.scopes, &[*scope]).is_some()
        {
            return Err(ApiError::new(HttpCode::InsufficientScope, lacks(*scope)));
        }
        Ok(Self {
            api: api.clone(),
            key,
            now,
            expected: Expected::of(&parts.headers),
            traceparent: traceparent(&parts.headers),
        })
    }
}

/// The scope that a route asks for; `routes.rs` puts it beside the handler.
#[derive(Clone, Copy)]
pub(super) struct Needs(pub(super) Scope);

async fn authenticate(
    headers: &HeaderMap,
    from: Option<IpAddr>,
    api: &Api,
    now: DateTime<Utc>,
) -> Result<ApiKey, ApiError> {
    let secret = secret(headers)?;
    let guests = &api.0.guests;
    if let Some(budget) = guests.refuses(secret, from, now) {
        let what =
            format!("requests without a valid key are limited to {FAILURES} in 60 seconds per address");
        return Err(budget.refusal(&what));
    }
    let found = api.store.key_by_secret(secret).await?;
    let key = found.ok_or_else(|| ApiError::new(HttpCode::InvalidApiKey, "this API key is not known"))?;
    if !key.is_valid(now) {
        guests.forget(secret);
        let how = if key.revoked_at.is_some() { "was revoked" } else { "was replaced, and its time is over" };
        return Err(ApiError::new(HttpCode::ApiKeyRevoked, format!("this API key {how}")));
    }
    guests.remember(secret);
    Ok(key)
}

/// The secret of `Authorization: Bearer <secret>`.
fn secret(headers: &HeaderMap) -> Result<&str, ApiError> {
    const WANTED: &str = "send your key in the header Authorization, as `Bearer pivotal_...`";
    let missing = || ApiError::new(HttpCode::MissingApiKey, WANTED);
    let invalid = || ApiError::new(HttpCode::InvalidApiKey, WANTED);
    let value = headers.get(header::AUTHORIZATION).ok_or_else(missing)?;
    let value = value.to_str().map_err(|_| invalid())?.trim();
    let (scheme, secret) = value.split_once(' ').unwrap_or((value, ""));
    match (scheme, secret.trim()) {
        ("", _) => Err(missing()),
        (scheme, "") if scheme.eq_ignore_ascii_case("bearer") => Err(missing()),
        (scheme, secret) if scheme.eq_ignore_ascii_case("bearer") => Ok(secret),
        (_, _) => Err(invalid()),
    }
}

/// `00-<32 hex>-<16 hex>-<2 hex>`.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let sane = parts.iter().map(|part| part.len()).eq([2, 32, 16, 2]) && parts.iter().all(hex);
    sane.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: header::HeaderName, value: &'static [u8]) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_bytes(value).expect("a header"))])
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        for value in ["Bearer pivotal_x", "bearer pivotal_x", "BEARER   pivotal_x "] {
            let headers = headers(header::AUTHORIZATION, value.as_bytes());
            assert_eq!(secret(&headers).map_err(|error| error.envelope()), Ok("pivotal_x"), "{value}");
        }
        let code = |value: &'static [u8]| {
            let error =
                secret(&headers(header::AUTHORIZATION, value)).map(str::to_owned).expect_err("refused");
            error.envelope()["error"]["code"].as_str().map(str::to_owned).expect("a code")
        };
        assert_eq!(code(b""), "missing_api_key");
        assert_eq!(code(b"Bearer"), "missing_api_key");
        assert_eq!(code(b"Bearer  "), "missing_api_key");
        assert_eq!(code(b"Basic YTpi"), "invalid_api_key");
        assert_eq!(code(b"pivotal_x"), "invalid_api_key");
        assert_eq!(code(b"Bearer \xff"), "invalid_api_key");
    }

    #[test]
    fn a_trace_context_of_another_form_is_dropped() {
        let of = |value: &'static str| {
            traceparent(&headers(header::HeaderName::from_static("traceparent"), value.as_bytes()))
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of(good).as_deref(), Some(good));
        for bad in ["", "00", "00-xyz-1-01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
