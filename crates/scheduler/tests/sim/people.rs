//! The people and customers: how they begin, and what becomes of them.

use std::cmp::Reverse;
use std::sync::Arc;

use chrono::{DateTime, Days, TimeDelta, Utc};
use usher_lifecycle::Command;
use usher_lifecycle::command::{CreateCustomer, CreateUser, CustomerPatch, UserPatch};
use usher_lifecycle::customer::{CustomerFields, CustomerStatus};
use usher_lifecycle::event::{Actor, ActorKind};
use usher_lifecycle::person::{DaysOff, QuietHours, Reach};
use usher_lifecycle::reminder::Channel;
use usher_store::{Dedupe, Ref, Request};

use crate::changes::Wish;
use crate::policies::{WEEK, offices, rules, time};
use crate::rules::{Client, Person, Zone};
use crate::run::Stage;
use crate::world::{Customer, History, Tenant, World};

impl Stage {
    /// Three workspaces with their people and customers, and when each onboarding will come.
    pub(crate) fn found(&self) {
        let now = self.clock.now();
        for (place, office) in offices().into_iter().enumerate() {
            let name = format!("tenant-{place}");
            let (runtime, store) = &self.api;
            let made = runtime.block_on(store.create_workspace(&name, &name, &rules(&office), now));
            let id = made.unwrap().unwrap().id;
            let office = History::new(now, office);
            self.world().tenants.push(Tenant { name, id, office, people: Vec::new() });
        }
        let each = if self.size.is_large() { 150 } else { 40 };
        let people = (self.size.onboardings / each).max(12);
        let wishes = (0..people).map(|place| self.join(place)).collect();
        self.apply(wishes);
        let customers = self.size.onboardings / 2 + 3;
        let wishes = (0..customers).map(|place| self.customer(place)).collect();
        self.apply(wishes);
        self.foresee_reforms();
        let days = self.size.days * 9 / 10;
        for place in 0..self.size.onboardings {
            let mut chance = self.chance();
            let minutes = if chance.once_in(1_500) { 0 } else { chance.between(0, days * 1_440) };
            drop(chance);
            self.agenda().push(Reverse((now + TimeDelta::minutes(minutes), place)));
        }
    }

    pub(crate) fn request(world: &World, tenant: usize, command: Command, target: Option<String>) -> Request {
        Request {
            workspace_id: world.tenants[tenant].id,
            livemode: true,
            command,
            target: target.map(Ref::Id),
            actor: Actor { kind: ActorKind::ApiKey, id: None, name: None },
            dedupe: Dedupe::None,
            expected_version: None,
            traceparent: None,
        }
    }

    fn join(&self, place: usize) -> Wish {
        let mut chance = self.chance();
        let tenant = place % 3;
        let email = format!("p{place}@example.com");
        let slack_id = chance.once_in(7_000).then(|| format!("U{place}"));
        let abroad = chance.once_in(1_500).then_some(Zone::Kolkata);
        let quiet = (abroad.is_none() && chance.once_in(2_000)).then(|| (time(17, 45), time(9, 40)));
        let days_off = if chance.once_in(1_500) { vec![chance.pick(&WEEK)] } else { Vec::new() };
        let create = CreateUser {
            active: true,
            name: format!("P {place}"),
            email: email.clone(),
            slack_user_id: slack_id.clone(),
            reach: Reach {
                time_zone: abroad.map(|zone| zone.name().to_owned()),
                quiet_hours: quiet.map(|(from, to)| QuietHours { from, to }),
                days_off: DaysOff { weekdays: days_off.clone(), dates: Vec::new() },
                ..Reach::default()
            },
            external_id: None,
        };
        let request = Self::request(&self.world(), tenant, Command::CreateUser(create), None);
        let effect = move |world: &mut World, applied: &usher_store::Applied, at| {
            let person = Person {
                id: applied.id.clone(),
                active: true,
                email_on: true,
                slack_on: true,
                email_broken: false,
                slack_broken: false,
                slack_id: slack_id.clone(),
                zone: abroad,
                quiet,
                days_off,
                dates_off: Vec::new(),
                muted: None,
            };
            let place = world.people.len();
            world.by_address.insert(email, place);
            world.by_address.extend(slack_id.map(|id| (id, place)));
            world.people.push(History::new(at, person));
            world.homes.push(tenant);
            world.tenants[tenant].people.push(place);
        };
        (request, Box::new(effect))
    }

    fn customer(&self, place: usize) -> Wish {
        let tenant = place % 3;
        let fields = CustomerFields {
            name: format!("Customer {place}"),
            slug: None,
            domain: None,
            status: CustomerStatus::Onboarding,
            plan: None,
            mrr: None,
            monthly_orders: None,
            hubspot_company_id: None,
            hubspot_deal_id: None,
            stripe_customer_id: None,
            intercom_company_id: None,
            slack_channel_id: None,
            external_id: None,
            metadata: serde_json::Map::new(),
        };
        let command = Command::CreateCustomer(CreateCustomer { fields });
        let request = Self::request(&self.world(), tenant, command, None);
        let effect = move |world: &mut World, applied: &usher_store::Applied, at| {
            let client = History::new(at, Client { with_us: true, deleted: false });
            world.customers.push(Customer { id: applied.id.clone(), tenant, client });
        };
        (request, Box::new(effect))
    }
}

