//! Contacts: one primary per customer, an address once per customer, and gone with their customer.

use usher_lifecycle::{
    Command, CustomerId,
    command::{ContactPatch, CreateContact},
    customer::Contact,
};
use usher_store::{Page, Ref, Request};

use crate::{
    bed::{Bed, code, now},
    contracts,
};

contracts!(
    the_first_is_primary_and_a_new_primary_replaces_the_old,
    parallel_first_contacts_make_one_primary,
    contacts_of_a_batch_see_each_other,
    an_address_is_unique_within_the_customer,
    children_of_a_deleted_customer_are_not_found,
    contacts_of_another_workspace_or_mode_are_not_found,
);

pub(crate) fn contact(customer: &str, email: &str) -> Command {
    Command::CreateContact(CreateContact {
        customer: customer.into(),
        name: email.into(),
        email: email.into(),
        ..CreateContact::default()
    })
}

fn primary() -> Command {
    Command::ChangeContact(ContactPatch { is_primary: Some(true), ..ContactPatch::default() })
}

async fn all(bed: &Bed, customer: &str) -> anyhow::Result<Vec<Contact>> {
    let customer: CustomerId = customer.parse()?;
    Ok(bed.store.contacts(bed.workspace, true, customer, &Page { limit: 100, cursor: None }).await?.data)
}

/// The addresses of the primary contacts; the store's index holds that it is one.
async fn primaries(bed: &Bed, customer: &str) -> anyhow::Result<Vec<String>> {
    let all = all(bed, customer).await?;
    Ok(all.into_iter().filter(|it| it.is_primary).map(|it| it.email).collect())
}

async fn the_first_is_primary_and_a_new_primary_replaces_the_old(bed: Bed) -> anyhow::Result<()> {
    let customer = bed.customer("Acme").await?;
    let ada = bed.apply(contact(&customer, "ada@x.example"), None).await?.id;
    let bob = bed.apply(contact(&customer, "bob@x.example"), None).await?.id;
    assert_eq!(primaries(&bed, &customer).await?, ["ada@x.example"]);
    let changed = bed.apply(primary(), Some(&bob)).await?;
    assert_eq!((changed.version, primaries(&bed, &customer).await?), (2, vec!["bob@x.example".to_owned()]));
    let events = "SELECT kind || ' ' || subject_version FROM events WHERE subject_id = ";
    let of = |id: &str| format!("{events}'{id}' ORDER BY position");
    assert_eq!(bed.texts(&of(&ada)).await?, ["contact.created 1", "contact.updated 2"]);
    assert_eq!(bed.texts(&of(&bob)).await?, ["contact.created 1", "contact.updated 2"]);
    // The same wish again changes nothing.
    assert_eq!(bed.apply(primary(), Some(&bob)).await?.version, 2);
    bed.apply(Command::DeleteContact, Some(&bob)).await?;
    assert_eq!(primaries(&bed, &customer).await?, ["ada@x.example"]);
    assert_eq!(bed.apply(Command::DeleteContact, Some(&bob)).await?.version, 3);
    assert_eq!(bed.texts(&of(&bob)).await?.len(), 3);
    Ok(())
}

async fn parallel_first_contacts_make_one_primary(bed: Bed) -> anyhow::Result<()> {
    let customer = bed.customer("Acme").await?;
    let other = bed.another().await?;
    let mut running = tokio::task::JoinSet::new();
    for i in 0..24 {
        let store = if i % 2 == 0 { bed.store.clone() } else { other.clone() };
        let request = bed.request(contact(&customer, &format!("c{i}@x.example")), None);
        running.spawn(async move { store.apply(request, now()).await });
    }
    let mut ids = Vec::new();
    while let Some(made) = running.join_next().await {
        ids.push(made??.id);
    }
    assert_eq!((all(&bed, &customer).await?.len(), primaries(&bed, &customer).await?.len()), (24, 1));
    // Everybody wants the place, and half of them go.
    let mut running = tokio::task::JoinSet::new();
    for (i, id) in ids.into_iter().enumerate() {
        let store = if i % 2 == 0 { bed.store.clone() } else { other.clone() };
        let command = if i % 3 == 0 { Command::DeleteContact } else { primary() };
        let request = bed.request(command, Some(&id));
        running.spawn(async move { store.apply(request, now()).await });
    }
    while let Some(changed) = running.join_next().await {
        changed??;
    }
    assert_eq!((all(&bed, &customer).await?.len(), primaries(&bed, &customer).await?.len()), (16, 1));
    // Versions without a gap, also of those who only lost the place.
    let gaps = "SELECT COUNT(*) FROM contacts c WHERE version <>
                (SELECT COUNT(*) FROM events e WHERE e.subject_id = c.id)";
    assert_eq!(bed.number(gaps).await?, 0);
    assert_eq!(bed.deadlocks().await?, 0);
    Ok(())
}

