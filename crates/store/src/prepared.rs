//! Every statement is accepted by both engines, on migrated tables.

use anyhow::Context as _;
use sqlx::{Executor, SqlSafeStr};

use crate::{
    Store, apply, bootstrap, counters,
    db::{Bulk, Db, Stmt},
    deliveries, imports, inbox, keys, metrics, outbox, reads, schedules, store, suspects, workspaces,
};

pub(crate) const STATEMENTS: &[&[&Stmt]] = &[
    apply::LOAD,
    apply::REHEARSAL,
    apply::RELEASE,
    apply::SEEN,
    apply::SEQUENCES,
    bootstrap::STATEMENTS,
    counters::STATEMENTS,
    deliveries::CLAIM,
    deliveries::FINISH,
    deliveries::UNDELIVERED,
    imports::STATEMENTS,
    inbox::STATEMENTS,
    keys::STATEMENTS,
    keys::USES,
    metrics::STATEMENTS,
    outbox::STATEMENTS,
    reads::LOGS,
    reads::ONBOARDINGS,
    reads::PEOPLE,
    reads::TEMPLATES,
    schedules::PLAN,
    schedules::REDATE,
    schedules::STATEMENTS,
    schedules::SUPERSEDE,
    store::STATEMENTS,
    suspects::STATEMENTS,
    workspaces::STATEMENTS,
];

pub(crate) const BULKS: &[&[&Bulk]] = &[
    apply::ROWS,
    apply::SEEN_BULKS,
    apply::SEQUENCE_BULKS,
    deliveries::BULKS,
    deliveries::CLAIM_BULKS,
    deliveries::FINISH_BULKS,
    deliveries::UNDELIVERED_BULKS,
    outbox::BULKS,
    schedules::PLAN_BULKS,
    schedules::REDATE_BULKS,
];

/// Name and text of everything on the lists.
fn all(postgres: bool) -> Vec<(&'static str, &'static str)> {
    let statements = STATEMENTS.iter().copied().flatten().map(|it| (it.name, it.for_engine(postgres)));
    let bulks = BULKS.iter().copied().flatten().map(|it| (it.name, it.for_engine(postgres)));
    statements.chain(bulks).collect()
}

/// The statements that the engine refuses, with what it says.
async fn refused(store: &Store) -> Vec<String> {
    let mut refused = Vec::new();
    for (name, text) in all(store.is_shared()) {
        let prepared = match store.db() {
            Db::Postgres(pool) => pool.prepare(text.into_sql_str()).await.err(),
            Db::Sqlite { writer, .. } => writer.prepare(text.into_sql_str()).await.err(),
        };
        refused.extend(prepared.map(|error| format!("{name}: {error}\n{text}")));
    }
    refused
}

#[tokio::test]
async fn sqlite_accepts_every_statement() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = Store::connect(&format!("sqlite://{}/usher.db", folder.path().display()), 1).await?;
    store.migrate().await?;
    assert_eq!(refused(&store).await, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn postgres_accepts_every_statement() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let database = usher_testkit::postgres::fresh_database().await?;
    let store = Store::connect(&database.url, 1).await?;
    store.migrate().await?;
    assert_eq!(refused(&store).await, Vec::<String>::new());
    Ok(())
}

/// Counts the lines that use the macros; a module that is missing from the lists above makes a difference.
#[test]
fn every_module_with_statements_is_listed() -> anyhow::Result<()> {
    let (mut statements, mut bulks) = (0, 0);
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(path)?;
                statements += text.lines().filter(|line| *line == "statements! {").count();
                bulks += text.lines().filter(|line| *line == "bulks! {").count();
            }
        }
    }
    assert_eq!((statements, bulks), (STATEMENTS.len(), BULKS.len()));
    let mut names: Vec<_> = all(true).into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all(true).len(), "a list is named twice");
    Ok(())
}

/// Tables that grow with the use of the service, and their aliases in statements.
const LARGE: [&str; 19] = [
    "contacts",
    "t",
    "templates",
    "onboardings",
    "o",
    "schedules",
    "s",
    "events",
    "e",
    "deliveries",
    "inbox",
    "customers",
    "c",
    "users",
    "idempotency_keys",
    "reminder_requests",
    "r",
    "rejected",
    "source_sequences",
];

/// What waits of an onboarding is found among what waits, not among all that it ever got.
#[tokio::test]
async fn planning_does_not_read_the_history_of_the_ledger() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = Store::connect(&format!("sqlite://{}/usher.db", folder.path().display()), 1).await?;
    store.migrate().await?;
    let Db::Sqlite { writer, .. } = store.db() else { anyhow::bail!("this is SQLite") };
    let (_, text) = all(false)
        .into_iter()
        .find(|(name, _)| name.ends_with("schedules::supersede::WAITING"))
        .context("the statement has that name")?;
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
    let rows = sqlx::query(explain).fetch_all(writer).await?;
    let steps: Vec<String> =
        rows.iter().map(|row| sqlx::Row::try_get(row, "detail")).collect::<Result<_, _>>()?;
    assert!(steps.iter().any(|step| step.contains("USING INDEX deliveries_waiting_of ")), "{steps:?}");
    Ok(())
}

/// SQLite tells the plan of a statement without its arguments. The indexes are the same on both engines.
#[tokio::test]
async fn no_statement_reads_a_large_table_from_end_to_end() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = Store::connect(&format!("sqlite://{}/usher.db", folder.path().display()), 1).await?;
    store.migrate().await?;
    let Db::Sqlite { writer, .. } = store.db() else { anyhow::bail!("this is SQLite") };
    let mut scans = Vec::new();
    for (name, text) in all(false) {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
        for row in sqlx::query(explain).fetch_all(writer).await? {
            let step: String = sqlx::Row::try_get(&row, "detail")?;
            let scanned = step.strip_prefix("SCAN ").filter(|rest| !rest.contains(" USING "));
            if scanned.and_then(|rest| rest.split(' ').next()).is_some_and(|table| LARGE.contains(&table)) {
                scans.push(format!("{name}: {step}"));
            }
        }
    }
    assert_eq!(scans, Vec::<String>::new());
    Ok(())
}
