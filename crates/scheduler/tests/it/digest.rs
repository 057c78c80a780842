//! One message per person, channel and slot, whoever sends it.

use std::collections::HashSet;

use usher_lifecycle::Command;
use usher_lifecycle::command::CreateOnboarding;
use usher_lifecycle::onboarding::Role;
use usher_store::{Status, Store};

use crate::rig::{Rig, stories};
use usher_scheduler::Channels;

stories!(
    several_onboardings_of_one_person_due_together_one_message,
    the_same_person_in_two_roles_one_message,
    remind_now_and_the_slot_at_the_same_instant_are_one_message,
    two_schedulers_one_slot_one_message,
    a_digest_waits_until_all_of_it_is_planned,
);

async fn several_onboardings_of_one_person_due_together_one_message(rig: Rig) {
    let (ada, grace) = (rig.user("ada").await, rig.user("grace").await);
    let mut all = Vec::new();
    for (name, csm) in [("Acme", ada), ("Bolt", ada), ("Crux", ada), ("Dune", grace)] {
        all.push(rig.onboarding(name, &[(Role::Csm, csm)]).await);
    }
    let report = rig.pass_at(&rig.scheduler(), "2026-03-03T09:00:00Z").await;
    assert_eq!((report.messages, report.recorded), (2, 4));
    let messages = rig.sink.messages();
    let hers = messages.iter().find(|message| message.recipients == ["ada@example.com"]).unwrap().mail();
    let text = hers.body("text/plain").unwrap();
    assert!(["Acme", "Bolt", "Crux"].iter().all(|name| text.contains(name)), "{text}");
    assert!(!text.contains("Dune"), "{text}");
    let mut ids = HashSet::new();
    for onboarding in &all[..3] {
        let [row] = rig.ledger(*onboarding).await.try_into().unwrap();
        assert_eq!(row.status, Status::Sent);
        ids.insert(row.message_id);
    }
    assert_eq!(ids.len(), 1, "one message carried all three");
}

async fn the_same_person_in_two_roles_one_message(rig: Rig) {
    let ada = rig.user("ada").await;
    let design = usher_lifecycle::Phase::ProgramDesign;
    let rest = CreateOnboarding { phase: Some(design), ..CreateOnboarding::default() };
    let onboarding = rig.create("Acme", &[(Role::Csm, ada), (Role::Designer, ada)], rest).await;
    rig.pass_at(&rig.scheduler(), "2026-03-03T09:00:00Z").await;
    assert_eq!(rig.mailed(), ["ada@example.com"]);
    assert_eq!(rig.story(onboarding).await, ["email ada sent -"]);
}

async fn remind_now_and_the_slot_at_the_same_instant_are_one_message(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    rig.set("2026-03-03T09:00:00Z");
    rig.apply(Command::RemindOnboarding(None), Some(onboarding.to_text())).await;
    let report = rig.pass(&rig.scheduler()).await;
    assert_eq!((report.messages, report.recorded), (1, 2));
}

async fn a_digest_waits_until_all_of_it_is_planned(rig: Rig) {
    let ada = rig.user("ada").await;
    rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    rig.set("2026-03-03T09:00:00Z");
    let scheduler = rig.scheduler();
    scheduler.plan(rig.now()).await.unwrap();
    // Another one falls due at the same time, and is not planned yet.
    rig.set("2026-03-03T08:59:00Z");
    rig.onboarding("Bolt", &[(Role::Csm, ada)]).await;
    rig.set("2026-03-03T09:00:00Z");
    assert_eq!(scheduler.dispatch(rig.now()).await.unwrap().messages, 0);
    assert_eq!(rig.pass(&scheduler).await.messages, 1);
    assert_eq!(rig.sink.messages().len(), 1);
}

/// A thousand people (fewer on SQLite, where only one process sends), two onboardings each.
async fn two_schedulers_one_slot_one_message(rig: Rig) {
    let people = if rig.store.is_shared() { 500 } else { 40 };
    let mut requests = Vec::new();
    let customer = rig.customer("Acme").await;
    for n in 0..people {
        let user = rig.user(&format!("person{n}")).await;
        for _ in 0..2 {
            let create = CreateOnboarding {
                customer: customer.clone(),
                roles: [(Role::Csm, user.to_text())].into(),
                started_at: Some(rig.now() - chrono::TimeDelta::days(1)),
                ..CreateOnboarding::default()
            };
            requests.push(rig.request(Command::CreateOnboarding(create), None));
        }
    }
    let made = rig.store.apply_all(requests, rig.now()).await;
    let onboardings: Vec<_> = made.into_iter().map(|made| made.unwrap().id.parse().unwrap()).collect();
    rig.set("2026-03-03T09:00:00Z");

    let other = Store::connect(&rig.url, 8).await.unwrap();
    let channels = || Channels { mailer: Some(rig.mailer()), slack: None };
    let one = rig.scheduler_with(rig.store.clone(), channels());
    let two = rig.scheduler_with(other, channels());
    // What one of them leaves because the other holds it at that moment, the next pass takes.
    let passes = async |scheduler| {
        let (first, second) = (rig.pass(scheduler).await, rig.pass(scheduler).await);
        assert_eq!((first.late, second.late), (0, 0));
    };
    tokio::join!(passes(&one), passes(&two));
    rig.pass(&one).await;

    let mailed = rig.mailed();
    assert_eq!(mailed.len(), people, "one message each");
    assert_eq!(mailed.iter().collect::<HashSet<_>>().len(), people);
    for onboarding in onboardings {
        let [row] = rig.ledger(onboarding).await.try_into().unwrap();
        assert_eq!((row.status, row.attempts, row.ambiguities), (Status::Sent, 1, 0));
    }
}
