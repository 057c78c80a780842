//! State: whether anything blocks an engagement, beside its phase.

use alloc::string::String;
use core::{
    fmt::{self, Write as _},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// Whether anything blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = OnboardingState))]
pub enum State {
    /// Nothing blocks (the default).
    Active,
    /// Put on hold; no reminders.
    Paused,
    /// In danger of missing its target.
    AtRisk,
    /// On the customer.
    Waiting,
}

/// The text is none of the allowed names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {allowed}")]
pub struct UnknownName {
    /// The allowed names, comma-separated.
    pub allowed: &'static str,
}

impl State {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Active, Self::Paused, Self::AtRisk, Self::Waiting];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::AtRisk => "at_risk",
            Self::Waiting => "waiting",
        }
    }

    /// The name for people, as it stands in messages.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::AtRisk => "at risk",
            Self::Waiting => "waiting on customer",
        }
    }

    /// Time in this state is not working time of the phase.
    pub const fn is_idle(self) -> bool {
        match self {
            Self::Paused | Self::Waiting => true,
            Self::Active | Self::AtRisk => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(UnknownName { allowed: "active, paused, at_risk, waiting" })
    }
}

/// The states as a Mermaid state diagram; docs/lifecycle.md holds it and a test keeps it fresh.
pub fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n    direction LR\n");
    let mut line = |args: fmt::Arguments<'_>| {
        // Writing into a String does not fail.
        let _ = writeln!(text, "    {args}");
    };
    line(format_args!("[*] --> {}: created", State::ALL[0]));
    for from in State::ALL {
        for to in State::ALL.into_iter().filter(|to| *to != from) {
            line(format_args!("{from} --> {to}"));
        }
    }
    line(format_args!("note right of {}", State::ALL[0]));
    line(format_args!("    created: in any state, this one by default"));
    line(format_args!("    {}: also by the third shift of the target", State::AtRisk));
    line(format_args!("end note"));
    text
}