async fn contacts_of_a_batch_see_each_other(bed: Bed) -> anyhow::Result<()> {
    let customer = bed.customer("Acme").await?;
    let one = |email: &str| bed.request(contact(&customer, email), None);
    let batch: Vec<Request> = vec![one("a@x.example"), one("b@x.example"), one("a@x.example")];
    let mut answers = bed.store.apply_all(batch, now()).await.into_iter();
    answers.next().unwrap()?;
    let second = answers.next().unwrap()?.id;
    assert_eq!(code(answers.next().unwrap())?, "email_taken");
    let batch =
        vec![bed.request(primary(), Some(&second)), bed.request(Command::DeleteContact, Some(&second))];
    for answer in bed.store.apply_all(batch, now()).await {
        answer?;
    }
    assert_eq!(primaries(&bed, &customer).await?, ["a@x.example"]);
    Ok(())
}

async fn an_address_is_unique_within_the_customer(bed: Bed) -> anyhow::Result<()> {
    let (acme, other) = (bed.customer("Acme").await?, bed.customer("Other").await?);
    let first = bed.apply(contact(&acme, "ada@x.example"), None).await?.id;
    assert_eq!(code(bed.apply(contact(&acme, "ada@x.example"), None).await)?, "email_taken");
    bed.apply(contact(&other, "ada@x.example"), None).await?;
    let second = bed.apply(contact(&acme, "bob@x.example"), None).await?.id;
    let patch = ContactPatch { email: Some("ada@x.example".into()), ..ContactPatch::default() };
    let patch = Command::ChangeContact(patch);
    assert_eq!(code(bed.apply(patch.clone(), Some(&second)).await)?, "email_taken");
    bed.apply(Command::DeleteContact, Some(&first)).await?;
    bed.apply(patch, Some(&second)).await?;
    Ok(())
}

async fn children_of_a_deleted_customer_are_not_found(bed: Bed) -> anyhow::Result<()> {
    let customer = bed.customer("Acme").await?;
    let id = bed.apply(contact(&customer, "ada@x.example"), None).await?.id;
    bed.apply(Command::DeleteCustomer, Some(&customer)).await?;
    assert_eq!(bed.store.contact(bed.workspace, true, &Ref::parse(&id)).await?, None);
    assert_eq!(all(&bed, &customer).await?, []);
    for command in [primary(), Command::DeleteContact] {
        assert_eq!(code(bed.apply(command, Some(&id)).await)?, "contact_not_found");
    }
    assert_eq!(code(bed.apply(contact(&customer, "b@x.example"), None).await)?, "customer_not_found");
    Ok(())
}

async fn contacts_of_another_workspace_or_mode_are_not_found(bed: Bed) -> anyhow::Result<()> {
    let customer = bed.customer("Acme").await?;
    let made = bed.apply(contact(&customer, "ada@x.example"), None).await?;
    let rules = usher_lifecycle::reminder::Rules::default();
    let other = bed.store.create_workspace("other", "Other", &rules, now()).await?.unwrap().id;
    let number: serde_json::Value = serde_json::from_str(&made.body)?;
    let number = number["display_id"].to_string();
    for (workspace, livemode) in [(other, true), (bed.workspace, false)] {
        for named in [&made.id, &number] {
            assert_eq!(bed.store.contact(workspace, livemode, &Ref::parse(named)).await?, None);
            for command in [primary(), Command::DeleteContact] {
                let request =
                    Request { workspace_id: workspace, livemode, ..bed.request(command, Some(named)) };
                assert_eq!(code(bed.store.apply(request, now()).await)?, "contact_not_found");
            }
        }
        let request = Request {
            workspace_id: workspace,
            livemode,
            ..bed.request(contact(&customer, "x@x.example"), None)
        };
        assert_eq!(code(bed.store.apply(request, now()).await)?, "customer_not_found");
    }
    Ok(())
}
