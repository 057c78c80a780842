//! Starting: migrations, tables, the first workspace, keys.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use usher_lifecycle::reminder::Rules;
use usher_store::{Store, StoreError};

use crate::{
    bed::{Bed, empty, first, now, texts},
    contracts,
};

contracts!(
    migrations_of_several_processes_at_once,
    eight_bootstraps_make_one_workspace_and_key,
    a_given_first_secret_opens,
    keys_are_found_and_revoked_at_once,
    it_answers_a_ping,
);

async fn migrations_of_several_processes_at_once(bed: Bed) -> anyhow::Result<()> {
    let (url, _folder) = empty(bed.is_postgres()).await?;
    let stores = futures(6, |_| async { Ok(Store::connect(&url, 2).await?) }).await?;
    let early = stores[0].check_tables().await;
    assert!(matches!(early, Err(StoreError::Tables(_))), "{early:?}");
    let mut running = tokio::task::JoinSet::new();
    for store in stores {
        running.spawn(async move {
            store.migrate().await?;
            store.migrate().await?;
            store.check_tables().await
        });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(())
}

async fn futures<T, F: Future<Output = anyhow::Result<T>>>(
    count: usize,
    make: impl Fn(usize) -> F,
) -> anyhow::Result<Vec<T>> {
    let mut all = Vec::new();
    for i in 0..count {
        all.push(make(i).await?);
    }
    Ok(all)
}

async fn eight_bootstraps_make_one_workspace_and_key(bed: Bed) -> anyhow::Result<()> {
    let (url, _folder) = empty(bed.is_postgres()).await?;
    Store::connect(&url, 1).await?.migrate().await?;
    let stores = [Store::connect(&url, 4).await?, Store::connect(&url, 4).await?];
    let mut running = tokio::task::JoinSet::new();
    for i in 0..8 {
        let store = stores[i % 2].clone();
        running.spawn(async move { store.bootstrap(&first(), now()).await });
    }
    let mut made = Vec::new();
    while let Some(done) = running.join_next().await {
        made.extend(done??);
    }
    assert_eq!(made.len(), 1);
    let workspaces = stores[0].workspaces().await?;
    assert_eq!(workspaces, [made[0].workspace.clone()]);
    assert_eq!(stores[1].keys(workspaces[0].id).await?, [made[0].key.key.clone()]);
    assert_eq!(stores[1].workspace_by_slug("acme").await?.as_ref(), workspaces.first());
    assert_eq!(stores[1].workspace(workspaces[0].id).await?.as_ref(), workspaces.first());
    Ok(())
}

async fn a_given_first_secret_opens(bed: Bed) -> anyhow::Result<()> {
    let (url, _folder) = empty(bed.is_postgres()).await?;
    let store = Store::connect(&url, 2).await?;
    store.migrate().await?;
    let mut given = first();
    given.secret = Some("pivotal_short".into());
    assert!(matches!(store.bootstrap(&given, now()).await, Err(StoreError::Tables(_))));
    let secret = format!("pivotal_{}", "x".repeat(40));
    given.secret = Some(secret.clone());
    assert!(store.bootstrap(&given, now()).await?.is_some());
    assert!(store.key_by_secret(&secret).await?.is_some());
    Ok(())
}

async fn keys_are_found_and_revoked_at_once(bed: Bed) -> anyhow::Result<()> {
    let other = bed.another().await?;
    let made = bed.store.create_key(bed.workspace, "ci", false, now()).await?;
    assert!(made.secret.starts_with("pivotal_test_") && !made.key.livemode);
    assert_eq!(other.key_by_secret(&made.secret).await?.as_ref(), Some(&made.key));
    assert_eq!(other.key_by_secret("pivotal_nobody").await?, None);
    assert_eq!(bed.store.revoke_key(bed.workspace, "nobody", now()).await?, None);

    // What is told is what is kept: microseconds.
    let nanos = now() + TimeDelta::nanoseconds(999);
    let revoked = bed.store.revoke_key(bed.workspace, &made.key.prefix, nanos).await?.unwrap();
    assert_eq!(other.key_by_secret(&made.secret).await?.as_ref(), Some(&revoked));
    assert_eq!(revoked.revoked_at, Some(now()));
    let again = other.revoke_key(bed.workspace, &made.key.id.to_text(), now() + TimeDelta::days(1)).await?;
    assert_eq!(again.unwrap().revoked_at, Some(now()));
    assert_eq!(other.keys(bed.workspace).await?.len(), 2);
    assert!(bed.store.create_workspace("acme", "Twice", &Rules::default(), now()).await?.is_none());
    let second = bed.store.create_workspace("second", "Second", &Rules::default(), nanos).await?.unwrap();
    assert_eq!(other.workspace(second.id).await?, Some(second));
    Ok(())
}

async fn it_answers_a_ping(bed: Bed) -> anyhow::Result<()> {
    bed.store.ping().await?;
    bed.store.check_tables().await?;
    bed.store.close().await;
    assert!(bed.store.ping().await.is_err_and(|error| error.is_away()));
    Ok(())
}

#[tokio::test]
async fn both_engines_have_the_same_tables_and_columns() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let (sqlite, postgres) = (Bed::sqlite().await?, Bed::postgres().await?);
    let lite =
        "SELECT t.name || '.' || c.name || CASE WHEN c.\"notnull\" OR c.pk > 0 THEN ' not null' ELSE '' END
                FROM sqlite_master t JOIN pragma_table_info(t.name) c
                WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name NOT LIKE '_sqlx%'";
    let pg = "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END
              FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%'";
    let lite: BTreeSet<String> = texts(&sqlite.url, lite).await?.into_iter().collect();
    let pg: BTreeSet<String> = texts(&postgres.url, pg).await?.into_iter().collect();
    assert!(lite.len() > 150, "{}", lite.len());
    assert_eq!(lite.symmetric_difference(&pg).collect::<Vec<_>>(), Vec::<&String>::new());

    let lite = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL";
    let pg = "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public'
              AND indexname NOT LIKE '%\\_pkey' AND indexname NOT LIKE '%\\_key'";
    let lite: BTreeSet<String> = texts(&sqlite.url, lite).await?.into_iter().collect();
    let pg: BTreeSet<String> = texts(&postgres.url, pg).await?.into_iter().collect();
    assert_eq!(lite, pg);
    Ok(())
}
