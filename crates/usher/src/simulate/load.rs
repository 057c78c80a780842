//! What a simulation starts from: a policy file, and the records of the store, which are only read.

use std::{collections::BTreeSet, path::Path};

use anyhow::Context as _;
use usher_lifecycle::{OnboardingId, command::WorkspacePatch, reminder::Rules};
use usher_store::{ListFilter, Page};

use super::forecast::World;
use crate::{
    cli::Simulate,
    commands,
    config::{Config, Sources, load},
    store,
};

/// Onboardings that are read at once.
const PAGE: u32 = 100;

/// Keys of the file that the configuration does not have: they are lists and tables, which no variable could carry. They
/// are read as the API reads a change of the workspace.
const RULES: [&str; 3] = ["escalation", "phase_owners", "ambiguous"];

/// A policy to be tried.
#[derive(Debug, Default)]
pub(super) struct Policy {
    /// The section as the configuration has it; what the file does not name has the default.
    section: Rules,
    /// The keys of it that the file names.
    named: BTreeSet<String>,
    /// The other keys, as a change of the workspace.
    change: WorkspacePatch,
}

impl Policy {
    /// The rules of a new workspace with this policy.
    pub(super) fn rules(&self) -> Rules {
        let mut rules = self.section.clone();
        self.change.merge(&mut rules);
        rules
    }

    /// The rules of a workspace that takes it over: what the file does not name stays.
    pub(super) fn over(&self, own: &Rules) -> anyhow::Result<Rules> {
        let (mut rules, given) = (own.clone(), &self.section);
        let (policy, new) = (&mut rules.policy, &given.policy);
        for key in &self.named {
            match key.as_str() {
                "time_zone" => policy.time_zone.clone_from(&new.time_zone),
                "time_of_day" => policy.time_of_day = new.time_of_day,
                "send_until" => policy.send_until = new.send_until,
                "working_days" => policy.working_days.clone_from(&new.working_days),
                "holidays" => policy.holidays.clone_from(&new.holidays),
                "catch_up" => policy.catch_up = new.catch_up,
                "spread_minutes" => policy.spread_minutes = new.spread_minutes,
                "nudge_customer" => rules.nudge_customer = given.nudge_customer,
                "ops_email" => rules.ops_email.clone_from(&given.ops_email),
                "ops_slack_channel" => rules.ops_slack_channel.clone_from(&given.ops_slack_channel),
                other => anyhow::bail!("reminders.{other} cannot be tried in the place of a workspace's own"),
            }
        }
        let (from, until) = (rules.policy.time_of_day, rules.policy.send_until);
        anyhow::ensure!(
            from < until,
            "with the policy, reminders.time_of_day is {} and reminders.send_until {}; send_until must be the later one",
            from.format("%H:%M"),
            until.format("%H:%M")
        );
        self.change.merge(&mut rules);
        Ok(rules)
    }
}

/// Reads a policy: a TOML file with the section `[reminders]` of the configuration and no other, and in it what else a
/// workspace says of reminders.
pub(super) fn policy(path: &Path) -> anyhow::Result<Policy> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("the policy {shown}"))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        anyhow::anyhow!("the policy {shown} is not TOML: {}", error.message())
    })?;
    if let Some(other) = table.keys().find(|name| *name != "reminders") {
        anyhow::bail!(
            "the policy {shown} has {other:?}; a policy is the section [reminders] of a configuration, alone"
        );
    }
    let sources = Sources {
        file: Some(path.to_owned()),
        elsewhere: RULES.map(|key| format!("reminders.{key}")).into(),
        env: Vec::new(),
        flags: Vec::new(),
        cwd: std::env::current_dir().context("the working directory")?,
    };
    let config = load(&sources, |name| usher_lifecycle::reminder::zone(name).is_ok())
        .map_err(|faults| anyhow::anyhow!("the policy has faults:\n{faults}"))?;
    let mut body = serde_json::Map::new();
    for key in RULES {
        if let Some(value) = table.get("reminders").and_then(|section| section.get(key)) {
            body.insert(key.to_owned(), serde_json::to_value(value)?);
        }
    }
    let named =
        table.get("reminders").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys);
    let named = named.filter(|key| !RULES.contains(&key.as_str())).cloned().collect();
    let change = usher_ingest::body::patch_workspace(&body.into());
    let change =
        change.map_err(|fault| anyhow::anyhow!("the policy {shown}, [reminders]: {}", fault.message))?;
    Ok(Policy { section: store::rules(&config.reminders)?, named, change })
}

/// The live records of a workspace; `policy` stands in the place of its own.
pub(super) async fn from_store(
    config: &Config,
    flags: &Simulate,
    policy: Option<&Policy>,
) -> anyhow::Result<World> {
    let (store, workspace) = commands::workspace(config, &flags.scope.within).await?;
    let livemode = !flags.scope.test;
    let own = workspace.rules;
    let rules = policy.map_or_else(|| Ok(own.clone()), |policy| policy.over(&own))?;
    let mut world = World::default();
    let mut page = Page { limit: PAGE, cursor: None };
    let mut seen: BTreeSet<OnboardingId> = BTreeSet::new();
    loop {
        let listed = store.onboardings(workspace.id, livemode, &ListFilter::default(), &page).await?;
        let ids: Vec<OnboardingId> =
            listed.data.iter().map(|it| it.id).filter(|id| seen.insert(*id)).collect();
        let situation = store.situation(&ids, &[]).await?;
        // The store by itself looks them up only for what is waiting now, where the workspace has customers told.
        if rules.nudge_customer {
            world.contacts.extend(store.primary_contacts(situation.customers.keys()).await?);
        }
        world.customers.extend(situation.customers);
        world.users.extend(situation.users);
        world.contacts.extend(situation.contacts);
        // In a store's order, so that the same records give the same answer.
        world.onboardings.extend(ids.iter().filter_map(|id| situation.onboardings.get(id).cloned()));
        match listed.next {
            Some(next) => page.cursor = Some(next),
            None => break,
        }
    }
    store.close().await;
    // Test records send nothing; what live ones would send is the question.
    world.onboardings.iter_mut().for_each(|it| it.livemode = true);
    world.rules.insert(workspace.id, rules);
    Ok(world)
}
