//! What broke elsewhere, as stories. Each scenario of "Time and downtime", "Duplicates, crashes, replicas" and "State at the
//! moment of sending" has a test of its name, on SQLite and Postgres; those that are not in this file are named below.
//!
//! Time and downtime: `restarted_more_often_than_the_interval`, `down_across_the_slot`,
//! `down_for_14_days_at_daily_frequency`, `a_wake_up_1_to_5_s_late_is_not_missed`,
//! `paused_over_the_slot_and_resumed_in_the_afternoon`, `sending_by_hand_does_not_shift_the_rhythm` (due);
//! `a_zone_change_of_the_workspace_is_used_by_the_next_slot_and_by_catch_up_alike` (`policy_change`).
//! Duplicates, crashes, replicas: `killed_between_the_smtp_servers_250_and_our_commit`, `connection_lost_after_data_*`,
//! `a_late_workers_result_is_refused` (`unknown_fate`); `slack_timeout_after_delivery_*` (`slack_outcomes`);
//! `the_third_of_five_recipients_fails` (`smtp_outcomes`); `two_schedulers_one_slot_one_message`,
//! `the_same_person_in_two_roles_one_message`, `several_onboardings_of_one_person_due_together_one_message` (digest).
//! State at the moment of sending: `*_between_planning_and_sending*` (changes), `quiet_hours_end_exactly_one_message` (due).

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use usher_lifecycle::{
    Command, Onboarding, OnboardingId, Phase, State, UserId,
    command::{CreateOnboarding, CreateUser, OnboardingPatch, Snooze, UserPatch},
    onboarding::Role,
    person::{QuietHours, Reach},
    reminder::{CatchUp, Channel, Policy, Rules, policy::hh_mm, zone},
};
use usher_scheduler::{
    Channels, Scheduler,
    channel::{Function, Handed, Mailer, Outcome},
};
use usher_store::{ClaimLimits, Ref, Status};
use usher_testkit::smtp::Behaviour;

use crate::{
    at,
    rig::{Rig, count, stories},
};

stories!(
    a_due_time_far_in_the_past_is_never_a_dead_end,
    a_wake_up_late_by_seconds_is_not_missed_where_nothing_is_caught_up,
    un_snoozed_over_the_slot_is_as_resumed,
    patch_of_notes_does_not_move_the_schedule,
    from_7_days_to_1_day_no_burst,
    from_1_day_to_7_no_extra_message,
    daily_0230_in_a_zone_whose_spring_gap_swallows_it_once,
    daily_0130_on_the_night_that_has_it_twice_once,
    local_1604_stays_local_1604_the_day_after,
    ten_thousand_due_at_0900,
    the_order_of_what_is_due_at_0900_is_stable_across_restarts,
    a_killed_workers_rows_come_back_within_the_lease,
    two_recoverers_do_not_both_take_them,
    state_flapping_sends_nothing_by_itself,
    quiet_hours_end_and_cleared_meanwhile_none,
);

async fn acme(rig: &Rig) -> (OnboardingId, UserId) {
    let ada = rig.user("ada").await;
    (rig.onboarding("Acme", &[(Role::Csm, ada)]).await, ada)
}

async fn shown(rig: &Rig, onboarding: OnboardingId) -> Onboarding {
    let which = Ref::Id(onboarding.to_text());
    rig.store.onboarding(rig.workspace, true, &which).await.unwrap().unwrap()
}

fn state(state: State) -> OnboardingPatch {
    OnboardingPatch { state: Some(state), ..OnboardingPatch::default() }
}

fn every(days: u16) -> OnboardingPatch {
    OnboardingPatch { reminder_frequency_days: Some(days), ..OnboardingPatch::default() }
}

async fn a_due_time_far_in_the_past_is_never_a_dead_end(rig: Rig) {
    let (onboarding, _) = acme(&rig).await;
    // Nobody was there for nine years.
    rig.pass_at(&rig.scheduler(), "2035-03-06T10:00:00Z").await;
    assert_eq!(rig.mailed().len(), 1);
    assert_eq!(rig.next(onboarding).await, Some(at("2035-03-07T09:00:00Z")));
    let rows = rig.ledger(onboarding).await;
    assert_eq!((count(&rows, Status::Sent), count(&rows, Status::Skipped)), (1, 1));
    let gap = rows.iter().find(|row| row.status == Status::Skipped).unwrap();
    assert_eq!(gap.detail.as_ref().unwrap()["first_slot"], "2026-03-03");
}

async fn a_wake_up_late_by_seconds_is_not_missed_where_nothing_is_caught_up(mut rig: Rig) {
    let policy = Policy { catch_up: CatchUp::Skip, ..Policy::default() };
    rig.rules(Rules { policy, ..Rules::default() }).await;
    let (onboarding, _) = acme(&rig).await;
    for (day, seconds) in [(3, 1), (4, 5)] {
        rig.pass_at(&rig.scheduler(), &format!("2026-03-{day:02}T09:00:{seconds:02}Z")).await;
    }
    assert_eq!(rig.story(onboarding).await, ["email ada sent -", "email ada sent -"]);
}

