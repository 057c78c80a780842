//! Escalations: a step is taken when so many reminders went unheeded and another one is due, once between two signs of
//! life, and never otherwise. Counted anew from the ledger.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use usher_lifecycle::State;
use usher_lifecycle::reminder::Kind;
use usher_store::{Delivery, Ref, Status};

use crate::check::{One, slot_of};
use crate::rules::{SKEW, Step, Targets, escalated_to};
use crate::run::Stage;

/// A reminder sent less than so long before is perhaps not recorded yet: its pass crashed, or is under way.
const RECORDED: TimeDelta = TimeDelta::hours(1);

/// The steps that were taken with each slot: after how many reminders, with the rows.
type Taken<'a> = BTreeMap<NaiveDate, BTreeMap<u64, Vec<&'a Delivery>>>;

impl One<'_> {
    /// Whether a target put off for the third time was a sign of life depends on whether a step had set the state before:
    /// what is wrong either way is a fault.
    pub(crate) fn escalations(&self, faults: &mut Vec<String>) {
        let it = &self.world.onboardings[self.place];
        let (mut found, mut other) = (Vec::new(), Vec::new());
        self.escalations_since(&it.heeded, &mut found);
        if !it.put_off.is_empty() {
            let heeded: Vec<_> = it.heeded.iter().chain(&it.put_off).copied().collect();
            self.escalations_since(&heeded, &mut other);
            found.retain(|text| other.contains(text));
        }
        faults.extend(found);
    }

    fn escalations_since(&self, signs: &[DateTime<Utc>], faults: &mut Vec<String>) {
        let steps = &self.world.office(self.place).now().escalation;
        let mut taken = Taken::new();
        for row in self.rows.iter().filter(|row| row.kind == Kind::Escalation) {
            let after = row.detail.as_ref().and_then(|step| step["after_reminders"].as_u64()).unwrap();
            taken.entry(row.slot.parse().unwrap()).or_default().entry(after).or_default().push(row);
        }
        let planned = self.planned();
        let sent = self.first_sent();
        for (slot, at) in &planned {
            let heeded = signs.iter().filter(|it| **it <= *at).max();
            let heeded = *heeded.unwrap_or(at);
            let near = |one: DateTime<Utc>, other: DateTime<Utc>| (one - other).abs() <= SKEW * 2;
            let life = signs.iter().any(|it| near(*it, *at));
            if life || self.world.is_murky(*at) {
                continue;
            }
            // Those that went out since, or perhaps did.
            let doubtful =
                |it: DateTime<Utc>| near(it, heeded) || *at - it < RECORDED || self.world.is_murky(it);
            let since = sent.iter().filter(|(other, it)| **other != *slot && **it < *at);
            let all: Vec<_> = since.filter(|(_, it)| **it > heeded - SKEW * 2).collect();
            let sure = all.iter().filter(|(_, it)| !doubtful(**it) && **it > heeded).count();
            let before = planned.iter().filter(|(_, it)| **it > heeded && **it < *at).map(|(date, _)| date);
            let highest =
                before.filter_map(|date| taken.get(date)?.last_key_value()).map(|(after, _)| *after).max();
            let none = BTreeMap::new();
            let now = taken.get(slot).unwrap_or(&none);
            for step in steps {
                let untaken = highest.is_none_or(|highest| step.after > highest);
                let unheeded = |count: usize| u64::try_from(count).unwrap() >= step.after;
                match now.get(&step.after) {
                    None if untaken && unheeded(sure) => {
                        faults.push(format!("step {} is not taken with slot {slot}", step.after));
                    }
                    Some(_) if !untaken || !unheeded(all.len()) => {
                        faults.push(format!(
                            "step {} is taken with slot {slot} too early, or again",
                            step.after
                        ));
                    }
                    Some(rows) => self.step_targets(*step, rows, *at, faults),
                    None => {}
                }
            }
            if let Some(after) = now.keys().find(|after| !steps.iter().any(|step| step.after == **after)) {
                faults.push(format!("step {after} is none of the policy's"));
            }
        }
        if let Some(slot) = taken.keys().find(|slot| !planned.contains_key(slot)) {
            faults.push(format!("an escalation came with slot {slot}, which was not planned"));
        }
    }

    /// When each slot was planned.
    fn planned(&self) -> BTreeMap<NaiveDate, DateTime<Utc>> {
        let mut found = BTreeMap::new();
        for row in self.rows {
            if let Some(slot) = slot_of(row) {
                let at = self.world.true_time(row.planned_at);
                found
                    .entry(slot)
                    .and_modify(|first: &mut DateTime<Utc>| *first = at.min(*first))
                    .or_insert(at);
            }
        }
        found
    }

    /// When the first message about each slot went out. A slot that went out after a later one does not count.
    fn first_sent(&self) -> BTreeMap<NaiveDate, DateTime<Utc>> {
        let mut found: BTreeMap<NaiveDate, DateTime<Utc>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.status == Status::Sent) {
            if let Some((slot, at)) = slot_of(row).zip(row.sent_at) {
                found.entry(slot).and_modify(|first| *first = at.min(*first)).or_insert(at);
            }
        }
        let late: BTreeSet<NaiveDate> = found
            .iter()
            .filter(|(slot, at)| found.range(**slot..).skip(1).any(|(_, later)| *later < **at))
            .map(|(slot, _)| *slot)
            .collect();
        found.retain(|slot, _| !late.contains(slot));
        found
    }

    fn step_targets(&self, step: Step, rows: &[&Delivery], at: DateTime<Utc>, faults: &mut Vec<String>) {
        let planned_at = rows.iter().map(|row| row.planned_at).min().unwrap();
        let first = rows.iter().filter(|row| row.planned_at == planned_at);
        let told: Targets =
            first.filter_map(|row| Some((row.channel?, row.recipient.as_ref()?.to_string()))).collect();
        let job = self.world.onboardings[self.place].job.at(at);
        let person = |person: usize| self.world.people[person].at(at).clone();
        let wanted = escalated_to(self.world.office(self.place).at(at), job, person, step);
        let right = match &wanted {
            Ok(wanted) => wanted.is_subset(&told),
            Err(why) => rows.iter().any(|row| row.reason.as_deref() == Some(*why)),
        };
        if !right {
            faults
                .push(format!("step {} of slot {} told {told:?}, not {wanted:?}", step.after, rows[0].slot));
        }
    }

    /// When the state was last set by a step.
    pub(crate) fn at_risk_since(&self) -> Option<DateTime<Utc>> {
        let steps = &self.world.office(self.place).now().escalation;
        let sets = |after: u64| steps.iter().any(|step| step.at_risk && step.after == after);
        let rows = self.rows.iter().filter(|row| row.kind == Kind::Escalation);
        let rows = rows.filter(|row| {
            row.detail.as_ref().is_some_and(|it| sets(it["after_reminders"].as_u64().unwrap()))
        });
        rows.map(|row| self.world.true_time(row.planned_at)).max()
    }
}

impl Stage {
    /// The store has the state that the last step of an escalation set, unless somebody changed it since.
    pub(crate) fn check_state(&self, place: usize, at_risk_since: DateTime<Utc>) -> Option<String> {
        let (id, tenant, heeded) = {
            let world = self.world();
            let it = &world.onboardings[place];
            (it.id.clone(), world.tenants[it.tenant].id, it.heeded.iter().max().copied())
        };
        if heeded.is_some_and(|at| at > at_risk_since - SKEW * 2) {
            return None;
        }
        let (runtime, store) = &self.api;
        let found = runtime.block_on(store.onboarding(tenant, true, &Ref::Id(id))).unwrap()?;
        (found.state != State::AtRisk)
            .then(|| format!("an escalation set its state, and it is {}", found.state))
    }
}
