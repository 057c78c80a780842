//! From a claim to a message and back: what is still wanted goes into it, and its outcome into every delivery.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use usher_lifecycle::{
    Onboarding, UserId,
    customer::CustomerStatus,
    person::User,
    reminder::{Channel, Kind, Reason, Recipient, Rules, Verdict, Zone, recheck, whole_days_between, zone},
};
use usher_store::{Claim, Delivery, Finish, Situation, Status};

use crate::{
    Scheduler, broken,
    channel::Outcome,
    message::{Address, Item, Message, To},
    plan::people,
    retry::{gives_up_ambiguous, record},
};

/// Sends what is still wanted of a claim; the rows as they are to stand.
pub(crate) async fn send(
    scheduler: &Scheduler,
    claim: Claim,
    situation: &Arc<Situation>,
    now: DateTime<Utc>,
) -> Vec<Finish> {
    let defaults = Rules::default();
    let rules = situation.workspaces.get(&claim.workspace_id).map_or(&defaults, |workspace| &workspace.rules);
    let finish = |delivery| Finish { token: claim.token.clone(), delivery, follow_ups: Vec::new() };
    let (mut finished, mut wanted) = (Vec::new(), Vec::new());
    for mut delivery in claim.deliveries.clone() {
        if delivery.ambiguities > 0 && gives_up_ambiguous(&delivery, rules) {
            delivery.status = Status::Ambiguous;
            delivery.reason = Some("ambiguous".into());
            finished.push(finish(delivery));
            continue;
        }
        match verdict(scheduler, &claim, &delivery, situation, rules, now) {
            Verdict::Send => wanted.push(delivery),
            Verdict::Skip(reason) => {
                delivery.status = Status::Skipped;
                delivery.reason = Some(reason.as_str().to_owned());
                finished.push(finish(delivery));
            }
            Verdict::Later(at) => {
                delivery.send_after = at;
                if delivery.ambiguities == 0 {
                    delivery.message_id = None;
                }
                finished.push(finish(delivery));
            }
        }
    }
    let to = address(&claim, situation, rules);
    let Some(to) = to.filter(|_| !wanted.is_empty()) else {
        // The person is gone altogether: nothing was sent.
        finished.extend(wanted.into_iter().map(|mut delivery| {
            delivery.status = Status::Skipped;
            delivery.reason = Some(Reason::NoLongerResponsible.as_str().to_owned());
            finish(delivery)
        }));
        return finished;
    };
    let message = compose(scheduler, &claim, &wanted, to, situation, now);
    let outcomes = attempt(scheduler, claim.channel, &message).await;
    let answered = (scheduler.clock)();
    for (place, mut delivery) in wanted.into_iter().enumerate() {
        let outcome = outcomes.iter().find(|(items, _)| items.contains(&place)).map(|(_, outcome)| outcome);
        let Some(outcome) = outcome else { continue };
        record(&mut delivery, outcome, rules, answered);
        if let Outcome::ChannelDown { code, .. } = outcome {
            scheduler.channel_down(claim.channel, code, answered);
        }
        let mut row = finish(delivery);
        if let Outcome::RefusedForGood { code, broken: true, .. } = outcome {
            row.follow_ups =
                broken::other_channel(scheduler, &row.delivery, situation, rules, code, answered).await;
        }
        finished.push(row);
    }
    finished
}

/// Whether the delivery is still wanted.
fn verdict(
    scheduler: &Scheduler,
    claim: &Claim,
    delivery: &Delivery,
    situation: &Situation,
    rules: &Rules,
    now: DateTime<Utc>,
) -> Verdict {
    let Some(onboarding) = situation.onboardings.get(&delivery.onboarding_id) else {
        return Verdict::Skip(Reason::Deleted);
    };
    let customer = situation.customers.get(&onboarding.customer_id);
    let context = recheck::Context {
        rules,
        onboarding,
        customer_status: customer.map_or(CustomerStatus::Onboarding, |customer| customer.fields.status),
        customer_deleted: customer.is_none_or(|customer| customer.deleted_at.is_some()),
        people: &people(onboarding, situation),
        primary_contact: None,
        configured: scheduler.configured(),
    };
    let planned = recheck::Planned {
        kind: delivery.kind,
        due_at: delivery.due_at,
        channel: claim.channel,
        recipient: &claim.recipient,
        channels_given: delivery.detail.as_ref().is_some_and(|detail| detail["channels_given"] == true),
    };
    recheck::recheck(&context, &planned, now)
}

