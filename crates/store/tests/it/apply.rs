//! The write path: what one batch does.

use chrono::TimeDelta;
use serde_json::{Value, json};
use usher_lifecycle::{
    Command, Phase, State,
    command::{CreateCustomer, CreateOnboarding, CreateUser, CustomerPatch, Snooze},
    customer::CustomerStatus,
    onboarding::Role,
    person::Reach,
};
use usher_store::{Outcome, Page, Ref};

use crate::{
    bed::{Bed, code, customer, fields, notes, now, onboarding, user},
    contracts,
};

contracts!(
    what_was_created_is_read_back_field_by_field,
    later_requests_of_a_batch_see_earlier_ones_and_a_refused_one_leaves_them_alone,
    a_stale_version_is_refused,
    a_patch_without_effect_writes_nothing,
    names_that_are_taken_are_refused_and_free_again_after_deletion,
    deleting_again_is_no_change_and_changing_a_deleted_one_is_not_found,
    a_customer_that_leaves_silences_its_onboardings,
    texts_with_nul_are_kept_without_it,
);

async fn what_was_created_is_read_back_field_by_field(bed: Bed) -> anyhow::Result<()> {
    let mut full = fields("Gänseblümchen <GmbH>");
    full.slug = Some("gb".into());
    full.domain = Some("gb.example".into());
    full.status = CustomerStatus::Active;
    full.plan = Some("pro".into());
    full.mrr = Some(1234.5);
    full.monthly_orders = Some(i64::MAX);
    full.external_id = Some("crm-1".into());
    full.metadata.clone_from(json!({"tier": "gold", "n": 1.5, "list": [1, null]}).as_object().unwrap());
    let made = bed.apply(Command::CreateCustomer(CreateCustomer { fields: full.clone() }), None).await?;
    let read = bed.store.customer(bed.workspace, true, &Ref::ExternalId("crm-1".into())).await?.unwrap();
    assert_eq!(read.fields, full);
    assert_eq!((made.outcome, made.version, made.id.clone()), (Outcome::Committed, 1, read.id.to_text()));

    let reach = Reach { time_zone: Some("Europe/Berlin".into()), slack_enabled: false, ..Reach::default() };
    let create = CreateUser {
        active: true,
        name: "Ada".into(),
        email: "ada@example.com".into(),
        slack_user_id: Some("U1".into()),
        reach: reach.clone(),
        external_id: Some("hr-1".into()),
    };
    let ada = bed.apply(Command::CreateUser(create), None).await?;
    let read_ada = bed.store.user(bed.workspace, true, &Ref::Id("ADA@example.com".into())).await?.unwrap();
    assert_eq!((read_ada.id.to_text(), &read_ada.reach), (ada.id.clone(), &reach));

    let create = CreateOnboarding {
        customer: "external:crm-1".into(),
        phase: Some(Phase::Review),
        state: Some(State::Waiting),
        started_at: Some(now() - TimeDelta::days(3)),
        target_launch_date: Some(now() + TimeDelta::days(30)),
        roles: [(Role::Csm, "Ada@Example.com".to_owned()), (Role::Se, ada.id.clone())].into(),
        notes: Some("first\nsecond 🎉".into()),
        reminder_email: Some(false),
        reminder_frequency_days: Some(7),
        external_id: Some("onb-1".into()),
        ..Default::default()
    };
    let made = bed.apply(Command::CreateOnboarding(create), None).await?;
    let body: Value = serde_json::from_str(&made.body)?;
    let read = bed.store.onboarding(bed.workspace, true, &Ref::Id(made.id.clone())).await?.unwrap();
    let object = usher_lifecycle::Record::Onboarding(read.clone()).object();
    assert_eq!(object, body);
    assert_eq!(body["csm_id"], ada.id);
    assert_eq!(body["customer_id"], read_id(&bed, "crm-1").await?);
    assert!(read.reminders.next_reminder_at.is_some_and(|due| due > now()), "{body}");
    for which in [Ref::DisplayId(read.display_id), Ref::ExternalId("onb-1".into())] {
        assert_eq!(bed.store.onboarding(bed.workspace, true, &which).await?.as_ref(), Some(&read));
    }
    let timeline = bed.store.timeline(read.id, &Page { limit: 10, cursor: None }).await?;
    assert_eq!(timeline.data.len(), 1);
    assert_eq!(timeline.data[0].kind, "onboarding.created");
    assert_eq!(timeline.data[0].data["object"], body);
    Ok(())
}

