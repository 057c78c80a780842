//! `usher migrate`, `usher workspace`, `usher key`.

use anyhow::Context as _;
use serde_json::{Value, json};
use usher_store::{ApiKey, Workspace};

use super::workspace as workspace_of;
use crate::{
    cli::{Key, Workspace as WorkspaceCommand},
    config::Config,
    output, store,
};

pub(super) async fn migrate(config: &Config, json: bool) -> anyhow::Result<()> {
    let store = store::open(config, false).await?;
    store.migrate().await.context("the migrations")?;
    store.close().await;
    if json {
        output::object(true, &json!({"migrated": true}))
    } else {
        output::line("all migrations are applied")
    }
}

fn workspace_object(it: &Workspace) -> Value {
    json!({"object": "workspace", "id": it.id, "slug": it.slug, "name": it.name, "created_at": it.created_at,
           "settings": usher_lifecycle::wire::value(&it.rules)})
}

pub(super) async fn workspace(config: &Config, command: WorkspaceCommand, json: bool) -> anyhow::Result<()> {
    match command {
        WorkspaceCommand::Create { slug, name } => {
            anyhow::ensure!(
                !slug.is_empty()
                    && slug.len() <= 63
                    && slug.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                "{slug:?} cannot be a slug: 1 to 63 lower-case letters, digits and `-` are allowed"
            );
            let store = store::open(config, false).await?;
            store.migrate().await.context("the migrations")?;
            let name = name.unwrap_or_else(|| slug.clone());
            let rules = store::rules(&config.reminders)?;
            let made = store.create_workspace(&slug, &name, &rules, store::now()).await?;
            let made = made.with_context(|| format!("there is a workspace {slug:?} already"))?;
            let key = store.create_key(made.id, "first key", true, store::now()).await?;
            store.close().await;
            let mut object = workspace_object(&made);
            object["api_key"] = Value::from(key.secret.as_str());
            if json {
                return output::object(true, &object);
            }
            output::line(&format!(
                "workspace {slug} is made; its API key, shown this once:\n\n  {}\n",
                key.secret
            ))
        }
        WorkspaceCommand::List => {
            let store = store::open_ready(config).await?;
            let all: Vec<Value> = store.workspaces().await?.iter().map(workspace_object).collect();
            output::list(json, &all, &["slug", "name", "id", "created_at"])
        }
    }
}

fn key_object(it: &ApiKey) -> Value {
    json!({"object": "api_key", "id": it.id, "name": it.name, "prefix": it.prefix, "livemode": it.livemode,
           "scopes": it.scopes, "created_at": it.created_at, "revoked_at": it.revoked_at})
}

pub(super) async fn key(config: &Config, command: Key, json: bool) -> anyhow::Result<()> {
    match command {
        Key::Create { scope, name } => {
            let (store, workspace) = workspace_of(config, &scope.within).await?;
            let made = store.create_key(workspace.id, &name, !scope.test, store::now()).await?;
            store.close().await;
            let mut object = key_object(&made.key);
            object["secret"] = Value::from(made.secret.as_str());
            if json {
                return output::object(true, &object);
            }
            let kind = if made.key.livemode { "live" } else { "test" };
            output::line(&format!(
                "a {kind} key for workspace {}, shown this once:\n\n  {}\n",
                workspace.slug, made.secret
            ))
        }
        Key::List { within } => {
            let (store, workspace) = workspace_of(config, &within).await?;
            let all: Vec<Value> = store.keys(workspace.id).await?.iter().map(key_object).collect();
            output::list(json, &all, &["id", "prefix", "name", "livemode", "created_at", "revoked_at"])
        }
        Key::Revoke { within, key } => {
            let (store, workspace) = workspace_of(config, &within).await?;
            let revoked = store.revoke_key(workspace.id, &key, store::now()).await?;
            let revoked = revoked.with_context(|| {
                format!(
                    "workspace {} has no key {key:?}; `usher key list` lists them by id and prefix",
                    workspace.slug
                )
            })?;
            store.close().await;
            if json {
                return output::object(true, &key_object(&revoked));
            }
            output::line(&format!("key {} is revoked: the next request with it is refused", revoked.prefix))
        }
    }
}
