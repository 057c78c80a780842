//! `usher user`, `usher customer`.

use serde_json::{Value, json};
use usher_ingest::body;
use usher_lifecycle::{Command as Change, wire};
use usher_store::{ListFilter, Page};

use super::{apply, workspace};
use crate::{
    cli::{Customer, User},
    config::Config,
    output,
};

/// A body from what was given; what was not is left out.
pub(super) fn given(fields: &[(&str, Option<Value>)]) -> Value {
    fields
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// What a refused body says, for the command line.
#[expect(clippy::needless_pass_by_value, reason = "it is made for map_err")]
pub(super) fn told(refusal: usher_lifecycle::Refusal) -> anyhow::Error {
    anyhow::anyhow!("refused: {}: {}", refusal.code.as_str(), refusal.message)
}

/// All pages of a list.
pub(super) const FIRST: Page = Page { limit: 100, cursor: None };

pub(super) async fn user(config: &Config, command: User, json: bool) -> anyhow::Result<()> {
    match command {
        User::Create { scope, name, email, slack_user_id, time_zone } => {
            let (store, workspace) = workspace(config, &scope.within).await?;
            let body = given(&[
                ("name", Some(json!(name))),
                ("email", Some(json!(email))),
                ("slack_user_id", slack_user_id.map(Value::from)),
                ("time_zone", time_zone.map(Value::from)),
            ]);
            let change = Change::CreateUser(body::create_user(&body).map_err(told)?);
            let made = apply(&store, &workspace, !scope.test, None, change).await?;
            store.close().await;
            output::object(json, &made)
        }
        User::List { scope } => {
            let (store, workspace) = workspace(config, &scope.within).await?;
            let mut page = FIRST;
            let mut all = Vec::new();
            loop {
                let listed = store.users(workspace.id, !scope.test, &page).await?;
                all.extend(listed.data.iter().map(|it| wire::value(&wire::UserObject::from(it))));
                let Some(next) = listed.next else { break };
                page.cursor = Some(next);
            }
            output::list(json, &all, &["display_id", "name", "email", "active", "id"])
        }
    }
}

pub(super) async fn customer(config: &Config, command: Customer, json: bool) -> anyhow::Result<()> {
    match command {
        Customer::Create { scope, name, external_id } => {
            let (store, workspace) = workspace(config, &scope.within).await?;
            let body = given(&[("name", Some(json!(name))), ("external_id", external_id.map(Value::from))]);
            let change = Change::CreateCustomer(body::create_customer(&body).map_err(told)?);
            let made = apply(&store, &workspace, !scope.test, None, change).await?;
            store.close().await;
            output::object(json, &made)
        }
        Customer::List { scope } => {
            let (store, workspace) = workspace(config, &scope.within).await?;
            let mut page = FIRST;
            let mut all = Vec::new();
            loop {
                let listed =
                    store.customers(workspace.id, !scope.test, &ListFilter::default(), &page).await?;
                all.extend(listed.data.iter().map(|it| wire::value(&wire::CustomerObject::from(it))));
                let Some(next) = listed.next else { break };
                page.cursor = Some(next);
            }
            output::list(json, &all, &["display_id", "name", "status", "external_id", "id"])
        }
    }
}
