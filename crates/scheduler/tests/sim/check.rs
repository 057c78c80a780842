//! The end of the year: the whole ledger against the model. Nothing due may be missing, nothing may be there that was not
//! due, and what is called sent must have arrived.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use usher_lifecycle::Phase;
use usher_lifecycle::reminder::{Channel, Kind};
use usher_store::{Delivery, Status};

use crate::attempts::{Attempt, Fate};
use crate::rules::{Person, Slot, Targets};
use crate::run::Stage;
use crate::world::World;

/// What is planned goes out within so long: holidays, a weekend and a day off.
const LONGEST: TimeDelta = TimeDelta::days(7);

/// Tenant, channel, recipient, due time, when it was planned.
type Digest = (usize, Channel, String, DateTime<Utc>, DateTime<Utc>);

impl Stage {
    /// Checks everything; faults go to the others in the world.
    pub(crate) fn check(&self) {
        let count = self.world().onboardings.len();
        let mut digests = HashMap::new();
        for place in 0..count {
            let id = self.world().onboardings[place].id.clone();
            let rows = self.ledger(&id);
            let mut world = self.world();
            let mut faults = Vec::new();
            let one = One { world: &world, place, rows: &rows };
            one.slots(&mut faults);
            one.outcomes(&mut faults);
            one.targets(&mut faults);
            one.digests(&mut digests, &mut faults);
            let counted = rows.iter().map(|row| match row.status {
                Status::Pending => "ledger: pending",
                Status::Sent => "ledger: sent",
                Status::Failed => "ledger: failed",
                Status::Ambiguous => "ledger: ambiguous",
                Status::Skipped => "ledger: skipped",
            });
            counted.for_each(|what| world.count(what));
            for text in faults {
                world.fault(format!("{id}: {text}"));
            }
        }
    }
}

/// An onboarding and its ledger.
struct One<'a> {
    world: &'a World,
    place: usize,
    rows: &'a [Delivery],
}

/// First slot, last slot, how many.
fn gap(row: &Delivery) -> Option<(NaiveDate, NaiveDate, u64)> {
    let detail = row.detail.as_ref()?;
    let date = |name: &str| detail[name].as_str()?.parse().ok();
    Some((date("first_slot")?, date("last_slot")?, detail["slots"].as_u64()?))
}

fn slot_of(row: &Delivery) -> Option<NaiveDate> {
    (row.kind == Kind::Cadence && gap(row).is_none()).then(|| row.slot.parse().unwrap())
}

