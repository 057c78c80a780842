//! What an import asks beforehand: which of its records are there already.

use std::collections::HashMap;

use usher_lifecycle::WorkspaceId;

use crate::{
    Store,
    db::{Arg, Stmt, statements},
    error::StoreError,
};

statements! {
    CUSTOMERS = "SELECT external_id FROM customers
                 WHERE workspace_id = $1 AND livemode = $2 AND external_id {in:$3} AND deleted_at IS NULL
                   AND external_id IS NOT NULL";
    SLUGS = "SELECT id, slug FROM customers
             WHERE workspace_id = $1 AND livemode = $2 AND slug {in:$3} AND deleted_at IS NULL AND slug IS NOT NULL";
    CONTACTS = "SELECT k.external_id, c.id, c.display_id, c.external_id AS customer_key
                FROM contacts k JOIN customers c ON c.id = k.customer_id AND c.deleted_at IS NULL
                WHERE k.workspace_id = $1 AND k.livemode = $2 AND k.external_id {in:$3} AND k.deleted_at IS NULL
                  AND k.external_id IS NOT NULL";
    ONBOARDINGS = "SELECT o.external_id, c.id, c.display_id, c.external_id AS customer_key
                   FROM onboardings o JOIN customers c ON c.id = o.customer_id AND c.deleted_at IS NULL
                   WHERE o.workspace_id = $1 AND o.livemode = $2 AND o.external_id {in:$3} AND o.deleted_at IS NULL
                     AND o.external_id IS NOT NULL";
}

/// The customer of a contact or an onboarding, by every name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerNames {
    /// Its id.
    pub id: String,
    /// Its number.
    pub display_id: i64,
    /// The caller's own key.
    pub external_id: Option<String>,
}

impl Store {
    /// Which of these keys customers have.
    pub async fn customers_with(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        external_ids: &[String],
    ) -> Result<Vec<String>, StoreError> {
        let args = vec![Arg::id(workspace), Arg::Bool(livemode), Arg::texts(external_ids)];
        self.db().all(&CUSTOMERS, args).await?.iter().map(|row| row.text("external_id")).collect()
    }

    /// The ids of the customers with these slugs.
    pub async fn customers_by_slug(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        slugs: &[String],
    ) -> Result<HashMap<String, String>, StoreError> {
        let args = vec![Arg::id(workspace), Arg::Bool(livemode), Arg::texts(slugs)];
        let rows = self.db().all(&SLUGS, args).await?;
        rows.iter().map(|row| Ok((row.text("slug")?, row.text("id")?))).collect()
    }

    /// Which of these keys contacts have, each with its customer.
    pub async fn contacts_with(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        external_ids: &[String],
    ) -> Result<HashMap<String, CustomerNames>, StoreError> {
        self.with_customers(&CONTACTS, workspace, livemode, external_ids).await
    }

    /// Which of these keys onboardings have, each with its customer.
    pub async fn onboardings_with(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        external_ids: &[String],
    ) -> Result<HashMap<String, CustomerNames>, StoreError> {
        self.with_customers(&ONBOARDINGS, workspace, livemode, external_ids).await
    }

    async fn with_customers(
        &self,
        stmt: &'static Stmt,
        workspace: WorkspaceId,
        livemode: bool,
        external_ids: &[String],
    ) -> Result<HashMap<String, CustomerNames>, StoreError> {
        let args = vec![Arg::id(workspace), Arg::Bool(livemode), Arg::texts(external_ids)];
        let rows = self.db().all(stmt, args).await?;
        let read = |row: &crate::db::Row| {
            let names = CustomerNames {
                id: row.text("id")?,
                display_id: row.int("display_id")?,
                external_id: row.opt_text("customer_key")?,
            };
            Ok((row.text("external_id")?, names))
        };
        rows.iter().map(read).collect()
    }
}
