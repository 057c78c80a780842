//! Everything at once, from two processes: no deadlock, not even one that a second attempt hides.

use chrono::TimeDelta;
use usher_lifecycle::{
    Command, State, UserId,
    command::{CustomerPatch, OnboardingPatch},
    customer::CustomerStatus,
};

use crate::{
    bed::{Bed, now, tomorrow},
    claims::{limits, sent},
    contracts,
    plan::planner,
};

contracts!(requests_plans_claims_and_outcomes_at_once_do_not_block_each_other);

const ROUNDS: usize = 12;

async fn requests_plans_claims_and_outcomes_at_once_do_not_block_each_other(bed: Bed) -> anyhow::Result<()> {
    let people: Vec<UserId> = (0..7).map(|i| UserId::new(now(), i)).collect();
    let ids = bed.many(150, |_| None).await?;
    let cases: Vec<_> = people.iter().enumerate().map(|(i, id)| format!("WHEN {i} THEN '{id}'")).collect();
    bed.execute(&format!("UPDATE onboardings SET csm_id = CASE display_id % 7 {} END", cases.join(" ")))
        .await?;
    let customer = bed.texts("SELECT id FROM customers").await?.remove(0);
    let stores = [bed.store.clone(), bed.another().await?];
    let mut running: tokio::task::JoinSet<anyhow::Result<usize>> = tokio::task::JoinSet::new();

    for worker in 0..4 {
        // Changes of many onboardings in shuffled order; now and then of the customer and so of all of them.
        let (store, mut batches) = (stores[worker % 2].clone(), Vec::new());
        for round in 0..ROUNDS {
            let one = |i: usize| {
                let state = [State::Paused, State::Active, State::AtRisk][(i + round + worker) % 3];
                let patch = OnboardingPatch { state: Some(state), ..Default::default() };
                bed.request(Command::ChangeOnboarding(patch), Some(&ids[i].to_text()))
            };
            let mut batch: Vec<_> =
                (0..50).map(|i| one((i * 37 + worker * 11 + round) % ids.len())).collect();
            if round % 4 == worker {
                let status = [CustomerStatus::Churned, CustomerStatus::Active][round / 4 % 2];
                let patch = CustomerPatch { status: Some(status), ..Default::default() };
                batch.push(bed.request(Command::ChangeCustomer(patch), Some(&customer)));
            }
            batches.push((batch, tomorrow() + TimeDelta::days(i64::try_from(round)?)));
        }
        running.spawn(async move {
            let mut count = 0;
            for (batch, at) in batches {
                for answer in store.apply_all(batch, at).await {
                    answer?;
                    count += 1;
                }
            }
            Ok(count)
        });
    }
    for store in &stores {
        let store = store.clone();
        running.spawn(async move {
            let mut count = 0;
            for round in 0..ROUNDS * 4 {
                let at = tomorrow() + TimeDelta::days(i64::try_from(round / 4)?);
                count += store.plan(at, 40, planner).await?;
            }
            Ok(count)
        });
    }
    for worker in 0..3 {
        let store = stores[worker % 2].clone();
        running.spawn(async move {
            let mut count = 0;
            for round in 0..ROUNDS * 4 {
                // Later than the leases of the round before, so that some are taken over from workers that still run.
                let at = tomorrow() + TimeDelta::hours(i64::try_from(round * 6)?);
                for claim in store.claim(at, &limits()).await? {
                    count += claim.deliveries.len();
                    if (count + worker) % 5 != 0 {
                        store.finish(sent(&claim, at), at).await?;
                    }
                }
            }
            Ok(count)
        });
    }
    let mut operations = 0;
    while let Some(done) = running.join_next().await {
        operations += done??;
    }
    assert!(operations > 2_400, "{operations}");
    assert_eq!(bed.deadlocks().await?, 0);
    // Each subject's versions have no gap.
    let gaps = "SELECT COUNT(*) FROM onboardings o WHERE o.version <>
        (SELECT COUNT(DISTINCT e.subject_version) FROM events e WHERE e.subject_id = o.id)";
    assert_eq!(bed.number(gaps).await?, 0);
    Ok(())
}
