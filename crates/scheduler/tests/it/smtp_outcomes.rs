//! What an SMTP server answers, and what becomes of the deliveries.

use chrono::TimeDelta;
use usher_lifecycle::onboarding::Role;
use usher_lifecycle::{OnboardingId, UserId};
use usher_scheduler::channel::Mailer;
use usher_scheduler::{Channels, Scheduler};
use usher_store::{Ref, Status};
use usher_testkit::smtp::Behaviour;

use crate::rig::{Rig, sink_with_login, stories};

stories!(
    the_third_of_five_recipients_fails,
    a_bad_address_fails_is_marked_broken_and_slack_takes_over,
    a_bad_address_of_one_without_slack_is_told_to_the_workspace_next_time,
    a_policy_refusal_breaks_no_address,
    a_server_that_never_greets_is_retried_and_holds_slack_up_in_nothing,
    a_server_that_is_not_there_is_retried_until_the_next_slot_takes_over,
    a_login_that_fails_takes_the_channel_down_and_all_is_sent_later,
);

const NINE: &str = "2026-03-03T09:00:00Z";

fn reject(who: &str, code: u16, text: &str) -> Behaviour {
    Behaviour::RejectRcpt { address_contains: who.to_owned(), code, text: text.to_owned() }
}

async fn onboarding_of(rig: &Rig, name: &str) -> (OnboardingId, UserId) {
    let user = rig.user(name).await;
    (rig.onboarding(&format!("Customer of {name}"), &[(Role::Csm, user)]).await, user)
}

fn by_email(rig: &Rig, mailer: Mailer) -> Scheduler {
    rig.scheduler_with(rig.store.clone(), Channels { mailer: Some(mailer), slack: None })
}

async fn the_third_of_five_recipients_fails(rig: Rig) {
    let mut all = Vec::new();
    for name in ["one", "two", "three", "four", "five"] {
        all.push(onboarding_of(&rig, name).await.0);
    }
    rig.sink.set(reject("three", 450, "4.2.1 try again later"));
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, NINE).await;
    assert_eq!(rig.mailed().len(), 4);
    let [row] = rig.ledger(all[2]).await.try_into().unwrap();
    assert_eq!((row.status, row.attempts, row.errors.len()), (Status::Pending, 1, 1));
    assert_eq!(row.errors[0].code, "450");
    let wait = row.send_after - rig.now();
    assert!((TimeDelta::seconds(30)..TimeDelta::seconds(37)).contains(&wait), "{wait}");

    rig.sink.set(Behaviour::Accept);
    rig.sink.clear();
    rig.clock.advance(TimeDelta::seconds(29));
    rig.pass(&scheduler).await;
    assert_eq!(rig.mailed().len(), 0, "not before its time");
    rig.clock.set(row.send_after);
    rig.pass(&scheduler).await;
    assert_eq!(rig.mailed(), ["three@example.com"]);
    for onboarding in all {
        let [row] = rig.ledger(onboarding).await.try_into().unwrap();
        assert_eq!(row.status, Status::Sent);
    }
}

async fn a_bad_address_fails_is_marked_broken_and_slack_takes_over(rig: Rig) {
    let ada = rig.slacker("ada").await;
    let rest = usher_lifecycle::command::CreateOnboarding {
        reminder_slack: Some(false),
        ..usher_lifecycle::command::CreateOnboarding::default()
    };
    let onboarding = rig.create("Acme", &[(Role::Csm, ada)], rest).await;
    rig.sink.set(reject("ada", 550, "5.1.1 no such user"));
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, NINE).await;
    assert_eq!(rig.story(onboarding).await, ["email ada failed 550", "slack ada sent -"]);
    let rows = rig.ledger(onboarding).await;
    let slack = rows.iter().find(|row| row.status == Status::Sent).unwrap();
    assert_eq!((slack.why.as_str(), slack.slot.as_str()), ("email_broken", "2026-03-03"));
    let user = rig.store.user(rig.workspace, true, &Ref::Id(ada.to_text())).await.unwrap().unwrap();
    assert_eq!(user.reach.email_broken.as_deref(), Some("550"));
    // From now on Slack has it at once.
    rig.pass_at(&scheduler, "2026-03-04T09:00:00Z").await;
    assert_eq!(rig.ledger(onboarding).await.len(), 3);
    assert_eq!(rig.slack.posted().len(), 2);
}

async fn a_bad_address_of_one_without_slack_is_told_to_the_workspace_next_time(mut rig: Rig) {
    rig.rules(usher_lifecycle::reminder::Rules {
        ops_email: Some("ops@example.com".into()),
        ..usher_lifecycle::reminder::Rules::default()
    })
    .await;
    let (onboarding, _) = onboarding_of(&rig, "ada").await;
    rig.sink.set(reject("ada", 550, "5.1.1 no such user"));
    rig.pass_at(&rig.scheduler(), NINE).await;
    assert_eq!(rig.mailed(), ["ops@example.com"]);
    assert_eq!(rig.story(onboarding).await, ["email ada failed 550", "email email:ops@example.com sent -"]);
}

