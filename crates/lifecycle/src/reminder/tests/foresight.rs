//! What is foreseen is what a scheduler does that is always there, when nobody reacts.

use std::{cmp::Reverse, collections::BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc, Weekday};
use proptest::{prelude::*, sample};

use super::{
    EVERY_DAY, at,
    audience::{contact, context, ops, staffed},
    date, office, slot, time,
};
use crate::{
    Onboarding, State,
    customer::CustomerStatus,
    onboarding::Silent,
    person::{DaysOff, QuietHours, User},
    reminder::{
        CatchUp, Context, EscalateTo, EscalationStep, Foreseen, Kind, Planned, Policy, Reason, Rules, Slot,
        Step, TakenStep, Target, Verdict, audience,
        audience::{escalation, nudge},
        foresee, outlook, recheck, spread, step,
    },
};

const TO: [EscalateTo; 5] =
    [EscalateTo::Csm, EscalateTo::Se, EscalateTo::Designer, EscalateTo::ProductOps, EscalateTo::Fallback];

fn after(after_reminders: u32, to: EscalateTo, set_state: Option<State>) -> EscalationStep {
    EscalationStep { after_reminders, to, set_state }
}

/// Reminded every working day at nine in Berlin, from Monday 2026-11-23 on.
fn daily() -> (Onboarding, Vec<User>) {
    let (mut it, people) = staffed();
    stand(&mut it, Some(slot("2026-11-23", "2026-11-23T09:00:00+01:00")));
    (it, people)
}

fn stand(it: &mut Onboarding, next: Option<Slot>) {
    it.reminders.next_slot = next.map(|slot| slot.date);
    it.reminders.next_reminder_at = next.map(|slot| slot.due_at);
}

fn berlin(escalation: &[EscalationStep]) -> Rules {
    Rules { policy: office("Europe/Berlin", "09:00"), escalation: escalation.to_vec(), ..ops() }
}

/// The rows of an item in short, each once: what it is, its day and whether it is sent.
fn told(it: &Foreseen) -> BTreeSet<(Kind, String, Option<Reason>)> {
    it.rows.iter().map(|row| (row.kind, row.slot.date.to_string(), row.fate.err())).collect()
}

fn rows(all: &[(Kind, &str, Option<Reason>)]) -> BTreeSet<(Kind, String, Option<Reason>)> {
    all.iter().map(|(kind, day, reason)| (*kind, (*day).to_string(), *reason)).collect()
}

#[test]
fn steps_come_with_the_slots_after_and_a_pause_is_the_end() {
    let second = after(3, EscalateTo::Fallback, Some(State::Paused));
    let rules =
        berlin(&[after(2, EscalateTo::ProductOps, Some(State::AtRisk)), second, after(9, TO[0], None)]);
    let (it, people) = daily();
    let all = foresee(&context(&rules, &it, &people), at("2026-11-20 12:00"));
    let all: Vec<Foreseen> = all.take(9).collect();
    let days = ["2026-11-23", "2026-11-24", "2026-11-25", "2026-11-26"];
    assert_eq!(all.len(), 4, "{all:?}");
    for (day, it) in days.iter().zip(&all) {
        assert_eq!(it.at, at(&format!("{day}T09:00:00+01:00")));
    }
    assert_eq!(told(&all[1]), rows(&[(Kind::Cadence, days[1], None)]));
    assert_eq!(told(&all[2]), rows(&[(Kind::Cadence, days[2], None), (Kind::Escalation, days[2], None)]));
    assert_eq!((all[2].state, all[3].state), (Some(State::AtRisk), Some(State::Paused)));
    assert_eq!(all[3].steps, [second]);
    // What a step pauses is paused before anything of its own slot is sent; that it did is told all the same.
    let paused = Some(Reason::Paused);
    assert_eq!(told(&all[3]), rows(&[(Kind::Cadence, days[3], paused), (Kind::Escalation, days[3], None)]));
}

#[test]
fn what_nobody_gets_goes_unheeded_by_nobody() {
    let rules = berlin(&[after(1, EscalateTo::Fallback, None)]);
    let (it, mut people) = daily();
    for it in &mut people {
        it.reach.mute_until = Some(at("2026-11-25 00:00"));
    }
    let all = foresee(&context(&rules, &it, &people), at("2026-11-20 12:00"));
    let steps: Vec<usize> = all.take(5).map(|it| it.steps.len()).collect();
    assert_eq!(steps, [0, 0, 0, 1, 0], "the first that is sent is that of the 25th");
}

