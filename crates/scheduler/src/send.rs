//! One claim: what is still wanted of it becomes a message, and the answer an outcome for every delivery.
//!
//! Law: whatever happens, each delivery of the claim ends in exactly one of the rows that are returned, and one of which
//! the channel may have heard is never called unsent.

use std::panic::AssertUnwindSafe;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use tokio::time::Instant;
use usher_lifecycle::{
    customer::CustomerStatus,
    reminder::{Channel, Configured, Reason, Recipient, Rules, Verdict, recheck},
};
use usher_store::{Claim, Delivery, Finish, Situation, Status};

use crate::{
    Scheduler,
    channel::Outcome,
    flights::Stop,
    message::Message,
    message_of::{address, compose, places},
    plan::people,
    retry::{gives_up_ambiguous, record},
    steps::taken,
    successors::{Broken, channels_given},
    surroundings::{fault, unsent},
};

/// What must be left of the claim when another part of a long Slack message is begun.
const LEAST_LEFT: TimeDelta = TimeDelta::seconds(60);

/// Sends what is still wanted of a claim; the rows as they are to stand.
pub(crate) async fn send(
    scheduler: &Scheduler,
    claim: Claim,
    situation: &Situation,
    stop: &Stop,
    now: DateTime<Utc>,
) -> Vec<Finish> {
    let defaults = Rules::default();
    let rules = situation.workspaces.get(&claim.workspace_id).map_or(&defaults, |workspace| &workspace.rules);
    let mut finished = Vec::with_capacity(claim.deliveries.len());
    let finish = |delivery, follow_ups| Finish { token: claim.token.clone(), delivery, follow_ups };
    let skip = |mut delivery: Delivery, reason: Reason| {
        let follow_ups = match reason {
            // Somebody else is to have it, or the same person by the other channel.
            Reason::NoLongerResponsible | Reason::ChannelBroken => {
                scheduler.successors(&delivery, situation, rules, None, now)
            }
            _ => Vec::new(),
        };
        // Of what may have arrived nobody may say that it was not sent.
        delivery.status = if delivery.ambiguities > 0 { Status::Ambiguous } else { Status::Skipped };
        delivery.reason = Some(reason.as_str().to_owned());
        finish(delivery, follow_ups)
    };
    let mut wanted = Vec::with_capacity(claim.deliveries.len());
    for mut delivery in claim.deliveries.iter().cloned() {
        if delivery.ambiguities > 0 && gives_up_ambiguous(&delivery, rules) {
            delivery.status = Status::Ambiguous;
            delivery.reason = Some("ambiguous".into());
            finished.push(finish(delivery, Vec::new()));
            continue;
        }
        let addressed = (claim.channel, &claim.recipient);
        match verdict(&delivery, addressed, situation, scheduler.configured(), now) {
            Verdict::Send => wanted.push(delivery),
            Verdict::Skip(reason) => finished.push(skip(delivery, reason)),
            Verdict::Later(at) => {
                delivery.send_after = at;
                finished.push(finish(unsent(delivery), Vec::new()));
            }
        }
    }
    let Some(to) = address(&claim, situation, rules) else {
        // The person is gone altogether.
        finished.extend(wanted.into_iter().map(|delivery| skip(delivery, Reason::NoLongerResponsible)));
        return finished;
    };
    if wanted.is_empty() {
        return finished;
    }

    let items = places(&wanted);
    let mut attempt = Attempt { parts: Vec::new(), over: false };
    let sending = async {
        let message = compose(scheduler, &claim, (&wanted, &items), to, situation, now);
        attempt.make(scheduler, &claim, &message).await;
    };
    tokio::select! {
        biased;
        done = AssertUnwindSafe(sending).catch_unwind() => if done.is_err() {
            tracing::error!(message_id = claim.message_id, "a fault in usher while a message was made and sent");
            attempt.over = true;
        },
        () = stop.sending.cancelled() => {}
    }
    let answered = (scheduler.clock)();
    let refused = attempt.parts.iter().find_map(|(_, outcome)| broken_by(outcome));
    if let Some(code) = refused {
        scheduler.mark_broken(&claim, code, answered).await;
    }
    for (place, mut delivery) in items.into_iter().zip(wanted) {
        let Some((_, outcome)) = attempt.parts.iter().find(|(places, _)| places.contains(&place)) else {
            let detail = "the message could not be made";
            let row = if attempt.over { fault(delivery, detail.into(), answered) } else { unsent(delivery) };
            finished.push(finish(row, Vec::new()));
            continue;
        };
        record(&mut delivery, outcome, rules, answered);
        if let Outcome::ChannelDown { code, .. } = outcome {
            scheduler.channel_down(claim.channel, code, answered);
        }
        let follow_ups = broken_by(outcome).map_or_else(Vec::new, |code| {
            let broken = Broken { channel: claim.channel, code };
            scheduler.successors(&delivery, situation, rules, Some(broken), answered)
        });
        finished.push(finish(delivery, follow_ups));
    }
    finished
}