async fn read_id(bed: &Bed, external: &str) -> anyhow::Result<String> {
    let found = bed.store.customer(bed.workspace, true, &Ref::ExternalId(external.into())).await?;
    Ok(found.unwrap().id.to_text())
}

async fn later_requests_of_a_batch_see_earlier_ones_and_a_refused_one_leaves_them_alone(
    bed: Bed,
) -> anyhow::Result<()> {
    let mut named = fields("A");
    (named.slug, named.external_id) = (Some("a".into()), Some("crm".into()));
    let create = Command::CreateCustomer(CreateCustomer { fields: named });
    let mut theirs = CreateOnboarding { customer: "external:crm".into(), ..Default::default() };
    theirs.external_id = Some("o".into());
    theirs.roles = [(Role::Csm, "u@example.com".to_owned())].into();
    let mut patch = bed.request(notes("seen"), None);
    patch.target = Some(Ref::ExternalId("o".into()));
    let mut away = bed.request(onboarding("cust_nobody"), None);
    away.workspace_id = usher_lifecycle::WorkspaceId::new(now(), 7);
    let batch = vec![
        bed.request(create.clone(), None),
        bed.request(create, None),
        bed.request(user("u@example.com"), None),
        bed.request(Command::CreateOnboarding(theirs), None),
        bed.request(onboarding("4711"), None),
        patch,
        away,
        bed.request(user("u@example.com"), None),
        bed.request(customer("B"), None),
    ];
    let answers = bed.store.apply_all(batch, now()).await;
    let told: Vec<_> = answers
        .into_iter()
        .map(|it| {
            it.map_or_else(|e| code(Err(e)).unwrap_or("failed").to_owned(), |it| it.version.to_string())
        })
        .collect();
    let wanted = "1 external_id_taken 1 1 customer_not_found 2 unknown_workspace email_taken 1";
    assert_eq!(told.join(" "), wanted);
    let read = bed.store.onboarding(bed.workspace, true, &Ref::ExternalId("o".into())).await?.unwrap();
    assert_eq!((read.version, read.notes.as_deref()), (2, Some("seen")));
    assert_eq!(bed.number("SELECT COUNT(*) FROM customers").await?, 2);
    assert_eq!(bed.number("SELECT COUNT(*) FROM events WHERE kind LIKE 'onboarding.%'").await?, 2);
    Ok(())
}

async fn a_stale_version_is_refused(bed: Bed) -> anyhow::Result<()> {
    let id = bed.onboarding(&bed.customer("A").await?).await?.to_text();
    let mut request = bed.request(notes("one"), Some(&id));
    request.expected_version = Some(1);
    assert_eq!(bed.store.apply(request.clone(), now()).await?.version, 2);
    request.command = notes("two");
    assert_eq!(code(bed.store.apply(request, now()).await)?, "version_mismatch");
    Ok(())
}

async fn a_patch_without_effect_writes_nothing(bed: Bed) -> anyhow::Result<()> {
    let id = bed.onboarding(&bed.customer("A").await?).await?.to_text();
    bed.apply(notes("same"), Some(&id)).await?;
    let before = bed.store.onboarding(bed.workspace, true, &Ref::parse(&id)).await?;
    let events = bed.number("SELECT COUNT(*) FROM events").await?;
    let later = now() + TimeDelta::hours(1);
    let again = bed.store.apply(bed.request(notes("same"), Some(&id)), later).await?;
    assert_eq!((again.outcome, again.version), (Outcome::Unchanged, 2));
    assert_eq!(bed.store.onboarding(bed.workspace, true, &Ref::parse(&id)).await?, before);
    assert_eq!(bed.number("SELECT COUNT(*) FROM events").await?, events);
    Ok(())
}

