//! The way out: reminders planned into the ledger, rendered and sent by email and Slack.
//!
//! Guarantee: every due reminder ends in the ledger as sent, failed, ambiguous or skipped, with the reason; none
//! vanishes. A second copy can only follow a crash or a lost answer between a channel's acceptance and our record, and
//! an email then bears the same Message-ID.

mod broken;
pub mod channel;
mod dispatch;
pub mod message;
mod message_of;
mod plan;
mod retry;
mod worker;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Semaphore;
use usher_bus::Bus;
use usher_lifecycle::{
    Onboarding,
    reminder::{Channel, Configured},
};
use usher_store::Store;

use self::{
    channel::{Mailer, SlackSender},
    message::Templates,
};
pub use self::{dispatch::DispatchReport, plan::PlanReport};

/// The instant it is; the process's real clock, or a virtual one.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// How long a channel rests after a fault of our configuration.
const REST: TimeDelta = TimeDelta::minutes(1);

/// The channels of this installation.
#[derive(Debug, Default)]
pub struct Channels {
    /// Email.
    pub mailer: Option<Mailer>,
    /// Slack.
    pub slack: Option<SlackSender>,
}

/// What messages need to know of the installation.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The part of a Message-ID after `@`.
    pub message_domain: String,
    /// Where people open an onboarding: a URL with `{id}`, `{display_id}` or `{external_id}` in it; none = no link.
    pub onboarding_url: Option<String>,
}

impl Settings {
    fn link_to(&self, onboarding: &Onboarding) -> Option<String> {
        let external = onboarding.external_id.as_deref().unwrap_or_default();
        let escaped: String = external.bytes().map(escape).collect();
        self.onboarding_url.as_ref().map(|url| {
            url.replace("{id}", &onboarding.id.to_text())
                .replace("{display_id}", &onboarding.display_id.to_string())
                .replace("{external_id}", &escaped)
        })
    }
}

/// A byte as it may stand in a URL.
fn escape(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

/// Plans and sends. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    store: Store,
    bus: Bus,
    clock: Clock,
    channels: Arc<Channels>,
    templates: Arc<Templates>,
    settings: Arc<Settings>,
    email_turns: Arc<Semaphore>,
    slack_turns: Arc<Semaphore>,
    resting: Arc<Mutex<HashMap<Channel, DateTime<Utc>>>>,
}

impl std::fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Scheduler {
    /// A scheduler; it does nothing until it is told to.
    pub fn new(
        store: Store,
        bus: Bus,
        clock: Clock,
        channels: Channels,
        templates: Templates,
        settings: Settings,
    ) -> Self {
        Self {
            store,
            bus,
            clock,
            channels: Arc::new(channels),
            templates: Arc::new(templates),
            settings: Arc::new(settings),
            email_turns: Arc::new(Semaphore::new(dispatch::in_flight(Channel::Email))),
            slack_turns: Arc::new(Semaphore::new(dispatch::in_flight(Channel::Slack))),
            resting: Arc::default(),
        }
    }

    /// The channels this installation has, resting or not.
    pub fn configured(&self) -> Configured {
        Configured { email: self.channels.mailer.is_some(), slack: self.channels.slack.is_some() }
    }

    fn turns(&self, channel: Channel) -> &Semaphore {
        match channel {
            Channel::Email => &self.email_turns,
            Channel::Slack => &self.slack_turns,
        }
    }

    /// The channels that may send now.
    fn sendable_channels(&self, now: DateTime<Utc>) -> Vec<Channel> {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let awake = |channel: &Channel| resting.get(channel).is_none_or(|until| *until <= now);
        // A channel that is not configured is dispatched too: what was planned for it earlier ends with the reason.
        Channel::ALL.into_iter().filter(awake).collect()
    }

    /// Lets a channel rest whose configuration is at fault; every other recipient would be refused as well.
    fn channel_down(&self, channel: Channel, code: &str, now: DateTime<Utc>) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let until = now + REST;
        if resting.insert(channel, until).is_none_or(|before| before <= now) {
            tracing::error!(
                channel = channel.as_str(),
                code,
                "the channel is down through a fault of its configuration"
            );
        }
    }
}
