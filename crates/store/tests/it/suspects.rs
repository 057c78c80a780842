//! Commands that were begun and never ended are counted, whichever process begins them.

use chrono::TimeDelta;

use crate::{
    bed::{Bed, now},
    contracts,
};

contracts!(what_is_begun_and_not_ended_is_counted_until_it_ends, a_suspect_is_forgotten_with_the_inbox);

const STREAM: &str = "nats:USHER_COMMANDS:2026-11-23T09:00:00.123456789Z";

async fn what_is_begun_and_not_ended_is_counted_until_it_ends(bed: Bed) -> anyhow::Result<()> {
    let other = bed.another().await?;
    for begun in 1..=3 {
        let store = if begun == 2 { &other } else { &bed.store };
        assert_eq!(store.begin_suspect(STREAM, 17, now()).await?, begun);
    }
    // Another number, and the same number of a stream that was made anew.
    assert_eq!(bed.store.begin_suspect(STREAM, 18, now()).await?, 1);
    assert_eq!(bed.store.begin_suspect("nats:USHER_COMMANDS:2026-11-24T09:00:00Z", 17, now()).await?, 1);
    other.end_suspect(STREAM, 17).await?;
    assert_eq!(bed.store.begin_suspect(STREAM, 17, now()).await?, 1);
    assert_eq!(bed.store.begin_suspect(STREAM, 18, now()).await?, 2);
    // What was never begun ends, too.
    bed.store.end_suspect(STREAM, 99).await?;
    Ok(())
}

async fn a_suspect_is_forgotten_with_the_inbox(bed: Bed) -> anyhow::Result<()> {
    bed.store.begin_suspect(STREAM, 17, now()).await?;
    assert_eq!(bed.store.forget_repeats(now(), now()).await?, 0);
    let later = now() + TimeDelta::days(1);
    assert_eq!(bed.store.forget_repeats(later, later).await?, 1);
    assert_eq!(bed.store.begin_suspect(STREAM, 17, later).await?, 1);
    Ok(())
}
