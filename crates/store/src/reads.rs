//! Reads for the API, the CLI and the console. Deleted records and the children of deleted customers never appear.
//!
//! Law of lists: newest first; a walk by cursor loses and repeats nothing. Each process gives its records instants of
//! their own; where two processes chose the same one, the cursor's digits below the microsecond say how many of the
//! records with that instant were seen.

use std::{fmt, str::FromStr};

use chrono::{DateTime, SubsecRound, Timelike, Utc};
use serde_json::Value;
use usher_lifecycle::{
    Onboarding, OnboardingId, Phase, State, UserId, WorkspaceId,
    customer::{Customer, CustomerStatus},
    person::User,
};

use crate::{
    Store,
    apply::Ref,
    db::{Arg, Row, Stmt, statements},
    deliveries::{self, Delivery, delivery_columns},
    error::StoreError,
    records::{self, customer_columns, onboarding_columns, user_columns},
};

macro_rules! onboardings {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            onboarding_columns!(),
            " FROM onboardings o JOIN schedules s ON s.onboarding_id = o.id
              JOIN customers c ON c.id = o.customer_id AND c.deleted_at IS NULL
              WHERE o.workspace_id = $1 AND o.livemode = $2 AND o.deleted_at IS NULL AND ",
            $condition
        )
    };
}
macro_rules! customers {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            customer_columns!(),
            " FROM customers WHERE workspace_id = $1 AND livemode = $2 AND deleted_at IS NULL AND ",
            $condition
        )
    };
}
macro_rules! users {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            user_columns!(),
            " FROM users WHERE workspace_id = $1 AND livemode = $2 AND deleted_at IS NULL AND ",
            $condition
        )
    };
}