/// The gap of a snooze is told when it ends; nobody waits now for what it swallows until then.
#[test]
fn slots_that_a_snooze_will_swallow_are_not_missed() {
    let rules = berlin(&[]);
    let (mut it, people) = daily();
    (it.created_at, it.hidden.cadence_base) = (at("2026-11-10 12:00"), date("2026-11-10"));
    let since = at("2026-11-17 12:00");
    it.snoozed_until = Some(at("2026-11-22T23:00:00Z"));
    it.reminders.silent = Some(Silent { reason: Reason::Snoozed, since });
    let first = |now| foresee(&context(&rules, &it, &people), at(now)).next().expect("it goes on");
    assert_eq!(first("2026-11-20 12:00").missed, []);
    let overdue = first("2026-11-24 12:00").missed;
    assert_eq!(
        overdue.iter().map(|gap| gap.reason).collect::<Vec<_>>(),
        [Reason::Snoozed, Reason::Superseded]
    );
}

#[test]
fn an_escalation_waits_for_its_recipient_past_the_next_slot() {
    let rules = berlin(&[after(1, EscalateTo::ProductOps, None)]);
    let (it, mut people) = daily();
    people[3].reach.days_off = DaysOff { weekdays: vec![Weekday::Tue, Weekday::Wed], ..DaysOff::default() };
    let all: Vec<Foreseen> =
        foresee(&context(&rules, &it, &people), at("2026-11-20 12:00")).take(4).collect();
    assert_eq!((all[1].steps.len(), told(&all[1])), (1, rows(&[(Kind::Cadence, "2026-11-24", None)])));
    let escalation = (Kind::Escalation, "2026-11-24", None);
    assert_eq!(told(&all[3]), rows(&[escalation, (Kind::Cadence, "2026-11-26", None)]));
}

#[test]
fn the_outlook_says_what_is_escalated_with_the_next_slot() {
    let to_ops = after(2, EscalateTo::ProductOps, None);
    let (mut it, people) = daily();
    it.reminders.unheeded = 2;
    let look = |it: &Onboarding, step: EscalationStep| {
        outlook(&context(&berlin(&[step]), it, &people), at("2026-11-20 12:00"), None, 3)
    };
    let found = look(&it, to_ops);
    let nine = at("2026-11-23T09:00:00+01:00");
    let [escalates] = &found.escalates[..] else { panic!("{found:?}") };
    assert_eq!(escalates.step, to_ops);
    let to = escalates.to.as_ref().expect("somebody");
    assert_eq!(to.len(), 2);
    assert!(to.iter().all(|it| it.target.why.as_str() == "escalated" && it.sends == Ok(nine)), "{to:?}");
    assert_eq!(found.coming.len(), 3);

    let pausing = EscalationStep { set_state: Some(State::Paused), ..to_ops };
    let found = look(&it, pausing);
    assert_eq!(found.coming.iter().map(|it| it.slot.due_at).collect::<Vec<_>>(), [nine]);
    let told = found.recipients.expect("somebody");
    assert!(told.iter().all(|it| it.sends == Err(Reason::Paused)), "{told:?}");

    assert_eq!(look(&it, after(3, EscalateTo::ProductOps, None)).escalates, []);
    it.reminders.escalated = 2;
    assert_eq!(look(&it, to_ops).escalates, []);
    it.state = State::Paused;
    stand(&mut it, None);
    assert_eq!(look(&it, after(1, EscalateTo::Csm, None)).escalates, [], "nothing comes");
}

/// A row of the model's ledger: what it is, its date, to whom, what became of it.
type Line = (Kind, NaiveDate, String, Result<DateTime<Utc>, Reason>);

fn line(kind: Kind, slot: Slot, to: Option<&Target>, fate: Result<DateTime<Utc>, Reason>) -> Line {
    let to = to.map(|to| format!("{} by {}", to.recipient, to.channel)).unwrap_or_default();
    (kind, slot.date, to, fate)
}

/// What waits to be sent: what it is, its slot, to whom, from when on, and the steps that an escalation stands for.
type Waiting = (Kind, Slot, Target, DateTime<Utc>, Vec<TakenStep>);

/// A scheduler by the clock: plans what is due, sends what may go out, sleeps until the next of both.
struct Scheduler<'a> {
    context: Context<'a>,
    it: Onboarding,
    waiting: Vec<Waiting>,
    counted: Option<NaiveDate>,
    ledger: Vec<Line>,
    steps: Vec<(DateTime<Utc>, EscalationStep)>,
}