async fn un_snoozed_over_the_slot_is_as_resumed(rig: Rig) {
    let (onboarding, _) = acme(&rig).await;
    let scheduler = rig.scheduler();
    rig.apply(Command::SnoozeOnboarding(Snooze::Days(5)), Some(onboarding.to_text())).await;
    rig.pass_at(&scheduler, "2026-03-03T09:00:00Z").await;
    rig.set("2026-03-03T15:00:00Z");
    rig.apply(Command::UnsnoozeOnboarding, Some(onboarding.to_text())).await;
    rig.pass(&scheduler).await;
    assert!(rig.mailed().is_empty(), "nothing at once");
    assert_eq!(rig.story(onboarding).await, ["- nobody skipped snoozed"], "the skip is logged");
    rig.pass_at(&scheduler, "2026-03-04T09:00:00Z").await;
    assert_eq!(rig.mailed().len(), 1, "the next slot comes");
}

async fn patch_of_notes_does_not_move_the_schedule(rig: Rig) {
    let (onboarding, _) = acme(&rig).await;
    let before = shown(&rig, onboarding).await.reminders;
    rig.set("2026-03-03T08:59:59Z");
    let notes = Some(Some("a thought".to_owned()));
    rig.patch(onboarding, OnboardingPatch { notes, ..OnboardingPatch::default() }).await;
    assert_eq!(shown(&rig, onboarding).await.reminders, before);
    rig.pass_at(&rig.scheduler(), "2026-03-03T09:00:00Z").await;
    assert_eq!(rig.mailed().len(), 1);
}

async fn from_7_days_to_1_day_no_burst(rig: Rig) {
    let ada = rig.user("ada").await;
    let weekly = CreateOnboarding { reminder_frequency_days: Some(7), ..CreateOnboarding::default() };
    let onboarding = rig.create("Acme", &[(Role::Csm, ada)], weekly).await;
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, "2026-03-09T09:00:00Z").await;
    rig.set("2026-03-13T12:00:00Z");
    rig.patch(onboarding, every(1)).await;
    rig.pass(&scheduler).await;
    assert_eq!(rig.mailed().len(), 1, "none at once, although four daily slots have passed");
    assert_eq!(rig.next(onboarding).await, Some(at("2026-03-16T09:00:00Z")));
    rig.pass_at(&scheduler, "2026-03-16T09:00:00Z").await;
    assert_eq!(rig.story(onboarding).await, ["email ada sent -", "email ada sent -"]);
}

async fn from_1_day_to_7_no_extra_message(rig: Rig) {
    let (onboarding, _) = acme(&rig).await;
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, "2026-03-03T09:00:00Z").await;
    rig.set("2026-03-03T12:00:00Z");
    rig.patch(onboarding, every(7)).await;
    for day in 4..10 {
        rig.pass_at(&scheduler, &format!("2026-03-{day:02}T12:00:00Z")).await;
    }
    assert_eq!(rig.mailed().len(), 1);
    assert_eq!(
        rig.next(onboarding).await,
        Some(at("2026-03-10T09:00:00Z")),
        "seven days after the last reminder"
    );
    rig.pass_at(&scheduler, "2026-03-10T09:00:00Z").await;
    assert_eq!(rig.mailed().len(), 2);
}

/// Every day of the week at that time in that zone, looked at every quarter of an hour; when each message went out.
async fn nights(rig: &mut Rig, name: &str, time_of_day: &str, from: &str, hours: i64) -> Vec<DateTime<Utc>> {
    use chrono::Weekday::{Fri, Mon, Sat, Sun, Thu, Tue, Wed};
    let policy = Policy {
        time_zone: zone(name).unwrap(),
        time_of_day: hh_mm::parse(time_of_day).unwrap(),
        working_days: vec![Mon, Tue, Wed, Thu, Fri, Sat, Sun],
        ..Policy::default()
    };
    rig.set(from);
    rig.rules(Rules { policy, ..Rules::default() }).await;
    let (onboarding, _) = acme(rig).await;
    let scheduler = rig.scheduler();
    for _ in 0..hours * 4 {
        rig.clock.advance(TimeDelta::minutes(15));
        rig.pass(&scheduler).await;
    }
    assert_eq!(rig.mailed().len(), rig.ledger(onboarding).await.len());
    rig.ledger(onboarding).await.into_iter().map(|row| row.sent_at.unwrap()).collect()
}

