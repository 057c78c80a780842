//! The service under test, and what a caller sees of it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use chrono::{DateTime, Utc};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;
use usher_ingest::http::{self, App, Readiness};
use usher_lifecycle::reminder::Rules;
use usher_store::{Bootstrap, Store, Workspace};
use usher_testkit::{clock::VirtualClock, postgres};

/// A Monday.
pub(crate) fn start() -> DateTime<Utc> {
    "2026-03-02T08:00:00Z".parse().unwrap()
}

/// Names each story twice, once per engine.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(&crate::app::TestApp::sqlite().await).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $name() {
                usher_testkit::skip_without_servers!();
                super::$name(&crate::app::TestApp::postgres().await).await;
            })*
        }
    };
}
pub(crate) use on_both_engines;

pub(crate) struct TestApp {
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) workspace: Workspace,
    pub(crate) url: String,
    pub(crate) live: String,
    pub(crate) test: String,
    pub(crate) wakes: Arc<AtomicUsize>,
    pub(crate) clock: VirtualClock,
    _directory: Option<tempfile::TempDir>,
}

impl TestApp {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("usher.db").display());
        let store = Store::connect(&url, 1).await.unwrap();
        store.migrate().await.unwrap();
        Self::on(store, url, Some(directory)).await
    }

    pub(crate) async fn postgres() -> Self {
        let key = migrations();
        let database = postgres::database_from_template(&key, |url| async move {
            let store = Store::connect(&url, 1).await?;
            store.migrate().await?;
            store.close().await;
            Ok(())
        });
        let url = database.await.unwrap().url;
        let store = Store::connect(&url, 4).await.unwrap();
        Self::on(store, url, None).await
    }

    /// On an empty database.
    pub(crate) async fn on_postgres(url: &str) -> Self {
        let store = Store::connect(url, 4).await.unwrap();
        store.migrate().await.unwrap();
        Self::on(store, url.to_owned(), None).await
    }

    async fn on(store: Store, url: String, directory: Option<tempfile::TempDir>) -> Self {
        let first =
            Bootstrap { slug: "acme".into(), name: "Acme".into(), rules: Rules::default(), secret: None };
        let made = store.bootstrap(&first, start()).await.unwrap().unwrap();
        let test = store.create_key(made.workspace.id, "test key", false, start()).await.unwrap();
        let wakes = Arc::new(AtomicUsize::new(0));
        let clock = VirtualClock::new(start());
        let router = http::router(App {
            store: store.clone(),
            clock: clock.as_fn(),
            wake: Arc::new({
                let wakes = Arc::clone(&wakes);
                move || {
                    wakes.fetch_add(1, Ordering::SeqCst);
                }
            }),
            ready: Arc::new(Readiness::default),
            channels: usher_lifecycle::reminder::Configured { email: true, slack: false },
            body_limit: http::BODY_LIMIT,
            metrics: http::HttpMetrics::default(),
            exposition: http::Exposition::default(),
        });
        Self {
            router,
            store,
            workspace: made.workspace,
            url,
            live: made.key.secret,
            test: test.secret,
            wakes,
            clock,
            _directory: directory,
        }
    }

    /// Another process on the same store, with its own connections.
    pub(crate) async fn replica(&self) -> Router {
        http::router(App {
            store: Store::connect(&self.url, 2).await.unwrap(),
            clock: self.clock.as_fn(),
            wake: Arc::new(|| {}),
            ready: Arc::new(Readiness::default),
            channels: usher_lifecycle::reminder::Configured { email: true, slack: false },
            body_limit: http::BODY_LIMIT,
            metrics: http::HttpMetrics::default(),
            exposition: http::Exposition::default(),
        })
    }

    /// A key that may do that much, and no more.
    pub(crate) async fn key(&self, scopes: &[&str], rate_limit: Option<i64>) -> String {
        let scopes = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
        let spec = usher_store::KeySpec { scopes, rate_limit, ..usher_store::KeySpec::new("scoped", true) };
        self.store.create_key_as(self.workspace.id, &spec, self.clock.now()).await.unwrap().secret
    }

    /// A request with that key and body.
    pub(crate) async fn with(&self, key: &str, method: &str, path: &str, body: &str) -> Answer {
        self.send(Self::request_with(key, method, path).body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        Self::send_to(&self.router, request).await
    }

    pub(crate) async fn send_to(router: &Router, request: Request<Body>) -> Answer {
        let response = router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// A request with the live key.
    pub(crate) fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        Self::request_with(&self.live, method, path)
    }

    pub(crate) fn request_with(key: &str, method: &str, path: &str) -> axum::http::request::Builder {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/api/v1/{path}") };
        Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header("authorization", format!("Bearer {key}"))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.raw("POST", path, body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.raw("PATCH", path, body.to_string()).await
    }

    /// Any bytes as a JSON body.
    pub(crate) async fn raw(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let request = self.request(method, path).header("content-type", "application/json");
        self.send(request.body(body.into()).unwrap()).await
    }

    /// A POST that must create, and what it created.
    pub(crate) async fn made(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.json()
    }

    /// An onboarding of a new customer.
    pub(crate) async fn onboarding(&self) -> Value {
        let customer = self.made("customers", serde_json::json!({"name": "Initech"})).await;
        self.made("onboardings", serde_json::json!({"customer_id": customer["id"]})).await
    }

    pub(crate) fn wakes(&self) -> usize {
        self.wakes.load(Ordering::SeqCst)
    }
}

/// Everything the migrations say: a template made by others is another one.
fn migrations() -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/postgres");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().fold("usher".to_owned(), |all, file| all + &std::fs::read_to_string(file).unwrap())
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The object of an answer that must be 200.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.json()
    }

    /// Status, code and field of an error; the envelope must be whole.
    pub(crate) fn error(&self) -> (u16, String, Option<String>) {
        let body = self.json();
        let error = body["error"].as_object().unwrap_or_else(|| panic!("no envelope: {body}"));
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        let kinds = [
            "invalid_request_error",
            "authentication_error",
            "permission_error",
            "rate_limit_error",
            "not_found",
            "conflict",
            "internal_error",
        ];
        assert!(kinds.contains(&error["type"].as_str().unwrap()), "{body}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{body}");
        let known = ["type", "code", "message", "field"];
        assert!(error.keys().all(|key| known.contains(&key.as_str())), "{body}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.header("x-request-id").is_some(), "every answer has an id");
        let field = error.get("field").map(|field| field.as_str().unwrap().to_owned());
        (self.status.as_u16(), error["code"].as_str().unwrap().to_owned(), field)
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str, field: Option<&str>) {
        assert_eq!(self.error(), (status, code.to_owned(), field.map(str::to_owned)), "{}", self.body);
    }
}
