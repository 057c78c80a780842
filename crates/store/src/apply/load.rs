//! What a batch needs to know: the records its requests name, loaded in a few queries and locked where they may change.
//!
//! Locks are taken in one order (templates, customers, users, onboardings with their schedules, the workspace; each by
//! id), so that transactions cannot wait for each other in a circle. What is named otherwise is looked up first and
//! locked by id. Contacts have no locks of their own: who changes one holds its customer.

use std::collections::{BTreeSet, HashSet};

use usher_lifecycle::{WorkspaceId, decide::Record};

use super::{Ref, Request, facts::Facts, wanted::Wanted};
use crate::{
    db::{Arg, Row, Stmt, Tx, statements},
    error::StoreError,
    records::{self, contact_columns, customer_columns, onboarding_columns, template_columns, user_columns},
    workspaces,
};

macro_rules! customers_where {
    ($condition:literal) => {
        concat!("SELECT ", customer_columns!(), " FROM customers WHERE ", $condition)
    };
}
macro_rules! users_where {
    ($condition:literal) => {
        concat!("SELECT ", user_columns!(), " FROM users WHERE ", $condition)
    };
}

macro_rules! contacts_where {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            contact_columns!(),
            " FROM contacts t WHERE t.workspace_id = $1 AND t.livemode = $2 AND ",
            $condition
        )
    };
}
macro_rules! templates_where {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            template_columns!(),
            " FROM templates WHERE workspace_id = $1 AND livemode = $2 AND ",
            $condition
        )
    };
}

statements! {
    ONBOARDINGS_BY_DISPLAY = "SELECT id FROM onboardings WHERE workspace_id = $1 AND livemode = $2 AND display_id {in:$3}";
    ONBOARDINGS_BY_EXTERNAL = "SELECT id FROM onboardings WHERE workspace_id = $1 AND livemode = $2 AND external_id {in:$3} AND deleted_at IS NULL";
    ONBOARDINGS_OF = "SELECT id FROM onboardings WHERE workspace_id = $1 AND livemode = $2 AND customer_id {in:$3} AND deleted_at IS NULL";
    ONBOARDINGS_LOCKED = concat!("SELECT ", onboarding_columns!(), " FROM onboardings o JOIN schedules s ON s.onboarding_id = o.id
        WHERE o.workspace_id = $1 AND o.livemode = $2 AND o.id {in:$3} ORDER BY o.id {lock of:o, s}");
    CUSTOMERS_BY_ID = customers_where!("workspace_id = $1 AND livemode = $2 AND id {in:$3}");
    CUSTOMERS_BY_DISPLAY = customers_where!("workspace_id = $1 AND livemode = $2 AND display_id {in:$3}");
    CUSTOMERS_BY_EXTERNAL = customers_where!("workspace_id = $1 AND livemode = $2 AND external_id {in:$3} AND deleted_at IS NULL");
    CUSTOMERS_BY_SLUG = customers_where!("workspace_id = $1 AND livemode = $2 AND slug {in:$3} AND deleted_at IS NULL");
    CUSTOMERS_LOCKED = customers_where!("workspace_id = $1 AND livemode = $2 AND id {in:$3} ORDER BY id {lock}");
    USERS_BY_ID = users_where!("workspace_id = $1 AND livemode = $2 AND id {in:$3}");
    USERS_BY_DISPLAY = users_where!("workspace_id = $1 AND livemode = $2 AND display_id {in:$3}");
    USERS_BY_EXTERNAL = users_where!("workspace_id = $1 AND livemode = $2 AND external_id {in:$3} AND deleted_at IS NULL");
    USERS_BY_EMAIL = users_where!("workspace_id = $1 AND livemode = $2 AND email {in:$3} AND deleted_at IS NULL");
    USERS_LOCKED = users_where!("workspace_id = $1 AND livemode = $2 AND id {in:$3} ORDER BY id {lock}");
    // The oldest customer of each domain: many may share one.
    CUSTOMERS_BY_DOMAIN = customers_where!("id IN (SELECT (SELECT c.id FROM customers c WHERE c.workspace_id = $1
        AND c.livemode = $2 AND c.domain = value AND c.deleted_at IS NULL ORDER BY c.created_at, c.id LIMIT 1)
        FROM {each:$3})");
    CONTACTS_BY_ID = contacts_where!("t.id {in:$3}");
    CONTACTS_BY_DISPLAY = contacts_where!("t.display_id {in:$3}");
    CONTACTS_BY_EXTERNAL = contacts_where!("t.external_id {in:$3} AND t.deleted_at IS NULL");
    CONTACTS_OF = contacts_where!("t.customer_id {in:$3} AND t.deleted_at IS NULL");
    TEMPLATES_BY_ID = templates_where!("id {in:$3}");
    TEMPLATES_BY_DISPLAY = templates_where!("display_id {in:$3}");
    TEMPLATES_LOCKED = templates_where!("id {in:$3} ORDER BY id {lock}");
}

