//! Every message that a channel was given, checked at that moment against the model: wanted, to the right person, at
//! a time at which they may be reached, and not a second copy of what arrived before.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use usher_lifecycle::reminder::Channel;
use usher_scheduler::channel::Handed;
use usher_scheduler::message::{Address, Item};

use crate::rules::GRACE;
use crate::world::World;

/// One delivery: onboarding's place, slot, channel, recipient.
pub(crate) type Key = (usize, String, Channel, String);

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
    at: usize,
}

impl World {
    /// Takes note of a message that is being sent, and checks it.
    pub(crate) fn depart(&mut self, handed: &Handed, pass: u64, now: DateTime<Utc>) -> Flight {
        self.count("messages");
        let person = self.addressee(&handed.message.to.address);
        let tenant = self.tenants.iter().position(|it| it.name == handed.message.workspace);
        let (Some(tenant), Some((recipient, person))) = (tenant, person) else {
            self.fault(format!("{now}: a message to {:?}, whom nobody knows", handed.message.to.address));
            return Flight { keys: Vec::new(), at: 0 };
        };
        let mut keys = Vec::new();
        for place in &handed.items {
            let item = &handed.message.items[*place];
            let Some(&onboarding) = self.by_id.get(&item.onboarding_id) else {
                self.fault(format!("{now}: a message about {}, which is not there", item.onboarding_id));
                continue;
            };
            if self.onboardings[onboarding].tenant != tenant {
                self.fault(format!("{now}: {} is another workspace's", item.onboarding_id));
            }
            self.count("items");
            self.check(onboarding, item, handed.channel, &recipient, person, now);
            let key = (onboarding, item.slot.clone(), handed.channel, recipient.clone());
            self.check_copies(&key, &handed.message.message_id, now);
            keys.push(key);
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
        Flight { keys, at: 0 }
    }

    /// The message has met its fate.
    pub(crate) fn land(&mut self, flight: &Flight, pass: u64, fate: Fate, arrived: bool) {
        for key in &flight.keys[flight.at..] {
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
            it.office.ops_email.as_ref() == Some(text) || it.office.ops_slack.as_ref() == Some(text)
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
        now: DateTime<Utc>,
    ) {
        let due = now - item.lag.unwrap_or_default();
        let manual = item.slot.starts_with("rem_");
        let given = self.onboardings[place].requests.iter().find(|(id, ..)| *id == item.slot);
        let given = given.and_then(|(_, _, channels)| channels.clone());
        let moments = self.moments(place, now);
        let why = |at: &DateTime<Utc>| {
            if manual {
                let waived = ["paused", "customer_inactive", "channels_off"];
                self.silence_at(place, *at).filter(|reason| !waived.contains(reason))
            } else {
                self.unwanted_at(place, due, *at)
            }
        };
        let wanted = moments.iter().any(|at| why(at).is_none());
        let unwanted = why(&now);
        let target = (channel, recipient.to_owned());
        let addressed = moments.iter().any(|at| {
            self.audience_at(place, *at, given.as_deref()).is_ok_and(|targets| targets.contains(&target))
        });
        let id = &self.onboardings[place].id;
        let what = format!("{now}: {id} slot {} by {channel} to {recipient}", item.slot);
        let office = &self.tenants[self.onboardings[place].tenant].office;
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
            if !moments.iter().any(|at| !person.at(*at).is_muted(now)) {
                faults.push(format!("{what}: they are muted"));
            }
            if !manual && !moments.iter().any(|at| person.at(*at).is_free(office, now)) {
                faults.push(format!("{what}: in their quiet hours, or on a day off"));
            }
        }
        let late = now - due > GRACE + office.spread;
        if !manual && late && !office.is_open(now) {
            faults.push(format!("{what}: late, and outside the workspace's hours"));
        }
        if !manual && !office.works(office.zone.local(due).date()) {
            faults.push(format!("{what}: due on a day off"));
        }
        for text in faults {
            self.fault(text);
        }
    }

    /// A copy may follow only what nobody knows the fate of, and an email then has the same id.
    fn check_copies(&mut self, key: &Key, message_id: &str, now: DateTime<Utc>) {
        let Some(earlier) = self.attempts.of.get(key) else { return };
        let (place, slot, channel, recipient) = key;
        let what = format!("{now}: {} slot {slot} by {channel} to {recipient}", self.onboardings[*place].id);
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
        let office = &self.tenants[self.onboardings[*place].tenant].office;
        if repeats > usize::from(office.resends) {
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
