//! What a batch needs to know: the records its requests name, loaded in a few queries and locked where they may
//! change. Later requests of the batch see here what earlier ones did.
//!
//! Locks are taken in one order (customers, users, onboardings with their schedules; each by id), so that transactions
//! cannot wait for each other in a circle. What is named otherwise is looked up first and locked by id.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
};

use usher_lifecycle::{
    Command, Onboarding, TemplateId, WorkspaceId,
    command::Aggregate,
    customer::{Customer, CustomerStatus},
    decide::Record,
    person::User,
    reminder::Rules,
};

use super::{Ref, Request};
use crate::{
    db::{Arg, Row, Stmt, Tx, statements},
    error::StoreError,
    records::{self, customer_columns, onboarding_columns, user_columns},
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
    TEMPLATES_BY_ID = "SELECT id, display_id FROM templates WHERE workspace_id = $1 AND livemode = $2 AND deleted_at IS NULL AND id {in:$3}";
    TEMPLATES_BY_DISPLAY = "SELECT id, display_id FROM templates WHERE workspace_id = $1 AND livemode = $2 AND deleted_at IS NULL AND display_id {in:$3}";
}

/// Records of one kind, found by any of their names. Deleted ones are found by id and number only.
#[derive(Debug)]
pub(super) struct Index<T> {
    all: HashMap<String, T>,
    by_display: HashMap<i64, String>,
    by_external: HashMap<String, String>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { all: HashMap::new(), by_display: HashMap::new(), by_external: HashMap::new() }
    }
}

impl<T> Index<T> {
    pub(super) fn get(&self, which: &Ref) -> Option<&T> {
        let id = match which {
            Ref::Id(id) => id,
            Ref::DisplayId(number) => self.by_display.get(number)?,
            Ref::ExternalId(key) => self.by_external.get(key)?,
        };
        self.all.get(id)
    }

    fn put(&mut self, id: String, display_id: i64, external_id: Option<&str>, record: T) {
        self.by_external.retain(|_, owner| *owner != id);
        if let Some(key) = external_id {
            self.by_external.insert(key.to_owned(), id.clone());
        }
        self.by_display.insert(display_id, id.clone());
        self.all.insert(id, record);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.all.values()
    }
}

/// Everything the requests of one workspace and mode need.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) rules: Rules,
    pub(super) onboardings: Index<Onboarding>,
    pub(super) customers: Index<Customer>,
    pub(super) users: Index<User>,
    pub(super) templates: Index<TemplateId>,
}

/// The names of one kind that a batch asks for.
#[derive(Default)]
struct Names {
    ids: BTreeSet<String>,
    numbers: BTreeSet<i64>,
    external: BTreeSet<String>,
}

impl Names {
    fn add(&mut self, which: &Ref) {
        match which {
            Ref::Id(id) => drop(self.ids.insert(id.clone())),
            Ref::DisplayId(number) => drop(self.numbers.insert(*number)),
            Ref::ExternalId(key) => drop(self.external.insert(key.clone())),
        }
    }
}

#[derive(Default)]
struct Wanted {
    onboardings: Names,
    customers: Names,
    users: Names,
    templates: Names,
    emails: BTreeSet<String>,
    slugs: BTreeSet<String>,
    changed_customers: Vec<Ref>,
    changed_users: Vec<Ref>,
    /// Customers whose change concerns their onboardings' reminders.
    with_onboardings: Vec<Ref>,
}

impl Wanted {
    fn of(requests: &[&Request]) -> Self {
        let mut wanted = Self::default();
        for request in requests {
            if let Some(target) = &request.target {
                match request.command.aggregate() {
                    Aggregate::Onboarding => wanted.onboardings.add(target),
                    Aggregate::Customer => {
                        wanted.customers.add(target);
                        wanted.changed_customers.push(target.clone());
                    }
                    Aggregate::User => {
                        wanted.users.add(target);
                        wanted.changed_users.push(target.clone());
                    }
                }
            }
            wanted.command(&request.command, request.target.as_ref());
        }
        wanted
    }

    fn command(&mut self, command: &Command, target: Option<&Ref>) {
        match command {
            Command::CreateOnboarding(create) => {
                self.customers.add(&customer_ref(&create.customer));
                create.roles.values().for_each(|named| self.user(named));
                create.template.iter().for_each(|named| self.templates.add(&Ref::parse(named)));
                self.onboardings.external.extend(create.external_id.clone());
            }
            Command::ChangeOnboarding(patch) => {
                patch.roles.values().flatten().for_each(|named| self.user(named));
                patch.template.iter().flatten().for_each(|named| self.templates.add(&Ref::parse(named)));
                self.onboardings.external.extend(patch.external_id.clone().flatten());
            }
            Command::CreateCustomer(create) => {
                self.customers.external.extend(create.fields.external_id.clone());
                self.slugs.extend(create.fields.slug.clone());
            }
            Command::ChangeCustomer(patch) => {
                self.customers.external.extend(patch.texts.get("external_id").cloned().flatten());
                self.slugs.extend(patch.texts.get("slug").cloned().flatten());
                if patch.status.is_some() {
                    self.with_onboardings.extend(target.cloned());
                }
            }
            Command::CreateUser(create) => {
                self.users.external.extend(create.external_id.clone());
                self.emails.insert(create.email.clone());
            }
            Command::ChangeUser(patch) => {
                self.users.external.extend(patch.external_id.clone().flatten());
                self.emails.extend(patch.email.clone());
            }
            Command::DeleteCustomer => self.with_onboardings.extend(target.cloned()),
            Command::DeleteOnboarding
            | Command::SnoozeOnboarding(_)
            | Command::UnsnoozeOnboarding
            | Command::RemindOnboarding(_)
            | Command::DeleteUser => {}
        }
    }

