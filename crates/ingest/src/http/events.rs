//! `/onboardings/{id}/events`: what happened to an onboarding and to its reminders, newest first.

use axum::response::Response;
use serde_json::{Value, json};
use usher_store::TimelineRow;

use super::{
    ApiError,
    auth::Caller,
    list::{self, Query},
    onboardings::find,
    target::Target,
};

pub(super) async fn timeline(caller: Caller, target: Target, query: Query) -> Result<Response, ApiError> {
    let page = query.read(&[], |_| Ok(()))?;
    let onboarding = find(&caller, &target).await?;
    let listed = caller.store().timeline(onboarding.id, &page).await?;
    Ok(list::answer(&listed, view))
}

/// An event as callers see it; `data` is that of the event on NATS.
fn view(row: &TimelineRow) -> Value {
    json!({
        "object": "event",
        "id": row.id,
        "type": row.kind,
        "subject_id": row.subject,
        "version": row.version,
        "ordinal": row.ordinal,
        "created_at": row.occurred_at,
        "livemode": row.livemode,
        "data": row.data,
    })
}
