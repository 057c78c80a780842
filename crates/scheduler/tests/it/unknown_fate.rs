//! Messages of which nobody knows whether they arrived: repeated once, as they were.

use chrono::TimeDelta;
use usher_lifecycle::command::OnboardingPatch;
use usher_lifecycle::onboarding::Role;
use usher_lifecycle::reminder::{Ambiguous, Rules};
use usher_lifecycle::{OnboardingId, Phase, UserId};
use usher_store::Status;
use usher_testkit::smtp::Behaviour;

use crate::PATIENCE;
use crate::rig::{Rig, stories};

stories!(
    connection_lost_after_data_is_repeated_once_with_the_same_message_id,
    connection_lost_after_data_twice_is_no_endless_loop,
    connection_lost_after_data_is_held_where_the_policy_says_so,
    killed_between_the_smtp_servers_250_and_our_commit,
    killed_before_anything_was_sent_is_sent,
    a_late_workers_result_is_refused,
);

const NINE: &str = "2026-03-03T09:00:00Z";

async fn of(rig: &Rig, user: UserId, name: &str) -> OnboardingId {
    rig.onboarding(name, &[(Role::Csm, user)]).await
}

async fn connection_lost_after_data_is_repeated_once_with_the_same_message_id(rig: Rig) {
    let ada = rig.user("ada").await;
    let (acme, bolt, crux) =
        (of(&rig, ada, "Acme").await, of(&rig, ada, "Bolt").await, of(&rig, ada, "Crux").await);
    rig.sink.next(1, Behaviour::DropAfterData);
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, NINE).await;
    let rows = rig.ledger(acme).await;
    assert_eq!((rows[0].status, rows[0].ambiguities), (Status::Pending, 1));
    // Bolt is done meanwhile, and somebody asks for a reminder of Dune.
    rig.clock.advance(TimeDelta::minutes(1));
    rig.patch(bolt, OnboardingPatch { phase: Some(Phase::Completed), ..OnboardingPatch::default() }).await;
    let dune = of(&rig, ada, "Dune").await;
    rig.apply(usher_lifecycle::Command::RemindOnboarding(None), Some(dune.to_text())).await;
    rig.pass(&scheduler).await;

    let (ids, messages) = (rig.message_ids(), rig.sink.messages());
    let text = |n: usize| messages[n].mail().body("text/plain").unwrap().to_owned();
    assert_eq!(ids.len(), 3, "the lost one, its repeat, and Dune's own: {ids:?}");
    let repeat = (1..3).find(|n| ids[*n] == ids[0]).unwrap();
    let own = 3 - repeat;
    assert_ne!(ids[own], ids[0]);
    assert!(["Acme", "Bolt", "Crux"].iter().all(|name| text(0).contains(name)));
    assert!(text(repeat).contains("Acme") && text(repeat).contains("Crux"));
    assert!(!text(repeat).contains("Bolt") && !text(repeat).contains("Dune"), "{}", text(repeat));
    assert!(text(own).contains("Dune") && !text(own).contains("Acme"));
    assert_eq!(rig.story(acme).await, ["email ada sent -"]);
    // Its first copy may have arrived, so nobody may say that it was skipped.
    assert_eq!(rig.story(bolt).await, ["email ada ambiguous completed"]);
    assert_eq!(rig.story(crux).await, ["email ada sent -"]);
    assert_eq!(rig.ledger(acme).await[0].errors.len(), 1);
}

async fn connection_lost_after_data_twice_is_no_endless_loop(rig: Rig) {
    let ada = rig.user("ada").await;
    let acme = of(&rig, ada, "Acme").await;
    rig.sink.set(Behaviour::DropAfterData);
    let scheduler = rig.scheduler();
    rig.set(NINE);
    for _ in 0..6 {
        rig.pass(&scheduler).await;
        rig.clock.advance(TimeDelta::minutes(10));
    }
    let ids = rig.message_ids();
    assert_eq!(ids.len(), 2, "once more, and no endless loop");
    assert_eq!(ids[0], ids[1]);
    assert_eq!(rig.story(acme).await, ["email ada ambiguous ambiguous"]);
}

