//! Housekeeping deletes what nobody needs, and nothing else.

use chrono::TimeDelta;
use usher_lifecycle::Command;
use usher_store::{ClaimLimits, Finish, NewRejected, Page, RejectedFilter, Status};

use crate::{
    bed::{Bed, now, tomorrow},
    contracts,
    plan::planner,
};

contracts!(
    old_rows_of_the_ledger_go_and_pending_ones_stay,
    old_refused_commands_go_and_what_was_never_published_stays,
    of_two_processes_one_has_its_turn,
);

async fn old_refused_commands_go_and_what_was_never_published_stays(bed: Bed) -> anyhow::Result<()> {
    let refused = |number: i64| NewRejected {
        workspace: "acme".into(),
        command: "onboarding.create".into(),
        subject: "usher.commands.acme.onboarding.create".into(),
        source: "crm".into(),
        message_id: number.to_string(),
        body_hash: "h".into(),
        headers: Vec::new(),
        payload: b"{}".to_vec(),
        code: "invalid_data".into(),
        message: "no".into(),
        field: None,
        attempts: 1,
    };
    // One a day, but more than a batch on the first.
    let day = |number: i64| now() + TimeDelta::days(number);
    bed.store.reject((0..1_100).map(refused).collect(), day(0)).await?;
    bed.store.reject(vec![refused(2_001), refused(2_002)], day(1)).await?;
    bed.store.reject(vec![refused(2_003)], day(2)).await?;
    let rows = bed.store.oldest_rejected(&RejectedFilter::default(), None, 2_000).await?;
    let published: Vec<String> =
        rows.iter().filter(|it| it.what.message_id != "2001").map(|it| it.id.clone()).collect();
    bed.store.mark_rejected_published(&published, day(2)).await?;
    // That it was replayed makes no difference.
    bed.store.mark_replayed(&rows[0].id, "committed", None, day(2)).await?;
    assert_eq!(bed.store.forget_rejected(day(0)).await?, 0);
    assert_eq!(bed.store.forget_rejected(day(2)).await?, 1_101);
    let left = bed.store.oldest_rejected(&RejectedFilter::default(), None, 10).await?;
    assert_eq!(left.iter().map(|it| it.what.message_id.as_str()).collect::<Vec<_>>(), ["2001", "2003"]);
    Ok(())
}

async fn old_rows_of_the_ledger_go_and_pending_ones_stay(bed: Bed) -> anyhow::Result<()> {
    let ada = bed.user("ada@example.com").await?;
    let many = bed.many(2_100, |_| Some(ada)).await?;
    let asked =
        bed.store.apply(bed.request(Command::RemindOnboarding(None), Some(&many[0].to_text())), now());
    asked.await?;
    while bed.store.plan(tomorrow(), 500, planner).await? > 0 {}
    // All but one row are sent.
    let limits = ClaimLimits {
        deliveries: 3_000,
        lease: std::time::Duration::from_mins(3),
        channels: vec![usher_lifecycle::reminder::Channel::Email],
    };
    let [claim] = bed.store.claim(tomorrow(), &limits).await?.try_into().unwrap();
    let sent = claim.deliveries.iter().skip(1).cloned().map(|mut delivery| {
        (delivery.status, delivery.sent_at) = (Status::Sent, Some(tomorrow()));
        Finish { token: claim.token.clone(), delivery, follow_ups: Vec::new() }
    });
    bed.store.finish(sent.collect(), tomorrow()).await?;
    let rows = "SELECT COUNT(*) FROM deliveries";
    let before = bed.number(rows).await?;
    assert_eq!(bed.store.forget_ledger(now() - TimeDelta::days(1)).await?, 0);
    let schedules = bed.texts("SELECT CAST(last_slot AS text) FROM schedules ORDER BY onboarding_id").await?;
    // More than a batch holds, and one request.
    let forgotten = bed.store.forget_ledger(tomorrow() + TimeDelta::days(30)).await?;
    assert_eq!((i64::try_from(forgotten)?, bed.number(rows).await?), (before - 1 + 1, 1));
    assert_eq!(bed.number("SELECT COUNT(*) FROM deliveries WHERE status = 'pending'").await?, 1);
    assert_eq!(
        bed.texts("SELECT CAST(last_slot AS text) FROM schedules ORDER BY onboarding_id").await?,
        schedules
    );
    let page = Page { limit: 10, cursor: None };
    assert_eq!(bed.store.ledger(many[5], &page).await?.data.len(), 0);
    Ok(())
}

async fn of_two_processes_one_has_its_turn(bed: Bed) -> anyhow::Result<()> {
    let (one, other) = (bed.another().await?, bed.another().await?);
    for hour in 0..3 {
        let fire = now() + TimeDelta::hours(hour);
        let seconds = |n| fire + TimeDelta::seconds(n);
        let (one, other) = tokio::join!(
            one.take_turn("ledger", fire, seconds(1)),
            other.take_turn("ledger", fire, seconds(2))
        );
        assert_eq!(usize::from(one?) + usize::from(other?), 1, "in hour {hour}");
        assert!(!bed.store.take_turn("ledger", fire, seconds(3)).await?);
        assert!(bed.store.take_turn(&format!("another {hour}"), fire, seconds(3)).await?);
    }
    Ok(())
}
