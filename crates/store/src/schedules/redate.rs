//! Redating: a changed policy (zone, time of day, working days) reaches the slots that are pending already.
//!
//! Laws: each keeps its date, and its instant is computed anew; work per pass is bounded, however many onboardings there
//! are; a crash loses nothing, because how far a walk has come is written together with what it did. The row of the
//! workspace is locked meanwhile, so schedulers do not walk it together. A walk is made twice: what was decided by the old
//! policy in a transaction that was open during the change is found by the second one.

use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::reminder::{Rules, redated};

use crate::{
    Store,
    db::{Arg, Row, Tx, bulks, statements},
    error::StoreError,
    records::{self, onboarding_columns},
};

macro_rules! unredated {
    ($rest:literal) => {
        concat!(
            "SELECT id, settings, version, redated_version, redating_version, redating_from, redating_again FROM workspaces
             WHERE redated_version < version
               AND (redating_version < version OR redating_again IS NULL OR redating_again <= $1)
             ORDER BY updated_at, id LIMIT 1",
            $rest
        )
    };
}

statements! {
    LOOK = unredated!("");
    UNREDATED = unredated!(" {skip locked}");
    NEXT = "SELECT id, display_id FROM onboardings WHERE workspace_id = $1 AND display_id > $2 ORDER BY display_id LIMIT $3";
    PENDING = concat!("SELECT ", onboarding_columns!(), " FROM onboardings o JOIN schedules s ON s.onboarding_id = o.id
                   WHERE o.id {in:$1} AND s.due_at IS NOT NULL ORDER BY o.id {lock of:o, s}");
    PROGRESS = "UPDATE workspaces SET redating_version = $2, redating_from = $3, redating_again = $4, redated_version = $5
                WHERE id = $1";
}

bulks! {
    REDATE = "schedules" (onboarding_id: Text, slot: Date, due_at: Time)
      "UPDATE schedules SET slot = v.slot, due_at = v.due_at FROM {rows} v
       WHERE schedules.onboarding_id = v.onboarding_id AND schedules.due_at IS NOT NULL";
}

/// When the second walk begins: longer after the change than any transaction lasts.
const AGAIN: TimeDelta = TimeDelta::minutes(2);

impl Store {
    /// Carries a changed policy on by one batch of onboardings: how many were looked at; none when every pending slot
    /// follows its workspace's policy, or other schedulers are at it.
    pub async fn redate(&self, now: DateTime<Utc>, limit: u32) -> Result<Option<usize>, StoreError> {
        // Nearly always there is nothing, and no lock is taken to find that out.
        if self.db().first(&LOOK, vec![Arg::time(now)]).await?.is_none() {
            return Ok(None);
        }
        let mut tx = self.db().begin().await?;
        let done = redate_in(&mut tx, now, limit).await?;
        tx.commit().await?;
        Ok(done)
    }
}

async fn redate_in(tx: &mut Tx, now: DateTime<Utc>, limit: u32) -> Result<Option<usize>, StoreError> {
    let Some(workspace) = tx.first(&UNREDATED, vec![Arg::time(now)]).await? else { return Ok(None) };
    let walk = Walk::of(&workspace)?;
    let batch = vec![Arg::text(&walk.id), Arg::int(walk.from), Arg::int(limit.into())];
    let (mut ids, mut from) = (Vec::new(), walk.from);
    for row in tx.all(&NEXT, batch).await? {
        from = from.max(row.int("display_id")?);
        ids.push(row.text("id")?);
    }
    let looked = ids.len();
    let mut moved = Vec::new();
    for row in tx.all(&PENDING, vec![Arg::Texts(ids)]).await? {
        // One that cannot be read is told of when it is planned.
        let Ok(onboarding) = records::onboarding(&row) else { continue };
        if let Some(slot) = redated(&walk.rules.policy, &onboarding) {
            moved.push(vec![Arg::id(onboarding.id), Arg::Date(Some(slot.date)), Arg::time(slot.due_at)]);
        }
    }
    tx.bulk(&REDATE, moved).await?;
    let is_last = looked < limit as usize;
    let (from, again, redated) = match (is_last, walk.is_second) {
        (false, _) => (from, walk.again, walk.redated),
        (true, false) => (0, Some(now + AGAIN), walk.redated),
        (true, true) => (0, None, walk.version),
    };
    let progress = vec![
        Arg::text(&walk.id),
        Arg::int(walk.version),
        Arg::int(from),
        Arg::Time(again),
        Arg::int(redated),
    ];
    tx.execute(&PROGRESS, progress).await?;
    Ok(Some(looked))
}

/// A walk over the onboardings of a workspace.
struct Walk {
    id: String,
    rules: Rules,
    /// The version of the workspace that it carries on.
    version: i64,
    /// The version that all slots followed before.
    redated: i64,
    from: i64,
    is_second: bool,
    again: Option<DateTime<Utc>>,
}

impl Walk {
    fn of(row: &Row) -> Result<Self, StoreError> {
        let version = row.int("version")?;
        // Another change since the walk began: it begins anew.
        let goes_on = row.int("redating_version")? == version;
        let again = row.opt_time("redating_again")?.filter(|_| goes_on);
        Ok(Self {
            id: row.text("id")?,
            rules: row.document("settings")?,
            version,
            redated: row.int("redated_version")?,
            from: if goes_on { row.int("redating_from")? } else { 0 },
            is_second: again.is_some(),
            again,
        })
    }
}
