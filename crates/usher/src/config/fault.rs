//! What is wrong with a configuration: all of it at once, each with its key and where it came from, never with a
//! secret.

use std::{cmp::Reverse, fmt, path::PathBuf};

/// Where a value came from; the later variant wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File { path: PathBuf, line: usize },
    Env(String),
    Flag,
}

impl Source {
    /// 0 for the defaults, more for what overrides them.
    pub(super) fn layer(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Env(_) => 2,
            Self::Flag => 3,
        }
    }

    /// The line in the file, from 1; 0 for everything else.
    pub(super) fn line(&self) -> usize {
        match self {
            Self::File { line, .. } => *line,
            Self::Default | Self::Env(_) | Self::Flag => 0,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            // Line 0: the file as a whole.
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The dotted key, the unknown name, or `config` for the file itself.
    pub(crate) key: String,
    pub(crate) source: Source,
    /// The value (never a secret) and what is allowed.
    pub(crate) message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            // An unknown variable is its own source.
            Source::Env(name) if *name == self.key => write!(f, "{name}: {}", self.message),
            source => write!(f, "{} ({source}): {}", self.key, self.message),
        }
    }
}

/// Everything that is wrong; never empty. Displays as one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The candidate that needs the fewest edits to become `wanted`, the longest common start deciding between equals.
pub(super) fn nearest(wanted: &str, candidates: impl Iterator<Item = String>) -> String {
    let common = |text: &str| text.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
    candidates.min_by_key(|text| (distance(wanted, text), Reverse(common(text)))).unwrap_or_default()
}

/// Levenshtein distance in bytes.
fn distance(left: &str, right: &str) -> usize {
    let right = right.as_bytes();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replace = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
