//! From deliveries to the message that carries them: to whom, and what it says of each onboarding.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use usher_lifecycle::{
    Onboarding, UserId,
    person::User,
    reminder::{Channel, Kind, Recipient, Rules, Zone, local_date, whole_days_between, zone},
};
use usher_store::{Claim, Delivery, Situation};

use crate::{
    Scheduler,
    message::{Address, Also, Item, Message, To},
};

/// Where the message goes; none when the person is not there any more.
pub(crate) fn address(claim: &Claim, situation: &Situation, rules: &Rules) -> Option<To> {
    let fallback = rules.policy.time_zone.clone();
    match (&claim.recipient, claim.channel) {
        (Recipient::User(id), channel) => {
            let user = situation.users.get(id)?;
            let address = match channel {
                Channel::Email => Address::Email(user.email.clone()),
                Channel::Slack => Address::SlackUser(user.slack_user_id.clone()?),
            };
            Some(To { name: Some(user.name.clone()), address, zone: zone_of(user, fallback) })
        }
        (Recipient::Email(address), Channel::Email) => {
            Some(To { name: None, address: Address::Email(address.clone()), zone: fallback })
        }
        (Recipient::Slack(channel), Channel::Slack) => {
            Some(To { name: None, address: Address::SlackChannel(channel.clone()), zone: fallback })
        }
        (Recipient::Contact(id), Channel::Email) => {
            let contact = situation.contacts.values().find(|contact| contact.id == *id)?;
            let address = Address::Email(contact.email.clone());
            Some(To { name: Some(contact.name.clone()), address, zone: fallback })
        }
        (Recipient::Email(_) | Recipient::Contact(_), Channel::Slack)
        | (Recipient::Slack(_), Channel::Email) => None,
    }
}

fn zone_of(user: &User, fallback: Zone) -> Zone {
    user.reach.time_zone.as_deref().and_then(|name| zone(name).ok()).unwrap_or(fallback)
}

/// Which item of their message each of the deliveries is in: what is about one onboarding is one item.
pub(crate) fn places(deliveries: &[Delivery]) -> Vec<usize> {
    let mut known = HashMap::new();
    let mut place = |delivery: &Delivery| {
        let next = known.len();
        *known.entry(delivery.onboarding_id).or_insert(next)
    };
    deliveries.iter().map(&mut place).collect()
}

/// The message about what is wanted of the claim, with the [`places`] of its deliveries.
pub(crate) fn compose(
    scheduler: &Scheduler,
    claim: &Claim,
    (wanted, places): (&[Delivery], &[usize]),
    to: To,
    situation: &Situation,
    now: DateTime<Utc>,
) -> Message {
    let domain = &scheduler.settings.message_domain;
    let recipient = match &claim.recipient {
        Recipient::User(id) => Some(*id),
        Recipient::Contact(_) | Recipient::Email(_) | Recipient::Slack(_) => None,
    };
    let mut groups: BTreeMap<usize, Vec<&Delivery>> = BTreeMap::new();
    for (place, delivery) in places.iter().zip(wanted) {
        groups.entry(*place).or_default().push(delivery);
    }
    let items: Vec<Item> = groups
        .into_values()
        .filter_map(|mut about| {
            // Of several reasons the strongest is shown, and the latest of these.
            about.sort_by_key(|delivery| (delivery.kind, &delivery.slot));
            let shown = about.pop()?;
            let onboarding = situation.onboardings.get(&shown.onboarding_id)?;
            let also = about.into_iter().map(|it| Also {
                kind: it.kind,
                slot: it.slot.clone(),
                lag: now - it.due_at,
            });
            let item = item(scheduler, shown, onboarding, recipient, situation, &to.zone, now);
            Some(Item { also: also.collect(), ..item })
        })
        .collect();
    // A digest is called by the plainest of its items; the others are marked in it.
    let kind = items.iter().map(|item| item.kind).min().unwrap_or(Kind::Cadence);
    // Mail programs thread what refers to the same message; this one never existed, and stands for the onboarding.
    let references = match items.as_slice() {
        [one] => vec![format!("<{}@{domain}>", one.onboarding_id)],
        _ => Vec::new(),
    };
    Message {
        kind,
        to,
        items,
        workspace: situation
            .workspaces
            .get(&claim.workspace_id)
            .map(|it| it.name.clone())
            .unwrap_or_default(),
        message_id: format!("<{}@{domain}>", claim.message_id),
        now,
        references,
        unsubscribe_url: None,
        reply_to: match kind {
            Kind::Customer => reply_to(claim, wanted, situation),
            Kind::Cadence | Kind::Manual | Kind::Escalation => None,
        },
    }
}

/// Who reads what a customer answers: the CSM whom all of it has, else the workspace. Where there is neither, it goes to the
/// sender.
fn reply_to(claim: &Claim, wanted: &[Delivery], situation: &Situation) -> Option<String> {
    let csm = |delivery: &Delivery| {
        let id = situation.onboardings.get(&delivery.onboarding_id)?.roles.csm?;
        situation.users.get(&id).filter(|user| user.active && user.deleted_at.is_none())
    };
    let mut all = wanted.iter().map(csm);
    let first = all.next().flatten();
    let same = first.filter(|first| all.all(|other| other.is_some_and(|other| other.id == first.id)));
    let ops = situation.workspaces.get(&claim.workspace_id).and_then(|it| it.rules.ops_email.clone());
    same.map(|csm| csm.email.clone()).or(ops)
}

fn item(
    scheduler: &Scheduler,
    delivery: &Delivery,
    onboarding: &Onboarding,
    recipient: Option<UserId>,
    situation: &Situation,
    zone: &Zone,
    now: DateTime<Utc>,
) -> Item {
    let customer = situation.customers.get(&onboarding.customer_id);
    let others =
        onboarding.roles.people().filter(|(_, id)| Some(*id) != recipient).filter_map(|(role, id)| {
            let user = situation.users.get(&id).filter(|user| user.active)?;
            Some((role.label().to_owned(), user.name.clone()))
        });
    let state_since = onboarding.waiting_since.or(onboarding.hidden.idle_since);
    Item {
        kind: delivery.kind,
        onboarding_id: onboarding.id.to_text(),
        display_id: onboarding.display_id,
        customer: customer.map(|it| it.fields.name.clone()).unwrap_or_default(),
        phase: onboarding.phase,
        days_in_phase: whole_days_between(zone, onboarding.hidden.phase_entered_at, now),
        state: onboarding.state,
        state_since,
        target: onboarding.target_launch_date,
        days_late: onboarding.target_launch_date.map_or(0, |target| whole_days_between(zone, target, now)),
        last_change: situation
            .last_changes
            .get(&onboarding.id)
            .map(|(kind, at)| last_change(kind, *at, zone)),
        changed_since_last: onboarding
            .reminders
            .last_reminded_at
            .is_some_and(|last| onboarding.updated_at > last),
        others: others.collect(),
        notes: onboarding.notes.clone(),
        link: scheduler.settings.link_to(onboarding),
        slot: delivery.slot.clone(),
        lag: Some(now - delivery.due_at),
        also: Vec::new(),
    }
}

/// `phase changed on 2026-03-02`
fn last_change(kind: &str, at: DateTime<Utc>, zone: &Zone) -> String {
    let what = kind.rsplit('.').next().unwrap_or(kind).replace('_', " ");
    format!("{what} on {}", local_date(zone, at))
}
