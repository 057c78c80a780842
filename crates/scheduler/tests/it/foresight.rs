//! What was foreseen at the start is what the ledger says weeks later, when nobody reacted.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc, Weekday};
use usher_lifecycle::command::OnboardingPatch;
use usher_lifecycle::customer::CustomerStatus;
use usher_lifecycle::onboarding::Role;
use usher_lifecycle::person::{DaysOff, QuietHours, Reach, User};
use usher_lifecycle::reminder::{
    Configured, Context, EscalateTo, EscalationStep, Foreseen, Kind, Rules, foresee, outlook,
};
use usher_lifecycle::{OnboardingId, State};
use usher_store::{Page, Status};

use crate::at;
use crate::rig::{Rig, stories};

stories!(
    weeks_of_unheeded_reminders_are_as_foreseen,
    what_is_overdue_at_the_start_is_as_foreseen,
    real_counts_are_gone_on_with,
);

const WEEKS: i64 = 6;

/// Ada has quiet hours until half past nine, Pam no Tuesdays and Wednesdays; the customer is told while it waits.
fn rules() -> Rules {
    let step = |after_reminders, to, set_state| EscalationStep { after_reminders, to, set_state };
    let mut rules = Rules {
        escalation: vec![
            step(9, EscalateTo::Fallback, Some(State::Waiting)),
            step(3, EscalateTo::ProductOps, None),
            step(5, EscalateTo::Csm, Some(State::AtRisk)),
            step(14, EscalateTo::ProductOps, Some(State::Paused)),
        ],
        nudge_customer: true,
        ops_email: Some("ops@example.com".into()),
        ..Rules::default()
    };
    rules.policy.spread_minutes = 45;
    rules
}

async fn scene(rig: &mut Rig) -> OnboardingId {
    rig.rules(rules()).await;
    let time = |hour, minute| NaiveTime::from_hms_opt(hour, minute, 0).unwrap();
    let quiet_hours = Some(QuietHours { from: time(18, 0), to: time(9, 30) });
    let ada = rig.person("ada", None, Reach { quiet_hours, ..Reach::default() }).await;
    let days_off = DaysOff { weekdays: vec![Weekday::Tue, Weekday::Wed], dates: Vec::new() };
    let pam = rig.person("pam", Some("UPAM"), Reach { days_off, ..Reach::default() }).await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada), (Role::ProductOps, pam)]).await;
    rig.contact(onboarding, "bea").await;
    onboarding
}

