//! Composites: a customer with contacts and an onboarding in one request, all of it or nothing.

use usher_lifecycle::{
    Command,
    command::{Composite, ContactPatch, CreateOnboarding, CustomerPart, CustomerPatch, OnboardingPatch},
    onboarding::Role,
};
use usher_store::{ApplyError, Dedupe, Outcome, Request};

use crate::{
    bed::{Bed, code, now},
    contracts,
};

contracts!(
    one_message_makes_customer_contacts_and_onboarding,
    a_refused_part_changes_nothing,
    the_customer_is_found_by_the_first_name_that_is_given,
    parallel_composites_make_one_customer,
    a_repeat_has_no_second_effect,
    numbers_that_were_not_needed_are_given_later,
    a_rehearsal_says_the_same_sees_itself_and_leaves_nothing,
);

fn person(email: &str) -> ContactPatch {
    ContactPatch { name: Some(email.into()), email: Some(email.into()), ..ContactPatch::default() }
}

fn whole(texts: &[(&'static str, &str)]) -> CustomerPatch {
    let texts = texts.iter().map(|(name, text)| (*name, Some((*text).to_owned()))).collect();
    CustomerPatch { name: Some("Acme".into()), texts, ..CustomerPatch::default() }
}

fn composite(customer: CustomerPatch, contacts: Vec<ContactPatch>) -> Composite {
    let onboarding = Some(CreateOnboarding::default());
    Composite { customer: CustomerPart::Upsert(customer), contacts, onboarding }
}

fn compose(composite: Composite) -> Command {
    Command::Compose(Box::new(composite))
}

async fn count(bed: &Bed, table: &str) -> anyhow::Result<i64> {
    bed.number(&format!("SELECT COUNT(*) FROM {table}")).await
}

async fn one_message_makes_customer_contacts_and_onboarding(bed: Bed) -> anyhow::Result<()> {
    let contacts = vec![person("ada@x.example"), person("bob@x.example")];
    let made = bed.apply(compose(composite(whole(&[("external_id", "crm-1")]), contacts)), None).await?;
    assert!(made.id.starts_with("onb_"), "{made:?}");
    assert_eq!(made.outcome, Outcome::Committed);
    let kinds = bed.texts("SELECT kind FROM events ORDER BY position").await?;
    assert_eq!(kinds, ["customer.created", "contact.created", "contact.created", "onboarding.created"]);
    let primary = "SELECT email FROM contacts WHERE is_primary";
    assert_eq!(bed.texts(primary).await?, ["ada@x.example"]);
    // The same customer again: changed, and one contact more.
    let again = CustomerPatch { name: Some("Acme Ltd".into()), ..whole(&[("external_id", "crm-1")]) };
    let mut ada = person("ada@x.example");
    ada.title = Some(Some("CEO".into()));
    let command = Composite { onboarding: None, ..composite(again, vec![ada, person("cyd@x.example")]) };
    let changed = bed.apply(compose(command), None).await?;
    assert!(changed.id.starts_with("contact_"), "{changed:?}");
    assert_eq!((count(&bed, "customers").await?, count(&bed, "contacts").await?), (1, 3));
    assert_eq!(bed.texts("SELECT name FROM customers").await?, ["Acme Ltd"]);
    Ok(())
}

async fn a_refused_part_changes_nothing(bed: Bed) -> anyhow::Result<()> {
    let known = bed.apply(compose(composite(whole(&[("external_id", "crm-1")]), vec![])), None).await?;
    let before = (count(&bed, "events").await?, count(&bed, "customers").await?);
    let nobody = CreateOnboarding {
        roles: [(Role::Csm, "nobody@example.com".to_owned())].into(),
        ..CreateOnboarding::default()
    };
    let new = || composite(whole(&[("external_id", "crm-2")]), vec![person("ada@x.example")]);
    let nameless = ContactPatch { name: None, ..person("bob@x.example") };
    let last = Composite { onboarding: Some(nobody), ..new() };
    let middle = Composite { contacts: vec![person("ada@x.example"), nameless], ..new() };
    let renamed = CustomerPatch { name: Some("Gone".into()), ..whole(&[("external_id", "crm-1")]) };
    let named = Composite { customer: CustomerPart::Named("cust_x".into()), ..new() };
    let unnamed = composite(whole(&[]), vec![]);
    for (refused, code, field) in [
        (last.clone(), "unknown_user", "csm_id"),
        (middle, "missing_field", "contacts.1.name"),
        (Composite { customer: CustomerPart::Upsert(renamed), ..last }, "unknown_user", "csm_id"),
        (named, "customer_not_found", "customer_id"),
        (unnamed, "missing_field", "customer.external_id"),
    ] {
        // Within a batch the others go on, and see nothing of the refused one.
        let batch = vec![
            bed.request(compose(refused), None),
            bed.request(Command::ChangeOnboarding(OnboardingPatch::default()), Some(&known.id)),
            bed.request(Command::ChangeCustomer(CustomerPatch::default()), Some("2")),
        ];
        let mut answers = bed.store.apply_all(batch, now()).await.into_iter();
        let Err(ApplyError::Refused(refusal)) = answers.next().unwrap() else { panic!("not refused") };
        assert_eq!((refusal.code.as_str(), refusal.field.as_deref()), (code, Some(field)));
        answers.next().unwrap()?;
        assert_eq!(crate::bed::code(answers.next().unwrap())?, "customer_not_found");
        assert_eq!((count(&bed, "events").await?, count(&bed, "customers").await?), before);
        assert_eq!((count(&bed, "contacts").await?, count(&bed, "onboardings").await?), (0, 1));
    }
    assert_eq!(bed.texts("SELECT name FROM customers").await?, ["Acme"]);
    Ok(())
}

async fn the_customer_is_found_by_the_first_name_that_is_given(bed: Bed) -> anyhow::Result<()> {
    for texts in [
        &[("external_id", "crm-1"), ("slug", "acme"), ("domain", "acme.example")][..],
        &[("slug", "acme")],
        &[("domain", "acme.example")],
        &[("external_id", "crm-1"), ("domain", "other.example")],
    ] {
        bed.apply(compose(composite(whole(texts), vec![])), None).await?;
        assert_eq!(count(&bed, "customers").await?, 1, "{texts:?}");
    }
    // Another key is another customer, even in the same domain; a slug stays unique.
    let other = whole(&[("external_id", "crm-2"), ("domain", "other.example")]);
    bed.apply(compose(composite(other, vec![])), None).await?;
    assert_eq!(count(&bed, "customers").await?, 2);
    let taken = whole(&[("external_id", "crm-3"), ("slug", "acme")]);
    assert_eq!(code(bed.apply(compose(composite(taken, vec![])), None).await)?, "slug_taken");
    // Of several customers in a domain the oldest is meant.
    let oldest = CustomerPatch { name: Some("Oldest".into()), ..whole(&[("domain", "other.example")]) };
    bed.apply(compose(composite(oldest, vec![])), None).await?;
    assert_eq!(bed.texts("SELECT external_id FROM customers WHERE name = 'Oldest'").await?, ["crm-1"]);
    Ok(())
}

async fn parallel_composites_make_one_customer(bed: Bed) -> anyhow::Result<()> {
    let other = bed.another().await?;
    let mut running = tokio::task::JoinSet::new();
    for i in 0..16 {
        let contacts = vec![person(&format!("c{i}@x.example")), person("ada@x.example")];
        let request = bed.request(compose(composite(whole(&[("external_id", "crm-1")]), contacts)), None);
        let store = if i % 2 == 0 { bed.store.clone() } else { other.clone() };
        running.spawn(async move { store.apply(request, now()).await });
    }
    while let Some(made) = running.join_next().await {
        made??;
    }
    assert_eq!((count(&bed, "customers").await?, count(&bed, "contacts").await?), (1, 17));
    assert_eq!(count(&bed, "onboardings").await?, 16);
    assert_eq!(bed.number("SELECT COUNT(*) FROM contacts WHERE is_primary").await?, 1);
    assert_eq!(bed.deadlocks().await?, 0);
    Ok(())
}

async fn a_repeat_has_no_second_effect(bed: Bed) -> anyhow::Result<()> {
    let inbox = || Dedupe::Inbox {
        source: "crm".into(),
        message_id: "1".into(),
        body_hash: "h".into(),
        sequence: None,
    };
    let command = compose(composite(whole(&[("external_id", "crm-1")]), vec![person("ada@x.example")]));
    let request = || Request { dedupe: inbox(), ..bed.request(command.clone(), None) };
    let first = bed.store.apply(request(), now()).await?;
    // Twice in one batch, and later.
    for answer in bed.store.apply_all(vec![request(), request()], now()).await {
        let answer = answer?;
        assert_eq!((answer.outcome, &answer.id), (Outcome::Duplicate, &first.id));
    }
    assert_eq!((count(&bed, "onboardings").await?, count(&bed, "events").await?), (1, 3));
    Ok(())
}

async fn numbers_that_were_not_needed_are_given_later(bed: Bed) -> anyhow::Result<()> {
    for _ in 0..50 {
        bed.apply(compose(composite(whole(&[("external_id", "crm-1")]), vec![person("a@x.example")])), None)
            .await?;
    }
    bed.apply(compose(composite(whole(&[("external_id", "crm-2")]), vec![person("a@x.example")])), None)
        .await?;
    for table in ["customers", "contacts"] {
        assert_eq!(bed.number(&format!("SELECT MAX(display_id) FROM {table}")).await?, 2);
    }
    Ok(())
}

/// Composites too, whose parts each take a number.
async fn a_rehearsal_says_the_same_sees_itself_and_leaves_nothing(bed: Bed) -> anyhow::Result<()> {
    let request = |key: &'static str| {
        let contacts = vec![person("ada@x.example"), person("bob@x.example")];
        bed.request(compose(composite(whole(&[("external_id", key)]), contacts)), None)
    };
    let requests = || vec![request("crm-1"), request("crm-2"), request("crm-1")];
    let before = count(&bed, "events").await?;
    let mut rehearsal = bed.store.rehearsal().await?;
    let mut said = Vec::new();
    for answer in rehearsal.apply_all(requests(), now()).await {
        let answer = answer?;
        said.push((answer.outcome, answer.version));
        let number = serde_json::from_str::<serde_json::Value>(&answer.body)?["display_id"].as_i64();
        assert!(number.is_some_and(|number| number < 0), "{}", answer.body);
    }
    let later = OnboardingPatch { notes: Some(Some("seen".into())), ..OnboardingPatch::default() };
    let nobody = bed.request(Command::ChangeOnboarding(later), Some("1"));
    assert!(rehearsal.apply_all(vec![nobody], now()).await[0].is_err(), "no counter was asked");
    rehearsal.end().await?;
    assert_eq!(count(&bed, "events").await?, before);
    assert_eq!((count(&bed, "customers").await?, count(&bed, "contacts").await?), (0, 0));

    let mut done = Vec::new();
    for answer in bed.store.apply_all(requests(), now()).await {
        let answer = answer?;
        done.push((answer.outcome, answer.version));
    }
    assert_eq!(done, said);
    assert_eq!((count(&bed, "customers").await?, count(&bed, "contacts").await?), (2, 4));
    assert_eq!(bed.number("SELECT MIN(display_id) FROM onboardings").await?, 1, "no number was used up");
    Ok(())
}