async fn connection_lost_after_data_is_held_where_the_policy_says_so(mut rig: Rig) {
    rig.rules(Rules { ambiguous: Ambiguous::Hold, ..Rules::default() }).await;
    let ada = rig.user("ada").await;
    let acme = of(&rig, ada, "Acme").await;
    rig.sink.set(Behaviour::DropAfterData);
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, NINE).await;
    rig.clock.advance(TimeDelta::minutes(10));
    rig.pass(&scheduler).await;
    assert_eq!(rig.sink.messages().len(), 1);
    assert_eq!(rig.story(acme).await, ["email ada ambiguous ambiguous"]);
}

/// The scheduler is gone once the server has the message, and before that is recorded.
async fn dies_after_sending(rig: &Rig) {
    let scheduler = rig.another().await;
    scheduler.plan(rig.now()).await.unwrap();
    tokio::select! {
        _ = scheduler.dispatch(rig.now()) => panic!("it was not to finish"),
        _ = rig.sink.wait_for(1, PATIENCE) => {}
    }
}

async fn killed_between_the_smtp_servers_250_and_our_commit(rig: Rig) {
    let ada = rig.user("ada").await;
    let acme = of(&rig, ada, "Acme").await;
    rig.set(NINE);
    rig.sink.next(1, Behaviour::StallAfterData);
    dies_after_sending(&rig).await;

    let survivor = rig.another().await;
    rig.pass(&survivor).await;
    assert_eq!(rig.sink.messages().len(), 1, "its lease still holds");
    rig.clock.advance(TimeDelta::minutes(4));
    rig.pass(&survivor).await;
    let ids = rig.message_ids();
    assert_eq!((ids.len(), &ids[0]), (2, &ids[1]), "one repeat, with the same Message-ID");
    let [row] = rig.ledger(acme).await.try_into().unwrap();
    assert_eq!((row.status, row.ambiguities), (Status::Sent, 1));
    assert_eq!(row.errors[0].code, "lease_expired");
    rig.clock.advance(TimeDelta::minutes(10));
    rig.pass(&survivor).await;
    assert_eq!(rig.sink.messages().len(), 2);
}

async fn killed_before_anything_was_sent_is_sent(rig: Rig) {
    let ada = rig.user("ada").await;
    let acme = of(&rig, ada, "Acme").await;
    rig.set(NINE);
    let limits = usher_store::ClaimLimits {
        deliveries: 100,
        lease: std::time::Duration::from_mins(3),
        channels: usher_lifecycle::reminder::Channel::ALL.to_vec(),
    };
    rig.scheduler().plan(rig.now()).await.unwrap();
    assert_eq!(rig.store.claim(rig.now(), &limits).await.unwrap().len(), 1);
    rig.clock.advance(TimeDelta::minutes(4));
    rig.pass(&rig.scheduler()).await;
    assert_eq!(rig.sink.messages().len(), 1);
    assert_eq!(rig.story(acme).await, ["email ada sent -"]);
}

async fn a_late_workers_result_is_refused(rig: Rig) {
    let ada = rig.user("ada").await;
    let acme = of(&rig, ada, "Acme").await;
    rig.set(NINE);
    rig.sink.next(1, Behaviour::StallAfterData);
    let slow = rig.another().await;
    slow.plan(rig.now()).await.unwrap();
    let late = async {
        let report = slow.dispatch(rig.now()).await.unwrap();
        assert_eq!((report.recorded, report.late), (0, 1));
    };
    let quick = async {
        rig.sink.wait_for(1, PATIENCE).await;
        rig.clock.advance(TimeDelta::minutes(4));
        assert_eq!(rig.pass(&rig.another().await).await.recorded, 1);
    };
    tokio::join!(late, quick);
    let [row] = rig.ledger(acme).await.try_into().unwrap();
    assert_eq!((row.status, row.attempts), (Status::Sent, 1));
}
