//! Which slots an onboarding must have had in its time, and which it may have had: by the rhythm and the policy of each
//! day, walked through as time goes.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use usher_store::Delivery;

use crate::check::slot_of;
use crate::rules::{SKEW, Slot};
use crate::world::World;

/// A slot moves by so much at most when a policy changes: over a weekend, a bridge day and its neighbours.
pub(crate) const MOVES: TimeDelta = TimeDelta::days(10);

/// Slots by date.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// Due beyond doubt.
    pub(crate) sure: BTreeSet<Slot>,
    /// Those, and what depends on seconds or on a policy that changed meanwhile.
    pub(crate) possible: BTreeSet<Slot>,
    /// The rhythms that it had.
    pub(crate) spans: Vec<Span>,
}

/// A time of one rhythm: from when to when, counted from which date.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) from: DateTime<Utc>,
    pub(crate) until: DateTime<Utc>,
    base: NaiveDate,
    every: u16,
}

impl Span {
    /// Nominal dates up to a date.
    pub(crate) fn passed(&self, date: NaiveDate) -> i64 {
        (date - self.base).num_days().max(0) / i64::from(self.every)
    }
}

impl World {
    pub(crate) fn expected(&self, place: usize, rows: &[Delivery]) -> Expected {
        let it = &self.onboardings[place];
        let end = self.last_plan();
        let mut base = NaiveDate::MIN;
        let mut found = Expected::default();
        for (n, (from, counted_from, every)) in it.rhythms.iter().enumerate() {
            let until = it.rhythms.get(n + 1).map_or(end, |(next, ..)| *next);
            let before = rows.iter().filter(|row| self.true_time(row.planned_at) < *from);
            base = counted_from.or(before.filter_map(slot_of).max()).unwrap_or(base);
            let span = Span { from: *from, until, base, every: *every };
            self.may_be(place, &span, &mut found);
            self.must_be(place, &span, &mut found);
            found.spans.push(span);
        }
        found
    }

    /// Every slot of every policy, while it was in force.
    fn may_be(&self, place: usize, span: &Span, found: &mut Expected) {
        let policies = self.office(place).versions();
        for (n, (since, office)) in policies.iter().enumerate() {
            let until = policies.get(n + 1).map_or(span.until, |(next, _)| span.until.min(*next));
            // What is due when the rhythm changes is caught up by the new one, back to the last time that somebody was there.
            let begins = self.plans.range(..span.from).next_back().map_or(span.from, |(at, _)| *at);
            let from = begins.max(*since);
            if from < until {
                found.possible.extend(office.slots(span.base, span.every, from - SKEW, until + SKEW));
                // What is pending when it ends keeps its date; a pause that ended since may have made it pending.
                let kept = office.next_slot(span.base, span.every, until).date;
                found.possible.extend(policies[n + 1..].iter().map(|(_, later)| later.slot(kept)));
            }
        }
    }

    /// Slot after slot. What is pending when the policy changes keeps its date; its instant is that of the new policy.
    fn must_be(&self, place: usize, span: &Span, found: &mut Expected) {
        let policies = self.office(place).versions();
        let ends = |n: usize| policies.get(n + 1).map_or(span.until, |(next, _)| span.until.min(*next));
        let mut n = policies.iter().rposition(|(since, _)| *since <= span.from).unwrap_or(0);
        let mut after = span.from;
        // What was kept is its nominal date's slot, if anybody was reminded; what the new policy has for that date may be, too.
        let mut past = NaiveDate::MIN;
        'policies: loop {
            let office = &policies[n].1;
            let first = office.next_slot_past(span.base, span.every, after, past);
            for slot in office.slots(span.base, span.every, after, ends(n)).split_off(&first) {
                self.add(place, span, slot, None, found);
                after = slot.due;
            }
            if ends(n) == span.until {
                return;
            }
            let changed = ends(n);
            let kept = policies[n].1.next_slot_past(span.base, span.every, after, past).date;
            self.keep_snoozed(place, span, n, changed, found);
            loop {
                n += 1;
                let slot = policies[n].1.slot(kept);
                if slot.due <= ends(n) {
                    self.add(place, span, slot, Some(changed), found);
                    after = slot.due.max(policies[n].0);
                    past = slot.date;
                    continue 'policies;
                }
                if ends(n) == span.until {
                    return;
                }
            }
        }
    }

    /// While an onboarding is snoozed, it is the first slot after its end that is pending, and keeps its date.
    fn keep_snoozed(
        &self,
        place: usize,
        span: &Span,
        n: usize,
        changed: DateTime<Utc>,
        found: &mut Expected,
    ) {
        let policies = self.office(place).versions();
        let snoozed = self.onboardings[place].job.at(changed).snoozed.filter(|end| *end > changed);
        let Some(end) = snoozed else { return };
        let kept = policies[n].1.next_slot(span.base, span.every, end - TimeDelta::microseconds(1)).date;
        for (_, policy) in &policies[n + 1..] {
            found.possible.insert(policy.slot(kept));
        }
    }

    /// Whether a change of policy found the onboarding snoozed, and may have kept a slot in this one's place.
    fn may_give_way(&self, place: usize, slot: Slot) -> bool {
        let it = &self.onboardings[place];
        let every =
            TimeDelta::days(i64::from(it.rhythms.iter().map(|(.., every)| *every).max().unwrap_or(0)));
        self.office(place).changes().skip(1).any(|changed| {
            let end = it.job.at(changed).snoozed.filter(|end| *end > changed);
            end.is_some_and(|end| slot.due > changed && slot.due <= end + every + MOVES)
        })
    }

    /// Whether a snooze was over when the policy changed, and something about the onboarding changed before the slot. A
    /// snooze ends with the first slot or change after it, whichever comes first.
    fn comes_back(&self, place: usize, span: &Span, since: DateTime<Utc>, slot: Slot) -> bool {
        let it = &self.onboardings[place].job;
        let earliest = slot.due - TimeDelta::days(i64::from(span.every)) - MOVES;
        it.at(since).snoozed.is_some_and(|end| end > earliest)
            && it.changes().any(|at| at > since && at <= slot.due + SKEW)
    }

    /// `kept_since` is the change of policy over which the slot kept its date.
    fn add(
        &self,
        place: usize,
        span: &Span,
        slot: Slot,
        kept_since: Option<DateTime<Utc>>,
        found: &mut Expected,
    ) {
        found.possible.insert(slot);
        let wanted = |at: DateTime<Utc>| self.unwanted_at(place, slot.due, at, at).is_none();
        let stands = match kept_since {
            // Whoever comes back from a silence gets the new policy's next slot instead.
            Some(since) => {
                self.span(place, since, slot.due.max(since)).into_iter().all(wanted)
                    && !self.comes_back(place, span, since, slot)
            }
            // Of a silence the policy tells that holds when it ends.
            None if !wanted(slot.due) => {
                let end = self.span(place, slot.due, span.until).into_iter().filter(|at| wanted(*at)).min();
                !self.policy_moved(place, slot.due - MOVES, end.unwrap_or(span.until))
            }
            None => !self.may_give_way(place, slot),
        };
        let inside = slot.due > span.from + SKEW && slot.due <= span.until - SKEW;
        if stands && (inside || kept_since.is_some()) && !self.is_murky(slot.due) {
            found.sure.insert(slot);
        }
    }
}
