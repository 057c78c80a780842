//! When reminders come: on time, late, once.

use chrono::TimeDelta;
use usher_lifecycle::Command;
use usher_lifecycle::command::{CreateOnboarding, OnboardingPatch, UserPatch};
use usher_lifecycle::onboarding::Role;
use usher_lifecycle::person::QuietHours;
use usher_lifecycle::reminder::{Channel, Kind, policy::hh_mm};
use usher_lifecycle::{Phase, State};
use usher_scheduler::{DispatchReport, PlanReport};
use usher_store::{ApplyError, Status};

use crate::at;
use crate::rig::{Rig, count, stories};

stories!(
    started_yesterday_is_sent_once_at_the_time_of_day,
    a_restart_in_between_changes_nothing,
    restarted_more_often_than_the_interval,
    down_across_the_slot,
    down_for_14_days_at_daily_frequency,
    late_on_a_sunday_night_waits_for_monday,
    a_wake_up_1_to_5_s_late_is_not_missed,
    sending_by_hand_does_not_shift_the_rhythm,
    remind_now_on_the_channels_asked_for,
    remind_now_of_a_completed_onboarding_is_refused,
    paused_over_the_slot_and_resumed_in_the_afternoon,
    quiet_hours_end_exactly_one_message,
    deferred_is_superseded_by_the_next_slot,
    what_travels_apart_has_message_ids_of_its_own,
);

async fn started_yesterday_is_sent_once_at_the_time_of_day(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    let scheduler = rig.scheduler();
    assert_eq!(scheduler.plan(rig.now()).await.unwrap(), PlanReport { planned: 0 }, "an hour early");
    assert_eq!(rig.next(onboarding).await, Some(at("2026-03-03T09:00:00Z")));

    let report = rig.pass_at(&scheduler, "2026-03-03T09:00:00Z").await;
    assert_eq!(report, DispatchReport { messages: 1, recorded: 1, late: 0 });
    let mail = rig.sink.messages().remove(0).mail();
    assert_eq!(rig.mailed(), ["ada@example.com"]);
    assert!(mail.header("Subject").unwrap().contains("Acme"), "{mail:?}");
    let [row] = rig.ledger(onboarding).await.try_into().unwrap();
    assert_eq!((row.status, row.slot.as_str(), row.attempts), (Status::Sent, "2026-03-03", 1));
    assert_eq!(row.sent_at, Some(rig.now()));
    let id = mail.header("Message-ID").unwrap();
    assert!(id.contains(row.message_id.as_deref().unwrap()), "{id}");
    assert_eq!(rig.next(onboarding).await, Some(at("2026-03-04T09:00:00Z")));

    assert_eq!(rig.pass(&scheduler).await, DispatchReport::default(), "a second pass");
    assert_eq!(rig.sink.messages().len(), 1);
    rig.pass_at(&scheduler, "2026-03-04T09:00:00Z").await;
    assert_eq!(rig.sink.messages().len(), 2);
}

async fn a_restart_in_between_changes_nothing(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    rig.set("2026-03-03T09:00:00Z");
    rig.another().await.plan(rig.now()).await.unwrap();
    let second = rig.another().await;
    assert_eq!(second.plan(rig.now()).await.unwrap().planned, 0);
    assert_eq!(second.dispatch(rig.now()).await.unwrap().recorded, 1);
    rig.pass(&rig.another().await).await;
    assert_eq!(rig.sink.messages().len(), 1);
    assert_eq!(rig.story(onboarding).await, ["email ada sent -"]);
}

async fn restarted_more_often_than_the_interval(rig: Rig) {
    let ada = rig.user("ada").await;
    let weekly = CreateOnboarding { reminder_frequency_days: Some(7), ..CreateOnboarding::default() };
    rig.create("Acme", &[(Role::Csm, ada)], weekly).await;
    // The base is yesterday, Monday the 2nd: the slot is Monday the 9th.
    for day in 3..9 {
        rig.pass_at(&rig.another().await, &format!("2026-03-{day:02}T23:00:00Z")).await;
        assert_eq!(rig.sink.messages().len(), 0, "on the {day}th");
    }
    rig.pass_at(&rig.another().await, "2026-03-09T09:00:00Z").await;
    assert_eq!(rig.sink.messages().len(), 1);
}

async fn down_across_the_slot(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    rig.pass_at(&rig.scheduler(), "2026-03-03T10:30:00Z").await;
    assert_eq!(rig.sink.messages().len(), 1);
    let [row] = rig.ledger(onboarding).await.try_into().unwrap();
    assert_eq!((row.slot.as_str(), row.due_at), ("2026-03-03", at("2026-03-03T09:00:00Z")));
    assert_eq!(row.object()["lag_seconds"], 5_400);
}

