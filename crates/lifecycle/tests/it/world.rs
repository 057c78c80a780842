//! Random lives of onboardings: commands with several fields at once, at random instants, some of them illegal; between
//! them the planner runs, and the customer leaves and comes back.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc, Weekday};
use proptest::{option, prelude::*};
use usher_lifecycle::{
    Command, Onboarding, Phase, State,
    command::{CreateOnboarding, OnboardingPatch, Snooze},
    customer::CustomerStatus,
    onboarding::Role,
    reminder::{Channel, Policy, RequireReason, Rules, Slot, Step, policy::hh_mm, step, zone},
};

use crate::monday;

/// What happens next.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    Command(Box<Command>),
    /// The planner looks at the schedule.
    Plan,
    /// The customer is changed; none = deleted.
    Customer(Option<CustomerStatus>),
}

pub(crate) fn rules() -> impl Strategy<Value = Rules> {
    let require_reason = prop_oneof![4 => Just(RequireReason::None), 1 => Just(RequireReason::SendBack), 1 => Just(RequireReason::Any)];
    (require_reason, policies()).prop_map(|(require_reason, policy)| Rules {
        require_reason,
        policy,
        ..Rules::default()
    })
}

pub(crate) fn policies() -> impl Strategy<Value = Policy> {
    let zones = prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia"]);
    let hours = prop::sample::select(vec!["09:00", "00:00", "02:30", "23:45"]);
    let weekdays = prop::sample::subsequence(
        vec![
            Weekday::Mon,
            Weekday::Tue,
            Weekday::Wed,
            Weekday::Thu,
            Weekday::Fri,
            Weekday::Sat,
            Weekday::Sun,
        ],
        1..=7,
    );
    (zones, hours, weekdays).prop_map(|(name, hour, working_days)| Policy {
        time_zone: zone(name).expect("exists"),
        time_of_day: hh_mm::parse(hour).expect("is a time"),
        working_days,
        ..Policy::default()
    })
}

/// How long until the next thing happens: mostly minutes to days.
pub(crate) fn naps() -> impl Strategy<Value = TimeDelta> {
    prop_oneof![
        1 => Just(TimeDelta::zero()),
        3 => (1_i64..7_200_000_000).prop_map(TimeDelta::microseconds),
        4 => (1_i64..400_000).prop_map(TimeDelta::seconds),
        1 => (1_i64..60).prop_map(TimeDelta::days),
    ]
}

fn phases() -> impl Strategy<Value = Phase> {
    // Seldom the end, or there is no life to speak of.
    prop_oneof![12 => prop::sample::select(&Phase::ALL[..6]), 1 => Just(Phase::Completed)]
}

fn states() -> impl Strategy<Value = State> {
    prop::sample::select(&State::ALL[..])
}

fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    (-400_i64..400).prop_map(|days| monday() + TimeDelta::days(days))
}

fn people() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just("ann"), 3 => Just("bob"), 1 => Just("nobody")].prop_map(String::from)
}

fn texts() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", " "]).prop_map(String::from)
}

fn roles() -> impl Strategy<Value = Role> {
    prop::sample::select(&Role::ALL[..])
}

pub(crate) fn creates() -> impl Strategy<Value = CreateOnboarding> {
    let rhythm = (option::of(any::<bool>()), option::of(any::<bool>()), option::of(1_u16..40));
    (option::of(phases()), option::of(states()), option::of(0_i64..900), option::of(instants()), rhythm)
        .prop_map(|(phase, state, days_ago, target_launch_date, (reminder_email, reminder_slack, every))| {
            CreateOnboarding {
                customer: "acme".into(),
                phase,
                state,
                started_at: days_ago.map(|days| monday() - TimeDelta::days(days)),
                target_launch_date,
                reminder_email,
                reminder_slack,
                reminder_frequency_days: every,
                ..CreateOnboarding::default()
            }
        })
}

