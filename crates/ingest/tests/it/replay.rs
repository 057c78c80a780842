//! Refused commands once more.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::json;
use usher_bus::Names;
use usher_ingest::intake::{Replay, Replayed, Try, Verdict};
use usher_store::{RejectedFilter, ReplayState};
use usher_testkit::skip_without_servers;

use crate::{
    app::{TestApp, on_both_engines, start},
    intake::{batch, create, customer, keys},
    wire::{Wire, cloud_event, command, message},
};

on_both_engines! {
    a_rejected_id_does_not_block_its_own_replay_and_replaying_twice_does_no_harm,
    a_replay_goes_by_the_order_of_the_stream_and_by_what_is_open,
    what_was_replayed_is_not_applied_again_when_the_inbox_has_forgotten_it,
    what_is_still_wrong_is_refused_again_with_its_reason,
}

async fn a_rejected_id_does_not_block_its_own_replay_and_replaying_twice_does_no_harm(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    customer(app).await;
    // All of them need a user who is not there yet.
    let with_csm =
        |key: &str| json!({"customer_id": "external:crm-1", "external_id": key, "csm_id": "ada@example.com"});
    let without_id = with_csm("without").to_string();
    let taken = batch(
        &wire,
        vec![
            command("onboarding.create", "1", &with_csm("plain")),
            message("usher.commands.acme.onboarding.create", &[], &without_id),
            cloud_event("onboarding.create", "3", &with_csm("structured")),
        ],
    )
    .await;
    let mut intake = wire.intake(app, Arc::new(|| ()));
    while intake.take(&taken).await != [Verdict::Rejected; 3] {}
    let user = json!({"name": "Ada", "email": "ada@example.com"});
    app.made("users", user).await;

    let replay = Replay::new(app.store.clone(), Names::default());
    let open = RejectedFilter { replay: Some(ReplayState::Open), ..RejectedFilter::default() };
    let rows = app.store.oldest_rejected(&open, None, 10).await.unwrap();
    assert_eq!(rows.len(), 3);
    for row in &rows {
        let rehearsed = replay.replay(row, Try::Rehearsal, start()).await.unwrap();
        assert_eq!(rehearsed, Replayed::Committed);
    }
    assert!(keys(app).await.is_empty(), "a rehearsal leaves nothing");
    assert_eq!(app.store.count_rejected(&open).await.unwrap(), 3);
    // Twice: the second one has the row as it was before, and the inbox knows it.
    for (row, again) in rows.iter().flat_map(|row| [(row, false), (row, true)]) {
        let wanted = if again { Replayed::Duplicate } else { Replayed::Committed };
        assert_eq!(replay.replay(row, Try::InEarnest, start()).await.unwrap(), wanted, "{row:?}");
    }
    assert_eq!(keys(app).await, ["plain", "structured", "without"]);
    assert_eq!(app.store.count_rejected(&open).await.unwrap(), 0);
    let row = app.store.rejected_by_id(&rows[0].id).await.unwrap().unwrap();
    assert_eq!((row.replayed_at, row.replay_outcome.as_deref()), (Some(start()), Some("duplicate")));
    // Redelivered after all that: the stream's messages have had their effect.
    assert_eq!(intake.take(&taken).await, [Verdict::Unchanged; 3]);
    assert_eq!(keys(app).await.len(), 3);
}

async fn what_was_replayed_is_not_applied_again_when_the_inbox_has_forgotten_it(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let update = |id: &str, notes: &str| {
        command("onboarding.update", id, &json!({"external_id": "one", "notes": notes}))
    };
    let messages = vec![command("onboarding.create", "1", &create("one")), update("2", "old")];
    let taken = batch(&wire, messages).await;
    let mut intake = wire.intake(app, Arc::new(|| ()));
    while intake.take(&taken).await != [Verdict::Rejected; 2] {}
    customer(app).await;
    let replay = Replay::new(app.store.clone(), Names::default());
    let rows = || async { app.store.oldest_rejected(&RejectedFilter::default(), None, 10).await.unwrap() };
    for row in rows().await {
        assert_eq!(replay.replay(&row, Try::InEarnest, start()).await.unwrap(), Replayed::Committed);
    }
    let taken = batch(&wire, vec![update("3", "new")]).await;
    assert_eq!(intake.take(&taken).await, [Verdict::Committed]);
    // As housekeeping does after `nats.inbox_days`; the creation would be a second onboarding if it had no key.
    let later = start() + TimeDelta::days(31);
    assert_eq!(app.store.forget_repeats(later, later).await.unwrap(), 3);
    for row in rows().await {
        for attempt in [Try::Rehearsal, Try::InEarnest] {
            assert_eq!(replay.replay(&row, attempt, later).await.unwrap(), Replayed::Duplicate);
        }
    }
    assert_eq!(app.get("onboardings").await.ok()["data"][0]["notes"], "new");
    for row in rows().await {
        let told = (row.replayed_at, row.replay_outcome.as_deref());
        assert_eq!(told, (Some(start()), Some("committed")), "the row tells what became of it");
    }
}

