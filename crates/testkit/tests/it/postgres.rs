//! Private servers and databases of one's own.

use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;
use sqlx::{Connection as _, PgConnection};
use usher_testkit::postgres::{Postgres, database_from_template, fresh_database};
use usher_testkit::skip_without_servers;

use crate::assert_nothing_left;

async fn run(url: &str, statement: &'static str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(statement).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

async fn count(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM things").fetch_one(&mut connection).await.unwrap()
}

/// Different in every run, also on a server that outlives it.
fn key(name: &str) -> String {
    format!("{name} {} {:?}", std::process::id(), std::time::UNIX_EPOCH.elapsed())
}

#[tokio::test]
async fn a_database_from_a_template_is_a_copy_of_its_own() {
    skip_without_servers!();
    let (key, fills) = (key("copy"), AtomicU32::new(0));
    let one = || {
        database_from_template(&key, |url| {
            fills.fetch_add(1, Ordering::SeqCst);
            async move { run(&url, "CREATE TABLE things (id int); INSERT INTO things VALUES (1), (2)").await }
        })
    };
    let databases: Vec<_> = join_all((0..4).map(|_| one())).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(fills.load(Ordering::SeqCst), 1, "the template is filled once");
    run(&databases[0].url, "INSERT INTO things VALUES (3)").await.unwrap();
    run(&databases[1].url, "DELETE FROM things").await.unwrap();
    for (database, rows) in databases.iter().zip([3, 0, 2, 2]) {
        assert_eq!(count(&database.url).await, rows);
    }
}

#[tokio::test]
async fn a_template_whose_filling_failed_is_filled_again() {
    skip_without_servers!();
    let key = key("failed");
    let failed = database_from_template(&key, |url| async move {
        run(&url, "CREATE TABLE things (id int)").await?;
        anyhow::bail!("half done")
    });
    assert!(failed.await.is_err());
    let filling =
        database_from_template(&key, |url| async move { run(&url, "CREATE TABLE things (id int)").await });
    assert_eq!(count(&filling.await.unwrap().url).await, 0);
}

#[tokio::test]
async fn fresh_databases_do_not_see_each_other() {
    skip_without_servers!();
    let (one, other) = (fresh_database().await.unwrap(), fresh_database().await.unwrap());
    run(&one.url, "CREATE TABLE things (id int)").await.unwrap();
    run(&other.url, "CREATE TABLE things (id int)").await.unwrap();
    assert_ne!(one.name, other.name);
}

#[tokio::test]
async fn a_killed_server_comes_back_with_what_was_committed_and_leaves_nothing_behind() {
    skip_without_servers!();
    let server = Postgres::start().await.unwrap();
    let url = server.url("postgres");
    run(&url, "CREATE TABLE things (id int); INSERT INTO things VALUES (1)").await.unwrap();
    let mut open = PgConnection::connect(&url).await.unwrap();

    let first = server.pid().unwrap();
    server.kill().await.unwrap();
    assert_eq!(server.pid(), None);
    assert!(PgConnection::connect(&url).await.is_err(), "nobody answers any more");
    assert!(open.ping().await.is_err(), "open connections are dead");
    server.restart().await.unwrap();
    assert_ne!(server.pid(), Some(first));
    assert_eq!(count(&url).await, 1);

    server.stop().await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(count(&url).await, 1);

    let (pid, directory) = (server.pid().unwrap(), server.directory().to_path_buf());
    drop(server);
    assert_nothing_left(pid, &directory);
}