async fn names_that_are_taken_are_refused_and_free_again_after_deletion(bed: Bed) -> anyhow::Result<()> {
    let mut taken = fields("A");
    taken.slug = Some("a".into());
    let create = Command::CreateCustomer(CreateCustomer { fields: taken });
    let a = bed.apply(create.clone(), None).await?.id;
    let b = bed.customer("B").await?;
    assert_eq!(code(bed.apply(create.clone(), None).await)?, "slug_taken");
    let texts = [("slug", Some("a".to_owned()))].into();
    let steal = Command::ChangeCustomer(CustomerPatch { texts, ..Default::default() });
    assert_eq!(code(bed.apply(steal.clone(), Some(&b)).await)?, "slug_taken");
    // Test records have names of their own.
    let mut test = bed.request(create.clone(), None);
    test.livemode = false;
    assert_eq!(bed.store.apply(test, now()).await?.outcome, Outcome::Committed);
    bed.apply(Command::DeleteCustomer, Some(&a)).await?;
    assert_eq!(bed.apply(steal, Some(&b)).await?.version, 2);
    assert_eq!(code(bed.apply(create, None).await)?, "slug_taken");

    bed.user("a@example.com").await?;
    assert_eq!(code(bed.apply(user("a@example.com"), None).await)?, "email_taken");
    let keyed = CreateOnboarding { customer: b, external_id: Some("k".into()), ..Default::default() };
    let first = bed.apply(Command::CreateOnboarding(keyed.clone()), None).await?.id;
    let again = Command::CreateOnboarding(keyed);
    assert_eq!(code(bed.apply(again.clone(), None).await)?, "external_id_taken");
    bed.apply(Command::DeleteOnboarding, Some(&first)).await?;
    assert_eq!(bed.apply(again, None).await?.outcome, Outcome::Committed);
    Ok(())
}

async fn deleting_again_is_no_change_and_changing_a_deleted_one_is_not_found(bed: Bed) -> anyhow::Result<()> {
    let id = bed.onboarding(&bed.customer("A").await?).await?.to_text();
    let first = bed.apply(Command::DeleteOnboarding, Some(&id)).await?;
    let again = bed.apply(Command::DeleteOnboarding, Some(&id)).await?;
    assert_eq!((first.outcome, again.outcome), (Outcome::Committed, Outcome::Unchanged));
    assert_eq!(first.body, again.body);
    assert_eq!(code(bed.apply(notes("x"), Some(&id)).await)?, "onboarding_not_found");
    assert_eq!(code(bed.apply(notes("x"), Some("no id at all")).await)?, "onboarding_not_found");
    assert_eq!(bed.store.next_wake().await?, None);
    Ok(())
}

async fn a_customer_that_leaves_silences_its_onboardings(bed: Bed) -> anyhow::Result<()> {
    let customer = bed.customer("A").await?;
    let id = bed.onboarding(&customer).await?;
    let status =
        |status| Command::ChangeCustomer(CustomerPatch { status: Some(status), ..Default::default() });
    bed.apply(status(CustomerStatus::Churned), Some(&customer)).await?;
    let read = bed.store.onboarding(bed.workspace, true, &Ref::Id(id.to_text())).await?.unwrap();
    assert_eq!((read.reminders.next_reminder_at, read.version), (None, 1));
    // A week later it is back: what was swallowed is told in one row.
    let later = now() + TimeDelta::days(7);
    bed.store.apply(bed.request(status(CustomerStatus::Active), Some(&customer)), later).await?;
    let read = bed.store.onboarding(bed.workspace, true, &Ref::Id(id.to_text())).await?.unwrap();
    assert!(read.reminders.next_reminder_at.is_some_and(|due| due > later));
    let ledger = bed.store.ledger(id, &Page { limit: 10, cursor: None }).await?.data;
    assert_eq!(ledger.len(), 1);
    assert_eq!(ledger[0].reason.as_deref(), Some("customer_inactive"));
    let snooze = Command::SnoozeOnboarding(Snooze::Days(3));
    bed.apply(snooze, Some(&id.to_text())).await?;
    Ok(())
}

async fn texts_with_nul_are_kept_without_it(bed: Bed) -> anyhow::Result<()> {
    let mut odd = fields("N\0L");
    odd.metadata.clone_from(json!({"a\0": ["b\0"]}).as_object().unwrap());
    let made = bed.apply(Command::CreateCustomer(CreateCustomer { fields: odd }), None).await?;
    let read = bed.store.customer(bed.workspace, true, &Ref::Id(made.id)).await?.unwrap();
    assert_eq!(read.fields.name, "N\u{fffd}L");
    assert_eq!(Value::Object(read.fields.metadata), json!({"a\u{fffd}": ["b\u{fffd}"]}));
    assert_eq!(code(bed.apply(notes("x"), Some("onb_\0")).await)?, "onboarding_not_found");
    Ok(())
}
