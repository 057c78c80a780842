//! Chaos: thousands of commands, many of them twice and some of them bad, while processes and servers are killed with
//! SIGKILL at random and come back. Then everything is counted: each good command had exactly one effect, each bad one
//! is rejected once with its reason, every event is on the stream in the order of its subject, no reminder came twice
//! unless the ledger says why, and nothing is stuck.
//!
//! As a test it is short. `scripts/chaos` makes it long, and prints what was done. The same `USHER_TEST_CHAOS_SEED` gives the
//! same commands and the same kills; the moments differ with the machine.

mod check;
mod commands;
mod events;
mod world;

use std::time::{Duration, Instant};

use self::{
    commands::{Kind, Load},
    world::{Engine, World},
};

/// How much of it.
struct Size {
    commands: usize,
    /// How long publishing them takes; kills go on all the while.
    time: Duration,
    seed: u64,
}

impl Size {
    fn from_env(commands: usize, seconds: u64) -> anyhow::Result<Self> {
        let number = |name: &str, default: u64| match std::env::var(name) {
            Ok(text) => text.parse().map_err(|_| anyhow::anyhow!("{name} is {text:?}, not a number")),
            Err(_) => Ok(default),
        };
        Ok(Self {
            commands: usize::try_from(number("USHER_TEST_CHAOS_COMMANDS", commands as u64)?)?,
            time: Duration::from_secs(number("USHER_TEST_CHAOS_SECONDS", seconds)?),
            seed: number("USHER_TEST_CHAOS_SEED", u64::from(std::process::id()))?,
        })
    }
}

/// Reproducible numbers (`SplitMix64`).
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % limit as u64).unwrap_or(0)
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }
}

async fn chaos(engine: Engine, size: Size) -> anyhow::Result<()> {
    let mut world = World::start(engine).await?;
    let fixed = world.prepare().await?;
    // What is due at nine comes due under fire.
    world.at("2026-03-03T08:59:57Z").await?;
    let mut dice = Dice(size.seed);
    let load = Load::new(size.commands, &fixed, &mut dice);
    println!(
        "chaos: seed {}, {} commands, {} of them bad, {} messages",
        size.seed,
        load.commands.len(),
        load.commands.iter().filter(|it| matches!(it.kind, Kind::Bad(_))).count(),
        load.order.len()
    );
    let started = Instant::now();
    let kills = world.kill_while(Box::pin(load.publish(&world.nats.url(), size.time)), &mut dice).await?;
    let published = started.elapsed();
    world.all_up().await?;
    let quiet = world.until_quiet().await?;
    let found = check::everything(&mut world, &load, &fixed).await?;
    for process in world.end().await? {
        anyhow::ensure!(process.1 == 0, "{} ended with {}", process.0, process.1);
    }
    println!(
        "chaos: {kills}\nchaos: published in {published:.1?}, quiet after {:.1?} more ({} acknowledged commands still \
         counted as unacknowledged by nats-server)\nchaos: {found}",
        quiet.after, quiet.miscounted
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_each_role_on_postgres_and_nats_all_killed_at_random() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    Box::pin(chaos(Engine::Split, Size::from_env(1_000, 10)?)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_on_sqlite_and_nats_killed_at_random() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    Box::pin(chaos(Engine::Embedded, Size::from_env(1_000, 10)?)).await
}
