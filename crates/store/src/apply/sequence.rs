//! The sender's order: the newest `sequence` that was applied, per source and record.
//!
//! Law: of two commands from one source about one record, the one with the smaller sequence never has its effect after
//! the other one, whatever the order in which they arrive, come again or are replayed. The rows are read after the
//! record is locked and written with the change, so that replicas agree. What has no sequence is not held up. A composite
//! is about several records, and each has its own order: what comes too late for one of them may be the first for another.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use chrono::{DateTime, Utc};
use usher_lifecycle::WorkspaceId;

use super::{Dedupe, Request};
use crate::{
    db::{Arg, Tx, bulks, statements},
    error::StoreError,
};

statements! {
    KNOWN = "SELECT source, subject_id, sequence FROM source_sequences
             WHERE workspace_id = $1 AND source {in:$2} AND subject_id {in:$3}";
}

bulks! {
    SAVE_SEQUENCES = "source_sequences" (
        workspace_id: Text, source: Text, subject_id: Text, sequence: Text, updated_at: Time,
    ) "ON CONFLICT (workspace_id, source, subject_id) DO UPDATE SET sequence = excluded.sequence,
       updated_at = excluded.updated_at";
}

/// The newest sequences of a batch's sources and records.
#[derive(Default)]
pub(super) struct Sequences {
    newest: HashMap<(WorkspaceId, String, String), String>,
    rows: BTreeMap<(WorkspaceId, String, String), Vec<Arg>>,
}

/// Source and sequence of a request that has one.
pub(super) fn of(request: &Request) -> Option<(&str, &str)> {
    match &request.dedupe {
        Dedupe::Inbox { source, sequence: Some(sequence), .. } => Some((source, sequence)),
        Dedupe::Inbox { sequence: None, .. } | Dedupe::None | Dedupe::Idempotency { .. } => None,
    }
}

impl Sequences {
    /// Takes in what is known of the requests' sources and of the records that they are about, which have to be locked
    /// before. Of the records of all requests: what one that has no sequence renames, a later one may find by that name.
    pub(super) async fn load(
        &mut self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        requests: &[&Request],
        subjects: impl Fn(&Request) -> Vec<String>,
    ) -> Result<(), StoreError> {
        let sources: BTreeSet<String> =
            requests.iter().filter_map(|request| Some(of(request)?.0.to_owned())).collect();
        if sources.is_empty() {
            return Ok(());
        }
        let subjects: BTreeSet<String> = requests.iter().flat_map(|request| subjects(request)).collect();
        if subjects.is_empty() {
            return Ok(());
        }
        let args = vec![Arg::id(workspace), Arg::texts(&sources), Arg::texts(&subjects)];
        for row in tx.all(&KNOWN, args).await? {
            let key = (workspace, row.text("source")?, row.text("subject_id")?);
            self.newest.insert(key, row.text("sequence")?);
        }
        Ok(())
    }

    /// Whether a newer one was applied before.
    pub(super) fn is_stale(&self, request: &Request, subject: &str) -> bool {
        of(request).is_some_and(|(source, sequence)| {
            let key = (request.workspace_id, source.to_owned(), subject.to_owned());
            self.newest.get(&key).is_some_and(|newest| compare(sequence, newest) == Ordering::Less)
        })
    }

    /// The request was applied.
    pub(super) fn remember(&mut self, request: &Request, subject: &str, now: DateTime<Utc>) {
        let Some((source, sequence)) = of(request) else { return };
        let key = (request.workspace_id, source.to_owned(), subject.to_owned());
        let row = vec![
            Arg::id(request.workspace_id),
            Arg::text(source),
            Arg::text(subject),
            Arg::text(sequence),
            Arg::time(now),
        ];
        self.newest.insert(key.clone(), sequence.to_owned());
        self.rows.insert(key, row);
    }

    pub(super) async fn write(self, tx: &mut Tx) -> Result<(), StoreError> {
        tx.bulk(&SAVE_SEQUENCES, self.rows.into_values().collect()).await.map(drop)
    }
}

/// Digits alone are compared as numbers of any length, everything else byte by byte, as `CloudEvents` asks for. Of the
/// same length both are the same.
fn compare(one: &str, other: &str) -> Ordering {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(one) || !digits(other) {
        return one.cmp(other);
    }
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_numbers_and_everything_else_is_text() {
        for (older, newer) in [
            ("9", "10"),
            ("0", "1"),
            ("00000009", "00000010"),
            ("99999999999999999999999", "100000000000000000000000"),
            ("2026-03-02T08:00:00Z", "2026-03-02T08:00:01Z"),
            ("0000000a", "00000010f"),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAW"),
        ] {
            assert_eq!(compare(older, newer), Ordering::Less, "{older} {newer}");
            assert_eq!(compare(newer, older), Ordering::Greater, "{newer} {older}");
        }
        assert_eq!(compare("007", "7"), Ordering::Equal);
    }
}
