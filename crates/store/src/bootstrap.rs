//! The first start: a workspace and a key, made once, whoever comes first.

use chrono::{DateTime, Utc};
use usher_lifecycle::{reminder::Rules, workspace::Workspace};

use crate::{Store, db::statements, error::StoreError, keys, workspaces};

statements! {
    ANY = "SELECT id FROM workspaces LIMIT 1";
    // The first of several processes that start together bootstraps; the others wait here and then find its work.
    ALONE = "UPDATE relay_shards SET lease_token = lease_token WHERE shard = 0";
}

/// What a fresh store gets.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// The slug of the first workspace.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Its rules.
    pub rules: Rules,
    /// The secret of the first key; none = a random one.
    pub secret: Option<String>,
}

/// What the first start made.
#[derive(Debug, Clone)]
pub struct Bootstrapped {
    /// The workspace.
    pub workspace: Workspace,
    /// The first key.
    pub key: keys::NewKey,
}

/// Fewest characters of a key that is given from outside.
const SHORTEST_SECRET: usize = 40;

/// Whether a secret that is given from outside can be a key; why not, in words that do not show it.
///
/// # Errors
/// The end of a sentence that begins with the secret's name.
pub fn check_secret(secret: &str) -> Result<(), String> {
    let live = keys::LIVE;
    if !secret.starts_with(live) || secret.starts_with(keys::TEST) {
        return Err(format!("must start with {live} and not with {}", keys::TEST));
    }
    if secret.len() < SHORTEST_SECRET {
        return Err(format!("has {} characters; at least {SHORTEST_SECRET} are needed", secret.len()));
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must have only visible ASCII characters: an HTTP header carries it".into());
    }
    Ok(())
}

impl Store {
    /// Makes the first workspace and key in a store that has none; none when there is one already.
    ///
    /// # Errors
    /// [`StoreError::Tables`] when a given secret is no key.
    pub async fn bootstrap(
        &self,
        first: &Bootstrap,
        now: DateTime<Utc>,
    ) -> Result<Option<Bootstrapped>, StoreError> {
        if self.db().first(&ANY, Vec::new()).await?.is_some() {
            return Ok(None);
        }
        let secret = match &first.secret {
            None => keys::new_secret(true),
            Some(secret) => {
                check_secret(secret).map_err(|why| StoreError::Tables(format!("the first API key {why}")))?;
                secret.clone()
            }
        };
        let mut tx = self.db().begin().await?;
        tx.execute(&ALONE, Vec::new()).await?;
        if tx.first(&ANY, Vec::new()).await?.is_some() {
            tx.rollback().await?;
            return Ok(None);
        }
        let made = workspaces::insert(&mut tx, &first.slug, &first.name, &first.rules, now).await?;
        let workspace =
            made.ok_or_else(|| StoreError::Bug("the first workspace was there already".into()))?;
        let key =
            keys::insert(&mut tx, workspace.id, &keys::KeySpec::new("first key", true), &secret, now).await?;
        tx.commit().await?;
        Ok(Some(Bootstrapped { workspace, key: keys::NewKey { key, secret } }))
    }
}
