//! The arguments of `usher reminders`.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc, Weekday};
use clap::{Args, Subcommand};
use usher_lifecycle::reminder::Zone;

use super::{Retry, Scope, values};

#[derive(Debug, Subcommand)]
pub(crate) enum Reminders {
    /// Computes the next slots of a rhythm; with an onboarding, of that record and its workspace's policy
    Preview(Preview),
    /// Says what was sent, what was not and why, what comes next and to whom
    Explain {
        #[command(flatten)]
        scope: Scope,
        /// The onboarding's id or number
        onboarding: String,
        /// Rows of the ledger, newest first
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
    /// Sends a reminder now, at any hour and day
    Send {
        #[command(flatten)]
        scope: Scope,
        /// The onboarding's id or number
        onboarding: String,
    },
    /// Puts deliveries back that failed, or of which nobody knows whether they arrived; without ids or filters nothing is
    /// chosen
    ///
    /// It is the same delivery, so that nobody gets a slot twice. What was sent, skipped or superseded, or is not wanted any
    /// more, is refused, and the answer says why. An email that may have arrived is repeated with the same Message-ID and
    /// all that was in it. Late reminders wait for the hours of the workspace. Exits with 1 when one that was named by its id is refused.
    Retry(Retry),
}

/// A rhythm, or an onboarding that has one.
#[derive(Debug, Args)]
pub(crate) struct Preview {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// An onboarding's id or number; without it the flags below say everything, and no store is needed
    #[arg(conflicts_with_all = ["frequency_days", "time_zone", "time_of_day", "started_at", "working_days", "holidays"])]
    pub(crate) onboarding: Option<String>,
    /// Days between reminders, 1 to 365
    #[arg(long, default_value = "1", value_name = "DAYS", allow_negative_numbers = true, value_parser = values::frequency_days)]
    pub(crate) frequency_days: u16,
    /// A zone of the tz database
    #[arg(long, default_value = "UTC", value_name = "ZONE", value_parser = values::zone)]
    pub(crate) time_zone: Zone,
    /// When slots fall due, local time
    #[arg(long, default_value = "09:00", value_name = "HH:MM", value_parser = values::time_of_day)]
    pub(crate) time_of_day: NaiveTime,
    /// When the onboarding began (default: now)
    #[arg(long, value_name = "INSTANT", value_parser = values::instant)]
    pub(crate) started_at: Option<DateTime<Utc>>,
    /// Only slots that fall due after this instant (default: now)
    #[arg(long, value_name = "INSTANT", value_parser = values::instant)]
    pub(crate) after: Option<DateTime<Utc>>,
    /// How many
    #[arg(long, default_value_t = 5, allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) count: u16,
    /// Days on which slots fall
    #[arg(long, value_delimiter = ',', default_value = "mon,tue,wed,thu,fri", value_name = "DAY", value_parser = values::weekday)]
    pub(crate) working_days: Vec<Weekday>,
    /// Dates that are no working days
    #[arg(long, value_delimiter = ',', value_name = "DATE", value_parser = values::date)]
    pub(crate) holidays: Vec<NaiveDate>,
}
