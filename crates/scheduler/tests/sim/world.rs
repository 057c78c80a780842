//! What the model knows of the records: every version with the instant from which it holds, so that any moment can be
//! asked about afterwards. Changed by commands that the store accepted, never read from the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use usher_lifecycle::State;
use usher_lifecycle::reminder::Channel;

use crate::attempts::Attempts;
use crate::rules::{Client, Job, Office, Person, SKEW, Targets, audience, escalated_to, silence};

/// Records are looked at again before a message when the last look is older.
const FRESH: TimeDelta = TimeDelta::milliseconds(1_100);

/// Versions in the order in which they came.
#[derive(Debug, Clone)]
pub(crate) struct History<T>(Vec<(DateTime<Utc>, T)>);

impl<T: Clone> History<T> {
    pub(crate) fn new(from: DateTime<Utc>, first: T) -> Self {
        Self(vec![(from, first)])
    }

    pub(crate) fn now(&self) -> &T {
        &self.0.last().unwrap().1
    }

    pub(crate) fn change(&mut self, at: DateTime<Utc>, change: impl FnOnce(&mut T)) {
        let mut next = self.now().clone();
        change(&mut next);
        self.0.push((at, next));
    }

    pub(crate) fn at(&self, at: DateTime<Utc>) -> &T {
        let older = self.0.iter().rev().find(|(from, _)| *from <= at);
        &older.unwrap_or(&self.0[0]).1
    }

    /// All versions, with the instant from which each holds.
    pub(crate) fn versions(&self) -> &[(DateTime<Utc>, T)] {
        &self.0
    }

    /// The instants at which it changed.
    pub(crate) fn changes(&self) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        self.0.iter().map(|(at, _)| *at)
    }
}

#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) id: usher_lifecycle::WorkspaceId,
    pub(crate) office: History<Office>,
    /// Places in the list of people.
    pub(crate) people: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Onboarding {
    pub(crate) id: String,
    pub(crate) tenant: usize,
    pub(crate) client: usize,
    pub(crate) job: History<Job>,
    /// From when on the rhythm counts from which date; none = from the date last reminded.
    pub(crate) rhythms: Vec<(DateTime<Utc>, Option<NaiveDate>, u16)>,
    /// *Remind now*: id, when, channels.
    pub(crate) requests: Vec<(String, DateTime<Utc>, Option<Vec<Channel>>)>,
    /// When somebody showed that they care.
    pub(crate) heeded: Vec<DateTime<Utc>>,
    /// The target, and how often it was put off within the phase.
    pub(crate) target: (Option<DateTime<Utc>>, u32),
    /// When it was put off for the third time: the state becomes `at_risk`, a sign of life, unless a step has set it before.
    pub(crate) put_off: Vec<DateTime<Utc>>,
}

#[derive(Debug)]
pub(crate) struct Customer {
    pub(crate) id: String,
    pub(crate) tenant: usize,
    pub(crate) client: History<Client>,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) people: Vec<History<Person>>,
    /// The workspace of each person.
    pub(crate) homes: Vec<usize>,
    pub(crate) customers: Vec<Customer>,
    pub(crate) onboardings: Vec<Onboarding>,
    pub(crate) by_id: HashMap<String, usize>,
    pub(crate) by_address: HashMap<String, usize>,
    pub(crate) attempts: Attempts,
    /// Who was refused for good, by place and channel, and whether the store knows is still to be seen.
    pub(crate) refused: BTreeSet<(usize, Channel)>,
    /// When all that was due was planned: by everybody's clock, and by that of the host that did.
    pub(crate) plans: BTreeMap<DateTime<Utc>, DateTime<Utc>>,
    /// The clock was set back from the first to the second.
    pub(crate) set_back: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    /// By the clock of a host that worked, and by everybody else's.
    pub(crate) clocks: HashMap<DateTime<Utc>, DateTime<Utc>>,
    /// What happened around the first onboardings about which a rule was broken.
    pub(crate) stories: Vec<String>,
    /// Broken rules, in words.
    pub(crate) faults: Vec<String>,
    /// What happened how often.
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl Onboarding {
    /// The target is another one.
    pub(crate) fn aim(&mut self, target: DateTime<Utc>, at: DateTime<Utc>) {
        let (old, shifts) = self.target;
        let later = old.is_some_and(|old| old < target);
        let shifts = shifts + u32::from(later);
        self.target = (Some(target), shifts);
        let third = later && shifts == 3 && self.job.now().state == State::Active;
        self.put_off.extend(third.then_some(at));
    }
}

