//! The same commands with an answer: the API's body, or its error envelope. Nothing is kept of a refused request; its
//! sender knows. May be lost like every request; a `CloudEvents` id or a `Nats-Msg-Id` makes repeating it safe.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use usher_bus::{Headers, Nats, Request};
use usher_lifecycle::{
    WorkspaceId,
    command::Aggregate,
    wire::{
        ContactObject, CustomerObject, OnboardingObject, TemplateObject, UserObject, WorkspaceObject, value,
    },
};
use usher_store::{Applied, ApplyError, Outcome, Ref, Store, StoreError};

use super::{
    apply::{Way, apply, guarded, store_error},
    read::{Fault, Identity, Message, Unread, prepare},
    workspaces::Workspaces,
};
use crate::{http::ApiError, relay::chain};

/// Requests that are handled at once; more wait their turn.
const MOST: usize = 256;
/// How long requests in flight may take once the end is asked for.
const GRACE: Duration = Duration::from_secs(10);
/// How long to wait before listening is tried again.
const BREATH: Duration = Duration::from_secs(1);

/// Answers requests.
#[derive(Clone)]
pub(super) struct Answers {
    pub(super) store: Store,
    pub(super) nats: Nats,
    pub(super) clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    pub(super) wake: Arc<dyn Fn() + Send + Sync>,
    pub(super) workspaces: Workspaces,
}

impl Answers {
    /// Answers until `shutdown`, then finishes what it took.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        let mut handled = JoinSet::new();
        if let Some(mut requests) = self.listen(&shutdown).await {
            loop {
                let request = tokio::select! {
                    () = shutdown.cancelled() => break,
                    Some(_) = handled.join_next(), if !handled.is_empty() => continue,
                    request = requests.next(), if handled.len() < MOST => request,
                };
                let answers = self.clone();
                handled.spawn(async move { answers.answer(&request).await });
            }
        }
        let finish = async { while handled.join_next().await.is_some() {} };
        if timeout(GRACE, finish).await.is_err() {
            tracing::warn!("requests over NATS were still running at the end and are cut off");
        }
    }

    async fn listen(&self, shutdown: &CancellationToken) -> Option<usher_bus::Requests> {
        loop {
            match self.nats.requests().await {
                Ok(requests) => return Some(requests),
                Err(error) => tracing::warn!(error = chain(&error), "requests cannot be listened for yet"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(BREATH) => {}
            }
        }
    }

    async fn answer(&self, request: &Request) {
        let now = (self.clock)();
        let answer = self.handle(request, now).await.unwrap_or_else(|envelope| envelope.to_string());
        let headers = Headers::new().with("Content-Type", "application/json");
        if let Err(error) = request.respond(headers, Bytes::from(answer)).await {
            tracing::warn!(error = chain(&error), "a request got no answer");
        }
    }

    /// The answer, or the error envelope.
    async fn handle(&self, request: &Request, now: DateTime<Utc>) -> Result<String, Value> {
        let message = Message {
            subject: &request.subject,
            headers: &request.headers,
            payload: &request.payload,
            identity: Identity::Request,
        };
        let prepared = prepare(message, self.nats.names(), &self.workspaces, &self.store, now).await;
        let prepared = prepared.map_err(|unread| match unread {
            Unread::Fault(fault) => refused(fault),
            Unread::Store(error) => failed(&error),
        })?;
        let mut answers = apply(&self.store, std::slice::from_ref(&prepared), now, Way::Shared).await;
        let answer = answers.pop().unwrap_or_else(|| Err(store_error(StoreError::Closed)));
        let applied = answer.map_err(|error| match error {
            ApplyError::Refused(refusal) => refused(refusal.into()),
            ApplyError::Store(error) => failed(&error),
        })?;
        match applied.outcome {
            Outcome::Committed => (self.wake)(),
            // Of a superseded one: the record as it is, which the newer one made.
            Outcome::Unchanged | Outcome::Superseded => {}
            Outcome::Duplicate => {
                let current = self.current(prepared.workspace_id, prepared.plan.kind(), &applied);
                return current.await.map(|object| object.to_string()).map_err(|error| failed(&error));
            }
        }
        Ok(applied.body)
    }

    /// What a repeat is answered with: the record as it is now.
    async fn current(
        &self,
        workspace: WorkspaceId,
        kind: Aggregate,
        applied: &Applied,
    ) -> Result<Value, StoreError> {
        let which = Ref::Id(applied.id.clone());
        let found = match kind {
            Aggregate::Onboarding => {
                let found = guarded(self.store.onboarding(workspace, true, &which)).await??;
                found.map(|it| value(&OnboardingObject::from(&it)))
            }
            Aggregate::Customer => {
                let found = guarded(self.store.customer(workspace, true, &which)).await??;
                found.map(|it| value(&CustomerObject::from(&it)))
            }
            Aggregate::User => {
                let found = guarded(self.store.user(workspace, true, &which)).await??;
                found.map(|it| value(&UserObject::from(&it)))
            }
            Aggregate::Contact => {
                let found = guarded(self.store.contact(workspace, true, &which)).await??;
                found.map(|it| value(&ContactObject::from(&it)))
            }
            Aggregate::Template => {
                let found = guarded(self.store.template(workspace, true, &which)).await??;
                found.map(|it| value(&TemplateObject::from(&it)))
            }
            Aggregate::Workspace => {
                let found = guarded(self.store.workspace(workspace)).await??;
                found.map(|it| value(&WorkspaceObject::from(&it)))
            }
        };
        Ok(found.unwrap_or_else(|| json!({"object": "deleted", "id": applied.id, "deleted": true})))
    }
}

fn refused(fault: Fault) -> Value {
    match fault.refusal {
        Some(refusal) => ApiError::from(refusal).envelope(),
        None => envelope("invalid_request_error", fault.code, &fault.message, fault.field.as_deref()),
    }
}

fn failed(error: &StoreError) -> Value {
    let cause = chain(error);
    if error.is_away() {
        tracing::warn!(cause, "the store is away");
        let message = "the service cannot reach its database; the same request may be sent again";
        return envelope("internal_error", "unavailable", message, None);
    }
    tracing::error!(cause, "the store failed");
    envelope("internal_error", "internal_error", "something went wrong on our side; it is logged", None)
}

fn envelope(kind: &str, code: &str, message: &str, field: Option<&str>) -> Value {
    let mut error = json!({"type": kind, "code": code, "message": message});
    if let (Some(field), Some(error)) = (field, error.as_object_mut()) {
        error.insert("field".into(), field.into());
    }
    json!({ "error": error })
}