    fn user(&mut self, named: &str) {
        if named.contains('@') {
            self.emails.insert(named.to_lowercase());
        } else {
            self.users.add(&Ref::parse(named));
        }
    }
}

/// A customer as an onboarding's creation names it: `external:<key>` over NATS, else an id or a number.
pub(super) fn customer_ref(named: &str) -> Ref {
    named.strip_prefix("external:").map_or_else(|| Ref::parse(named), |key| Ref::ExternalId(key.to_owned()))
}

impl Facts {
    /// Loads what the requests need; none when the workspace is not there.
    pub(super) async fn load(
        tx: &mut Tx,
        workspace: WorkspaceId,
        livemode: bool,
        requests: &[&Request],
    ) -> Result<Option<Self>, StoreError> {
        let Some(rules) = workspaces::rules(tx, workspace).await? else { return Ok(None) };
        let wanted = Wanted::of(requests);
        let mut facts = Self { rules, ..Self::default() };
        let scope = Scope { workspace: Arg::id(workspace), livemode };

        facts.load_customers(tx, &scope, &wanted).await?;
        facts.load_users(tx, &scope, &wanted).await?;
        facts.load_onboardings(tx, &scope, &wanted).await?;
        for (stmt, names) in [
            (&TEMPLATES_BY_ID, Arg::texts(&wanted.templates.ids)),
            (&TEMPLATES_BY_DISPLAY, ints(&wanted.templates.numbers)),
        ] {
            for row in scope.all(tx, stmt, names).await? {
                let id: TemplateId = row.parsed("id")?;
                facts.templates.put(id.to_text(), row.int("display_id")?, None, id);
            }
        }
        Ok(Some(facts))
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
        ] {
            for row in scope.all(tx, stmt, names).await? {
                self.remember(Record::Customer(records::customer(&row)?));
            }
        }
        let changed = wanted.changed_customers.iter().filter_map(|which| self.customers.get(which));
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
        let known: HashSet<String> = self.customers.all.keys().cloned().collect();
        let missing =
            self.onboardings.all().map(|it| it.customer_id.to_text()).filter(|id| !known.contains(id));
        let missing: BTreeSet<String> = missing.collect();
        for row in scope.all(tx, &CUSTOMERS_BY_ID, Arg::texts(&missing)).await? {
            self.remember(Record::Customer(records::customer(&row)?));
        }
        Ok(())
    }

    /// Takes a record in as it stands now.
    pub(super) fn remember(&mut self, record: Record) {
        match record {
            Record::Onboarding(it) => {
                let external = it.external_id.clone().filter(|_| it.hidden.deleted_at.is_none());
                self.onboardings.put(it.id.to_text(), it.display_id, external.as_deref(), it);
            }
            Record::Customer(it) => {
                let external = it.fields.external_id.clone().filter(|_| it.deleted_at.is_none());
                self.customers.put(it.id.to_text(), it.display_id, external.as_deref(), it);
            }
            Record::User(it) => {
                let external = it.external_id.clone().filter(|_| it.deleted_at.is_none());
                self.users.put(it.id.to_text(), it.display_id, external.as_deref(), it);
            }
        }
    }

    /// The customer of an onboarding: its id and status; none when deleted.
    pub(super) fn customer_of(&self, it: &Onboarding) -> Option<&Customer> {
        self.customers
            .get(&Ref::Id(it.customer_id.to_text()))
            .filter(|customer| customer.deleted_at.is_none())
    }

    pub(super) fn status_of(&self, it: &Onboarding) -> Option<CustomerStatus> {
        self.customer_of(it).map(|customer| customer.fields.status)
    }

    /// The user that a role field names: not deleted; a deactivated one stays assignable, and gets nothing.
    pub(super) fn user_named(&self, named: &str) -> Option<&User> {
        if named.contains('@') {
            let email = named.to_lowercase();
            return self.users.all().find(|user| user.email == email && user.deleted_at.is_none());
        }
        self.users.get(&Ref::parse(named)).filter(|user| user.deleted_at.is_none())
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

/// Groups in order of first appearance.
pub(super) fn group<T, K: Eq + Hash + Copy>(
    items: impl Iterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    let mut places: HashMap<K, usize> = HashMap::new();
    for item in items {
        let key = key(&item);
        let place = *places.entry(key).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        if let Some((_, group)) = groups.get_mut(place) {
            group.push(item);
        }
    }
    groups
}
