//! The words of the ledger: what kind of reminder a delivery is, and why it was not sent.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::recipient::Channel;
use crate::state::UnknownName;

/// What a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Kind {
    /// A reminder of the onboarding's rhythm.
    Cadence,
    /// *Remind now*, asked for by somebody.
    Manual,
    /// Reminders went unheeded.
    Escalation,
    /// To the customer's primary contact, while the onboarding waits on them.
    Customer,
}

/// Why a delivery was skipped, or why there is a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Reason {
    /// The onboarding is completed.
    Completed,
    /// The onboarding is paused.
    Paused,
    /// The onboarding was deleted.
    Deleted,
    /// The customer was deleted.
    CustomerDeleted,
    /// The customer is churned or archived.
    CustomerInactive,
    /// The onboarding was snoozed over the slot.
    Snoozed,
    /// The person wants no messages for now.
    Muted,
    /// The channel is switched off, on the onboarding or by the person.
    ChannelOff,
    /// Both channels are switched off on the onboarding.
    ChannelsOff,
    /// The channel is known to fail for this person.
    ChannelBroken,
    /// The person or address no longer stands for this onboarding.
    NoLongerResponsible,
    /// Nobody is there to be told.
    NoRecipient,
    /// A later slot of the same onboarding took its place.
    Superseded,
    /// Too late, and the policy does not catch up.
    TooLate,
    /// The onboarding is a test record.
    TestMode,
    /// The installation does not have this channel.
    NotConfigured,
    /// The person has every day off.
    NeverReachable,
    /// The onboarding waits on the customer no more.
    NotWaiting,
    /// Somebody took care of the onboarding before the escalation went out.
    Heeded,
    /// The workspace does not write to customers.
    CustomerNotNudged,
    /// The calendar ends before another slot.
    NoneLeft,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Cadence, Self::Manual, Self::Escalation, Self::Customer];

    /// Whether such a delivery may go by that channel: customers are written to by email only.
    pub const fn goes_by(self, channel: Channel) -> bool {
        match (self, channel) {
            (Self::Cadence | Self::Manual | Self::Escalation, _) | (Self::Customer, Channel::Email) => true,
            (Self::Customer, Channel::Slack) => false,
        }
    }

    /// The name in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cadence => "cadence",
            Self::Manual => "manual",
            Self::Escalation => "escalation",
            Self::Customer => "customer",
        }
    }
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 21] = [
        Self::Completed,
        Self::Paused,
        Self::Deleted,
        Self::CustomerDeleted,
        Self::CustomerInactive,
        Self::Snoozed,
        Self::Muted,
        Self::ChannelOff,
        Self::ChannelsOff,
        Self::ChannelBroken,
        Self::NoLongerResponsible,
        Self::NoRecipient,
        Self::Superseded,
        Self::TooLate,
        Self::TestMode,
        Self::NotConfigured,
        Self::NeverReachable,
        Self::NotWaiting,
        Self::Heeded,
        Self::CustomerNotNudged,
        Self::NoneLeft,
    ];

    /// The name in the ledger, in events and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Paused => "paused",
            Self::Deleted => "deleted",
            Self::CustomerDeleted => "customer_deleted",
            Self::CustomerInactive => "customer_inactive",
            Self::Snoozed => "snoozed",
            Self::Muted => "muted",
            Self::ChannelOff => "channel_off",
            Self::ChannelsOff => "channels_off",
            Self::ChannelBroken => "channel_broken",
            Self::NoLongerResponsible => "no_longer_responsible",
            Self::NoRecipient => "no_recipient",
            Self::Superseded => "superseded",
            Self::TooLate => "too_late",
            Self::TestMode => "test_mode",
            Self::NotConfigured => "not_configured",
            Self::NeverReachable => "never_reachable",
            Self::NotWaiting => "not_waiting",
            Self::Heeded => "heeded",
            Self::CustomerNotNudged => "customer_not_nudged",
            Self::NoneLeft => "none_left",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or(UnknownName { allowed: "cadence, manual, escalation, customer" })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|reason| reason.as_str() == text);
        found.ok_or(UnknownName {
            allowed: "the reasons that docs/reminders.md lists, such as paused or no_recipient",
        })
    }
}
