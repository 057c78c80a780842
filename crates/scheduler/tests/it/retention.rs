//! Rhythms outlive whatever housekeeping deletes.

use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::command::CreateOnboarding;
use usher_lifecycle::onboarding::Role;
use usher_lifecycle::reminder::{Policy, Rules};
use usher_store::Status;

use crate::at;
use crate::rig::{Rig, stories};

stories!(intervals_of_30_90_and_365_days_survive_every_retention_setting);

/// The shortest that the configuration takes: ledger, ids of handled messages, answers under an idempotency key.
const LEDGER: TimeDelta = TimeDelta::days(30);
const INBOX: TimeDelta = TimeDelta::days(2);
const ANSWERS: TimeDelta = TimeDelta::hours(24);
/// Two of the longest intervals.
const DAYS: i64 = 2 * 365 + 2;

/// Swept every night of two years, each is reminded on its days, once, and on no other.
async fn intervals_of_30_90_and_365_days_survive_every_retention_setting(mut rig: Rig) {
    use chrono::Weekday::{Fri, Mon, Sat, Sun, Thu, Tue, Wed};
    let policy = Policy { working_days: vec![Mon, Tue, Wed, Thu, Fri, Sat, Sun], ..Policy::default() };
    rig.rules(Rules { policy, ..Rules::default() }).await;
    let started = rig.now();
    let mut all = Vec::new();
    for every in [30, 90, 365_u16] {
        let person = rig.user(&format!("every{every}")).await;
        let rest = CreateOnboarding { reminder_frequency_days: Some(every), ..CreateOnboarding::default() };
        let onboarding = rig.create("Acme", &[(Role::Csm, person)], rest).await;
        all.push((onboarding, every));
    }
    // Started on the day before they were made.
    let base = started - TimeDelta::days(1);
    let due = |every: u16, day: DateTime<Utc>| {
        (day.date_naive() - base.date_naive()).num_days() % i64::from(every) == 0
    };
    let (mut sent, mut forgotten) = (vec![0; all.len()], 0);
    let mut scheduler = rig.scheduler();
    for day in 0..DAYS {
        // The process is started anew now and then.
        if day % 100 == 0 {
            scheduler = rig.scheduler();
        }
        let nine = at("2026-03-03T09:00:00Z") + TimeDelta::days(day);
        rig.clock.set(nine);
        rig.pass(&scheduler).await;
        let mailed = rig.mailed();
        rig.sink.clear();
        for (count, (_, every)) in sent.iter_mut().zip(&all) {
            let theirs = mailed.iter().filter(|it| **it == format!("every{every}@example.com")).count();
            assert_eq!(theirs, usize::from(due(*every, nine)), "every {every} days, on {nine}");
            *count += theirs;
        }
        let night = nine + TimeDelta::hours(18);
        rig.clock.set(night);
        rig.store.forget_repeats(night - INBOX, night - ANSWERS).await.unwrap();
        forgotten += rig.store.forget_ledger(night - LEDGER).await.unwrap();
    }
    assert_eq!(sent, [24, 8, 2]);
    // The ledger is gone but for its last month.
    assert!(forgotten >= 31, "{forgotten}");
    for (onboarding, _) in all {
        let rows = rig.ledger(onboarding).await;
        assert!(rows.len() <= 1 && rows.iter().all(|row| row.status == Status::Sent), "{rows:?}");
    }
}
