//! The channels of a host: every message is shown to the model, and meets a fate that the seed decides.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use usher_lifecycle::reminder::Channel;
use usher_scheduler::Channels;
use usher_scheduler::channel::{Function, Handed, Mailer, Outcome, SlackSender};
use usher_scheduler::message::Address;

use crate::attempts::{Fate, Moment};
use crate::chance::hash;
use crate::host::Switch;
use crate::run::Stage;

/// Both channels of a host.
pub(crate) fn channels(stage: &Arc<Stage>, switch: &Arc<Switch>) -> Channels {
    let function = |stage: &Arc<Stage>| {
        let (stage, switch) = (Arc::clone(stage), Arc::clone(switch));
        Function::new(move |handed| send(Arc::clone(&stage), Arc::clone(&switch), handed).boxed())
    };
    Channels {
        mailer: Some(Mailer::function(function(stage), "usher@usher.example").unwrap()),
        slack: Some(SlackSender::function(function(stage))),
    }
}

async fn send(stage: Arc<Stage>, switch: Arc<Switch>, handed: Handed) -> Outcome {
    if switch.is_dead() {
        return pending().await;
    }
    let pass = switch.pass.load(Ordering::SeqCst);
    let now = stage.clock.now();
    let moment = Moment { now, clock: now + switch.skew() };
    let flight = stage.world().depart(&handed, pass, moment);
    let left = switch.last_send.load(Ordering::SeqCst);
    if left > 0 {
        switch.last_send.store(left - 1, Ordering::SeqCst);
    }
    if left == 1 || left == 2 {
        // The even one dies before the other side has it, the odd one after.
        let (fate, arrived) = (Fate::Unknown, left == 1);
        stage.world().land(&flight, pass, fate, arrived);
        switch.die();
        return pending().await;
    }
    let interruption = switch.during_send.lock().unwrap().take();
    if let Some(interruption) = interruption {
        interruption();
    }
    let (outcome, fate, arrived) = stage.fate(&handed, now);
    let mut world = stage.world();
    world.land(&flight, pass, fate, arrived);
    world.count(outcome.label());
    if matches!(outcome, Outcome::RefusedForGood { broken: true, .. }) {
        world.break_channel(&handed.message.to.address, handed.channel, now);
    }
    outcome
}

impl Stage {
    /// What the other side does. Depends on the message and the instant only, not on the order of messages.
    fn fate(&self, handed: &Handed, now: DateTime<Utc>) -> (Outcome, Fate, bool) {
        let accepted = (Outcome::Accepted { reference: None }, Fate::Taken, true);
        if self.calm.load(Ordering::SeqCst) {
            return accepted;
        }
        let (Address::Email(to) | Address::SlackUser(to) | Address::SlackChannel(to)) =
            &handed.message.to.address;
        let first = &handed.message.items[handed.items[0]];
        let draw = hash(self.seed, &[to, &now.to_rfc3339(), &first.onboarding_id, &first.slot]) % 10_000;
        let for_now = |code: &str, wait: Option<u64>| Outcome::RefusedForNow {
            code: code.to_owned(),
            detail: String::new(),
            retry_after: wait.map(Duration::from_secs),
            counts: wait.is_none(),
        };
        let for_good = |code: &str, broken| Outcome::RefusedForGood {
            code: code.to_owned(),
            detail: String::new(),
            broken,
        };
        let refused = |outcome| (outcome, Fate::Refused, false);
        if self.is_out(handed.channel, now) {
            return refused(for_now("connect", None));
        }
        let email = handed.channel == Channel::Email;
        if self.surly.load(Ordering::SeqCst) && draw.is_multiple_of(2) {
            return refused(for_now(if email { "450" } else { "http_503" }, None));
        }
        match draw {
            0..120 => refused(for_now(if email { "450" } else { "http_503" }, None)),
            120..160 => refused(for_now(if email { "421" } else { "ratelimited" }, Some(20))),
            160..190 => (Outcome::Unknown { detail: String::new() }, Fate::Unknown, true),
            190..210 => (Outcome::Unknown { detail: String::new() }, Fate::Unknown, false),
            210..218 => refused(for_good(if email { "550" } else { "user_not_found" }, true)),
            218..226 => refused(for_good(if email { "554" } else { "invalid_blocks" }, false)),
            226..228 => refused(Outcome::ChannelDown { code: "535".to_owned(), detail: String::new() }),
            _ => accepted,
        }
    }
}
