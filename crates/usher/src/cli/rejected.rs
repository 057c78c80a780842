//! The arguments of `usher rejected`.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Rejected {
    /// Lists refused commands, newest first
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Shows one: why it was refused, its headers and its body
    Show {
        /// Its id, rej_...
        id: String,
        /// Writes the original bytes and nothing else, for a file or another program
        #[arg(long)]
        body: bool,
    },
    /// Applies refused commands once more, oldest first; without ids or filters nothing is chosen
    ///
    /// It is the same message with the same id: what had its effect already has none again. Commands that were replayed
    /// with success are left out, unless they are named by their ids. Exits with 1 when one is refused again.
    Replay {
        /// Their ids, rej_...
        ids: Vec<String>,
        #[command(flatten)]
        which: Which,
        /// All that are open, without a filter
        #[arg(long)]
        all: bool,
        /// Says what would become of each, one by one; changes nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which refused commands.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Of the workspace that their subject names
    #[arg(long, value_name = "SLUG")]
    pub(crate) workspace: Option<String>,
    /// With this command, such as onboarding.create
    #[arg(long, value_name = "COMMAND")]
    pub(crate) command: Option<String>,
    /// Refused with this code, such as `customer_not_found`
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// From this source
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// Refused at this instant or later, such as 2026-03-01T09:00:00Z
    #[arg(long, value_name = "INSTANT")]
    pub(crate) since: Option<String>,
    /// Refused before this instant
    #[arg(long, value_name = "INSTANT")]
    pub(crate) until: Option<String>,
    /// By what became of their replay
    #[arg(long, value_enum)]
    pub(crate) replayed: Option<Replayed>,
}

impl Which {
    /// Whether nothing is said.
    pub(crate) const fn is_empty(&self) -> bool {
        let Self { workspace, command, code, source, since, until, replayed } = self;
        workspace.is_none()
            && command.is_none()
            && code.is_none()
            && source.is_none()
            && since.is_none()
            && until.is_none()
            && replayed.is_none()
    }
}

/// What became of a replay.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Replayed {
    /// Never replayed
    No,
    /// Replayed and accepted
    Yes,
    /// Replayed and refused again
    Refused,
    /// Never replayed, or refused again
    Open,
}
