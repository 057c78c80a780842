//! What people do: everything that can be asked for, at any time. The model learns of it when the store has accepted it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::command::{CreateOnboarding, OnboardingPatch, Snooze};
use usher_lifecycle::onboarding::Role;
use usher_lifecycle::reminder::Channel;
use usher_lifecycle::{Command, Phase, State};
use usher_store::{Applied, Outcome, Request};

use crate::chance::Chance;
use crate::people;
use crate::rules::Job;
use crate::run::{Size, Stage};
use crate::world::{History, World};

/// What an accepted request means to the model; `at` is the instant it was given.
type Effect = Box<dyn FnOnce(&mut World, &Applied, DateTime<Utc>)>;
/// A request, and what it means when it is accepted.
pub(crate) type Wish = (Request, Effect);

impl Stage {
    /// Everything on the agenda for the next hours, and now and then something about people and customers.
    pub(crate) fn change(self: &Arc<Self>) {
        let now = self.clock.now();
        let mut places = Vec::new();
        let at_once = TimeDelta::hours(if self.size.is_large() { 8 } else { 3 });
        let mut agenda = self.agenda();
        while let Some(&Reverse((at, place))) = agenda.peek().filter(|it| it.0.0 <= now + at_once) {
            agenda.pop();
            places.push((at, place));
        }
        drop(agenda);
        places.sort_unstable();
        places.dedup_by_key(|(_, place)| *place);
        let wishes = places.iter().filter_map(|(_, place)| self.onboarding_wish(*place, now)).collect();
        self.apply(wishes);
        let next = |hours| now + TimeDelta::hours(hours);
        for (_, place) in places {
            let hours = self.chance().between(6, 24 * 20);
            let born = self.world().onboardings.get(place).is_some();
            let alive = born && self.world().silence_at(place, now).is_none_or(|why| why != "deleted");
            let goes_on =
                self.world().onboardings.get(place).is_none_or(|it| it.job.now().phase != Phase::Completed);
            if alive && goes_on {
                self.agenda().push(Reverse((next(hours), place)));
            }
        }
        let others = people::wishes(self, now);
        self.apply(others);
    }

    /// Applies wishes at the clock's time, and lets it go on a little.
    pub(crate) fn apply(&self, wishes: Vec<Wish>) {
        if wishes.is_empty() {
            return;
        }
        let now = self.clock.advance(TimeDelta::milliseconds(5));
        let (requests, effects): (Vec<_>, Vec<_>) = wishes.into_iter().unzip();
        let shown: Vec<String> = requests.iter().map(|it| format!("{:?}", it.command)).collect();
        let (runtime, store) = &self.api;
        let answers = runtime.block_on(store.apply_all(requests, now));
        let mut world = self.world();
        for ((answer, effect), shown) in answers.into_iter().zip(effects).zip(shown) {
            match answer {
                Ok(applied) if applied.outcome == Outcome::Committed => {
                    world.count("changes");
                    effect(&mut world, &applied, now);
                }
                Ok(_) => {}
                Err(error) => world.fault(format!("{now}: {shown}: {error}")),
            }
        }
        drop(world);
        self.clock.advance(TimeDelta::milliseconds(5));
    }

