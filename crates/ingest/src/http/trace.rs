//! Around every request: its id, what is left of the caller's rate, and one line in the log. No address, no body, no secret; a key by its visible prefix.

use std::sync::{Arc, OnceLock};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tokio::time::Instant;
use tracing::Instrument as _;
use usher_lifecycle::WorkspaceId;

use super::{limit::Budget, metrics::HttpMetrics};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over from a caller.
const LONGEST: usize = 128;

/// Who asked, filled in once the key is known.
#[derive(Clone, Default)]
pub(super) struct Who(Arc<OnceLock<Known>>);

struct Known {
    workspace: WorkspaceId,
    key_prefix: String,
    budget: Option<Budget>,
}

impl Who {
    pub(super) fn is(&self, workspace: WorkspaceId, key_prefix: &str, budget: Option<Budget>) {
        let _ = self.0.set(Known { workspace, key_prefix: key_prefix.to_owned(), budget });
    }
}

pub(super) async fn request(
    State(metrics): State<HttpMetrics>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request_id(request.headers());
    let who = Who::default();
    request.extensions_mut().insert(who.clone());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "none".to_owned());
    let begun = Instant::now();

    let span = tracing::info_span!("request", id);
    let mut response = next.run(request).instrument(span).await;

    let took = begun.elapsed();
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let status = response.status().as_u16();
    metrics.answered(&method, &route, status, took);
    let known = who.0.get();
    let workspace = known.map(|who| tracing::field::display(who.workspace));
    let key = known.map(|who| who.key_prefix.as_str());
    if matches!(route.as_str(), "/livez" | "/readyz" | "/metrics") {
        tracing::debug!(%method, route, status, ms, request_id = id, workspace, key, "request");
    } else {
        tracing::info!(%method, route, status, ms, request_id = id, workspace, key, "request");
    }
    if let Some(budget) = known.and_then(|who| who.budget) {
        budget.tell(response.headers_mut());
    }
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The caller's id if it is sane (1 to 128 letters, digits and `-_.:`), else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let sane = |id: &&str| {
        (1..=LONGEST).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    };
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(sane);
    given.map_or_else(|| format!("req_{:032x}", rand::random::<u128>()), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_is_taken_over_and_another_is_replaced() {
        let id = |text: &'static str| {
            request_id(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(text))]))
        };
        assert_eq!(id("a-b_C.1:2"), "a-b_C.1:2");
        for text in ["", "a b", "a\tb", "<x>", "a,b"] {
            assert!(id(text).starts_with("req_"), "{text:?}");
        }
        let long = HeaderValue::try_from("x".repeat(129)).expect("a header");
        assert!(request_id(&HeaderMap::from_iter([(REQUEST_ID, long)])).starts_with("req_"));
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
