//! Databases for single tests, on a server that many tests share.
//!
//! Law: a template is either complete or not there. It is filled under another name and renamed at the end, under an
//! advisory lock, so that test processes that start together fill it once. Databases are not dropped: the server is.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::OnceCell;

use super::Postgres;
use crate::env;

/// The server that the tests of this process share.
pub struct Shared {
    base_url: String,
    /// Held so that a server of our own lives as long as the process.
    _private: Option<Postgres>,
}

/// A database that nobody else uses.
#[derive(Clone, Debug)]
pub struct Database {
    /// Where to connect, as superuser.
    pub url: String,
    /// Its name, the last part of the URL.
    pub name: String,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

/// The shared server, started by the first caller unless `USHER_TEST_POSTGRES_URL` names one.
pub async fn shared() -> anyhow::Result<&'static Shared> {
    SHARED
        .get_or_try_init(|| async {
            if let Some(base_url) = env::postgres_url() {
                return Ok(Shared { base_url, _private: None });
            }
            let server = Postgres::start().await.context("starting a Postgres for this process")?;
            Ok(Shared { base_url: server.base_url(), _private: Some(server) })
        })
        .await
}

/// A new, empty database on the shared server.
pub async fn fresh_database() -> anyhow::Result<Database> {
    shared().await?.fresh_database().await
}

/// A copy of the template `key` on the shared server; see [`Shared::database_from_template`].
pub async fn database_from_template<F, Fut>(key: &str, init: F) -> anyhow::Result<Database>
where
    F: FnOnce(String) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    shared().await?.database_from_template(key, init).await
}

impl Shared {
    /// The URL of the server, without a database.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        match self.base_url.split_once('?') {
            Some((base, query)) => format!("{}/{database}?{query}", base.trim_end_matches('/')),
            None => format!("{}/{database}", self.base_url.trim_end_matches('/')),
        }
    }

    /// A new, empty database.
    pub async fn fresh_database(&self) -> anyhow::Result<Database> {
        let mut admin = self.admin().await?;
        self.clone_of("template1", &mut admin).await
    }

    /// A copy (some 25 ms) of the template `key`, which `init` fills once per server, given the URL to fill.
    ///
    /// On a server that outlives the run a template stays: let `key` change with what `init` does, e.g. by a hash of
    /// the migrations. `init` closes its connections before it returns.
    pub async fn database_from_template<F, Fut>(&self, key: &str, init: F) -> anyhow::Result<Database>
    where
        F: FnOnce(String) -> Fut,
        Fut: Future<Output = anyhow::Result<()>>,
    {
        let template = template_name(key);
        let mut admin = self.admin().await?;
        if !exists(&template, &mut admin).await? {
            // The lock belongs to the session: it goes with the connection, also when `init` fails or panics.
            sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, 0))")
                .bind(&template)
                .execute(&mut admin)
                .await?;
            if !exists(&template, &mut admin).await? {
                let unfinished = format!("{template}_unfinished");
                run(format!(r#"DROP DATABASE IF EXISTS "{unfinished}" WITH (FORCE)"#), &mut admin).await?;
                run(format!(r#"CREATE DATABASE "{unfinished}""#), &mut admin).await?;
                init(self.url(&unfinished)).await.with_context(|| format!("filling the template {key}"))?;
                run(format!(r#"ALTER DATABASE "{unfinished}" RENAME TO "{template}""#), &mut admin).await?;
            }
            sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut admin).await?;
        }
        self.clone_of(&template, &mut admin).await
    }

    async fn clone_of(&self, template: &str, admin: &mut PgConnection) -> anyhow::Result<Database> {
        let name = unique_name();
        run(format!(r#"CREATE DATABASE "{name}" TEMPLATE "{template}""#), admin).await?;
        Ok(Database { url: self.url(&name), name })
    }

    async fn admin(&self) -> anyhow::Result<PgConnection> {
        PgConnection::connect(&self.url("postgres"))
            .await
            .with_context(|| format!("connecting to the shared Postgres (is {} right?)", env::POSTGRES_URL))
    }
}

async fn exists(database: &str, admin: &mut PgConnection) -> anyhow::Result<bool> {
    let found = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(database);
    Ok(found.fetch_optional(admin).await?.is_some())
}

/// For statements that take no parameters. Every name in them is made here, from `[a-z0-9_]` only.
async fn run(statement: String, admin: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(admin).await.with_context(|| statement)?;
    Ok(())
}

fn unique_name() -> String {
    // A fresh RandomState is the random number of the standard library. The server may be older than this process.
    format!("test_{:016x}", RandomState::new().build_hasher().finish())
}

/// Readable, and different for different keys: a hash of the whole key (FNV-1a) follows its first characters.
fn template_name(key: &str) -> String {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let readable: String = key
        .chars()
        .take(24)
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' })
        .collect();
    format!("template_{readable}_{hash:016x}")
}
