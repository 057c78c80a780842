//! Claiming and finishing: each delivery goes to one worker, a digest is never split, a late worker is fenced off.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::{Command, ReminderId, UserId, reminder::Channel};
use usher_store::{AttemptError, Claim, ClaimLimits, Finish, Page, Ref, Status};

use crate::{
    bed::{Bed, now, tomorrow},
    contracts,
    plan::planner,
};

contracts!(
    eight_workers_claim_three_thousand_deliveries_of_five_hundred_people_once,
    what_a_dead_worker_held_comes_back_as_a_repeat_of_the_same_message,
    a_late_worker_is_refused,
    a_finished_delivery_is_told_and_remembered,
    what_is_given_back_waits_for_its_time,
    nothing_of_the_rhythm_goes_out_while_a_schedule_is_unplanned,
    an_unreadable_delivery_fails_and_holds_nobody_up,
    an_error_with_nul_is_recorded,
    a_channel_that_cannot_send_is_left_alone,
);

pub(crate) fn limits() -> ClaimLimits {
    ClaimLimits { deliveries: 400, lease: Duration::from_mins(5), channels: Channel::ALL.to_vec() }
}

pub(crate) fn sent(claim: &Claim, at: DateTime<Utc>) -> Vec<Finish> {
    let done = |delivery: &usher_store::Delivery| {
        let mut delivery = delivery.clone();
        (delivery.status, delivery.sent_at, delivery.attempts) =
            (Status::Sent, Some(at), delivery.attempts + 1);
        Finish { token: claim.token.clone(), delivery, follow_ups: Vec::new() }
    };
    claim.deliveries.iter().map(done).collect()
}

/// So many onboardings, planned for one email each to so many people.
async fn planned(bed: &Bed, onboardings: usize, people: usize) -> anyhow::Result<()> {
    let person = |i: usize| UserId::new(now(), u128::try_from(i).unwrap());
    bed.many(onboardings, |_| None).await?;
    // For this the users need not exist.
    let cases: Vec<_> = (0..people).map(|i| format!("WHEN {i} THEN '{}'", person(i))).collect();
    let sql = format!("UPDATE onboardings SET csm_id = CASE display_id % {people} {} END", cases.join(" "));
    bed.execute(&sql).await?;
    while bed.store.plan(tomorrow(), 1_000, planner).await? > 0 {}
    Ok(())
}

async fn eight_workers_claim_three_thousand_deliveries_of_five_hundred_people_once(
    bed: Bed,
) -> anyhow::Result<()> {
    planned(&bed, 3_000, 500).await?;
    let stores = [bed.store.clone(), bed.another().await?];
    let mut running = tokio::task::JoinSet::new();
    for i in 0..8 {
        let store = stores[i % 2].clone();
        running.spawn(async move {
            let mut mine: Vec<Claim> = Vec::new();
            // While others hold what is due, there is nothing for us, and still something to come.
            while store.next_wake().await?.is_some_and(|wake| wake <= tomorrow()) {
                mine.extend(store.claim(tomorrow(), &limits()).await?);
            }
            anyhow::Ok(mine)
        });
    }
    let (mut ids, mut messages, mut sizes) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    while let Some(claims) = running.join_next().await {
        for claim in claims?? {
            assert!(messages.insert(claim.message_id.clone()) && !claim.is_repeat);
            *sizes.entry(claim.recipient.clone()).or_insert(0) += claim.deliveries.len();
            assert_eq!(claim.deliveries.len(), 6, "a digest was split");
            ids.extend(claim.deliveries.iter().map(|it| it.id));
        }
    }
    assert_eq!((ids.len(), sizes.len()), (3_000, 500));
    assert_eq!(bed.number("SELECT COUNT(*) FROM deliveries WHERE lease_token IS NULL").await?, 0);
    assert_eq!(bed.deadlocks().await?, 0);
    Ok(())
}

