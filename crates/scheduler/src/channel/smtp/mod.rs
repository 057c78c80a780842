//! Our own holder of SMTP connections.
//!
//! lettre's pool neither bounds its connections nor sets `TCP_NODELAY`, and its `send` does not tell at which step it
//! failed. Here a semaphore bounds them, idle ones are used again (the latest first), and the steps are driven one by
//! one, because what an error means depends on the step. MAIL, RCPT and DATA go out together where the server offers
//! PIPELINING.
//!
//! Laws: any error drops its connection. A connection that died while idle costs nothing: as long as no byte of the
//! message itself was sent, one more try is made on a fresh connection. One deadline covers the whole message.

mod dialogue;
mod server;
mod verdict;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use self::dialogue::{Session, Step};
use self::server::Server;
use super::compose::Composed;
use super::email::SmtpConfig;
use super::{ConfigError, Outcome};

/// Servers close idle connections after a minute or more; we do it before them.
const IDLE: Duration = Duration::from_secs(45);

#[derive(Debug)]
pub(super) struct Smtp {
    server: Server,
    connect_limit: Duration,
    message_limit: Duration,
    connections: usize,
    permits: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    session: Session,
    since: Instant,
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").field("since", &self.since).finish_non_exhaustive()
    }
}

impl Smtp {
    pub(super) fn new(config: &SmtpConfig) -> Result<Self, ConfigError> {
        let connections = config.max_connections.clamp(1, 1_000);
        Ok(Self {
            server: Server::from_url(&config.url, config.extra_ca_pem.as_deref())?,
            connect_limit: config.connect_limit,
            message_limit: config.message_limit,
            connections,
            permits: Semaphore::new(connections),
            idle: Mutex::default(),
        })
    }

    pub(super) const fn connections(&self) -> usize {
        self.connections
    }

    pub(super) async fn send(&self, composed: &Composed) -> Outcome {
        let Ok(_permit) = self.permits.acquire().await else {
            return Outcome::for_now("closed", "the mailer is closed");
        };
        let deadline = Instant::now() + self.message_limit;
        if let Some(mut session) = self.take_idle() {
            let mut step = Step::Mail;
            match timeout_at(deadline, session.deliver(composed, &mut step)).await {
                Ok(Ok(reference)) => return self.accepted(session, reference),
                // The server had closed it, or closes it now.
                Ok(Err(fault)) if step < Step::Content && fault.is_farewell() => {}
                Ok(Err(fault)) => return verdict::of(step, &fault),
                Err(_) => return verdict::late(step),
            }
        }
        let mut step = Step::Connect;
        let mut session = match self.open(deadline, &mut step).await {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        match timeout_at(deadline, session.deliver(composed, &mut step)).await {
            Ok(Ok(reference)) => self.accepted(session, reference),
            Ok(Err(fault)) => verdict::of(step, &fault),
            Err(_) => verdict::late(step),
        }
    }

    pub(super) async fn check(&self) -> Outcome {
        let deadline = Instant::now() + self.message_limit;
        let mut step = Step::Connect;
        let mut session = match self.open(deadline, &mut step).await {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        match timeout_at(deadline, session.noop()).await {
            Ok(Ok(())) => self.accepted(session, None),
            Ok(Err(fault)) => verdict::of(Step::Hello, &fault),
            Err(_) => verdict::late(Step::Hello),
        }
    }

    async fn open(&self, deadline: Instant, step: &mut Step) -> Result<Session, Outcome> {
        let deadline = deadline.min(Instant::now() + self.connect_limit);
        match timeout_at(deadline, self.server.open(step)).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(fault)) => Err(verdict::of(*step, &fault)),
            Err(_) => Err(verdict::late(*step)),
        }
    }

    fn take_idle(&self) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|entry| entry.since.elapsed() < IDLE);
        idle.pop().map(|entry| entry.session)
    }

    fn accepted(&self, session: Session, reference: Option<String>) -> Outcome {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|entry| entry.since.elapsed() < IDLE);
        idle.push(Idle { session, since: Instant::now() });
        Outcome::Accepted { reference }
    }
}
