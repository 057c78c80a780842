//! A stand-in for the Slack Web API: the methods that usher calls, with Slack's shapes and Slack's ways to say no.
//!
//! Every call with the right token is recorded as it came. Answers are scripted per method; without a script a call
//! is answered as Slack does when all is well. It lives on the runtime of the test and ends when dropped.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::recording::Recording;

/// A call as it arrived.
#[derive(Clone, Debug)]
pub struct Call {
    /// `chat.postMessage`.
    pub method: String,
    /// The bearer token, if any.
    pub token: Option<String>,
    /// The JSON body; null when it is none.
    pub body: Value,
    /// When it had arrived in full.
    pub at: Instant,
    /// Whether Slack did what was asked: a message was posted. A dropped answer does not undo it.
    pub accepted: bool,
}

/// How a call is answered. Without the right token the answer is `invalid_auth` in any case.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// As Slack does when all is well.
    Ok,
    /// HTTP 200 with `ok: false` and this error, e.g. `is_archived`.
    Error(&'static str),
    /// HTTP 429 with Retry-After.
    RateLimited {
        /// In seconds.
        retry_after: u64,
    },
    /// This HTTP status with a body that is not JSON.
    Status(u16),
    /// No answer at all; nothing done.
    Hang,
    /// Does what was asked, then closes the connection without an answer.
    DropAfterAccept,
    /// Does what was asked, then never answers.
    HangAfterAccept,
}

/// The running stand-in.
pub struct StandIn {
    server: Arc<Server>,
    port: u16,
    accepting: JoinHandle<()>,
}

struct Server {
    token: String,
    calls: Recording<Call>,
    scripts: Mutex<HashMap<String, Script>>,
    messages: AtomicU32,
}

#[derive(Default)]
struct Script {
    constant: Option<Answer>,
    queue: VecDeque<Answer>,
}