async fn what_a_dead_worker_held_comes_back_as_a_repeat_of_the_same_message(bed: Bed) -> anyhow::Result<()> {
    planned(&bed, 4, 2).await?;
    let first = bed.store.claim(tomorrow(), &limits()).await?;
    assert_eq!(first.iter().map(|it| it.deliveries.len()).collect::<Vec<_>>(), [2, 2]);
    let during = tomorrow() + TimeDelta::seconds(299);
    assert_eq!(bed.another().await?.claim(during, &limits()).await?, []);
    assert_eq!(bed.store.next_wake().await?, Some(first[0].lease_until));

    let after = tomorrow() + TimeDelta::seconds(301);
    let again = bed.another().await?.claim(after, &limits()).await?;
    for (was, is) in first.iter().zip(&again) {
        assert_eq!((&was.message_id, &was.recipient, is.is_repeat), (&is.message_id, &is.recipient, true));
        assert_ne!(was.token, is.token);
        let ids = |claim: &Claim| claim.deliveries.iter().map(|it| it.id).collect::<Vec<ReminderId>>();
        assert_eq!(ids(was), ids(is));
        for delivery in &is.deliveries {
            assert_eq!(delivery.ambiguities, 1);
            assert_eq!(delivery.errors[0].code, "lease_expired");
            assert_eq!(delivery.message_id.as_ref(), Some(&is.message_id));
        }
    }
    assert_eq!(again.len(), 2);
    Ok(())
}

async fn a_late_worker_is_refused(bed: Bed) -> anyhow::Result<()> {
    planned(&bed, 1, 1).await?;
    let late = bed.store.claim(tomorrow(), &limits()).await?.remove(0);
    let after = tomorrow() + TimeDelta::seconds(301);
    let holder = bed.another().await?.claim(after, &limits()).await?.remove(0);
    let refused = bed.store.finish(sent(&late, after), after).await?;
    assert_eq!((refused.recorded, refused.late), (0, 1));
    assert_eq!(bed.number("SELECT COUNT(*) FROM events WHERE kind LIKE 'reminder%'").await?, 0);
    let recorded = bed.store.finish(sent(&holder, after), after).await?;
    assert_eq!((recorded.recorded, recorded.late), (1, 0));
    let twice = bed.store.finish(sent(&holder, after), after).await?;
    assert_eq!((twice.recorded, twice.late), (0, 1));
    assert_eq!(bed.number("SELECT COUNT(*) FROM events WHERE kind = 'reminder.sent'").await?, 1);
    Ok(())
}

async fn a_finished_delivery_is_told_and_remembered(bed: Bed) -> anyhow::Result<()> {
    planned(&bed, 3, 1).await?;
    let claim = bed.store.claim(tomorrow(), &limits()).await?.remove(0);
    let at = tomorrow() + TimeDelta::seconds(2);
    let mut outcomes = sent(&claim, at);
    outcomes[1].delivery.status = Status::Failed;
    outcomes[1].delivery.sent_at = None;
    outcomes[1].delivery.reason = Some("550".into());
    outcomes[2].delivery.status = Status::Ambiguous;
    outcomes[2].delivery.sent_at = None;
    outcomes[2].delivery.detail = Some(serde_json::json!({"fallback": true}));
    assert_eq!(bed.store.finish(outcomes.clone(), at).await?.recorded, 3);
    for (i, outcome) in outcomes.iter().enumerate() {
        let id = outcome.delivery.onboarding_id;
        let read = bed.store.onboarding(bed.workspace, true, &Ref::Id(id.to_text())).await?.unwrap();
        assert_eq!(read.reminders.last_reminded_at, (i == 0).then_some(at));
        assert_eq!(read.version, 1, "a reminder is no change");
        let ledger = bed.store.ledger(id, &Page { limit: 5, cursor: None }).await?.data;
        let mut wanted = outcome.delivery.clone();
        wanted.message_id = Some(claim.message_id.clone());
        assert_eq!(ledger, [wanted]);
        let kind = bed.store.timeline(id, &Page { limit: 1, cursor: None }).await?.data.remove(0).kind;
        assert_eq!(kind, if i == 0 { "reminder.sent" } else { "reminder.failed" });
    }
    assert_eq!(bed.store.claim(at + TimeDelta::hours(1), &limits()).await?, []);
    Ok(())
}

