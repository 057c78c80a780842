//! `GET /metrics`, and what the API counts of itself.

use std::{pin::Pin, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderValue, Method, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::health::Operations;

/// What the exposition is written in; Prometheus reads it as well as its own older format.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Requests by route and status, and how long they took. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<Request, Counter>,
    duration: Family<Route, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        let duration = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        Self { requests: Family::default(), duration: Family::new_with_constructor(duration) }
    }
}

impl HttpMetrics {
    /// Adds them to the registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "usher_http_requests",
            "Requests by method, route (none: no such route) and status",
            self.requests.clone(),
        );
        registry.register(
            "usher_http_request_duration_seconds",
            "Time from the headers of a request to those of its answer",
            self.duration.clone(),
        );
    }

    /// Counts an answer. The route is a pattern of the table, never a path: callers must not make series.
    pub fn answered(&self, method: &Method, route: &str, status: u16, took: Duration) {
        let (method, route) = (known(method), route.to_owned());
        self.duration
            .get_or_create_owned(&Route { method, route: route.clone() })
            .observe(took.as_secs_f64());
        self.requests.get_or_create(&Request { method, route, status }).inc();
    }
}

/// Methods of our routes by name; callers may invent others.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

type Text = Pin<Box<dyn Future<Output = String> + Send>>;

/// Writes all metrics of the process, in the text format of `OpenMetrics`.
#[derive(Clone)]
pub struct Exposition(Arc<dyn Fn() -> Text + Send + Sync>);

impl Exposition {
    /// What is called for each scrape.
    pub fn new<F: Future<Output = String> + Send + 'static>(
        write: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move || Box::pin(write())))
    }
}

impl Default for Exposition {
    /// No metrics at all.
    fn default() -> Self {
        Self::new(|| std::future::ready("# EOF\n".to_owned()))
    }
}

/// `GET /metrics`.
pub(super) async fn metrics(State(operations): State<Operations>) -> Response {
    ([(CONTENT_TYPE, OPEN_METRICS)], (operations.exposition.0)().await).into_response()
}
