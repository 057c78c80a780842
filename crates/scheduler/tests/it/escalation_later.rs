//! Two steps of one onboarding that would reach somebody at once, or in the wrong order: the later one stands for the older
//! one where it goes to the same recipient by the same channel, and nowhere else.

use std::time::Duration;

use chrono::Weekday::{Thu, Wed};
use usher_lifecycle::{
    OnboardingId, State, UserId,
    command::{OnboardingPatch, UserPatch},
    onboarding::Role,
    person::{DaysOff, QuietHours},
    reminder::{Channel, EscalateTo, policy::hh_mm},
};
use usher_scheduler::{PutBack, put_back};
use usher_store::{ClaimLimits, Status};
use usher_testkit::smtp::Behaviour;

use crate::{
    escalation::{day, escalations, rules},
    rig::{Rig, stories},
};

stories!(
    a_later_step_to_the_same_recipient_stands_for_one_that_waits,
    what_gave_way_is_still_told_when_the_later_step_tells_others,
    a_later_step_to_others_leaves_one_that_waits,
    by_another_channel_it_is_another_message,
    what_a_dead_worker_held_gives_way_to_a_later_step,
    one_that_failed_is_not_put_back_after_a_later_step,
);

type Step = (u32, EscalateTo, Option<State>);

const FIRST: Step = (1, EscalateTo::ProductOps, None);
const SECOND: Step = (2, EscalateTo::ProductOps, None);

/// An onboarding of Ada as CSM and Pam as product ops. The first step is due on Wednesday, the second on Thursday.
async fn acme(rig: &mut Rig, steps: &[Step]) -> (OnboardingId, UserId) {
    rig.rules(rules(steps)).await;
    let (ada, pam) = (rig.user("ada").await, rig.slacker("pam").await);
    (rig.onboarding("Acme", &[(Role::Csm, ada), (Role::ProductOps, pam)]).await, pam)
}

async fn off_until_friday(rig: &Rig, user: UserId) {
    let days_off = Some(DaysOff { weekdays: vec![Wed, Thu], dates: Vec::new() });
    rig.patch_user(user, UserPatch { days_off, ..UserPatch::default() }).await;
}

/// Day of the slot, channel, status and reason of each escalation, by day and channel.
async fn told(rig: &Rig, onboarding: OnboardingId) -> Vec<String> {
    let line = |row: usher_store::Delivery| {
        let (channel, reason) = (row.channel.unwrap(), row.reason.unwrap_or_else(|| "-".to_owned()));
        format!("{} {channel} {} {reason}", &row.slot[8..], row.status.as_str())
    };
    let mut lines: Vec<String> = escalations(rig, onboarding).await.into_iter().map(line).collect();
    lines.sort();
    lines
}

async fn a_later_step_to_the_same_recipient_stands_for_one_that_waits(mut rig: Rig) {
    let (onboarding, pam) = acme(&mut rig, &[FIRST, SECOND]).await;
    off_until_friday(&rig, pam).await;
    for slot in [3, 4] {
        day(&rig, slot).await;
    }
    assert_eq!(told(&rig, onboarding).await, ["04 email pending -", "04 slack pending -"]);
    day(&rig, 5).await;
    let superseded = ["04 email skipped superseded", "04 slack skipped superseded"];
    let waiting = ["05 email pending -", "05 slack pending -"];
    assert_eq!(told(&rig, onboarding).await, [superseded, waiting].concat());
    day(&rig, 6).await;
    let sent = ["05 email sent -", "05 slack sent -"];
    assert_eq!(told(&rig, onboarding).await, [superseded, sent].concat());
    assert_eq!(rig.mailed().iter().filter(|to| *to == "pam@example.com").count(), 1);
}

async fn what_gave_way_is_still_told_when_the_later_step_tells_others(mut rig: Rig) {
    let (onboarding, pam) = acme(&mut rig, &[FIRST, (2, EscalateTo::Se, None)]).await;
    let holder = |user: UserId| OnboardingPatch {
        roles: [(Role::Se, Some(user.to_text()))].into(),
        ..OnboardingPatch::default()
    };
    rig.patch(onboarding, holder(pam)).await;
    off_until_friday(&rig, pam).await;
    for slot in [3, 4, 5] {
        day(&rig, slot).await;
    }
    let bob = rig.user("bob").await;
    rig.patch(onboarding, holder(bob)).await;
    day(&rig, 6).await;
    // She is product ops, whom the first step tells.
    let superseded = ["04 email skipped superseded", "04 slack skipped superseded"];
    let sent = ["05 email sent -", "05 slack sent -"];
    assert_eq!(told(&rig, onboarding).await, [superseded, sent].concat());
}

