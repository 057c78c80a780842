//! `usher simulate`: what would be sent, to whom and when, if nothing changed from here on.
//!
//! Law: nothing is written and nothing is sent. What comes is what `lifecycle` foresees, by the functions that plan and
//! send; here it is only summed up and shown.

mod forecast;
mod load;
mod picture;
mod population;
mod report;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::reminder::Configured;

use self::{forecast::World, load::policy};
use crate::{cli::Simulate, config::Config, messages, output, store};

/// A mix of onboardings that never were: no store, no configuration.
pub(crate) fn made_up(flags: &Simulate, json: bool) -> anyhow::Result<()> {
    let policy = flags.policy.as_deref().map(policy).transpose()?.unwrap_or_default();
    let from = flags.after.unwrap_or_else(store::now);
    let world = population::synthetic(policy.rules(), flags.onboardings, flags.seed, from);
    shown(&world, population::BOTH, flags, from, json)
}

/// The records of the store as they stand.
pub(crate) async fn of_store(config: &Config, flags: &Simulate, json: bool) -> anyhow::Result<()> {
    let policy = flags.policy.as_deref().map(policy).transpose()?;
    let from = flags.after.unwrap_or_else(store::now);
    let world = load::from_store(config, flags, policy.as_ref()).await?;
    shown(&world, messages::configured(config), flags, from, json)
}

fn shown(
    world: &World,
    configured: Configured,
    flags: &Simulate,
    from: DateTime<Utc>,
    json: bool,
) -> anyhow::Result<()> {
    let mut bar = Bar::new(world.onboardings.len());
    let until = from + TimeDelta::days(flags.days.into());
    let forecast = forecast::of(world, configured, from, until, |done| bar.show(done));
    bar.clear();
    if let Some(path) = &flags.svg {
        std::fs::write(path, picture::svg(&forecast)).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &flags.html {
        std::fs::write(path, picture::html(&forecast)).with_context(|| path.display().to_string())?;
    }
    if json {
        return output::object(true, &report::json(&forecast));
    }
    report::lines(&forecast).iter().try_for_each(|line| output::line(line))
}

/// How far it is, on a terminal.
struct Bar {
    all: usize,
    shown: usize,
    visible: bool,
}

impl Bar {
    const WIDTH: usize = 40;

    fn new(all: usize) -> Self {
        Self { all, shown: usize::MAX, visible: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, done: usize) {
        let filled = done * Self::WIDTH / self.all.max(1);
        if self.visible && filled != self.shown {
            self.shown = filled;
            let bar = format!("{}{}", "#".repeat(filled), ".".repeat(Self::WIDTH - filled));
            // A bar that cannot be shown is no reason to stop.
            drop(write!(std::io::stderr(), "\r[{bar}] {done} of {} onboardings", self.all));
        }
    }

    fn clear(&self) {
        if self.visible {
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }
}
