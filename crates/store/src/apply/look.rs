//! What one request is about, as it stands within the batch: the record, what its references name, and whose its names
//! are already.

use usher_lifecycle::{
    Code, Command, Refusal,
    command::{Aggregate, References},
    decide::{Current, Record},
};

use super::{
    Ref, Request,
    batch::Numbers,
    facts::{self, Facts},
};
use crate::ids;

/// The record the request is about, as it stands within the batch.
pub(super) fn current(request: &Request, facts: &Facts) -> Result<Current, Refusal> {
    let Some(target) = &request.target else {
        return Ok(Current::Nothing { workspace_id: request.workspace_id, livemode: request.livemode });
    };
    let kind = request.command.aggregate();
    let again = request.command.is_delete();
    let found = match kind {
        Aggregate::Onboarding => facts
            .onboardings
            .get(target)
            .filter(|it| {
                (again || it.hidden.deleted_at.is_none()) && facts.customer_alive(it.customer_id).is_some()
            })
            .map(|it| Record::Onboarding(it.clone())),
        Aggregate::Customer => facts
            .customers
            .get(target)
            .filter(|it| again || it.deleted_at.is_none())
            .map(|it| Record::Customer(it.clone())),
        Aggregate::User => facts
            .users
            .get(target)
            .filter(|it| again || it.deleted_at.is_none())
            .map(|it| Record::User(it.clone())),
        Aggregate::Contact => facts
            .contacts
            .get(target)
            .filter(|it| again || it.deleted_at.is_none())
            .filter(|it| facts.customer_alive(it.customer_id).is_some())
            .map(|it| Record::Contact(it.clone())),
        Aggregate::Template => facts
            .templates
            .get(target)
            .filter(|it| again || it.deleted_at.is_none())
            .map(|it| Record::Template(it.clone())),
        // One for both modes, and test requests must not change what live reminders go by.
        Aggregate::Workspace => facts
            .workspace
            .as_ref()
            .filter(|it| request.livemode && *target == Ref::Id(it.id.to_text()))
            .map(|it| Record::Workspace(it.clone())),
    };
    found.map(Current::Record).ok_or_else(|| Refusal::not_found(kind.not_found(), kind.as_str(), target))
}

/// The ids of the records, as they stand now, that a request is about; a composite may be about several.
pub(super) fn subjects(request: &Request, facts: &Facts) -> Vec<String> {
    let Command::Compose(composite) = &request.command else {
        return match current(request, facts) {
            Ok(Current::Record(record)) => vec![record.id()],
            Ok(Current::Nothing { .. }) | Err(_) => Vec::new(),
        };
    };
    let Some(customer) = facts.customer_meant(&composite.customer).map(|it| it.id) else { return Vec::new() };
    let contacts = composite.contacts.iter().filter_map(|patch| facts.contact_meant(customer, patch));
    contacts.map(|it| it.id.to_text()).chain([customer.to_text()]).collect()
}

pub(super) fn references(
    request: &Request,
    current: &Current,
    facts: &Facts,
    numbers: &mut Numbers,
) -> References {
    let mut references = References { random: ids::random(), ..References::default() };
    if matches!(current, Current::Nothing { .. }) {
        references.display_id = numbers.take(request.command.aggregate());
    }
    let mut named_users: Vec<&String> = Vec::new();
    let mut template = None;
    match &request.command {
        Command::CreateOnboarding(create) => {
            let customer = facts.customers.get(&facts::customer_ref(&create.customer));
            references.customer =
                customer.filter(|it| it.deleted_at.is_none()).map(|it| (it.id, it.fields.status));
            named_users.extend(create.roles.values());
            template = create.template.as_ref();
        }
        Command::ChangeOnboarding(patch) => {
            named_users.extend(patch.roles.values().flatten());
            template = patch.template.as_ref().and_then(Option::as_ref);
        }
        Command::CreateContact(create) => {
            let customer = facts.customers.get(&facts::customer_ref(&create.customer));
            references.customer =
                customer.filter(|it| it.deleted_at.is_none()).map(|it| (it.id, it.fields.status));
        }
        Command::CreateTemplate(create) => named_users.extend(create.defaults.roles.values().flatten()),
        Command::ChangeTemplate(patch) => named_users.extend(patch.roles.values().flatten()),
        Command::ChangeContact(_)
        | Command::DeleteContact
        | Command::DeleteTemplate
        | Command::ChangeWorkspace(_)
        | Command::Compose(_)
        | Command::DeleteOnboarding
        | Command::SnoozeOnboarding(_)
        | Command::UnsnoozeOnboarding
        | Command::RemindOnboarding(_)
        | Command::CreateCustomer(_)
        | Command::ChangeCustomer(_)
        | Command::DeleteCustomer
        | Command::CreateUser(_)
        | Command::ChangeUser(_)
        | Command::DeleteUser => {}
    }
    if let Current::Record(Record::Onboarding(it)) = current {
        references.customer = facts.status_of(it).map(|status| (it.customer_id, status));
    }
    let (contact, customer) = match current {
        Current::Record(Record::Contact(it)) => (Some(it.id), Some(it.customer_id)),
        Current::Nothing { .. } if matches!(request.command, Command::CreateContact(_)) => {
            (None, references.customer.map(|(id, _)| id))
        }
        Current::Nothing { .. } | Current::Record(_) => (None, None),
    };
    if let Some(customer) = customer {
        let theirs = facts.contacts_of(customer).into_iter();
        references.contacts = theirs.filter(|it| Some(it.id) != contact).cloned().collect();
    }
    let template = template.and_then(|named| facts.templates.get(&Ref::parse(named)));
    references.template = template.filter(|it| it.deleted_at.is_none()).cloned();
    let roles = references.template.iter().flat_map(|it| it.defaults.roles.values());
    let roles: Vec<String> = roles.map(|user| user.to_text()).collect();
    references.users = named_users
        .into_iter()
        .chain(&roles)
        .filter_map(|named| Some((named.clone(), facts.user_named(named)?.id)))
        .collect();
    references
}