impl Scheduler<'_> {
    /// Plays until the planning number `plans`, which supersedes and plans no more.
    fn play(mut self, mut now: DateTime<Utc>, mut plans: usize) -> Self {
        loop {
            if let Some(due_at) = self.it.reminders.next_reminder_at.filter(|due| *due <= now) {
                let date = self.it.reminders.next_slot.expect("it has a date");
                if !self.plan(Slot { date, due_at }, now, plans == 0) {
                    return self;
                }
                plans -= 1;
            }
            self.dispatch(now);
            let next = self.waiting.iter().map(|it| it.3).chain(self.it.reminders.next_reminder_at).min();
            let Some(next) = next else { return self };
            assert!(next > now);
            now = next;
        }
    }

    fn plan(&mut self, pending: Slot, now: DateTime<Utc>, last: bool) -> bool {
        let Context { rules, people, configured, primary_contact, .. } = self.context;
        let Step { due, next, silent, .. } =
            step(rules, &self.it, CustomerStatus::Active, false, pending, now);
        if due.is_some() {
            let (older, kept): (Vec<_>, _) = self.waiting.drain(..).partition(|it| it.0 != Kind::Escalation);
            self.waiting = kept;
            let gone = older.iter().map(|it| line(it.0, it.1, Some(&it.2), Err(Reason::Superseded)));
            self.ledger.extend(gone);
        }
        if last {
            return false;
        }
        let before = self.it.clone();
        stand(&mut self.it, next);
        self.it.reminders.silent = silent;
        let Some(due) = due else { return true };
        self.it.reminders.last_slot = Some(due.slot.date);
        let mut found: Vec<(Kind, Result<Target, Reason>, Vec<TakenStep>)> = Vec::new();
        let mut steps = rules.escalation.clone();
        steps.sort_by_key(|it| it.after_reminders);
        let reminded = before.reminders;
        for step in steps
            .into_iter()
            .filter(|it| (1 + reminded.escalated..=reminded.unheeded).contains(&it.after_reminders))
        {
            match escalation(rules, &before, people, configured, step.to) {
                Ok(to) => {
                    found.extend(to.into_iter().map(|to| (Kind::Escalation, Ok(to), vec![step.taken()])));
                }
                Err(reason) => found.push((Kind::Escalation, Err(reason), vec![step.taken()])),
            }
            self.steps.push((now, step));
            self.it.reminders.escalated = step.after_reminders;
            self.it.state = step.set_state.unwrap_or(self.it.state);
        }
        match audience(rules, &before, people, configured, None) {
            Ok(to) => found.extend(to.into_iter().map(|to| (Kind::Cadence, Ok(to), vec![]))),
            Err(reason) => found.push((Kind::Cadence, Err(reason), vec![])),
        }
        let nudge = nudge(rules, &before, primary_contact, configured);
        found.extend(nudge.map(|to| (Kind::Customer, to, vec![])));
        let address = |to: &Target| (to.channel, to.recipient.clone());
        let mut seen = Vec::new();
        for (kind, to, mut steps) in found {
            let key = (kind, to.as_ref().ok().map(address));
            if seen.contains(&key) {
                let known = self.waiting.iter_mut().find(|it| key == (it.0, Some(address(&it.2))));
                if let Some(known) = known {
                    known.4.extend(&steps);
                }
                continue;
            }
            if kind == Kind::Escalation {
                let (older, kept): (Vec<_>, _) =
                    self.waiting.drain(..).partition(|it| key == (it.0, Some(address(&it.2))));
                self.waiting = kept;
                steps.extend(older.iter().flat_map(|it| &it.4));
                let gone = older.iter().map(|it| line(it.0, it.1, Some(&it.2), Err(Reason::Superseded)));
                self.ledger.extend(gone);
            }
            seen.push(key);
            match to {
                Ok(to) => {
                    let at = spread(&rules.policy, due.send_after, &to.recipient.to_string(), to.channel);
                    self.waiting.push((kind, due.slot, to, at.max(now), steps));
                }
                Err(reason) => self.ledger.push(line(kind, due.slot, None, Err(reason))),
            }
        }
        if self.it.state == State::Paused {
            stand(&mut self.it, None);
        }
        true
    }

    fn dispatch(&mut self, now: DateTime<Utc>) {
        for (kind, slot, to, at, steps) in std::mem::take(&mut self.waiting) {
            if at > now {
                self.waiting.push((kind, slot, to, at, steps));
                continue;
            }
            let context = Context { onboarding: &self.it, ..self.context };
            let planned = Planned {
                kind,
                slot: &slot.date.to_string(),
                due_at: slot.due_at,
                channel: to.channel,
                recipient: &to.recipient,
                channels: None,
                steps: Some(&steps[..]).filter(|_| kind == Kind::Escalation),
                last_escalation: None,
            };
            let fate = match recheck(&context, &planned, now) {
                Verdict::Later(later) => {
                    self.waiting.push((kind, slot, to, later, steps));
                    continue;
                }
                Verdict::Send => Ok(now),
                Verdict::Skip(reason) => Err(reason),
            };
            self.ledger.push(line(kind, slot, Some(&to), fate));
            if fate.is_ok() && kind == Kind::Cadence && self.counted < Some(slot.date) {
                self.counted = Some(slot.date);
                self.it.reminders.unheeded += 1;
            }
        }
    }
}

