//! A migrated store with one workspace, and short ways to fill it and to look past it with raw SQL.

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use usher_lifecycle::{
    Command, OnboardingId, UserId, WorkspaceId,
    command::{CreateCustomer, CreateOnboarding, CreateUser, OnboardingPatch},
    customer::{CustomerFields, CustomerStatus},
    event::Actor,
    onboarding::Role,
    person::Reach,
    reminder::Rules,
};
use usher_store::{Applied, ApplyError, Bootstrap, Dedupe, Ref, Request, Store};

/// A Monday, an hour before the default time of day.
pub(crate) fn now() -> DateTime<Utc> {
    "2026-08-03T08:00:00Z".parse().unwrap()
}

/// After the first slot of everything that was created at [`now`].
pub(crate) fn tomorrow() -> DateTime<Utc> {
    now() + TimeDelta::hours(26)
}

pub(crate) struct Bed {
    pub(crate) store: Store,
    pub(crate) workspace: WorkspaceId,
    pub(crate) url: String,
    _folder: Option<tempfile::TempDir>,
}

pub(crate) fn first() -> Bootstrap {
    Bootstrap { slug: "acme".into(), name: "Acme".into(), rules: Rules::default(), secret: None }
}

/// The url of a database without tables.
pub(crate) async fn empty(postgres: bool) -> anyhow::Result<(String, Option<tempfile::TempDir>)> {
    if postgres {
        return Ok((usher_testkit::postgres::fresh_database().await?.url, None));
    }
    let folder = tempfile::tempdir()?;
    Ok((format!("sqlite://{}/usher.db", folder.path().display()), Some(folder)))
}

impl Bed {
    pub(crate) async fn sqlite() -> anyhow::Result<Self> {
        let (url, folder) = empty(false).await?;
        Store::connect(&url, 1).await?.migrate().await?;
        Self::on(url, folder).await
    }

    pub(crate) async fn postgres() -> anyhow::Result<Self> {
        let init = |url: String| async move {
            let store = Store::connect(&url, 2).await?;
            store.migrate().await?;
            store.close().await;
            Ok(())
        };
        // A template made of other migrations is another one.
        let key = concat!(
            "store ",
            include_str!("../../../../migrations/postgres/0001_tables.sql"),
            include_str!("../../../../migrations/postgres/0002_records.sql"),
        );
        let database = usher_testkit::postgres::database_from_template(key, init).await?;
        Self::on(database.url, None).await
    }

    async fn on(url: String, folder: Option<tempfile::TempDir>) -> anyhow::Result<Self> {
        let store = Store::connect(&url, 8).await?;
        let made = store.bootstrap(&first(), now()).await?.context("bootstrapped")?;
        Ok(Self { store, workspace: made.workspace.id, url, _folder: folder })
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.store.is_shared()
    }

    /// Another store over the same database, as another process would have it.
    pub(crate) async fn another(&self) -> anyhow::Result<Store> {
        Ok(Store::connect(&self.url, 8).await?)
    }

