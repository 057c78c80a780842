//! Lists: a walk loses and repeats nothing, and shows nothing that is not the caller's.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::{
    Command, Phase, State,
    command::{CreateCustomer, CreateOnboarding, OnboardingPatch},
    customer::CustomerStatus,
    onboarding::Role,
    reminder::Rules,
};
use usher_store::{Cursor, ListFilter, Page, Ref, Request};

use crate::{
    bed::{Bed, fields, now, onboarding, user},
    contracts,
};

contracts!(
    a_walk_over_records_with_one_timestamp_loses_and_repeats_none,
    records_created_while_walking_do_not_disturb,
    every_record_of_a_process_has_its_own_instant,
    filters_narrow,
    filters_by_time_find_few_and_many_alike,
    deleted_rows_and_children_of_deleted_customers_never_appear,
    records_of_another_workspace_or_mode_are_not_found,
    a_bare_instant_means_strictly_older,
);

/// All ids of a walk, in order; the cursor goes over the wire as text.
async fn walk(bed: &Bed, limit: u32) -> anyhow::Result<Vec<String>> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = bed.store.users(bed.workspace, true, &Page { limit, cursor }).await?;
        assert!(page.data.len() <= limit as usize);
        all.extend(page.data.iter().map(|it| it.id.to_text()));
        let Some(next) = page.next else { return Ok(all) };
        cursor = Some(next.to_string().parse::<Cursor>()?);
        assert!(all.len() <= 2_500, "the walk does not end");
    }
}

async fn users(bed: &Bed, from: usize, count: usize) -> anyhow::Result<()> {
    let one = |i| bed.request(user(&format!("u{i}@example.com")), None);
    for made in bed.store.apply_all((from..from + count).map(one).collect(), now()).await {
        made?;
    }
    Ok(())
}

async fn a_walk_over_records_with_one_timestamp_loses_and_repeats_none(bed: Bed) -> anyhow::Result<()> {
    let one_instant = "UPDATE users SET created_at = '2026-08-03T08:00:00.000000Z'";
    users(&bed, 0, 100).await?;
    bed.execute(one_instant).await?;
    for limit in 1..=100 {
        let all = walk(&bed, limit).await?;
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 100, "limit {limit}");
        assert_eq!(all.len(), 100, "limit {limit}");
    }
    users(&bed, 100, 900).await?;
    bed.execute(one_instant).await?;
    for limit in [33, 100] {
        let all = walk(&bed, limit).await?;
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 1_000, "limit {limit}");
        assert_eq!(all.len(), 1_000, "limit {limit}");
    }
    // More than three digits can count.
    users(&bed, 1_000, 300).await?;
    bed.execute(one_instant).await?;
    for limit in [37, 100] {
        let all = walk(&bed, limit).await?;
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 1_300, "limit {limit}");
        assert_eq!(all.len(), 1_300, "limit {limit}");
    }
    // Halves that share an instant each.
    bed.execute("UPDATE users SET created_at = '2026-08-03T08:00:00.000001Z' WHERE display_id % 2 = 0")
        .await?;
    let all = walk(&bed, 31).await?;
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (1_300, 1_300));
    Ok(())
}

async fn records_created_while_walking_do_not_disturb(bed: Bed) -> anyhow::Result<()> {
    users(&bed, 0, 60).await?;
    let before = walk(&bed, 100).await?;
    let (mut all, mut cursor) = (Vec::new(), None);
    for round in 0.. {
        let page = bed.store.users(bed.workspace, true, &Page { limit: 7, cursor }).await?;
        all.extend(page.data.iter().map(|it| it.id.to_text()));
        users(&bed, 100 + round * 3, 3).await?;
        let Some(next) = page.next else { break };
        cursor = Some(next);
    }
    assert_eq!(all, before);
    Ok(())
}

async fn every_record_of_a_process_has_its_own_instant(bed: Bed) -> anyhow::Result<()> {
    let mut running = tokio::task::JoinSet::new();
    for i in 0..50 {
        let (store, request) = (bed.store.clone(), bed.request(user(&format!("p{i}@example.com")), None));
        running.spawn(async move { store.apply(request, now()).await });
    }
    while let Some(made) = running.join_next().await {
        made??;
    }
    users(&bed, 0, 50).await?;
    assert_eq!(bed.number("SELECT COUNT(DISTINCT created_at) FROM users").await?, 100);
    Ok(())
}

