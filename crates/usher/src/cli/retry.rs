//! The arguments of `usher reminders retry`.

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use usher_lifecycle::reminder::{Channel, Kind};
use usher_store::Status;

use super::{In, values};

/// Which deliveries, and whether in earnest.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    pub(crate) within: In,
    /// Their ids, rem_..., as `reminders explain --json` shows them
    #[arg(conflicts_with_all = ["onboarding", "status", "channel", "kind", "reason", "since", "until", "all"])]
    pub(crate) ids: Vec<String>,
    /// About this onboarding: its id or number
    #[arg(long, value_name = "ONBOARDING")]
    pub(crate) onboarding: Option<String>,
    /// Only those that failed, or only the ambiguous ones
    #[arg(long, value_enum)]
    pub(crate) status: Option<Undelivered>,
    /// By this channel: email or slack
    #[arg(long)]
    pub(crate) channel: Option<Channel>,
    /// Of this kind: cadence, manual, escalation or customer
    #[arg(long)]
    pub(crate) kind: Option<Kind>,
    /// With this reason in the ledger, such as 550 or `channel_not_found`
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Planned at this instant or later, such as 2026-03-01T09:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = values::instant)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// Planned before this instant
    #[arg(long, value_name = "INSTANT", value_parser = values::instant)]
    pub(crate) until: Option<DateTime<Utc>>,
    /// All that failed or are ambiguous, without a filter
    #[arg(long)]
    pub(crate) all: bool,
    /// Says what would become of each; changes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl Retry {
    /// Whether nothing is chosen.
    pub(crate) const fn is_empty(&self) -> bool {
        let Self { within: _, ids, onboarding, status, channel, kind, reason, since, until, all, dry_run: _ } =
            self;
        ids.is_empty()
            && onboarding.is_none()
            && status.is_none()
            && channel.is_none()
            && kind.is_none()
            && reason.is_none()
            && since.is_none()
            && until.is_none()
            && !*all
    }
}

/// A status of what did not certainly arrive.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Undelivered {
    /// It could not be delivered
    Failed,
    /// Nobody knows whether it arrived
    Ambiguous,
}

impl From<Undelivered> for Status {
    fn from(it: Undelivered) -> Self {
        match it {
            Undelivered::Failed => Self::Failed,
            Undelivered::Ambiguous => Self::Ambiguous,
        }
    }
}
