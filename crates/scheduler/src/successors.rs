//! Who takes over when a recipient is out: because others stand in their place by now, or because the channel refused
//! them for good. The new deliveries are of the same kind and slot and are written together with what became of the
//! old one; the ledger's unique key lets nobody get two.

use chrono::{DateTime, Utc};
use serde::Deserialize as _;
use usher_lifecycle::{
    Command,
    command::{ContactPatch, UserPatch},
    event::Actor,
    person::User,
    reminder::{
        Channel, Kind, Reason, Recipient, Rules, Target,
        audience::{audience, customer, escalation},
        steps_now,
    },
};
use usher_store::{Claim, Dedupe, Delivery, Ref, Request, Situation};

use crate::{
    Scheduler,
    plan::{addressed, people, unaddressed},
    steps::{add, detail, taken},
};

/// A person's channel that has just refused them for good.
pub(crate) struct Broken<'a> {
    pub(crate) channel: Channel,
    pub(crate) code: &'a str,
}

impl Scheduler {
    /// Marks the claim's channel as broken for its person, so that nothing more is sent there.
    pub(crate) async fn mark_broken(&self, claim: &Claim, code: &str, now: DateTime<Utc>) {
        let Some(first) = claim.deliveries.first() else { return };
        let code = Some(code.to_owned());
        let (id, command) = match &claim.recipient {
            Recipient::User(id) => {
                let broken = Some((claim.channel, code));
                (id.to_text(), Command::ChangeUser(UserPatch { broken, ..UserPatch::default() }))
            }
            Recipient::Contact(id) => {
                let patch = ContactPatch { email_broken: Some(code), ..ContactPatch::default() };
                (id.to_text(), Command::ChangeContact(patch))
            }
            Recipient::Email(_) | Recipient::Slack(_) => return,
        };
        let request = Request {
            workspace_id: claim.workspace_id,
            livemode: first.livemode,
            command,
            target: Some(Ref::Id(id.clone())),
            actor: Actor::system(),
            dedupe: Dedupe::None,
            expected_version: None,
            traceparent: None,
        };
        if let Err(error) = self.store.apply(request, now).await {
            tracing::warn!(person = id, channel = claim.channel.as_str(), %error, "a broken channel is not marked");
        }
    }

    /// The deliveries to everybody else whom the reminder concerns as things stand now.
    pub(crate) fn successors(
        &self,
        old: &Delivery,
        situation: &Situation,
        rules: &Rules,
        broken: Option<Broken<'_>>,
        now: DateTime<Utc>,
    ) -> Vec<Delivery> {
        let Some(onboarding) = situation.onboardings.get(&old.onboarding_id) else { return Vec::new() };
        let given = channels_given(old);
        let channels = match old.kind {
            Kind::Cadence | Kind::Escalation | Kind::Customer => None,
            Kind::Manual => given.as_deref(),
        };
        let mut people = people(onboarding, situation);
        if let (Some(broken), Some(Recipient::User(id))) = (broken, &old.recipient) {
            people.iter_mut().filter(|person| person.id == *id).for_each(|person| mark(person, &broken));
        }
        let row = || {
            let slot = old.slot.clone();
            let row = Delivery::pending(onboarding, old.kind, slot, old.due_at, now, now);
            Delivery { detail: old.detail.clone(), ..row }
        };
        let configured = self.configured();
        let targets = match old.kind {
            Kind::Escalation => {
                // Each of its steps as the rules have it now, to whom that tells: none of one that was removed.
                let mut rows = Vec::new();
                let steps = taken(old).unwrap_or_default();
                for step in steps.into_iter().flat_map(|step| steps_now(rules, step)) {
                    let unheeded = old.detail.as_ref().map(|detail| detail["unheeded"].clone());
                    let detail = Some(detail(step, unheeded.unwrap_or_default()));
                    let row = || Delivery { detail: detail.clone(), ..row() };
                    let targets = escalation(rules, onboarding, &people, configured, step.to);
                    for row in instead(old, targets, row) {
                        add(&mut rows, row);
                    }
                }
                return rows;
            }
            Kind::Customer => {
                let primary = situation.contacts.get(&onboarding.customer_id);
                customer(rules, onboarding, primary, configured).map(|target| vec![target])
            }
            Kind::Cadence | Kind::Manual => audience(rules, onboarding, &people, configured, channels),
        };
        instead(old, targets, row)
    }
}

/// The deliveries to these targets, less the old one's.
fn instead(
    old: &Delivery,
    targets: Result<Vec<Target>, Reason>,
    row: impl Fn() -> Delivery,
) -> Vec<Delivery> {
    match targets {
        Ok(targets) => targets
            .into_iter()
            .filter(|to| Some(to.channel) != old.channel || Some(&to.recipient) != old.recipient.as_ref())
            .map(|to| addressed(row(), to))
            .collect(),
        Err(Reason::NoRecipient) => vec![unaddressed(row(), Reason::NoRecipient)],
        // The switches say that nobody is to be told.
        Err(_) => Vec::new(),
    }
}

/// The channels that *remind now* named itself. Of one planned by a version that noted only that there were some, its own.
pub(crate) fn channels_given(delivery: &Delivery) -> Option<Vec<Channel>> {
    let detail = delivery.detail.as_ref().filter(|detail| detail["channels_given"] == true)?;
    let named = Vec::<Channel>::deserialize(&detail["channels"]);
    Some(named.unwrap_or_else(|_| delivery.channel.into_iter().collect()))
}

fn mark(person: &mut User, broken: &Broken<'_>) {
    let code = Some(broken.code.to_owned());
    match broken.channel {
        Channel::Email => person.reach.email_broken = code,
        Channel::Slack => person.reach.slack_broken = code,
    }
}