async fn down_for_14_days_at_daily_frequency(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    // Tuesday again: ten working days were missed, and today's slot is the latest.
    rig.pass_at(&rig.scheduler(), "2026-03-17T11:00:00Z").await;
    assert_eq!(rig.sink.messages().len(), 1);
    assert_eq!(rig.story(onboarding).await, ["- nobody skipped superseded", "email ada sent -"]);
    let rows = rig.ledger(onboarding).await;
    let gap = rows.iter().find(|row| row.status == Status::Skipped).unwrap().detail.clone().unwrap();
    assert_eq!(
        (&gap["first_slot"], &gap["last_slot"], &gap["slots"]),
        (&"2026-03-03".into(), &"2026-03-16".into(), &10.into())
    );
    assert_eq!(rig.next(onboarding).await, Some(at("2026-03-18T09:00:00Z")));
}

async fn late_on_a_sunday_night_waits_for_monday(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, "2026-03-08T03:00:00Z").await;
    assert_eq!(rig.sink.messages().len(), 0, "nobody is reminded at 3 a.m. on a Sunday");
    rig.pass_at(&scheduler, "2026-03-09T08:59:59Z").await;
    assert_eq!(rig.sink.messages().len(), 0);
    rig.pass_at(&scheduler, "2026-03-09T09:00:00Z").await;
    assert_eq!(rig.sink.messages().len(), 1, "one, with what is due on Monday itself");
    let rows = rig.ledger(onboarding).await;
    assert_eq!((count(&rows, Status::Sent), count(&rows, Status::Pending)), (1, 0));
}

async fn a_wake_up_1_to_5_s_late_is_not_missed(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    rig.pass_at(&rig.scheduler(), "2026-03-03T09:00:05Z").await;
    assert_eq!(rig.story(onboarding).await, ["email ada sent -"]);
}

async fn sending_by_hand_does_not_shift_the_rhythm(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    let scheduler = rig.scheduler();
    let next = rig.next(onboarding).await;
    for (n, when) in ["2026-03-03T08:00:01Z", "2026-03-03T08:30:00Z"].into_iter().enumerate() {
        rig.set(when);
        rig.apply(Command::RemindOnboarding(None), Some(onboarding.to_text())).await;
        rig.pass(&scheduler).await;
        assert_eq!(rig.sink.messages().len(), n + 1);
        assert_eq!(rig.next(onboarding).await, next);
    }
    rig.pass_at(&scheduler, "2026-03-03T09:00:00Z").await;
    assert_eq!(rig.sink.messages().len(), 3, "the slot comes all the same");
    // Paused, on a Sunday at 3 a.m.
    rig.set("2026-03-08T03:00:00Z");
    rig.patch(onboarding, OnboardingPatch { state: Some(State::Paused), ..OnboardingPatch::default() }).await;
    rig.apply(Command::RemindOnboarding(None), Some(onboarding.to_text())).await;
    rig.pass(&scheduler).await;
    assert_eq!(rig.sink.messages().len(), 4);
    let rows = rig.ledger(onboarding).await;
    let manual = rows.iter().filter(|row| row.kind == Kind::Manual && row.status == Status::Sent);
    assert_eq!(manual.count(), 3);
}

async fn remind_now_on_the_channels_asked_for(rig: Rig) {
    let ada = rig.slacker("ada").await;
    let off = CreateOnboarding {
        reminder_email: Some(false),
        reminder_slack: Some(false),
        ..CreateOnboarding::default()
    };
    let onboarding = rig.create("Acme", &[(Role::Csm, ada)], off).await;
    let scheduler = rig.scheduler();
    rig.apply(Command::RemindOnboarding(Some(vec![Channel::Slack])), Some(onboarding.to_text())).await;
    rig.pass(&scheduler).await;
    assert_eq!((rig.sink.messages().len(), rig.slack.posted().len()), (0, 1));
    assert_eq!(rig.story(onboarding).await, ["slack ada sent -"]);
    // Without channels its own switches hold, and they are off.
    rig.apply(Command::RemindOnboarding(None), Some(onboarding.to_text())).await;
    rig.pass(&scheduler).await;
    assert_eq!(rig.story(onboarding).await, ["- nobody skipped channels_off", "slack ada sent -"]);
}