/// Now and then somebody leaves, comes back, mutes, or a customer does.
pub(crate) fn wishes(stage: &Arc<Stage>, now: DateTime<Utc>) -> Vec<Wish> {
    let mut chance = stage.chance();
    let mut wishes: Vec<Wish> = Vec::new();
    let world = stage.world();
    wishes.extend(stage.reform(&world, &mut chance, now));
    if chance.once_in(1_200) {
        let place = chance.below(world.people.len());
        wishes.extend(person_wish(&world, &mut chance, place, now));
    }
    if chance.once_in(1_500) {
        let place = chance.below(world.customers.len());
        let it = &world.customers[place];
        if !it.client.now().deleted {
            let (command, after) = if chance.once_in(700) {
                (Command::DeleteCustomer, Client { with_us: it.client.now().with_us, deleted: true })
            } else {
                let with_us = !chance.once_in(5_000);
                let gone = chance.pick(&[CustomerStatus::Churned, CustomerStatus::Archived]);
                let status = if with_us { CustomerStatus::Active } else { gone };
                let patch = CustomerPatch { status: Some(status), ..CustomerPatch::default() };
                (Command::ChangeCustomer(patch), Client { with_us, deleted: false })
            };
            let request = Stage::request(&world, it.tenant, command, Some(it.id.clone()));
            let effect = move |world: &mut World, _: &_, at| {
                world.customers[place].client.change(at, |it| *it = after);
            };
            wishes.push((request, Box::new(effect)));
        }
    }
    wishes
}

fn person_wish(
    world: &World,
    chance: &mut crate::chance::Chance,
    place: usize,
    now: DateTime<Utc>,
) -> Option<Wish> {
    let mut after = world.people[place].now().clone();
    let mut patch = UserPatch::default();
    match chance.below(12) {
        0 | 1 => {
            after.active = !after.active;
            patch.active = Some(after.active);
        }
        2 => {
            after.muted = Some(now + TimeDelta::hours(chance.between(1, 200)));
            patch.mute_until = Some(after.muted);
        }
        3 => {
            after.email_on = !after.email_on;
            patch.email_enabled = Some(after.email_on);
        }
        4 => {
            after.slack_on = !after.slack_on;
            patch.slack_enabled = Some(after.slack_on);
        }
        5 => {
            after.quiet = (after.zone.is_none() && after.quiet.is_none()).then(|| (time(18, 0), time(9, 30)));
            patch.quiet_hours = Some(after.quiet.map(|(from, to)| QuietHours { from, to }.into()));
        }
        6 => {
            after.days_off = if after.days_off.is_empty() { vec![chance.pick(&WEEK)] } else { Vec::new() };
            patch.days_off = Some(days_off(&after));
        }
        10 | 11 => {
            // A holiday of some days, sooner or later.
            let first = now.date_naive() + Days::new(chance.next() % 20);
            after.dates_off = first.iter_days().take(1 + chance.below(6)).collect();
            patch.days_off = Some(days_off(&after));
        }
        7 | 8 if after.email_broken => {
            after.email_broken = false;
            patch.broken = Some((Channel::Email, None));
        }
        7..10 if after.slack_broken => {
            after.slack_broken = false;
            patch.broken = Some((Channel::Slack, None));
        }
        _ => return None,
    }
    let id = after.id.clone();
    let request = Stage::request(world, world.homes[place], Command::ChangeUser(patch), Some(id));
    let effect = move |world: &mut World, _: &_, at| world.people[place].change(at, |it| *it = after);
    Some((request, Box::new(effect)))
}

fn days_off(person: &Person) -> DaysOff {
    DaysOff { weekdays: person.days_off.clone(), dates: person.dates_off.clone() }
}

/// Whom a channel has refused for good is marked as such, unless the host died before it could.
pub(crate) fn learn_broken(stage: &Stage) {
    let refused = std::mem::take(&mut stage.world().refused);
    for (place, channel) in refused {
        let (id, tenant) = {
            let world = stage.world();
            (world.people[place].now().id.clone(), world.tenants[world.homes[place]].id)
        };
        let (runtime, store) = &stage.api;
        let found = runtime.block_on(store.user(tenant, true, &Ref::Id(id))).unwrap().unwrap();
        let broken = match channel {
            Channel::Email => found.reach.email_broken.is_some(),
            Channel::Slack => found.reach.slack_broken.is_some(),
        };
        let now = stage.clock.advance(chrono::TimeDelta::milliseconds(5));
        stage.world().people[place].change(now, |person| match channel {
            Channel::Email => person.email_broken = broken,
            Channel::Slack => person.slack_broken = broken,
        });
    }
}
