//! What changed between planning and sending: nothing goes out that is not wanted any more, and the ledger says why.

use chrono::TimeDelta;
use usher_lifecycle::Command;
use usher_lifecycle::command::{CreateOnboarding, CustomerPatch, OnboardingPatch, Snooze, UserPatch};
use usher_lifecycle::customer::CustomerStatus;
use usher_lifecycle::onboarding::Role;
use usher_lifecycle::reminder::Rules;
use usher_lifecycle::{OnboardingId, Phase, State, UserId};
use usher_scheduler::Channels;
use usher_store::Page;
use usher_testkit::smtp::Behaviour;

use crate::rig::{Rig, stories};

stories!(
    completed_between_planning_and_sending,
    paused_between_planning_and_sending,
    deleted_between_planning_and_sending,
    snoozed_between_planning_and_sending,
    completed_while_its_message_waited_for_its_turn,
    muted_between_planning_and_sending,
    channel_off_between_planning_and_sending,
    both_channels_off_between_planning_and_sending_shows_no_next_reminder_either,
    customer_churned_between_planning_and_sending,
    reassigned_between_planning_and_sending_reaches_the_new_person,
    reassigned_with_slack_reaches_the_new_person_once_by_each_channel,
    deactivated_between_planning_and_sending_falls_back,
    deactivated_with_nobody_left_is_noticed,
    test_records_never_send,
    no_recipient_is_told_by_an_event,
    a_channel_that_is_not_configured_is_not_planned,
    a_channel_taken_away_between_planning_and_sending,
);

/// One onboarding of Ada's, planned and not sent.
async fn planned(rig: &Rig) -> (OnboardingId, UserId) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    rig.set("2026-03-03T09:00:00Z");
    rig.scheduler().plan(rig.now()).await.unwrap();
    assert_eq!(rig.story(onboarding).await, ["email ada pending -"]);
    (onboarding, ada)
}

/// Dispatches, twice, and asserts that nothing goes out and that the ledger has this reason.
async fn nothing_goes_out(rig: &Rig, onboarding: OnboardingId, reason: &str) {
    let scheduler = rig.scheduler();
    scheduler.dispatch(rig.now()).await.unwrap();
    rig.clock.advance(TimeDelta::minutes(5));
    rig.pass(&scheduler).await;
    assert_eq!(rig.sink.messages().len(), 0);
    assert_eq!(rig.story(onboarding).await, [format!("email ada skipped {reason}")]);
}

async fn completed_between_planning_and_sending(rig: Rig) {
    let (onboarding, _) = planned(&rig).await;
    rig.patch(onboarding, OnboardingPatch { phase: Some(Phase::Completed), ..OnboardingPatch::default() })
        .await;
    nothing_goes_out(&rig, onboarding, "completed").await;
    assert_eq!(rig.next(onboarding).await, None);
}

async fn paused_between_planning_and_sending(rig: Rig) {
    let (onboarding, _) = planned(&rig).await;
    rig.patch(onboarding, OnboardingPatch { state: Some(State::Paused), ..OnboardingPatch::default() }).await;
    nothing_goes_out(&rig, onboarding, "paused").await;
}

async fn deleted_between_planning_and_sending(rig: Rig) {
    let (onboarding, _) = planned(&rig).await;
    rig.apply(Command::DeleteOnboarding, Some(onboarding.to_text())).await;
    nothing_goes_out(&rig, onboarding, "deleted").await;
}

async fn snoozed_between_planning_and_sending(rig: Rig) {
    let (onboarding, _) = planned(&rig).await;
    rig.apply(Command::SnoozeOnboarding(Snooze::Days(3)), Some(onboarding.to_text())).await;
    nothing_goes_out(&rig, onboarding, "snoozed").await;
}

/// One connection, so that two messages have their turn, and the third waits for theirs.
async fn completed_while_its_message_waited_for_its_turn(rig: Rig) {
    let mut all = Vec::new();
    for name in ["ada", "grace", "edsger"] {
        let user = rig.user(name).await;
        all.push(rig.onboarding("Acme", &[(Role::Csm, user)]).await);
    }
    rig.set("2026-03-03T09:00:00Z");
    rig.sink.next(2, Behaviour::StallInData);
    let channels = Channels { mailer: Some(rig.mailer_with(1)), slack: None };
    let scheduler = rig.scheduler_with(rig.store.clone(), channels);
    scheduler.plan(rig.now()).await.unwrap();
    let meanwhile = async {
        let begun = async {
            while rig.sink.connections() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::PATIENCE, begun).await.unwrap();
        rig.clock.advance(TimeDelta::seconds(5));
        for onboarding in &all {
            let done = OnboardingPatch { phase: Some(Phase::Completed), ..OnboardingPatch::default() };
            rig.patch(*onboarding, done).await;
        }
    };
    let (report, ()) = tokio::join!(scheduler.dispatch(rig.now()), meanwhile);
    assert_eq!(report.unwrap().recorded, 3);
    assert_eq!(rig.sink.messages().len(), 0);
    let mut reasons = Vec::new();
    for onboarding in all {
        reasons.push(rig.ledger(onboarding).await.remove(0).reason);
    }
    reasons.sort();
    assert_eq!(
        reasons,
        [None, None, Some("completed".to_owned())],
        "two are on their way, one is not wanted"
    );
}

