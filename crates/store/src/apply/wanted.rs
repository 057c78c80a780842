//! What the requests of a batch name, so that it can be loaded in a few queries.

use std::collections::BTreeSet;

use usher_lifecycle::{
    Command,
    command::{Aggregate, Composite, CreateOnboarding, CustomerPart, TemplatePatch},
};

use super::{Ref, Request, facts::customer_ref};

/// The names of one kind that a batch asks for.
#[derive(Default)]
pub(super) struct Names {
    pub(super) ids: BTreeSet<String>,
    pub(super) numbers: BTreeSet<i64>,
    pub(super) external: BTreeSet<String>,
}

impl Names {
    pub(super) fn add(&mut self, which: &Ref) {
        match which {
            Ref::Id(id) => drop(self.ids.insert(id.clone())),
            Ref::DisplayId(number) => drop(self.numbers.insert(*number)),
            Ref::ExternalId(key) => drop(self.external.insert(key.clone())),
        }
    }
}

/// What the requests of one workspace and mode name.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) onboardings: Names,
    pub(super) customers: Names,
    pub(super) users: Names,
    pub(super) contacts: Names,
    pub(super) templates: Names,
    pub(super) emails: BTreeSet<String>,
    pub(super) slugs: BTreeSet<String>,
    pub(super) domains: BTreeSet<String>,
    /// Records that may change: they are locked. A contact changes under the lock of its customer.
    pub(super) changed_customers: Vec<Ref>,
    pub(super) changed_users: Vec<Ref>,
    pub(super) changed_templates: Vec<Ref>,
    pub(super) changed_workspace: bool,
    /// Customers that composites change, or whose contacts they do.
    pub(super) composites: Vec<CustomerPart>,
    /// Customers whose contacts have to be known.
    pub(super) with_contacts: Vec<Ref>,
    /// Customers whose change concerns their onboardings' reminders.
    pub(super) with_onboardings: Vec<Ref>,
}

impl Wanted {
    pub(super) fn of(requests: &[&Request]) -> Self {
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
                    Aggregate::Contact => wanted.contacts.add(target),
                    Aggregate::Template => {
                        wanted.templates.add(target);
                        wanted.changed_templates.push(target.clone());
                    }
                    Aggregate::Workspace => wanted.changed_workspace = true,
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
                self.onboarding(create);
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
            Command::CreateContact(create) => {
                let customer = customer_ref(&create.customer);
                self.customers.add(&customer);
                self.with_contacts.push(customer.clone());
                self.changed_customers.push(customer);
                self.contacts.external.extend(create.external_id.clone());
            }
            Command::ChangeContact(patch) => {
                self.contacts.external.extend(patch.external_id.clone().flatten());
            }
            Command::CreateTemplate(create) => self.roles(&create.defaults),
            Command::ChangeTemplate(patch) => self.roles(patch),
            Command::Compose(composite) => self.composite(composite),
            Command::DeleteCustomer => self.with_onboardings.extend(target.cloned()),
            Command::DeleteOnboarding
            | Command::SnoozeOnboarding(_)
            | Command::UnsnoozeOnboarding
            | Command::RemindOnboarding(_)
            | Command::DeleteUser
            | Command::DeleteContact
            | Command::DeleteTemplate
            | Command::ChangeWorkspace(_) => {}
        }
    }

    fn onboarding(&mut self, create: &CreateOnboarding) {
        create.roles.values().for_each(|named| self.user(named));
        create.template.iter().for_each(|named| self.templates.add(&Ref::parse(named)));
        self.onboardings.external.extend(create.external_id.clone());
    }

    fn roles(&mut self, template: &TemplatePatch) {
        template.roles.values().flatten().for_each(|named| self.user(named));
    }

    fn composite(&mut self, composite: &Composite) {
        match &composite.customer {
            CustomerPart::Named(named) => self.customers.add(&customer_ref(named)),
            CustomerPart::Upsert(patch) => {
                let text = |name| patch.texts.get(name).cloned().flatten();
                self.customers.external.extend(text("external_id"));
                self.slugs.extend(text("slug"));
                self.domains.extend(text("domain"));
            }
        }
        self.composites.push(composite.customer.clone());
        let keys = composite.contacts.iter().filter_map(|it| it.external_id.clone().flatten());
        self.contacts.external.extend(keys);
        composite.onboarding.iter().for_each(|create| self.onboarding(create));
    }

    fn user(&mut self, named: &str) {
        if named.contains('@') {
            self.emails.insert(named.to_lowercase());
        } else {
            self.users.add(&Ref::parse(named));
        }
    }
}
