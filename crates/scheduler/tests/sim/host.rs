//! A process that schedules: a runtime, connections and a scheduler of its own. It dies where it is told to, between
//! any two statements or around a channel's answer, and others get to run in the middle of what it does.
//!
//! The store names every statement in a trace event before it is sent to the database; that is where a host is held up
//! or killed, so that nothing in production code knows of it.

use std::fmt::{self, Debug};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use futures_util::FutureExt as _;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, span};
use usher_bus::{Bus, Local};
use usher_scheduler::message::Templates;
use usher_scheduler::{Channels, Clock, Scheduler, Settings};
use usher_store::{Store, StoreError};
use usher_testkit::clock::VirtualClock;

/// What happens in the middle of a pass.
pub(crate) type Interruption = Box<dyn FnOnce() + Send>;

/// How a host's pass is disturbed.
#[derive(Default)]
pub(crate) struct Switch {
    dead: AtomicBool,
    died: Notify,
    /// Statements that are left until it dies, counted down; 0 = it lives.
    fuse: AtomicU64,
    /// What happens before the first statement of that name.
    before: Mutex<Option<(&'static str, Interruption)>>,
    /// What happens while the next message is being sent.
    pub(crate) during_send: Mutex<Option<Interruption>>,
    /// Messages that are left until it dies; 0 = it lives. Even: before the message arrives, odd: after.
    pub(crate) last_send: AtomicU64,
    /// The number of the pass.
    pub(crate) pass: AtomicU64,
    /// How far the host's clock is ahead of everybody else's, in milliseconds.
    skew: AtomicI64,
}

struct Death;

impl Switch {
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    pub(crate) fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.died.notify_one();
    }

    pub(crate) fn skew(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.skew.load(Ordering::SeqCst))
    }

    pub(crate) fn set_skew(&self, skew: TimeDelta) {
        self.skew.store(skew.num_milliseconds(), Ordering::SeqCst);
    }

    pub(crate) fn die_after(&self, statements: u64) {
        self.fuse.store(statements, Ordering::SeqCst);
    }

    pub(crate) fn interrupt(&self, statement: &'static str, with: Interruption) {
        *self.before.lock().unwrap() = Some((statement, with));
    }

    fn statement(&self, name: &str) {
        let fuse = self.fuse.load(Ordering::SeqCst);
        if fuse > 0 {
            self.fuse.store(fuse - 1, Ordering::SeqCst);
            if fuse == 1 {
                self.die();
            }
        }
        if self.is_dead() {
            // Ends the pass, or the task in it, without a word.
            resume_unwind(Box::new(Death));
        }
        let mut before = self.before.lock().unwrap();
        if before.as_ref().is_some_and(|(wanted, _)| *wanted == name) {
            let (_, with) = before.take().unwrap();
            drop(before);
            with();
        }
    }

    fn calm(&self) {
        self.fuse.store(0, Ordering::SeqCst);
        self.last_send.store(0, Ordering::SeqCst);
        *self.before.lock().unwrap() = None;
        *self.during_send.lock().unwrap() = None;
    }
}

pub(crate) struct Host {
    pub(crate) switch: Arc<Switch>,
    life: Option<Life>,
    dispatch: Dispatch,
    start: Box<dyn Fn() -> Life + Send>,
}

struct Life {
    runtime: Runtime,
    scheduler: Scheduler,
}

/// One thread; all that can run does before anybody looks at what has come of it, so that runs are repeatable.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().event_interval(100_000).enable_all().build().unwrap()
}

impl Host {
    pub(crate) fn new(
        url: String,
        clock: VirtualClock,
        batch: u32,
        templates: Arc<Templates>,
        channels: impl Fn(Arc<Switch>) -> Channels + Send + 'static,
    ) -> Self {
        let switch = Arc::new(Switch::default());
        let ours = Arc::clone(&switch);
        let own = Arc::clone(&switch);
        let clock: Clock = Arc::new(move || clock.now() + own.skew());
        let start = move || {
            let runtime = runtime();
            let store = runtime.block_on(Store::connect(&url, 4)).unwrap();
            let settings = Settings { message_domain: "usher.example".to_owned(), onboarding_url: None };
            let bus = Bus::Local(Local::new());
            let channels = channels(Arc::clone(&ours));
            let scheduler =
                Scheduler::new(store, bus, Arc::clone(&clock), channels, Arc::clone(&templates), settings);
            let scheduler = scheduler.with_batch(batch);
            Life { runtime, scheduler }
        };
        let dispatch = Dispatch::new(Watch(Arc::clone(&switch)));
        Self { switch, life: Some(start()), dispatch, start: Box::new(start) }
    }

    /// Plans or dispatches; none when the host died of it. It has started again by then.
    pub(crate) fn run<T, Work>(
        &mut self,
        work: impl FnOnce(Scheduler) -> Work,
    ) -> Option<Result<T, StoreError>>
    where
        Work: Future<Output = Result<T, StoreError>>,
    {
        let life = self.life.as_ref().unwrap();
        let working = AssertUnwindSafe(work(life.scheduler.clone())).catch_unwind();
        let done = tracing::dispatcher::with_default(&self.dispatch, || {
            life.runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = self.switch.died.notified() => None,
                    done = working => Some(done),
                }
            })
        });
        match done {
            Some(Err(panic)) if !panic.is::<Death>() => resume_unwind(panic),
            Some(Ok(done)) if !self.switch.is_dead() => {
                self.switch.calm();
                Some(done)
            }
            None | Some(_) => {
                self.life = None;
                self.switch.calm();
                self.switch.dead.store(false, Ordering::SeqCst);
                self.life = Some((self.start)());
                // A permit that nobody waited for.
                self.life.as_ref().unwrap().runtime.block_on(async {
                    tokio::select! { biased; () = self.switch.died.notified() => {}, () = std::future::ready(()) => {} }
                });
                None
            }
        }
    }
}

/// Tells the switch of every statement.
struct Watch(Arc<Switch>);

impl Subscriber for Watch {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::TRACE && metadata.target() == "usher_store::db"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut name = Name(String::new());
        event.record(&mut name);
        self.0.statement(&name.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Name(String);

impl Visit for Name {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "statement" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}
