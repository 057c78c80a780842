//! Reads for the API, the CLI and the console. Deleted records and the children of deleted customers never appear.
//!
//! Law of lists: newest first; a walk by cursor loses and repeats nothing. Each process gives its records instants of
//! their own; where two processes chose the same one, or SQL brought many, the cursor's digits below the microsecond say
//! how many of the records with that instant were seen: three of them, and six where three are not enough. A page costs
//! the same wherever in the list it is: every filter has an index in the order of the list.

mod logs;
mod onboardings;
mod people;
mod templates;

use std::{fmt, str::FromStr};

use chrono::{DateTime, SubsecRound, Timelike, Utc};
use usher_lifecycle::{Phase, State, TemplateId, UserId, WorkspaceId, customer::CustomerStatus};

pub use self::logs::TimelineRow;
#[cfg(test)]
pub(crate) use self::{
    logs::STATEMENTS as LOGS, onboardings::STATEMENTS as ONBOARDINGS, onboardings::query as onboarding_query,
    people::STATEMENTS as PEOPLE, people::customer_query, templates::STATEMENTS as TEMPLATES,
};
use crate::{
    Store,
    apply::Ref,
    db::{Arg, Row, Stmt},
    error::StoreError,
};

/// Where a walk goes on: strictly older than this. An RFC 3339 instant on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    at: DateTime<Utc>,
    /// Records with exactly this instant that were seen already.
    seen: u32,
}

/// As many records with one instant can be walked over.
const MOST_SEEN: u32 = 999_999;

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is an RFC 3339 instant such as a list's next_cursor")]
pub struct BadCursor;

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        // chrono takes a space there too.
        if !matches!(text.as_bytes().get(10), Some(b'T' | b't')) {
            return Err(BadCursor);
        }
        let at = DateTime::parse_from_rfc3339(text).map_err(|_| BadCursor)?.with_timezone(&Utc);
        // RFC 3339 has as many fraction digits as one likes, chrono reads nine of them.
        let digits = text.split_once('.').map_or("", |(_, rest)| rest);
        let digits = digits.get(..12).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let six = digits.and_then(|digits| digits.get(6..)?.parse().ok());
        Ok(Self { at: at.trunc_subsecs(6), seen: six.unwrap_or(at.nanosecond() % 1_000) })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.format("%Y-%m-%dT%H:%M:%S%.6f");
        if self.seen < 1_000 {
            write!(f, "{at}{:03}Z", self.seen)
        } else {
            write!(f, "{at}{:06}Z", self.seen)
        }
    }
}

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// At most so many, 1 to 100.
    pub limit: u32,
    /// Where to go on; none = from the newest.
    pub cursor: Option<Cursor>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed<T> {
    /// The records, newest first.
    pub data: Vec<T>,
    /// Where to go on, when there is more.
    pub next: Option<Cursor>,
}

/// What a list is narrowed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Onboardings of that customer.
    pub customer: Option<Ref>,
    /// Onboardings in that state.
    pub state: Option<State>,
    /// Onboardings in that phase.
    pub phase: Option<Phase>,
    /// Onboardings of that CSM.
    pub csm: Option<UserId>,
    /// Onboardings made from that template.
    pub template: Option<TemplateId>,
    /// Onboardings changed at or after.
    pub updated_since: Option<DateTime<Utc>>,
    /// Onboardings whose next reminder is due before.
    pub due_before: Option<DateTime<Utc>>,
    /// Customers of that status.
    pub status: Option<CustomerStatus>,
    /// The customer with that slug.
    pub slug: Option<String>,
    /// The record with that key.
    pub external_id: Option<String>,
    /// Customers with that domain.
    pub domain: Option<String>,
}

/// Rows beyond the limit: one tells whether there is more; the seen ones at the cursor's instant are read again.
pub(crate) fn window(page: &Page) -> (DateTime<Utc>, i64) {
    let seen = page.cursor.map_or(0, |cursor| cursor.seen);
    let from = page.cursor.map_or(DateTime::<Utc>::MAX_UTC, |cursor| {
        // A bare instant means strictly older.
        if cursor.seen == 0 { cursor.at - chrono::TimeDelta::microseconds(1) } else { cursor.at }
    });
    let far = DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(from);
    (from.min(far), i64::from(page.limit) + i64::from(seen) + 1)
}

pub(crate) fn cut<T>(rows: Vec<T>, page: &Page, at: impl Fn(&T) -> DateTime<Utc>) -> Listed<T> {
    let start = page.cursor.filter(|cursor| cursor.seen > 0);
    let seen = start.map_or(0, |cursor| cursor.seen as usize);
    let at_start = |row: &T| start.is_some_and(|cursor| at(row) == cursor.at);
    let skip = rows.iter().take(seen).filter(|row| at_start(row)).count();
    let mut data: Vec<T> = rows.into_iter().skip(skip).collect();
    let limit = page.limit as usize;
    let more = data.len() > limit;
    data.truncate(limit);
    let next = data.last().filter(|_| more).map(|last| {
        let instant = at(last);
        let here = data.iter().filter(|row| at(row) == instant).count();
        let before = if at_start(last) { skip } else { 0 };
        Cursor { at: instant, seen: u32::try_from(here + before).unwrap_or(MOST_SEEN).min(MOST_SEEN) }
    });
    Listed { data, next }
}

fn opt<T: fmt::Display>(value: Option<T>) -> Arg {
    Arg::Text(Some(value.map(|it| it.to_string()).unwrap_or_default()))
}

impl Store {
    async fn one<T>(
        &self,
        scope: (WorkspaceId, bool),
        which: &Ref,
        statements: [&'static Stmt; 3],
        read: fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let [by_id, by_display, by_external] = statements;
        let (stmt, value) = match which {
            Ref::Id(id) if id.contains('\0') => return Ok(None),
            Ref::Id(id) => (by_id, Arg::text(id)),
            Ref::DisplayId(number) => (by_display, Arg::int(*number)),
            Ref::ExternalId(key) => (by_external, Arg::text(key)),
        };
        let row = self.db().first(stmt, vec![Arg::id(scope.0), Arg::Bool(scope.1), value]).await?;
        row.as_ref().map(read).transpose()
    }
}
