//! What a batch knows. Later requests see here what earlier ones did.

use std::{collections::HashMap, hash::Hash};

use usher_lifecycle::{
    CustomerId, Onboarding,
    command::{ContactPatch, CustomerPart},
    customer::{Contact, Customer, CustomerStatus},
    decide::Record,
    person::User,
    reminder::Rules,
    template::Template,
    workspace::Workspace,
};

use super::{Ref, index::Index};

/// Everything the requests of one workspace and mode need.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) rules: Rules,
    pub(super) workspace: Option<Workspace>,
    pub(super) onboardings: Index<Onboarding>,
    pub(super) customers: Index<Customer>,
    pub(super) users: Index<User>,
    pub(super) contacts: Index<Contact>,
    pub(super) templates: Index<Template>,
    /// What stood there before, newest last, while what is taken in may have to be forgotten again.
    pub(super) journal: Option<Vec<(Record, Option<Record>)>>,
}

/// A customer as an onboarding's creation names it: `external:<key>` over NATS, else an id or a number.
pub(super) fn customer_ref(named: &str) -> Ref {
    named.strip_prefix("external:").map_or_else(|| Ref::parse(named), |key| Ref::ExternalId(key.to_owned()))
}

impl Facts {
    /// Takes a record in as it stands now.
    pub(super) fn remember(&mut self, record: Record) {
        if self.journal.is_some() {
            let before = self.known(&record);
            self.journal.iter_mut().for_each(|it| it.push((record.clone(), before.clone())));
        }
        self.put(record);
    }

    pub(super) fn put(&mut self, record: Record) {
        let id = record.id();
        let gone = record.is_deleted();
        match record {
            Record::Onboarding(it) => {
                let external = it.external_id.clone().filter(|_| !gone);
                self.onboardings.put(id, it.display_id, external.as_deref(), it);
            }
            Record::Customer(it) => {
                let external = it.fields.external_id.clone().filter(|_| !gone);
                self.customers.put(id, it.display_id, external.as_deref(), it);
            }
            Record::User(it) => {
                let external = it.external_id.clone().filter(|_| !gone);
                self.users.put(id, it.display_id, external.as_deref(), it);
            }
            Record::Contact(it) => {
                let external = it.external_id.clone().filter(|_| !gone);
                self.contacts.put(id, it.display_id, external.as_deref(), it);
            }
            Record::Template(it) => self.templates.put(id, it.display_id, None, it),
            Record::Workspace(it) => {
                self.rules.clone_from(&it.rules);
                self.workspace = Some(it);
            }
        }
    }

    /// The same record as it was taken in last.
    fn known(&self, record: &Record) -> Option<Record> {
        let id = Ref::Id(record.id());
        match record {
            Record::Onboarding(_) => self.onboardings.get(&id).cloned().map(Record::Onboarding),
            Record::Customer(_) => self.customers.get(&id).cloned().map(Record::Customer),
            Record::User(_) => self.users.get(&id).cloned().map(Record::User),
            Record::Contact(_) => self.contacts.get(&id).cloned().map(Record::Contact),
            Record::Template(_) => self.templates.get(&id).cloned().map(Record::Template),
            Record::Workspace(_) => self.workspace.clone().map(Record::Workspace),
        }
    }

    /// Forgets what was taken in since the journal was begun, and ends it.
    pub(super) fn undo(&mut self) {
        for (record, before) in self.journal.take().unwrap_or_default().into_iter().rev() {
            let id = record.id();
            match (before, record) {
                (Some(before), _) => self.put(before),
                (None, Record::Onboarding(_)) => self.onboardings.forget(&id),
                (None, Record::Customer(_)) => self.customers.forget(&id),
                (None, Record::User(_)) => self.users.forget(&id),
                (None, Record::Contact(_)) => self.contacts.forget(&id),
                (None, Record::Template(_)) => self.templates.forget(&id),
                (None, Record::Workspace(_)) => {}
            }
        }
    }

    /// The customer that a composite is about, if it is there. The first name that is given says which: `external_id`,
    /// else `slug`, else `domain` (the oldest customer of it).
    pub(super) fn customer_meant(&self, part: &CustomerPart) -> Option<&Customer> {
        let patch = match part {
            CustomerPart::Named(named) => {
                return self.customers.get(&customer_ref(named)).filter(|it| it.deleted_at.is_none());
            }
            CustomerPart::Upsert(patch) => patch,
        };
        let text = |name| patch.texts.get(name).and_then(Option::as_ref);
        if let Some(key) = text("external_id") {
            return self.customers.get(&Ref::ExternalId(key.clone()));
        }
        let alive = self.customers.all().filter(|it| it.deleted_at.is_none());
        if let Some(slug) = text("slug") {
            return alive.into_iter().find(|it| it.fields.slug.as_ref() == Some(slug));
        }
        let domain = text("domain")?;
        alive.filter(|it| it.fields.domain.as_ref() == Some(domain)).min_by_key(|it| (it.created_at, it.id))
    }

    /// The same, when the composite says something of its status.
    pub(super) fn customer_restated(&self, part: &CustomerPart) -> Option<&Customer> {
        match part {
            CustomerPart::Upsert(patch) if patch.status.is_some() => self.customer_meant(part),
            CustomerPart::Upsert(_) | CustomerPart::Named(_) => None,
        }
    }

    /// The contact of this customer that a composite is about, if it is there: by `external_id`, else by `email`.
    pub(super) fn contact_meant(&self, customer: CustomerId, patch: &ContactPatch) -> Option<&Contact> {
        let key = patch.external_id.clone().flatten();
        let by_key = key.and_then(|key| self.contacts.get(&Ref::ExternalId(key)));
        by_key.filter(|it| it.customer_id == customer).or_else(|| {
            self.contacts_of(customer).into_iter().find(|it| Some(&it.email) == patch.email.as_ref())
        })
    }

    /// The living contacts of a customer, oldest first.
    pub(super) fn contacts_of(&self, customer: CustomerId) -> Vec<&Contact> {
        let theirs = self.contacts.all().filter(|it| it.customer_id == customer && it.deleted_at.is_none());
        let mut theirs: Vec<&Contact> = theirs.collect();
        theirs.sort_by_key(|it| (it.created_at, it.display_id));
        theirs
    }

    pub(super) fn status_of(&self, it: &Onboarding) -> Option<CustomerStatus> {
        self.customer_alive(it.customer_id).map(|customer| customer.fields.status)
    }

    /// The customer with that id; none when deleted.
    pub(super) fn customer_alive(&self, id: CustomerId) -> Option<&Customer> {
        self.customers.get(&Ref::Id(id.to_text())).filter(|customer| customer.deleted_at.is_none())
    }

    /// Whether the customer with that id was deleted, so that nobody finds its contacts and onboardings.
    pub(super) fn is_gone(&self, customer: CustomerId) -> bool {
        self.customers.get(&Ref::Id(customer.to_text())).is_some_and(|it| it.deleted_at.is_some())
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