impl StandIn {
    /// A stand-in for one workspace whose bot token is `token`.
    pub async fn start(token: &str) -> anyhow::Result<Self> {
        let server = Arc::new(Server {
            token: token.to_owned(),
            calls: Recording::new(),
            scripts: Mutex::default(),
            messages: AtomicU32::new(0),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&server)));
        Ok(Self { server, port, accepting })
    }

    /// `http://127.0.0.1:PORT/api`, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/api", self.port)
    }

    /// Answers calls of this method so from now on (answers given to `next` come first).
    pub fn set(&self, method: &str, answer: Answer) {
        self.script(method, |script| script.constant = Some(answer));
    }

    /// Answers the next call of this method so; calls queue up.
    pub fn next(&self, method: &str, answer: Answer) {
        self.script(method, |script| script.queue.push_back(answer));
    }

    /// Every call so far, also those refused for their token.
    pub fn calls(&self) -> Vec<Call> {
        self.server.calls.all()
    }

    /// The bodies of the `chat.postMessage` calls that Slack took: what people see.
    pub fn posted(&self) -> Vec<Value> {
        let calls = self.calls().into_iter();
        calls
            .filter(|call| call.accepted && call.method == "chat.postMessage")
            .map(|call| call.body)
            .collect()
    }

    /// Every call so far, as soon as there are `n`. Panics after `limit`.
    pub async fn wait_for(&self, n: usize, limit: Duration) -> Vec<Call> {
        self.server.calls.wait_for("calls", n, limit, |_| true).await
    }

    /// Every call of this method so far, as soon as there are `n`. Panics after `limit`.
    pub async fn wait_for_method(&self, method: &str, n: usize, limit: Duration) -> Vec<Call> {
        self.server.calls.wait_for(method, n, limit, |call| call.method == method).await
    }

    /// Forgets the calls so far.
    pub fn clear(&self) {
        self.server.calls.clear();
    }

    fn script(&self, method: &str, change: impl FnOnce(&mut Script)) {
        let mut scripts = self.server.scripts.lock().expect("no holder panics");
        change(scripts.entry(method.to_owned()).or_default());
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // The connections are tasks in a set that the accepting task owns: they end with it.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: Arc<Server>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((socket, _)) = listener.accept() => {
                let server = Arc::clone(&server);
                let service = service_fn(move |request| {
                    let server = Arc::clone(&server);
                    async move { server.answer(request).await }
                });
                let serving = hyper::server::conn::http1::Builder::new();
                connections.spawn(serving.serve_connection(TokioIo::new(socket), service));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

impl Server {
    /// An error closes the connection without a word.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, io::Error> {
        let Some(method) = request.uri().path().strip_prefix("/api/").map(ToOwned::to_owned) else {
            return Ok(plain(404));
        };
        // Slack takes GET as well where no body is needed, and its client library asks `auth.test` so.
        if request.method() != hyper::Method::POST && method != "auth.test" {
            return Ok(plain(405));
        }
        let authorization =
            request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = authorization.and_then(|value| value.strip_prefix("Bearer ")).map(ToOwned::to_owned);
        let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);

        let refused = match &token {
            None => Some("not_authed"),
            Some(token) if *token != self.token => Some("invalid_auth"),
            Some(_) => None,
        };
        let answer = refused.map_or_else(|| self.scripted(&method), Answer::Error);
        let usual = self.usual(&method, &body);
        let done = matches!(answer, Answer::Ok | Answer::DropAfterAccept | Answer::HangAfterAccept);
        let accepted = done && usual["ok"] == true;
        self.calls.push(Call { method, token, body, at: Instant::now(), accepted });
        match answer {
            Answer::Ok => Ok(json_response(&usual)),
            Answer::Error(error) => Ok(json_response(&json!({ "ok": false, "error": error }))),
            Answer::RateLimited { retry_after } => {
                let mut response = json_response(&json!({ "ok": false, "error": "ratelimited" }));
                *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                response.headers_mut().insert(header::RETRY_AFTER, retry_after.into());
                Ok(response)
            }
            Answer::Status(status) => Ok(plain(status)),
            Answer::Hang | Answer::HangAfterAccept => {
                let never: Result<Response<Full<Bytes>>, Infallible> = std::future::pending().await;
                Ok(never.unwrap_or_else(|never| match never {}))
            }
            Answer::DropAfterAccept => Err(io::Error::other("dropped by the script")),
        }
    }

    fn scripted(&self, method: &str) -> Answer {
        let mut scripts = self.scripts.lock().expect("no holder panics");
        let Some(script) = scripts.get_mut(method) else { return Answer::Ok };
        script.queue.pop_front().or(script.constant).unwrap_or(Answer::Ok)
    }

    /// The body with which Slack answers when nothing is wrong but, perhaps, the call itself.
    fn usual(&self, method: &str, body: &Value) -> Value {
        let error = |error: &str| json!({ "ok": false, "error": error });
        let text = body["text"].as_str().unwrap_or_default();
        let ts = || format!("1700000000.{:06}", self.messages.fetch_add(1, Ordering::SeqCst) + 1);
        match (method, body["channel"].as_str()) {
            ("auth.test", _) => json!({
                "ok": true, "url": "https://testkit.slack.com/", "team": "Testkit", "team_id": "T0TESTKIT",
                "user": "usher", "user_id": "U0USHER", "bot_id": "B0USHER", "is_enterprise_install": false,
            }),
            // `users` is a list, or a text with commas; usher opens conversations with one person only.
            ("conversations.open", _) => match body["users"].as_str().or(body["users"][0].as_str()) {
                Some(user) => json!({ "ok": true, "channel": { "id": direct_message_with(user) } }),
                None => error("users_list_not_supplied"),
            },
            ("chat.postMessage" | "chat.update", None) => error("channel_not_found"),
            ("chat.postMessage" | "chat.update", Some(_)) if text.is_empty() && body["blocks"].is_null() => {
                error("no_text")
            }
            ("chat.postMessage", Some(channel)) => {
                let ts = ts();
                json!({
                    "ok": true, "channel": direct_message_with(channel), "ts": ts,
                    "message": { "type": "message", "ts": ts, "text": text, "bot_id": "B0USHER", "user": "U0USHER" },
                })
            }
            ("chat.update", Some(_)) if body["ts"].as_str().is_none() => error("message_not_found"),
            ("chat.update", Some(channel)) => json!({
                "ok": true, "channel": channel, "ts": body["ts"], "text": text, "message": { "text": text },
            }),
            _ => error("unknown_method"),
        }
    }
}

/// The channel of the conversation between the bot and a user (`U1` -> `D1`); other channels are themselves.
fn direct_message_with(channel: &str) -> String {
    channel.strip_prefix('U').map_or_else(|| channel.to_owned(), |user| format!("D{user}"))
}

fn json_response(body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    let kind = header::HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn plain(status: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("not what you asked for"));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status between 100 and 999");
    response
}
