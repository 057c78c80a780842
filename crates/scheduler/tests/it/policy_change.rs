//! The workspace changes its mind about when: pending slots keep their dates, and their instants follow.

use usher_lifecycle::{
    onboarding::Role,
    reminder::{Policy, Rules, policy::hh_mm, zone},
};
use usher_store::Status;

use crate::{
    at,
    rig::{Rig, stories},
};

stories!(
    a_zone_change_of_the_workspace_is_used_by_the_next_slot_and_by_catch_up_alike,
    a_later_time_of_day_lets_nobody_be_reminded_early,
    an_instant_that_has_just_passed_is_caught_up_in_the_hours_of_the_new_policy,
    a_change_of_the_zone_between_planning_and_sending_sends_one_message,
);

fn in_zone(name: &str) -> Rules {
    Rules { policy: Policy { time_zone: zone(name).unwrap(), ..Policy::default() }, ..Rules::default() }
}

async fn a_zone_change_of_the_workspace_is_used_by_the_next_slot_and_by_catch_up_alike(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    let scheduler = rig.scheduler();
    rig.change_rules(&in_zone("America/New_York")).await;
    // Without anything due: the pending slot keeps its date and moves to 09:00 in New York.
    rig.pass_at(&scheduler, "2026-03-03T08:30:00Z").await;
    assert_eq!(rig.next(onboarding).await, Some(at("2026-03-03T14:00:00Z")));
    rig.pass_at(&scheduler, "2026-03-03T09:00:00Z").await;
    assert!(rig.mailed().is_empty(), "09:00 in the old zone is nothing any more");
    rig.pass_at(&scheduler, "2026-03-03T14:00:00Z").await;
    assert_eq!(rig.mailed().len(), 1);
    assert_eq!(rig.next(onboarding).await, Some(at("2026-03-04T14:00:00Z")));

    // Down over the next slot: what is late is late by the new zone's clocks. 23:30 in New York is no hour to send.
    rig.pass_at(&scheduler, "2026-03-05T04:30:00Z").await;
    assert_eq!(rig.mailed().len(), 1);
    rig.pass_at(&scheduler, "2026-03-05T14:00:00Z").await;
    assert_eq!(rig.mailed().len(), 2, "at 09:00 in New York, with the slot of that day");
    let sent = rig.ledger(onboarding).await.into_iter().filter(|row| row.status == Status::Sent);
    assert_eq!(sent.map(|row| row.slot).collect::<Vec<_>>(), ["2026-03-03", "2026-03-05"]);
}

async fn a_later_time_of_day_lets_nobody_be_reminded_early(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    let scheduler = rig.scheduler();
    rig.set("2026-03-03T09:00:00Z");
    let policy = Policy { time_of_day: hh_mm::parse("11:30").unwrap(), ..Policy::default() };
    // At the very instant at which the slot is due by the old policy.
    rig.change_rules(&Rules { policy, ..Rules::default() }).await;
    rig.pass(&scheduler).await;
    assert!(rig.mailed().is_empty());
    rig.pass_at(&scheduler, "2026-03-03T11:30:00Z").await;
    assert_eq!(rig.mailed().len(), 1);
    assert_eq!(rig.next(onboarding).await, Some(at("2026-03-04T11:30:00Z")));
}

async fn an_instant_that_has_just_passed_is_caught_up_in_the_hours_of_the_new_policy(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    // 08:00 UTC is 17:00 in Tokyo: that day's 09:00 passed eight hours ago, unsent.
    rig.change_rules(&in_zone("Asia/Tokyo")).await;
    rig.pass(&rig.scheduler()).await;
    let [row] = rig.ledger(onboarding).await.try_into().unwrap();
    assert_eq!(
        (row.status, row.slot.as_str(), row.due_at),
        (Status::Sent, "2026-03-03", at("2026-03-03T00:00:00Z"))
    );
    assert_eq!(row.object()["lag_seconds"], 8 * 3_600);
    assert_eq!(rig.next(onboarding).await, Some(at("2026-03-04T00:00:00Z")));
}

async fn a_change_of_the_zone_between_planning_and_sending_sends_one_message(rig: Rig) {
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    let scheduler = rig.scheduler();
    rig.set("2026-03-03T09:00:00Z");
    scheduler.plan(rig.now()).await.unwrap();
    rig.change_rules(&in_zone("America/New_York")).await;
    for hour in 9..24 {
        rig.pass_at(&scheduler, &format!("2026-03-03T{hour:02}:00:00Z")).await;
    }
    assert_eq!(rig.mailed().len(), 1, "the date has been reminded of");
    assert_eq!(rig.next(onboarding).await, Some(at("2026-03-04T14:00:00Z")));
}
