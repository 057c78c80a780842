//! Whether the service lives and can do its work. No key needed.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Map, Value, json};

use super::Api;

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
pub(super) async fn livez() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /api/v1/health`.
pub(super) async fn health(State(api): State<Api>) -> Json<Value> {
    Json(json!({"status": "ok", "timestamp": api.now()}))
}

/// `GET /readyz`: 503 only when requests cannot be answered; a bus that is away makes it `degraded`, with 200.
pub(super) async fn readyz(State(api): State<Api>) -> (StatusCode, Json<Value>) {
    let mut checks = vec![("store", store(&api).await)];
    checks.extend((api.ready)().0);
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
async fn store(api: &Api) -> Health {
    if let Err(error) = api.store.ping().await {
        tracing::warn!(%error, "the store does not answer");
        return Health::Down("the database does not answer".into());
    }
    match api.store.check_tables().await {
        Ok(()) => Health::Ok,
        Err(error) => {
            tracing::warn!(%error, "the store's tables do not fit");
            Health::Down("the database's tables are not those of this version".into())
        }
    }
}