    /// Past the store: rows that were touched.
    pub(crate) async fn execute(&self, sql: &str) -> anyhow::Result<u64> {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            let mut connection = PgConnection::connect(&self.url).await?;
            Ok(sqlx::raw_sql(sql).execute(&mut connection).await?.rows_affected())
        } else {
            let mut connection = SqliteConnection::connect(&self.url).await?;
            Ok(sqlx::raw_sql(sql).execute(&mut connection).await?.rows_affected())
        }
    }

    /// From now on the table refuses rows for which the condition holds.
    pub(crate) async fn refuse(&self, table: &str, condition: &str) -> anyhow::Result<()> {
        let name = format!("refuse_{table}");
        let sql = if self.is_postgres() {
            format!(
                "CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN IF {condition} THEN RAISE EXCEPTION 'refused'; END IF; RETURN NEW; END $$;
                 CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {name}();"
            )
        } else {
            format!(
                "CREATE TRIGGER {name} BEFORE INSERT ON {table} WHEN {condition}
                 BEGIN SELECT RAISE(ABORT, 'refused'); END;"
            )
        };
        self.execute(&sql).await.map(drop)
    }

    /// Takes back what [`Bed::refuse`] did.
    pub(crate) async fn allow(&self, table: &str) -> anyhow::Result<()> {
        let on = if self.is_postgres() { format!(" ON {table}") } else { String::new() };
        self.execute(&format!("DROP TRIGGER refuse_{table}{on}")).await.map(drop)
    }

    /// Past the store: the one number that the query gives.
    pub(crate) async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            let mut connection = PgConnection::connect(&self.url).await?;
            Ok(sqlx::query_scalar(sql).fetch_one(&mut connection).await?)
        } else {
            let mut connection = SqliteConnection::connect(&self.url).await?;
            Ok(sqlx::query_scalar(sql).fetch_one(&mut connection).await?)
        }
    }

    /// Deadlocks that Postgres has found in this database, also those after which somebody tried again.
    pub(crate) async fn deadlocks(&self) -> anyhow::Result<i64> {
        if !self.is_postgres() {
            return Ok(0);
        }
        // A session reports what it has seen when it ends, at the latest.
        let others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        self.number(&format!("SELECT COUNT(pg_terminate_backend(pid)) {others}")).await?;
        let ended = async {
            while self.number(&format!("SELECT COUNT(*) {others}")).await? > 0 {
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), ended).await.context("sessions end")??;
        self.number("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").await
    }

    /// Past the store: the texts of the first column.
    pub(crate) async fn texts(&self, sql: &str) -> anyhow::Result<Vec<String>> {
        texts(&self.url, sql).await
    }

    pub(crate) fn request(&self, command: Command, target: Option<&str>) -> Request {
        Request {
            workspace_id: self.workspace,
            livemode: true,
            command,
            target: target.map(Ref::parse),
            actor: Actor::system(),
            dedupe: Dedupe::None,
            expected_version: None,
            traceparent: None,
        }
    }

    pub(crate) async fn apply(&self, command: Command, target: Option<&str>) -> Result<Applied, ApplyError> {
        self.store.apply(self.request(command, target), now()).await
    }

    pub(crate) async fn customer(&self, name: &str) -> anyhow::Result<String> {
        Ok(self.apply(customer(name), None).await?.id)
    }

    pub(crate) async fn user(&self, email: &str) -> anyhow::Result<UserId> {
        Ok(self.apply(user(email), None).await?.id.parse()?)
    }

    pub(crate) async fn onboarding(&self, customer: &str) -> anyhow::Result<OnboardingId> {
        Ok(self.apply(onboarding(customer), None).await?.id.parse()?)
    }

    /// `count` onboardings of one customer, created together; `csm` says who is the CSM of which.
    pub(crate) async fn many(
        &self,
        count: usize,
        csm: impl Fn(usize) -> Option<UserId>,
    ) -> anyhow::Result<Vec<OnboardingId>> {
        let customer = self.customer("Many").await?;
        let one = |i| {
            let roles = csm(i).map(|user| (Role::Csm, user.to_string())).into_iter().collect();
            let create = CreateOnboarding { customer: customer.clone(), roles, ..Default::default() };
            self.request(Command::CreateOnboarding(create), None)
        };
        let applied = self.store.apply_all((0..count).map(one).collect(), now()).await;
        applied.into_iter().map(|it| Ok(it?.id.parse()?)).collect()
    }
}

pub(crate) async fn texts(url: &str, sql: &str) -> anyhow::Result<Vec<String>> {
    let query = AssertSqlSafe(sql.to_owned());
    if url.starts_with("postgres") {
        let mut connection = PgConnection::connect(url).await?;
        Ok(sqlx::query_scalar(query).fetch_all(&mut connection).await?)
    } else {
        let mut connection = SqliteConnection::connect(url).await?;
        Ok(sqlx::query_scalar(query).fetch_all(&mut connection).await?)
    }
}

pub(crate) fn fields(name: &str) -> CustomerFields {
    CustomerFields {
        name: name.into(),
        slug: None,
        domain: None,
        status: CustomerStatus::Onboarding,
        plan: None,
        mrr: None,
        monthly_orders: None,
        hubspot_company_id: None,
        hubspot_deal_id: None,
        stripe_customer_id: None,
        intercom_company_id: None,
        slack_channel_id: None,
        external_id: None,
        metadata: serde_json::Map::new(),
    }
}

pub(crate) fn customer(name: &str) -> Command {
    Command::CreateCustomer(CreateCustomer { fields: fields(name) })
}

pub(crate) fn user(email: &str) -> Command {
    Command::CreateUser(CreateUser {
        active: true,
        name: email.into(),
        email: email.into(),
        slack_user_id: None,
        reach: Reach::default(),
        external_id: None,
    })
}

pub(crate) fn onboarding(customer: &str) -> Command {
    Command::CreateOnboarding(CreateOnboarding { customer: customer.into(), ..Default::default() })
}

pub(crate) fn notes(text: &str) -> Command {
    Command::ChangeOnboarding(OnboardingPatch { notes: Some(Some(text.into())), ..Default::default() })
}

/// The code of a refusal.
pub(crate) fn code(result: Result<Applied, ApplyError>) -> anyhow::Result<&'static str> {
    match result {
        Err(ApplyError::Refused(refusal)) => Ok(refusal.code.as_str()),
        Err(ApplyError::Store(error)) => Err(anyhow::anyhow!("failed: {error:?}")),
        Ok(applied) => Err(anyhow::anyhow!("was applied: {applied:?}")),
    }
}