/// The code, if the outcome says that the address or channel itself is at fault.
fn broken_by(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::RefusedForGood { code, broken: true, .. } => Some(code),
        Outcome::Accepted { .. }
        | Outcome::RefusedForNow { .. }
        | Outcome::RefusedForGood { .. }
        | Outcome::ChannelDown { .. }
        | Outcome::Unknown { .. } => None,
    }
}

/// Whether the delivery is still wanted.
pub(crate) fn verdict(
    delivery: &Delivery,
    (channel, recipient): (Channel, &Recipient),
    situation: &Situation,
    configured: Configured,
    now: DateTime<Utc>,
) -> Verdict {
    let defaults = Rules::default();
    let workspace = situation.workspaces.get(&delivery.workspace_id);
    let Some(onboarding) = situation.onboardings.get(&delivery.onboarding_id) else {
        return Verdict::Skip(Reason::Deleted);
    };
    let customer = situation.customers.get(&onboarding.customer_id);
    let context = recheck::Context {
        rules: workspace.map_or(&defaults, |workspace| &workspace.rules),
        onboarding,
        customer_status: customer.map_or(CustomerStatus::Onboarding, |customer| customer.fields.status),
        customer_deleted: customer.is_none_or(|customer| customer.deleted_at.is_some()),
        people: &people(onboarding, situation),
        primary_contact: situation.contacts.get(&onboarding.customer_id),
        configured,
    };
    let (channels, steps) = (channels_given(delivery), taken(delivery));
    let planned = recheck::Planned {
        kind: delivery.kind,
        slot: &delivery.slot,
        due_at: delivery.due_at,
        channel,
        recipient,
        channels: channels.as_deref(),
        steps: steps.as_deref(),
        last_escalation: situation
            .last_escalations
            .get(&(delivery.onboarding_id, channel, recipient.clone()))
            .copied(),
    };
    recheck::recheck(&context, &planned, now)
}

/// The sending of one message, as far as it has come.
struct Attempt {
    /// Each part that was begun: the places of its items, and what became of it.
    parts: Vec<(Vec<usize>, Outcome)>,
    /// Nothing more will come: what has no part by now never will.
    over: bool,
}

impl Attempt {
    /// Renders and sends. Before each part a place is kept for its outcome, in case that nobody is left to write it.
    async fn make(&mut self, scheduler: &Scheduler, claim: &Claim, message: &Message) {
        let all = (0..message.items.len()).collect();
        let unknown = || Outcome::Unknown { detail: "the sending was broken off".into() };
        match (claim.channel, &scheduler.channels.mailer, &scheduler.channels.slack) {
            (Channel::Email, Some(mailer), _) => match scheduler.templates.email(message) {
                Ok(body) => {
                    self.parts.push((all, unknown()));
                    let begun = Instant::now();
                    let outcome = mailer.send(message, &body).await;
                    scheduler.metrics.attempted(claim.channel, &outcome, begun.elapsed());
                    self.ended(outcome);
                }
                Err(error) => self.parts.push((all, unrenderable(&error))),
            },
            (Channel::Slack, _, Some(slack)) => match scheduler.templates.slack(message) {
                Ok(bodies) => {
                    for body in bodies {
                        let left = claim.lease_until - (scheduler.clock)();
                        if !self.parts.is_empty() && left < LEAST_LEFT {
                            return;
                        }
                        self.parts.push((body.items.clone(), unknown()));
                        let begun = Instant::now();
                        let outcome = slack.send(message, &body).await;
                        scheduler.metrics.attempted(claim.channel, &outcome, begun.elapsed());
                        let down = matches!(outcome, Outcome::ChannelDown { .. });
                        self.ended(outcome);
                        if down {
                            return;
                        }
                    }
                }
                Err(error) => self.parts.push((all, unrenderable(&error))),
            },
            (Channel::Email, None, _) | (Channel::Slack, _, None) => {
                let detail = "this installation has no such channel".to_owned();
                self.parts.push((all, Outcome::ChannelDown { code: "not_configured".into(), detail }));
            }
        }
        self.over = true;
    }

    fn ended(&mut self, outcome: Outcome) {
        if let Some(last) = self.parts.last_mut() {
            last.1 = outcome;
        }
    }
}

fn unrenderable(error: &dyn std::error::Error) -> Outcome {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    Outcome::RefusedForGood { code: "render".into(), detail: format!("{error}{cause}"), broken: false }
}
