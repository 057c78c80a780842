//! The end of the year: the whole ledger against the model. Nothing due may be missing, nothing may be there that was not
//! due, and what is called sent must have arrived.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use usher_lifecycle::Phase;
use usher_lifecycle::reminder::Kind;
use usher_store::{Delivery, Status};

use crate::attempts::{Attempt, Fate};
use crate::digests::Digests;
use crate::expected::{Expected, MOVES};
use crate::rules::{Person, SKEW, Slot, Targets};
use crate::run::Stage;
use crate::world::World;

/// What is planned goes out within so long: holidays, a weekend and a day off.
const LONGEST: TimeDelta = TimeDelta::days(7);

/// From the last look at the ledger to the answer of a channel, at most.
const FLIGHT: TimeDelta = TimeDelta::minutes(5);

impl Stage {
    /// Checks everything; faults go to the others in the world.
    pub(crate) fn check(&self) {
        let count = self.world().onboardings.len();
        let mut digests = Digests::default();
        for place in 0..count {
            let id = self.world().onboardings[place].id.clone();
            let rows = self.ledger(&id);
            let mut world = self.world();
            let mut faults = Vec::new();
            let one = One { world: &world, place, rows: &rows };
            one.slots(&mut faults);
            one.outcomes(&mut faults);
            one.targets(&mut faults);
            one.escalations(&mut faults);
            one.digests(&mut digests, &mut faults);
            let at_risk_since = one.at_risk_since();
            let story = (!faults.is_empty() && world.stories.len() < 3).then(|| one.story());
            world.stories.extend(story);
            for row in &rows {
                world.count(match (row.status, row.kind) {
                    (Status::Sent, Kind::Escalation) => "ledger: sent escalations",
                    (Status::Pending, _) => "ledger: pending",
                    (Status::Sent, _) => "ledger: sent",
                    (Status::Failed, _) => "ledger: failed",
                    (Status::Ambiguous, _) => "ledger: ambiguous",
                    (Status::Skipped, _) => "ledger: skipped",
                });
            }
            drop(world);
            faults.extend(at_risk_since.and_then(|since| self.check_state(place, since)));
            for text in faults {
                self.world().fault(format!("{id}: {text}"));
            }
        }
    }
}

/// An onboarding and its ledger.
pub(crate) struct One<'a> {
    pub(crate) world: &'a World,
    pub(crate) place: usize,
    pub(crate) rows: &'a [Delivery],
}

/// First slot, last slot, how many.
pub(crate) fn gap(row: &Delivery) -> Option<(NaiveDate, NaiveDate, u64)> {
    let detail = row.detail.as_ref()?;
    let date = |name: &str| detail[name].as_str()?.parse().ok();
    Some((date("first_slot")?, date("last_slot")?, detail["slots"].as_u64()?))
}

pub(crate) fn slot_of(row: &Delivery) -> Option<NaiveDate> {
    (row.kind == Kind::Cadence && gap(row).is_none()).then(|| row.slot.parse().unwrap())
}

