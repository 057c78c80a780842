//! A workspace: the wall between tenants, and what each decides for itself.

use alloc::string::String;

use chrono::{DateTime, Utc};

use crate::{id::WorkspaceId, reminder::Rules};

/// A workspace (the API calls it organization where it shows a key's). One for live and test records.
#[derive(Debug, Clone, PartialEq)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// Its short name, part of NATS subjects; never changes.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// What it decides for itself.
    pub rules: Rules,
    /// Grows by one per change.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}
