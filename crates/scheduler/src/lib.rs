//! The way out: reminders planned into the ledger, rendered and sent by email and Slack.
//!
//! Guarantee: every due reminder ends in the ledger as sent, failed, ambiguous or skipped, with the reason; none
//! vanishes. A second copy can only follow a crash or a lost answer between a channel's acceptance and our record, and
//! an email then bears the same Message-ID.

pub mod channel;
mod dispatch;
mod flights;
pub mod message;
mod message_of;
mod metrics;
mod plan;
mod put_back;
mod retry;
mod send;
mod steps;
mod successors;
mod surroundings;
mod worker;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, Semaphore};
use usher_bus::Bus;
use usher_lifecycle::{
    Onboarding,
    reminder::{Channel, Configured},
};
use usher_store::Store;

use self::{
    channel::{Mailer, Outcome, SlackSender},
    message::Templates,
    metrics::Metrics,
};
pub use self::{
    dispatch::DispatchReport,
    plan::PlanReport,
    put_back::{PutBack, put_back},
};

/// The instant it is; the process's real clock, or a virtual one.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Messages to Slack that are sent at once; by email it is twice the connections, so that one is rendered while another
/// is sent, and none waits long for a connection.
const SLACK_AT_ONCE: usize = 16;
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
    events: Option<Arc<Notify>>,
    metrics: Arc<Metrics>,
    batch: u32,
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
        templates: impl Into<Arc<Templates>>,
        settings: Settings,
    ) -> Self {
        let email_at_once = channels.mailer.as_ref().map_or(1, |mailer| mailer.connections() * 2);
        Self {
            store,
            bus,
            clock,
            channels: Arc::new(channels),
            templates: templates.into(),
            settings: Arc::new(settings),
            email_turns: Arc::new(Semaphore::new(email_at_once)),
            slack_turns: Arc::new(Semaphore::new(SLACK_AT_ONCE)),
            resting: Arc::default(),
            events: None,
            metrics: Arc::default(),
            batch: plan::BATCH,
        }
    }

    /// Plans at most so many schedules, and as many requests, in one transaction; 500 unless said otherwise.
    #[must_use]
    pub const fn with_batch(mut self, schedules: u32) -> Self {
        self.batch = schedules;
        self
    }

    /// Adds what the scheduler counts to the registry.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Tells this one whenever events were written, so that the relay of the same process publishes them at once.
    #[must_use]
    pub fn with_events(mut self, events: Arc<Notify>) -> Self {
        self.events = Some(events);
        self
    }

    fn wrote_events(&self) {
        if let Some(events) = &self.events {
            events.notify_one();
        }
    }

    /// The channels this installation has, resting or not.
    pub fn configured(&self) -> Configured {
        Configured { email: self.channels.mailer.is_some(), slack: self.channels.slack.is_some() }
    }

    /// Tries the channels once, and says in the log which of them cannot send; nothing is sent. Reminders wait for a
    /// channel that is away.
    pub async fn check_channels(&self) {
        let mut outcomes = Vec::new();
        if let Some(mailer) = &self.channels.mailer {
            outcomes.push((Channel::Email, mailer.check().await));
        }
        if let Some(slack) = &self.channels.slack {
            outcomes.push((Channel::Slack, slack.check().await));
        }
        for (channel, outcome) in outcomes {
            let (channel, code) = (channel.as_str(), outcome.code());
            match &outcome {
                Outcome::Accepted { .. } => tracing::info!(channel, "the channel is ready"),
                // What the other side wrote may hold an address; the ledger has it where something was sent.
                Outcome::RefusedForNow { .. }
                | Outcome::RefusedForGood { .. }
                | Outcome::ChannelDown { .. }
                | Outcome::Unknown { .. } => {
                    tracing::error!(channel, code, "the channel cannot send now; its reminders wait");
                }
            }
        }
    }

    /// Whether the channel is left alone for now.
    fn is_resting(&self, channel: Channel, now: DateTime<Utc>) -> bool {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.get(&channel).is_some_and(|until| *until > now)
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