impl One<'_> {
    /// Every slot that fell due while the onboarding lived, by the rhythm of that time.
    fn expected(&self) -> BTreeSet<Slot> {
        let it = &self.world.onboardings[self.place];
        let office = &self.world.tenants[it.tenant].office;
        let end = self.world.plans.iter().max().copied().unwrap_or_default();
        let mut base = NaiveDate::MIN;
        let mut found = BTreeSet::new();
        for (n, (from, counted_from, every)) in it.rhythms.iter().enumerate() {
            let until = it.rhythms.get(n + 1).map_or(end, |(next, ..)| *next);
            let reminded = self.rows.iter().filter(|row| row.planned_at < *from).filter_map(slot_of).max();
            base = counted_from.or(reminded).unwrap_or(base);
            found.extend(office.slots(base, *every, *from, until));
        }
        found
    }

    /// When nothing was wanted any more, for good.
    fn ended(&self) -> Option<DateTime<Utc>> {
        let it = &self.world.onboardings[self.place];
        let client = &self.world.customers[it.client].client;
        let job = |at: &DateTime<Utc>| it.job.at(*at).deleted || it.job.at(*at).phase == Phase::Completed;
        let left = |at: &DateTime<Utc>| client.at(*at).deleted;
        it.job.changes().find(job).into_iter().chain(client.changes().find(left)).min()
    }

    fn slots(&self, faults: &mut Vec<String>) {
        let all = self.expected();
        let planned: BTreeSet<NaiveDate> = self.rows.iter().filter_map(slot_of).collect();
        let gaps: Vec<_> = self.rows.iter().filter_map(|row| Some((row, gap(row)?))).collect();
        let mut wanted: Vec<Slot> = all.iter().copied().collect();
        if let Some(ended) = self.ended() {
            wanted.retain(|slot| slot.due <= ended);
        }
        // What a silence swallows is told when it ends; this one has not.
        while wanted
            .last()
            .is_some_and(|slot| self.world.unwanted_at(self.place, slot.due, slot.due).is_some())
        {
            wanted.pop();
        }
        for slot in wanted.iter().filter(|slot| !self.world.is_murky(slot.due)) {
            let told = gaps.iter().any(|(_, (first, last, _))| (*first..=*last).contains(&slot.date));
            if !planned.contains(&slot.date) && !told {
                faults.push(format!("the slot {} vanished", slot.date));
            }
        }
        let dates: BTreeSet<NaiveDate> = all.iter().map(|slot| slot.date).collect();
        for date in planned.difference(&dates) {
            let murky =
                self.world.set_back.iter().any(|(from, _)| (from.date_naive() - *date).num_days().abs() < 3);
            if !murky {
                faults.push(format!("{date} is no slot of its rhythm"));
            }
        }
        for (row, (first, last, count)) in gaps {
            let inside: Vec<&Slot> = all.iter().filter(|it| (first..=last).contains(&it.date)).collect();
            if inside.iter().any(|slot| self.world.is_murky(slot.due)) || self.world.is_murky(row.planned_at)
            {
                continue;
            }
            if u64::try_from(inside.len()).unwrap() != count {
                faults.push(format!("the gap {first}..{last} counts {count} slots, not {}", inside.len()));
            }
            self.gap_reason(row, &inside, faults);
        }
    }

    fn gap_reason(&self, row: &Delivery, slots: &[&Slot], faults: &mut Vec<String>) {
        let reason = row.reason.as_deref().unwrap_or_default();
        let (Some(first), Some(last)) = (slots.first(), slots.last()) else { return };
        let right = match reason {
            // Nobody was there while these were the latest.
            "superseded" | "too_late" => {
                !self.world.plans.iter().any(|plan| *plan >= last.due && *plan < row.planned_at)
            }
            "snoozed" => self.moments(first.due, row.planned_at).any(|at| {
                self.world.onboardings[self.place].job.at(at).snoozed.is_some_and(|end| end > first.due)
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

    fn moments(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let people = self.world.people.iter().flat_map(crate::world::History::changes);
        let people: Vec<_> = people.filter(|at| *at >= from && *at <= to).collect();
        self.world.span(self.place, from, to).into_iter().chain(people)
    }

    fn attempts(&self, row: &Delivery) -> &[Attempt] {
        let (Some(channel), Some(recipient)) = (row.channel, &row.recipient) else { return &[] };
        let key = (self.place, row.slot.clone(), channel, recipient.to_string());
        self.world.attempts.of.get(&key).map_or(&[], Vec::as_slice)
    }

    /// What the ledger says became of each delivery is what did.
    fn outcomes(&self, faults: &mut Vec<String>) {
        for row in self.rows.iter().filter(|row| gap(row).is_none()) {
            let attempts = self.attempts(row);
            let what = format!("slot {} by {:?} to {:?}", row.slot, row.channel, row.recipient);
            let taken = attempts.iter().any(|it| it.fate == Fate::Taken);
            if taken && row.status != Status::Sent {
                faults.push(format!("{what} was accepted, and is {}", row.status.as_str()));
            }
            let id =
                |it: &Attempt| it.message_id.trim_matches(['<', '>']).split('@').next().map(str::to_owned);
            match row.status {
                // A day off may still lie before what was planned last.
                Status::Pending if self.world.plans.last().is_some_and(|end| *end - row.due_at < LONGEST) => {
                }
                Status::Pending => faults.push(format!("{what} is pending for good")),
                Status::Sent => {
                    if !attempts.iter().any(|it| it.arrived && id(it) == row.message_id) {
                        faults.push(format!("{what} is called sent, and never arrived"));
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
            "superseded" => self.rows.iter().filter_map(slot_of).any(|slot| slot.to_string() > row.slot),
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
        for row in self.rows.iter().filter(|row| gap(row).is_none()) {
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
            match self.world.audience_at(self.place, planned_at, given) {
                Ok(wanted) if !wanted.is_subset(&told) || (all_sent && wanted != told) => {
                    faults.push(format!("slot {slot} was planned for {told:?}, not for {wanted:?}"));
                }
                Err(why) if !rows.iter().any(|row| row.reason.as_deref() == Some(why)) => {
                    faults.push(format!("slot {slot} was planned for {told:?}; it is {why}"));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// What is due together for a person travels together.
    fn digests(&self, digests: &mut HashMap<Digest, (String, String)>, faults: &mut Vec<String>) {
        let tenant = self.world.onboardings[self.place].tenant;
        let moved = |slot: &str| self.rows.iter().any(|row| row.slot == slot && row.status != Status::Sent);
        for row in self.rows.iter().filter(|row| row.kind == Kind::Cadence && row.status == Status::Sent) {
            let plain = row.attempts == 1 && row.ambiguities == 0 && row.errors.is_empty();
            let (Some(channel), Some(recipient), Some(id)) = (row.channel, &row.recipient, &row.message_id)
            else {
                continue;
            };
            if !plain || moved(&row.slot) || row.why.ends_with("_broken") {
                continue;
            }
            let digest = (tenant, channel, recipient.to_string(), row.due_at, row.planned_at);
            let ours = (id.clone(), row.slot.clone());
            let known = digests.entry(digest).or_insert_with(|| ours.clone());
            if known.0 != ours.0 {
                faults.push(format!(
                    "slot {} to {recipient} by {channel} travelled alone: {}, the others {}",
                    row.slot, ours.0, known.0
                ));
            }
        }
    }
}
