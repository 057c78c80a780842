//! Planning: a due schedule is planned once, whoever comes, and one that cannot be planned holds nobody up.

use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use usher_lifecycle::{
    Command, Onboarding,
    onboarding::Role,
    reminder::{Channel, Kind, Recipient, Slot},
};
use usher_store::{Advance, Delivery, Page, PlanInput, PlanWrite, Ref, Status};

use crate::{
    bed::{Bed, now, tomorrow},
    contracts,
};

contracts!(
    eight_planners_plan_two_thousand_rows_once,
    the_planner_sees_the_situation,
    a_plan_that_dies_leaves_the_rows_due,
    a_newer_slot_supersedes_what_waits,
    manual_requests_are_planned_once,
    an_unreadable_row_is_set_aside_with_its_error_and_holds_nobody_up,
    a_row_whose_plan_cannot_be_written_is_set_aside_with_its_error_and_holds_nobody_up,
    a_planner_that_panics_on_one_row_plans_the_others,
    an_unreadable_request_is_set_aside_with_its_error,
    a_schedule_that_changed_meanwhile_is_not_planned_as_it_was,
);

/// One email to the CSM or the team for each onboarding that is due, and the next slot a day later.
pub(crate) fn planner(input: &PlanInput) -> PlanWrite {
    let mut write = PlanWrite::default();
    for due in &input.due {
        let Slot { date, due_at } = due.pending;
        write.deliveries.push(delivery(&due.onboarding, Kind::Cadence, date.to_string(), due_at));
        write.schedules.push(Advance {
            onboarding_id: due.onboarding.id,
            next: Some(Slot { date: date + TimeDelta::days(1), due_at: due_at + TimeDelta::days(1) }),
            last_slot: Some(date),
            silent: None,
            escalated: None,
        });
    }
    for asked in &input.manual {
        let slot = asked.id.to_text();
        write.deliveries.push(delivery(&asked.onboarding, Kind::Manual, slot, asked.requested_at));
    }
    write
}

fn delivery(
    onboarding: &Onboarding,
    kind: Kind,
    slot: String,
    at: chrono::DateTime<chrono::Utc>,
) -> Delivery {
    let team = || Recipient::Email("ops@example.com".into());
    let recipient = onboarding.roles.get(Role::Csm).map_or_else(team, Recipient::User);
    Delivery::pending(onboarding, kind, slot, at, at, at).to(Channel::Email, recipient, "csm")
}

const DUE: &str = "SELECT COUNT(*) FROM schedules WHERE due_at <= '2026-08-04T10:00:00.000000Z'";

async fn eight_planners_plan_two_thousand_rows_once(bed: Bed) -> anyhow::Result<()> {
    bed.many(2_000, |_| None).await?;
    let stores = [bed.store.clone(), bed.another().await?];
    let mut running = tokio::task::JoinSet::new();
    for i in 0..8 {
        let store = stores[i % 2].clone();
        running.spawn(async move {
            let mut planned = 0;
            loop {
                let count = store.plan(tomorrow(), 100, planner).await?;
                planned += count;
                if count == 0 {
                    return anyhow::Ok(planned);
                }
            }
        });
    }
    let mut planned = 0;
    while let Some(done) = running.join_next().await {
        planned += done??;
    }
    assert_eq!(planned, 2_000);
    assert_eq!(bed.number(DUE).await?, 0);
    assert_eq!(bed.number("SELECT COUNT(*) FROM deliveries").await?, 2_000);
    assert_eq!(bed.number("SELECT COUNT(DISTINCT onboarding_id) FROM deliveries").await?, 2_000);
    assert_eq!(bed.deadlocks().await?, 0);
    Ok(())
}

async fn the_planner_sees_the_situation(bed: Bed) -> anyhow::Result<()> {
    let csm = bed.user("csm@example.com").await?;
    let ids = bed.many(2, |_| Some(csm)).await?;
    let calls = AtomicUsize::new(0);
    let count = bed.store.plan(tomorrow(), 10, |input| {
        calls.fetch_add(1, Ordering::Relaxed);
        assert_eq!(input.due.len(), 2);
        assert_eq!(input.situation.workspaces[&bed.workspace].slug, "acme");
        assert_eq!(input.situation.users[&csm].email, "csm@example.com");
        assert_eq!(input.situation.customers[&input.due[0].onboarding.customer_id].fields.name, "Many");
        assert_eq!(Some(input.due[0].pending.due_at), input.due[0].onboarding.reminders.next_reminder_at);
        planner(input)
    });
    assert_eq!(count.await?, 2);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(bed.store.plan(tomorrow(), 10, |_| panic!("nothing is due")).await?, 0);

    let seen = bed.store.situation(&ids, &[]).await?;
    assert_eq!((seen.onboardings.len(), seen.users.len(), seen.last_changes.len()), (2, 1, 2));
    let read = &seen.onboardings[&ids[0]];
    assert_eq!(read.reminders.last_slot.map(|date| date.to_string()).as_deref(), Some("2026-08-04"));
    assert_eq!(bed.store.next_wake().await?, Some("2026-08-04T09:00:00Z".parse()?));
    Ok(())
}

