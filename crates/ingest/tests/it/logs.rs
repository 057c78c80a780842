//! What the log says of requests, and what it never says.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use axum::body::Body;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;
use usher_ingest::http::{App, Readiness, router};

use crate::app::TestApp;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Lines {
    /// Listens to this thread, on which the whole test runs.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(self.clone());
        tracing::subscriber::set_default(subscriber.with_max_level(tracing::Level::DEBUG).finish())
    }

    fn of(&self, target: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(target)).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn one_line_per_request_without_addresses_and_secrets() {
    let app = TestApp::sqlite().await;
    let lines = Lines::default();
    let _listening = lines.listen();
    let body = json!({"name": "Ada", "email": "ada@example.com"}).to_string();
    let request = app.request("POST", "users?token=hush").header("x-request-id", "r-1");
    app.send(request.body(Body::from(body)).unwrap()).await;

    let told = lines.of("usher_ingest::http::trace");
    assert_eq!(told.len(), 1, "{told:?}");
    let prefix = app.live.chars().take(16).collect::<String>();
    let workspace = app.workspace.id.to_text();
    for part in
        ["method=POST", "route=\"/api/v1/users\"", "status=201", "request_id=\"r-1\"", &prefix, &workspace]
    {
        assert!(told[0].contains(part), "{part} in {}", told[0]);
    }
    let all = lines.of("");
    for secret in [app.live.as_str(), "ada@example.com", "hush"] {
        assert!(!all.iter().any(|line| line.contains(secret)), "{secret}");
    }
}

#[tokio::test]
async fn a_panic_is_logged_once() {
    let mut app = TestApp::sqlite().await;
    app.router = router(App {
        store: app.store.clone(),
        clock: Arc::new(|| panic!("the clock fell off the wall")),
        wake: Arc::new(|| {}),
        ready: Arc::new(Readiness::default),
        channels: usher_lifecycle::reminder::Configured { email: true, slack: false },
        body_limit: 1024,
        metrics: usher_ingest::http::HttpMetrics::default(),
        exposition: usher_ingest::http::Exposition::default(),
    });
    let lines = Lines::default();
    let _listening = lines.listen();
    app.get("me").await.refused(500, "internal_error", None);
    let told = lines.of("fell off");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("ERROR") && told[0].contains("req_"), "with the request's id: {}", told[0]);
}
