//! Two processes at once: nothing is lost, nothing is double, nobody sees an internal error.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::Value;
use usher_lifecycle::{
    Command, Phase, State,
    command::{
        ContactPatch, CreateContact, CreateCustomer, CreateOnboarding, CreateTemplate, CreateUser,
        CustomerPatch, OnboardingPatch, TemplatePatch, UserPatch, WorkspacePatch,
    },
    person::Reach,
};
use usher_store::{Page, Ref, Request};

use crate::{
    bed::{Bed, code, fields, notes, now, onboarding},
    contracts,
};

contracts!(
    concurrent_patches_of_phase_and_state_both_hold,
    thirty_two_patches_make_versions_without_a_gap,
    times_follow_the_versions_of_every_kind_of_record,
    a_name_raced_for_by_two_processes_is_taken_once,
    display_ids_never_repeat,
    batches_that_name_the_same_records_differently_do_not_block_each_other,
);

async fn concurrent_patches_of_phase_and_state_both_hold(bed: Bed) -> anyhow::Result<()> {
    let other = bed.another().await?;
    let customer = bed.customer("A").await?;
    for _ in 0..10 {
        let id = bed.onboarding(&customer).await?;
        let phase = OnboardingPatch { phase: Some(Phase::Review), ..Default::default() };
        let state = OnboardingPatch { state: Some(State::AtRisk), ..Default::default() };
        let text = id.to_text();
        let (one, two) = tokio::join!(
            bed.store.apply(bed.request(Command::ChangeOnboarding(phase), Some(&text)), now()),
            other.apply(bed.request(Command::ChangeOnboarding(state), Some(&text)), now()),
        );
        let versions = BTreeSet::from([one?.version, two?.version]);
        assert_eq!(versions, BTreeSet::from([2, 3]));
        let read = other.onboarding(bed.workspace, true, &Ref::Id(text)).await?.unwrap();
        assert_eq!((read.phase, read.state, read.version), (Phase::Review, State::AtRisk, 3));
        let timeline = bed.store.timeline(read.id, &Page { limit: 20, cursor: None }).await?.data;
        let kinds: BTreeSet<_> = timeline.iter().map(|it| (it.version, it.kind.as_str())).collect();
        let has = |kind: &str| kinds.iter().any(|(_, it)| *it == kind);
        assert!(has("onboarding.phase_changed") && has("onboarding.state_changed"), "{kinds:?}");
    }
    Ok(())
}

async fn thirty_two_patches_make_versions_without_a_gap(bed: Bed) -> anyhow::Result<()> {
    let stores = [bed.store.clone(), bed.another().await?];
    let id = bed.onboarding(&bed.customer("A").await?).await?;
    let mut running = tokio::task::JoinSet::new();
    for i in 0..32 {
        let (store, request) =
            (stores[i % 2].clone(), bed.request(notes(&format!("n{i}")), Some(&id.to_text())));
        running.spawn(async move { store.apply(request, now()).await });
    }
    let mut versions = BTreeSet::new();
    while let Some(answer) = running.join_next().await {
        versions.insert(answer??.version);
    }
    assert_eq!(versions, (2..=33).collect());
    // Positions order the versions, and each event carries the object as it stood.
    let events = bed
        .texts("SELECT subject_version || '' FROM events WHERE onboarding_id IS NOT NULL ORDER BY position");
    assert_eq!(events.await?, (1..=33).map(|version| version.to_string()).collect::<Vec<_>>());
    let timeline = bed.store.timeline(id, &Page { limit: 100, cursor: None }).await?.data;
    for row in &timeline {
        assert_eq!(row.data["object"]["version"], Value::from(row.version));
        assert_eq!(row.data["object"]["updated_at"], serde_json::to_value(row.occurred_at)?);
    }
    // Whoever waited longest for the lock has the oldest instant, and still comes last.
    let versions: Vec<i64> = timeline.iter().map(|row| row.version).collect();
    assert_eq!(versions, (1..=33).rev().collect::<Vec<_>>());
    assert!(timeline.is_sorted_by(|newer, older| newer.occurred_at > older.occurred_at), "{timeline:?}");
    Ok(())
}

