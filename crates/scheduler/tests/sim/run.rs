//! The year: time passes, people change things, two hosts plan and send, and things go wrong.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use usher_lifecycle::reminder::Channel;
use usher_scheduler::message::Templates;
use usher_store::{Delivery, Page, Status, Store};
use usher_testkit::clock::VirtualClock;

use crate::attempts::Key;
use crate::chance::Chance;
use crate::host::{Host, Interruption, runtime};
use crate::rules::SKEW;
use crate::world::World;
use crate::{at, sender};

/// When what is due, the earliest first.
type Agenda = BinaryHeap<Reverse<(DateTime<Utc>, usize)>>;

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) onboardings: usize,
    pub(crate) days: i64,
}

impl Size {
    /// Many are reminded rarely, as they are where there are many.
    pub(crate) const fn is_large(self) -> bool {
        self.onboardings > 2_000
    }

    /// By how many milliseconds a host comes late, within what is still on time.
    const fn lateness(self) -> i64 {
        if self.is_large() { 600_000 } else { 150_000 }
    }
}

/// What everybody who takes part shares.
pub(crate) struct Stage {
    pub(crate) seed: u64,
    pub(crate) size: Size,
    pub(crate) clock: VirtualClock,
    world: Mutex<World>,
    chance: Mutex<Chance>,
    hosts: OnceLock<[Mutex<Host>; 2]>,
    pub(crate) api: (Runtime, Store),
    passes: AtomicU64,
    /// When each onboarding's next change is due, by place.
    agenda: Mutex<Agenda>,
    /// When which workspace changes its policy.
    reforms: Mutex<Vec<(DateTime<Utc>, usize)>>,
    /// Until when a channel's server is away.
    outages: Mutex<[Option<DateTime<Utc>>; 2]>,
    /// Every other message is refused for now.
    pub(crate) surly: AtomicBool,
    /// Nothing goes wrong any more.
    pub(crate) calm: AtomicBool,
    _folder: TempDir,
}

impl Stage {
    /// `url` is none for SQLite in a folder of its own.
    pub(crate) fn new(seed: u64, size: Size, url: Option<String>) -> Arc<Self> {
        let memory = std::path::Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let url = url.unwrap_or_else(|| format!("sqlite://{}/usher.db", folder.path().display()));
        usher_store::seed(seed | 1);
        let runtime = runtime();
        let store = runtime.block_on(async {
            let store = Store::connect(&url, 4).await.unwrap();
            store.migrate().await.unwrap();
            store
        });
        let stage = Arc::new(Self {
            seed,
            size,
            clock: VirtualClock::new(at("2026-01-01T00:00:00Z")),
            world: Mutex::default(),
            chance: Mutex::new(Chance::new(seed)),
            hosts: OnceLock::new(),
            api: (runtime, store),
            passes: AtomicU64::new(0),
            agenda: Mutex::default(),
            reforms: Mutex::default(),
            outages: Mutex::default(),
            surly: AtomicBool::new(false),
            calm: AtomicBool::new(false),
            _folder: folder,
        });
        let templates = Arc::new(templates());
        let host = |batch| {
            let ours = Arc::downgrade(&stage);
            let channels = move |switch| sender::channels(&ours.upgrade().unwrap(), &switch);
            let (url, clock, templates) = (url.clone(), stage.clock.clone(), Arc::clone(&templates));
            Mutex::new(Host::new(url, clock, batch, templates, channels))
        };
        // One of them plans in small steps, so that a crash often falls between two.
        let small = u32::try_from(size.onboardings / 500).unwrap().max(3);
        assert!(stage.hosts.set([host(500), host(small)]).is_ok());
        stage.found();
        stage
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn chance(&self) -> MutexGuard<'_, Chance> {
        self.chance.lock().unwrap()
    }

    pub(crate) fn agenda(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().unwrap()
    }