async fn daily_0230_in_a_zone_whose_spring_gap_swallows_it_once(mut rig: Rig) {
    let sent = nights(&mut rig, "Europe/Berlin", "02:30", "2026-03-28T12:00:00Z", 44).await;
    assert_eq!(sent, ["2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"].map(at));
}

async fn daily_0130_on_the_night_that_has_it_twice_once(mut rig: Rig) {
    let sent = nights(&mut rig, "America/New_York", "01:30", "2026-10-31T12:00:00Z", 44).await;
    assert_eq!(sent, ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"].map(at));
}

async fn local_1604_stays_local_1604_the_day_after(mut rig: Rig) {
    let sent = nights(&mut rig, "Europe/Berlin", "16:04", "2026-03-28T11:49:00Z", 36).await;
    assert_eq!(sent, ["2026-03-28T16:04:00+01:00", "2026-03-29T16:04:00+02:00"].map(at));
}

/// So many people with one onboarding each, of which a reminder is due on Tuesday at nine.
async fn one_each(rig: &Rig, all: usize) {
    let customer = rig.customer("Acme").await;
    let person = |n: usize| CreateUser {
        active: true,
        name: format!("Person {n}"),
        email: format!("person{n}@example.com"),
        slack_user_id: None,
        reach: Reach::default(),
        external_id: None,
    };
    for chunk in (0..all).collect::<Vec<_>>().chunks(1_000) {
        let people = chunk.iter().map(|n| rig.request(Command::CreateUser(person(*n)), None)).collect();
        let made = rig.store.apply_all(people, rig.now()).await;
        let create = |id: String| CreateOnboarding {
            customer: customer.clone(),
            roles: BTreeMap::from([(Role::Csm, id)]),
            started_at: Some(rig.now() - TimeDelta::days(1)),
            ..CreateOnboarding::default()
        };
        let creates = made.into_iter().map(|user| Command::CreateOnboarding(create(user.unwrap().id)));
        let creates = creates.map(|create| rig.request(create, None)).collect();
        assert!(rig.store.apply_all(creates, rig.now()).await.iter().all(Result::is_ok));
    }
}

/// Ten thousand people (fewer on SQLite, where only one process sends), one onboarding each, spread over an hour. The
/// schedulers are restarted every ten minutes. (Two of them send side by side, so that their order is that of no one: see
/// below for one's.)
async fn ten_thousand_due_at_0900(mut rig: Rig) {
    let is_shared = rig.store.is_shared();
    let all = if is_shared { 10_000 } else { 1_000 };
    let policy = Policy { spread_minutes: 60, ..Policy::default() };
    rig.rules(Rules { policy, ..Rules::default() }).await;
    one_each(&rig, all).await;
    let by_email = || Channels { mailer: Some(rig.mailer_with(4)), slack: None };
    let mut per_minutes = Vec::new();
    for tens in 0..=6 {
        rig.set(&format!("2026-03-03T{:02}:{:02}:00Z", 9 + tens / 6, tens % 6 * 10));
        let before = rig.sink.messages().len();
        let scheduler = rig.scheduler_with(rig.store.clone(), by_email());
        if is_shared {
            let other = rig.another().await;
            tokio::join!(rig.pass(&scheduler), rig.pass(&other));
        }
        rig.pass(&scheduler).await;
        per_minutes.push(rig.sink.messages().len() - before);
    }
    // Near an even rate, and the same ones however often everybody restarted.
    let even = all / 6;
    let near = |sent: &usize| (even * 3 / 4..even * 5 / 4).contains(sent);
    assert!(per_minutes.iter().skip(1).all(near), "{per_minutes:?}");
    let mailed = rig.mailed();
    assert_eq!((mailed.len(), mailed.iter().collect::<HashSet<_>>().len()), (all, all), "all, each once");
}

/// The same people are reminded on Tuesday and on Wednesday, within a minute; on Wednesday the scheduler is restarted in the
/// middle of it. Both times they are told in the same order.
async fn the_order_of_what_is_due_at_0900_is_stable_across_restarts(mut rig: Rig) {
    const ALL: usize = 600;
    let policy = Policy { spread_minutes: 1, ..Policy::default() };
    rig.rules(Rules { policy, ..Rules::default() }).await;
    one_each(&rig, ALL).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    rig.set("2026-03-03T09:01:00Z");
    rig.pass(&telling(&rig, &told, &CancellationToken::new(), ALL)).await;
    let whole = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(whole.iter().collect::<HashSet<_>>().len(), ALL, "each once");

    rig.set("2026-03-04T09:01:00Z");
    let shutdown = CancellationToken::new();
    telling(&rig, &told, &shutdown, ALL / 3).run(shutdown.clone()).await;
    let part = told.lock().unwrap().len();
    assert!((ALL / 3..ALL / 2).contains(&part), "{part} when it stopped");
    rig.pass(&telling(&rig, &told, &CancellationToken::new(), ALL)).await;
    let parts = std::mem::take(&mut *told.lock().unwrap());
    let place = whole.iter().zip(&parts).position(|(one, other)| one != other);
    assert_eq!((parts.len(), place), (ALL, None), "where they differ");
}

/// A scheduler that notes whom it tells, and is told to stop when so many know.
fn telling(rig: &Rig, told: &Arc<Mutex<Vec<String>>>, stop: &CancellationToken, after: usize) -> Scheduler {
    let (told, stop) = (Arc::clone(told), stop.clone());
    let take = move |handed: Handed| {
        let (told, stop) = (Arc::clone(&told), stop.clone());
        async move {
            let known = {
                let mut told = told.lock().unwrap();
                told.push(handed.message.to.name.unwrap());
                told.len()
            };
            if known == after {
                stop.cancel();
            }
            // Whoever else has something to do does it meanwhile, as with a server.
            tokio::task::yield_now().await;
            Outcome::Accepted { reference: None }
        }
        .boxed()
    };
    let mailer = Mailer::function(Function::new(take), "usher@usher.example").unwrap();
    rig.scheduler_with(rig.store.clone(), Channels { mailer: Some(mailer), slack: None })
}

fn limits() -> ClaimLimits {
    ClaimLimits { deliveries: 100, lease: Duration::from_mins(3), channels: Channel::ALL.to_vec() }
}

async fn a_killed_workers_rows_come_back_within_the_lease(rig: Rig) {
    let (onboarding, _) = acme(&rig).await;
    rig.set("2026-03-03T09:00:00Z");
    rig.scheduler().plan(rig.now()).await.unwrap();
    assert_eq!(rig.store.claim(rig.now(), &limits()).await.unwrap().len(), 1, "and it is killed");
    let survivor = rig.another().await;
    let mut minutes = 0;
    while rig.mailed().is_empty() {
        minutes += 1;
        assert!(minutes <= 4, "minutes, not hours");
        rig.clock.advance(TimeDelta::minutes(1));
        rig.pass(&survivor).await;
    }
    assert!(minutes >= 3, "not while its lease holds");
    assert_eq!(rig.story(onboarding).await, ["email ada sent -"]);
}

async fn two_recoverers_do_not_both_take_them(rig: Rig) {
    let (onboarding, _) = acme(&rig).await;
    rig.set("2026-03-03T09:00:00Z");
    rig.scheduler().plan(rig.now()).await.unwrap();
    assert_eq!(rig.store.claim(rig.now(), &limits()).await.unwrap().len(), 1, "and it is killed");
    rig.clock.advance(TimeDelta::minutes(4));
    // Both look while the message of the first one is on its way.
    rig.sink.next(1, Behaviour::StallAfterData);
    let (one, other) = (rig.another().await, rig.another().await);
    let (one, other) = tokio::join!(one.dispatch(rig.now()), other.dispatch(rig.now()));
    assert_eq!(one.unwrap().messages + other.unwrap().messages, 1);
    assert_eq!(rig.mailed().len(), 1);
    let [row] = rig.ledger(onboarding).await.try_into().unwrap();
    assert_eq!(row.ambiguities, 2, "the killed one's and the stalled one's");
}

async fn state_flapping_sends_nothing_by_itself(rig: Rig) {
    let (onboarding, _) = acme(&rig).await;
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, "2026-03-03T09:00:00Z").await;
    for (number, flap) in [State::AtRisk, State::Active, State::AtRisk].into_iter().enumerate() {
        rig.set(&format!("2026-03-03T1{number}:00:00Z"));
        rig.patch(onboarding, state(flap)).await;
        rig.pass(&scheduler).await;
    }
    assert_eq!(rig.mailed().len(), 1, "that of the slot");
    assert_eq!(rig.next(onboarding).await, Some(at("2026-03-04T09:00:00Z")));
}

async fn quiet_hours_end_and_cleared_meanwhile_none(rig: Rig) {
    let (onboarding, ada) = acme(&rig).await;
    let hours = QuietHours { from: hh_mm::parse("08:30").unwrap(), to: hh_mm::parse("11:00").unwrap() };
    rig.patch_user(ada, UserPatch { quiet_hours: Some(Some(hours.into())), ..UserPatch::default() }).await;
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, "2026-03-03T09:00:00Z").await;
    assert_eq!(rig.story(onboarding).await, ["email ada pending -"]);
    rig.set("2026-03-03T10:00:00Z");
    rig.patch(onboarding, OnboardingPatch { phase: Some(Phase::Completed), ..OnboardingPatch::default() })
        .await;
    rig.pass_at(&scheduler, "2026-03-03T11:00:00Z").await;
    assert!(rig.mailed().is_empty());
    assert_eq!(rig.story(onboarding).await, ["email ada skipped completed"]);
}
