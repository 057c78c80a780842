//! A changed policy reaches every pending slot, in batches, whoever works and whatever breaks.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::reminder::{Policy, Rules, zone};
use usher_store::Store;

use crate::{
    bed::{Bed, now},
    contracts,
};

contracts!(
    a_changed_policy_reaches_every_pending_slot_in_batches,
    two_schedulers_and_a_crash_between_batches,
    what_an_open_transaction_decided_by_the_old_policy_is_found_by_the_second_walk,
    another_change_begins_anew,
    other_workspaces_and_slots_that_none_waits_for_are_left_alone,
);

/// The first slot of everything that was created at [`now`]: Tuesday.
const DATE: &str = "2026-08-04";

async fn change(bed: &Bed, zone_name: &str, at: DateTime<Utc>) -> anyhow::Result<()> {
    let policy = Policy { time_zone: zone(zone_name)?, ..Policy::default() };
    let settings = serde_json::to_string(&Rules { policy, ..Rules::default() })?;
    let at = at.format("%Y-%m-%dT%H:%M:%S%.6fZ");
    let sql =
        format!("UPDATE workspaces SET settings = '{settings}', version = version + 1, updated_at = '{at}'");
    bed.execute(&format!("{sql} WHERE id = '{}'", bed.workspace)).await.map(drop)
}

/// The due times that stand in the table, each once.
async fn dues(bed: &Bed) -> anyhow::Result<BTreeSet<DateTime<Utc>>> {
    let mut found = BTreeSet::new();
    for at in bed.texts("SELECT CAST(due_at AS text) FROM schedules WHERE due_at IS NOT NULL").await? {
        let at = at.replace(' ', "T").replace("+00", "Z");
        found.insert(at.parse().map_err(|error| anyhow::anyhow!("{at}: {error}"))?);
    }
    Ok(found)
}

fn due(hour: u32) -> BTreeSet<DateTime<Utc>> {
    BTreeSet::from([format!("{DATE}T{hour:02}:00:00Z").parse().unwrap()])
}

/// Until there is nothing to do: how many batches it took, and the most that one looked at.
async fn walk(store: &Store, at: DateTime<Utc>, limit: u32) -> anyhow::Result<(usize, usize)> {
    let (mut batches, mut most) = (0, 0);
    while let Some(looked) = store.redate(at, limit).await? {
        batches += 1;
        most = most.max(looked);
    }
    Ok((batches, most))
}

async fn a_changed_policy_reaches_every_pending_slot_in_batches(bed: Bed) -> anyhow::Result<()> {
    bed.many(250, |_| None).await?;
    assert_eq!((dues(&bed).await?, bed.store.redate(now(), 100).await?), (due(9), None));
    change(&bed, "America/New_York", now()).await?;
    assert_eq!(bed.store.next_wake().await?, Some(now()), "schedulers wake for it");
    assert_eq!(walk(&bed.store, now(), 100).await?, (3, 100));
    assert_eq!(dues(&bed).await?, due(13));
    // Once more when no transaction from before the change can be open, and then never again.
    let later = now() + TimeDelta::minutes(2);
    assert_eq!(bed.store.next_wake().await?, Some(later));
    assert_eq!(walk(&bed.store, later, 100).await?, (3, 100));
    assert_eq!(walk(&bed.store, later + TimeDelta::days(1), 100).await?, (0, 0));
    assert_eq!(bed.store.next_wake().await?, due(13).first().copied());
    assert_eq!(dues(&bed).await?, due(13));
    Ok(())
}

async fn two_schedulers_and_a_crash_between_batches(bed: Bed) -> anyhow::Result<()> {
    bed.many(250, |_| None).await?;
    change(&bed, "Asia/Tokyo", now()).await?;
    // One dies after its first batch; two others go on where it was.
    assert_eq!(bed.another().await?.redate(now(), 50).await?, Some(50));
    assert_eq!(dues(&bed).await?.len(), 2);
    let (one, other) = (bed.another().await?, bed.another().await?);
    let (one, other) = tokio::join!(walk(&one, now(), 50), walk(&other, now(), 50));
    let (rest, _) = walk(&bed.store, now(), 50).await?;
    // An empty batch ends a walk whose last one was full.
    assert_eq!(one?.0 + other?.0 + rest, 5);
    assert_eq!(dues(&bed).await?, due(0));
    Ok(())
}

async fn what_an_open_transaction_decided_by_the_old_policy_is_found_by_the_second_walk(
    bed: Bed,
) -> anyhow::Result<()> {
    let many = bed.many(3, |_| None).await?;
    change(&bed, "Asia/Tokyo", now()).await?;
    walk(&bed.store, now(), 100).await?;
    let old = due(9).first().map(|at| at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
    let old = old.unwrap_or_default();
    bed.execute(&format!("UPDATE schedules SET due_at = '{old}' WHERE onboarding_id = '{}'", many[1]))
        .await?;
    walk(&bed.store, now() + TimeDelta::seconds(119), 100).await?;
    assert_eq!(dues(&bed).await?.len(), 2);
    walk(&bed.store, now() + TimeDelta::minutes(2), 100).await?;
    assert_eq!(dues(&bed).await?, due(0));
    Ok(())
}

async fn another_change_begins_anew(bed: Bed) -> anyhow::Result<()> {
    bed.many(250, |_| None).await?;
    change(&bed, "Asia/Tokyo", now()).await?;
    bed.store.redate(now(), 100).await?;
    change(&bed, "America/New_York", now() + TimeDelta::seconds(1)).await?;
    assert_eq!(walk(&bed.store, now() + TimeDelta::seconds(1), 100).await?, (3, 100));
    assert_eq!(dues(&bed).await?, due(13));
    // And between the two walks.
    change(&bed, "Europe/Berlin", now() + TimeDelta::seconds(30)).await?;
    assert_eq!(walk(&bed.store, now() + TimeDelta::seconds(30), 100).await?, (3, 100));
    assert_eq!(dues(&bed).await?, due(7));
    Ok(())
}

async fn other_workspaces_and_slots_that_none_waits_for_are_left_alone(bed: Bed) -> anyhow::Result<()> {
    let many = bed.many(2, |_| None).await?;
    let other = Rules {
        policy: Policy { time_zone: zone("Asia/Kolkata")?, ..Policy::default() },
        ..Rules::default()
    };
    bed.store.create_workspace("other", "Other", &other, now()).await?;
    bed.execute(&format!(
        "UPDATE schedules SET due_at = NULL, slot = NULL WHERE onboarding_id = '{}'",
        many[0]
    ))
    .await?;
    change(&bed, "Asia/Tokyo", now()).await?;
    assert_eq!(walk(&bed.store, now(), 100).await?, (1, 2));
    assert_eq!(bed.number("SELECT COUNT(*) FROM schedules WHERE due_at IS NULL").await?, 1);
    assert_eq!(bed.number("SELECT COUNT(*) FROM workspaces WHERE redated_version < version").await?, 1);
    assert_eq!(dues(&bed).await?, due(0));
    Ok(())
}