async fn a_policy_refusal_breaks_no_address(rig: Rig) {
    let (onboarding, ada) = onboarding_of(&rig, "ada").await;
    rig.sink.next(1, reject("ada", 550, "5.7.1 blocked for policy reasons"));
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, NINE).await;
    assert_eq!(rig.story(onboarding).await, ["email ada failed 550"]);
    let user = rig.store.user(rig.workspace, true, &Ref::Id(ada.to_text())).await.unwrap().unwrap();
    assert_eq!(user.reach.email_broken, None);
    rig.pass_at(&scheduler, "2026-03-04T09:00:00Z").await;
    assert_eq!(rig.mailed(), ["ada@example.com"], "the next slot is tried again");
}

async fn a_server_that_never_greets_is_retried_and_holds_slack_up_in_nothing(rig: Rig) {
    let ada = rig.slacker("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    rig.sink.set(Behaviour::NeverGreet);
    let scheduler = rig.scheduler();
    rig.set(NINE);
    scheduler.plan(rig.now()).await.unwrap();
    let (_, slack) = tokio::join!(async { scheduler.dispatch(rig.now()).await.unwrap() }, async {
        let began = tokio::time::Instant::now();
        rig.slack.wait_for_method("chat.postMessage", 1, crate::PATIENCE).await;
        began.elapsed()
    });
    assert!(slack < std::time::Duration::from_millis(1_400), "it waited for the mail server: {slack:?}");
    assert_eq!(rig.story(onboarding).await, ["email ada pending -", "slack ada sent -"]);
    rig.sink.set(Behaviour::Accept);
    rig.clock.advance(TimeDelta::minutes(1));
    rig.pass(&scheduler).await;
    assert_eq!(rig.story(onboarding).await, ["email ada sent -", "slack ada sent -"]);
}

async fn a_server_that_is_not_there_is_retried_until_the_next_slot_takes_over(rig: Rig) {
    let (onboarding, _) = onboarding_of(&rig, "ada").await;
    // Bound and closed again: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nowhere = by_email(&rig, Rig::mailer_to(&format!("smtp://127.0.0.1:{port}?tls=off"), 8));
    rig.set(NINE);
    nowhere.plan(rig.now()).await.unwrap();
    let mut waits = Vec::new();
    for _ in 0..4 {
        nowhere.dispatch(rig.now()).await.unwrap();
        let [row] = rig.ledger(onboarding).await.try_into().unwrap();
        assert_eq!(row.status, Status::Pending);
        waits.push((row.send_after - rig.now()).num_seconds());
        rig.clock.set(row.send_after);
    }
    for (wait, least) in waits.iter().zip([30, 120, 480, 1_800]) {
        assert!((least..=least * 6 / 5).contains(wait), "{waits:?}");
    }
    rig.pass_at(&rig.scheduler(), "2026-03-04T09:00:00Z").await;
    assert_eq!(rig.mailed().len(), 1);
    assert_eq!(rig.story(onboarding).await, ["email ada failed superseded", "email ada sent -"]);
}

async fn a_login_that_fails_takes_the_channel_down_and_all_is_sent_later(rig: Rig) {
    let sink = sink_with_login().await;
    let url = |password| format!("smtp://usher:{password}@127.0.0.1:{}?tls=off", sink.port());
    let mut all = Vec::new();
    for n in 0..40 {
        all.push(onboarding_of(&rig, &format!("person{n}")).await);
    }
    let wrong = by_email(&rig, Rig::mailer_to(&url("wrong"), 8));
    rig.pass_at(&wrong, NINE).await;
    let tried = sink.connections();
    assert!(tried <= 16, "the others were not even tried: {tried}");
    rig.clock.advance(TimeDelta::seconds(30));
    rig.pass(&wrong).await;
    assert_eq!(sink.connections(), tried, "the channel rests");
    for (onboarding, user) in &all {
        let [row] = rig.ledger(*onboarding).await.try_into().unwrap();
        assert_eq!((row.status, row.attempts), (Status::Pending, 0));
        let user = rig.store.user(rig.workspace, true, &Ref::Id(user.to_text())).await.unwrap().unwrap();
        assert_eq!(user.reach.email_broken, None);
    }

    let right = by_email(&rig, Rig::mailer_to(&url("right"), 8));
    rig.clock.advance(TimeDelta::minutes(5));
    rig.pass(&right).await;
    assert_eq!(sink.messages().len(), 40);
    for (onboarding, _) in all {
        assert_eq!(rig.ledger(onboarding).await[0].status, Status::Sent);
    }
}
