//! Repeats: a request with a key, and a message with an id, has its effect once.

use chrono::TimeDelta;
use usher_lifecycle::reminder::Rules;
use usher_store::{Dedupe, Outcome, Request};

use crate::{
    bed::{Bed, code, customer, now, onboarding},
    contracts,
};

contracts!(
    parallel_twins_make_one_record,
    twins_with_a_unique_name_make_one_record_and_both_get_its_answer,
    a_replay_is_byte_identical_and_another_body_is_refused,
    a_failed_first_try_does_not_lock_the_key,
    keys_of_another_endpoint_workspace_or_mode_do_not_collide,
    a_message_has_its_effect_once,
    repeats_within_one_batch,
    many_keys_in_opposite_orders_do_not_block_each_other,
);

fn keyed(bed: &Bed, name: &str, endpoint: &str, key: &str, hash: &str) -> Request {
    let (endpoint, key, body_hash) = (endpoint.into(), key.into(), hash.into());
    Request {
        dedupe: Dedupe::Idempotency { endpoint, key, body_hash, status: 201 },
        ..bed.request(customer(name), None)
    }
}

fn message(bed: &Bed, name: &str, source: &str, id: &str, hash: &str) -> Request {
    let (source, message_id, body_hash) = (source.into(), id.into(), hash.into());
    Request {
        dedupe: Dedupe::Inbox { source, message_id, body_hash, sequence: None },
        ..bed.request(customer(name), None)
    }
}

/// Sends each of the requests from two processes at once, many times.
async fn twins(bed: &Bed, requests: Vec<Request>) -> anyhow::Result<Vec<usher_store::Applied>> {
    let stores = [bed.store.clone(), bed.another().await?];
    let mut running = tokio::task::JoinSet::new();
    for (i, request) in requests.into_iter().enumerate() {
        let store = stores[i % 2].clone();
        running.spawn(async move { store.apply(request, now()).await });
    }
    let mut answers = Vec::new();
    while let Some(answer) = running.join_next().await {
        answers.push(answer??);
    }
    Ok(answers)
}

async fn parallel_twins_make_one_record(bed: Bed) -> anyhow::Result<()> {
    for round in 0..5 {
        let key = format!("k{round}");
        let answers = twins(&bed, vec![keyed(&bed, "A", "POST /c", &key, "h"); 12]).await?;
        assert_eq!(answers.iter().filter(|it| it.outcome == Outcome::Committed).count(), 1);
        assert!(answers.iter().all(|it| it.body == answers[0].body && !it.body.is_empty()));
    }
    assert_eq!(bed.number("SELECT COUNT(*) FROM customers").await?, 5);
    assert_eq!(bed.number("SELECT COUNT(*) FROM events").await?, 5);
    Ok(())
}

async fn twins_with_a_unique_name_make_one_record_and_both_get_its_answer(bed: Bed) -> anyhow::Result<()> {
    for round in 0..10 {
        let mut request = keyed(&bed, "A", "POST /c", &format!("k{round}"), "h");
        if let usher_lifecycle::Command::CreateCustomer(create) = &mut request.command {
            create.fields.external_id = Some(format!("crm-{round}"));
        }
        let answers = twins(&bed, vec![request; 4]).await?;
        assert!(answers.iter().all(|it| it.body == answers[0].body));
    }
    assert_eq!(bed.number("SELECT COUNT(*) FROM customers").await?, 10);
    Ok(())
}

async fn a_replay_is_byte_identical_and_another_body_is_refused(bed: Bed) -> anyhow::Result<()> {
    let first = bed.store.apply(keyed(&bed, "A", "POST /c", "k", "h"), now()).await?;
    assert_eq!((first.outcome, first.status), (Outcome::Committed, None));
    let later = now() + TimeDelta::hours(3);
    let again = bed.another().await?.apply(keyed(&bed, "A", "POST /c", "k", "h"), later).await?;
    assert_eq!((again.outcome, again.status), (Outcome::Duplicate, Some(201)));
    assert_eq!(again.body, first.body);
    assert_eq!(
        code(bed.store.apply(keyed(&bed, "B", "POST /c", "k", "other"), later).await)?,
        "idempotency_key_reused"
    );
    assert_eq!(bed.number("SELECT COUNT(*) FROM customers").await?, 1);
    Ok(())
}

