//! What can go wrong in the store, seen from a caller that must choose: try again later, or not at all.

/// A failure of the store; never a refusal of a command.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The url names no store.
    #[error("{0}")]
    Url(String),
    /// The database refused or is away.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// Migrations could not be applied.
    #[error("the migrations failed")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The store has migrations this version does not know, or lacks some.
    #[error("the store's tables do not fit this version: {0}")]
    Tables(String),
    /// A row holds what this version cannot read.
    #[error("column {column}: {detail}")]
    Decode {
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// usher itself is at fault.
    #[error("a fault in usher: {0}")]
    Bug(String),
}

impl StoreError {
    pub(crate) const fn decode(column: &'static str, detail: String) -> Self {
        Self::Decode { column, detail }
    }

    /// The database is away or busy: the same call may succeed later.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Database(error) => match error {
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => true,
                // Class 57: shutting down, starting up; 53: out of connections, disk or memory; 08: connection; 25006:
                // a standby that is not promoted yet. SQLite, in the low byte: busy, locked, I/O error, disk full.
                sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                    if error.as_error().is::<sqlx::sqlite::SqliteError>() {
                        return code.parse::<i32>().is_ok_and(|code| [5, 6, 10, 13].contains(&(code & 0xff)));
                    }
                    ["57", "53", "08", "25006"].iter().any(|class| code.starts_with(class))
                }),
                _ => false,
            },
            Self::Closed => true,
            Self::Url(_) | Self::Migrate(_) | Self::Tables(_) | Self::Decode { .. } | Self::Bug(_) => false,
        }
    }

    /// Two transactions got in each other's way: the same transaction may succeed at once.
    pub(crate) fn is_conflict(&self) -> bool {
        let Self::Database(sqlx::Error::Database(error)) = self else { return false };
        // Deadlock, serialization failure.
        error.code().is_some_and(|code| code == "40P01" || code == "40001")
    }

    /// A unique index or constraint refused.
    pub(crate) fn unique_violation(&self) -> Option<String> {
        let Self::Database(sqlx::Error::Database(error)) = self else { return None };
        error.is_unique_violation().then(|| error.constraint().unwrap_or_else(|| error.message()).to_owned())
    }
}
