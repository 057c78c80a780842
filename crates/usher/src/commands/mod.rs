//! What the commands do. Those that change records go through the same write path as the API.

mod completions;
mod config;
mod import;
mod onboarding;
mod records;
mod rejected;
mod reminders;
mod retry;
mod tenancy;

use anyhow::Context as _;
use usher_lifecycle::{
    Command as Change,
    event::{Actor, ActorKind},
};
use usher_store::{Applied, ApplyError, Dedupe, Ref, Request, Store, Workspace};

use crate::{
    cli::{self, Cli, Command},
    compose::{self, Roles},
    config::{Config, Sources, load},
    nats, output, simulate, store, telemetry,
};

/// Loads the configuration with the environment of this process.
fn configuration(cli: &Cli) -> anyhow::Result<Config> {
    let sources = Sources {
        file: cli.config.clone(),
        elsewhere: Vec::new(),
        env: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        flags: cli.set.clone(),
        cwd: std::env::current_dir().context("the working directory")?,
    };
    load(&sources, |name| usher_lifecycle::reminder::zone(name).is_ok())
        .map_err(|faults| anyhow::anyhow!("the configuration has faults:\n{faults}"))
}

/// Does what the command line says.
pub(crate) async fn execute(cli: Cli) -> anyhow::Result<()> {
    if let Some(Command::Config(command)) = &cli.command {
        return config::execute(command, &cli, || configuration(&cli));
    }
    if let Some(Command::Reminders(cli::Reminders::Preview(preview))) = &cli.command
        && preview.onboarding.is_none()
    {
        return reminders::computed(preview, cli.json);
    }
    if let Some(Command::Simulate(flags)) = &cli.command
        && !flags.from_store
    {
        return simulate::made_up(flags, cli.json);
    }
    if let Some(Command::Completions { shell }) = &cli.command {
        return completions::execute(*shell);
    }
    if matches!(cli.command, Some(Command::Openapi)) {
        return crate::output::line(&format!("{:#}", usher_ingest::http::document()));
    }
    let config = configuration(&cli)?;
    // rustls has no default of its own here: one provider, chosen once.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("a crypto provider was installed before this one");
    }
    telemetry::start(&config.log)?;
    let json = cli.json;
    match cli.command.unwrap_or(Command::Run) {
        Command::Run => roles(&config, Roles::All).await,
        Command::Ingest => roles(&config, Roles::Ingest).await,
        Command::Scheduler => roles(&config, Roles::Scheduler).await,
        Command::Migrate => tenancy::migrate(&config, json).await,
        Command::Workspace(command) => tenancy::workspace(&config, command, json).await,
        Command::Key(command) => tenancy::key(&config, command, json).await,
        Command::User(command) => records::user(&config, command, json).await,
        Command::Customer(command) => records::customer(&config, command, json).await,
        Command::Reminders(command) => reminders::execute(&config, command, json).await,
        Command::Asyncapi => {
            let document =
                usher_ingest::asyncapi::document(&nats::described(&config)?, env!("CARGO_PKG_VERSION"));
            output::object(true, &document)
        }
        Command::Rejected(command) => Box::pin(rejected::execute(&config, command, json)).await,
        Command::Import(arguments) => import::execute(&config, arguments, json).await,
        Command::Onboarding(command) => onboarding::execute(&config, command, json).await,
        Command::Simulate(flags) => simulate::of_store(&config, &flags, json).await,
        // Handled above: they need no configuration, or a faulty one is no reason to stop.
        Command::Config(_) | Command::Completions { .. } | Command::Openapi => Ok(()),
    }
}

async fn roles(config: &Config, roles: Roles) -> anyhow::Result<()> {
    // Files and here-documents leave a line break at the end.
    let secret = std::env::var("USHER_BOOTSTRAP_KEY").ok().map(|secret| secret.trim().to_owned());
    let secret = secret.filter(|secret| !secret.is_empty());
    if let Some(secret) = &secret {
        usher_store::check_secret(secret).map_err(|why| anyhow::anyhow!("USHER_BOOTSTRAP_KEY {why}"))?;
    }
    compose::run(config, roles, secret).await
}

/// The store and the workspace of a command.
pub(crate) async fn workspace(config: &Config, within: &cli::In) -> anyhow::Result<(Store, Workspace)> {
    let store = store::open_ready(config).await?;
    if let Some(slug) = &within.workspace {
        let found = store.workspace_by_slug(slug).await?;
        let found = found
            .with_context(|| format!("there is no workspace {slug:?}; `usher workspace list` lists them"))?;
        return Ok((store, found));
    }
    let mut all = store.workspaces().await?;
    let count = all.len();
    let found = if count == 1 { all.pop() } else { None };
    let found = found.with_context(|| match count {
        0 => "the store has no workspace yet; `usher run` or `usher workspace create` makes one".to_owned(),
        count => format!("there are {count} workspaces; say which by --workspace SLUG"),
    })?;
    Ok((store, found))
}

/// Applies a change; the object as the API returns it.
async fn apply(
    store: &Store,
    workspace: &Workspace,
    livemode: bool,
    target: Option<&str>,
    change: Change,
) -> anyhow::Result<serde_json::Value> {
    let request = Request {
        workspace_id: workspace.id,
        livemode,
        command: change,
        target: target.map(Ref::parse),
        actor: Actor { kind: ActorKind::User, id: None, name: Some("command line".into()) },
        dedupe: Dedupe::None,
        expected_version: None,
        traceparent: None,
    };
    let Applied { body, .. } = match store.apply(request, store::now()).await {
        Ok(applied) => applied,
        Err(ApplyError::Refused(refusal)) => {
            let field = refusal.field.map(|field| format!(" ({field})")).unwrap_or_default();
            anyhow::bail!("refused: {}{field}: {}", refusal.code.as_str(), refusal.message)
        }
        Err(error @ ApplyError::Store(_)) => return Err(error.into()),
    };
    Ok(serde_json::from_str(&body)?)
}
