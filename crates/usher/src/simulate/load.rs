//! What a simulation starts from: a policy file, and the records of the store, which are only read.

use std::{collections::BTreeSet, path::Path};

use anyhow::Context as _;
use usher_lifecycle::{OnboardingId, reminder::Rules};
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

/// Reads a policy: a TOML file with the section `[reminders]` of the configuration and no other; what it does not name
/// has the default.
pub(super) fn policy(path: &Path) -> anyhow::Result<Rules> {
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
        env: Vec::new(),
        flags: Vec::new(),
        cwd: std::env::current_dir().context("the working directory")?,
    };
    let config = load(&sources, |name| usher_lifecycle::reminder::zone(name).is_ok())
        .map_err(|faults| anyhow::anyhow!("the policy has faults:\n{faults}"))?;
    store::rules(&config.reminders)
}

/// The live records of a workspace; `rules` stand in the place of its policy.
pub(super) async fn from_store(
    config: &Config,
    flags: &Simulate,
    rules: Option<Rules>,
) -> anyhow::Result<World> {
    let (store, workspace) = commands::workspace(config, &flags.scope.within).await?;
    let livemode = !flags.scope.test;
    let own = workspace.rules;
    let asks = own.nudge_customer;
    let rules = rules.map_or(own.clone(), |given| Rules {
        policy: given.policy,
        nudge_customer: given.nudge_customer || own.nudge_customer,
        ops_email: given.ops_email.or(own.ops_email),
        ops_slack_channel: given.ops_slack_channel.or(own.ops_slack_channel),
        phase_owners: own.phase_owners,
        ..given
    });
    let mut world = World::default();
    let mut page = Page { limit: PAGE, cursor: None };
    let mut seen: BTreeSet<OnboardingId> = BTreeSet::new();
    loop {
        let listed = store.onboardings(workspace.id, livemode, &ListFilter::default(), &page).await?;
        let ids: Vec<OnboardingId> =
            listed.data.iter().map(|it| it.id).filter(|id| seen.insert(*id)).collect();
        let situation = store.situation(&ids, &[]).await?;
        // Which the store looks up by itself only where the workspace has customers told.
        if rules.nudge_customer && !asks {
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