async fn a_failed_first_try_does_not_lock_the_key(bed: Bed) -> anyhow::Result<()> {
    let mut wrong = keyed(&bed, "A", "POST /c", "k", "h");
    wrong.command = onboarding("cust_nobody");
    assert_eq!(code(bed.store.apply(wrong, now()).await)?, "customer_not_found");
    let right = bed.store.apply(keyed(&bed, "A", "POST /c", "k", "other"), now()).await?;
    assert_eq!(right.outcome, Outcome::Committed);
    Ok(())
}

async fn keys_of_another_endpoint_workspace_or_mode_do_not_collide(bed: Bed) -> anyhow::Result<()> {
    let other = bed.store.create_workspace("other", "Other", &Rules::default(), now()).await?.unwrap();
    let one = keyed(&bed, "A", "POST /c", "k", "h");
    let requests = vec![
        one.clone(),
        keyed(&bed, "A", "POST /d", "k", "i"),
        keyed(&bed, "A", "POST /c", "l", "j"),
        Request { livemode: false, ..keyed(&bed, "A", "POST /c", "k", "m") },
        Request { workspace_id: other.id, ..keyed(&bed, "A", "POST /c", "k", "n") },
        message(&bed, "A", "POST /c", "k", "o"),
    ];
    for answer in bed.store.apply_all(requests.clone(), now()).await {
        assert_eq!(answer?.outcome, Outcome::Committed);
    }
    for answer in bed.another().await?.apply_all(requests, now()).await {
        assert_eq!(answer?.outcome, Outcome::Duplicate);
    }
    assert_eq!(bed.number("SELECT COUNT(*) FROM customers").await?, 6);
    Ok(())
}

async fn a_message_has_its_effect_once(bed: Bed) -> anyhow::Result<()> {
    let answers = twins(&bed, vec![message(&bed, "A", "crm", "1", "h"); 12]).await?;
    assert_eq!(answers.iter().filter(|it| it.outcome == Outcome::Committed).count(), 1);
    let test = Request { livemode: false, ..message(&bed, "A", "crm", "2", "h") };
    let answers = twins(&bed, vec![test; 4]).await?;
    assert_eq!(answers.iter().filter(|it| it.outcome == Outcome::Committed).count(), 1);
    assert_eq!(
        bed.store.apply(message(&bed, "A", "erp", "1", "x"), now()).await?.outcome,
        Outcome::Committed
    );
    let other = bed.store.apply(message(&bed, "A", "crm", "1", "other"), now()).await;
    assert_eq!(code(other)?, "idempotency_key_reused");
    assert_eq!(bed.number("SELECT COUNT(*) FROM customers").await?, 3);
    Ok(())
}

async fn repeats_within_one_batch(bed: Bed) -> anyhow::Result<()> {
    let batch = vec![
        message(&bed, "A", "crm", "1", "h"),
        message(&bed, "A", "crm", "1", "h"),
        message(&bed, "B", "crm", "1", "other"),
        keyed(&bed, "A", "POST /c", "k", "h"),
        keyed(&bed, "A", "POST /c", "k", "h"),
    ];
    let mut answers = bed.store.apply_all(batch, now()).await;
    let replay = answers.pop().unwrap()?;
    let first = answers.pop().unwrap()?;
    assert_eq!((replay.outcome, replay.status, &replay.body), (Outcome::Duplicate, Some(201), &first.body));
    assert_eq!(code(answers.pop().unwrap())?, "idempotency_key_reused");
    assert_eq!(answers.pop().unwrap()?.outcome, Outcome::Duplicate);
    assert_eq!(answers.pop().unwrap()?.outcome, Outcome::Committed);
    assert_eq!(bed.number("SELECT COUNT(*) FROM customers").await?, 2);
    Ok(())
}

async fn many_keys_in_opposite_orders_do_not_block_each_other(bed: Bed) -> anyhow::Result<()> {
    let mut running = tokio::task::JoinSet::new();
    for i in 0..4 {
        let store = bed.another().await?;
        let batch = |round: usize| {
            let one = |key| keyed(&bed, "A", "POST /c", &format!("{round} {key}"), "h");
            let mut batch: Vec<_> = (0..150).map(one).collect();
            if i % 2 == 0 {
                batch.reverse();
            }
            batch
        };
        let batches: Vec<_> = (0..4).map(batch).collect();
        running.spawn(async move {
            for batch in batches {
                for answer in store.apply_all(batch, now()).await {
                    answer?;
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    assert_eq!(bed.number("SELECT COUNT(*) FROM customers").await?, 600);
    assert_eq!(bed.deadlocks().await?, 0);
    Ok(())
}
