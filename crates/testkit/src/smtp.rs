//! An SMTP server that keeps what it gets, and misbehaves when told to.
//!
//! It speaks enough of RFC 5321 for a real client: EHLO with PIPELINING, 8BITMIME, SMTPUTF8 and SIZE, STARTTLS or TLS
//! from the start, AUTH PLAIN and LOGIN. How it answers is a [`Behaviour`], changed while it runs. It lives on the
//! runtime of the test that started it and ends when dropped.

mod behaviour;
mod session;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

pub use behaviour::Behaviour;

use crate::recording::Recording;
use crate::tls;
use behaviour::Script;

/// A message whose bytes were taken in full, whether or not the client was told so.
#[derive(Clone, Debug)]
pub struct Received {
    /// The address in MAIL FROM, without brackets.
    pub from: String,
    /// The accepted addresses of RCPT TO, in order.
    pub recipients: Vec<String>,
    /// Headers and body as sent, dots unstuffed, line ends CRLF.
    pub data: String,
    /// Whether it came over TLS.
    pub tls: bool,
    /// When its final dot arrived.
    pub at: Instant,
}

impl Received {
    /// The message, decoded for assertions. Panics when it is none.
    pub fn mail(&self) -> crate::mail::Mail {
        crate::mail::parse(&self.data).expect("a message that can be parsed")
    }
}

/// When the sink speaks TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Never; STARTTLS is not offered.
    #[default]
    Off,
    /// After STARTTLS, which is offered, not required. AUTH is offered after it only.
    StartTls,
    /// From the first byte.
    Implicit,
}

/// What the sink offers.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// When it speaks TLS.
    pub tls: Tls,
    /// User and password; when given, AUTH is offered, and required before MAIL.
    pub credentials: Option<(String, String)>,
    /// Host names and addresses of the certificate; `localhost` and `127.0.0.1` when empty.
    pub certificate_names: Vec<String>,
}

/// The running server.
pub struct Sink {
    server: Arc<Server>,
    port: u16,
    ca_pem: String,
    accepting: JoinHandle<()>,
}

struct Server {
    options: Options,
    acceptor: TlsAcceptor,
    script: Mutex<Script>,
    received: Recording<Received>,
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Sink {
    /// A sink without TLS and AUTH that accepts everything.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// A sink with these options that accepts everything.
    pub async fn start_with(mut options: Options) -> anyhow::Result<Self> {
        if options.certificate_names.is_empty() {
            options.certificate_names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        }
        let tls::Identity { acceptor, ca_pem } = tls::identity(&options.certificate_names)?;
        let server = Arc::new(Server {
            options,
            acceptor,
            script: Mutex::new(Script::default()),
            received: Recording::new(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&server)));
        Ok(Self { server, port, ca_pem, accepting })
    }

    /// Always `127.0.0.1`.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority that signed its certificate, in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Behaves so from now on (behaviours given to `next` come first).
    pub fn set(&self, behaviour: Behaviour) {
        self.script().set(behaviour);
    }

    /// Behaves so for the next `n` messages, or connections if the behaviour is one of connections.
    pub fn next(&self, n: usize, behaviour: Behaviour) {
        self.script().next(n, behaviour);
    }

    /// Every message so far, in order of arrival.
    pub fn messages(&self) -> Vec<Received> {
        self.server.received.all()
    }

    /// Every message so far, as soon as there are `n`. Panics after `limit`.
    pub async fn wait_for(&self, n: usize, limit: Duration) -> Vec<Received> {
        self.server.received.wait_for("messages", n, limit, |_| true).await
    }

    /// Forgets the messages so far.
    pub fn clear(&self) {
        self.server.received.clear();
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.server.connections.load(Ordering::SeqCst)
    }

    /// How many connections were open at once, at most.
    pub fn most_connections_at_once(&self) -> usize {
        self.server.most_open.load(Ordering::SeqCst)
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.server.script.lock().expect("no holder panics")
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // The connections are tasks in a set that the accepting task owns: they end with it.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: Arc<Server>) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            Ok((socket, _)) = listener.accept() => {
                sessions.spawn(serve(Arc::clone(&server), socket));
            }
            Some(_) = sessions.join_next() => {}
        }
    }
}

async fn serve(server: Arc<Server>, socket: TcpStream) {
    server.connections.fetch_add(1, Ordering::SeqCst);
    let open = server.open.fetch_add(1, Ordering::SeqCst) + 1;
    server.most_open.fetch_max(open, Ordering::SeqCst);
    // An error is a client that went away: what matters of the dialogue is on record.
    let _ = session::run(&server, socket).await;
    server.open.fetch_sub(1, Ordering::SeqCst);
}
