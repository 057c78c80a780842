//! What Slack answers, and what becomes of the deliveries.

use chrono::TimeDelta;
use usher_lifecycle::OnboardingId;
use usher_lifecycle::command::CreateOnboarding;
use usher_lifecycle::onboarding::Role;
use usher_store::{Ref, Status};
use usher_testkit::slack::Answer;

use crate::rig::{Rig, stories};

stories!(
    a_429_with_retry_after_costs_no_attempt,
    channel_not_found_falls_to_email,
    a_revoked_token_takes_slack_down_and_blames_nobody,
    slack_timeout_after_delivery_is_repeated_once_and_the_ledger_says_so,
);

const POST: &str = "chat.postMessage";
const NINE: &str = "2026-03-03T09:00:00Z";

async fn by_slack_only(rig: &Rig) -> OnboardingId {
    let ada = rig.slacker("ada").await;
    let rest = CreateOnboarding { reminder_email: Some(false), ..CreateOnboarding::default() };
    rig.create("Acme", &[(Role::Csm, ada)], rest).await
}

async fn a_429_with_retry_after_costs_no_attempt(rig: Rig) {
    let onboarding = by_slack_only(&rig).await;
    rig.slack.next(POST, Answer::RateLimited { retry_after: 1 });
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, NINE).await;
    let [row] = rig.ledger(onboarding).await.try_into().unwrap();
    assert_eq!((row.status, row.attempts), (Status::Pending, 0));
    assert_eq!(row.send_after, rig.now() + TimeDelta::seconds(1));
    // A second scheduler knows nothing of the silence that Slack asked for in real time.
    rig.clock.set(row.send_after);
    rig.pass(&rig.scheduler()).await;
    let [row] = rig.ledger(onboarding).await.try_into().unwrap();
    assert_eq!((row.status, row.attempts), (Status::Sent, 1));
}

async fn channel_not_found_falls_to_email(rig: Rig) {
    let onboarding = by_slack_only(&rig).await;
    rig.slack.set(POST, Answer::Error("channel_not_found"));
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, NINE).await;
    assert_eq!(rig.story(onboarding).await, ["email ada sent -", "slack ada failed channel_not_found"]);
    let rows = rig.ledger(onboarding).await;
    assert!(rows.iter().any(|row| row.why == "slack_broken"), "{rows:?}");
    rig.pass_at(&scheduler, "2026-03-04T09:00:00Z").await;
    assert_eq!((rig.slack.calls().len(), rig.mailed().len()), (1, 2), "Slack is not asked again");
}

async fn a_revoked_token_takes_slack_down_and_blames_nobody(rig: Rig) {
    let onboarding = by_slack_only(&rig).await;
    rig.slack.set(POST, Answer::Error("token_revoked"));
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, NINE).await;
    rig.clock.advance(TimeDelta::seconds(59));
    rig.pass(&scheduler).await;
    assert_eq!(rig.slack.calls().len(), 1, "it rests");
    let [row] = rig.ledger(onboarding).await.try_into().unwrap();
    assert_eq!((row.status, row.attempts), (Status::Pending, 0));
    assert_eq!(row.errors[0].code, "token_revoked");
    let ada = row.recipient.unwrap().to_string();
    let which = Ref::Id(ada.strip_prefix("user:").unwrap().to_owned());
    let user = rig.store.user(rig.workspace, true, &which).await.unwrap().unwrap();
    assert_eq!(user.reach.slack_broken, None);
    rig.slack.set(POST, Answer::Ok);
    rig.clock.advance(TimeDelta::minutes(2));
    rig.pass(&scheduler).await;
    assert_eq!(rig.story(onboarding).await, ["slack ada sent -"]);
}

async fn slack_timeout_after_delivery_is_repeated_once_and_the_ledger_says_so(rig: Rig) {
    let onboarding = by_slack_only(&rig).await;
    rig.slack.set(POST, Answer::DropAfterAccept);
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, NINE).await;
    for _ in 0..4 {
        rig.clock.advance(TimeDelta::minutes(1));
        rig.pass(&scheduler).await;
    }
    assert_eq!(rig.slack.posted().len(), 2, "once more, and no endless loop");
    let [row] = rig.ledger(onboarding).await.try_into().unwrap();
    assert_eq!((row.status, row.ambiguities), (Status::Ambiguous, 2));
    assert!(row.errors[0].detail.contains("cannot be recognised"), "{row:?}");
}
