//! What a pass costs on Postgres (fsync on) with 1,000 due, among 10,000 onboardings and among 1,000,000: it is to depend
//! on what is due, not on what exists. Rounds alternate; medians and their ratio are printed. Then: how many statements a
//! minute an idle scheduler makes. It fails when a pass takes more than 1.2 times as long among many, or an idle minute more
//! than 4 statements.
//!
//! `cargo bench --workspace --bench cost`; `USHER_BENCH_ONBOARDINGS=10000000` puts another number against the
//! 10,000. Only the ratios within one run say something.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use usher_bus::{Bus, Local};
use usher_lifecycle::reminder::{Policy, Rules};
use usher_scheduler::{
    Channels, Scheduler, Settings,
    channel::{Function, Mailer, Outcome},
    message::Templates,
};
use usher_store::Store;
use usher_testkit::{clock::VirtualClock, postgres::Postgres, statements::Statements};

const FEW: u64 = 10_000;
const DUE: u64 = 1_000;
const ROUNDS: u64 = 21;
/// People among whom the reminders are: as many messages as that.
const PEOPLE: u64 = 200;
/// How much longer a pass may take among many.
const MOST: f64 = 1.2;
const IDLE: Duration = Duration::from_mins(1);

fn main() -> anyhow::Result<()> {
    // `cargo test --benches` only wants to see that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(all())
}

#[expect(
    clippy::disallowed_methods,
    reason = "how much is measured is the caller's choice, not configuration"
)]
async fn all() -> anyhow::Result<()> {
    let many = std::env::var("USHER_BENCH_ONBOARDINGS").ok().map_or(Ok(1_000_000), |text| text.parse())?;
    let postgres = Postgres::start().await?;
    // The test kit's server forgets on purpose what a crash would lose; this one must not.
    psql(&postgres.url("postgres"), "ALTER SYSTEM SET fsync = on")?;
    psql(&postgres.url("postgres"), "SELECT pg_reload_conf()")?;
    let mut beds = [Bed::new(&postgres, "few", FEW).await?, Bed::new(&postgres, "many", many).await?];
    let mut times: [Vec<[f64; 2]>; 2] = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (bed, times) in beds.iter_mut().zip(&mut times) {
            let took = bed.round(round).await?;
            // The first one warms up.
            if round > 0 {
                times.push(took);
            }
        }
    }
    println!("{:<34} {:>12} {:>12} {:>8}", format!("a pass with {DUE} due among"), FEW, many, "ratio");
    for (name, of) in [("plan", 0), ("claim, send, record", 1)] {
        let _ = row(name, times.each_ref().map(|times| median(times.iter().map(|it| it[of]))));
    }
    let ratio =
        row("the whole pass", times.each_ref().map(|times| median(times.iter().map(|it| it[0] + it[1]))));
    let [_, many] = &beds;
    let statements = many.idle().await;
    println!("{:<34} {:>25} statements in {} s", "idle", statements, IDLE.as_secs());
    anyhow::ensure!(ratio <= MOST, "a pass takes {ratio:.2} times as long among many; {MOST} is the most");
    anyhow::ensure!(
        statements <= 4,
        "an idle scheduler makes {statements} statements a minute; 4 are the most"
    );
    Ok(())
}

fn row(name: &str, [few, many]: [f64; 2]) -> f64 {
    println!("{name:<34} {few:>9.1} ms {many:>9.1} ms {:>8.2}", many / few);
    many / few
}

