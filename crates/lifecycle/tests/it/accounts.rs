//! Every slot is accounted for: with one rhythm, whatever silences and wakes an onboarding and whenever the planner runs,
//! each slot that passed ends as one reminder or in one gap.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use proptest::prelude::*;
use usher_lifecycle::{
    Command, State,
    command::{CreateOnboarding, OnboardingPatch, Snooze},
    customer::CustomerStatus,
    reminder::{Gap, Rules, Schedule, Step, reschedule, slots},
};

use crate::{
    ask, create, monday,
    world::{naps, plan, policies},
};

#[derive(Debug, Clone)]
enum Act {
    State(State),
    Channels(bool),
    Snooze(u16),
    Unsnooze,
    Customer(CustomerStatus),
    Plan,
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => prop::sample::select(&State::ALL[..]).prop_map(Act::State),
        1 => any::<bool>().prop_map(Act::Channels),
        2 => (1_u16..9).prop_map(Act::Snooze),
        2 => Just(Act::Unsnooze),
        2 => prop::sample::select(&CustomerStatus::ALL[..]).prop_map(Act::Customer),
        4 => Just(Act::Plan),
    ]
}

/// What became of the slots.
#[derive(Default)]
struct Book {
    told: usize,
    sent: BTreeSet<chrono::NaiveDate>,
}

impl Book {
    fn gap(&mut self, gap: Gap) {
        self.told += usize::try_from(gap.count).expect("small");
    }

    fn step(&mut self, step: Option<Step>) {
        let Some(step) = step else { return };
        step.gaps.into_iter().for_each(|gap| self.gap(gap));
        if let Some(due) = step.due {
            assert!(self.sent.insert(due.slot.date), "{} twice", due.slot.date);
        }
    }

    fn schedule(&mut self, schedule: Schedule) {
        if let Schedule::Set { gaps, .. } = schedule {
            gaps.into_iter().flatten().for_each(|gap| self.gap(gap));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_slot_is_sent_or_told_once(
        policy in policies(), every_days in 1_u16..9, life in prop::collection::vec((naps(), acts()), 1..30),
    ) {
        let rules = Rules { policy, ..Rules::default() };
        let mut it = create(
            CreateOnboarding { reminder_frequency_days: Some(every_days), ..CreateOnboarding::default() },
            monday(),
        );
        // The rhythm of these rules, not of the default ones.
        it.hidden.cadence_base = usher_lifecycle::reminder::local_date(&rules.policy.time_zone, monday());
        it.reminders = usher_lifecycle::onboarding::Reminded::default();
        let mut customer = CustomerStatus::Onboarding;
        let mut book = Book::default();
        book.schedule(reschedule(&rules, &mut it, Some(customer), monday()));
        let mut now = monday();
        // At last all is well again and the planner runs.
        let end = [Act::State(State::Active), Act::Channels(true), Act::Unsnooze,
            Act::Customer(CustomerStatus::Active), Act::Plan];
        let end = end.into_iter().map(|act| (TimeDelta::hours(30), act));
        for (nap, act) in life.into_iter().chain(end) {
            now += nap;
            let command = match act {
                Act::Plan => {
                    let step = plan(&rules, &mut it, Some(customer), now);
                    book.step(step);
                    continue;
                }
                Act::Customer(status) => {
                    customer = status;
                    book.schedule(reschedule(&rules, &mut it, Some(customer), now));
                    continue;
                }
                Act::State(state) => Command::ChangeOnboarding(OnboardingPatch {
                    state: Some(state),
                    ..OnboardingPatch::default()
                }),
                Act::Channels(on) => Command::ChangeOnboarding(OnboardingPatch {
                    reminder_email: Some(on),
                    reminder_slack: Some(on),
                    ..OnboardingPatch::default()
                }),
                Act::Snooze(days) => Command::SnoozeOnboarding(Snooze::Days(days)),
                Act::Unsnooze => Command::UnsnoozeOnboarding,
            };
            // The onboarding's own commands see the customer as it is.
            let mut known = crate::references();
            known.customer = known.customer.map(|(id, _)| (id, customer));
            let current = usher_lifecycle::Current::Record(usher_lifecycle::Record::Onboarding(it.clone()));
            let rule_book = usher_lifecycle::Book { rules: &rules, references: &known };
            let decision = usher_lifecycle::decide(current, &command, rule_book, now).expect("is legal");
            book.schedule(decision.schedule);
            let usher_lifecycle::Record::Onboarding(after) = decision.record else { panic!("an onboarding") };
            it = after;
        }
        let rhythm = slots(&rules.policy, it.hidden.cadence_base, every_days, it.created_at);
        let passed = rhythm.take_while(|slot| slot.due_at <= now).count();
        prop_assert_eq!(book.told + book.sent.len(), passed);
        prop_assert_eq!(it.reminders.silent, None);
    }
}

#[test]
fn a_life_without_silence_is_all_reminders() {
    let rules = Rules::default();
    let mut it = create(CreateOnboarding::default(), monday());
    let mut book = Book::default();
    for hour in 0..24 * 14 {
        let step = plan(&rules, &mut it, Some(CustomerStatus::Active), monday() + TimeDelta::hours(hour));
        book.step(step);
    }
    assert_eq!((book.told, book.sent.len()), (0, 9));
    assert!(ask(&rules, &it, &Command::UnsnoozeOnboarding, monday()).is_ok());
}