async fn a_replay_goes_by_the_order_of_the_stream_and_by_what_is_open(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    // In one batch, so at one instant: a creation, and changes to what it would have made.
    let mut messages = vec![command("onboarding.create", "0", &create("one"))];
    messages.extend((1..6).map(|n| {
        command("onboarding.update", &n.to_string(), &json!({"external_id": "one", "notes": n.to_string()}))
    }));
    messages.push(command("user.upsert", "6", &json!({"external_id": "u"})));
    let taken = batch(&wire, messages).await;
    let mut intake = wire.intake(app, Arc::new(|| ()));
    while intake.take(&taken).await != [Verdict::Rejected; 7] {}
    customer(app).await;

    let count = |filter: RejectedFilter| async move { app.store.count_rejected(&filter).await.unwrap() };
    let all = RejectedFilter::default;
    assert_eq!(count(RejectedFilter { command: Some("onboarding.update".into()), ..all() }).await, 5);
    assert_eq!(count(RejectedFilter { code: Some("customer_not_found".into()), ..all() }).await, 1);
    assert_eq!(count(RejectedFilter { workspace: Some("other".into()), ..all() }).await, 0);
    assert_eq!(count(RejectedFilter { source: Some("crm".into()), ..all() }).await, 0);
    assert_eq!(count(RejectedFilter { since: Some(start()), ..all() }).await, 7);
    assert_eq!(count(RejectedFilter { until: Some(start()), ..all() }).await, 0);

    let replay = Replay::new(app.store.clone(), Names::default());
    let mut last = None;
    let mut seen = Vec::new();
    // In pages of two.
    loop {
        let rows = app.store.oldest_rejected(&all(), last.as_ref(), 2).await.unwrap();
        for row in &rows {
            let replayed = replay.replay(row, Try::InEarnest, start()).await.unwrap();
            seen.push(format!("{} {}", row.what.message_id, replayed.as_str()));
        }
        let Some(row) = rows.into_iter().next_back() else { break };
        last = Some(row);
    }
    // The faulty upsert was refused at the first look, the others after they had waited.
    let (refused, done): (Vec<_>, Vec<_>) = seen.into_iter().partition(|it| it.starts_with('6'));
    assert_eq!(refused, ["6 refused"]);
    assert_eq!(done, (0..6).map(|n| format!("{n} committed")).collect::<Vec<_>>());
    assert_eq!(app.get("onboardings").await.ok()["data"][0]["notes"], "5");
    for (state, rows) in
        [(ReplayState::No, 0), (ReplayState::Yes, 6), (ReplayState::Refused, 1), (ReplayState::Open, 1)]
    {
        assert_eq!(count(RejectedFilter { replay: Some(state), ..all() }).await, rows, "{state:?}");
    }
}

async fn what_is_still_wrong_is_refused_again_with_its_reason(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::with("max_payload: 4MB", |settings| settings).await;
    customer(app).await;
    let large = format!("\"{}\"", "x".repeat(1024 * 1024 - 1));
    let taken = batch(
        &wire,
        vec![
            message("usher.commands.acme.onboarding.create", &[], &large),
            message("usher.commands.acme.onboarding.create", &[], "{broken"),
            message("usher.commands.nobody.onboarding.create", &[], "{}"),
            command("onboarding.create", "4", &json!({"customer_id": 7})),
        ],
    )
    .await;
    let mut intake = wire.intake(app, Arc::new(|| ()));
    assert_eq!(intake.take(&taken).await, [Verdict::Rejected; 4]);
    let replay = Replay::new(app.store.clone(), Names::default());
    for row in app.store.rejected(10).await.unwrap() {
        let replayed = replay.replay(&row, Try::InEarnest, start()).await.unwrap();
        let Replayed::Refused { code, message, field } = &replayed else { panic!("{replayed:?}") };
        assert_eq!((*code, message, field), (row.what.code.as_str(), &row.what.message, &row.what.field));
    }
    let rows = app.store.rejected(10).await.unwrap();
    assert_eq!(rows.len(), 4, "no second row of what was refused again");
    let typed = rows.iter().find(|row| row.what.code == "invalid_type").unwrap();
    assert_eq!(typed.replay_outcome.as_deref(), Some("refused"));
    assert!(typed.replay_message.as_ref().unwrap().starts_with("invalid_type (customer_id): "));
}
