//! Phase: where the engagement is. The order below is the order of the work; `completed` is terminal.

use alloc::string::String;
use core::{
    fmt::{self, Write as _},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::state::UnknownName;

/// Where an engagement is. The declaration order is the order of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = OnboardingPhase))]
pub enum Phase {
    /// Contract signed, nothing begun (the default).
    BeforeGettingStarted,
    /// Requirements, scoping.
    ProgramDesign,
    /// The customer signs the design off.
    Review,
    /// Implementation.
    ProgramBuildout,
    /// Our own testing before the launch.
    InternalQa,
    /// Live.
    Launch,
    /// Handed over; terminal.
    Completed,
}

/// What a change of phase is, seen from the order of the phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Move {
    /// To the next phase.
    Advance,
    /// To a later phase than the next.
    Skip,
    /// To an earlier phase.
    SendBack,
}

impl Phase {
    /// All phases in order.
    pub const ALL: [Self; 7] = [
        Self::BeforeGettingStarted,
        Self::ProgramDesign,
        Self::Review,
        Self::ProgramBuildout,
        Self::InternalQa,
        Self::Launch,
        Self::Completed,
    ];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeGettingStarted => "before_getting_started",
            Self::ProgramDesign => "program_design",
            Self::Review => "review",
            Self::ProgramBuildout => "program_buildout",
            Self::InternalQa => "internal_qa",
            Self::Launch => "launch",
            Self::Completed => "completed",
        }
    }

    /// The name for people, as it stands in messages.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BeforeGettingStarted => "before getting started",
            Self::ProgramDesign => "program design",
            Self::Review => "review",
            Self::ProgramBuildout => "program buildout",
            Self::InternalQa => "internal QA",
            Self::Launch => "launch",
            Self::Completed => "completed",
        }
    }

    /// The name for the customer, who knows nothing of our own words for it.
    pub const fn customer_label(self) -> &'static str {
        match self {
            Self::BeforeGettingStarted => "getting started",
            Self::ProgramDesign => "program design",
            Self::Review => "design review",
            Self::ProgramBuildout => "program setup",
            Self::InternalQa => "final checks",
            Self::Launch => "launch",
            Self::Completed => "completed",
        }
    }

    /// Position in the order, from 1.
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// From here no phase or state change is legal.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Completed => true,
            Self::BeforeGettingStarted
            | Self::ProgramDesign
            | Self::Review
            | Self::ProgramBuildout
            | Self::InternalQa
            | Self::Launch => false,
        }
    }

    /// What going to `to` is; none when it is no change.
    pub fn move_to(self, to: Self) -> Option<Move> {
        match to.number().cmp(&self.number()) {
            core::cmp::Ordering::Less => Some(Move::SendBack),
            core::cmp::Ordering::Equal => None,
            core::cmp::Ordering::Greater if to.number() == self.number() + 1 => Some(Move::Advance),
            core::cmp::Ordering::Greater => Some(Move::Skip),
        }
    }
}

impl Move {
    /// The name in an event's data.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Advance => "advance",
            Self::Skip => "skip",
            Self::SendBack => "send_back",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Phase {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text).ok_or(UnknownName {
            allowed: "before_getting_started, program_design, review, program_buildout, internal_qa, launch, completed",
        })
    }
}

/// The phases and their moves as a Mermaid state diagram; docs/lifecycle.md holds it and a test keeps it fresh.
///
/// Every skip and every send back is legal: 30 arrows that nobody could read. Arrows go to the neighbours, and a note
/// stands for the rest; the table beside the diagram has them all.
pub fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n    direction LR\n");
    let mut line = |args: fmt::Arguments<'_>| {
        // Writing into a String does not fail.
        let _ = writeln!(text, "    {args}");
    };
    line(format_args!("[*] --> {}: created", Phase::ALL[0]));
    for from in Phase::ALL {
        for to in Phase::ALL {
            let neighbours = from.number().abs_diff(to.number()) == 1;
            if let Some(moved) = from.move_to(to)
                && neighbours
                && !from.is_terminal()
            {
                line(format_args!("{from} --> {to}: {}", moved.as_str()));
            }
        }
        if from.is_terminal() {
            line(format_args!("{from} --> [*]"));
        }
    }
    line(format_args!("note right of {}", Phase::ALL[0]));
    line(format_args!("    created: in any phase, this one by default"));
    line(format_args!("    {}: from any open phase to any later one", Move::Skip.as_str()));
    line(format_args!("    {}: from any open phase to any earlier one", Move::SendBack.as_str()));
    line(format_args!("end note"));
    text
}