async fn a_plan_that_dies_leaves_the_rows_due(bed: Bed) -> anyhow::Result<()> {
    bed.many(20, |_| None).await?;
    let (reached, wait) = (tokio::sync::Notify::new(), std::sync::Mutex::new(Some(())));
    {
        // The future is dropped in the middle of its transaction, as a crash would have it.
        let dying = bed.store.plan(tomorrow(), 10, |input| {
            if wait.lock().unwrap().take().is_some() {
                reached.notify_one();
            }
            planner(input)
        });
        tokio::pin!(dying);
        tokio::select! {
            biased;
            () = reached.notified() => {}
            _ = &mut dying => {}
        }
    }
    let planned = bed.number("SELECT COUNT(*) FROM deliveries").await?;
    assert_eq!(bed.number(DUE).await?, 20 - planned, "rows and deliveries belong together");
    while bed.store.plan(tomorrow(), 10, planner).await? > 0 {}
    assert_eq!(bed.number("SELECT COUNT(*) FROM deliveries").await?, 20);
    assert_eq!(bed.number(DUE).await?, 0);
    Ok(())
}

async fn a_newer_slot_supersedes_what_waits(bed: Bed) -> anyhow::Result<()> {
    let id = bed.many(1, |_| None).await?[0];
    assert_eq!(bed.store.plan(tomorrow(), 10, planner).await?, 1);
    assert_eq!(bed.store.plan(tomorrow() + TimeDelta::days(1), 10, planner).await?, 1);
    let ledger = bed.store.ledger(id, &Page { limit: 10, cursor: None }).await?.data;
    let told: Vec<_> = ledger.iter().map(|it| (it.slot.as_str(), it.status, it.reason.as_deref())).collect();
    let older = ("2026-08-04", Status::Skipped, Some("superseded"));
    assert_eq!(told, [("2026-08-05", Status::Pending, None), older]);
    assert_eq!(bed.number("SELECT COUNT(*) FROM events WHERE kind = 'reminder.skipped'").await?, 1);
    Ok(())
}

async fn manual_requests_are_planned_once(bed: Bed) -> anyhow::Result<()> {
    let id = bed.many(1, |_| None).await?[0];
    let remind = Command::RemindOnboarding(Some(vec![Channel::Slack]));
    let asked = bed.apply(remind, Some(&id.to_text())).await?;
    let body: serde_json::Value = serde_json::from_str(&asked.body)?;
    let plain = bed.apply(Command::RemindOnboarding(None), Some(&id.to_text())).await?;
    assert_eq!(bed.store.next_wake().await?.map(|at| at < now() + TimeDelta::seconds(1)), Some(true));
    assert_ne!(asked.body, plain.body);
    let count = bed.store.plan(now() + TimeDelta::seconds(1), 10, |input| {
        assert_eq!(input.manual[0].channels, Some(vec![Channel::Slack]));
        assert_eq!((input.manual[1].channels.as_ref(), input.due.len()), (None, 0));
        planner(input)
    });
    assert_eq!(count.await?, 2);
    assert_eq!(bed.store.plan(now() + TimeDelta::seconds(2), 10, planner).await?, 0);
    let slots = bed.texts("SELECT slot FROM deliveries WHERE kind = 'manual'").await?;
    assert!(slots.len() == 2 && slots.iter().any(|slot| body["id"] == slot.as_str()), "{slots:?} {body}");
    Ok(())
}

/// What the ledger shows of an onboarding whose slot could not be planned.
async fn is_set_aside(bed: &Bed, id: &str) -> anyhow::Result<()> {
    let row = bed
        .texts(&format!(
            "SELECT kind || ' ' || channel || ' ' || recipient || ' ' || status || ' ' || reason FROM deliveries
             WHERE onboarding_id = '{id}'"
        ))
        .await?;
    assert_eq!(row, ["cadence none none failed internal_error"]);
    let due = format!("{DUE} AND onboarding_id = '{id}'");
    assert_eq!(bed.number(&due).await?, 0);
    let events =
        format!("SELECT COUNT(*) FROM events WHERE onboarding_id = '{id}' AND kind = 'reminder.failed'");
    assert_eq!(bed.number(&events).await?, 1);
    Ok(())
}