impl Facts {
    /// Loads what the requests need; none when the workspace is not there.
    pub(super) async fn load(
        tx: &mut Tx,
        workspace: WorkspaceId,
        livemode: bool,
        requests: &[&Request],
    ) -> Result<Option<Self>, StoreError> {
        let mut wanted = Wanted::of(requests);
        let mut facts = Self::default();
        let scope = Scope { workspace: Arg::id(workspace), livemode };

        facts.load_templates(tx, &scope, &mut wanted).await?;
        facts.load_contacts_named(tx, &scope, &mut wanted).await?;
        facts.load_customers(tx, &scope, &wanted).await?;
        facts.load_contacts_of(tx, &scope, &wanted).await?;
        facts.load_users(tx, &scope, &wanted).await?;
        facts.load_onboardings(tx, &scope, &wanted).await?;
        // Last, after all waiting for locks: what is decided goes by the rules as they stand then.
        let found = workspaces::get(tx, workspace, wanted.changed_workspace).await?;
        Ok(found.map(|workspace| {
            facts.put(Record::Workspace(workspace));
            facts
        }))
    }

    async fn load_templates(
        &mut self,
        tx: &mut Tx,
        scope: &Scope,
        wanted: &mut Wanted,
    ) -> Result<(), StoreError> {
        for (stmt, names) in [
            (&TEMPLATES_BY_ID, Arg::texts(&wanted.templates.ids)),
            (&TEMPLATES_BY_DISPLAY, ints(&wanted.templates.numbers)),
        ] {
            for row in scope.all(tx, stmt, names).await? {
                self.remember(Record::Template(records::template(&row)?));
            }
        }
        let changed = wanted.changed_templates.iter().filter_map(|which| self.templates.get(which));
        let changed: BTreeSet<String> = changed.map(|it| it.id.to_text()).collect();
        for row in scope.all(tx, &TEMPLATES_LOCKED, Arg::texts(&changed)).await? {
            self.remember(Record::Template(records::template(&row)?));
        }
        let roles = self.templates.all().flat_map(|it| it.defaults.roles.values());
        wanted.users.ids.extend(roles.map(|user| user.to_text()));
        Ok(())
    }

    /// Contacts by their own names, to learn whose they are: those customers are locked.
    async fn load_contacts_named(
        &mut self,
        tx: &mut Tx,
        scope: &Scope,
        wanted: &mut Wanted,
    ) -> Result<(), StoreError> {
        let names = &wanted.contacts;
        let mut owners = Vec::new();
        for (stmt, names) in [
            (&CONTACTS_BY_ID, Arg::texts(&names.ids)),
            (&CONTACTS_BY_DISPLAY, ints(&names.numbers)),
            (&CONTACTS_BY_EXTERNAL, Arg::texts(&names.external)),
        ] {
            for row in scope.all(tx, stmt, names).await? {
                let contact = records::contact(&row)?;
                owners.push(Ref::Id(contact.customer_id.to_text()));
                self.remember(Record::Contact(contact));
            }
        }
        for owner in &owners {
            wanted.customers.add(owner);
        }
        wanted.changed_customers.extend(owners.iter().cloned());
        wanted.with_contacts.extend(owners);
        Ok(())
    }

    /// All living contacts of the customers, as they stand now that the customers are locked; and the named ones anew.
    async fn load_contacts_of(
        &mut self,
        tx: &mut Tx,
        scope: &Scope,
        wanted: &Wanted,
    ) -> Result<(), StoreError> {
        let owners = wanted.with_contacts.iter().filter_map(|which| self.customers.get(which));
        let owners = owners.chain(wanted.composites.iter().filter_map(|part| self.customer_meant(part)));
        let owners: BTreeSet<String> = owners.map(|it| it.id.to_text()).collect();
        let named: BTreeSet<String> = self.contacts.all().map(|it| it.id.to_text()).collect();
        for (stmt, ids) in [(&CONTACTS_BY_ID, &named), (&CONTACTS_OF, &owners)] {
            for row in scope.all(tx, stmt, Arg::texts(ids)).await? {
                self.remember(Record::Contact(records::contact(&row)?));
            }
        }
        Ok(())
    }

