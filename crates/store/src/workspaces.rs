//! Workspaces: the walls between tenants, and the rules each decides for itself.

use chrono::{DateTime, SubsecRound as _, Utc};
use usher_lifecycle::{WorkspaceId, reminder::Rules, workspace::Workspace};

use crate::{
    Store,
    db::{Arg, Row, Tx, statements},
    error::StoreError,
    ids,
};

statements! {
    LOCKED = "SELECT id, slug, name, settings, version, created_at, updated_at FROM workspaces WHERE id = $1 {lock}";
    UPDATE = "UPDATE workspaces SET name = $3, settings = $4, updated_at = $5, version = $2
              WHERE id = $1 AND version < $2";
    BY_ID = "SELECT id, slug, name, settings, version, created_at, updated_at FROM workspaces WHERE id = $1";
    BY_IDS = "SELECT id, slug, name, settings, version, created_at, updated_at FROM workspaces WHERE id {in:$1}";
    BY_SLUG = "SELECT id, slug, name, settings, version, created_at, updated_at FROM workspaces WHERE slug = $1";
    ALL = "SELECT id, slug, name, settings, version, created_at, updated_at FROM workspaces ORDER BY created_at, id";
    INSERT = "INSERT INTO workspaces (id, slug, name, settings, version, created_at, updated_at)
              VALUES ($1, $2, $3, $4, 1, $5, $5) ON CONFLICT (slug) DO NOTHING";
}

fn read(row: &Row) -> Result<Workspace, StoreError> {
    Ok(Workspace {
        id: row.parsed("id")?,
        slug: row.text("slug")?,
        name: row.text("name")?,
        rules: row.document("settings")?,
        version: row.int("version")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

/// A workspace as it stands, locked if it may change; none when it is not there.
pub(crate) async fn get(tx: &mut Tx, id: WorkspaceId, lock: bool) -> Result<Option<Workspace>, StoreError> {
    let stmt = if lock { &LOCKED } else { &BY_ID };
    tx.first(stmt, vec![Arg::id(id)]).await?.as_ref().map(read).transpose()
}

/// Writes a changed workspace; the number of rows that were older.
pub(crate) async fn update(tx: &mut Tx, it: &Workspace) -> Result<u64, StoreError> {
    let settings = Arg::Json(usher_lifecycle::wire::value(&it.rules));
    let args =
        vec![Arg::id(it.id), Arg::int(it.version), Arg::text(&it.name), settings, Arg::time(it.updated_at)];
    tx.execute(&UPDATE, args).await
}

/// Several workspaces.
pub(crate) async fn by_ids(tx: &mut Tx, ids: Vec<String>) -> Result<Vec<Workspace>, StoreError> {
    tx.all(&BY_IDS, vec![Arg::Texts(ids)]).await?.iter().map(read).collect()
}

/// Writes a new workspace; none when the slug is taken.
pub(crate) async fn insert(
    tx: &mut Tx,
    slug: &str,
    name: &str,
    rules: &Rules,
    now: DateTime<Utc>,
) -> Result<Option<Workspace>, StoreError> {
    let now = now.trunc_subsecs(6);
    let id = WorkspaceId::new(now, ids::random());
    let args = vec![
        Arg::id(id),
        Arg::text(slug),
        Arg::text(name),
        Arg::Json(usher_lifecycle::wire::value(rules)),
        Arg::time(now),
    ];
    let made = tx.execute(&INSERT, args).await? == 1;
    let (slug, name) = (slug.to_owned(), name.to_owned());
    Ok(made.then(|| Workspace {
        id,
        slug,
        name,
        rules: rules.clone(),
        version: 1,
        created_at: now,
        updated_at: now,
    }))
}

impl Store {
    /// A workspace by id.
    pub async fn workspace(&self, id: WorkspaceId) -> Result<Option<Workspace>, StoreError> {
        self.db().first(&BY_ID, vec![Arg::id(id)]).await?.as_ref().map(read).transpose()
    }

    /// A workspace by slug.
    pub async fn workspace_by_slug(&self, slug: &str) -> Result<Option<Workspace>, StoreError> {
        self.db().first(&BY_SLUG, vec![Arg::text(slug)]).await?.as_ref().map(read).transpose()
    }

    /// All workspaces, oldest first.
    pub async fn workspaces(&self) -> Result<Vec<Workspace>, StoreError> {
        self.db().all(&ALL, Vec::new()).await?.iter().map(read).collect()
    }

    /// Makes a workspace; none when the slug is taken.
    pub async fn create_workspace(
        &self,
        slug: &str,
        name: &str,
        rules: &Rules,
        now: DateTime<Utc>,
    ) -> Result<Option<Workspace>, StoreError> {
        let mut tx = self.db().begin().await?;
        let made = insert(&mut tx, slug, name, rules, now).await?;
        tx.commit().await?;
        Ok(made)
    }
}
