//! Templates.

use usher_lifecycle::{WorkspaceId, template::Template};

use super::{Listed, Page, cut, window};
use crate::{
    Store,
    apply::Ref,
    db::{Arg, statements},
    error::StoreError,
    records::{self, template_columns},
};

macro_rules! templates {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            template_columns!(),
            " FROM templates WHERE workspace_id = $1 AND livemode = $2 AND deleted_at IS NULL AND ",
            $condition
        )
    };
}

statements! {
    BY_ID = templates!("id = $3");
    BY_DISPLAY = templates!("display_id = $3");
    // A template has no key of the caller's.
    BY_EXTERNAL = templates!("id = $3 AND FALSE");
    TEMPLATES = templates!("created_at <= $3 ORDER BY created_at DESC, id DESC LIMIT $4");
}

impl Store {
    /// A template.
    pub async fn template(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        which: &Ref,
    ) -> Result<Option<Template>, StoreError> {
        self.one((workspace, livemode), which, [&BY_ID, &BY_DISPLAY, &BY_EXTERNAL], records::template).await
    }

    /// Templates, newest first.
    pub async fn templates(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        page: &Page,
    ) -> Result<Listed<Template>, StoreError> {
        let (from, limit) = window(page);
        let args = vec![Arg::id(workspace), Arg::Bool(livemode), Arg::time(from), Arg::int(limit)];
        let rows = self.db().list(&TEMPLATES, args).await?;
        let rows = rows.iter().map(records::template).collect::<Result<Vec<_>, _>>()?;
        Ok(cut(rows, page, |it| it.created_at))
    }
}