    async fn load_customers(
        &mut self,
        tx: &mut Tx,
        scope: &Scope,
        wanted: &Wanted,
    ) -> Result<(), StoreError> {
        let names = &wanted.customers;
        for (stmt, names) in [
            (&CUSTOMERS_BY_ID, Arg::texts(&names.ids)),
            (&CUSTOMERS_BY_DISPLAY, ints(&names.numbers)),
            (&CUSTOMERS_BY_EXTERNAL, Arg::texts(&names.external)),
            (&CUSTOMERS_BY_SLUG, Arg::texts(&wanted.slugs)),
            (&CUSTOMERS_BY_DOMAIN, Arg::texts(&wanted.domains)),
        ] {
            for row in scope.all(tx, stmt, names).await? {
                self.remember(Record::Customer(records::customer(&row)?));
            }
        }
        let changed = wanted.changed_customers.iter().filter_map(|which| self.customers.get(which));
        let changed = changed.chain(wanted.composites.iter().filter_map(|part| self.customer_meant(part)));
        let changed: BTreeSet<String> = changed.map(|it| it.id.to_text()).collect();
        for row in scope.all(tx, &CUSTOMERS_LOCKED, Arg::texts(&changed)).await? {
            self.remember(Record::Customer(records::customer(&row)?));
        }
        Ok(())
    }

    async fn load_users(&mut self, tx: &mut Tx, scope: &Scope, wanted: &Wanted) -> Result<(), StoreError> {
        let names = &wanted.users;
        for (stmt, names) in [
            (&USERS_BY_ID, Arg::texts(&names.ids)),
            (&USERS_BY_DISPLAY, ints(&names.numbers)),
            (&USERS_BY_EXTERNAL, Arg::texts(&names.external)),
            (&USERS_BY_EMAIL, Arg::texts(&wanted.emails)),
        ] {
            for row in scope.all(tx, stmt, names).await? {
                self.remember(Record::User(records::user(&row)?));
            }
        }
        let changed = wanted.changed_users.iter().filter_map(|which| self.users.get(which));
        let changed: BTreeSet<String> = changed.map(|it| it.id.to_text()).collect();
        for row in scope.all(tx, &USERS_LOCKED, Arg::texts(&changed)).await? {
            self.remember(Record::User(records::user(&row)?));
        }
        Ok(())
    }

    async fn load_onboardings(
        &mut self,
        tx: &mut Tx,
        scope: &Scope,
        wanted: &Wanted,
    ) -> Result<(), StoreError> {
        let names = &wanted.onboardings;
        let owners = wanted.with_onboardings.iter().filter_map(|which| self.customers.get(which));
        let owners = owners.chain(wanted.composites.iter().filter_map(|part| self.customer_restated(part)));
        let owners: BTreeSet<String> = owners.map(|it| it.id.to_text()).collect();
        let mut ids = names.ids.clone();
        for (stmt, names) in [
            (&ONBOARDINGS_BY_DISPLAY, ints(&names.numbers)),
            (&ONBOARDINGS_BY_EXTERNAL, Arg::texts(&names.external)),
            (&ONBOARDINGS_OF, Arg::texts(&owners)),
        ] {
            for row in scope.all(tx, stmt, names).await? {
                ids.insert(row.text("id")?);
            }
        }
        for row in scope.all(tx, &ONBOARDINGS_LOCKED, Arg::texts(&ids)).await? {
            self.remember(Record::Onboarding(records::onboarding(&row)?));
        }
        let known: HashSet<String> = self.customers.all().map(|it| it.id.to_text()).collect();
        let missing =
            self.onboardings.all().map(|it| it.customer_id.to_text()).filter(|id| !known.contains(id));
        let missing: BTreeSet<String> = missing.collect();
        for row in scope.all(tx, &CUSTOMERS_BY_ID, Arg::texts(&missing)).await? {
            self.remember(Record::Customer(records::customer(&row)?));
        }
        Ok(())
    }
}

struct Scope {
    workspace: Arg,
    livemode: bool,
}

impl Scope {
    async fn all(&self, tx: &mut Tx, stmt: &'static Stmt, names: Arg) -> Result<Vec<Row>, StoreError> {
        match &names {
            Arg::Texts(names) if names.is_empty() => return Ok(Vec::new()),
            Arg::Ints(names) if names.is_empty() => return Ok(Vec::new()),
            _ => {}
        }
        tx.all(stmt, vec![self.workspace.clone(), Arg::Bool(self.livemode), names]).await
    }
}

fn ints(numbers: &BTreeSet<i64>) -> Arg {
    Arg::Ints(numbers.iter().copied().collect())
}
