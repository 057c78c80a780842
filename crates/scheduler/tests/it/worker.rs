//! The loop, by a clock that goes like the real one and shows another time.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use usher_bus::{Bus, Local};
use usher_lifecycle::Command;
use usher_lifecycle::onboarding::Role;
use usher_scheduler::{Channels, Clock, Scheduler};
use usher_store::Status;
use usher_testkit::smtp::Behaviour;
use usher_testkit::statements::Statements;

use crate::PATIENCE;
use crate::rig::{Rig, scheduler, stories};

stories!(
    a_due_reminder_is_sent_within_a_second_of_its_time,
    a_hint_is_seen_at_once,
    a_shutdown_lets_what_is_in_flight_finish,
    a_shutdown_gives_back_what_has_not_begun,
    a_channel_that_is_down_is_not_hammered,
    an_idle_look_at_the_tables_is_one_statement,
);

/// Shows `from` now, and goes on at the pace of the world.
fn running(from: DateTime<Utc>) -> Clock {
    let began = Instant::now();
    Arc::new(move || from + TimeDelta::from_std(began.elapsed()).unwrap())
}

struct Loop {
    bus: Bus,
    clock: Clock,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Loop {
    fn start(rig: &Rig, from: &str, channels: Channels) -> Self {
        let (bus, shutdown, clock) =
            (Bus::Local(Local::new()), CancellationToken::new(), running(crate::at(from)));
        let it: Scheduler = scheduler(rig.store.clone(), bus.clone(), Arc::clone(&clock), channels);
        let running = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { it.run(shutdown).await }
        });
        Self { bus, clock, shutdown, running }
    }

    async fn end(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }
}

fn by_email(rig: &Rig) -> Channels {
    Channels { mailer: Some(rig.mailer()), slack: None }
}

async fn a_due_reminder_is_sent_within_a_second_of_its_time(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    let worker = Loop::start(&rig, "2026-03-03T08:59:58Z", by_email(&rig));
    rig.sink.wait_for(1, PATIENCE).await;
    let now = (worker.clock)();
    worker.end().await;
    let [row] = rig.ledger(onboarding).await.try_into().unwrap();
    assert!(now >= row.due_at, "not early");
    let lag = row.sent_at.unwrap() - row.due_at;
    assert!(lag < TimeDelta::seconds(1), "{lag}");
}

async fn a_hint_is_seen_at_once(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    let other = rig.onboarding("Bolt", &[(Role::Csm, ada)]).await;
    rig.apply(Command::RemindOnboarding(None), Some(other.to_text())).await;
    let worker = Loop::start(&rig, "2026-03-03T08:00:01Z", by_email(&rig));
    // It has found the first one, and sleeps after it.
    rig.sink.wait_for(1, PATIENCE).await;
    rig.apply(Command::RemindOnboarding(None), Some(onboarding.to_text())).await;
    worker.bus.hint_due().await;
    rig.sink.wait_for(2, Duration::from_secs(5)).await;
    worker.end().await;
    assert_eq!(rig.story(onboarding).await, ["email ada sent -"]);
}

async fn a_shutdown_lets_what_is_in_flight_finish(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    rig.sink.set(Behaviour::StallAfterData);
    let worker = Loop::start(&rig, "2026-03-03T09:00:00Z", by_email(&rig));
    rig.sink.wait_for(1, PATIENCE).await;
    worker.end().await;
    // The mailer's own deadline passed within the time that a shutdown allows, and that was recorded.
    let [row] = rig.ledger(onboarding).await.try_into().unwrap();
    assert_eq!((row.status, row.attempts, row.ambiguities), (Status::Pending, 1, 1));
    assert_eq!(row.errors[0].code, "unknown");
}

async fn a_shutdown_gives_back_what_has_not_begun(rig: Rig) {
    let mut all = Vec::new();
    for n in 0..60 {
        let user = rig.user(&format!("person{n}")).await;
        all.push(rig.onboarding(&format!("Customer {n}"), &[(Role::Csm, user)]).await);
    }
    rig.sink.set(Behaviour::StallInData);
    let worker = Loop::start(&rig, "2026-03-03T09:00:00Z", by_email(&rig));
    let held = async {
        while rig.sink.connections() < 8 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, held).await.unwrap();
    worker.end().await;
    rig.sink.set(Behaviour::Accept);
    // None of those that waited for their turn is left behind with a lease.
    rig.pass_at(&rig.scheduler(), "2026-03-03T09:00:20Z").await;
    let sent = rig.sink.messages().len();
    assert!(sent >= 60 - 16, "{sent}");
    rig.pass_at(&rig.scheduler(), "2026-03-03T09:05:00Z").await;
    assert_eq!(rig.sink.messages().len(), 60);
    for onboarding in all {
        assert_eq!(rig.ledger(onboarding).await[0].status, Status::Sent);
    }
}

async fn a_channel_that_is_down_is_not_hammered(rig: Rig) {
    let ada = rig.slacker("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    rig.slack.set("chat.postMessage", usher_testkit::slack::Answer::Error("invalid_auth"));
    let channels = Channels { mailer: Some(rig.mailer()), slack: Some(rig.slack_sender()) };
    let worker = Loop::start(&rig, "2026-03-03T08:59:59Z", channels);
    rig.slack.wait_for(1, PATIENCE).await;
    // Hints make it look again, and there is something due.
    for _ in 0..20 {
        worker.bus.hint_due().await;
        tokio::task::yield_now().await;
    }
    rig.sink.wait_for(1, PATIENCE).await;
    worker.end().await;
    assert_eq!(rig.slack.calls().len(), 1);
    assert_eq!(rig.story(onboarding).await, ["email ada sent -", "slack ada pending -"]);
}

async fn an_idle_look_at_the_tables_is_one_statement(rig: Rig) {
    let ada = rig.user("ada").await;
    rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    let statements = Statements::default();
    let _counting = tracing::subscriber::set_default(statements.clone());
    let worker = Loop::start(&rig, "2026-03-03T08:00:00Z", by_email(&rig));
    for looks in 1..=5 {
        let looked = async {
            while statements.count() < looks {
                tokio::task::yield_now().await;
            }
            // The one statement was all: had it more to say, it would have begun by the end of the next look.
            worker.bus.hint_due().await;
        };
        timeout(PATIENCE, looked).await.unwrap();
    }
    worker.end().await;
    let all = statements.count();
    assert!((5..=6).contains(&all), "five looks and at most one more: {all}");
}
