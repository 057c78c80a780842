//! What a message says, as data: to whom, about which onboardings, where each stands. No wording lives here; that
//! is in the templates, which an operator may replace.
//!
//! Laws: names and notes are data, whatever they contain. They are cleaned once, in `view`, escaped for their medium
//! by the template engine, and can neither add a header line nor a link nor a mention. A message to a customer is
//! made from fewer fields: internal notes cannot get into it, whatever its template says.

mod blocks;
pub mod clean;
mod render;
mod sample;
mod templates;
mod view;

use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::reminder::{Kind, Zone};
use usher_lifecycle::{Phase, State};

pub use render::{EmailBody, RenderError, SlackBody};
pub use templates::{NAMES, TemplateError, Templates};

/// One message: one recipient, one channel, all onboardings that are due together.
#[derive(Debug, Clone)]
pub struct Message {
    /// Why it is sent; a customer's message has a wording of its own.
    pub kind: Kind,
    /// To whom.
    pub to: To,
    /// At least one, of different onboardings; in any order, what is most late is put first.
    pub items: Vec<Item>,
    /// The workspace's name.
    pub workspace: String,
    /// `<...@host>`, minted before anything is sent; a repeat has the same.
    pub message_id: String,
    /// The instant of sending, for `Date`.
    pub now: DateTime<Utc>,
    /// Message-IDs of earlier messages about the same onboarding, oldest first, so that mail programs thread them.
    pub references: Vec<String>,
    /// The signed link that turns these messages off, for email (RFC 8058).
    pub unsubscribe_url: Option<String>,
    /// Where answers by email go, if not to the sender.
    pub reply_to: Option<String>,
}

/// A recipient.
#[derive(Debug, Clone)]
pub struct To {
    /// The person's name, if it is a person.
    pub name: Option<String>,
    /// Where the message goes.
    pub address: Address,
    /// The zone in which dates are written.
    pub zone: Zone,
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An email address.
    Email(String),
    /// A Slack user id, written to directly.
    SlackUser(String),
    /// A Slack channel id.
    SlackChannel(String),
}

/// One onboarding in a message, once, whatever is sent about it.
#[derive(Debug, Clone)]
pub struct Item {
    /// Why it is in the message; where there are several reasons, the strongest.
    pub kind: Kind,
    /// `onb_...`
    pub onboarding_id: String,
    /// The number people know it by.
    pub display_id: i64,
    /// The customer's name.
    pub customer: String,
    /// Where it is.
    pub phase: Phase,
    /// For how many days.
    pub days_in_phase: i64,
    /// Whether something blocks.
    pub state: State,
    /// Since when, if known.
    pub state_since: Option<DateTime<Utc>>,
    /// The target launch date.
    pub target: Option<DateTime<Utc>>,
    /// Days past the target; 0 or less when not late.
    pub days_late: i64,
    /// What happened last, in a few words.
    pub last_change: Option<String>,
    /// Whether that was after the last reminder.
    pub changed_since_last: bool,
    /// Who else is on it: label of the role, name.
    pub others: Vec<(String, String)>,
    /// Internal notes.
    pub notes: Option<String>,
    /// Where to open it; http or https. None where the installation names no such place.
    pub link: Option<String>,
    /// The slot this reminder is for.
    pub slot: String,
    /// How much later than due it is sent; shown from a quarter of an hour.
    pub lag: Option<TimeDelta>,
    /// What else is sent about it with this item: the ledger has a row of each.
    pub also: Vec<Also>,
}

/// Another reason for an onboarding to be in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Also {
    /// Which.
    pub kind: Kind,
    /// The slot it is for.
    pub slot: String,
    /// How much later than due it is sent.
    pub lag: TimeDelta,
}