fn states() -> impl Strategy<Value = State> {
    sample::select(State::ALL.to_vec())
}

fn some_rules() -> impl Strategy<Value = Rules> {
    let step = (1_u32..6, sample::select(TO.to_vec()), prop::option::of(states()));
    let escalation = prop::collection::vec(step.prop_map(|(count, to, state)| after(count, to, state)), 0..5);
    let flags: [BoxedStrategy<bool>; 3] =
        [any::<bool>().boxed(), any::<bool>().boxed(), any::<bool>().boxed()];
    let days = sample::subsequence(EVERY_DAY.to_vec(), 3..=7);
    (escalation, flags, 0_u16..120, days).prop_map(
        |(escalation, [nudge_customer, skip, staff], minutes, days)| {
            let policy = Policy {
                catch_up: if skip { CatchUp::Skip } else { CatchUp::Once },
                spread_minutes: minutes,
                working_days: days,
                ..office("Europe/Berlin", "09:00")
            };
            let base = if staff { ops() } else { Rules::default() };
            Rules { policy, escalation, nudge_customer, ..base }
        },
    )
}

/// Hours, days off, switches and mutes of people who are there or not.
fn some_people() -> impl Strategy<Value = Vec<User>> {
    let quiet = prop::option::of((0_u32..24, 0_u32..24));
    let off = sample::subsequence(EVERY_DAY.to_vec(), 0..=4);
    let person = (quiet, off, prop::option::of(0_i64..400), any::<[bool; 2]>(), prop::bool::weighted(0.8));
    prop::collection::vec(person, 4).prop_map(|all| {
        let (_, mut people) = staffed();
        for (user, (quiet, weekdays, muted, [email, slack], active)) in people.iter_mut().zip(all) {
            let hour = |hour: u32| time(&format!("{hour:02}:30"));
            user.reach.quiet_hours = quiet.map(|(from, to)| QuietHours { from: hour(from), to: hour(to) });
            user.reach.days_off = DaysOff { weekdays, dates: Vec::new() };
            user.reach.mute_until = muted.map(|hours| at("2026-11-20 12:00") + TimeDelta::hours(hours));
            (user.reach.email_enabled, user.reach.slack_enabled) = (email, slack);
            user.active = active;
        }
        people
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_foreseen_is_what_a_scheduler_does_when_nobody_reacts(
        rules in some_rules(), people in some_people(), state in states(), unheeded in 0_u32..6, escalated in 0_u32..4,
        every_days in 1_u16..5, hours in 0_i64..200, plans in 1_usize..16,
    ) {
        let (mut it, _) = daily();
        (it.state, it.reminder_frequency_days) = (state, every_days);
        (it.reminders.unheeded, it.reminders.escalated) = (unheeded.max(escalated), escalated);
        if state == State::Paused {
            stand(&mut it, None);
        }
        let contact = contact();
        let context = Context { primary_contact: Some(&contact), ..context(&rules, &it, &people) };
        let now = at("2026-11-20 12:00") + TimeDelta::hours(hours);
        let seen: Vec<Foreseen> = foresee(&context, now).take(plans).collect();
        let overdue = it.reminders.next_reminder_at.is_some_and(|due| due <= now);

        let found: Vec<Line> = seen.iter().flat_map(|it| &it.rows)
            .map(|row| line(row.kind, row.slot, row.target.as_ref(), row.fate)).collect();
        let steps: Vec<_> = seen.iter().flat_map(|it| it.steps.iter().map(|step| (it.at, *step))).collect();
        let (it, ledger, waiting) = (it.clone(), Vec::new(), Vec::new());
        let scheduler = Scheduler { context, it, waiting, counted: None, ledger, steps: Vec::new() };
        let played = scheduler.play(now, seen.len());
        prop_assert_eq!(&steps, &played.steps);
        // What is overdue and gives way as a whole is foreseen as a gap and not row by row.
        let alike = |mut all: Vec<Line>| {
            all.retain(|it| !overdue || it.3 != Err(Reason::Superseded));
            all.sort_by_key(|it| (it.1, it.0, it.2.clone(), Reverse(it.3.ok())));
            all
        };
        prop_assert_eq!(alike(found), alike(played.ledger));
        let last = seen.iter().rev().find_map(|it| it.state);
        prop_assert_eq!(last.unwrap_or(state), played.it.state);
    }
}
