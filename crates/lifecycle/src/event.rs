//! What happened. The names here are the event types on the wire; docs/events.md describes each.

use alloc::string::String;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $wire:literal,)*) => {
        /// The type of an event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventKind { $($(#[$doc])* $name,)* }

        impl EventKind {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The type on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }
        }
    };
}

kinds! {
    /// An onboarding was created, in any phase and state.
    OnboardingCreated = "onboarding.created",
    /// A field other than phase and state changed.
    OnboardingUpdated = "onboarding.updated",
    /// The phase changed.
    OnboardingPhaseChanged = "onboarding.phase_changed",
    /// The state changed.
    OnboardingStateChanged = "onboarding.state_changed",
    /// The state became `at_risk`.
    OnboardingAtRisk = "onboarding.at_risk",
    /// The state stopped being `at_risk`.
    OnboardingBackOnTrack = "onboarding.back_on_track",
    /// The phase became `launch`.
    OnboardingLaunched = "onboarding.launched",
    /// The phase became `completed`.
    OnboardingCompleted = "onboarding.completed",
    /// An onboarding was deleted.
    OnboardingDeleted = "onboarding.deleted",
    /// A channel accepted a reminder.
    ReminderSent = "reminder.sent",
    /// A reminder could not be delivered.
    ReminderFailed = "reminder.failed",
    /// A reminder was due and was not sent, for a reason.
    ReminderSkipped = "reminder.skipped",
    /// Reminders were snoozed, or the snooze was ended.
    ReminderSnoozed = "reminder.snoozed",
    /// Unheeded reminders were escalated.
    ReminderEscalated = "reminder.escalated",
    /// A customer was created.
    CustomerCreated = "customer.created",
    /// A customer changed.
    CustomerUpdated = "customer.updated",
    /// A customer was deleted.
    CustomerDeleted = "customer.deleted",
    /// A contact was created.
    ContactCreated = "contact.created",
    /// A contact changed.
    ContactUpdated = "contact.updated",
    /// A contact was deleted.
    ContactDeleted = "contact.deleted",
    /// A template was created.
    TemplateCreated = "template.created",
    /// A template changed.
    TemplateUpdated = "template.updated",
    /// A template was deleted.
    TemplateDeleted = "template.deleted",
    /// The workspace's name or rules changed.
    WorkspaceUpdated = "workspace.updated",
    /// A user was created.
    UserCreated = "user.created",
    /// A user changed.
    UserUpdated = "user.updated",
    /// A user was deleted.
    UserDeleted = "user.deleted",
}

/// One thing that happened to a record, within one command.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The values before, of the fields that this event is about; none where there is no before.
    pub previous: Option<Map<String, Value>>,
    /// What else the event tells (`move`, `reason`, ...).
    pub extra: Map<String, Value>,
}

impl Event {
    /// An event without previous values.
    pub fn plain(kind: EventKind) -> Self {
        Self { kind, previous: None, extra: Map::new() }
    }

    /// The `data` of the event on the wire: the object as the API returns it, the previous values, who did it.
    pub fn data(&self, object: &Value, actor: &Actor) -> Value {
        let mut data = self.extra.clone();
        data.insert("object".into(), object.clone());
        data.insert("previous_attributes".into(), self.previous.clone().map_or(Value::Null, Value::Object));
        data.insert("actor".into(), actor.to_value());
        Value::Object(data)
    }
}

/// Who asked for a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What kind of actor.
    #[serde(rename = "type")]
    pub kind: ActorKind,
    /// Its id: of the key, the user, the upstream source.
    pub id: Option<String>,
    /// Its name for people.
    pub name: Option<String>,
}

/// What kind of actor asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A caller of the API.
    ApiKey,
    /// A person, in the console or the CLI.
    User,
    /// usher itself: a timer, a rule.
    System,
    /// An upstream system over NATS.
    Nats,
    /// A button in Slack.
    Slack,
    /// A link in an email.
    Email,
}

impl ActorKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::ApiKey, Self::User, Self::System, Self::Nats, Self::Slack, Self::Email];
}

impl Actor {
    /// usher itself.
    pub const fn system() -> Self {
        Self { kind: ActorKind::System, id: None, name: None }
    }

    fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}
