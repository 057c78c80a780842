//! The command line. Exit codes: 0 done, 1 failed, 2 wrong usage.

mod rejected;
mod reminders;
mod retry;
mod sets;
mod values;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};

pub(crate) use self::{
    rejected::{Rejected, Replayed, Which},
    reminders::{Preview, Reminders},
    retry::Retry,
};

/// Runs customer onboardings: takes them in, moves them through phases, tells everyone, reminds the people responsible.
///
/// Without a command: `usher run`.
#[derive(Debug, Parser)]
#[command(name = "usher", version, about, long_about)]
pub(crate) struct Cli {
    /// The configuration file (default: usher.toml in the working directory, when there is one)
    #[arg(long, global = true, env = "USHER_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Sets one configuration key, above file and environment: `--set http.listen=127.0.0.1:0`
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,

    /// Prints one JSON document instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
        .ok_or_else(|| format!("{text:?} is not KEY=VALUE"))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs every role in one process; on SQLite nothing else is needed (the default)
    Run,
    /// Runs the way in: HTTP API, commands from NATS, events to NATS (Postgres and NATS)
    Ingest,
    /// Runs the way out: plans and sends reminders (Postgres and NATS)
    Scheduler,
    /// Applies the migrations of the store and exits
    Migrate,
    /// Works on workspaces
    #[command(subcommand)]
    Workspace(Workspace),
    /// Works on API keys
    #[command(subcommand)]
    Key(Key),
    /// Works on the team
    #[command(subcommand)]
    User(User),
    /// Works on customers
    #[command(subcommand)]
    Customer(Customer),
    /// Works on onboardings
    #[command(subcommand)]
    Onboarding(Onboarding),
    /// Previews, explains, sends and retries reminders
    #[command(subcommand)]
    Reminders(Reminders),
    /// Shows what would be sent to whom in the days to come; writes and sends nothing
    Simulate(Simulate),
    /// Works through commands from NATS that were refused
    #[command(subcommand)]
    Rejected(Rejected),
    /// Prints the `AsyncAPI` 3.0 document of everything that goes over NATS
    Asyncapi,
    /// Takes customers, contacts or onboardings from a CSV file; may be repeated
    Import(Import),
    /// Prints the description of the HTTP API as `OpenAPI` 3.1
    Openapi,
    /// Shows and checks the configuration
    #[command(subcommand)]
    Config(Config),
    /// Prints what a shell needs to complete this command line
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Which workspace a command is about.
#[derive(Debug, Args)]
pub(crate) struct In {
    /// The workspace's slug (default: the only one)
    #[arg(long, value_name = "SLUG")]
    pub(crate) workspace: Option<String>,
}

/// Live or test records.
#[derive(Debug, Args)]
pub(crate) struct Scope {
    #[command(flatten)]
    pub(crate) within: In,
    /// Test records instead of live ones
    #[arg(long)]
    pub(crate) test: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Workspace {
    /// Makes a workspace with the reminder policy of the configuration, and its first key
    Create {
        /// Its short name, part of NATS subjects: lower-case letters, digits, `-`
        slug: String,
        /// Its name (default: the slug)
        #[arg(long)]
        name: Option<String>,
    },
    /// Lists the workspaces
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Makes a key and shows it, once
    Create {
        #[command(flatten)]
        scope: Scope,
        /// What it is for
        #[arg(long, default_value = "cli")]
        name: String,
        /// What it may do, several times: admin, read:*, write:*, or read: and write: with onboardings, customers,
        /// contacts, users or templates (default: everything)
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<usher_lifecycle::Scope>,
        /// Requests in 60 seconds, 0 for no limit (default: 600, of test keys 300)
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..=usher_ingest::http::MOST_REQUESTS))]
        rate_limit: Option<i64>,
    },
    /// Makes a successor with the same name, scopes and limit, and shows it, once
    Rotate {
        #[command(flatten)]
        within: In,
        /// The key's id or visible prefix
        key: String,
        /// Until when the old key stays valid beside it (default: until it is revoked)
        #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(i64).range(0..=720))]
        overlap_hours: Option<i64>,
    },
    /// Lists the keys; secrets are not kept and cannot be shown
    List {
        #[command(flatten)]
        within: In,
    },
    /// Revokes a key, for good and at once
    Revoke {
        #[command(flatten)]
        within: In,
        /// The key's id or visible prefix
        key: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Adds a member of the team
    Create {
        #[command(flatten)]
        scope: Scope,
        /// Their name
        #[arg(long)]
        name: String,
        /// Their e-mail address
        #[arg(long)]
        email: String,
        /// Their Slack member id (U...)
        #[arg(long)]
        slack_user_id: Option<String>,
        /// Their time zone, such as Europe/Berlin (default: the workspace's)
        #[arg(long)]
        time_zone: Option<String>,
    },
    /// Lists the team, newest first
    List {
        #[command(flatten)]
        scope: Scope,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Customer {
    /// Adds a customer
    Create {
        #[command(flatten)]
        scope: Scope,
        /// Their name
        #[arg(long)]
        name: String,
        /// Your own key for them
        #[arg(long)]
        external_id: Option<String>,
    },
    /// Lists the customers, newest first
    List {
        #[command(flatten)]
        scope: Scope,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Onboarding {
    /// Creates an onboarding
    Create {
        #[command(flatten)]
        scope: Scope,
        /// The customer: id or number
        #[arg(long)]
        customer: String,
        /// The customer success manager: id, number or e-mail address of a user
        #[arg(long)]
        csm: Option<String>,
        /// The phase it starts in
        #[arg(long)]
        phase: Option<String>,
        /// When it began, such as 2026-03-01T09:00:00Z (default: now)
        #[arg(long)]
        started_at: Option<String>,
        /// Days between reminders, 1 to 365
        #[arg(long)]
        frequency_days: Option<i64>,
        /// Your own key for it
        #[arg(long)]
        external_id: Option<String>,
    },
    /// Lists onboardings, newest first
    List {
        #[command(flatten)]
        scope: Scope,
        /// Only those in this phase
        #[arg(long)]
        phase: Option<String>,
        /// Only those in this state
        #[arg(long)]
        state: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
    /// Shows an onboarding
    Show {
        #[command(flatten)]
        scope: Scope,
        /// Its id or number
        onboarding: String,
    },
    /// Moves an onboarding to another phase or state
    #[command(group = clap::ArgGroup::new("to").args(["phase", "state"]).required(true).multiple(true))]
    Move {
        #[command(flatten)]
        scope: Scope,
        /// Its id or number
        onboarding: String,
        #[arg(
            long,
            help = "The phase: before_getting_started, program_design, review, program_buildout, internal_qa, launch or \
                    completed"
        )]
        phase: Option<String>,
        #[arg(long, help = "The state: active, paused, at_risk or waiting")]
        state: Option<String>,
        /// Why; goes into the events
        #[arg(long)]
        reason: Option<String>,
    },
}

/// What to simulate.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// How many days, 1 to 730
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=730))]
    pub(crate) days: u16,
    /// A TOML file with the section `[reminders]` of a configuration, and in it also `[[reminders.escalation]]`,
    /// `[reminders.phase_owners]` and `ambiguous` (default: the workspace's policy, or the defaults)
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// So many made-up onboardings, 15 to a person
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "from_store")]
    pub(crate) onboardings: usize,
    /// The onboardings of the store as they stand
    #[arg(long)]
    pub(crate) from_store: bool,
    /// Another mix of made-up onboardings
    #[arg(long, default_value_t = 1, value_name = "NUMBER", conflicts_with = "from_store")]
    pub(crate) seed: u64,
    /// From this instant on (default: now)
    #[arg(long, value_name = "INSTANT", value_parser = values::instant)]
    pub(crate) after: Option<DateTime<Utc>>,
    /// Draws the load over the days
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// The same on a page, with everybody's share
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// A file of records. The columns are the fields of the API's create call; `external_id` is what a record is known by, so
/// that an import may be repeated. An onboarding's customer is named by `customer_id`, `customer_external_id` or
/// `customer_slug`. An empty cell is a field that is not given. Exit code 0 only if every line was taken.
#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// The CSV file: UTF-8, a header, fields between commas, semicolons or tabs
    pub(crate) file: PathBuf,
    /// What the lines are (default: what the file's name says, as in customers.csv)
    #[arg(long, value_enum)]
    pub(crate) kind: Option<ImportKind>,
    /// Does everything but keep it, and says what the import would do; on SQLite nobody else writes meanwhile
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Writes the lines that were not taken to this CSV file: line, field, code, message
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// What the lines of a file are.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum ImportKind {
    Customers,
    Contacts,
    Onboardings,
}

impl From<ImportKind> for usher_ingest::import::Kind {
    fn from(kind: ImportKind) -> Self {
        match kind {
            ImportKind::Customers => Self::Customers,
            ImportKind::Contacts => Self::Contacts,
            ImportKind::Onboardings => Self::Onboardings,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Prints the default configuration file: the reference of every key
    Default,
    /// Names every fault of the configuration
    Check,
    /// Prints the configuration in force, secrets hidden
    Show,
}
