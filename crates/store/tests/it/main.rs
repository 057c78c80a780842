//! The contract of the store: every contract holds on both engines.
//!
//! A contract is an async function over a [`bed::Bed`]; [`contracts!`] makes a test of it for SQLite and one for Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod apply;
mod bed;
mod claims;
mod composites;
mod contacts;
mod crash;
mod housekeeping;
mod lists;
mod orphans;
mod outbox;
mod plan;
mod races;
mod readings;
mod redate;
mod repeats;
mod setup;
mod stress;
mod suspects;
mod workspaces;

/// One test per contract and engine.
macro_rules! contracts {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() -> anyhow::Result<()> {
                super::$name($crate::bed::Bed::sqlite().await?).await
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() -> anyhow::Result<()> {
                usher_testkit::skip_without_servers!(Ok(()));
                super::$name($crate::bed::Bed::postgres().await?).await
            })*
        }
    };
}
pub(crate) use contracts;