async fn muted_between_planning_and_sending(rig: Rig) {
    let (onboarding, ada) = planned(&rig).await;
    let until = rig.now() + TimeDelta::days(1);
    rig.patch_user(ada, UserPatch { mute_until: Some(Some(until)), ..UserPatch::default() }).await;
    nothing_goes_out(&rig, onboarding, "muted").await;
}

async fn channel_off_between_planning_and_sending(rig: Rig) {
    let (onboarding, _) = planned(&rig).await;
    rig.patch(onboarding, OnboardingPatch { reminder_email: Some(false), ..OnboardingPatch::default() })
        .await;
    nothing_goes_out(&rig, onboarding, "channel_off").await;
}

async fn both_channels_off_between_planning_and_sending_shows_no_next_reminder_either(rig: Rig) {
    let (onboarding, _) = planned(&rig).await;
    let off = OnboardingPatch {
        reminder_email: Some(false),
        reminder_slack: Some(false),
        ..OnboardingPatch::default()
    };
    rig.patch(onboarding, off).await;
    nothing_goes_out(&rig, onboarding, "channels_off").await;
    assert_eq!(rig.next(onboarding).await, None);
}

async fn customer_churned_between_planning_and_sending(rig: Rig) {
    let (onboarding, _) = planned(&rig).await;
    let which = usher_store::Ref::Id(onboarding.to_text());
    let found = rig.store.onboarding(rig.workspace, true, &which).await.unwrap().unwrap();
    let patch = CustomerPatch { status: Some(CustomerStatus::Churned), ..CustomerPatch::default() };
    rig.apply(Command::ChangeCustomer(patch), Some(found.customer_id.to_text())).await;
    nothing_goes_out(&rig, onboarding, "customer_inactive").await;
}

fn csm(user: UserId) -> OnboardingPatch {
    OnboardingPatch { roles: [(Role::Csm, Some(user.to_text()))].into(), ..OnboardingPatch::default() }
}

async fn reassigned_between_planning_and_sending_reaches_the_new_person(rig: Rig) {
    let (onboarding, _) = planned(&rig).await;
    let grace = rig.user("grace").await;
    rig.patch(onboarding, csm(grace)).await;
    let scheduler = rig.scheduler();
    scheduler.dispatch(rig.now()).await.unwrap();
    assert_eq!(rig.mailed(), ["grace@example.com"]);
    rig.pass(&scheduler).await;
    assert_eq!(rig.mailed().len(), 1);
    assert_eq!(
        rig.story(onboarding).await,
        ["email ada skipped no_longer_responsible", "email grace sent -"]
    );
    let rows = rig.ledger(onboarding).await;
    assert!(rows.iter().all(|row| row.slot == "2026-03-03" && row.due_at == rig.now()), "{rows:?}");
}

async fn reassigned_with_slack_reaches_the_new_person_once_by_each_channel(rig: Rig) {
    let (ada, grace) = (rig.slacker("ada").await, rig.slacker("grace").await);
    let owner = rig.user("owner").await;
    let design = CreateOnboarding { phase: Some(Phase::ProgramDesign), ..CreateOnboarding::default() };
    let onboarding = rig.create("Acme", &[(Role::Csm, ada), (Role::Designer, owner)], design).await;
    rig.set("2026-03-03T09:00:00Z");
    let scheduler = rig.scheduler();
    scheduler.plan(rig.now()).await.unwrap();
    rig.patch(onboarding, csm(grace)).await;
    rig.pass(&scheduler).await;
    let mut mailed = rig.mailed();
    mailed.sort();
    assert_eq!(mailed, ["grace@example.com", "owner@example.com"]);
    assert_eq!(rig.slack.posted().len(), 1);
    assert_eq!(rig.slack.posted()[0]["channel"], "UGRACE");
    assert_eq!(
        rig.story(onboarding).await,
        [
            "email ada skipped no_longer_responsible",
            "email grace sent -",
            "email owner sent -",
            "slack ada skipped no_longer_responsible",
            "slack grace sent -",
        ]
    );
}