/// Names that must be unique, looked up in what the batch knows; the indexes hold the same law. What lost its customer
/// gives its key up.
pub(super) fn unique(record: &Record, facts: &Facts) -> Result<(), Refusal> {
    if record.is_deleted() {
        return Ok(());
    }
    let taken = |code, field: &str, value: &str, owner: String| {
        let shown = usher_lifecycle::limits::excerpt(value);
        Err(Refusal::field(code, field, format!("{field} {shown} is taken by {owner}")))
    };
    match record {
        Record::Onboarding(it) => {
            if let Some(key) = &it.external_id
                && let Some(owner) = facts
                    .onboardings
                    .get(&Ref::ExternalId(key.clone()))
                    .filter(|other| other.id != it.id && !facts.is_gone(other.customer_id))
            {
                return taken(Code::ExternalIdTaken, "external_id", key, owner.id.to_text());
            }
        }
        Record::Customer(it) => {
            if let Some(key) = &it.fields.external_id
                && let Some(owner) =
                    facts.customers.get(&Ref::ExternalId(key.clone())).filter(|other| other.id != it.id)
            {
                return taken(Code::ExternalIdTaken, "external_id", key, owner.id.to_text());
            }
            let alive = |other: &&usher_lifecycle::customer::Customer| {
                other.id != it.id && other.deleted_at.is_none()
            };
            if let Some(slug) = &it.fields.slug
                && let Some(owner) =
                    facts.customers.all().filter(alive).find(|other| other.fields.slug.as_ref() == Some(slug))
            {
                return taken(Code::SlugTaken, "slug", slug, owner.id.to_text());
            }
        }
        Record::User(it) => {
            if let Some(key) = &it.external_id
                && let Some(owner) =
                    facts.users.get(&Ref::ExternalId(key.clone())).filter(|other| other.id != it.id)
            {
                return taken(Code::ExternalIdTaken, "external_id", key, owner.id.to_text());
            }
            let alive =
                |other: &&usher_lifecycle::person::User| other.id != it.id && other.deleted_at.is_none();
            if let Some(owner) = facts.users.all().filter(alive).find(|other| other.email == it.email) {
                return taken(Code::EmailTaken, "email", &it.email, owner.id.to_text());
            }
        }
        Record::Contact(it) => {
            if let Some(key) = &it.external_id
                && let Some(owner) = facts
                    .contacts
                    .get(&Ref::ExternalId(key.clone()))
                    .filter(|other| other.id != it.id && !facts.is_gone(other.customer_id))
            {
                return taken(Code::ExternalIdTaken, "external_id", key, owner.id.to_text());
            }
            let theirs = facts.contacts_of(it.customer_id).into_iter();
            if let Some(owner) = theirs.into_iter().find(|other| other.id != it.id && other.email == it.email)
            {
                return taken(Code::EmailTaken, "email", &it.email, owner.id.to_text());
            }
        }
        Record::Template(_) | Record::Workspace(_) => {}
    }
    Ok(())
}