async fn a_later_step_to_others_leaves_one_that_waits(mut rig: Rig) {
    let (onboarding, pam) = acme(&mut rig, &[FIRST, (2, EscalateTo::Fallback, None)]).await;
    off_until_friday(&rig, pam).await;
    for slot in [3, 4, 5, 6] {
        day(&rig, slot).await;
    }
    let all = ["04 email sent -", "04 slack sent -", "05 email sent -"];
    assert_eq!(told(&rig, onboarding).await, all);
    let mailed = rig.mailed();
    let place = |to: &str| mailed.iter().position(|it| it == to).unwrap();
    assert!(place("ops@example.com") < place("pam@example.com"), "each when it can: {mailed:?}");
}

async fn by_another_channel_it_is_another_message(mut rig: Rig) {
    let (onboarding, pam) = acme(&mut rig, &[FIRST, SECOND]).await;
    off_until_friday(&rig, pam).await;
    for slot in [3, 4] {
        day(&rig, slot).await;
    }
    rig.set("2026-03-05T08:00:00Z");
    let no_email = OnboardingPatch { reminder_email: Some(false), ..OnboardingPatch::default() };
    rig.patch(onboarding, no_email).await;
    rig.set("2026-03-05T09:00:00Z");
    rig.scheduler().plan(rig.now()).await.unwrap();
    let all = ["04 email pending -", "04 slack skipped superseded", "05 slack pending -"];
    assert_eq!(told(&rig, onboarding).await, all);
}

async fn what_a_dead_worker_held_gives_way_to_a_later_step(mut rig: Rig) {
    let (onboarding, pam) = acme(&mut rig, &[FIRST, SECOND]).await;
    let hours = QuietHours { from: hh_mm::parse("08:30").unwrap(), to: hh_mm::parse("10:00").unwrap() };
    rig.patch_user(pam, UserPatch { quiet_hours: Some(Some(hours.into())), ..UserPatch::default() }).await;
    for slot in [3, 4] {
        day(&rig, slot).await;
    }
    // Only hers is left when she may be written to.
    rig.set("2026-03-04T10:00:00Z");
    let limits =
        ClaimLimits { deliveries: 100, lease: Duration::from_mins(3), channels: vec![Channel::Email] };
    assert_eq!(rig.store.claim(rig.now(), &limits).await.unwrap().len(), 1, "and it is killed");
    rig.pass(&rig.scheduler()).await;
    rig.pass_at(&rig.scheduler(), "2026-03-05T09:00:00Z").await;
    rig.pass_at(&rig.scheduler(), "2026-03-05T10:00:00Z").await;
    let all = ["04 email ambiguous superseded", "04 slack sent -", "05 email sent -", "05 slack sent -"];
    assert_eq!(told(&rig, onboarding).await, all);
    assert_eq!(rig.mailed().iter().filter(|to| *to == "pam@example.com").count(), 1);
}

async fn one_that_failed_is_not_put_back_after_a_later_step(mut rig: Rig) {
    let (onboarding, _) = acme(&mut rig, &[FIRST, SECOND]).await;
    day(&rig, 3).await;
    // For a reason that is not the address.
    let text = "5.7.1 blocked for policy reasons".to_owned();
    rig.sink.set(Behaviour::RejectRcpt { address_contains: "pam".to_owned(), code: 550, text });
    day(&rig, 4).await;
    rig.sink.set(Behaviour::Accept);
    let failed = async || {
        let rows = escalations(&rig, onboarding).await.into_iter();
        rows.filter(|row| row.status == Status::Failed).collect::<Vec<_>>()
    };
    let configured = rig.scheduler().configured();
    let say = async || {
        let said = put_back(&rig.store, configured, &failed().await, true, rig.now()).await.unwrap();
        said.into_iter().map(|(_, it)| it).collect::<Vec<_>>()
    };
    assert_eq!(say().await, [PutBack::Done(rig.now())]);
    day(&rig, 5).await;
    assert_eq!(say().await, [PutBack::Refused("superseded".to_owned())]);
}
