//! A year in seconds: thousands of onboardings, people who come and go, two schedulers, and everything that can go wrong,
//! by a virtual clock and from a seed. The real plan, dispatch and store; channels that only take note. What must hold
//! (see the guarantees at the top of the crate) is checked against a model that shares no code with what it checks.
//!
//! `USHER_TEST_SIM_SEED=7` plays another year, `USHER_TEST_SIM_ONBOARDINGS=10000` another number, `USHER_TEST_SIM_DAYS=365` another
//! span. A year that fails prints its seed: the same three values play it again.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod attempts;
mod chance;
mod changes;
mod check;
mod digests;
mod escalations;
mod expected;
mod host;
mod people;
mod policies;
mod rules;
mod run;
mod sender;
mod story;
mod world;

use std::sync::Mutex;
use std::time::Instant;

use chrono::{DateTime, Utc};

use self::run::{Size, Stage};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// One year at a time: ids come from one seed for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn play(seed: u64, size: Size, url: Option<String>) -> u64 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let started = Instant::now();
    let stage = Stage::new(seed, size, url);
    stage.play();
    let played = started.elapsed();
    stage.check();
    let world = stage.world();
    let counts: Vec<String> = world.counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
    let again = format!(
        "USHER_TEST_SIM_SEED={seed} USHER_TEST_SIM_ONBOARDINGS={} USHER_TEST_SIM_DAYS={}",
        size.onboardings, size.days
    );
    println!("{again}: played in {played:.1?}, checked by {:.1?}: {}", started.elapsed(), counts.join(", "));
    assert!(
        world.faults.is_empty(),
        "{again} finds:\n{}\n{}",
        world.faults.join("\n"),
        world.stories.concat()
    );
    let sent = world.counts.get("ledger: sent").copied().unwrap_or_default();
    assert!(sent > u64::try_from(size.onboardings).unwrap(), "too little was sent to prove anything: {sent}");
    chance::hash(0, &counts.iter().map(String::as_str).collect::<Vec<_>>())
}

#[expect(
    clippy::disallowed_methods,
    reason = "which year is played is the caller's choice, not configuration"
)]
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn a_year_of_ten_thousand() {
    play(2, Size { onboardings: 10_000, days: 365 }, None);
}

/// Fewer, each of whom more happens to.
#[test]
fn a_year_of_onboardings() {
    let size = Size {
        onboardings: usize::try_from(setting("USHER_TEST_SIM_ONBOARDINGS", 300)).unwrap(),
        days: i64::try_from(setting("USHER_TEST_SIM_DAYS", 365)).unwrap(),
    };
    play(setting("USHER_TEST_SIM_SEED", 1), size, None);
}

#[test]
fn the_same_seed_is_the_same_year() {
    let size = Size { onboardings: 60, days: 60 };
    assert_eq!(play(5, size, None), play(5, size, None));
}
