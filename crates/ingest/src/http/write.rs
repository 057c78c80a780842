//! From a command to an answer: the one way in which handlers write.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use usher_lifecycle::Command;
use usher_store::{Applied, ApplyError, Dedupe, Outcome, Ref, Request};

use super::{ApiError, auth::Caller, payload::Payload};

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

impl Caller {
    /// A POST: `status` on success, the kept answer on a repeat with the same `Idempotency-Key`.
    pub(super) async fn post(
        &self,
        payload: &Payload,
        command: Command,
        target: Option<Ref>,
        status: StatusCode,
    ) -> Result<Response, ApiError> {
        let in_flight = &self.api.0.in_flight;
        let running = payload.key.as_ref().map(|key| in_flight.take(self.workspace(), self.livemode(), key));
        let _running = running.transpose()?;
        let dedupe = payload.key.as_ref().map(|key| key.dedupe(&payload.bytes, status.as_u16()));
        self.apply(command, target, dedupe.unwrap_or(Dedupe::None), status).await
    }

    /// A PATCH or DELETE: 200 on success.
    pub(super) async fn change(&self, command: Command, target: Ref) -> Result<Response, ApiError> {
        self.apply(command, Some(target), Dedupe::None, StatusCode::OK).await
    }

    async fn apply(
        &self,
        command: Command,
        target: Option<Ref>,
        dedupe: Dedupe,
        status: StatusCode,
    ) -> Result<Response, ApiError> {
        let effect = Effect::of(&command);
        let expected_version = if target.is_some() { self.expected.version() } else { None };
        let request = Request {
            workspace_id: self.workspace(),
            livemode: self.livemode(),
            command,
            target,
            actor: self.actor(),
            dedupe,
            expected_version,
            traceparent: self.traceparent.clone(),
        };
        let applied = self.store().apply(request, self.now).await.map_err(|error| match error {
            ApplyError::Refused(refusal) => ApplyError::Refused(self.expected.told(refusal)),
            ApplyError::Store(error) => ApplyError::Store(error),
        })?;
        if applied.outcome == Outcome::Committed {
            (self.api.wake)();
        }
        Ok(answer(applied, status, effect.tagged))
    }
}

/// What the answer to a command needs to know of it.
struct Effect {
    /// The answer is the record itself and bears its version.
    tagged: bool,
}

impl Effect {
    const fn of(command: &Command) -> Self {
        let tagged = match command {
            Command::CreateOnboarding(_)
            | Command::ChangeOnboarding(_)
            | Command::SnoozeOnboarding(_)
            | Command::UnsnoozeOnboarding
            | Command::CreateCustomer(_)
            | Command::ChangeCustomer(_)
            | Command::CreateUser(_)
            | Command::ChangeUser(_)
            | Command::CreateContact(_)
            | Command::ChangeContact(_)
            | Command::CreateTemplate(_)
            | Command::ChangeTemplate(_)
            | Command::ChangeWorkspace(_)
            | Command::Compose(_) => true,
            Command::DeleteOnboarding
            | Command::RemindOnboarding(_)
            | Command::DeleteCustomer
            | Command::DeleteUser
            | Command::DeleteContact
            | Command::DeleteTemplate => false,
        };
        Self { tagged }
    }
}

fn answer(applied: Applied, status: StatusCode, tagged: bool) -> Response {
    let replayed = applied.status.and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = json(replayed.unwrap_or(status), applied.body);
    if tagged && replayed.is_none() {
        response.headers_mut().insert(header::ETAG, etag(applied.version));
    }
    if replayed.is_some() {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// One object that was read, with its version as `ETag`.
pub(super) fn object(object: &impl Serialize, version: i64) -> Response {
    let mut response = axum::Json(object).into_response();
    response.headers_mut().insert(header::ETAG, etag(version));
    response
}

fn json(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn etag(version: i64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}
