//! API keys: shown once, kept as a hash, revoked for good.
//!
//! Law: a key is looked up at each request, and what is written here holds for the next one on every replica. Only the
//! notes of use may lag behind (`uses.rs`).

mod uses;

use chrono::{DateTime, SubsecRound as _, Utc};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use usher_lifecycle::{
    KeyId, Scope, WorkspaceId,
    wire::{self, ApiKeyObject},
};

use crate::{
    Store,
    db::{Arg, Row, Tx, statements},
    error::StoreError,
    ids,
    reads::{self, Listed, Page},
};

pub(crate) use uses::KeyUses;
#[cfg(test)]
pub(crate) use uses::STATEMENTS as USES;

macro_rules! key_where {
    ($rest:literal) => {
        concat!(
            "SELECT id, workspace_id, livemode, name, prefix, hash, scopes, rate_limit, created_at, revoked_at, expires_at,
              last_used_at, last_used_from, use_count FROM api_keys ",
            $rest
        )
    };
}

statements! {
    BY_HASH = key_where!("WHERE hash = $1");
    OF_WORKSPACE = key_where!("WHERE workspace_id = $1 ORDER BY created_at DESC, id DESC");
    PAGE = key_where!("WHERE workspace_id = $1 AND (livemode = FALSE OR $2 = TRUE) AND created_at <= $3
              ORDER BY created_at DESC, id DESC LIMIT $4");
    BY_NAME = key_where!("WHERE workspace_id = $1 AND (id = $2 OR prefix = $2) {lock}");
    EXPIRE = "UPDATE api_keys SET expires_at = $2 WHERE id = $1 AND (expires_at IS NULL OR expires_at > $2)";
    INSERT = "INSERT INTO api_keys (id, workspace_id, livemode, name, prefix, hash, scopes, rate_limit, created_at, use_count)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0) ON CONFLICT (hash) DO NOTHING";
    REVOKE = "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
}

/// What live keys start with.
pub(crate) const LIVE: &str = "pivotal_";
/// What test keys start with.
pub(crate) const TEST: &str = "pivotal_test_";
/// Characters of a key that may be shown and logged.
const SHOWN: usize = 8;

/// A key as it is known to the store; the secret itself is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// `key_...`
    pub id: KeyId,
    /// The workspace it opens.
    pub workspace_id: WorkspaceId,
    /// False: it sees and writes test records only.
    pub livemode: bool,
    /// Its name for people.
    pub name: String,
    /// How it begins; may be logged.
    pub prefix: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Requests a minute; none = the default, 0 = no limit.
    pub rate_limit: Option<i64>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Until when it is valid; none = until it is revoked.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used; may lag behind by some seconds.
    pub last_used_at: Option<DateTime<Utc>>,
    /// From which address; may lag behind.
    pub last_used_from: Option<String>,
    /// Requests with it, refused ones too; may lag behind.
    pub use_count: i64,
}

impl ApiKey {
    /// Whether it opens anything at `now`.
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// The key as callers see it.
    pub fn object(&self) -> ApiKeyObject {
        ApiKeyObject {
            object: "api_key",
            id: self.id.to_text(),
            name: self.name.clone(),
            prefix: self.prefix.clone(),
            livemode: self.livemode,
            scopes: self.scopes.iter().map(ToString::to_string).collect(),
            rate_limit: self.rate_limit,
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            last_used_at: self.last_used_at,
            last_used_from: self.last_used_from.clone(),
            request_count: self.use_count,
        }
    }
}

/// What a new key is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpec {
    /// Its name for people.
    pub name: String,
    /// False: for test records only.
    pub livemode: bool,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Requests a minute; none = the default, 0 = no limit.
    pub rate_limit: Option<i64>,
}

impl KeySpec {
    /// A key that may do everything, at the default rate.
    pub fn new(name: &str, livemode: bool) -> Self {
        Self { name: name.to_owned(), livemode, scopes: vec![Scope::All], rate_limit: None }
    }
}

/// A key that was just made. The secret is shown once.
#[derive(Clone)]
pub struct NewKey {
    /// The key as stored.
    pub key: ApiKey,
    /// The secret.
    pub secret: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A new secret: the prefix and 192 random bits.
pub(crate) fn new_secret(livemode: bool) -> String {
    const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // 33 letters of 62 carry more than 192 bits; the modulo's bias over 16 bits is below 0.1 %.
    let letters = (0..33).map(|_| {
        let pick = usize::from(rand::random::<u16>()) % LETTERS.len();
        char::from(LETTERS[pick])
    });
    let prefix = if livemode { LIVE } else { TEST };
    prefix.chars().chain(letters).collect()
}

fn hash(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().fold(String::with_capacity(64), |mut text, byte| {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(half.into(), 16).unwrap_or('0'));
        }
        text
    })
}

fn read(row: &Row) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: row.parsed("id")?,
        workspace_id: row.parsed("workspace_id")?,
        livemode: row.bool("livemode")?,
        name: row.text("name")?,
        prefix: row.text("prefix")?,
        // A scope that this version does not know gives nothing.
        scopes: row.document::<Vec<String>>("scopes")?.iter().filter_map(|it| it.parse().ok()).collect(),
        rate_limit: row.opt_int("rate_limit")?,
        created_at: row.time("created_at")?,
        revoked_at: row.opt_time("revoked_at")?,
        expires_at: row.opt_time("expires_at")?,
        last_used_at: row.opt_time("last_used_at")?,
        last_used_from: row.opt_text("last_used_from")?,
        use_count: row.int("use_count")?,
    })
}