async fn filters_narrow(bed: Bed) -> anyhow::Result<()> {
    let csm = bed.user("csm@example.com").await?;
    let (a, b) = (bed.customer("A").await?, bed.customer("B").await?);
    let roles = [(Role::Csm, csm.to_string())].into();
    let first = CreateOnboarding {
        customer: a.clone(),
        roles,
        phase: Some(Phase::Launch),
        state: Some(State::Waiting),
        ..Default::default()
    };
    let first = bed.apply(Command::CreateOnboarding(first), None).await?.id;
    let second = CreateOnboarding { customer: b, reminder_frequency_days: Some(30), ..Default::default() };
    let second =
        bed.store.apply(bed.request(Command::CreateOnboarding(second), None), now() + TimeDelta::hours(2));
    let second = second.await?.id;

    let filter = ListFilter::default;
    for (filter, wanted) in [
        (filter(), vec![&second, &first]),
        (ListFilter { customer: Some(Ref::Id(a.clone())), ..filter() }, vec![&first]),
        (ListFilter { customer: Some(Ref::Id("cust_nobody".into())), ..filter() }, vec![]),
        (ListFilter { state: Some(State::Waiting), ..filter() }, vec![&first]),
        (ListFilter { phase: Some(Phase::BeforeGettingStarted), ..filter() }, vec![&second]),
        (ListFilter { csm: Some(csm), ..filter() }, vec![&first]),
        (ListFilter { csm: Some(csm), state: Some(State::Active), ..filter() }, vec![]),
        (ListFilter { updated_since: Some(now() + TimeDelta::hours(1)), ..filter() }, vec![&second]),
        (ListFilter { due_before: Some(now() + TimeDelta::days(3)), ..filter() }, vec![&first]),
    ] {
        let page = Page { limit: 10, cursor: None };
        let found = bed.store.onboardings(bed.workspace, true, &filter, &page).await?.data;
        let found: Vec<_> = found.iter().map(|it| it.id.to_text()).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{filter:?}");
    }

    let mut named = fields("C");
    (named.slug, named.domain, named.external_id) = (Some("c".into()), Some("c.io".into()), Some("x".into()));
    named.status = CustomerStatus::AtRisk;
    bed.apply(Command::CreateCustomer(CreateCustomer { fields: named }), None).await?;
    for (filter, wanted) in [
        (ListFilter { slug: Some("c".into()), ..filter() }, 1),
        (ListFilter { domain: Some("c.io".into()), ..filter() }, 1),
        (ListFilter { external_id: Some("x".into()), ..filter() }, 1),
        (ListFilter { status: Some(CustomerStatus::AtRisk), ..filter() }, 1),
        (ListFilter { status: Some(CustomerStatus::Churned), ..filter() }, 0),
        (filter(), 3),
    ] {
        let page = Page { limit: 10, cursor: None };
        let found = bed.store.customers(bed.workspace, true, &filter, &page).await?.data;
        assert_eq!(found.len(), wanted, "{filter:?}");
    }
    Ok(())
}

