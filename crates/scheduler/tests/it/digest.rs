//! One message per person, channel and slot, whoever sends it.

use std::collections::HashSet;

use usher_lifecycle::Command;
use usher_lifecycle::command::CreateOnboarding;
use usher_lifecycle::onboarding::Role;
use usher_lifecycle::reminder::EscalateTo;
use usher_store::{Status, Store};
use usher_testkit::smtp::Behaviour;

use crate::escalation::{day, rules};
use crate::rig::{Rig, stories};
use usher_scheduler::Channels;

stories!(
    several_onboardings_of_one_person_due_together_one_message,
    the_same_person_in_two_roles_one_message,
    remind_now_and_the_slot_at_the_same_instant_are_one_message,
    two_schedulers_one_slot_one_message,
    a_digest_waits_until_all_of_it_is_planned,
    an_onboarding_is_listed_once_in_a_message_whatever_is_sent_about_it,
    a_message_about_one_escalated_onboarding_is_about_one,
    a_reminder_and_an_escalation_of_one_onboarding_share_their_fate,
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

/// Ada has both roles, so that on Wednesday the reminder and the escalation are hers; another onboarding is new.
async fn an_onboarding_is_listed_once_in_a_message_whatever_is_sent_about_it(mut rig: Rig) {
    rig.rules(rules(&[(1, EscalateTo::ProductOps, None)])).await;
    let ada = rig.slacker("ada").await;
    let acme = rig.onboarding("Acme", &[(Role::Csm, ada), (Role::ProductOps, ada)]).await;
    day(&rig, 3).await;
    rig.onboarding("Bolt", &[(Role::Csm, ada)]).await;
    day(&rig, 4).await;
    let mails = rig.sink.messages();
    let [_, mail] = mails.as_slice() else { panic!("one a day: {}", mails.len()) };
    let mail = mail.mail();
    assert_eq!(
        mail.header("Subject").unwrap(),
        "2 onboardings need you: Acme (escalated, before getting started, day 1), Bolt (before getting started, day 1)"
    );
    for (part, mark) in [("text/plain", "[escalated: "), ("text/html", "<strong>Escalated:</strong>")] {
        let text = mail.body(part).unwrap();
        for once in ["Acme", "Bolt", mark] {
            assert_eq!(text.matches(once).count(), 1, "{once} in {text}");
        }
    }
    let calls = rig.slack.calls();
    let said = calls.last().unwrap().body.to_string();
    assert_eq!(said.matches("(*escalated:* reminders went unheeded)").count(), 1, "{said}");
    assert_eq!(calls.last().unwrap().body["blocks"].as_array().unwrap().len(), 3, "{said}");
    // Both are in the ledger, by both channels, with the message that carried them.
    let rows = rig.ledger(acme).await.into_iter().filter(|row| row.slot == "2026-03-04");
    let told: Vec<_> = rows.map(|row| (row.channel.unwrap(), row.status, row.message_id)).collect();
    let messages: HashSet<_> = told.iter().map(|(channel, _, id)| (*channel, id.clone())).collect();
    assert_eq!((told.len(), messages.len()), (4, 2));
    assert!(told.iter().all(|(_, status, _)| *status == Status::Sent), "{told:?}");
}

/// With nothing else in it, the message itself says so.
async fn a_message_about_one_escalated_onboarding_is_about_one(mut rig: Rig) {
    rig.rules(rules(&[(1, EscalateTo::ProductOps, None)])).await;
    let ada = rig.user("ada").await;
    let acme = rig.onboarding("Acme", &[(Role::Csm, ada), (Role::ProductOps, ada)]).await;
    day(&rig, 3).await;
    rig.set("2026-03-04T09:00:00Z");
    // Somebody asks for a reminder at the same time.
    rig.apply(Command::RemindOnboarding(None), Some(acme.to_text())).await;
    let report = rig.pass(&rig.scheduler()).await;
    assert_eq!((report.messages, report.recorded), (1, 3));
    let mail = rig.sink.messages().pop().unwrap().mail();
    assert_eq!(mail.header("Subject").unwrap(), "Escalated: Acme needs you: before getting started, day 1");
    let text = mail.body("text/plain").unwrap();
    assert!(text.contains("Reminders went unheeded. This onboarding needs you."), "{text}");
    assert_eq!(text.matches("Acme").count(), 1, "{text}");
    assert_eq!(mail.header("References").unwrap(), format!("<{acme}@usher.example>"));
}

/// A refusal for now, and then for good: what it makes of one it makes of the other.
async fn a_reminder_and_an_escalation_of_one_onboarding_share_their_fate(mut rig: Rig) {
    rig.rules(rules(&[(1, EscalateTo::ProductOps, None)])).await;
    let ada = rig.user("ada").await;
    let acme = rig.onboarding("Acme", &[(Role::Csm, ada), (Role::ProductOps, ada)]).await;
    day(&rig, 3).await;
    let refuse = |code| Behaviour::RejectRcpt {
        address_contains: "ada".to_owned(),
        code,
        text: "5.7.1 blocked for policy reasons".to_owned(),
    };
    rig.sink.set(refuse(450));
    day(&rig, 4).await;
    let fates = async || {
        let rows = rig.ledger(acme).await.into_iter().filter(|row| row.slot == "2026-03-04");
        rows.map(|row| (row.status, row.attempts, row.send_after, row.reason)).collect::<Vec<_>>()
    };
    let [one, other] = fates().await.try_into().unwrap();
    assert_eq!((one.0, one.1), (Status::Pending, 1));
    assert_eq!(one, other);
    rig.sink.set(refuse(550));
    rig.pass_at(&rig.scheduler(), "2026-03-04T09:05:00Z").await;
    let [one, other] = fates().await.try_into().unwrap();
    assert_eq!((one.0, one.1, one.3.as_deref()), (Status::Failed, 2, Some("550")));
    assert_eq!(one, other);
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