    fn onboarding_wish(&self, place: usize, now: DateTime<Utc>) -> Option<Wish> {
        let world = self.world();
        let Some(it) = world.onboardings.get(place) else {
            drop(world);
            return Some(self.create(now));
        };
        let (job, id, tenant) = (it.job.now().clone(), it.id.clone(), it.tenant);
        let gone = world.customers[it.client].client.now().deleted;
        if gone || job.deleted || job.phase == Phase::Completed {
            return None;
        }
        let member = |chance: &mut Chance| chance.pick(&world.tenants[tenant].people);
        let mut chance = self.chance();
        let mut patch = OnboardingPatch::default();
        // Where there are many, they are soon done.
        let draw = if self.size.is_large() && chance.once_in(2_500) { 99 } else { chance.below(100) };
        let (command, effect): (Command, Effect) = match draw {
            0..72 => {
                let mut after = job.clone();
                let (mut rhythm, mut target) = (None, None);
                match draw {
                    0..12 => patch.notes = Some(Some(format!("note {}", chance.next()))),
                    12..26 => {
                        let next = Phase::ALL[Phase::ALL.iter().position(|it| *it == job.phase).unwrap() + 1];
                        after.phase = next;
                        patch.phase = Some(next);
                    }
                    26..38 => {
                        after.state = chance.pick(&[
                            State::Active,
                            State::Active,
                            State::Waiting,
                            State::AtRisk,
                            State::Paused,
                        ]);
                        patch.state = Some(after.state);
                    }
                    38..50 => {
                        let role = chance.below(4);
                        after.roles[role] = (!chance.once_in(3_000)).then(|| member(&mut chance));
                        let named = after.roles[role].map(|person| world.people[person].now().id.clone());
                        patch.roles.insert(Role::ALL[role], named);
                    }
                    50..57 => {
                        after.every = self.size.rhythm(&mut chance);
                        patch.reminder_frequency_days = Some(after.every);
                        rhythm = (after.every != job.every).then_some(None);
                    }
                    57..62 => {
                        after.email = !chance.once_in(3_000);
                        after.slack = chance.once_in(4_000);
                        (patch.reminder_email, patch.reminder_slack) = (Some(after.email), Some(after.slack));
                    }
                    62..65 => {
                        let started = now - TimeDelta::hours(chance.between(1, 2_000));
                        patch.started_at = Some(started);
                        rhythm = Some(Some(world.tenants[tenant].office.now().zone.local(started).date()));
                    }
                    _ => {
                        target = Some(now + TimeDelta::days(chance.between(1, 99)));
                        patch.target_launch_date = Some(target);
                    }
                }
                let cares = draw < 38;
                let effect: Effect = Box::new(move |world, _, at| {
                    let it = &mut world.onboardings[place];
                    it.heeded.extend(cares.then_some(at));
                    if let Some(target) = target {
                        it.aim(target, at);
                    }
                    if after.phase != it.job.now().phase {
                        it.target.1 = 0;
                    }
                    if let Some(base) = rhythm {
                        it.rhythms.push((at, base, after.every));
                    }
                    it.job.change(at, |job| *job = Job { snoozed: job.snoozed, ..after });
                });
                (Command::ChangeOnboarding(patch), effect)
            }
            72..79 => {
                let days = chance.between(1, 20);
                let office = world.tenants[tenant].office.now();
                let midnight =
                    office.zone.local(now).date() + chrono::Days::new(u64::try_from(days).unwrap());
                let (snooze, until) = if chance.once_in(5_000) {
                    let until = now + TimeDelta::minutes(chance.between(10, 9_000));
                    (Snooze::Until(until), until)
                } else {
                    let until = office.zone.instant(midnight, chrono::NaiveTime::MIN);
                    (Snooze::Days(u16::try_from(days).unwrap()), until)
                };
                let effect: Effect = Box::new(move |world, _, at| {
                    world.onboardings[place].heeded.push(at);
                    world.onboardings[place].job.change(at, |job| job.snoozed = Some(until));
                });
                (Command::SnoozeOnboarding(snooze), effect)
            }
            79..82 => {
                let effect: Effect = Box::new(move |world, _, at| {
                    world.onboardings[place].heeded.push(at);
                    world.onboardings[place].job.change(at, |job| job.snoozed = None);
                });
                (Command::UnsnoozeOnboarding, effect)
            }
            82..91 => {
                let all = [
                    None,
                    Some(vec![Channel::Email]),
                    Some(vec![Channel::Slack]),
                    Some(Channel::ALL.to_vec()),
                ];
                let channels = all[chance.below(4)].clone();
                let asked = channels.clone();
                let effect: Effect = Box::new(move |world, applied, at| {
                    let body: serde_json::Value = serde_json::from_str(&applied.body).unwrap();
                    let request = (body["id"].as_str().unwrap().to_owned(), at, asked);
                    world.onboardings[place].requests.push(request);
                });
                (Command::RemindOnboarding(channels), effect)
            }
            91..94 => (Command::DeleteOnboarding, set(place, |job| job.deleted = true)),
            _ => {
                patch.phase = Some(Phase::Completed);
                (Command::ChangeOnboarding(patch), set(place, |job| job.phase = Phase::Completed))
            }
        };
        Some((Self::request(&world, tenant, command, Some(id)), effect))
    }

    fn create(&self, now: DateTime<Utc>) -> Wish {
        let world = self.world();
        let mut chance = self.chance();
        let client = chance.below(world.customers.len());
        let client = (client..world.customers.len())
            .chain(0..client)
            .find(|it| !world.customers[*it].client.now().deleted)
            .unwrap();
        let tenant = world.customers[client].tenant;
        let people = &world.tenants[tenant].people;
        let csm = chance.pick(people);
        let other = chance.pick(people);
        let roles = [
            (!chance.once_in(500)).then_some(csm),
            chance.once_in(3_000).then_some(other),
            chance.once_in(2_500).then_some(csm),
            chance.once_in(2_000).then_some(other),
        ];
        let every = self.size.rhythm(&mut chance);
        let slack = chance.once_in(3_000);
        let started = now - TimeDelta::hours(chance.between(0, 500));
        let named = |place: usize| world.people[place].now().id.clone();
        let create = CreateOnboarding {
            customer: world.customers[client].id.clone(),
            roles: Role::ALL
                .into_iter()
                .zip(roles)
                .filter_map(|(role, place)| Some((role, named(place?))))
                .collect::<BTreeMap<_, _>>(),
            reminder_slack: Some(slack),
            reminder_frequency_days: Some(every),
            started_at: Some(started),
            ..CreateOnboarding::default()
        };
        let base = world.tenants[tenant].office.now().zone.local(started).date();
        let effect: Effect = Box::new(move |world, applied, at| {
            let job = Job {
                phase: Phase::BeforeGettingStarted,
                state: State::Active,
                roles,
                email: true,
                slack,
                every,
                snoozed: None,
                deleted: false,
            };
            world.by_id.insert(applied.id.clone(), world.onboardings.len());
            world.onboardings.push(crate::world::Onboarding {
                id: applied.id.clone(),
                tenant,
                client,
                job: History::new(at, job),
                rhythms: vec![(at, Some(base), every)],
                requests: Vec::new(),
                heeded: vec![at],
                target: (None, 0),
                put_off: Vec::new(),
            });
        });
        (Self::request(&world, tenant, Command::CreateOnboarding(create), None), effect)
    }
}

/// The rhythms in use; most onboardings are reminded of weekly or more rarely.
const EVERY: [u16; 16] = [1, 2, 3, 5, 7, 7, 7, 7, 7, 14, 14, 14, 14, 30, 30, 90];
/// Those where there are many.
const RARELY: [u16; 8] = [7, 14, 14, 30, 30, 30, 30, 90];

impl Size {
    fn rhythm(self, chance: &mut Chance) -> u16 {
        if self.is_large() && chance.below(50) > 0 { chance.pick(&RARELY) } else { chance.pick(&EVERY) }
    }
}

fn set(place: usize, change: impl FnOnce(&mut Job) + 'static) -> Effect {
    Box::new(move |world, _, at| world.onboardings[place].job.change(at, change))
}
