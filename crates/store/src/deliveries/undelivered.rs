//! Deliveries that failed, or of which nobody knows whether they arrived: found, and put back by hand.
//!
//! Law: what was put back is pending again and its old end is forgotten by nobody: the errors stay, and so does the id of a
//! message that may have arrived. Of two who put the same one back at once, one does.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use usher_lifecycle::{
    OnboardingId, WorkspaceId,
    reminder::{Channel, Kind},
};

use super::{Delivery, Status, delivery_columns, read};
use crate::{
    Store,
    db::{Arg, Row, bulks, statements},
    error::StoreError,
    inbox::LAST,
};

statements! {
    CHOSEN = concat!("SELECT ", delivery_columns!(), " FROM deliveries
              WHERE workspace_id = $1 AND status IN ('failed', 'ambiguous') AND planned_at >= $2 AND planned_at < $3
                AND ($4 = '' OR status = $4) AND ($5 = '' OR channel = $5) AND ($6 = '' OR kind = $6)
                AND ($7 = '' OR reason = $7) AND ($8 = '' OR onboarding_id = $8)
                AND (planned_at, id) > ($9, $10) ORDER BY planned_at, id LIMIT $11");
    NAMED = concat!("SELECT ", delivery_columns!(), " FROM deliveries WHERE id {in:$2} AND workspace_id = $1
              ORDER BY planned_at, id");
    COMPANIONS = concat!("SELECT ", delivery_columns!(), " FROM deliveries
              WHERE message_id {in:$1} AND status = 'ambiguous' ORDER BY planned_at, id");
}

bulks! {
    PUT_BACK = "deliveries" (id: Text, retries: Int, send_after: Time, now: Time)
      "UPDATE deliveries SET status = 'pending', reason = NULL, send_after = v.send_after, retries = v.retries + 1,
         retried_at = v.now, forgiven = deliveries.ambiguities,
         message_id = CASE WHEN deliveries.ambiguities > 0 THEN deliveries.message_id END,
         lease_until = NULL, lease_token = NULL, updated_at = v.now
       FROM {rows} v
       WHERE deliveries.id = v.id AND deliveries.retries = v.retries AND deliveries.status IN ('failed', 'ambiguous')
       RETURNING deliveries.id";
}

/// Which of the deliveries that failed or are ambiguous; the default is all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UndeliveredFilter<'a> {
    /// One of the two.
    pub status: Option<Status>,
    /// By that channel.
    pub channel: Option<Channel>,
    /// Of that kind.
    pub kind: Option<Kind>,
    /// With that reason: a code of the channel, or another word of the ledger.
    pub reason: Option<&'a str>,
    /// About that onboarding.
    pub onboarding: Option<OnboardingId>,
    /// Planned then or later.
    pub since: Option<DateTime<Utc>>,
    /// Planned before.
    pub until: Option<DateTime<Utc>>,
}

impl Store {
    /// The oldest of those that are chosen; with `after` the ones behind it.
    pub async fn undelivered(
        &self,
        workspace: WorkspaceId,
        filter: &UndeliveredFilter<'_>,
        after: Option<&Delivery>,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let (at, id) = after
            .map_or_else(|| (DateTime::UNIX_EPOCH, String::new()), |it| (it.planned_at, it.id.to_text()));
        let args = vec![
            Arg::id(workspace),
            Arg::time(filter.since.unwrap_or(DateTime::UNIX_EPOCH)),
            Arg::time(filter.until.unwrap_or(LAST)),
            Arg::text(filter.status.map_or("", Status::as_str)),
            Arg::text(filter.channel.map_or("", Channel::as_str)),
            Arg::text(filter.kind.map_or("", Kind::as_str)),
            Arg::text(filter.reason.unwrap_or_default()),
            Arg::text(filter.onboarding.map(OnboardingId::to_text).unwrap_or_default()),
            Arg::time(at),
            Arg::text(id),
            Arg::int(limit.into()),
        ];
        self.db().all(&CHOSEN, args).await?.iter().map(read).collect()
    }

    /// Deliveries of the workspace by their ids, whatever became of them; of ids that there are not, nothing.
    pub async fn deliveries(
        &self,
        workspace: WorkspaceId,
        ids: &[String],
    ) -> Result<Vec<Delivery>, StoreError> {
        self.db().all(&NAMED, vec![Arg::id(workspace), Arg::texts(ids)]).await?.iter().map(read).collect()
    }

    /// The ambiguous ones that travelled with ambiguous ones among these, themselves included.
    pub async fn companions(&self, deliveries: &[Delivery]) -> Result<Vec<Delivery>, StoreError> {
        let ambiguous = deliveries.iter().filter(|it| it.status == Status::Ambiguous);
        let messages: HashSet<&String> = ambiguous.filter_map(|it| it.message_id.as_ref()).collect();
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        self.db().all(&COMPANIONS, vec![Arg::texts(messages)]).await?.iter().map(read).collect()
    }

    /// Makes them pending again, each from its instant on; the ids of those that were still as they are here.
    pub async fn put_back(
        &self,
        deliveries: &[(&Delivery, DateTime<Utc>)],
        now: DateTime<Utc>,
    ) -> Result<HashSet<String>, StoreError> {
        let row = |(it, at): &(&Delivery, DateTime<Utc>)| {
            vec![Arg::id(it.id), Arg::int(it.retries), Arg::time(*at), Arg::time(now)]
        };
        let mut tx = self.db().begin().await?;
        let rows = tx.bulk_returning(&PUT_BACK, deliveries.iter().map(row).collect()).await?;
        let put_back = rows.iter().map(|row: &Row| row.text("id")).collect::<Result<_, _>>()?;
        tx.commit().await?;
        Ok(put_back)
    }
}