/// Where the message goes; none when the person is not there any more.
fn address(claim: &Claim, situation: &Situation, rules: &Rules) -> Option<To> {
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
        (Recipient::Email(_), Channel::Slack)
        | (Recipient::Slack(_), Channel::Email)
        | (Recipient::Contact(_), _) => None,
    }
}

fn zone_of(user: &User, fallback: Zone) -> Zone {
    user.reach.time_zone.as_deref().and_then(|name| zone(name).ok()).unwrap_or(fallback)
}

fn compose(
    scheduler: &Scheduler,
    claim: &Claim,
    wanted: &[Delivery],
    to: To,
    situation: &Situation,
    now: DateTime<Utc>,
) -> Message {
    let domain = &scheduler.settings.message_domain;
    let recipient = match &claim.recipient {
        Recipient::User(id) => Some(*id),
        Recipient::Contact(_) | Recipient::Email(_) | Recipient::Slack(_) => None,
    };
    let items: Vec<Item> = wanted
        .iter()
        .filter_map(|delivery| {
            let onboarding = situation.onboardings.get(&delivery.onboarding_id)?;
            Some(item(scheduler, delivery, onboarding, recipient, situation, &to.zone, now))
        })
        .collect();
    // Mail programs thread what refers to the same message; this one never existed, and stands for the onboarding.
    let references = match wanted {
        [one] => vec![format!("<{}@{domain}>", one.onboarding_id)],
        _ => Vec::new(),
    };
    Message {
        kind: wanted.iter().map(|delivery| delivery.kind).min().unwrap_or(Kind::Cadence),
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
        reply_to: None,
    }
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
    }
}

/// `phase changed on 2026-03-02`
fn last_change(kind: &str, at: DateTime<Utc>, zone: &Zone) -> String {
    let what = kind.rsplit('.').next().unwrap_or(kind).replace('_', " ");
    format!("{what} on {}", usher_lifecycle::reminder::local_date(zone, at))
}

/// Renders and sends; each outcome with the places of the items it is about.
async fn attempt(scheduler: &Scheduler, channel: Channel, message: &Message) -> Vec<(Vec<usize>, Outcome)> {
    let all: Vec<usize> = (0..message.items.len()).collect();
    let unrenderable = |error: &dyn std::error::Error| Outcome::RefusedForGood {
        code: "render".into(),
        detail: format!("{error}{}", error.source().map(|cause| format!(": {cause}")).unwrap_or_default()),
        broken: false,
    };
    match (channel, &scheduler.channels.mailer, &scheduler.channels.slack) {
        (Channel::Email, Some(mailer), _) => match scheduler.templates.email(message) {
            Ok(body) => vec![(all, mailer.send(message, &body).await)],
            Err(error) => vec![(all, unrenderable(&error))],
        },
        (Channel::Slack, _, Some(slack)) => match scheduler.templates.slack(message) {
            Ok(bodies) => {
                let mut outcomes = Vec::with_capacity(bodies.len());
                for body in bodies {
                    let outcome = slack.send(message, &body).await;
                    outcomes.push((body.items.clone(), outcome));
                }
                outcomes
            }
            Err(error) => vec![(all, unrenderable(&error))],
        },
        (Channel::Email, None, _) | (Channel::Slack, _, None) => {
            let detail = "this installation has no such channel".to_owned();
            vec![(all, Outcome::ChannelDown { code: "not_configured".into(), detail })]
        }
    }
}
