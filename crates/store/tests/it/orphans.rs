//! Contacts and onboardings whose customer was deleted: nobody finds them, and their keys are free.

use usher_lifecycle::{
    Command,
    command::{
        Composite, ContactPatch, CreateContact, CreateCustomer, CreateOnboarding, CustomerPart,
        CustomerPatch, OnboardingPatch,
    },
};
use usher_store::{Ref, Request};

use crate::{
    bed::{Bed, code, fields, notes, now},
    contracts,
};

contracts!(
    keys_of_a_deleted_customers_children_are_free,
    keys_are_free_within_the_batch_that_deletes_the_customer,
    a_freed_key_raced_for_is_taken_once,
    a_refused_composite_takes_no_key_away,
);

fn customer(key: &str) -> Command {
    let mut fields = fields(key);
    fields.external_id = Some(key.into());
    Command::CreateCustomer(CreateCustomer { fields })
}

fn onboarding(customer: &str, key: &str) -> Command {
    let external_id = Some(key.to_owned());
    Command::CreateOnboarding(CreateOnboarding {
        customer: customer.into(),
        external_id,
        ..Default::default()
    })
}

fn contact(customer: &str, key: &str) -> Command {
    Command::CreateContact(CreateContact {
        customer: customer.into(),
        name: key.into(),
        email: format!("{key}@x.example"),
        external_id: Some(key.into()),
        ..Default::default()
    })
}

/// A customer with a contact and an onboarding, all with the key.
async fn family(bed: &Bed, key: &str) -> anyhow::Result<[String; 3]> {
    let own = bed.apply(customer(key), None).await?.id;
    let contact = bed.apply(contact(&own, key), None).await?.id;
    let onboarding = bed.apply(onboarding(&own, key), None).await?.id;
    Ok([own, contact, onboarding])
}

async fn keys_of_a_deleted_customers_children_are_free(bed: Bed) -> anyhow::Result<()> {
    let [own, ..] = family(&bed, "a").await?;
    assert_eq!(code(bed.apply(contact(&own, "a"), None).await)?, "external_id_taken");
    assert_eq!(code(bed.apply(onboarding(&own, "a"), None).await)?, "external_id_taken");
    bed.apply(Command::DeleteCustomer, Some(&own)).await?;
    let [again, contact_id, onboarding_id] = family(&bed, "a").await?;
    let key = Ref::ExternalId("a".into());
    let found = bed.store.onboarding(bed.workspace, true, &key).await?.unwrap();
    assert_eq!(found.id.to_text(), onboarding_id);
    assert_eq!(bed.store.contact(bed.workspace, true, &key).await?.unwrap().id.to_text(), contact_id);
    // They are as taken as ever.
    assert_eq!(code(bed.apply(onboarding(&again, "a"), None).await)?, "external_id_taken");
    assert_eq!(code(bed.apply(contact(&again, "a"), None).await)?, "external_id_taken");
    // A change may take one too.
    bed.apply(Command::DeleteCustomer, Some(&again)).await?;
    let [_, contact_id, onboarding_id] = family(&bed, "b").await?;
    let external_id = Some(Some("a".to_owned()));
    let patch = OnboardingPatch { external_id: external_id.clone(), ..Default::default() };
    bed.apply(Command::ChangeOnboarding(patch), Some(&onboarding_id)).await?;
    let patch = ContactPatch { external_id, ..Default::default() };
    bed.apply(Command::ChangeContact(patch), Some(&contact_id)).await?;
    // Of the first two families only what nobody wanted kept its key.
    assert_eq!(bed.number("SELECT COUNT(*) FROM onboardings WHERE external_id IS NOT NULL").await?, 1);
    assert_eq!(bed.number("SELECT COUNT(*) FROM contacts WHERE external_id IS NOT NULL").await?, 1);
    Ok(())
}

async fn keys_are_free_within_the_batch_that_deletes_the_customer(bed: Bed) -> anyhow::Result<()> {
    let [own, _, old] = family(&bed, "a").await?;
    let heir = bed.customer("Heir").await?;
    let batch: Vec<Request> = [
        (notes("changed in between"), Some(old.as_str())),
        (onboarding(&heir, "a"), None),
        (Command::DeleteCustomer, Some(own.as_str())),
        (onboarding(&heir, "a"), None),
        (contact(&heir, "a"), None),
        (onboarding(&heir, "a"), None),
    ]
    .into_iter()
    .map(|(command, target)| bed.request(command, target))
    .collect();
    let mut codes = Vec::new();
    for answer in bed.store.apply_all(batch, now()).await {
        codes.push(if answer.is_ok() { "ok" } else { code(answer)? });
    }
    assert_eq!(codes, ["ok", "external_id_taken", "ok", "ok", "ok", "external_id_taken"]);
    assert_eq!(
        bed.texts("SELECT notes FROM onboardings WHERE notes IS NOT NULL").await?,
        ["changed in between"]
    );
    Ok(())
}

async fn a_freed_key_raced_for_is_taken_once(bed: Bed) -> anyhow::Result<()> {
    let other = bed.another().await?;
    for round in 0..6 {
        let key = format!("k{round}");
        let [own, ..] = family(&bed, &key).await?;
        bed.apply(Command::DeleteCustomer, Some(&own)).await?;
        let heir = bed.customer("Heir").await?;
        for command in [onboarding(&heir, &key), contact(&heir, &key)] {
            let request = bed.request(command, None);
            let (one, two) =
                tokio::join!(bed.store.apply(request.clone(), now()), other.apply(request, now()));
            assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1, "{one:?} {two:?}");
            assert_eq!(code(if one.is_ok() { two } else { one })?, "external_id_taken");
        }
    }
    Ok(())
}

async fn a_refused_composite_takes_no_key_away(bed: Bed) -> anyhow::Result<()> {
    let [own, ..] = family(&bed, "a").await?;
    bed.apply(Command::DeleteCustomer, Some(&own)).await?;
    let heir = bed.customer("Heir").await?;
    let person = ContactPatch {
        name: Some("A".into()),
        email: Some("a@x.example".into()),
        external_id: Some(Some("a".into())),
        ..Default::default()
    };
    let compose = |template: Option<&str>| {
        let onboarding = CreateOnboarding { template: template.map(str::to_owned), ..Default::default() };
        let customer = CustomerPart::Upsert(CustomerPatch {
            name: Some("Heir".into()),
            texts: [("external_id", Some("h".to_owned()))].into(),
            ..Default::default()
        });
        let contacts = vec![person.clone()];
        Command::Compose(Box::new(Composite { customer, contacts, onboarding: Some(onboarding) }))
    };
    // Beside a command that is written, in the same transaction.
    let batch = vec![bed.request(compose(Some("nobody")), None), bed.request(notes("x"), None)];
    let batch = batch.into_iter().chain([bed.request(contact(&heir, "b"), None)]).collect();
    let answers = bed.store.apply_all(batch, now()).await;
    assert!(answers[0].is_err() && answers[2].is_ok(), "{answers:?}");
    assert_eq!(bed.number("SELECT COUNT(*) FROM contacts WHERE external_id = 'a'").await?, 1);
    bed.apply(compose(None), None).await?;
    assert_eq!(bed.texts("SELECT name FROM contacts WHERE external_id = 'a'").await?, ["A"]);
    Ok(())
}