    pub(crate) fn reforms(&self) -> MutexGuard<'_, Vec<(DateTime<Utc>, usize)>> {
        self.reforms.lock().unwrap()
    }

    fn host(&self, which: usize) -> MutexGuard<'_, Host> {
        self.hosts.get().unwrap()[which].lock().unwrap()
    }

    pub(crate) fn is_out(&self, channel: Channel, now: DateTime<Utc>) -> bool {
        let which = usize::from(channel == Channel::Slack);
        self.outages.lock().unwrap()[which].is_some_and(|until| now < until)
    }

    /// Runs on a thread of its own, as another process would, until it is done.
    fn elsewhere<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(work).join().unwrap())
    }

    /// The whole ledger of an onboarding.
    pub(crate) fn ledger(&self, id: &str) -> Vec<Delivery> {
        let (runtime, store) = &self.api;
        let mut rows = Vec::new();
        let mut page = Page { limit: 100, cursor: None };
        loop {
            let part = runtime.block_on(store.ledger(id.parse().unwrap(), &page)).unwrap();
            rows.extend(part.data);
            match part.next {
                Some(next) => page.cursor = Some(next),
                None => return rows,
            }
        }
    }

    /// The year, and then days without faults until nothing is left to do.
    pub(crate) fn play(self: &Arc<Self>) {
        let end = self.clock.now() + TimeDelta::days(self.size.days);
        let mut away = None;
        while self.clock.now() < end {
            let host = self.chance().below(2);
            let wake = self.wake(host).unwrap_or(end).max(self.clock.now());
            let wake = away.map_or(wake, |until: DateTime<Utc>| wake.max(until));
            let change = self.agenda().peek().map_or(end, |Reverse((at, _))| *at);
            if change <= wake {
                self.advance_to(change);
                self.change();
                continue;
            }
            self.advance_to(wake.min(end));
            away = self.mishap();
            if away.is_none() {
                self.passes(host);
            }
        }
        self.calm.store(true, Ordering::SeqCst);
        let last = self.clock.now() + TimeDelta::days(12);
        while let Some(wake) = self.wake(0).filter(|at| *at < last) {
            self.advance_to(wake);
            self.passes(0);
        }
    }

    /// When the host has something to do, by everybody's clock.
    fn wake(&self, host: usize) -> Option<DateTime<Utc>> {
        let wake = self.api.0.block_on(self.api.1.next_wake()).unwrap();
        wake.map(|at| at - self.host(host).switch.skew())
    }

    /// A little later than wanted, as clocks are; mostly within a few seconds, when much is to be done within minutes.
    fn advance_to(&self, at: DateTime<Utc>) {
        let longest = if self.chance().once_in(2_500) { 5_000 } else { self.size.lateness() };
        let late = TimeDelta::milliseconds(self.chance().between(3, longest));
        let now = self.clock.now();
        self.clock.set((at + late).max(now + TimeDelta::milliseconds(5)));
    }

    /// Outages, downtime, and a clock that is set back.
    fn mishap(&self) -> Option<DateTime<Utc>> {
        let now = self.clock.now();
        let mut chance = self.chance();
        if chance.once_in(20) {
            let hours =
                if chance.once_in(1_500) { 24 * chance.between(2, 20) } else { chance.between(1, 30) };
            self.world().count("downtimes");
            return Some(now + TimeDelta::hours(hours) + TimeDelta::minutes(chance.between(0, 59)));
        }
        if chance.once_in(15) {
            let which = chance.below(2);
            let hours = if chance.once_in(2_000) { 30 } else { 2 };
            self.outages.lock().unwrap()[which] = Some(now + TimeDelta::hours(hours));
            self.world().count("outages");
        }
        if chance.once_in(100) {
            let skew =
                TimeDelta::milliseconds(chance.between(-SKEW.num_milliseconds(), SKEW.num_milliseconds()));
            self.host(chance.below(2)).switch.set_skew(skew);
            self.world().count("clocks astray");
        }
        if chance.once_in(6) {
            let to = now - TimeDelta::minutes(chance.between(1, 120));
            self.clock.set(to);
            let mut world = self.world();
            world.set_back.push((now, to));
            world.count("clocks set back");
        }
        None
    }

    /// Both hosts look at the tables, in either order, perhaps one in the middle of the other.
    fn passes(self: &Arc<Self>, first: usize) {
        let (both, meddled) = {
            let mut chance = self.chance();
            (chance.once_in(3_000), chance.once_in(800))
        };
        if both {
            self.plan(first);
            self.plan(1 - first);
        } else {
            self.plan(first);
        }
        if meddled {
            self.change();
        }
        self.dispatch(first, true);
        crate::people::learn_broken(self);
        if both {
            self.dispatch(1 - first, false);
            crate::people::learn_broken(self);
        }
        if self.wake(first).is_some_and(|at| at <= self.clock.now()) {
            // Something is due that cannot be had yet.
            self.clock.advance(TimeDelta::seconds(20));
        }
    }

    /// The number of a new pass, and the time by the host's clock.
    fn begin(&self, host: &Host) -> (u64, DateTime<Utc>) {
        let pass = self.passes.fetch_add(1, Ordering::SeqCst) + 1;
        let now = self.clock.now();
        let clock = now + host.switch.skew();
        let mut world = self.world();
        world.count("passes");
        world.clocks.insert(clock, now);
        drop(world);
        host.switch.pass.store(pass, Ordering::SeqCst);
        let mut chance = self.chance();
        if !self.calm.load(Ordering::SeqCst) && chance.once_in(200) {
            host.switch.die_after(u64::try_from(chance.between(1, 60)).unwrap());
        }
        (pass, clock)
    }

    fn plan(&self, which: usize) {
        let mut host = self.host(which);
        let at = self.clock.now();
        let (_, now) = self.begin(&host);
        let planned = host.run(|scheduler| async move { scheduler.plan(now).await });
        let mut world = self.world();
        match planned {
            Some(Ok(_)) => drop(world.plans.insert(at, now)),
            Some(Err(error)) => world.fault(format!("{now}: planning failed: {error}")),
            None => world.count("crashes in planning"),
        }
    }

    fn dispatch(self: &Arc<Self>, which: usize, outer: bool) {
        let mut host = self.host(which);
        let (pass, now) = self.begin(&host);
        if !self.calm.load(Ordering::SeqCst) {
            let mut chance = self.chance();
            if chance.once_in(100) {
                host.switch.last_send.store(u64::try_from(chance.between(1, 12)).unwrap(), Ordering::SeqCst);
            }
            if outer && chance.once_in(600) {
                let statement = chance.pick(&["UNPLANNED", "ONBOARDINGS", "LAST_CHANGES", ""]);
                let kind = chance.below(5);
                drop(chance);
                let interruption = self.interruption(kind, 1 - which, pass);
                if statement.is_empty() {
                    *host.switch.during_send.lock().unwrap() = Some(interruption);
                } else {
                    host.switch.interrupt(statement, interruption);
                }
            }
        }
        let done = host.run(|scheduler| async move { scheduler.dispatch(now).await });
        drop(host);
        match &done {
            Some(Ok(_)) => {}
            Some(Err(error)) => self.world().fault(format!("{now}: dispatching failed: {error}")),
            None => self.world().count("crashes in dispatch"),
        }
        if matches!(done, Some(Ok(_))) {
            self.world().attempts.fresh.remove(&pass);
            return;
        }
        // What the ledger has by now was recorded before the crash; of the rest nobody knows.
        let keys = self.world().attempts.fresh.remove(&pass).unwrap_or_default();
        let recorded: BTreeSet<Key> = keys.iter().filter(|key| self.is_recorded(key)).cloned().collect();
        let mut world = self.world();
        world.attempts.fresh.insert(pass, keys);
        world.lose(pass, &recorded);
        world.attempts.fresh.remove(&pass);
    }

    fn is_recorded(&self, (place, kind, slot, channel, recipient): &Key) -> bool {
        let id = self.world().onboardings[*place].id.clone();
        self.ledger(&id).iter().any(|row| {
            row.status == Status::Sent
                && row.kind == *kind
                && row.slot == *slot
                && row.channel == Some(*channel)
                && row.recipient.as_ref().is_some_and(|it| it.to_string() == *recipient)
        })
    }

    /// The other host's pass, somebody's change, or a leap of the clock, in the middle of a pass.
    fn interruption(self: &Arc<Self>, kind: usize, other: usize, pass: u64) -> Interruption {
        let stage = Arc::clone(self);
        Box::new(move || {
            stage.clock.advance(TimeDelta::milliseconds(5));
            Self::elsewhere(|| match kind {
                0 | 1 => {
                    stage.world().count("passes within a pass");
                    stage.plan(other);
                    stage.dispatch(other, false);
                }
                2 | 3 => {
                    stage.world().count("changes within a pass");
                    stage.change();
                }
                _ => {
                    let minutes = stage.chance().between(1, 30);
                    stage.clock.advance(TimeDelta::minutes(minutes));
                    let mut world = stage.world();
                    world.count("leaps within a pass");
                    world.lose(pass, &BTreeSet::new());
                    drop(world);
                    stage.plan(other);
                    // What the other host takes over must often be pending still when this one comes back.
                    stage.surly.store(true, Ordering::SeqCst);
                    stage.dispatch(other, false);
                    stage.surly.store(false, Ordering::SeqCst);
                }
            });
            stage.clock.advance(TimeDelta::milliseconds(5));
        })
    }
}

/// Short ones: what messages say is not the point here.
fn templates() -> Templates {
    let folder = tempfile::tempdir().unwrap();
    for name in usher_scheduler::message::NAMES {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "due").unwrap();
    }
    Templates::with_overrides(folder.path()).unwrap()
}
