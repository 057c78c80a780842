//! The sum of what is foreseen for every onboarding: which messages, to whom, with how much in them.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use usher_lifecycle::{
    CustomerId, Onboarding, UserId, WorkspaceId,
    customer::{Contact, Customer, CustomerStatus},
    person::User,
    reminder::{
        Channel, Configured, Context, Foreseen, Kind, Recipient, Rules, foresee, local_date, next_reminder,
    },
};

/// The records as they stand.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) rules: HashMap<WorkspaceId, Rules>,
    pub(crate) onboardings: Vec<Onboarding>,
    pub(crate) customers: HashMap<CustomerId, Customer>,
    /// The primary ones, of customers that are written to.
    pub(crate) contacts: HashMap<CustomerId, Contact>,
    pub(crate) users: HashMap<UserId, User>,
}

/// One message that would be sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sent {
    pub(crate) day: NaiveDate,
    pub(crate) at: DateTime<Utc>,
    pub(crate) channel: Channel,
    pub(crate) recipient: String,
    /// The person's name, or the address.
    pub(crate) name: String,
    /// What is in it, escalations too.
    pub(crate) reminders: usize,
    /// How many of them are escalations.
    pub(crate) escalations: usize,
}

/// What would happen.
#[derive(Debug)]
pub(crate) struct Forecast {
    pub(crate) from: NaiveDate,
    pub(crate) until: NaiveDate,
    pub(crate) onboardings: usize,
    /// In order of time.
    pub(crate) sent: Vec<Sent>,
    /// Reminders that would not be sent, by reason; an onboarding without any slot counts once.
    pub(crate) unsent: BTreeMap<String, usize>,
    /// How often a step of escalation would put an onboarding into another state, by state.
    pub(crate) set: BTreeMap<String, usize>,
}

/// When, workspace, channel, to whom: what travels as one message.
type Digest = (DateTime<Utc>, WorkspaceId, Channel, Recipient);

/// What is in a message: reminders, and how many of them are escalations.
type Content = (usize, usize);

/// What happens from one instant to another; `progress` hears how many onboardings are done.
pub(crate) fn of(
    world: &World,
    configured: Configured,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    mut progress: impl FnMut(usize),
) -> Forecast {
    let mut sum = Sum::default();
    for (done, onboarding) in world.onboardings.iter().enumerate() {
        let people = people(world, onboarding);
        let customer = world.customers.get(&onboarding.customer_id);
        let context = Context {
            rules: &world.rules[&onboarding.workspace_id],
            onboarding,
            customer_status: customer.map_or(CustomerStatus::Onboarding, |it| it.fields.status),
            customer_deleted: customer.is_none_or(|it| it.deleted_at.is_some()),
            people: &people,
            primary_contact: world.contacts.get(&onboarding.customer_id),
            configured,
        };
        let (status, deleted) = (context.customer_status, context.customer_deleted);
        match next_reminder(context.rules, onboarding, status, deleted, from) {
            Ok(_) => foresee(&context, from)
                .take_while(|it| it.at <= until)
                .for_each(|it| sum.add(onboarding, it, until)),
            Err(silence) => sum.unsent(silence.reason().as_str()),
        }
        progress(done + 1);
    }
    let Sum { digests, unsent, set } = sum;
    let mut sent: Vec<Sent> =
        digests.into_iter().map(|(digest, content)| message(world, digest, content)).collect();
    sent.sort();
    let zone = world.rules.values().next().map(|rules| rules.policy.time_zone.clone());
    let date = |at: DateTime<Utc>| zone.as_ref().map_or_else(|| at.date_naive(), |zone| local_date(zone, at));
    Forecast { from: date(from), until: date(until), onboardings: world.onboardings.len(), sent, unsent, set }
}

/// Everybody with a role on the onboarding, each once.
fn people(world: &World, onboarding: &Onboarding) -> Vec<User> {
    let mut people: Vec<User> = Vec::new();
    for (_, id) in onboarding.roles.people() {
        if let Some(user) = world.users.get(&id).filter(|user| people.iter().all(|it| it.id != user.id)) {
            people.push(user.clone());
        }
    }
    people
}

/// What has been foreseen so far.
#[derive(Default)]
struct Sum {
    digests: BTreeMap<Digest, Content>,
    unsent: BTreeMap<String, usize>,
    set: BTreeMap<String, usize>,
}

impl Sum {
    fn unsent(&mut self, reason: &str) {
        *self.unsent.entry(reason.to_owned()).or_default() += 1;
    }

    fn add(&mut self, onboarding: &Onboarding, foreseen: Foreseen, until: DateTime<Utc>) {
        for gap in foreseen.missed {
            (0..gap.count).for_each(|_| self.unsent(gap.reason.as_str()));
        }
        if let Some(state) = foreseen.state {
            *self.set.entry(state.as_str().to_owned()).or_default() += 1;
        }
        for row in foreseen.rows {
            match (row.fate, row.target) {
                (Ok(at), Some(target)) if at <= until => {
                    let digest = (at, onboarding.workspace_id, target.channel, target.recipient);
                    let (reminders, escalations) = self.digests.entry(digest).or_default();
                    *reminders += 1;
                    *escalations += usize::from(row.kind == Kind::Escalation);
                }
                (Err(reason), _) => self.unsent(reason.as_str()),
                (Ok(_), _) => {}
            }
        }
    }
}

fn message(
    world: &World,
    (at, workspace, channel, recipient): Digest,
    (reminders, escalations): Content,
) -> Sent {
    let name = match &recipient {
        Recipient::User(id) => world.users.get(id).map_or_else(|| id.to_string(), |user| user.name.clone()),
        Recipient::Email(address) | Recipient::Slack(address) => address.clone(),
        Recipient::Contact(id) => {
            let contact = world.contacts.values().find(|contact| contact.id == *id);
            contact.map_or_else(|| id.to_string(), |contact| contact.name.clone())
        }
    };
    let day = world
        .rules
        .get(&workspace)
        .map_or_else(|| at.date_naive(), |it| local_date(&it.policy.time_zone, at));
    Sent { day, at, channel, recipient: recipient.to_string(), name, reminders, escalations }
}