pub(crate) async fn insert(
    tx: &mut Tx,
    workspace_id: WorkspaceId,
    spec: &KeySpec,
    secret: &str,
    now: DateTime<Utc>,
) -> Result<ApiKey, StoreError> {
    let livemode = !secret.starts_with(TEST);
    let visible = if livemode { LIVE.len() } else { TEST.len() } + SHOWN;
    let key = ApiKey {
        id: KeyId::new(now, ids::random()),
        workspace_id,
        livemode,
        name: spec.name.clone(),
        prefix: secret.chars().take(visible).collect(),
        scopes: spec.scopes.clone(),
        rate_limit: spec.rate_limit,
        created_at: now,
        revoked_at: None,
        expires_at: None,
        last_used_at: None,
        last_used_from: None,
        use_count: 0,
    };
    let scopes: Vec<String> = key.scopes.iter().map(ToString::to_string).collect();
    let args = vec![
        Arg::id(key.id),
        Arg::id(workspace_id),
        Arg::Bool(livemode),
        Arg::text(&key.name),
        Arg::text(&key.prefix),
        Arg::text(hash(secret)),
        Arg::Json(wire::value(&scopes)),
        Arg::Int(key.rate_limit),
        Arg::time(now),
    ];
    if tx.execute(&INSERT, args).await? == 0 {
        return Err(StoreError::Tables("this API key exists already".into()));
    }
    Ok(key)
}

impl Store {
    /// The key of that secret, also when it is revoked.
    pub async fn key_by_secret(&self, secret: &str) -> Result<Option<ApiKey>, StoreError> {
        let wanted = hash(secret);
        let Some(row) = self.db().first(&BY_HASH, vec![Arg::text(&wanted)]).await? else { return Ok(None) };
        let same = bool::from(row.text("hash")?.as_bytes().ct_eq(wanted.as_bytes()));
        if same { read(&row).map(Some) } else { Ok(None) }
    }

    /// Makes a key that may do everything.
    pub async fn create_key(
        &self,
        workspace_id: WorkspaceId,
        name: &str,
        livemode: bool,
        now: DateTime<Utc>,
    ) -> Result<NewKey, StoreError> {
        self.create_key_as(workspace_id, &KeySpec::new(name, livemode), now).await
    }

    /// Makes a key.
    pub async fn create_key_as(
        &self,
        workspace_id: WorkspaceId,
        spec: &KeySpec,
        now: DateTime<Utc>,
    ) -> Result<NewKey, StoreError> {
        let secret = new_secret(spec.livemode);
        let mut tx = self.db().begin().await?;
        let key = insert(&mut tx, workspace_id, spec, &secret, self.own_instant(now)).await?;
        tx.commit().await?;
        Ok(NewKey { key, secret })
    }

    /// The keys of a workspace, newest first.
    pub async fn keys(&self, workspace_id: WorkspaceId) -> Result<Vec<ApiKey>, StoreError> {
        self.db().all(&OF_WORKSPACE, vec![Arg::id(workspace_id)]).await?.iter().map(read).collect()
    }

    /// A part of that list; with `test_only`, test keys alone.
    pub async fn keys_page(
        &self,
        workspace_id: WorkspaceId,
        test_only: bool,
        page: &Page,
    ) -> Result<Listed<ApiKey>, StoreError> {
        let (from, limit) = reads::window(page);
        let args = vec![Arg::id(workspace_id), Arg::Bool(!test_only), Arg::time(from), Arg::int(limit)];
        let rows = self.db().all(&PAGE, args).await?;
        let rows = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(reads::cut(rows, page, |it| it.created_at))
    }

    /// The key of that id or visible prefix, revoked ones too.
    pub async fn key(&self, workspace_id: WorkspaceId, which: &str) -> Result<Option<ApiKey>, StoreError> {
        let args = vec![Arg::id(workspace_id), Arg::text(which)];
        self.db().first(&BY_NAME, args).await?.as_ref().map(read).transpose()
    }

    /// Revokes the key of that id or visible prefix; the key it stands for. Revoking again is no change.
    pub async fn revoke_key(
        &self,
        workspace_id: WorkspaceId,
        which: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<ApiKey>, StoreError> {
        let now = now.trunc_subsecs(6);
        let mut tx = self.db().begin().await?;
        let Some(mut key) = named(&mut tx, workspace_id, which).await? else { return Ok(None) };
        tx.execute(&REVOKE, vec![Arg::id(key.id), Arg::time(now)]).await?;
        tx.commit().await?;
        key.revoked_at = key.revoked_at.or(Some(now));
        Ok(Some(key))
    }

    /// A successor of the key of that id or visible prefix, with its name, mode, scopes and limit. The old one stays
    /// valid until `until`, or without it until it is revoked. None when no valid key is called so.
    pub async fn rotate_key(
        &self,
        workspace_id: WorkspaceId,
        which: &str,
        until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<Option<NewKey>, StoreError> {
        let mut tx = self.db().begin().await?;
        let Some(old) = named(&mut tx, workspace_id, which).await?.filter(|key| key.is_valid(now)) else {
            return Ok(None);
        };
        let spec = KeySpec {
            name: old.name,
            livemode: old.livemode,
            scopes: old.scopes,
            rate_limit: old.rate_limit,
        };
        let secret = new_secret(spec.livemode);
        let key = insert(&mut tx, workspace_id, &spec, &secret, self.own_instant(now)).await?;
        if let Some(until) = until {
            tx.execute(&EXPIRE, vec![Arg::id(old.id), Arg::time(until)]).await?;
        }
        tx.commit().await?;
        Ok(Some(NewKey { key, secret }))
    }
}

async fn named(tx: &mut Tx, workspace_id: WorkspaceId, which: &str) -> Result<Option<ApiKey>, StoreError> {
    let rows = tx.all(&BY_NAME, vec![Arg::id(workspace_id), Arg::text(which)]).await?;
    rows.first().map(read).transpose()
}
