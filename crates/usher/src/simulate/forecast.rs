//! The walk: every slot of every onboarding, to everybody whom it concerns, until it is sent or not wanted.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use usher_lifecycle::{
    CustomerId, Onboarding, UserId, WorkspaceId,
    customer::{Contact, Customer, CustomerStatus},
    person::User,
    reminder::{
        Channel, Configured, DueNow, Gap, Kind, Recipient, Rules, Slot, Target, Verdict, audience,
        audience::nudge, coming, local_date, next_reminder, recheck, spread, upcoming_step,
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
    /// Onboardings in it.
    pub(crate) reminders: usize,
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
}

/// When, workspace, channel, to whom: what travels as one message.
type Digest = (DateTime<Utc>, WorkspaceId, Channel, Recipient);

/// What happens from one instant to another; `progress` hears how many onboardings are done.
pub(crate) fn of(
    world: &World,
    configured: Configured,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    mut progress: impl FnMut(usize),
) -> Forecast {
    let mut digests: BTreeMap<Digest, usize> = BTreeMap::new();
    let mut unsent: BTreeMap<String, usize> = BTreeMap::new();
    for (done, onboarding) in world.onboardings.iter().enumerate() {
        let mut skip = |reason: &str| *unsent.entry(reason.to_owned()).or_default() += 1;
        let one = One::new(world, onboarding, configured);
        match one.reminders(from, until) {
            Ok((coming, missed)) => {
                for gap in missed {
                    (0..gap.count).for_each(|_| skip(gap.reason.as_str()));
                }
                for (place, due) in coming.iter().enumerate() {
                    let next = coming.get(place + 1).map(|next| next.slot.due_at);
                    one.slot(*due, from, next, until, &mut digests, &mut skip);
                }
            }
            Err(reason) => skip(reason),
        }
        progress(done + 1);
    }
    let mut sent: Vec<Sent> =
        digests.into_iter().map(|(digest, reminders)| message(world, digest, reminders)).collect();
    sent.sort();
    let zone = world.rules.values().next().map(|rules| rules.policy.time_zone.clone());
    let date = |at: DateTime<Utc>| zone.as_ref().map_or_else(|| at.date_naive(), |zone| local_date(zone, at));
    Forecast { from: date(from), until: date(until), onboardings: world.onboardings.len(), sent, unsent }
}

fn message(world: &World, (at, workspace, channel, recipient): Digest, reminders: usize) -> Sent {
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
    Sent { day, at, channel, recipient: recipient.to_string(), name, reminders }
}

/// An onboarding with what the rules ask about it.
struct One<'a> {
    rules: &'a Rules,
    onboarding: &'a Onboarding,
    status: CustomerStatus,
    customer_deleted: bool,
    people: Vec<User>,
    contact: Option<&'a Contact>,
    configured: Configured,
}

impl<'a> One<'a> {
    fn new(world: &'a World, onboarding: &'a Onboarding, configured: Configured) -> Self {
        let customer = world.customers.get(&onboarding.customer_id);
        let mut people: Vec<User> = Vec::new();
        for (_, id) in onboarding.roles.people() {
            if let Some(user) = world.users.get(&id).filter(|user| people.iter().all(|it| it.id != user.id)) {
                people.push(user.clone());
            }
        }
        Self {
            rules: &world.rules[&onboarding.workspace_id],
            onboarding,
            status: customer.map_or(CustomerStatus::Onboarding, |it| it.fields.status),
            customer_deleted: customer.is_none_or(|it| it.deleted_at.is_some()),
            people,
            contact: world.contacts.get(&onboarding.customer_id),
            configured,
        }
    }

    /// What comes from `from` on, and what is overdue then and will not be sent: as plan has it.
    fn reminders(
        &self,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<(Vec<DueNow>, Vec<Gap>), &'static str> {
        let Self { rules, onboarding, status, customer_deleted, .. } = *self;
        next_reminder(rules, onboarding, status, customer_deleted, from)
            .map_err(|silence| silence.reason().as_str())?;
        let step = upcoming_step(rules, onboarding, status, customer_deleted, from);
        let coming = coming(rules, onboarding, &step, None).take_while(|it| it.slot.due_at <= until);
        Ok((coming.collect(), step.gaps))
    }

    fn slot(
        &self,
        due: DueNow,
        from: DateTime<Utc>,
        next: Option<DateTime<Utc>>,
        until: DateTime<Utc>,
        digests: &mut BTreeMap<Digest, usize>,
        skip: &mut impl FnMut(&str),
    ) {
        for (kind, target) in self.targets(skip) {
            let recipient = target.recipient.to_string();
            let mut at = spread(&self.rules.policy, due.send_after, &recipient, target.channel).max(from);
            loop {
                match self.verdict(due.slot, kind, &target, at) {
                    Verdict::Send if at > until => break,
                    Verdict::Send => {
                        let to = (at, self.onboarding.workspace_id, target.channel, target.recipient.clone());
                        *digests.entry(to).or_default() += 1;
                        break;
                    }
                    Verdict::Skip(reason) => {
                        skip(reason.as_str());
                        break;
                    }
                    // What still waits when the next slot comes gives way to it.
                    Verdict::Later(later) if next.is_some_and(|next| later >= next) => {
                        skip("superseded");
                        break;
                    }
                    Verdict::Later(later) => at = later,
                }
            }
        }
    }

    /// Who is told of a slot, as it is planned.
    fn targets(&self, skip: &mut impl FnMut(&str)) -> Vec<(Kind, Target)> {
        let Self { rules, onboarding, people, contact, configured, .. } = self;
        let team = audience(rules, onboarding, people, *configured, None);
        let customer = nudge(rules, onboarding, *contact, *configured);
        let customer = customer.map(|found| found.map(|target| vec![target]));
        let mut all = Vec::new();
        for (kind, found) in [(Kind::Cadence, Some(team)), (Kind::Customer, customer)] {
            match found {
                Some(Ok(targets)) => all.extend(targets.into_iter().map(|target| (kind, target))),
                Some(Err(reason)) => skip(reason.as_str()),
                None => {}
            }
        }
        all
    }

    fn verdict(&self, slot: Slot, kind: Kind, target: &Target, at: DateTime<Utc>) -> Verdict {
        let context = recheck::Context {
            rules: self.rules,
            onboarding: self.onboarding,
            customer_status: self.status,
            customer_deleted: self.customer_deleted,
            people: &self.people,
            primary_contact: self.contact,
            configured: self.configured,
        };
        let planned = recheck::Planned {
            kind,
            slot: &slot.date.to_string(),
            due_at: slot.due_at,
            channel: target.channel,
            recipient: &target.recipient,
            channels: None,
            steps: None,
            last_escalation: None,
        };
        recheck::recheck(&context, &planned, at)
    }
}
