//! Crashes: what belongs together is durable together or not at all.

use usher_lifecycle::Command;
use usher_store::{ApplyError, Dedupe, Outcome, Page, Request};

use crate::{
    bed::{Bed, customer, notes, now, onboarding, tomorrow},
    claims::{limits, sent},
    contracts,
    plan::planner,
};

contracts!(
    an_error_in_the_middle_of_a_batch_leaves_nothing_and_the_batch_succeeds_afterwards,
    one_request_that_the_database_refuses_leaves_the_others_of_its_batch_alone,
    an_outcome_whose_event_cannot_be_written_is_not_recorded,
    a_batch_whose_caller_goes_away_is_all_or_nothing,
);

fn keyed(bed: &Bed, command: Command, key: &str) -> Request {
    let (endpoint, key, body_hash) = ("POST /x".into(), key.into(), "h".into());
    Request {
        dedupe: Dedupe::Idempotency { endpoint, key, body_hash, status: 201 },
        ..bed.request(command, None)
    }
}

const ROWS: &str = "SELECT (SELECT COUNT(*) FROM customers) + (SELECT COUNT(*) FROM onboardings)
    + (SELECT COUNT(*) FROM events) + (SELECT COUNT(*) FROM schedules) + (SELECT COUNT(*) FROM idempotency_keys)";

async fn an_error_in_the_middle_of_a_batch_leaves_nothing_and_the_batch_succeeds_afterwards(
    bed: Bed,
) -> anyhow::Result<()> {
    let known = bed.customer("Known").await?;
    let before = bed.number(ROWS).await?;
    let batch = || vec![keyed(&bed, customer("A"), "1"), keyed(&bed, onboarding(&known), "2")];
    bed.refuse("events", "NEW.kind LIKE '%.created'").await?;
    for answer in bed.store.apply_all(batch(), now()).await {
        assert!(matches!(answer, Err(ApplyError::Store(_))), "{answer:?}");
    }
    assert!(bed.store.apply(bed.request(customer("B"), None), now()).await.is_err());
    assert_eq!(bed.number(ROWS).await?, before);
    bed.allow("events").await?;
    for answer in bed.store.apply_all(batch(), now()).await {
        assert_eq!(answer?.outcome, Outcome::Committed);
    }
    // A customer with event and key, an onboarding with event, schedule and key.
    assert_eq!(bed.number(ROWS).await?, before + 3 + 4);
    Ok(())
}

async fn one_request_that_the_database_refuses_leaves_the_others_of_its_batch_alone(
    bed: Bed,
) -> anyhow::Result<()> {
    bed.refuse("customers", "NEW.name = 'odd'").await?;
    let batch = ["A", "odd", "B"].map(|name| bed.request(customer(name), None)).to_vec();
    let answers = bed.store.apply_all(batch, now()).await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(bed.texts("SELECT name FROM customers ORDER BY name").await?, ["A", "B"]);
    assert_eq!(bed.number("SELECT COUNT(*) FROM events").await?, 2);
    Ok(())
}

async fn an_outcome_whose_event_cannot_be_written_is_not_recorded(bed: Bed) -> anyhow::Result<()> {
    let id = bed.many(1, |_| None).await?[0];
    bed.store.plan(tomorrow(), 10, planner).await?;
    let claim = bed.store.claim(tomorrow(), &limits()).await?.remove(0);
    bed.refuse("events", "NEW.kind = 'reminder.sent'").await?;
    assert!(bed.store.finish(sent(&claim, tomorrow()), tomorrow()).await.is_err());
    let ledger = bed.store.ledger(id, &Page { limit: 5, cursor: None }).await?.data;
    assert_eq!(ledger[0].sent_at, None);
    bed.allow("events").await?;
    assert_eq!(bed.store.finish(sent(&claim, tomorrow()), tomorrow()).await?.recorded, 1);
    Ok(())
}

async fn a_batch_whose_caller_goes_away_is_all_or_nothing(bed: Bed) -> anyhow::Result<()> {
    let id = bed.onboarding(&bed.customer("A").await?).await?.to_text();
    for polls in [1, 2, 3, 5, 8, 13, 21] {
        let before = bed.number(ROWS).await?;
        let batch = vec![bed.request(customer("B"), None), bed.request(notes(&polls.to_string()), Some(&id))];
        {
            let applying = bed.store.apply_all(batch, now());
            tokio::pin!(applying);
            for _ in 0..polls {
                let once = std::future::poll_fn(|context| {
                    std::task::Poll::Ready(applying.as_mut().poll(context).is_ready())
                });
                if once.await {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // The store goes on at once: nothing that was dropped holds a lock or a connection.
        bed.store.apply(bed.request(notes(&format!("after {polls}")), Some(&id)), now()).await?;
        // The customer and two events, and the event of what came after; or only that one.
        let written = bed.number(ROWS).await? - before - 1;
        assert!(written == 0 || written == 3, "{written}");
    }
    Ok(())
}