/// A process whose instant is older gets the record after one whose instant is newer, as behind a lock.
async fn times_follow_the_versions_of_every_kind_of_record(bed: Bed) -> anyhow::Result<()> {
    let other = bed.another().await?;
    let customer = bed.customer("A").await?;
    let onboarding = bed.onboarding(&customer).await?.to_text();
    let user = bed.user("u@example.com").await?.to_text();
    let mut contacts = Vec::new();
    for email in ["first@example.com", "second@example.com"] {
        let create = CreateContact {
            customer: customer.clone(),
            name: "C".into(),
            email: email.into(),
            title: None,
            is_primary: None,
            labels: Vec::new(),
            external_id: None,
        };
        contacts.push(bed.apply(Command::CreateContact(create), None).await?.id);
    }
    let defaults = TemplatePatch::default();
    let create = CreateTemplate { name: "T".into(), defaults };
    let template = bed.apply(Command::CreateTemplate(create), None).await?.id;
    let name = |name: &str| Some(name.to_owned());
    let change = |text: &str| {
        [
            (notes(text), onboarding.clone()),
            (
                Command::ChangeCustomer(CustomerPatch { name: name(text), ..Default::default() }),
                customer.clone(),
            ),
            (Command::ChangeUser(UserPatch { name: name(text), ..Default::default() }), user.clone()),
            (
                Command::ChangeTemplate(TemplatePatch { name: name(text), ..Default::default() }),
                template.clone(),
            ),
            (
                Command::ChangeWorkspace(WorkspacePatch { name: name(text), ..Default::default() }),
                bed.workspace.to_text(),
            ),
        ]
    };
    // Taking the place of the primary contact over changes both of them.
    let primary = ContactPatch { is_primary: Some(true), ..Default::default() };
    for (store, seconds, text) in
        [(&bed.store, 60, "late"), (&other, 30, "early"), (&bed.store, 45, "between")]
    {
        let now = now() + TimeDelta::seconds(seconds);
        for (command, target) in change(text) {
            store.apply(bed.request(command, Some(&target)), now).await?;
        }
        contacts.reverse();
        let command = Command::ChangeContact(primary.clone());
        store.apply(bed.request(command, Some(&contacts[0])), now).await?;
    }
    let gone = [
        (Command::DeleteOnboarding, &onboarding),
        (Command::DeleteContact, &contacts[0]),
        (Command::DeleteTemplate, &template),
        (Command::DeleteUser, &user),
        (Command::DeleteCustomer, &customer),
    ];
    for (command, target) in gone {
        other.apply(bed.request(command, Some(target)), now() + TimeDelta::seconds(20)).await?;
    }
    let changes = bed.number("SELECT COUNT(*) FROM events WHERE subject_version > 1").await?;
    assert!(changes >= 6 * 3 + 5, "{changes}");
    let not_later = "SELECT e.kind || ' ' || e.subject_version FROM events e JOIN events before
        ON before.subject_id = e.subject_id AND before.subject_version = e.subject_version - 1
        WHERE e.occurred_at <= before.occurred_at";
    assert_eq!(bed.texts(not_later).await?, Vec::<String>::new());
    let timed_otherwise = "SELECT e.kind FROM events e JOIN onboardings o
        ON o.id = e.subject_id AND o.version = e.subject_version
        WHERE o.updated_at <> e.occurred_at OR o.deleted_at <> e.occurred_at";
    assert_eq!(bed.texts(timed_otherwise).await?, Vec::<String>::new());
    Ok(())
}

async fn a_name_raced_for_by_two_processes_is_taken_once(bed: Bed) -> anyhow::Result<()> {
    let other = bed.another().await?;
    let customer = bed.customer("A").await?;
    for round in 0..6 {
        let (mut slug, mut key) = (fields("S"), fields("K"));
        slug.slug = Some(format!("s{round}"));
        key.external_id = Some(format!("k{round}"));
        let keyed = CreateOnboarding {
            customer: customer.clone(),
            external_id: Some(format!("o{round}")),
            ..Default::default()
        };
        let user = CreateUser {
            active: true,
            name: "U".into(),
            email: format!("u{round}@example.com"),
            slack_user_id: None,
            reach: Reach::default(),
            external_id: None,
        };
        for (command, taken) in [
            (Command::CreateCustomer(CreateCustomer { fields: slug }), "slug_taken"),
            (Command::CreateCustomer(CreateCustomer { fields: key }), "external_id_taken"),
            (Command::CreateOnboarding(keyed), "external_id_taken"),
            (Command::CreateUser(user), "email_taken"),
        ] {
            let request = bed.request(command, None);
            let (one, two) =
                tokio::join!(bed.store.apply(request.clone(), now()), other.apply(request, now()));
            assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1, "{one:?} {two:?}");
            assert_eq!(code(if one.is_ok() { two } else { one })?, taken);
        }
    }
    Ok(())
}

async fn display_ids_never_repeat(bed: Bed) -> anyhow::Result<()> {
    let stores = [bed.store.clone(), bed.another().await?];
    let customer = bed.customer("A").await?;
    let mut running = tokio::task::JoinSet::new();
    for i in 0..100 {
        let (store, request) = (stores[i % 2].clone(), bed.request(onboarding(&customer), None));
        running.spawn(async move { store.apply(request, now()).await });
    }
    let mut numbers = BTreeSet::new();
    while let Some(answer) = running.join_next().await {
        let body: Value = serde_json::from_str(&answer??.body)?;
        numbers.insert(body["display_id"].as_i64());
    }
    assert_eq!(numbers.len(), 100);
    assert!(numbers.first() >= Some(&Some(1)));
    Ok(())
}

/// By id in one batch, by key or number in the other, with the customers changed in between.
async fn batches_that_name_the_same_records_differently_do_not_block_each_other(
    bed: Bed,
) -> anyhow::Result<()> {
    let (customer, mut ids) = (bed.customer("A").await?, Vec::new());
    for i in 0..30 {
        let external_id = Some(format!("o{i}"));
        let create = CreateOnboarding { customer: customer.clone(), external_id, ..Default::default() };
        let made = bed.apply(Command::CreateOnboarding(create), None).await?;
        let body: Value = serde_json::from_str(&made.body)?;
        ids.push([
            Ref::Id(made.id),
            Ref::ExternalId(format!("o{i}")),
            Ref::parse(&body["display_id"].to_string()),
        ]);
    }
    let mut running = tokio::task::JoinSet::new();
    for task in 0..6 {
        let store = bed.another().await?;
        let batch = |round: usize| -> Vec<Request> {
            let one = |(i, names): (usize, &[Ref; 3])| Request {
                target: Some(names[(i + task) % 3].clone()),
                ..bed.request(notes(&format!("{task} {round}")), None)
            };
            let mut all: Vec<_> = ids.iter().enumerate().map(one).collect();
            if task % 2 == 0 {
                all.reverse();
            }
            all
        };
        let batches: Vec<_> = (0..5).map(batch).collect();
        running.spawn(async move {
            for batch in batches {
                for answer in store.apply_all(batch, now()).await {
                    answer?;
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    assert_eq!(bed.number("SELECT COUNT(*) FROM onboardings WHERE version = 31").await?, 30);
    assert_eq!(bed.deadlocks().await?, 0);
    Ok(())
}
