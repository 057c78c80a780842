//! The HTTP API: requests in, one call of the store, answers out.
//!
//! Laws: every answer, also to what is no request of ours, has the error envelope or the object of the contract, and an
//! `X-Request-Id`; a key that is revoked is refused on the very next request (it is looked up each time, nothing here
//! remembers one); nothing is decided here that `lifecycle` decides. `routes.rs` is the table of routes; each resource
//! has a file of its own.

mod auth;
mod contacts;
mod customers;
mod error;
mod events;
mod health;
mod idempotency;
mod keys;
mod limit;
mod list;
mod me;
mod metrics;
mod onboardings;
pub(crate) mod openapi;
mod payload;
mod reminders;
mod routes;
mod serve;
mod snooze;
mod target;
mod templates;
mod trace;
mod users;
mod workspace;
mod write;

use std::sync::Arc;

use axum::{Router, middleware};
use chrono::{DateTime, Utc};
use tower_http::catch_panic::CatchPanicLayer;
use usher_lifecycle::reminder::Configured;
use usher_store::Store;

pub use self::{
    error::{ApiError, HttpCode, status_of},
    health::{Health, Operations, Readiness},
    metrics::{Exposition, HttpMetrics},
    openapi::document,
    serve::serve,
};

/// Most requests in 60 seconds that a key may be given; see `limit.rs`.
pub const MOST_REQUESTS: i64 = limit::MOST;

/// Bytes of a body that are read by default: 1 MiB.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// What the API is made of.
#[derive(Clone)]
pub struct App {
    /// Where everything is.
    pub store: Store,
    /// The clock; asked once per request.
    pub clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    /// Called after a commit that may have made a reminder due sooner. Must not block.
    pub wake: Arc<dyn Fn() + Send + Sync>,
    /// What `/readyz` tells beside the store. Must not block.
    pub ready: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// The channels of this installation; others are not planned for, and answers say so.
    pub channels: Configured,
    /// Most bytes of a body; more is 413.
    pub body_limit: usize,
    /// Where requests are counted.
    pub metrics: HttpMetrics,
    /// What `/metrics` shows.
    pub exposition: Exposition,
}

/// What the handlers share.
#[derive(Clone)]
struct Api(Arc<Inner>);

struct Inner {
    app: App,
    in_flight: idempotency::InFlight,
    limits: limit::Limits,
    guests: limit::Guests,
}

impl std::ops::Deref for Api {
    type Target = App;

    fn deref(&self) -> &App {
        &self.0.app
    }
}

impl Api {
    fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }
}

/// The whole API as a service.
pub fn router(app: App) -> Router {
    let metrics = app.metrics.clone();
    let operations = health::routes(Operations {
        store: app.store.clone(),
        ready: Arc::clone(&app.ready),
        exposition: app.exposition.clone(),
    });
    let api = Api(Arc::new(Inner {
        app,
        in_flight: idempotency::InFlight::default(),
        limits: limit::Limits::default(),
        guests: limit::Guests::default(),
    }));
    around(routes::table().router.with_state(api).merge(operations), metrics)
}

/// What a role without an API answers: `/livez`, `/readyz`, `/metrics`.
pub fn operations(operations: Operations, metrics: HttpMetrics) -> Router {
    around(health::routes(operations), metrics)
}

/// What every answer has.
fn around(routes: Router, metrics: HttpMetrics) -> Router {
    routes
        .fallback(error::route_not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(middleware::from_fn_with_state(metrics, trace::request))
}
