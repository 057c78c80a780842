//! A channel that refused a person for good: it is marked on the person, and the other channel takes over.

use chrono::{DateTime, Utc};
use usher_lifecycle::{
    Command,
    command::UserPatch,
    event::Actor,
    person::User,
    reminder::{Recipient, Rules, audience::audience},
};
use usher_store::{Dedupe, Delivery, Ref, Request, Situation};

use crate::{Scheduler, plan::people};

/// Marks the channel of a delivery as broken for its person; the deliveries that take over, to be written together with
/// the failed one.
pub(crate) async fn other_channel(
    scheduler: &Scheduler,
    failed: &Delivery,
    situation: &Situation,
    rules: &Rules,
    code: &str,
    now: DateTime<Utc>,
) -> Vec<Delivery> {
    let (Some(Recipient::User(id)), Some(channel)) = (&failed.recipient, failed.channel) else {
        return Vec::new();
    };
    let request = Request {
        workspace_id: failed.workspace_id,
        livemode: failed.livemode,
        command: Command::ChangeUser(UserPatch {
            broken: Some((channel, Some(code.to_owned()))),
            ..UserPatch::default()
        }),
        target: Some(Ref::Id(id.to_text())),
        actor: Actor::system(),
        dedupe: Dedupe::None,
        expected_version: None,
        traceparent: None,
    };
    if let Err(error) = scheduler.store.apply(request, now).await {
        tracing::warn!(user = %id, channel = channel.as_str(), %error, "a broken channel could not be marked");
    }
    let Some(onboarding) = situation.onboardings.get(&failed.onboarding_id) else { return Vec::new() };
    let mut people = people(onboarding, situation);
    for person in people.iter_mut().filter(|person| person.id == *id) {
        mark(person, channel, code);
    }
    let targets = audience(rules, onboarding, &people, scheduler.configured(), None).unwrap_or_default();
    targets
        .into_iter()
        .filter(|target| target.channel != channel && target.recipient == Recipient::User(*id))
        .map(|target| {
            let again =
                Delivery::pending(onboarding, failed.kind, failed.slot.clone(), failed.due_at, now, now);
            Delivery {
                detail: failed.detail.clone(),
                ..again.to(target.channel, target.recipient, target.why.as_str())
            }
        })
        .collect()
}

fn mark(person: &mut User, channel: usher_lifecycle::reminder::Channel, code: &str) {
    match channel {
        usher_lifecycle::reminder::Channel::Email => person.reach.email_broken = Some(code.to_owned()),
        usher_lifecycle::reminder::Channel::Slack => person.reach.slack_broken = Some(code.to_owned()),
    }
}
