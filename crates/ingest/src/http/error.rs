//! Every way to say no, in one envelope. Here the cause of a failure is logged, once; callers see none of it.

use std::any::Any;

use axum::{
    Json,
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use usher_lifecycle::{
    limits::excerpt,
    refusal::{Code, Kind, Refusal},
};
use usher_store::{ApplyError, StoreError};

/// Seconds after which a caller may try again while the store is away.
const RETRY_AFTER: u64 = 5;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal $wire:literal;)*) => {
        /// What is wrong with a request before any rule is asked, and what is wrong with us. Beside
        /// [`Code`], which has the refusals.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum HttpCode { $($(#[$doc])* $name,)* }

        impl HttpCode {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }

            /// The status of the answer.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

codes! {
    /// No `Authorization`.
    MissingApiKey = 401 "missing_api_key";
    /// Not a key of ours.
    InvalidApiKey = 401 "invalid_api_key";
    /// The key was revoked, or its time is over.
    ApiKeyRevoked = 401 "api_key_revoked";
    /// The key may not do this.
    InsufficientScope = 403 "insufficient_scope";
    /// No such path.
    RouteNotFound = 404 "route_not_found";
    /// No such key.
    ApiKeyNotFound = 404 "api_key_not_found";
    /// The path has no such method.
    MethodNotAllowed = 405 "method_not_allowed";
    /// A key cannot revoke itself.
    OwnKey = 409 "own_key";
    /// The body is not JSON by its own account.
    UnsupportedMediaType = 415 "unsupported_media_type";
    /// Too many requests.
    RateLimited = 429 "rate_limited";
    /// A fault of ours.
    InternalError = 500 "internal_error";
    /// The store is away.
    Unavailable = 503 "unavailable";
}

/// The status of a refusal.
pub const fn status_of(code: Code) -> u16 {
    match code.kind() {
        Kind::Invalid if matches!(code, Code::PayloadTooLarge) => 413,
        Kind::Invalid => 400,
        Kind::NotFound => 404,
        Kind::Conflict => 409,
        Kind::Precondition => 412,
    }
}

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    field: Option<String>,
    /// Seconds.
    retry_after: Option<u64>,
}

impl ApiError {
    pub(super) fn new(code: HttpCode, message: impl Into<String>) -> Self {
        Self::of(code.status(), code.as_str(), message)
    }

    fn of(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, message: message.into(), field: None, retry_after: None }
    }

    /// With `Retry-After`, in seconds.
    pub(super) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// With the field at fault.
    pub(super) fn at(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }

    /// 500; what happened is in the log.
    pub(super) fn internal() -> Self {
        Self::new(
            HttpCode::InternalError,
            "something went wrong on our side; it is logged under the id in X-Request-Id",
        )
    }

    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// `{error: {type, code, message, field?}}`.
    pub fn envelope(&self) -> Value {
        let mut error = Map::new();
        error.insert("type".into(), self.kind().into());
        error.insert("code".into(), self.code.into());
        error.insert("message".into(), self.message.as_str().into());
        if let Some(field) = &self.field {
            error.insert("field".into(), field.as_str().into());
        }
        json!({ "error": error })
    }

    /// The type of the contract; the status says it.
    fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found",
            409 | 412 => "conflict",
            429 => "rate_limit_error",
            500.. => "internal_error",
            _ => "invalid_request_error",
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = status_of(refusal.code);
        Self { field: refusal.field, ..Self::of(status, refusal.code.as_str(), refusal.message) }
    }
}

impl From<ApplyError> for ApiError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Refused(refusal) => refusal.into(),
            ApplyError::Store(error) => Self::from(&*error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&StoreError> for ApiError {
    fn from(error: &StoreError) -> Self {
        let cause = crate::relay::chain(error);
        if error.is_away() {
            tracing::warn!(cause, "the store is away");
            let message = "the service cannot reach its database; the same request may be sent again";
            return Self::new(HttpCode::Unavailable, message).retry_after(RETRY_AFTER);
        }
        tracing::error!(cause, "the store failed");
        Self::internal()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.envelope())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The answer to a path that is in no table.
pub(super) async fn route_not_found(method: Method, uri: Uri) -> ApiError {
    let message = format!("there is no route {method} {}", excerpt(uri.path()));
    ApiError::new(HttpCode::RouteNotFound, message)
}

/// The answer to a method that the path does not have; axum adds `Allow`.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} has no {method}; the header Allow says what it has", excerpt(uri.path()));
    ApiError::new(HttpCode::MethodNotAllowed, message)
}

/// The answer when a handler panicked.
#[expect(clippy::needless_pass_by_value, reason = "the form that the layer calls")]
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(panic = text, "a request panicked");
    ApiError::internal().into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_keep_code_field_and_message() {
        let refusal = Refusal::field(Code::TooBig, "reminder_frequency_days", "366 is too much");
        let error = ApiError::from(refusal);
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        let wanted = r#"{"error":{"type":"invalid_request_error","code":"too_big","message":"366 is too much","field":"reminder_frequency_days"}}"#;
        assert_eq!(error.envelope().to_string(), wanted);
    }

    #[test]
    fn statuses_and_types_are_those_of_the_contract() {
        for (code, status, kind) in [
            (Code::InvalidJson, 400, "invalid_request_error"),
            (Code::PayloadTooLarge, 413, "invalid_request_error"),
            (Code::CustomerNotFound, 404, "not_found"),
            (Code::SlugTaken, 409, "conflict"),
            (Code::OnboardingCompleted, 409, "conflict"),
            (Code::VersionMismatch, 412, "conflict"),
        ] {
            let error = ApiError::from(Refusal::new(code, "no"));
            assert_eq!((error.status().as_u16(), error.kind()), (status, kind), "{code:?}");
        }
    }

    #[test]
    fn a_store_that_is_away_is_a_503_and_any_other_failure_a_500() {
        let away = ApiError::from(StoreError::Closed);
        assert_eq!((away.status.as_u16(), away.kind(), away.code), (503, "internal_error", "unavailable"));
        assert!(away.into_response().headers().contains_key("retry-after"));
        let failed = ApiError::from(StoreError::Bug("secret detail".into()));
        assert_eq!((failed.status.as_u16(), failed.code), (500, "internal_error"));
        assert!(!failed.envelope().to_string().contains("secret"), "causes stay in the log");
    }
}