async fn deactivated_between_planning_and_sending_falls_back(mut rig: Rig) {
    rig.rules(Rules { ops_email: Some("ops@example.com".into()), ..Rules::default() }).await;
    let (onboarding, ada) = planned(&rig).await;
    rig.patch_user(ada, UserPatch { active: Some(false), ..UserPatch::default() }).await;
    rig.scheduler().dispatch(rig.now()).await.unwrap();
    assert_eq!(rig.mailed(), ["ops@example.com"]);
    assert_eq!(
        rig.story(onboarding).await,
        ["email ada skipped no_longer_responsible", "email email:ops@example.com sent -"]
    );
}

async fn deactivated_with_nobody_left_is_noticed(rig: Rig) {
    let (onboarding, ada) = planned(&rig).await;
    rig.patch_user(ada, UserPatch { active: Some(false), ..UserPatch::default() }).await;
    rig.scheduler().dispatch(rig.now()).await.unwrap();
    assert_eq!(rig.mailed().len(), 0);
    assert_eq!(
        rig.story(onboarding).await,
        ["- nobody skipped no_recipient", "email ada skipped no_longer_responsible"]
    );
    assert_eq!(skipped_events(&rig, onboarding).await, ["no_longer_responsible", "no_recipient"]);
}

/// The reasons of the `reminder.skipped` events of the onboarding's timeline, sorted.
async fn skipped_events(rig: &Rig, onboarding: OnboardingId) -> Vec<String> {
    let timeline = rig.store.timeline(onboarding, &Page { limit: 100, cursor: None }).await.unwrap().data;
    let skipped = timeline.iter().filter(|row| row.kind == "reminder.skipped");
    let mut reasons: Vec<String> =
        skipped.map(|row| row.data["object"]["reason"].as_str().unwrap().to_owned()).collect();
    reasons.sort();
    reasons
}

async fn test_records_never_send(mut rig: Rig) {
    rig.livemode = false;
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, "2026-03-03T09:00:00Z").await;
    rig.apply(Command::RemindOnboarding(None), Some(onboarding.to_text())).await;
    rig.clock.advance(TimeDelta::seconds(1));
    rig.pass(&scheduler).await;
    assert_eq!(rig.sink.messages().len(), 0);
    assert_eq!(rig.story(onboarding).await, ["email ada skipped test_mode"; 2]);
    assert!(rig.next(onboarding).await.is_some(), "its rhythm goes on, so that it can be watched");
}

async fn no_recipient_is_told_by_an_event(rig: Rig) {
    let onboarding = rig.onboarding("Acme", &[]).await;
    rig.pass_at(&rig.scheduler(), "2026-03-03T09:00:00Z").await;
    assert_eq!(rig.story(onboarding).await, ["- nobody skipped no_recipient"]);
    assert_eq!(skipped_events(&rig, onboarding).await, ["no_recipient"]);
}

async fn a_channel_that_is_not_configured_is_not_planned(rig: Rig) {
    let ada = rig.slacker("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    let email_only = Channels { mailer: Some(rig.mailer()), slack: None };
    rig.pass_at(&rig.scheduler_with(rig.store.clone(), email_only), "2026-03-03T09:00:00Z").await;
    assert_eq!(rig.story(onboarding).await, ["email ada sent -"]);
    let neither = rig.scheduler_with(rig.store.clone(), Channels::default());
    rig.pass_at(&neither, "2026-03-04T09:00:00Z").await;
    assert_eq!(rig.story(onboarding).await, ["- nobody skipped not_configured", "email ada sent -"]);
}

async fn a_channel_taken_away_between_planning_and_sending(rig: Rig) {
    let (onboarding, _) = planned(&rig).await;
    let neither = rig.scheduler_with(rig.store.clone(), Channels::default());
    neither.dispatch(rig.now()).await.unwrap();
    assert_eq!(rig.story(onboarding).await, ["email ada skipped not_configured"]);
}

/// A record that cannot be read, as a newer version might have written it.
#[tokio::test]
async fn an_unreadable_record_holds_nobody_up() {
    usher_testkit::skip_without_servers!();
    let rig = Rig::postgres().await;
    let (onboarding, _) = planned(&rig).await;
    let grace = rig.user("grace").await;
    rig.set("2026-03-03T08:59:00Z");
    let other = rig.onboarding("Bolt", &[(Role::Csm, grace)]).await;
    rig.set("2026-03-03T09:00:00Z");
    let scheduler = rig.scheduler();
    scheduler.plan(rig.now()).await.unwrap();
    let sql = format!("UPDATE onboardings SET phase = 'unheard_of' WHERE id = '{onboarding}'");
    let done = std::process::Command::new("psql").args(["-q", "-c", &sql, &rig.url]).status().unwrap();
    assert!(done.success());
    scheduler.dispatch(rig.now()).await.unwrap();
    assert_eq!(rig.story(other).await, ["email grace sent -"]);
    assert_eq!(rig.story(onboarding).await, ["email ada failed internal_error"]);
}
