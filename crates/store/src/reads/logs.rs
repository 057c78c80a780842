//! What happened to an onboarding: the ledger of its reminders and its timeline.

use chrono::{DateTime, Utc};
use serde_json::Value;
use usher_lifecycle::OnboardingId;

use super::{Listed, Page, cut, window};
use crate::{
    Store,
    db::{Arg, Row, statements},
    deliveries::{self, Delivery, delivery_columns},
    error::StoreError,
};

statements! {
    LEDGER = concat!("SELECT ", delivery_columns!(), " FROM deliveries
              WHERE onboarding_id = $1 AND planned_at <= $2 ORDER BY planned_at DESC, id DESC LIMIT $3");
    TIMELINE = "SELECT id, kind, subject_id, subject_version, ordinal, occurred_at, data, livemode FROM events
              WHERE onboarding_id = $1 AND occurred_at <= $2 ORDER BY occurred_at DESC, position DESC LIMIT $3";
}

/// One event of an onboarding's timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelineRow {
    /// `evt_...`
    pub id: String,
    /// The event type.
    pub kind: String,
    /// The record it is about: the onboarding or one of its deliveries.
    pub subject: String,
    /// That record's version.
    pub version: i64,
    /// Its place among the events of one command.
    pub ordinal: i64,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// The `data` as on the wire.
    pub data: Value,
    /// False for test records.
    pub livemode: bool,
}

impl Store {
    /// The ledger of an onboarding, newest first.
    pub async fn ledger(
        &self,
        onboarding: OnboardingId,
        page: &Page,
    ) -> Result<Listed<Delivery>, StoreError> {
        let (from, limit) = window(page);
        let rows =
            self.db().all(&LEDGER, vec![Arg::id(onboarding), Arg::time(from), Arg::int(limit)]).await?;
        let rows = rows.iter().map(deliveries::read).collect::<Result<Vec<_>, _>>()?;
        Ok(cut(rows, page, |it| it.planned_at))
    }

    /// The events of an onboarding and of its reminders, newest first.
    pub async fn timeline(
        &self,
        onboarding: OnboardingId,
        page: &Page,
    ) -> Result<Listed<TimelineRow>, StoreError> {
        let (from, limit) = window(page);
        let rows =
            self.db().all(&TIMELINE, vec![Arg::id(onboarding), Arg::time(from), Arg::int(limit)]).await?;
        let row = |row: &Row| {
            Ok(TimelineRow {
                id: row.text("id")?,
                kind: row.text("kind")?,
                subject: row.text("subject_id")?,
                version: row.int("subject_version")?,
                ordinal: row.int("ordinal")?,
                occurred_at: row.time("occurred_at")?,
                data: row.json("data")?,
                livemode: row.bool("livemode")?,
            })
        };
        let rows = rows.iter().map(row).collect::<Result<Vec<_>, StoreError>>()?;
        Ok(cut(rows, page, |it| it.occurred_at))
    }
}
