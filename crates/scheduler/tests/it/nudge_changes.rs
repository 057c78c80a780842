//! Nudges that are not wanted any more when they are to be sent, or whose contact is another one by then.

use chrono::TimeDelta;
use usher_lifecycle::command::{ContactPatch, CustomerPatch, OnboardingPatch, Snooze};
use usher_lifecycle::customer::CustomerStatus;
use usher_lifecycle::{Command, Phase, State};
use usher_store::Status;
use usher_testkit::smtp::Behaviour;

use crate::nudges::{scene, to_state, waiting};
use crate::rig::{Rig, stories};

stories!(
    what_changed_between_planning_and_sending_is_not_sent,
    a_new_primary_contact_is_told_in_the_place_of_the_old_one,
    a_deleted_contact_gives_way_to_the_next_one_or_is_noticed,
    a_refused_address_is_marked_and_left_alone_until_there_is_a_new_one,
);

const NINE: &str = "2026-03-03T09:00:00Z";
const NEXT: &str = "2026-03-04T09:00:00Z";

/// Each on an onboarding of its own: what happens between planning and sending, and the reason in the ledger.
async fn what_changed_between_planning_and_sending_is_not_sent(rig: Rig) {
    rig.nudge(true).await;
    let reasons = [
        "not_waiting",
        "not_waiting",
        "paused",
        "completed",
        "deleted",
        "snoozed",
        "channel_off",
        "customer_inactive",
        "customer_inactive",
        "customer_deleted",
    ];
    let mut all = Vec::new();
    for n in 0..reasons.len() {
        let onboarding = rig.create(&format!("Customer {n}"), &[], waiting()).await;
        rig.contact(onboarding, &format!("contact{n}")).await;
        all.push((onboarding, rig.customer_of(onboarding).await));
    }
    rig.set(NINE);
    let scheduler = rig.scheduler();
    scheduler.plan(rig.now()).await.unwrap();
    let status = |status| CustomerPatch { status: Some(status), ..CustomerPatch::default() };
    let off = OnboardingPatch { reminder_email: Some(false), ..OnboardingPatch::default() };
    let done = OnboardingPatch { phase: Some(Phase::Completed), ..OnboardingPatch::default() };
    let changes = [
        Command::ChangeOnboarding(to_state(State::Active)),
        Command::ChangeOnboarding(to_state(State::AtRisk)),
        Command::ChangeOnboarding(to_state(State::Paused)),
        Command::ChangeOnboarding(done),
        Command::DeleteOnboarding,
        Command::SnoozeOnboarding(Snooze::Days(2)),
        Command::ChangeOnboarding(off),
        Command::ChangeCustomer(status(CustomerStatus::Churned)),
        Command::ChangeCustomer(status(CustomerStatus::Archived)),
        Command::DeleteCustomer,
    ];
    for ((onboarding, customer), change) in all.iter().zip(changes) {
        let of_customer = matches!(change, Command::ChangeCustomer(_) | Command::DeleteCustomer);
        let target = if of_customer { customer.clone() } else { onboarding.to_text() };
        rig.apply(change, Some(target)).await;
    }
    scheduler.dispatch(rig.now()).await.unwrap();
    rig.clock.advance(TimeDelta::minutes(5));
    rig.pass(&scheduler).await;
    assert_eq!(rig.mailed().len(), 0);
    for ((onboarding, _), reason) in all.iter().zip(reasons) {
        let [row] = rig.nudges(*onboarding).await.try_into().unwrap();
        assert_eq!((row.status, row.reason.as_deref()), (Status::Skipped, Some(reason)));
    }

    // And the workspace changes its mind.
    let onboarding = rig.create("Acme", &[], waiting()).await;
    rig.contact(onboarding, "bea").await;
    rig.set(NEXT);
    scheduler.plan(rig.now()).await.unwrap();
    rig.nudge(false).await;
    scheduler.dispatch(rig.now()).await.unwrap();
    assert_eq!(rig.told(onboarding, &[]).await.len(), 1);
    assert_eq!(rig.nudges(onboarding).await[0].reason.as_deref(), Some("customer_not_nudged"));
    assert_eq!(rig.mailed().len(), 0);
}

async fn a_new_primary_contact_is_told_in_the_place_of_the_old_one(rig: Rig) {
    let (onboarding, _, bea) = scene(&rig).await;
    rig.set(NINE);
    let scheduler = rig.scheduler();
    scheduler.plan(rig.now()).await.unwrap();
    let carl = rig.contact(onboarding, "carl").await;
    rig.pass(&scheduler).await;
    rig.pass(&scheduler).await;
    assert_eq!(
        rig.told(onboarding, &[("bea", &bea), ("carl", &carl)]).await,
        ["2026-03-03: bea skipped no_longer_responsible", "2026-03-03: carl sent -"]
    );
    let customers: Vec<String> = rig.mailed().into_iter().filter(|it| it.contains("customer")).collect();
    assert_eq!(customers, ["carl@customer.example"]);
}

async fn a_deleted_contact_gives_way_to_the_next_one_or_is_noticed(rig: Rig) {
    let (onboarding, _, bea) = scene(&rig).await;
    let carl = rig.contact(onboarding, "carl").await;
    let scheduler = rig.scheduler();
    for (day, gone) in [(NINE, &carl), (NEXT, &bea)] {
        rig.set(day);
        scheduler.plan(rig.now()).await.unwrap();
        rig.apply(Command::DeleteContact, Some(gone.clone())).await;
        rig.pass(&scheduler).await;
    }
    assert_eq!(
        rig.told(onboarding, &[("bea", &bea), ("carl", &carl)]).await,
        [
            "2026-03-03: bea sent -",
            "2026-03-03: carl skipped no_longer_responsible",
            "2026-03-04: bea skipped no_longer_responsible",
            "2026-03-04: nobody skipped no_recipient",
        ]
    );
}

async fn a_refused_address_is_marked_and_left_alone_until_there_is_a_new_one(rig: Rig) {
    let (onboarding, _, bea) = scene(&rig).await;
    rig.sink.set(Behaviour::RejectRcpt {
        address_contains: "bea".to_owned(),
        code: 550,
        text: "5.1.1 no such user".to_owned(),
    });
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, NINE).await;
    assert_eq!(rig.found_contact(&bea).await.email_broken.as_deref(), Some("550"));
    let [row] = rig.nudges(onboarding).await.try_into().unwrap();
    assert_eq!((row.attempts, row.errors[0].code.as_str()), (1, "550"));
    // Nobody asks the server for it again, though it would take it now.
    rig.sink.set(Behaviour::Accept);
    rig.sink.clear();
    rig.pass_at(&scheduler, NEXT).await;
    assert_eq!(rig.mailed(), ["ada@example.com"]);
    let title = Some(Some("Head".to_owned()));
    rig.patch_contact(&bea, ContactPatch { title, ..ContactPatch::default() }).await;
    assert!(rig.found_contact(&bea).await.email_broken.is_some(), "the address is the same");
    let email = Some("bea.new@customer.example".to_owned());
    rig.patch_contact(&bea, ContactPatch { email, ..ContactPatch::default() }).await;
    assert_eq!(rig.found_contact(&bea).await.email_broken, None);
    rig.pass_at(&scheduler, "2026-03-05T09:00:00Z").await;
    assert_eq!(
        rig.told(onboarding, &[("bea", &bea)]).await,
        ["2026-03-03: bea failed 550", "2026-03-04: bea skipped channel_broken", "2026-03-05: bea sent -",]
    );
    assert!(rig.mailed().contains(&"bea.new@customer.example".to_owned()));
}
