//! `usher migrate`, `usher workspace`, `usher key`.

use anyhow::Context as _;
use chrono::TimeDelta;
use serde_json::{Value, json};
use usher_store::{ApiKey, KeySpec, NewKey, Workspace};

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
    usher_lifecycle::wire::value(&it.object())
}

/// A key and its secret, which nobody will see again.
fn shown_once(made: &NewKey, json: bool, told: &str) -> anyhow::Result<()> {
    if json {
        let mut object = key_object(&made.key);
        object["secret"] = Value::from(made.secret.as_str());
        return output::object(true, &object);
    }
    output::line(&format!("{told}, shown this once:\n\n  {}\n", made.secret))
}

pub(super) async fn key(config: &Config, command: Key, json: bool) -> anyhow::Result<()> {
    match command {
        Key::Create { scope, name, scopes, rate_limit } => {
            let (store, workspace) = workspace_of(config, &scope.within).await?;
            let mut spec = KeySpec { rate_limit, ..KeySpec::new(&name, !scope.test) };
            if !scopes.is_empty() {
                spec.scopes = scopes;
            }
            let made = store.create_key_as(workspace.id, &spec, store::now()).await?;
            store.close().await;
            let kind = if made.key.livemode { "live" } else { "test" };
            shown_once(&made, json, &format!("a {kind} key for workspace {}", workspace.slug))
        }
        Key::Rotate { within, key, overlap_hours } => {
            let (store, workspace) = workspace_of(config, &within).await?;
            let now = store::now();
            let until = overlap_hours.map(|hours| now + TimeDelta::hours(hours));
            let made = store.rotate_key(workspace.id, &key, until, now).await?.with_context(|| {
                format!(
                    "workspace {} has no valid key {key:?}; `usher key list` lists them by id and prefix",
                    workspace.slug
                )
            })?;
            store.close().await;
            let old =
                until.map_or_else(|| "until it is revoked".to_owned(), |until| format!("until {until}"));
            shown_once(&made, json, &format!("the successor of {key}, which stays valid {old}"))
        }
        Key::List { within } => {
            let (store, workspace) = workspace_of(config, &within).await?;
            let all: Vec<Value> = store.keys(workspace.id).await?.iter().map(key_object).collect();
            output::list(
                json,
                &all,
                &[
                    "id",
                    "prefix",
                    "name",
                    "scopes",
                    "livemode",
                    "created_at",
                    "last_used_at",
                    "request_count",
                    "revoked_at",
                ],
            )
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
