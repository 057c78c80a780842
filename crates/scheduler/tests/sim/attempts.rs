//! Every message that a channel was given, checked at that moment against the model: wanted, to the right person, at
//! a time at which they may be reached, and not a second copy of what arrived before.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use usher_lifecycle::reminder::{Channel, Kind};
use usher_scheduler::channel::Handed;
use usher_scheduler::message::{Address, Item};

use crate::rules::GRACE;
use crate::world::World;

/// One delivery: onboarding's place, kind, slot, channel, recipient.
pub(crate) type Key = (usize, Kind, String, Channel, String);

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is on its way.
    Flying,
    /// The other side has it, and said so.
    Taken,
    /// Nobody on our side knows: a lost answer, a crash, or a clock that leapt over the lease.
    Unknown,
    /// The other side does not have it.
    Refused,
}

#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) message_id: String,
    pub(crate) fate: Fate,
    /// Whether the other side has it, whatever we know.
    pub(crate) arrived: bool,
    /// Which pass of which host.
    pub(crate) pass: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Attempts {
    pub(crate) of: HashMap<Key, Vec<Attempt>>,
    /// Keys of attempts whose pass is not over.
    pub(crate) fresh: HashMap<u64, Vec<Key>>,
}

/// Where a part of a message is being sent.
pub(crate) struct Flight {
    keys: Vec<Key>,
}

/// When a message is sent: by everybody's clock, and by that of the host that sends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: DateTime<Utc>,
    pub(crate) clock: DateTime<Utc>,
}

impl World {
    /// Takes note of a message that is being sent, and checks it.
    pub(crate) fn depart(&mut self, handed: &Handed, pass: u64, moment: Moment) -> Flight {
        let now = moment.now;
        self.count("messages");
        let person = self.addressee(&handed.message.to.address);
        let tenant = self.tenants.iter().position(|it| it.name == handed.message.workspace);
        let (Some(tenant), Some((recipient, person))) = (tenant, person) else {
            self.fault(format!("{now}: a message to {:?}, whom nobody knows", handed.message.to.address));
            return Flight { keys: Vec::new() };
        };
        let mut keys = Vec::new();
        for place in &handed.items {
            let item = &handed.message.items[*place];
            // An onboarding is one item, whatever is sent about it; the ledger has a row of each.
            let also = item.also.iter();
            let also = also.map(|it| Item {
                kind: it.kind,
                slot: it.slot.clone(),
                lag: Some(it.lag),
                ..item.clone()
            });
            let all: Vec<Item> = also.chain([item.clone()]).collect();
            let Some(&onboarding) = self.by_id.get(&item.onboarding_id) else {
                self.fault(format!("{now}: a message about {}, which is not there", item.onboarding_id));
                continue;
            };
            if self.onboardings[onboarding].tenant != tenant {
                self.fault(format!("{now}: {} is another workspace's", item.onboarding_id));
            }
            self.count("items");
            for item in &all {
                self.check(onboarding, item, handed.channel, &recipient, person, moment);
                let key = (onboarding, item.kind, item.slot.clone(), handed.channel, recipient.clone());
                self.check_copies(&key, &handed.message.message_id, now);
                keys.push(key);
            }
        }
        let attempt = Attempt {
            message_id: handed.message.message_id.clone(),
            fate: Fate::Flying,
            arrived: false,
            pass,
        };
        for key in &keys {
            self.attempts.of.entry(key.clone()).or_default().push(attempt.clone());
        }
        self.attempts.fresh.entry(pass).or_default().extend(keys.iter().cloned());
        Flight { keys }
    }

    /// The message has met its fate.
    pub(crate) fn land(&mut self, flight: &Flight, pass: u64, fate: Fate, arrived: bool) {
        for key in &flight.keys {
            let attempts = self.attempts.of.get_mut(key).unwrap();
            for attempt in attempts.iter_mut().filter(|it| it.pass == pass) {
                if attempt.fate == Fate::Flying {
                    attempt.fate = fate;
                }
                attempt.arrived |= arrived;
            }
        }
    }

    /// What a pass has sent and not recorded is of unknown fate: it crashed, or its lease is over.
    pub(crate) fn lose(&mut self, pass: u64, recorded: &BTreeSet<Key>) {
        for key in self.attempts.fresh.get(&pass).into_iter().flatten().filter(|key| !recorded.contains(key))
        {
            for attempt in self.attempts.of.get_mut(key).unwrap().iter_mut().filter(|it| it.pass == pass) {
                if attempt.fate != Fate::Refused {
                    attempt.fate = Fate::Unknown;
                }
            }
        }
    }

    /// A person's channel has refused them for good; the store is to mark it.
    pub(crate) fn break_channel(&mut self, address: &Address, channel: Channel, now: DateTime<Utc>) {
        if let Some((_, Some(place))) = self.addressee(address) {
            self.people[place].change(now, |person| match channel {
                Channel::Email => person.email_broken = true,
                Channel::Slack => person.slack_broken = true,
            });
            self.refused.insert((place, channel));
        }
    }

