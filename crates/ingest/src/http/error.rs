//! Every way to say no, in one envelope. Here the cause of a failure is logged, once; callers see none of it.

use std::any::Any;

use axum::{
    Json,
    http::{HeaderValue, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use usher_lifecycle::{
    limits::excerpt,
    refusal::{Code, Kind, Refusal},
};
use usher_store::{ApplyError, StoreError};

/// Seconds after which a caller may try again while the store is away.
const RETRY_AFTER: &str = "5";

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    field: Option<String>,
    header: Option<(&'static str, &'static str)>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None, header: None }
    }

    /// 401 with that code.
    pub(super) fn unauthenticated(code: &'static str, message: &str) -> Self {
        let header = Some(("www-authenticate", "Bearer"));
        Self { header, ..Self::new(StatusCode::UNAUTHORIZED, code, message) }
    }

    /// 500; what happened is in the log.
    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
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
        let status = match refusal.code.kind() {
            Kind::Invalid if refusal.code == Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Precondition => StatusCode::PRECONDITION_FAILED,
        };
        Self { field: refusal.field, ..Self::new(status, refusal.code.as_str(), refusal.message) }
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
            let header = Some(("retry-after", RETRY_AFTER));
            return Self { header, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message) };
        }
        tracing::error!(cause, "the store failed");
        Self::internal()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.envelope())).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// The answer to a path that is in no table.
pub(super) async fn route_not_found(method: Method, uri: Uri) -> ApiError {
    let message = format!("there is no route {method} {}", excerpt(uri.path()));
    ApiError::new(StatusCode::NOT_FOUND, "route_not_found", message)
}

/// The answer to a method that the path does not have; axum adds `Allow`.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} has no {method}; the header Allow says what it has", excerpt(uri.path()));
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
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
