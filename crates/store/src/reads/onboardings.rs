//! Onboardings, one and many. The statement of a list begins with its narrowest filter, so that both engines walk that
//! filter's index; the rest is looked at row by row, or chosen by Postgres from its statistics. The joins are written in
//! the order in which SQLite is to go through the tables; it keeps to it where they are called `CROSS`.

use chrono::DateTime;
use usher_lifecycle::{CustomerId, Onboarding, State, WorkspaceId};

use super::{ListFilter, Listed, Page, cut, opt, window};
use crate::{
    Store,
    apply::Ref,
    db::{Arg, Stmt, statements},
    error::StoreError,
    records::{self, onboarding_columns},
};

macro_rules! onboardings {
    ($from:literal, $($condition:tt)*) => {
        concat!(
            "SELECT ",
            onboarding_columns!(),
            " FROM ",
            $from,
            " JOIN customers c ON c.id = o.customer_id AND c.deleted_at IS NULL
              WHERE o.id = s.onboarding_id AND o.workspace_id = $1 AND o.livemode = $2 AND o.deleted_at IS NULL AND ",
            $($condition)*
        )
    };
}
macro_rules! one {
    ($condition:literal) => {
        onboardings!("onboardings o CROSS JOIN schedules s", $condition)
    };
}
macro_rules! list {
    ($first:literal) => {
        list!("onboardings o CROSS JOIN schedules s", $first)
    };
    ($from:literal, $first:literal) => {
        onboardings!(
            $from,
            $first,
            " AND o.created_at <= $3 AND ($4 = '' OR o.state = $4) AND ($5 = '' OR o.phase = $5)
              AND ($6 = '' OR o.csm_id = $6) AND ($7 = '' OR o.template_id = $7) AND ($8 = '' OR o.customer_id = $8)
              AND ($9 = FALSE OR o.updated_at >= $10) AND ($11 = FALSE OR s.due_at < $12)
              AND ($11 = FALSE OR s.workspace_id = $1)
              ORDER BY o.created_at DESC, o.id DESC LIMIT $13"
        )
    };
}

statements! {
    BY_ID = one!("o.id = $3");
    BY_DISPLAY = one!("o.display_id = $3");
    BY_EXTERNAL = one!("o.external_id = $3");
    NEWEST = list!("TRUE");
    OF_CUSTOMER = list!("o.customer_id = $8");
    OF_CSM = list!("o.csm_id = $6");
    OF_TEMPLATE = list!("o.template_id = $7");
    IN_STATE = list!("o.state = $4 AND o.state <> 'active'");
    IN_PHASE = list!("o.phase = $5");
    CHANGED = list!("onboardings o {index:onboardings_changed} CROSS JOIN schedules s", "o.updated_at >= $10");
    DUE = list!("schedules s CROSS JOIN onboardings o", "s.workspace_id = $1 AND s.due_at < $12");
    COUNT_CHANGED = "SELECT COUNT(*) AS count FROM (SELECT 1 AS one FROM onboardings WHERE workspace_id = $1
        AND livemode = $2 AND deleted_at IS NULL AND updated_at >= $3 LIMIT $4) AS q";
    COUNT_DUE = "SELECT COUNT(*) AS count FROM (SELECT 1 AS one FROM schedules WHERE workspace_id = $1
        AND due_at < $2 LIMIT $3) AS q";
}

/// So many rows are sorted sooner than a list is walked to find 25 of them; of more, a walk soon meets some.
const FEW: i64 = 5_000;

/// A filter by time that leaves few rows, so that its own index is the one to go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rare {
    Changed,
    Due,
}

/// The statement for these filters, with its arguments.
pub(crate) fn query(
    workspace: WorkspaceId,
    livemode: bool,
    customer: Option<CustomerId>,
    filter: &ListFilter,
    page: &Page,
    rare: Option<Rare>,
) -> (&'static Stmt, Vec<Arg>) {
    let (from, limit) = window(page);
    let args = vec![
        Arg::id(workspace),
        Arg::Bool(livemode),
        Arg::time(from),
        opt(filter.state),
        opt(filter.phase),
        opt(filter.csm),
        opt(filter.template),
        opt(customer),
        Arg::Bool(filter.updated_since.is_some()),
        Arg::time(filter.updated_since.unwrap_or(DateTime::UNIX_EPOCH)),
        Arg::Bool(filter.due_before.is_some()),
        Arg::time(filter.due_before.unwrap_or(DateTime::UNIX_EPOCH)),
        Arg::int(limit),
    ];
    let stmt = match filter {
        _ if customer.is_some() => &OF_CUSTOMER,
        _ if rare == Some(Rare::Changed) => &CHANGED,
        _ if rare == Some(Rare::Due) => &DUE,
        ListFilter { csm: Some(_), .. } => &OF_CSM,
        ListFilter { template: Some(_), .. } => &OF_TEMPLATE,
        // Most are active, and the index leaves those out.
        ListFilter { state: Some(state), .. } if *state != State::Active => &IN_STATE,
        ListFilter { phase: Some(_), .. } => &IN_PHASE,
        ListFilter { .. } => &NEWEST,
    };
    (stmt, args)
}

impl Store {
    /// An onboarding.
    pub async fn onboarding(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        which: &Ref,
    ) -> Result<Option<Onboarding>, StoreError> {
        let statements = [&BY_ID, &BY_DISPLAY, &BY_EXTERNAL];
        self.one((workspace, livemode), which, statements, records::onboarding).await
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
        let rare = self.rare(workspace, livemode, filter).await?;
        let (stmt, args) = query(workspace, livemode, customer, filter, page, rare);
        let rows = self.db().list(stmt, args).await?;
        let rows = rows.iter().map(records::onboarding).collect::<Result<Vec<_>, _>>()?;
        Ok(cut(rows, page, |it| it.created_at))
    }

    /// The filter by time that leaves few rows, if there is one. Postgres knows from its statistics; SQLite plans without
    /// a look at the values, so it is asked to count that far.
    async fn rare(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        filter: &ListFilter,
    ) -> Result<Option<Rare>, StoreError> {
        if self.is_shared() {
            return Ok(None);
        }
        let (own, few) = (Arg::id(workspace), Arg::int(FEW));
        let since = filter.updated_since.map(|since| {
            let args = vec![own.clone(), Arg::Bool(livemode), Arg::time(since), few.clone()];
            (Rare::Changed, &COUNT_CHANGED, args)
        });
        let before = filter
            .due_before
            .map(|before| (Rare::Due, &COUNT_DUE, vec![own.clone(), Arg::time(before), few.clone()]));
        for (rare, stmt, args) in since.into_iter().chain(before) {
            let row = self.db().first(stmt, args).await?;
            if row.map(|row| row.int("count")).transpose()?.unwrap_or(0) < FEW {
                return Ok(Some(rare));
            }
        }
        Ok(None)
    }
}