    fn addressee(&self, address: &Address) -> Option<(String, Option<usize>)> {
        let (text, bare) = match address {
            Address::Email(email) => (email, format!("email:{email}")),
            Address::SlackUser(id) => (id, format!("user:{id}")),
            Address::SlackChannel(id) => (id, format!("slack:{id}")),
        };
        if let Some(person) = self.by_address.get(text) {
            return Some((format!("user:{}", self.people[*person].now().id), Some(*person)));
        }
        let ours = |it: &crate::world::Tenant| {
            let office = it.office.now();
            office.ops_email.as_ref() == Some(text) || office.ops_slack.as_ref() == Some(text)
        };
        self.tenants.iter().any(ours).then_some((bare, None))
    }

    /// Is it wanted, by whom it goes to, and now?
    fn check(
        &mut self,
        place: usize,
        item: &Item,
        channel: Channel,
        recipient: &str,
        person: Option<usize>,
        Moment { now, clock }: Moment,
    ) {
        let due = clock - item.lag.unwrap_or_default();
        let it = &self.onboardings[place];
        let manual = item.kind == Kind::Manual;
        let given = it.requests.iter().find(|(id, ..)| *id == item.slot);
        let given = given.and_then(|(_, _, channels)| channels.clone());
        let moments = self.moments(place, now);
        let why = |at: &DateTime<Utc>| match item.kind {
            Kind::Manual => {
                let waived = ["paused", "customer_inactive", "channels_off"];
                self.silence_at(place, *at).filter(|reason| !waived.contains(reason))
            }
            Kind::Escalation if it.heeded.iter().any(|heeded| *heeded > due && heeded <= at) => {
                Some("heeded")
            }
            Kind::Cadence | Kind::Escalation => self.unwanted_at(place, due, *at, clock),
            Kind::Customer => Some("not a message of these workspaces"),
        };
        let wanted = moments.iter().any(|at| why(at).is_none());
        let unwanted = why(&now);
        let target = (channel, recipient.to_owned());
        let addressed = moments.iter().any(|at| match item.kind {
            // Which step it is for, the ledger knows: see the end of the year.
            Kind::Escalation => self.escalation_at(place, *at, None).contains(&target),
            Kind::Cadence | Kind::Manual | Kind::Customer => {
                self.audience_at(place, *at, given.as_deref()).is_ok_and(|all| all.contains(&target))
            }
        });
        let id = &it.id;
        let what = format!("{now}: {id} {} {} by {channel} to {recipient}", item.kind.as_str(), item.slot);
        let offices: Vec<_> = moments.iter().map(|at| self.office(place).at(*at)).collect();
        let mut faults = Vec::new();
        if !wanted {
            faults.push(format!("{what}: not wanted, {unwanted:?}"));
        }
        if !addressed {
            faults.push(format!("{what}: not one of those who are to be told"));
        }
        if let Some(person) = person.map(|person| &self.people[person]) {
            if !moments.iter().any(|at| person.at(*at).active) {
                faults.push(format!("{what}: they have left"));
            }
            if !moments.iter().any(|at| !person.at(*at).is_muted(clock)) {
                faults.push(format!("{what}: they are muted"));
            }
            let free = |at: &DateTime<Utc>| offices.iter().any(|it| person.at(*at).is_free(it, clock));
            if !manual && !moments.iter().any(free) {
                faults.push(format!("{what}: in their quiet hours, or on a day off"));
            }
        }
        let late = clock - due > GRACE + offices[0].spread;
        if !manual && late && !offices.iter().any(|it| it.is_open(clock)) {
            faults.push(format!("{what}: late, and outside the workspace's hours"));
        }
        // A slot keeps its date when the policy changes.
        let policies = self.office(place).versions();
        if !manual && !policies.iter().any(|(_, it)| it.works(it.zone.local(due).date())) {
            faults.push(format!("{what}: due on a day off"));
        }
        for text in faults {
            self.fault(text);
        }
    }

    /// A copy may follow only what nobody knows the fate of, and an email then has the same id.
    fn check_copies(&mut self, key: &Key, message_id: &str, now: DateTime<Utc>) {
        let Some(earlier) = self.attempts.of.get(key) else { return };
        let (place, kind, slot, channel, recipient) = key;
        let id = &self.onboardings[*place].id;
        let what = format!("{now}: {id} {} {slot} by {channel} to {recipient}", kind.as_str());
        let mut faults = Vec::new();
        let mut repeats = 0;
        for attempt in earlier {
            match attempt.fate {
                Fate::Flying => faults.push(format!("{what}: sent twice at a time")),
                Fate::Taken => faults.push(format!("{what}: sent again after it was accepted and recorded")),
                Fate::Unknown if *channel == Channel::Email && attempt.message_id != message_id => {
                    faults.push(format!("{what}: repeated with another Message-ID"));
                }
                Fate::Unknown => repeats += 1,
                Fate::Refused => {}
            }
        }
        if repeats > usize::from(self.office(*place).now().resends) {
            faults.push(format!("{what}: repeated {repeats} times"));
        }
        let copies = earlier.iter().filter(|it| it.arrived).count();
        if repeats > 0 {
            self.count("repeats");
        }
        if copies > 0 {
            self.count("repeats of what arrived");
        }
        for text in faults {
            self.fault(text);
        }
    }
}
