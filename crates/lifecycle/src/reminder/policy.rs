//! The workspace's reminder policy: when reminders are due, and to whom they go when nobody is named.
//!
//! Stored as one JSON document in `workspaces.settings`; missing keys have the defaults below, so that a new version
//! reads what an old one wrote.

use alloc::{
    collections::BTreeSet,
    string::{String, ToString},
    vec::Vec,
};

use chrono::{NaiveDate, NaiveTime, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use crate::{onboarding::Role, phase::Phase, state::State};

/// What a workspace decides for itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub struct Rules {
    /// When reminders are due.
    pub policy: Policy,
    /// Who owns a phase, beside the CSM; phases not named here have the default owner.
    pub phase_owners: Vec<PhaseOwner>,
    /// What happens when reminders go unheeded.
    pub escalation: Vec<EscalationStep>,
    /// Whether a change of phase or state needs a reason.
    pub require_reason: RequireReason,
    /// Whether the customer's primary contact is written to while the onboarding waits on them.
    pub nudge_customer: bool,
    /// Where reminders go that have no other recipient, by email.
    pub ops_email: Option<String>,
    /// Where reminders go that have no other recipient, by Slack.
    pub ops_slack_channel: Option<String>,
    /// What to do with a message of which nobody knows whether it arrived.
    pub ambiguous: Ambiguous,
}

/// When reminders are due. See docs/reminders.md for the meaning of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// The zone in which days begin and clocks are read.
    pub time_zone: Zone,
    /// When a slot falls due, local time.
    #[serde(with = "hh_mm")]
    pub time_of_day: NaiveTime,
    /// What is late goes out between `time_of_day` and this, local time; else on the next working day.
    #[serde(with = "hh_mm")]
    pub send_until: NaiveTime,
    /// Days on which slots fall; never empty.
    #[serde(with = "weekdays")]
    pub working_days: Vec<Weekday>,
    /// Dates that are no working days.
    pub holidays: BTreeSet<NaiveDate>,
    /// What happens to slots that nobody was there to send.
    pub catch_up: CatchUp,
    /// Over how many minutes messages that are due together are spread; 0 = not at all.
    pub spread_minutes: u16,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            time_zone: Zone::utc(),
            time_of_day: NaiveTime::from_hms_opt(9, 0, 0).unwrap_or_default(),
            send_until: NaiveTime::from_hms_opt(18, 0, 0).unwrap_or_default(),
            working_days: Vec::from([Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri]),
            holidays: BTreeSet::new(),
            catch_up: CatchUp::Once,
            spread_minutes: 0,
        }
    }
}

/// What happens to slots that nobody was there to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// One reminder for the latest missed slot.
    #[default]
    Once,
    /// None that is later than 15 minutes.
    Skip,
}

/// Whether a change of phase or state needs a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequireReason {
    /// Never.
    #[default]
    None,
    /// When it goes back to an earlier phase.
    SendBack,
    /// Always.
    Any,
}

/// What to do with a message of which nobody knows whether it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ambiguous {
    /// Send it once more, with the same Message-ID.
    #[default]
    Resend,
    /// Leave it.
    Hold,
}

/// Who owns a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseOwner {
    /// The phase.
    pub phase: Phase,
    /// The role that owns it.
    pub role: Role,
}

/// One step of the escalation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscalationStep {
    /// After so many reminders since the last sign of life.
    pub after_reminders: u32,
    /// Whom to tell.
    pub to: EscalateTo,
    /// The state to set, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_state: Option<State>,
}

/// Whom an escalation tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalateTo {
    /// The person with that role.
    Csm,
    /// The person with that role.
    Se,
    /// The person with that role.
    Designer,
    /// The person with that role.
    ProductOps,
    /// The workspace's `ops_email` and `ops_slack_channel`.
    Fallback,
}

impl Rules {
    /// The role that owns a phase, beside the CSM.
    pub fn owner(&self, phase: Phase) -> Role {
        if let Some(own) = self.phase_owners.iter().find(|own| own.phase == phase) {
            return own.role;
        }
        match phase {
            Phase::ProgramDesign => Role::Designer,
            Phase::ProgramBuildout => Role::Se,
            Phase::InternalQa => Role::ProductOps,
            Phase::BeforeGettingStarted | Phase::Review | Phase::Launch | Phase::Completed => Role::Csm,
        }
    }
}

/// A time zone of the bundled tz database, held by name so that all hosts agree.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// The name is not in the bundled tz database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time zone of the tz database; names look like Europe/Berlin or UTC")]
pub struct UnknownZone(pub String);

/// The zone of that name (upper and lower case as in the tz database).
pub fn zone(name: &str) -> Result<Zone, UnknownZone> {
    TimeZoneDatabase::bundled()
        .get(name)
        .map(|zone| Zone { name: zone.iana_name().unwrap_or(name).to_string(), zone })
        .map_err(|_| UnknownZone(name.to_string()))
}

impl Zone {
    /// UTC.
    pub fn utc() -> Self {
        Self { name: "UTC".to_string(), zone: TimeZone::UTC }
    }

    /// Its name in the tz database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules.
    pub const fn rules(&self) -> &TimeZone {
        &self.zone
    }
}

impl Serialize for Zone {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        zone(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// `HH:MM`, 24 hours.
pub mod hh_mm {
    use alloc::{format, string::String};

    use chrono::NaiveTime;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Reads `HH:MM`; two digits each, 00:00 to 23:59.
    pub fn parse(text: &str) -> Option<NaiveTime> {
        let (hours, minutes) = text.split_once(':')?;
        let digits = |part: &str| {
            (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok()).flatten()
        };
        NaiveTime::from_hms_opt(digits(hours)?, digits(minutes)?, 0)
    }

    /// Writes `HH:MM`.
    pub fn serialize<S: Serializer>(time: &NaiveTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&time.format("%H:%M"))
    }

    /// Reads `HH:MM`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is no time of day; HH:MM is wanted, like 09:00"))
        })
    }
}

/// Weekdays as `mon` to `sun`.
pub mod weekdays {
    use alloc::{format, string::String, vec::Vec};

    use chrono::Weekday;
    use serde::{Deserialize, Deserializer, Serializer};

    const NAMES: [(&str, Weekday); 7] = [
        ("mon", Weekday::Mon),
        ("tue", Weekday::Tue),
        ("wed", Weekday::Wed),
        ("thu", Weekday::Thu),
        ("fri", Weekday::Fri),
        ("sat", Weekday::Sat),
        ("sun", Weekday::Sun),
    ];

    /// Reads one name.
    pub fn parse(text: &str) -> Option<Weekday> {
        NAMES.iter().find(|(name, _)| *name == text).map(|(_, day)| *day)
    }

    /// The name of a day.
    pub fn name(day: Weekday) -> &'static str {
        NAMES.iter().find(|(_, other)| *other == day).map_or("", |(name, _)| name)
    }

    /// Writes the names.
    pub fn serialize<S: Serializer>(days: &[Weekday], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(days.iter().map(|day| name(*day)))
    }

    /// Reads the names.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Weekday>, D::Error> {
        Vec::<String>::deserialize(deserializer)?
            .iter()
            .map(|text| {
                parse(text).ok_or_else(|| {
                    serde::de::Error::custom(format!("{text:?} is no weekday; mon to sun are allowed"))
                })
            })
            .collect()
    }
}