/// SQLite goes another way for few rows than for many.
async fn filters_by_time_find_few_and_many_alike(bed: Bed) -> anyhow::Result<()> {
    let ids = bed.many(5_200, |_| None).await?;
    bed.execute(
        "UPDATE onboardings SET updated_at = created_at;
         UPDATE schedules SET due_at = '2026-08-05T09:00:00.000000Z';
         UPDATE onboardings SET updated_at = '2026-08-09T08:00:00.000000Z' WHERE display_id % 1000 = 0;
         UPDATE schedules SET due_at = '2026-08-04T09:00:00.000000Z' WHERE onboarding_id IN
            (SELECT id FROM onboardings WHERE display_id % 500 = 0)",
    )
    .await?;
    let (early, late): (DateTime<Utc>, DateTime<Utc>) = (now(), now() + TimeDelta::days(1));
    let (soon, far) = (now() + TimeDelta::hours(30), now() + TimeDelta::days(9));
    let filter =
        |updated_since, due_before| ListFilter { updated_since, due_before, ..ListFilter::default() };
    for (filter, wanted) in [
        (filter(Some(early), None), 5_200),
        (filter(Some(late), None), 5),
        (filter(None, Some(far)), 5_200),
        (filter(None, Some(soon)), 10),
        (filter(Some(late), Some(soon)), 5),
        (filter(Some(late), Some(far)), 5),
        (filter(Some(early), Some(soon)), 10),
    ] {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page =
                bed.store.onboardings(bed.workspace, true, &filter, &Page { limit: 100, cursor }).await?;
            found.extend(page.data.iter().map(|it| it.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let newest_first: Vec<_> = ids.iter().rev().filter(|id| found.contains(id)).copied().collect();
        assert_eq!((found.len(), &found), (wanted, &newest_first), "{filter:?}");
    }
    Ok(())
}

async fn deleted_rows_and_children_of_deleted_customers_never_appear(bed: Bed) -> anyhow::Result<()> {
    let (a, b) = (bed.customer("A").await?, bed.customer("B").await?);
    let (child, gone) = (bed.onboarding(&a).await?.to_text(), bed.onboarding(&b).await?.to_text());
    let gone_user = bed.user("gone@example.com").await?;
    bed.apply(Command::DeleteCustomer, Some(&a)).await?;
    bed.apply(Command::DeleteOnboarding, Some(&gone)).await?;
    bed.apply(Command::DeleteUser, Some(&gone_user.to_text())).await?;
    let page = Page { limit: 10, cursor: None };
    assert_eq!(walk(&bed, 10).await?, Vec::<String>::new());
    assert_eq!(bed.store.onboardings(bed.workspace, true, &ListFilter::default(), &page).await?.data, []);
    let left = bed.store.customers(bed.workspace, true, &ListFilter::default(), &page).await?.data;
    assert_eq!(left.iter().map(|it| it.id.to_text()).collect::<Vec<_>>(), [b]);
    for id in [&child, &gone] {
        assert_eq!(bed.store.onboarding(bed.workspace, true, &Ref::parse(id)).await?, None);
        let patch = Command::ChangeOnboarding(OnboardingPatch::default());
        assert_eq!(crate::bed::code(bed.apply(patch, Some(id)).await)?, "onboarding_not_found");
    }
    assert_eq!(bed.store.customer(bed.workspace, true, &Ref::parse(&a)).await?, None);
    assert_eq!(bed.store.next_wake().await?, None);
    Ok(())
}

async fn records_of_another_workspace_or_mode_are_not_found(bed: Bed) -> anyhow::Result<()> {
    let other = bed.store.create_workspace("other", "Other", &Rules::default(), now()).await?.unwrap().id;
    let customer = bed.customer("A").await?;
    let id = bed.onboarding(&customer).await?.to_text();
    for (workspace_id, livemode) in [(other, true), (bed.workspace, false)] {
        let foreign = |command, target| Request { workspace_id, livemode, ..bed.request(command, target) };
        assert_eq!(bed.store.onboarding(workspace_id, livemode, &Ref::parse(&id)).await?, None);
        assert_eq!(bed.store.customer(workspace_id, livemode, &Ref::DisplayId(1)).await?, None);
        let page = Page { limit: 10, cursor: None };
        let listed = bed.store.onboardings(workspace_id, livemode, &ListFilter::default(), &page).await?;
        assert_eq!(listed.data, []);
        let delete = foreign(Command::DeleteOnboarding, Some(id.as_str()));
        assert_eq!(crate::bed::code(bed.store.apply(delete, now()).await)?, "onboarding_not_found");
        let create = foreign(onboarding(&customer), None);
        assert_eq!(crate::bed::code(bed.store.apply(create, now()).await)?, "customer_not_found");
    }
    assert!(bed.store.onboarding(bed.workspace, true, &Ref::parse(&id)).await?.is_some());
    Ok(())
}

async fn a_bare_instant_means_strictly_older(bed: Bed) -> anyhow::Result<()> {
    users(&bed, 0, 3).await?;
    let page = bed.store.users(bed.workspace, true, &Page { limit: 3, cursor: None }).await?;
    let middle: DateTime<Utc> = page.data[1].created_at;
    let cursor = Some(middle.to_rfc3339().parse::<Cursor>()?);
    let older = bed.store.users(bed.workspace, true, &Page { limit: 3, cursor }).await?;
    assert_eq!(older.data, page.data[2..]);
    assert_eq!(older.next, None);
    // What is given back is what was given, and nine digits mean what they always did.
    for text in [
        "2026-08-03T08:00:00.000001002Z",
        "2026-08-03T08:00:00.000001001300Z",
        "2026-08-03T08:00:00.000000000Z",
    ] {
        assert_eq!(text.parse::<Cursor>()?.to_string(), text);
    }
    assert_eq!(
        "2026-08-03T10:00:00.000001001300+02:00".parse::<Cursor>(),
        "2026-08-03T08:00:00.000001001300Z".parse()
    );
    for bad in ["", "yesterday", "2026-08-03", "9", "2026-08-03 08:00:00Z"] {
        assert!(bad.parse::<Cursor>().is_err(), "{bad}");
    }
    for far in ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "0000-01-01T00:00:00+14:00"] {
        let cursor = Some(far.parse::<Cursor>()?);
        let found = bed.store.users(bed.workspace, true, &Page { limit: 3, cursor }).await?.data.len();
        assert_eq!(found, if far.starts_with('9') { 3 } else { 0 }, "{far}");
    }
    Ok(())
}