/// Slot, kind, to whom by what, when it is sent or why not.
type Line = (String, &'static str, String, Result<DateTime<Utc>, String>);

/// What is foreseen now, the rows that are superseded aside: of what is overdue they are told as one.
async fn foreseen(rig: &Rig, onboarding: OnboardingId) -> (Vec<Line>, Vec<Foreseen>) {
    let situation = rig.store.situation(&[onboarding], &[]).await.unwrap();
    let onboarding = &situation.onboardings[&onboarding];
    let contacts = rig.store.primary_contacts([&onboarding.customer_id]).await.unwrap();
    let people: Vec<User> = situation.users.values().cloned().collect();
    let context = Context {
        rules: &situation.workspaces[&rig.workspace].rules,
        onboarding,
        customer_status: CustomerStatus::Onboarding,
        customer_deleted: false,
        people: &people,
        primary_contact: contacts.get(&onboarding.customer_id),
        configured: Configured { email: true, slack: true },
    };
    let until = rig.now() + TimeDelta::weeks(WEEKS);
    let all: Vec<Foreseen> = foresee(&context, rig.now()).take_while(|it| it.at <= until).collect();
    // The outlook has the same steps of the same slot.
    let next = outlook(&context, rig.now(), None, 1).escalates;
    assert_eq!(next.iter().map(|it| it.step).collect::<Vec<_>>(), all[0].steps);
    let mut lines: Vec<Line> = Vec::new();
    for row in all.iter().flat_map(|it| &it.rows) {
        let to = row.target.as_ref().map(|to| format!("{} by {}", to.recipient, to.channel));
        let fate = row.fate.map_err(|reason| reason.to_string());
        if fate != Err("superseded".to_owned()) && !fate.as_ref().is_ok_and(|at| *at > until) {
            lines.push((row.slot.date.to_string(), row.kind.as_str(), to.unwrap_or_default(), fate));
        }
    }
    lines.sort();
    (lines, all)
}

/// Lets a scheduler work whenever it wants to, and reads the ledger.
async fn played(rig: &Rig, onboarding: OnboardingId) -> Vec<Line> {
    work_until(rig, rig.now() + TimeDelta::weeks(WEEKS)).await;
    ledger(rig, onboarding).await
}

async fn work_until(rig: &Rig, until: DateTime<Utc>) {
    let scheduler = rig.scheduler();
    rig.pass(&scheduler).await;
    while let Some(next) = rig.store.next_wake().await.unwrap().filter(|next| *next <= until) {
        assert!(next > rig.now());
        rig.clock.set(next);
        rig.pass(&scheduler).await;
    }
    rig.clock.set(until);
}

/// What has ended, gaps and what was superseded aside.
async fn ledger(rig: &Rig, onboarding: OnboardingId) -> Vec<Line> {
    let mut page = Page { limit: 100, cursor: None };
    let mut lines: Vec<Line> = Vec::new();
    loop {
        let listed = rig.store.ledger(onboarding, &page).await.unwrap();
        for row in listed.data {
            let gap = row.detail.as_ref().is_some_and(|detail| detail["first_slot"].is_string());
            if gap || row.reason.as_deref() == Some("superseded") || row.status == Status::Pending {
                continue;
            }
            let to = row.channel.zip(row.recipient.as_ref()).map(|(by, to)| format!("{to} by {by}"));
            let fate = row.sent_at.ok_or_else(|| row.reason.clone().unwrap_or_default());
            lines.push((row.slot.clone(), row.kind.as_str(), to.unwrap_or_default(), fate));
        }
        match listed.next {
            Some(next) => page.cursor = Some(next),
            None => break,
        }
    }
    lines.sort();
    lines
}

async fn state(rig: &Rig, onboarding: OnboardingId) -> State {
    let which = usher_store::Ref::Id(onboarding.to_text());
    rig.store.onboarding(rig.workspace, true, &which).await.unwrap().unwrap().state
}

async fn weeks_of_unheeded_reminders_are_as_foreseen(mut rig: Rig) {
    let onboarding = scene(&mut rig).await;
    let (lines, all) = foreseen(&rig, onboarding).await;
    let states: Vec<State> = all.iter().filter_map(|it| it.state).collect();
    assert_eq!(states, [State::AtRisk, State::Waiting, State::Paused]);
    let escalations = |lines: &[Line]| lines.iter().filter(|it| it.1 == Kind::Escalation.as_str()).count();
    // To Pam by both channels, to Ada and the workspace by email, and two to Pam that the pause stops.
    assert_eq!(escalations(&lines), 6, "{lines:?}");
    assert!(lines.iter().any(|it| it.1 == "customer" && it.3.is_ok()), "{lines:?}");
    let deferred = lines.iter().find(|it| it.1 == "escalation").unwrap();
    assert_eq!(
        (deferred.0.as_str(), deferred.3.as_ref().map(|at| at.date_naive().to_string())),
        ("2026-03-06", Ok("2026-03-06".to_owned()))
    );
    assert_eq!(lines, played(&rig, onboarding).await);
    assert_eq!(state(&rig, onboarding).await, State::Paused);
}

/// Nobody was there for days, and what comes late in the evening gives way to the next slot; its escalation does not.
async fn what_is_overdue_at_the_start_is_as_foreseen(mut rig: Rig) {
    let onboarding = scene(&mut rig).await;
    work_until(&rig, at("2026-03-05T20:00:00Z")).await;
    rig.set("2026-03-10T22:00:00Z");
    let before = ledger(&rig, onboarding).await;
    let (lines, all) = foreseen(&rig, onboarding).await;
    assert_eq!((all[0].at, all[0].steps.len()), (at("2026-03-10T22:00:00Z"), 1));
    assert!(!all[0].missed.is_empty());
    let mut ledger = played(&rig, onboarding).await;
    ledger.retain(|line| !before.contains(line));
    assert_eq!(lines, ledger);
}

/// Six went unheeded before, and two steps were taken, which are not taken again.
async fn real_counts_are_gone_on_with(mut rig: Rig) {
    let onboarding = scene(&mut rig).await;
    work_until(&rig, at("2026-03-10T20:00:00Z")).await;
    rig.patch(onboarding, OnboardingPatch { reminder_frequency_days: Some(3), ..OnboardingPatch::default() })
        .await;
    let before = ledger(&rig, onboarding).await;
    let (lines, all) = foreseen(&rig, onboarding).await;
    assert_eq!(all.iter().find_map(|it| it.state), Some(State::Waiting), "at risk already");
    let mut ledger = played(&rig, onboarding).await;
    ledger.retain(|line| !before.contains(line));
    assert_eq!(lines, ledger);
}