impl World {
    pub(crate) fn fault(&mut self, text: String) {
        if self.faults.len() < 20 {
            self.faults.push(text);
        }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Whether a clock that was set back makes instants around this one ambiguous.
    pub(crate) fn is_murky(&self, at: DateTime<Utc>) -> bool {
        let slack = TimeDelta::hours(1);
        self.set_back.iter().any(|(from, to)| at >= *to - slack && at <= *from + slack)
    }

    pub(crate) fn silence_at(&self, place: usize, at: DateTime<Utc>) -> Option<&'static str> {
        let it = &self.onboardings[place];
        silence(it.job.at(at), *self.customers[it.client].client.at(at))
    }

    /// Why no slot that was due then is wanted, by a clock that shows `clock` then.
    pub(crate) fn unwanted_at(
        &self,
        place: usize,
        due: DateTime<Utc>,
        at: DateTime<Utc>,
        clock: DateTime<Utc>,
    ) -> Option<&'static str> {
        let snoozed = self.onboardings[place].job.at(at).snoozed;
        self.silence_at(place, at)
            .or_else(|| snoozed.is_some_and(|end| clock < end || due < end).then_some("snoozed"))
    }

    pub(crate) fn office(&self, place: usize) -> &History<Office> {
        &self.tenants[self.onboardings[place].tenant].office
    }

    pub(crate) fn audience_at(
        &self,
        place: usize,
        at: DateTime<Utc>,
        given: Option<&[Channel]>,
    ) -> Result<Targets, &'static str> {
        let job = self.onboardings[place].job.at(at);
        audience(self.office(place).at(at), job, |person| self.people[person].at(at).clone(), given)
    }

    /// All whom the steps of the escalation tell; with `after` that one alone.
    pub(crate) fn escalation_at(&self, place: usize, at: DateTime<Utc>, after: Option<u64>) -> Targets {
        let (office, job) = (self.office(place).at(at), self.onboardings[place].job.at(at));
        let person = |person: usize| self.people[person].at(at).clone();
        let steps = office.escalation.iter().filter(|step| after.is_none_or(|after| step.after == after));
        let told = steps.map(|step| escalated_to(office, job, person, *step));
        told.flat_map(Result::unwrap_or_default).collect()
    }

    /// The instant at which something was planned, by everybody's clock.
    pub(crate) fn true_time(&self, planned_at: DateTime<Utc>) -> DateTime<Utc> {
        self.clocks.get(&planned_at).copied().unwrap_or(planned_at)
    }

    /// Whether what was due at the first instant was planned before the second.
    pub(crate) fn was_planned(&self, due: DateTime<Utc>, before: DateTime<Utc>) -> bool {
        let from = (due - SKEW).min(before);
        self.plans.range(from..before).any(|(_, clock)| *clock >= due)
    }

    /// The last time at which all that was due was planned.
    pub(crate) fn last_plan(&self) -> DateTime<Utc> {
        self.plans.last_key_value().map_or(DateTime::<Utc>::MIN_UTC, |(_, clock)| *clock)
    }

    /// The moments that count for a message sent now: the last look at the records, and all since.
    pub(crate) fn moments(&self, place: usize, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let it = &self.onboardings[place];
        let people = it.job.now().roles.iter().flatten().flat_map(|person| self.people[*person].changes());
        let changes = it.job.changes().chain(people).chain(self.customers[it.client].client.changes());
        let changes = changes.chain(self.office(place).changes()).chain(it.heeded.iter().copied());
        let recent = changes.filter(|at| *at > now - FRESH && *at <= now);
        let mut moments: Vec<_> = recent.flat_map(|at| [at, at - TimeDelta::microseconds(1)]).collect();
        moments.push(now);
        moments
    }

    /// Every change around an onboarding from one instant to another.
    pub(crate) fn changes(
        &self,
        place: usize,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> impl Iterator<Item = DateTime<Utc>> {
        let it = &self.onboardings[place];
        let changes = it.job.changes().chain(self.customers[it.client].client.changes());
        changes.chain(self.office(place).changes()).filter(move |at| *at >= from && *at <= to)
    }

    /// The same, and both ends.
    pub(crate) fn span(&self, place: usize, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        self.changes(place, from, to).chain([from, to]).collect()
    }

    /// Whether the workspace's policy changed from the first instant to the second, or nearly so.
    pub(crate) fn policy_moved(&self, place: usize, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
        self.office(place).changes().skip(1).any(|at| at >= from - SKEW && at <= to + SKEW)
    }
}
