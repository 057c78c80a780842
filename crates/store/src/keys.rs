//! API keys: shown once, kept as a hash, revoked for good.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use usher_lifecycle::{KeyId, WorkspaceId};

use crate::{
    Store,
    db::{Arg, Row, Tx, statements},
    error::StoreError,
    ids,
};

macro_rules! key_where {
    ($rest:literal) => {
        concat!(
            "SELECT id, workspace_id, livemode, name, prefix, hash, scopes, rate_limit, created_at, revoked_at FROM api_keys ",
            $rest
        )
    };
}

statements! {
    BY_HASH = key_where!("WHERE hash = $1");
    OF_WORKSPACE = key_where!("WHERE workspace_id = $1 ORDER BY created_at DESC, id DESC");
    BY_NAME = key_where!("WHERE workspace_id = $1 AND (id = $2 OR prefix = $2)");
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
    /// What it may do; `*` = everything.
    pub scopes: Vec<String>,
    /// Requests a minute; none = the default, 0 = no limit.
    pub rate_limit: Option<i64>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
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
        scopes: row.document("scopes")?,
        rate_limit: row.opt_int("rate_limit")?,
        created_at: row.time("created_at")?,
        revoked_at: row.opt_time("revoked_at")?,
    })
}

pub(crate) async fn insert(
    tx: &mut Tx,
    workspace_id: WorkspaceId,
    name: &str,
    secret: &str,
    now: DateTime<Utc>,
) -> Result<ApiKey, StoreError> {
    let livemode = !secret.starts_with(TEST);
    let visible = if livemode { LIVE.len() } else { TEST.len() } + SHOWN;
    let key = ApiKey {
        id: KeyId::new(now, ids::random()),
        workspace_id,
        livemode,
        name: name.to_owned(),
        prefix: secret.chars().take(visible).collect(),
        scopes: vec!["*".into()],
        rate_limit: None,
        created_at: now,
        revoked_at: None,
    };
    let args = vec![
        Arg::id(key.id),
        Arg::id(workspace_id),
        Arg::Bool(livemode),
        Arg::text(name),
        Arg::text(&key.prefix),
        Arg::text(hash(secret)),
        Arg::Json(key.scopes.clone().into()),
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

    /// Makes a key.
    pub async fn create_key(
        &self,
        workspace_id: WorkspaceId,
        name: &str,
        livemode: bool,
        now: DateTime<Utc>,
    ) -> Result<NewKey, StoreError> {
        let secret = new_secret(livemode);
        let mut tx = self.db().begin().await?;
        let key = insert(&mut tx, workspace_id, name, &secret, now).await?;
        tx.commit().await?;
        Ok(NewKey { key, secret })
    }

    /// The keys of a workspace, newest first.
    pub async fn keys(&self, workspace_id: WorkspaceId) -> Result<Vec<ApiKey>, StoreError> {
        self.db().all(&OF_WORKSPACE, vec![Arg::id(workspace_id)]).await?.iter().map(read).collect()
    }

    /// Revokes the key of that id or visible prefix; the keys it stands for. Revoking again is no change.
    pub async fn revoke_key(
        &self,
        workspace_id: WorkspaceId,
        which: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<ApiKey>, StoreError> {
        let mut tx = self.db().begin().await?;
        let rows = tx.all(&BY_NAME, vec![Arg::id(workspace_id), Arg::text(which)]).await?;
        let Some(mut key) = rows.first().map(read).transpose()? else { return Ok(None) };
        tx.execute(&REVOKE, vec![Arg::id(key.id), Arg::time(now)]).await?;
        tx.commit().await?;
        key.revoked_at = key.revoked_at.or(Some(now));
        Ok(Some(key))
    }
}
