//! Customers, their contacts, and the team.

use usher_lifecycle::{
    CustomerId, WorkspaceId,
    customer::{Contact, Customer, CustomerStatus},
    person::User,
};

use super::{ListFilter, Listed, Page, cut, opt, window};
use crate::{
    Store,
    apply::Ref,
    db::{Arg, Stmt, statements},
    error::StoreError,
    records::{self, contact_columns, customer_columns, user_columns},
};

macro_rules! customers {
    ($($condition:tt)*) => {
        concat!(
            "SELECT ",
            customer_columns!(),
            " FROM customers WHERE workspace_id = $1 AND livemode = $2 AND deleted_at IS NULL AND ",
            $($condition)*
        )
    };
}
macro_rules! users {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            user_columns!(),
            " FROM users WHERE workspace_id = $1 AND livemode = $2 AND deleted_at IS NULL AND ",
            $condition
        )
    };
}
macro_rules! customer_list {
    ($first:literal) => {
        customers!(
            $first,
            " AND created_at <= $3 AND ($4 = '' OR status = $4) AND ($5 = '' OR slug = $5)
              AND ($6 = '' OR external_id = $6) AND ($7 = '' OR domain = $7)
              ORDER BY created_at DESC, id DESC LIMIT $8"
        )
    };
}
macro_rules! contacts {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            contact_columns!(),
            " FROM contacts t JOIN customers c ON c.id = t.customer_id AND c.deleted_at IS NULL
              WHERE t.workspace_id = $1 AND t.livemode = $2 AND t.deleted_at IS NULL AND ",
            $condition
        )
    };
}

statements! {
    CUSTOMER_BY_ID = customers!("id = $3");
    CUSTOMER_BY_DISPLAY = customers!("display_id = $3");
    CUSTOMER_BY_EXTERNAL = customers!("external_id = $3");
    CUSTOMERS = customer_list!("TRUE");
    CUSTOMERS_BY_STATUS = customer_list!("status = $4");
    CUSTOMERS_BY_SLUG = customer_list!("slug = $5");
    CUSTOMERS_BY_EXTERNAL = customer_list!("external_id = $6");
    CUSTOMERS_BY_DOMAIN = customer_list!("domain = $7");
    CONTACT_BY_ID = contacts!("t.id = $3");
    CONTACT_BY_DISPLAY = contacts!("t.display_id = $3");
    CONTACT_BY_EXTERNAL = contacts!("t.external_id = $3");
    CONTACTS = contacts!("t.customer_id = $3 AND t.created_at <= $4 ORDER BY t.created_at DESC, t.id DESC LIMIT $5");
    USER_BY_ID = users!("id = $3");
    USER_BY_DISPLAY = users!("display_id = $3");
    USER_BY_EXTERNAL = users!("external_id = $3");
    USER_BY_EMAIL = users!("email = $3");
    USERS = users!("created_at <= $3 ORDER BY created_at DESC, id DESC LIMIT $4");
}

/// The statement for these filters, with its arguments.
pub(crate) fn customer_query(
    workspace: WorkspaceId,
    livemode: bool,
    filter: &ListFilter,
    page: &Page,
) -> (&'static Stmt, Vec<Arg>) {
    let (from, limit) = window(page);
    let args = vec![
        Arg::id(workspace),
        Arg::Bool(livemode),
        Arg::time(from),
        opt(filter.status.map(CustomerStatus::as_str)),
        opt(filter.slug.as_ref()),
        opt(filter.external_id.as_ref()),
        opt(filter.domain.as_ref()),
        Arg::int(limit),
    ];
    let stmt = match filter {
        ListFilter { external_id: Some(_), .. } => &CUSTOMERS_BY_EXTERNAL,
        ListFilter { slug: Some(_), .. } => &CUSTOMERS_BY_SLUG,
        ListFilter { domain: Some(_), .. } => &CUSTOMERS_BY_DOMAIN,
        ListFilter { status: Some(_), .. } => &CUSTOMERS_BY_STATUS,
        ListFilter { .. } => &CUSTOMERS,
    };
    (stmt, args)
}

impl Store {
    /// A customer.
    pub async fn customer(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        which: &Ref,
    ) -> Result<Option<Customer>, StoreError> {
        let statements = [&CUSTOMER_BY_ID, &CUSTOMER_BY_DISPLAY, &CUSTOMER_BY_EXTERNAL];
        self.one((workspace, livemode), which, statements, records::customer).await
    }

    /// A member of the team, deactivated ones too.
    pub async fn user(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        which: &Ref,
    ) -> Result<Option<User>, StoreError> {
        if let Ref::Id(address) = which
            && address.contains('@')
        {
            let args = vec![Arg::id(workspace), Arg::Bool(livemode), Arg::text(address.to_lowercase())];
            return self.db().first(&USER_BY_EMAIL, args).await?.as_ref().map(records::user).transpose();
        }
        let statements = [&USER_BY_ID, &USER_BY_DISPLAY, &USER_BY_EXTERNAL];
        self.one((workspace, livemode), which, statements, records::user).await
    }

    /// Customers, newest first.
    pub async fn customers(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        filter: &ListFilter,
        page: &Page,
    ) -> Result<Listed<Customer>, StoreError> {
        let (stmt, args) = customer_query(workspace, livemode, filter, page);
        let rows = self.db().list(stmt, args).await?;
        let rows = rows.iter().map(records::customer).collect::<Result<Vec<_>, _>>()?;
        Ok(cut(rows, page, |it| it.created_at))
    }

    /// Members of the team, newest first.
    pub async fn users(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        page: &Page,
    ) -> Result<Listed<User>, StoreError> {
        let (from, limit) = window(page);
        let args = vec![Arg::id(workspace), Arg::Bool(livemode), Arg::time(from), Arg::int(limit)];
        let rows = self.db().all(&USERS, args).await?;
        let rows = rows.iter().map(records::user).collect::<Result<Vec<_>, _>>()?;
        Ok(cut(rows, page, |it| it.created_at))
    }

    /// A contact of a customer that is not deleted.
    pub async fn contact(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        which: &Ref,
    ) -> Result<Option<Contact>, StoreError> {
        let statements = [&CONTACT_BY_ID, &CONTACT_BY_DISPLAY, &CONTACT_BY_EXTERNAL];
        self.one((workspace, livemode), which, statements, records::contact).await
    }

    /// The contacts of a customer, newest first.
    pub async fn contacts(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        customer: CustomerId,
        page: &Page,
    ) -> Result<Listed<Contact>, StoreError> {
        let (from, limit) = window(page);
        let args = vec![
            Arg::id(workspace),
            Arg::Bool(livemode),
            Arg::id(customer),
            Arg::time(from),
            Arg::int(limit),
        ];
        let rows = self.db().list(&CONTACTS, args).await?;
        let rows = rows.iter().map(records::contact).collect::<Result<Vec<_>, _>>()?;
        Ok(cut(rows, page, |it| it.created_at))
    }
}
