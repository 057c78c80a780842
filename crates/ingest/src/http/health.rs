//! Whether the service lives and can do its work. No key needed. These routes every role has.

use std::sync::Arc;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Map, Value, json};
use usher_store::Store;

use super::{
    Api,
    metrics::{self, Exposition},
};

/// What is told about a process.
#[derive(Clone)]
pub struct Operations {
    /// Where everything is.
    pub store: Store,
    /// What `/readyz` tells beside the store. Must not block.
    pub ready: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// What `/metrics` shows.
    pub exposition: Exposition,
}

/// Their routes.
pub(super) fn routes(operations: Operations) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::metrics))
        .with_state(operations)
}

/// How a part of the service fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Well.
    Ok,
    /// Not well, but requests are answered as ever; and why.
    Degraded(String),
    /// Requests cannot be answered; and why.
    Down(String),
}

/// The parts of the service beside the store, by name (`bus`, ...).
#[derive(Debug, Clone, Default)]
pub struct Readiness(pub Vec<(&'static str, Health)>);

/// `GET /livez`: the process answers.
async fn livez() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /api/v1/health`.
pub(super) async fn health(State(api): State<Api>) -> Json<Value> {
    Json(json!({"status": "ok", "timestamp": api.now()}))
}

/// `GET /readyz`: 503 only when requests cannot be answered; a bus that is away makes it `degraded`, with 200.
async fn readyz(State(operations): State<Operations>) -> (StatusCode, Json<Value>) {
    let mut checks = vec![("store", store(&operations.store).await)];
    checks.extend((operations.ready)().0);
    let down = checks.iter().any(|(_, health)| matches!(health, Health::Down(_)));
    let degraded = checks.iter().any(|(_, health)| matches!(health, Health::Degraded(_)));
    let (status, word) = match (down, degraded) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (false, true) => (StatusCode::OK, "degraded"),
        (false, false) => (StatusCode::OK, "ready"),
    };
    let told = checks.into_iter().map(|(name, health)| {
        let text = match health {
            Health::Ok => "ok".to_owned(),
            Health::Degraded(why) | Health::Down(why) => why,
        };
        (name.to_owned(), Value::from(text))
    });
    (status, Json(json!({"status": word, "checks": told.collect::<Map<_, _>>()})))
}

/// The store answers, and its tables are those of this version.
async fn store(store: &Store) -> Health {
    if let Err(error) = store.ping().await {
        tracing::warn!(%error, "the store does not answer");
        return Health::Down("the database does not answer".into());
    }
    match store.check_tables().await {
        Ok(()) => Health::Ok,
        Err(error) => {
            tracing::warn!(%error, "the store's tables do not fit");
            Health::Down("the database's tables are not those of this version".into())
        }
    }
}