pub(crate) fn patches() -> impl Strategy<Value = OnboardingPatch> {
    let seldom = 0.25;
    let moves = (
        option::weighted(seldom, phases()),
        option::weighted(seldom, states()),
        option::weighted(0.15, any::<bool>()),
        option::of(texts()),
    );
    let dates = (
        option::weighted(0.1, instants()),
        option::weighted(0.4, option::weighted(0.9, instants())),
        option::weighted(0.1, option::of(instants())),
    );
    let texts = (
        option::weighted(seldom, option::of(texts())),
        option::weighted(seldom, option::of(texts())),
        option::weighted(0.1, option::of(texts())),
        prop::collection::btree_map(roles(), option::of(people()), 0..2),
    );
    let reminders = (
        option::weighted(0.15, any::<bool>()),
        option::weighted(0.15, any::<bool>()),
        option::weighted(0.15, 1_u16..12),
    );
    (moves, dates, texts, reminders).prop_map(|(moves, dates, texts, reminders)| OnboardingPatch {
        phase: moves.0,
        state: moves.1,
        waiting_on_customer: moves.2,
        reason: moves.3,
        started_at: dates.0,
        target_launch_date: dates.1,
        wizard_completed_at: dates.2,
        notes: texts.0,
        external_id: texts.1,
        template: texts.2,
        roles: texts.3,
        reminder_email: reminders.0,
        reminder_slack: reminders.1,
        reminder_frequency_days: reminders.2,
        order: Vec::new(),
    })
}

fn ask(command: Command) -> Happening {
    Happening::Command(Box::new(command))
}

pub(crate) fn happenings() -> impl Strategy<Value = Happening> {
    let customers = prop_oneof![
        6 => prop::sample::select(&CustomerStatus::ALL[..]).prop_map(Some),
        1 => Just(None),
    ];
    prop_oneof![
        12 => patches().prop_map(|patch| ask(Command::ChangeOnboarding(patch))),
        2 => (0_u16..12).prop_map(|days| ask(Command::SnoozeOnboarding(Snooze::Days(days)))),
        1 => instants().prop_map(|at| ask(Command::SnoozeOnboarding(Snooze::Until(at)))),
        2 => Just(ask(Command::UnsnoozeOnboarding)),
        1 => option::of(Just(vec![Channel::Email]))
            .prop_map(|channels| ask(Command::RemindOnboarding(channels))),
        4 => Just(Happening::Plan),
        2 => customers.prop_map(Happening::Customer),
        1 => Just(ask(Command::DeleteOnboarding)),
    ]
}

/// A life: what happens, and how long after what was before.
pub(crate) fn lives() -> impl Strategy<Value = Vec<(TimeDelta, Happening)>> {
    prop::collection::vec((naps(), happenings()), 1..40)
}

/// The pending slot of an onboarding.
pub(crate) fn pending(it: &Onboarding) -> Option<Slot> {
    let reminders = it.reminders;
    Some(Slot { date: reminders.next_slot?, due_at: reminders.next_reminder_at? })
}

/// Runs the planner on what is due, and has every reminder accepted at once.
pub(crate) fn plan(
    rules: &Rules,
    it: &mut Onboarding,
    customer: Option<CustomerStatus>,
    now: DateTime<Utc>,
) -> Option<Step> {
    let due = pending(it).filter(|slot| slot.due_at <= now)?;
    let status = customer.unwrap_or(CustomerStatus::Onboarding);
    let step = step(rules, it, status, customer.is_none(), due, now);
    let reminders = &mut it.reminders;
    reminders.next_slot = step.next.map(|slot| slot.date);
    reminders.next_reminder_at = step.next.map(|slot| slot.due_at);
    reminders.silent = step.silent;
    if let Some(due) = step.due {
        reminders.last_slot = Some(due.slot.date);
        reminders.last_reminded_at = Some(now);
    }
    Some(step)
}

/// Whether the date lies in the gap.
pub(crate) fn covers(gap: usher_lifecycle::reminder::Gap, date: NaiveDate) -> bool {
    (gap.first..=gap.last).contains(&date)
}