async fn what_is_given_back_waits_for_its_time(bed: Bed) -> anyhow::Result<()> {
    planned(&bed, 1, 1).await?;
    let claim = bed.store.claim(tomorrow(), &limits()).await?.remove(0);
    let mut back = sent(&claim, tomorrow());
    let later = tomorrow() + TimeDelta::minutes(2);
    back[0].delivery.status = Status::Pending;
    back[0].delivery.sent_at = None;
    back[0].delivery.send_after = later;
    back[0].delivery.message_id = None;
    assert_eq!(bed.store.finish(back, tomorrow()).await?.recorded, 1);
    assert_eq!(bed.store.next_wake().await?, Some(later));
    assert_eq!(bed.store.claim(later - TimeDelta::seconds(1), &limits()).await?, []);
    let again = bed.store.claim(later, &limits()).await?.remove(0);
    assert!(!again.is_repeat);
    assert_eq!((again.deliveries[0].attempts, again.deliveries[0].ambiguities), (1, 0));
    Ok(())
}

async fn nothing_of_the_rhythm_goes_out_while_a_schedule_is_unplanned(bed: Bed) -> anyhow::Result<()> {
    let ids = bed.many(3, |_| None).await?;
    bed.apply(Command::RemindOnboarding(None), Some(&ids[0].to_text())).await?;
    assert_eq!(bed.store.plan(tomorrow(), 2, planner).await?, 3);
    let early = bed.store.claim(tomorrow(), &limits()).await?;
    let kinds: Vec<_> = early.iter().flat_map(|it| &it.deliveries).map(|it| it.kind.as_str()).collect();
    assert_eq!(kinds, ["manual"]);
    assert_eq!(bed.store.plan(tomorrow(), 2, planner).await?, 1);
    let whole = bed.store.claim(tomorrow(), &limits()).await?;
    assert_eq!(whole.iter().map(|it| it.deliveries.len()).collect::<Vec<_>>(), [3]);
    Ok(())
}

async fn an_unreadable_delivery_fails_and_holds_nobody_up(bed: Bed) -> anyhow::Result<()> {
    planned(&bed, 4, 2).await?;
    bed.execute("UPDATE deliveries SET kind = 'garbage' WHERE id = (SELECT MIN(id) FROM deliveries)").await?;
    let claims = bed.store.claim(tomorrow(), &limits()).await?;
    assert_eq!(claims.iter().map(|it| it.deliveries.len()).sum::<usize>(), 3);
    assert_eq!(bed.texts("SELECT status FROM deliveries WHERE kind = 'garbage'").await?, ["failed"]);
    Ok(())
}

async fn an_error_with_nul_is_recorded(bed: Bed) -> anyhow::Result<()> {
    planned(&bed, 1, 1).await?;
    let claim = bed.store.claim(tomorrow(), &limits()).await?.remove(0);
    let mut outcome = sent(&claim, tomorrow());
    let detail = "mailbox\0full".into();
    outcome[0].delivery.errors.push(AttemptError { at: tomorrow(), code: "550\0".into(), detail });
    assert_eq!(bed.store.finish(outcome, tomorrow()).await?.recorded, 1);
    Ok(())
}

async fn a_channel_that_cannot_send_is_left_alone(bed: Bed) -> anyhow::Result<()> {
    planned(&bed, 2, 1).await?;
    let only = |channels| ClaimLimits { channels, ..limits() };
    assert_eq!(bed.store.claim(tomorrow(), &only(vec![Channel::Slack])).await?, []);
    assert_eq!(bed.store.claim(tomorrow(), &only(vec![])).await?, []);
    assert_eq!(bed.store.claim(tomorrow(), &only(vec![Channel::Email])).await?.len(), 1);
    Ok(())
}