fn median(times: impl Iterator<Item = f64>) -> f64 {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A database with so many onboardings, none of them due.
struct Bed {
    url: String,
    count: u64,
    clock: VirtualClock,
    store: Store,
    scheduler: Scheduler,
}

impl Bed {
    async fn new(postgres: &Postgres, name: &str, count: u64) -> anyhow::Result<Self> {
        psql(&postgres.url("postgres"), &format!("CREATE DATABASE {name}"))?;
        let url = postgres.url(name);
        let store = Store::connect(&url, 8).await?;
        store.migrate().await?;
        let start: DateTime<Utc> = "2026-03-02T08:00:00Z".parse()?;
        let week = usher_lifecycle::reminder::policy::weekdays::parse;
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].into_iter().filter_map(week).collect();
        let rules = Rules { policy: Policy { working_days: days, ..Policy::default() }, ..Rules::default() };
        let workspace =
            store.create_workspace(name, name, &rules, start).await?.context("a new workspace")?;
        psql(&url, &fill(&workspace.id.to_text(), count))?;
        for table in ["onboardings", "schedules", "users", "customers"] {
            psql(&url, &format!("VACUUM (ANALYZE) {table}"))?;
        }
        psql(&url, "CHECKPOINT")?;
        let clock = VirtualClock::new(start);
        let accept = Function::new(|_| std::future::ready(Outcome::Accepted { reference: None }).boxed());
        let channels =
            Channels { mailer: Some(Mailer::function(accept, "usher@bench.example")?), slack: None };
        let settings = Settings { message_domain: "bench.example".into(), onboarding_url: None };
        let bus = Bus::Local(Local::new());
        let templates = Templates::embedded()?;
        let scheduler = Scheduler::new(store.clone(), bus, clock.as_fn(), channels, templates, settings);
        Ok(Self { url, count, clock, store, scheduler })
    }

    /// Makes other onboardings due, all over the tables, and measures one pass: planning, then the rest, in ms.
    async fn round(&mut self, round: u64) -> anyhow::Result<[f64; 2]> {
        let now = self.clock.now() + TimeDelta::days(1);
        let step = self.count / DUE;
        let due = format!(
            "UPDATE schedules SET slot = '{}', due_at = '{}T09:00:00Z' WHERE onboarding_id IN
             (SELECT 'onb_0' || lpad((n * {step} + {})::text, 25, '0') FROM generate_series(0, {}) n)",
            now.date_naive(),
            now.date_naive(),
            round % step,
            DUE - 1
        );
        psql(&self.url, &due)?;
        let now = now.date_naive().and_hms_opt(9, 0, 1).context("a time")?.and_utc();
        self.clock.set(now);
        let start = Instant::now();
        let planned = self.scheduler.plan(now).await?.planned;
        let plan = start.elapsed().as_secs_f64() * 1e3;
        let report = self.scheduler.dispatch(now).await?;
        let whole = start.elapsed().as_secs_f64() * 1e3;
        anyhow::ensure!(
            planned == usize::try_from(DUE)? && report.recorded == DUE,
            "{planned} planned, {report:?}"
        );
        Ok([plan, whole - plan])
    }

    /// Statements that a scheduler with nothing to do makes in a minute.
    async fn idle(&self) -> usize {
        let statements = Statements::default();
        let shutdown = CancellationToken::new();
        let running = async {
            tokio::join!(self.scheduler.run(shutdown.clone()), async {
                tokio::time::sleep(IDLE).await;
                shutdown.cancel();
            })
        };
        // The future runs on this thread, and so do the events of its statements.
        let _counted = tracing::subscriber::set_default(statements.clone());
        running.await;
        self.store.close().await;
        statements.count()
    }
}

/// So many onboardings that are next reminded in years, and the people who look after them.
fn fill(workspace: &str, count: u64) -> String {
    format!(
        "INSERT INTO users (id, workspace_id, livemode, display_id, name, email, reach, active, created_at, updated_at, version)
           SELECT 'user_0' || lpad(n::text, 25, '0'), '{workspace}', true, n, 'P ' || n, 'p' || n || '@bench.example', '{{}}',
             true, '2026-01-01', '2026-01-01', 1 FROM generate_series(0, {PEOPLE} - 1) n;
         INSERT INTO customers (id, workspace_id, livemode, display_id, name, status, metadata, created_at, updated_at, version)
           SELECT 'cust_0' || lpad(n::text, 25, '0'), '{workspace}', true, n, 'C ' || n, 'onboarding', '{{}}', '2026-01-01',
             '2026-01-01', 1 FROM generate_series(0, 999) n;
         INSERT INTO onboardings (id, workspace_id, livemode, display_id, customer_id, phase, state, started_at, csm_id,
             reminder_email, reminder_slack, reminder_frequency_days, created_at, updated_at, version, cadence_base,
             phase_entered_at, idle_seconds, target_shifts)
           SELECT 'onb_0' || lpad(n::text, 25, '0'), '{workspace}', true, n, 'cust_0' || lpad((n % 1000)::text, 25, '0'),
             'review', 'active', '2026-01-01', 'user_0' || lpad((n / ({count} / {DUE}) % {PEOPLE})::text, 25, '0'), true, false, 365,
             '2026-01-01', '2026-01-01', 1, '2026-01-01', '2026-01-01', 0, 0 FROM generate_series(0, {count} - 1) n;
         INSERT INTO schedules (onboarding_id, workspace_id, slot, due_at)
           SELECT id, workspace_id, date '2030-01-01' + (display_id % 300)::int,
             timestamptz '2030-01-01 09:00Z' + make_interval(days => (display_id % 300)::int) FROM onboardings;"
    )
}

fn psql(url: &str, statement: &str) -> anyhow::Result<()> {
    let output = Command::new("psql")
        .args([
            "--quiet",
            "--no-psqlrc",
            "--set",
            "ON_ERROR_STOP=1",
            "--output",
            "/dev/null",
            "--command",
            statement,
            url,
        ])
        .output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