async fn an_unreadable_row_is_set_aside_with_its_error_and_holds_nobody_up(bed: Bed) -> anyhow::Result<()> {
    let ids = bed.many(30, |_| None).await?;
    for id in &ids[..12] {
        bed.execute(&format!("UPDATE onboardings SET phase = 'garbage' WHERE id = '{id}'")).await?;
    }
    // More of them than the limit: the pass goes on.
    let mut passes = 0;
    while bed.store.plan(tomorrow(), 10, planner).await? > 0 {
        passes += 1;
    }
    assert_eq!(passes, 3);
    is_set_aside(&bed, &ids[0].to_text()).await?;
    assert_eq!(bed.number("SELECT COUNT(*) FROM deliveries WHERE status = 'pending'").await?, 18);
    // Mended within the hour: it is planned then.
    bed.execute("UPDATE onboardings SET phase = 'review'").await?;
    assert_eq!(bed.store.plan(tomorrow() + TimeDelta::minutes(61), 20, planner).await?, 12);
    Ok(())
}

async fn a_row_whose_plan_cannot_be_written_is_set_aside_with_its_error_and_holds_nobody_up(
    bed: Bed,
) -> anyhow::Result<()> {
    let ids = bed.many(25, |_| None).await?;
    bed.refuse("deliveries", &format!("NEW.onboarding_id = '{}' AND NEW.status = 'pending'", ids[7])).await?;
    while bed.store.plan(tomorrow(), 10, planner).await? > 0 {}
    is_set_aside(&bed, &ids[7].to_text()).await?;
    assert_eq!(bed.number("SELECT COUNT(*) FROM deliveries WHERE status = 'pending'").await?, 24);
    // Even where its error cannot be written, it does not stay due.
    bed.refuse("events", &format!("NEW.onboarding_id = '{}'", ids[7])).await?;
    while bed.store.plan(tomorrow() + TimeDelta::hours(2), 10, planner).await? > 0 {}
    assert_eq!(bed.number("SELECT COUNT(*) FROM schedules WHERE due_at <= '2026-08-04T12:00:00Z'").await?, 0);
    Ok(())
}

async fn a_planner_that_panics_on_one_row_plans_the_others(bed: Bed) -> anyhow::Result<()> {
    let ids = bed.many(5, |_| None).await?;
    let count = bed.store.plan(tomorrow(), 10, |input| {
        assert!(input.due.iter().all(|it| it.onboarding.id != ids[2]), "a fault of the calendar");
        planner(input)
    });
    assert_eq!(count.await?, 5);
    is_set_aside(&bed, &ids[2].to_text()).await?;
    assert_eq!(bed.number("SELECT COUNT(*) FROM deliveries WHERE status = 'pending'").await?, 4);
    Ok(())
}

async fn an_unreadable_request_is_set_aside_with_its_error(bed: Bed) -> anyhow::Result<()> {
    let id = bed.many(1, |_| None).await?[0].to_text();
    for _ in 0..2 {
        bed.apply(Command::RemindOnboarding(Some(vec![Channel::Email])), Some(&id)).await?;
    }
    bed.execute(
        "UPDATE reminder_requests SET channels = '[\"pigeon\"]' WHERE id = (SELECT MIN(id) FROM reminder_requests)",
    )
    .await?;
    assert_eq!(bed.store.plan(now() + TimeDelta::seconds(1), 10, planner).await?, 2);
    let rows = bed.texts("SELECT status FROM deliveries WHERE kind = 'manual' ORDER BY status").await?;
    assert_eq!(rows, ["failed", "pending"]);
    assert_eq!(bed.store.plan(now() + TimeDelta::seconds(1), 10, planner).await?, 0);
    Ok(())
}

async fn a_schedule_that_changed_meanwhile_is_not_planned_as_it_was(bed: Bed) -> anyhow::Result<()> {
    let ids = bed.many(40, |_| None).await?;
    let pause = |id: &str| {
        let patch = usher_lifecycle::command::OnboardingPatch {
            state: Some(usher_lifecycle::State::Paused),
            ..Default::default()
        };
        bed.request(Command::ChangeOnboarding(patch), Some(id))
    };
    let (store, requests) =
        (bed.another().await?, ids.iter().map(|id| pause(&id.to_text())).collect::<Vec<_>>());
    let pausing = tokio::spawn(async move {
        for request in requests {
            store.apply(request, tomorrow()).await?;
        }
        anyhow::Ok(())
    });
    while bed.store.plan(tomorrow(), 3, planner).await? > 0 {}
    pausing.await??;
    // Whoever was first: paused before, or planned and then paused; never planned after it was paused.
    for id in ids {
        let read = bed.store.onboarding(bed.workspace, true, &Ref::Id(id.to_text())).await?.unwrap();
        assert_eq!(read.reminders.next_reminder_at, None, "{:?}", read.reminders);
        assert!(read.reminders.silent.is_some());
    }
    Ok(())
}
