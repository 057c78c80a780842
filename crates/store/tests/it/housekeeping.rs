//! Housekeeping deletes what nobody needs, and nothing else.

use chrono::TimeDelta;
use usher_lifecycle::Command;
use usher_store::{ClaimLimits, Finish, Page, Status};

use crate::{
    bed::{Bed, now, tomorrow},
    contracts,
    plan::planner,
};

contracts!(old_rows_of_the_ledger_go_and_pending_ones_stay, of_two_processes_one_has_its_turn);

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