impl One<'_> {
    /// When nothing was wanted any more, for good.
    fn ended(&self) -> Option<DateTime<Utc>> {
        let it = &self.world.onboardings[self.place];
        let client = &self.world.customers[it.client].client;
        let job = |at: &DateTime<Utc>| it.job.at(*at).deleted || it.job.at(*at).phase == Phase::Completed;
        let left = |at: &DateTime<Utc>| client.at(*at).deleted;
        it.job.changes().find(job).into_iter().chain(client.changes().find(left)).min()
    }

    fn slots(&self, faults: &mut Vec<String>) {
        let Expected { sure, possible, spans } = self.world.expected(self.place, self.rows);
        let planned: BTreeSet<NaiveDate> = self.rows.iter().filter_map(slot_of).collect();
        for span in spans {
            let within = |row: &&Delivery| {
                let at = self.world.true_time(row.planned_at);
                at > span.from + SKEW && at < span.until - SKEW
            };
            let slots: BTreeSet<_> = self.rows.iter().filter(within).filter_map(slot_of).collect();
            for (one, next) in slots.iter().zip(slots.iter().skip(1)) {
                if span.passed(*one) == span.passed(*next) {
                    faults.push(format!("{one} and {next} are slots of one nominal date"));
                }
            }
        }
        let gaps: Vec<_> = self.rows.iter().filter_map(|row| Some((row, gap(row)?))).collect();
        let mut wanted: Vec<Slot> = sure.iter().copied().collect();
        if let Some(ended) = self.ended() {
            wanted.retain(|slot| slot.due <= ended - SKEW);
        }
        // What a silence swallows is told when it ends; this one has not.
        let unwanted =
            |slot: &Slot| self.world.unwanted_at(self.place, slot.due, slot.due, slot.due).is_some();
        while wanted.last().is_some_and(unwanted) {
            wanted.pop();
        }
        for slot in wanted {
            let told = gaps.iter().any(|(_, (first, last, _))| (*first..=*last).contains(&slot.date));
            if !planned.contains(&slot.date) && !told {
                faults.push(format!("the slot {} vanished", slot.date));
            }
        }
        // Of what was missed, only the latest is sent.
        for slot in &planned {
            let rows = self.rows.iter().filter(|row| slot_of(row) == Some(*slot));
            let planned_at = rows.map(|row| row.planned_at).min().unwrap();
            if let Some(later) = sure.iter().find(|it| it.date > *slot && it.due <= planned_at) {
                faults.push(format!("the slot {slot} was planned when {} was due", later.date));
            }
        }
        let dates: BTreeSet<NaiveDate> = possible.iter().map(|slot| slot.date).collect();
        for date in planned.difference(&dates) {
            let murky =
                self.world.set_back.iter().any(|(from, _)| (from.date_naive() - *date).num_days().abs() < 3);
            if !murky {
                faults.push(format!("{date} is no slot of its rhythm"));
            }
        }
        for (row, (first, last, count)) in gaps {
            let inside = |slots: &BTreeSet<Slot>| -> Vec<Slot> {
                slots.iter().filter(|it| (first..=last).contains(&it.date)).copied().collect()
            };
            let (least, most) = (inside(&sure), inside(&possible));
            if most.iter().any(|slot| self.world.is_murky(slot.due)) || self.world.is_murky(row.planned_at) {
                continue;
            }
            // A gap is counted by the policy and the rhythm that hold when it is told.
            let (begins, told) =
                (first.and_time(NaiveTime::MIN).and_utc() - MOVES, self.world.true_time(row.planned_at));
            let mut rhythms = self.world.onboardings[self.place].rhythms.iter().skip(1);
            let moved = self.world.policy_moved(self.place, begins, told)
                || rhythms.any(|(at, ..)| *at >= begins && *at <= told);
            let right = u64::try_from(least.len()).unwrap()..=u64::try_from(most.len()).unwrap();
            if !moved && !right.contains(&count) {
                faults.push(format!("the gap {first}..{last} counts {count} slots, not {right:?}"));
            }
            self.gap_reason(row, &most, moved, faults);
        }
    }

    fn gap_reason(&self, row: &Delivery, slots: &[Slot], moved: bool, faults: &mut Vec<String>) {
        let reason = row.reason.as_deref().unwrap_or_default();
        let (Some(first), Some(last)) = (slots.first(), slots.last()) else { return };
        let right = match reason {
            // Nobody was there while these were the latest, by the policy of the time.
            "superseded" | "too_late" => {
                let reforms = self.world.office(self.place).changes().filter(|at| *at < row.planned_at);
                let since = reforms.max().map_or(last.due, |reform| last.due.max(reform + SKEW));
                !self.world.was_planned(since, self.world.true_time(row.planned_at))
            }
            // A snooze explains what was due before its end, and nothing after it.
            "snoozed" => self.moments(first.due, row.planned_at).any(|at| {
                let after = if moved { first.due - MOVES } else { last.due };
                self.world.onboardings[self.place].job.at(at).snoozed.is_some_and(|end| end > after)
            }),
            _ => {
                let before = first.due - TimeDelta::days(400);
                self.moments(before, row.planned_at)
                    .any(|at| self.world.silence_at(self.place, at) == Some(reason))
            }
        };
        if !right {
            faults.push(format!("the gap {} is called {reason}, which it is not", row.slot));
        }
    }

    /// Everything that changed around the onboarding from one instant to another, by any host's clock.
    fn moments(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let (from, to) = (from - SKEW, to + SKEW);
        let roles = self.world.onboardings[self.place].job.versions().iter().flat_map(|(_, job)| job.roles);
        let roles: BTreeSet<usize> = roles.flatten().collect();
        let people = roles.into_iter().flat_map(|person| self.world.people[person].changes());
        let people: Vec<_> = people.filter(|at| *at >= from && *at <= to).collect();
        self.world.span(self.place, from, to).into_iter().chain(people)
    }

    fn attempts(&self, row: &Delivery) -> &[Attempt] {
        let (Some(channel), Some(recipient)) = (row.channel, &row.recipient) else { return &[] };
        let key = (self.place, row.kind, row.slot.clone(), channel, recipient.to_string());
        self.world.attempts.of.get(&key).map_or(&[], Vec::as_slice)
    }

    /// What the ledger says became of each delivery is what did.
    fn outcomes(&self, faults: &mut Vec<String>) {
        for row in self.rows.iter().filter(|row| gap(row).is_none()) {
            let attempts = self.attempts(row);
            let what =
                format!("{} {} by {:?} to {:?}", row.kind.as_str(), row.slot, row.channel, row.recipient);
            let taken = attempts.iter().any(|it| it.fate == Fate::Taken);
            if taken && row.status != Status::Sent {
                faults.push(format!("{what} was accepted, and is {}", row.status.as_str()));
            }
            // Each attempt of unknown fate that was repeated is counted, by whoever repeated it.
            let unknown = attempts.iter().rev().skip(1).filter(|it| it.fate == Fate::Unknown).count();
            if row.ambiguities < i64::try_from(unknown).unwrap() {
                faults.push(format!("{what} has {} ambiguities, of {unknown}", row.ambiguities));
            }
            let id =
                |it: &Attempt| it.message_id.trim_matches(['<', '>']).split('@').next().map(str::to_owned);
            match row.status {
                // A day off may still lie before what was planned last.
                Status::Pending if self.world.last_plan() - row.due_at < LONGEST => {}
                Status::Pending => faults.push(format!("{what} is pending for good")),
                Status::Sent => {
                    if !attempts.iter().any(|it| it.arrived && id(it) == row.message_id) {
                        faults.push(format!("{what} is called sent, and never arrived"));
                    }
                    let sent = row.sent_at.unwrap_or(row.planned_at);
                    if row.kind == Kind::Escalation
                        && !self.world.is_murky(sent)
                        && !self.moments(sent, sent).any(|at| self.is_escalated_to(row, at))
                    {
                        faults.push(format!("{what} was sent, and its step tells others"));
                    }
                    // One that is on its way, or a clock behind, may be overtaken.
                    let known = sent - SKEW * 2 - FLIGHT;
                    let mut later = self.later_escalations(row);
                    if let Some(later) =
                        later.find(|it| it.status != Status::Skipped && it.planned_at < known)
                    {
                        faults.push(format!("{what} was sent after that of {} was planned", later.slot));
                    }
                }
                Status::Failed => {
                    if !attempts.iter().any(|it| it.fate == Fate::Refused) {
                        faults.push(format!("{what} has failed, and nobody refused it: {:?}", row.reason));
                    }
                }
                Status::Ambiguous => {
                    if row.ambiguities == 0 {
                        faults.push(format!("{what} is called ambiguous without a reason"));
                    }
                }
                Status::Skipped => {
                    if attempts.iter().any(|it| it.arrived) {
                        faults.push(format!("{what} arrived, and is called skipped: {:?}", row.reason));
                    }
                    self.skip_reason(row, &what, faults);
                }
            }
        }
        for (id, at, _) in &self.world.onboardings[self.place].requests {
            if !self.rows.iter().any(|row| row.slot == *id) {
                faults.push(format!("{id}, asked for at {at}, vanished"));
            }
        }
    }

    /// Whether the row's recipient is one whom a step tells that it stands for: that with which it was planned, or one of an
    /// older row that gave way to it.
    fn is_escalated_to(&self, row: &Delivery, at: DateTime<Utc>) -> bool {
        let Some(detail) = &row.detail else { return false };
        let also = detail["also"].as_array().into_iter().flatten();
        let steps = [detail].into_iter().chain(also).map(|step| step["after_reminders"].as_u64().unwrap());
        let told: Targets =
            steps.flat_map(|after| self.world.escalation_at(self.place, at, Some(after))).collect();
        row.channel.zip(row.recipient.as_ref()).is_some_and(|(by, to)| told.contains(&(by, to.to_string())))
    }

    /// Those of later slots to the same recipient by the same channel: they stand for an escalation.
    fn later_escalations(&self, row: &Delivery) -> impl Iterator<Item = &Delivery> {
        let same = move |it: &&Delivery| (it.channel, &it.recipient) == (row.channel, &row.recipient);
        let escalations = self.rows.iter().filter(|it| it.kind == Kind::Escalation);
        escalations.filter(move |it| it.slot > row.slot).filter(same)
    }

    fn skip_reason(&self, row: &Delivery, what: &str, faults: &mut Vec<String>) {
        let reason = row.reason.as_deref().unwrap_or_default();
        if self.world.is_murky(row.planned_at) {
            return;
        }
        let until = row.planned_at + TimeDelta::days(40);
        let target = row.channel.zip(row.recipient.as_ref().map(ToString::to_string));
        let given = self.world.onboardings[self.place].requests.iter().find(|(id, ..)| *id == row.slot);
        let given = given.and_then(|(_, _, channels)| channels.as_deref());
        let mut moments = self.moments(row.planned_at, until);
        let right = match reason {
            // By a newer slot, or by the gap that tells of newer ones.
            "superseded" if row.kind == Kind::Escalation => self.later_escalations(row).next().is_some(),
            "superseded" => self.rows.iter().any(|it| it.kind == Kind::Cadence && it.slot > row.slot),
            "muted" => {
                let person = |it: &&crate::world::History<Person>| {
                    target.as_ref().is_some_and(|(_, to)| *to == format!("user:{}", it.now().id))
                };
                let person = self.world.people.iter().find(person);
                moments.any(|at| person.is_some_and(|it| it.at(at).is_muted(row.due_at)))
            }
            "snoozed" => moments.any(|at| {
                self.world.onboardings[self.place].job.at(at).snoozed.is_some_and(|end| end > row.due_at)
            }),
            "heeded" => {
                let it = &self.world.onboardings[self.place];
                it.heeded.iter().chain(&it.put_off).any(|heeded| *heeded > row.due_at - SKEW)
            }
            "no_longer_responsible" | "channel_off" | "channel_broken" | "no_recipient" | "channels_off"
                if row.kind == Kind::Escalation =>
            {
                moments.any(|at| !self.is_escalated_to(row, at))
            }
            "no_longer_responsible" | "channel_off" | "channel_broken" | "no_recipient" | "channels_off" => {
                moments.any(|at| match self.world.audience_at(self.place, at, given) {
                    Ok(targets) => target.as_ref().is_some_and(|target| !targets.contains(target)),
                    Err(why) => why == reason || target.is_some(),
                })
            }
            _ => moments.any(|at| self.world.silence_at(self.place, at) == Some(reason)),
        };
        if !right {
            faults.push(format!("{what} is skipped as {reason}, which it is not"));
        }
    }

    /// Everybody whom a slot concerned when it was planned has a row, and nobody else.
    fn targets(&self, faults: &mut Vec<String>) {
        let mut slots: BTreeMap<&str, Vec<&Delivery>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| gap(row).is_none() && row.kind != Kind::Escalation) {
            slots.entry(&row.slot).or_default().push(row);
        }
        for (slot, rows) in slots {
            let planned_at = rows.iter().map(|row| row.planned_at).min().unwrap();
            if self.world.is_murky(planned_at) {
                continue;
            }
            let request = self.world.onboardings[self.place].requests.iter().find(|(id, ..)| id == slot);
            let given = request.and_then(|(_, _, channels)| channels.as_deref());
            let first: Vec<_> = rows.iter().filter(|row| row.planned_at == planned_at).collect();
            let told: Targets = first
                .iter()
                .filter_map(|row| Some((row.channel?, row.recipient.as_ref()?.to_string())))
                .collect();
            let all_sent = first.iter().all(|row| row.status == Status::Sent);
            let planned = self.world.true_time(planned_at);
            // Whoever was changed in those seconds was read before or after it.
            let near = |at: &DateTime<Utc>| (*at - planned).abs() <= TimeDelta::seconds(2);
            let before = |at: DateTime<Utc>| [at, at - TimeDelta::microseconds(1)];
            let right = |at: DateTime<Utc>| match self.world.audience_at(self.place, at, given) {
                Ok(wanted) => wanted.is_subset(&told) && (!all_sent || wanted == told),
                Err(why) => rows.iter().any(|row| row.reason.as_deref() == Some(why)),
            };
            if right(planned) || self.moments(planned, planned).filter(near).flat_map(before).any(right) {
                continue;
            }
            let wanted = self.world.audience_at(self.place, planned, given);
            faults.push(format!("slot {slot} was planned for {told:?}, not for {wanted:?}"));
        }
    }
}
