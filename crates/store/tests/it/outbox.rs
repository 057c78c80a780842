//! The outbox and the dead letters: everything that is committed is published, in order per subject.

use std::{collections::HashMap, time::Duration};

use chrono::TimeDelta;
use sqlx::{Connection as _, PgConnection};
use usher_store::NewRejected;

use crate::{
    bed::{Bed, notes, now},
    contracts,
};

contracts!(
    positions_order_the_events_of_a_subject,
    a_shard_is_leased_to_one_relay_and_taken_over_when_it_dies,
    what_is_marked_is_not_published_again,
    a_refused_command_is_kept_once_with_its_bytes,
    held_subjects_and_the_other_kind_of_records_are_left_out,
);

const LEASE: Duration = Duration::from_secs(30);

async fn positions_order_the_events_of_a_subject(bed: Bed) -> anyhow::Result<()> {
    let stores = [bed.store.clone(), bed.another().await?];
    let ids = bed.many(10, |_| None).await?;
    let mut running = tokio::task::JoinSet::new();
    for round in 0..8 {
        for (i, id) in ids.iter().enumerate() {
            let request = bed.request(notes(&format!("{round}")), Some(&id.to_text()));
            let store = stores[(i + round) % 2].clone();
            running.spawn(async move { store.apply(request, now()).await });
        }
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    let shards = bed.store.lease_shards(None, now(), LEASE).await?.shards;
    let mut versions: HashMap<String, i64> = HashMap::new();
    let (mut last, mut count) = (0, 0);
    for event in bed.store.unpublished(true, &shards, &[], 1_000).await? {
        assert!(event.position > last, "in order of position");
        assert_eq!(event.workspace, "acme");
        last = event.position;
        let version = versions.entry(event.subject).or_insert(0);
        assert_eq!(event.version, *version + 1);
        *version = event.version;
        count += 1;
    }
    let onboardings = versions.iter().filter(|(subject, _)| subject.starts_with("onb_"));
    assert!(onboardings.clone().all(|(_, version)| *version >= 2) && onboardings.count() == 10);
    assert_eq!(bed.store.outbox_backlog().await?, (count, Some(now())));
    Ok(())
}

async fn a_shard_is_leased_to_one_relay_and_taken_over_when_it_dies(bed: Bed) -> anyhow::Result<()> {
    let other = bed.another().await?;
    let (one, two) =
        tokio::join!(bed.store.lease_shards(None, now(), LEASE), other.lease_shards(None, now(), LEASE));
    let (one, two) = (one?, two?);
    assert_eq!(one.shards.len() + two.shards.len(), 16);
    let (holder, idle) = if one.shards.is_empty() { (two, one) } else { (one, two) };
    assert_eq!((holder.shards.len(), idle.shards.len()), (16, 0));
    // Renewed, it is still the only one; dead, it is not.
    let soon = now() + TimeDelta::seconds(20);
    assert_eq!(bed.store.lease_shards(Some(&holder.token), soon, LEASE).await?.shards.len(), 16);
    let then = soon + TimeDelta::seconds(29);
    assert_eq!(other.lease_shards(Some(&idle.token), then, LEASE).await?.shards, Vec::<i64>::new());
    let dead = soon + TimeDelta::seconds(31);
    assert_eq!(other.lease_shards(Some(&idle.token), dead, LEASE).await?.shards.len(), 16);
    assert_eq!(bed.store.lease_shards(Some(&holder.token), dead, LEASE).await?.shards, Vec::<i64>::new());
    // The late one gives back nothing that is not its own.
    bed.store.release_shards(&holder.token).await?;
    assert_eq!(bed.store.lease_shards(None, dead, LEASE).await?.shards, Vec::<i64>::new());
    other.release_shards(&idle.token).await?;
    assert_eq!(bed.store.lease_shards(None, dead, LEASE).await?.shards.len(), 16);
    Ok(())
}

async fn what_is_marked_is_not_published_again(bed: Bed) -> anyhow::Result<()> {
    bed.many(20, |_| None).await?;
    let shards: Vec<i64> = (0..16).collect();
    let mut published = Vec::new();
    loop {
        let events = bed.store.unpublished(true, &shards, &[], 6).await?;
        if events.is_empty() {
            break;
        }
        assert!(events.len() <= 6);
        let positions: Vec<_> = events.iter().map(|it| it.position).collect();
        bed.another().await?.mark_published(&positions, now()).await?;
        bed.store.mark_published(&positions, now()).await?;
        published.extend(events.into_iter().map(|it| it.id));
    }
    published.sort_unstable();
    published.dedup();
    assert_eq!(published.len(), 21);
    assert_eq!(bed.store.outbox_backlog().await?, (0, None));
    bed.store.mark_published(&[], now()).await?;
    assert!(bed.store.unpublished(true, &[], &[], 10).await?.is_empty());
    Ok(())
}

async fn a_refused_command_is_kept_once_with_its_bytes(bed: Bed) -> anyhow::Result<()> {
    let one = NewRejected {
        workspace: "no\0such".into(),
        command: "onboarding.create".into(),
        subject: "usher.x".into(),
        source: "crm".into(),
        message_id: "1\0".into(),
        body_hash: "h".into(),
        headers: vec![("ce-id".into(), "1\0".into()), ("ce-id".into(), "2".into())],
        payload: b"{\"a\":\0\xff".to_vec(),
        code: "invalid_json".into(),
        message: "at \0".into(),
        field: Some("a\0".into()),
        attempts: 1,
    };
    let empty = NewRejected { message_id: "2".into(), payload: Vec::new(), field: None, ..one.clone() };
    bed.store.reject(vec![one.clone(), one.clone(), empty], now()).await?;
    bed.another().await?.reject(vec![one.clone()], now() + TimeDelta::hours(1)).await?;
    let kept = bed.store.rejected(10).await?;
    assert_eq!(kept.len(), 2);
    let kept = kept.into_iter().find(|it| it.what.message_id == "1\u{fffd}").unwrap();
    assert_eq!((kept.what.payload.as_slice(), kept.rejected_at), (one.payload.as_slice(), now()));
    assert_eq!(kept.what.headers, [("ce-id".into(), "1\u{fffd}".into()), ("ce-id".into(), "2".to_owned())]);
    assert_eq!(bed.store.rejected_by_id(&kept.id).await?.as_ref(), Some(&kept));
    assert_eq!(bed.store.unpublished_rejected(10).await?.len(), 2);
    assert!(bed.store.outbox_waits().await?);
    bed.store.mark_rejected_published(std::slice::from_ref(&kept.id), now()).await?;
    assert_eq!(bed.store.unpublished_rejected(10).await?.len(), 1);
    assert_eq!(bed.store.rejected_by_id(&kept.id).await?.unwrap().published_at, Some(now()));
    Ok(())
}

/// The store writes both. The first is held at its commit, when it has its numbers: the second takes later ones, commits
/// and is published; then the first one follows.
#[tokio::test]
async fn transactions_that_commit_in_the_other_order_than_they_took_their_numbers_both_events_go_out()
-> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let bed = Bed::postgres().await?;
    let ids = bed.many(2, |_| None).await?;
    let shards: Vec<i64> = (0..16).collect();
    let waiting = async || bed.store.unpublished(true, &shards, &[], 100).await;
    let old: Vec<_> = waiting().await?.iter().map(|it| it.position).collect();
    bed.store.mark_published(&old, now()).await?;
    bed.execute(
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW WHEN (NEW.data::text LIKE '%slow%') EXECUTE FUNCTION hold();",
    )
    .await?;
    let mut gate = PgConnection::connect(&bed.url).await?;
    sqlx::raw_sql("SELECT pg_advisory_lock(42)").execute(&mut gate).await?;

    let slow = bed.request(notes("slow"), Some(&ids[0].to_text()));
    let slow = tokio::spawn({
        let store = bed.store.clone();
        async move { store.apply(slow, now()).await }
    });
    let at_the_gate =
        "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted";
    while bed.number(at_the_gate).await? == 0 {
        anyhow::ensure!(!slow.is_finished(), "it did not wait");
        tokio::task::yield_now().await;
    }
    let fast = bed.request(notes("fast"), Some(&ids[1].to_text()));
    bed.another().await?.apply(fast, now()).await?;
    let first = waiting().await?;
    assert_eq!(first.iter().map(|it| it.subject.as_str()).collect::<Vec<_>>(), [ids[1].to_text()]);
    bed.store.mark_published(&[first[0].position], now()).await?;

    sqlx::raw_sql("SELECT pg_advisory_unlock(42)").execute(&mut gate).await?;
    slow.await??;
    let second = waiting().await?;
    assert_eq!(second.iter().map(|it| it.subject.as_str()).collect::<Vec<_>>(), [ids[0].to_text()]);
    assert!(second[0].position < first[0].position, "it took its number first");
    Ok(())
}

async fn held_subjects_and_the_other_kind_of_records_are_left_out(bed: Bed) -> anyhow::Result<()> {
    let ids = bed.many(3, |_| None).await?;
    let shards: Vec<i64> = (0..16).collect();
    let held = [ids[0].to_text(), ids[2].to_text()];
    let found = bed.store.unpublished(true, &shards, &held, 10).await?;
    let subjects: Vec<_> = found.iter().map(|it| it.subject.as_str()).collect();
    assert!(subjects.contains(&ids[1].to_text().as_str()), "{subjects:?}");
    assert!(!subjects.iter().any(|it| held.contains(&(*it).to_owned())), "{subjects:?}");
    assert!(bed.store.unpublished(false, &shards, &[], 10).await?.is_empty());
    assert!(bed.store.outbox_waits().await?);
    let all: Vec<_> =
        bed.store.unpublished(true, &shards, &[], 10).await?.iter().map(|it| it.position).collect();
    bed.store.mark_published(&all, now()).await?;
    assert!(!bed.store.outbox_waits().await?);
    Ok(())
}
