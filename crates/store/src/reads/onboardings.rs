//! Onboardings, one and many. The statement of a list begins with its narrowest filter, so that both engines walk that
//! filter's index; the rest is looked at row by row, or chosen by Postgres from its statistics.

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
    ($($condition:tt)*) => {
        concat!(
            "SELECT ",
            onboarding_columns!(),
            " FROM onboardings o JOIN schedules s ON s.onboarding_id = o.id
              JOIN customers c ON c.id = o.customer_id AND c.deleted_at IS NULL
              WHERE o.workspace_id = $1 AND o.livemode = $2 AND o.deleted_at IS NULL AND ",
            $($condition)*
        )
    };
}
macro_rules! list {
    ($first:literal) => {
        onboardings!(
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
    BY_ID = onboardings!("o.id = $3");
    BY_DISPLAY = onboardings!("o.display_id = $3");
    BY_EXTERNAL = onboardings!("o.external_id = $3");
    NEWEST = list!("TRUE");
    OF_CUSTOMER = list!("o.customer_id = $8");
    OF_CSM = list!("o.csm_id = $6");
    OF_TEMPLATE = list!("o.template_id = $7");
    IN_STATE = list!("o.state = $4 AND o.state <> 'active'");
    IN_PHASE = list!("o.phase = $5");
}

/// The statement for these filters, with its arguments.
pub(crate) fn query(
    workspace: WorkspaceId,
    livemode: bool,
    customer: Option<CustomerId>,
    filter: &ListFilter,
    page: &Page,
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
        let (stmt, args) = query(workspace, livemode, customer, filter, page);
        let rows = self.db().list(stmt, args).await?;
        let rows = rows.iter().map(records::onboarding).collect::<Result<Vec<_>, _>>()?;
        Ok(cut(rows, page, |it| it.created_at))
    }
}