async fn remind_now_of_a_completed_onboarding_is_refused(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    rig.patch(onboarding, OnboardingPatch { phase: Some(Phase::Completed), ..OnboardingPatch::default() })
        .await;
    let refused = rig.try_apply(Command::RemindOnboarding(None), Some(onboarding.to_text())).await;
    assert!(matches!(refused, Err(ApplyError::Refused(_))), "{refused:?}");
    rig.pass(&rig.scheduler()).await;
    assert_eq!(rig.sink.messages().len(), 0);
}

async fn paused_over_the_slot_and_resumed_in_the_afternoon(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    let scheduler = rig.scheduler();
    let state = |state| OnboardingPatch { state: Some(state), ..OnboardingPatch::default() };
    rig.patch(onboarding, state(State::Paused)).await;
    rig.pass_at(&scheduler, "2026-03-03T09:00:00Z").await;
    rig.set("2026-03-03T15:00:00Z");
    rig.patch(onboarding, state(State::Active)).await;
    rig.pass(&scheduler).await;
    assert_eq!(rig.sink.messages().len(), 0);
    assert_eq!(rig.story(onboarding).await, ["- nobody skipped paused"]);
    rig.pass_at(&scheduler, "2026-03-04T09:00:00Z").await;
    assert_eq!(rig.sink.messages().len(), 1);
}

async fn quiet(rig: &Rig, from: &str, to: &str) -> usher_lifecycle::OnboardingId {
    let ada = rig.user("ada").await;
    let hours = QuietHours { from: hh_mm::parse(from).unwrap(), to: hh_mm::parse(to).unwrap() };
    rig.patch_user(ada, UserPatch { quiet_hours: Some(Some(hours.into())), ..UserPatch::default() }).await;
    rig.onboarding("Acme", &[(Role::Csm, ada)]).await
}

async fn quiet_hours_end_exactly_one_message(rig: Rig) {
    let onboarding = quiet(&rig, "08:30", "11:00").await;
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, "2026-03-03T09:00:00Z").await;
    rig.pass_at(&scheduler, "2026-03-03T10:59:59Z").await;
    assert_eq!(rig.sink.messages().len(), 0);
    let [row] = rig.ledger(onboarding).await.try_into().unwrap();
    assert_eq!((row.status, row.send_after), (Status::Pending, at("2026-03-03T11:00:00Z")));
    rig.pass_at(&scheduler, "2026-03-03T11:00:00Z").await;
    rig.pass_at(&scheduler, "2026-03-03T11:00:01Z").await;
    assert_eq!(rig.sink.messages().len(), 1);
    assert_eq!(rig.story(onboarding).await, ["email ada sent -"]);
}

async fn deferred_is_superseded_by_the_next_slot(rig: Rig) {
    let ada = rig.user("ada").await;
    let days_off = usher_lifecycle::person::DaysOff {
        weekdays: Vec::new(),
        dates: vec![rig.now().date_naive(), rig.now().date_naive() + TimeDelta::days(1)],
    };
    rig.patch_user(ada, UserPatch { days_off: Some(days_off), ..UserPatch::default() }).await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    let scheduler = rig.scheduler();
    for day in ["2026-03-03T09:00:00Z", "2026-03-04T09:00:00Z"] {
        rig.pass_at(&scheduler, day).await;
        assert_eq!(rig.sink.messages().len(), 0);
    }
    assert_eq!(rig.story(onboarding).await, ["email ada pending -", "email ada skipped superseded"]);
    rig.pass_at(&scheduler, "2026-03-05T09:00:00Z").await;
    assert_eq!(rig.sink.messages().len(), 1, "one, not three");
    let rows = rig.ledger(onboarding).await;
    assert_eq!((count(&rows, Status::Sent), count(&rows, Status::Skipped)), (1, 2));
}

/// A mail server that has seen a Message-ID may drop another message with the same one.
async fn what_travels_apart_has_message_ids_of_its_own(rig: Rig) {
    let onboarding = quiet(&rig, "08:30", "11:00").await;
    let scheduler = rig.scheduler();
    rig.set("2026-03-03T09:00:00Z");
    scheduler.plan(rig.now()).await.unwrap();
    // Claimed together: the one is deferred, the other goes out.
    rig.clock.advance(TimeDelta::seconds(1));
    rig.apply(Command::RemindOnboarding(None), Some(onboarding.to_text())).await;
    rig.pass(&scheduler).await;
    rig.pass_at(&scheduler, "2026-03-03T11:00:00Z").await;
    let ids = rig.message_ids();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}