statements! {
    ONBOARDING_BY_ID = onboardings!("o.id = $3");
    ONBOARDING_BY_DISPLAY = onboardings!("o.display_id = $3");
    ONBOARDING_BY_EXTERNAL = onboardings!("o.external_id = $3");
    ONBOARDINGS = onboardings!("(o.created_at <= $3) AND ($4 = '' OR o.state = $4) AND ($5 = '' OR o.phase = $5)
              AND ($6 = '' OR o.csm_id = $6) AND ($7 = '' OR o.customer_id = $7) AND o.updated_at >= $8
              AND ($9 = FALSE OR s.due_at < $10)
              ORDER BY o.created_at DESC, o.id DESC LIMIT $11");
    CUSTOMER_BY_ID = customers!("id = $3");
    CUSTOMER_BY_DISPLAY = customers!("display_id = $3");
    CUSTOMER_BY_EXTERNAL = customers!("external_id = $3");
    CUSTOMERS = customers!("created_at <= $3 AND ($4 = '' OR status = $4) AND ($5 = '' OR slug = $5)
              AND ($6 = '' OR external_id = $6) AND ($7 = '' OR domain = $7)
              ORDER BY created_at DESC, id DESC LIMIT $8");
    USER_BY_ID = users!("id = $3");
    USER_BY_DISPLAY = users!("display_id = $3");
    USER_BY_EXTERNAL = users!("external_id = $3");
    USER_BY_EMAIL = users!("email = $3");
    USERS = users!("created_at <= $3 ORDER BY created_at DESC, id DESC LIMIT $4");
    LEDGER = concat!("SELECT ", delivery_columns!(), " FROM deliveries
              WHERE onboarding_id = $1 AND planned_at <= $2 ORDER BY planned_at DESC, id DESC LIMIT $3");
    TIMELINE = "SELECT id, kind, subject_id, subject_version, ordinal, occurred_at, data, livemode FROM events
              WHERE onboarding_id = $1 AND occurred_at <= $2 ORDER BY occurred_at DESC, position DESC LIMIT $3";
}

/// Where a walk goes on: strictly older than this. An RFC 3339 instant on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    at: DateTime<Utc>,
    /// Records with exactly this instant that were seen already.
    seen: u32,
}

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is an RFC 3339 instant such as a list's next_cursor")]
pub struct BadCursor;

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let at = DateTime::parse_from_rfc3339(text).map_err(|_| BadCursor)?.with_timezone(&Utc);
        Ok(Self { at: at.trunc_subsecs(6), seen: at.nanosecond() % 1_000 })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:03}Z", self.at.format("%Y-%m-%dT%H:%M:%S%.6f"), self.seen)
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

/// Rows beyond the limit: one tells whether there is more; the seen ones at the cursor's instant are read again.
fn window(page: &Page) -> (DateTime<Utc>, i64) {
    let seen = page.cursor.map_or(0, |cursor| cursor.seen);
    let from = page.cursor.map_or(DateTime::<Utc>::MAX_UTC, |cursor| {
        // A bare instant means strictly older.
        if cursor.seen == 0 { cursor.at - chrono::TimeDelta::microseconds(1) } else { cursor.at }
    });
    let far = DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(from);
    (from.min(far), i64::from(page.limit) + i64::from(seen) + 1)
}

fn cut<T>(rows: Vec<T>, page: &Page, at: impl Fn(&T) -> DateTime<Utc>) -> Listed<T> {
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
        Cursor { at: instant, seen: u32::try_from(here + before).unwrap_or(999).min(999) }
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

    /// An onboarding.
    pub async fn onboarding(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        which: &Ref,
    ) -> Result<Option<Onboarding>, StoreError> {
        let statements = [&ONBOARDING_BY_ID, &ONBOARDING_BY_DISPLAY, &ONBOARDING_BY_EXTERNAL];
        self.one((workspace, livemode), which, statements, records::onboarding).await
    }

    /// A customer.
    pub async fn customer(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        which: &Ref,
    ) -> Result<Option<Customer>, StoreError> {
        let statements = [&CUSTOMER_BY_ID, &CUSTOMER_BY_DISPLAY, &CUSTOMER_BY_EXTERNAL];
        self.one((workspace, livemode), which, statements, records::customer).await
    }

    /// A member of the team, deactivated ones too.
    pub async fn user(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        which: &Ref,
    ) -> Result<Option<User>, StoreError> {
        if let Ref::Id(address) = which
            && address.contains('@')
        {
            let args = vec![Arg::id(workspace), Arg::Bool(livemode), Arg::text(address.to_lowercase())];
            return self.db().first(&USER_BY_EMAIL, args).await?.as_ref().map(records::user).transpose();
        }
        let statements = [&USER_BY_ID, &USER_BY_DISPLAY, &USER_BY_EXTERNAL];
        self.one((workspace, livemode), which, statements, records::user).await
    }

    /// Onboardings, newest first. A customer that is not there has none.
    pub async fn onboardings(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        filter: &ListFilter,
        page: &Page,
    ) -> Result<Listed<Onboarding>, StoreError> {
        let customer = match &filter.customer {
            None => None,
            Some(which) => match self.customer(workspace, livemode, which).await? {
                Some(found) => Some(found.id),
                None => return Ok(Listed { data: Vec::new(), next: None }),
            },
        };
        let (from, limit) = window(page);
        let args = vec![
            Arg::id(workspace),
            Arg::Bool(livemode),
            Arg::time(from),
            opt(filter.state),
            opt(filter.phase),
            opt(filter.csm),
            opt(customer),
            Arg::time(filter.updated_since.unwrap_or(DateTime::UNIX_EPOCH)),
            Arg::Bool(filter.due_before.is_some()),
            Arg::time(filter.due_before.unwrap_or(DateTime::UNIX_EPOCH)),
            Arg::int(limit),
        ];
        let rows = self.db().all(&ONBOARDINGS, args).await?;
        let rows = rows.iter().map(records::onboarding).collect::<Result<Vec<_>, _>>()?;
        Ok(cut(rows, page, |it| it.created_at))
    }

    /// Customers, newest first.
    pub async fn customers(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        filter: &ListFilter,
        page: &Page,
    ) -> Result<Listed<Customer>, StoreError> {
        let (from, limit) = window(page);
        let args = vec![
            Arg::id(workspace),
            Arg::Bool(livemode),
            Arg::time(from),
            opt(filter.status.map(CustomerStatus::as_str)),
            opt(filter.slug.as_ref()),
            opt(filter.external_id.as_ref()),
            opt(filter.domain.as_ref()),
            Arg::int(limit),
        ];
        let rows = self.db().all(&CUSTOMERS, args).await?;
        let rows = rows.iter().map(records::customer).collect::<Result<Vec<_>, _>>()?;
        Ok(cut(rows, page, |it| it.created_at))
    }

    /// Members of the team, newest first.
    pub async fn users(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        page: &Page,
    ) -> Result<Listed<User>, StoreError> {
        let (from, limit) = window(page);
        let args = vec![Arg::id(workspace), Arg::Bool(livemode), Arg::time(from), Arg::int(limit)];
        let rows = self.db().all(&USERS, args).await?;
        let rows = rows.iter().map(records::user).collect::<Result<Vec<_>, _>>()?;
        Ok(cut(rows, page, |it| it.created_at))
    }

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
