//! What is read for the metrics: the queues as they are, and nothing that is not due.

use std::time::Duration;

use chrono::TimeDelta;
use usher_lifecycle::reminder::Channel;
use usher_store::{ClaimLimits, Readings};

use crate::{
    bed::{Bed, now, tomorrow},
    contracts, plan,
};

contracts!(queues_are_counted_as_they_are,);

async fn queues_are_counted_as_they_are(bed: Bed) -> anyhow::Result<()> {
    let queues = |it: Readings| Readings { connections: 0, connections_idle: 0, ..it };
    assert_eq!(
        queues(bed.store.readings(now()).await?),
        Readings::default(),
        "a fresh store waits for nothing"
    );
    bed.many(3, |_| None).await?;
    let early = bed.store.readings(now()).await?;
    assert!(early.connections > 0 && early.connections_idle <= early.connections, "{early:?}");
    assert_eq!((early.outbox, early.outbox_oldest), (4, Some(now())), "a customer and three onboardings");
    assert_eq!((early.schedules_due, early.oldest_due), (0, None), "what is not due does not count");

    let due = bed.store.next_wake().await?.unwrap();
    let at = |seconds| bed.store.readings(due + TimeDelta::seconds(seconds));
    let it = at(0).await?;
    assert_eq!((it.schedules_due, it.schedules_overdue, it.oldest_due), (3, 0, Some(due)));
    let it = at(61).await?;
    assert_eq!((it.schedules_due, it.schedules_overdue), (3, 3));

    bed.store.plan(due, 2, plan::planner).await?;
    let it = at(61).await?;
    assert_eq!((it.schedules_due, it.deliveries_due, it.deliveries_overdue), (1, 2, 2));
    bed.store.plan(due, 2, plan::planner).await?;
    let limits =
        ClaimLimits { deliveries: 10, lease: Duration::from_mins(3), channels: vec![Channel::Email] };
    let claims = bed.store.claim(due, &limits).await?;
    let claimed = i64::try_from(claims.iter().map(|it| it.deliveries.len()).sum::<usize>())?;
    let it = at(61).await?;
    assert_eq!((it.deliveries_leased, it.deliveries_due), (claimed, 3 - claimed));
    assert!(claimed > 0 && it.schedules_due == 0, "{it:?}");

    let lease = bed.store.lease_shards(None, tomorrow(), Duration::from_secs(15)).await?;
    let events = bed.store.unpublished(true, &lease.shards, &[], 100).await?;
    let positions: Vec<i64> = events.iter().map(|it| it.position).collect();
    bed.store.mark_published(&positions, tomorrow()).await?;
    let it = bed.store.readings(now()).await?;
    assert_eq!((it.outbox, it.outbox_oldest), (0, None));
    Ok(())
}
