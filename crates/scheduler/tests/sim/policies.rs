//! The three workspaces: what each decides for itself, and how it changes its mind during the year.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};
use usher_lifecycle::command::{PolicyPatch, WorkspacePatch};
use usher_lifecycle::reminder::policy::{EscalateTo, EscalationStep};
use usher_lifecycle::reminder::{Ambiguous, CatchUp, Policy, Rules, zone};
use usher_lifecycle::{Command, State};

use crate::chance::Chance;
use crate::changes::Wish;
use crate::rules::{Office, Step, Zone};
use crate::run::Stage;
use crate::world::World;

pub(crate) const WEEK: [Weekday; 5] = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri];

pub(crate) fn time(hours: u32, minutes: u32) -> NaiveTime {
    NaiveTime::from_hms_opt(hours, minutes, 0).unwrap()
}

fn dates(texts: &[&str]) -> BTreeSet<NaiveDate> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) fn offices() -> [Office; 3] {
    let plain = Office {
        zone: Zone::Utc,
        opens: time(9, 0),
        closes: time(18, 0),
        days: WEEK.to_vec(),
        holidays: BTreeSet::new(),
        catches_up: true,
        resends: true,
        spread: TimeDelta::zero(),
        ops_email: Some("ops@utc.example".to_owned()),
        ops_slack: None,
        escalation: Vec::new(),
    };
    let berlin = Office {
        zone: Zone::Berlin,
        opens: time(8, 30),
        closes: time(17, 0),
        holidays: dates(&[
            "2026-04-03",
            "2026-04-06",
            "2026-05-01",
            "2026-05-14",
            "2026-12-25",
            "2027-01-01",
        ]),
        resends: false,
        spread: TimeDelta::minutes(10),
        ops_email: None,
        ops_slack: Some("COPS".to_owned()),
        escalation: vec![
            Step { after: 2, to: Some(3), at_risk: false },
            Step { after: 4, to: None, at_risk: true },
        ],
        ..plain.clone()
    };
    let york = Office {
        zone: Zone::NewYork,
        opens: time(10, 0),
        closes: time(16, 0),
        days: [WEEK.as_slice(), &[Weekday::Sat]].concat(),
        holidays: dates(&["2026-07-04", "2026-11-26", "2026-12-25"]),
        catches_up: false,
        ops_email: None,
        escalation: vec![Step { after: 3, to: Some(0), at_risk: true }],
        ..plain.clone()
    };
    [plain, berlin, york]
}

pub(crate) fn rules(office: &Office) -> Rules {
    Rules {
        policy: Policy {
            time_zone: zone(office.zone.name()).unwrap(),
            time_of_day: office.opens,
            send_until: office.closes,
            working_days: office.days.clone(),
            holidays: office.holidays.clone(),
            catch_up: if office.catches_up { CatchUp::Once } else { CatchUp::Skip },
            spread_minutes: u16::try_from(office.spread.num_minutes()).unwrap(),
        },
        ambiguous: if office.resends { Ambiguous::Resend } else { Ambiguous::Hold },
        ops_email: office.ops_email.clone(),
        ops_slack_channel: office.ops_slack.clone(),
        escalation: office.escalation.iter().map(step).collect(),
        ..Rules::default()
    }
}

/// The step in the words of the API.
fn step(step: &Step) -> EscalationStep {
    let roles = [EscalateTo::Csm, EscalateTo::Se, EscalateTo::Designer, EscalateTo::ProductOps];
    EscalationStep {
        after_reminders: u32::try_from(step.after).unwrap(),
        to: step.to.map_or(EscalateTo::Fallback, |role| roles[role]),
        set_state: step.at_risk.then_some(State::AtRisk),
    }
}

impl Stage {
    /// When each workspace will change its policy: three times in a year.
    pub(crate) fn foresee_reforms(&self) {
        let mut reforms = self.reforms();
        for tenant in 0..self.world().tenants.len() {
            for _ in 0..3 {
                let minutes = self.chance().between(0, self.size.days * 1_440);
                reforms.push((self.clock.now() + TimeDelta::minutes(minutes), tenant));
            }
        }
    }

    /// A change of the policy whose time has come.
    pub(crate) fn reform(&self, world: &World, chance: &mut Chance, now: DateTime<Utc>) -> Option<Wish> {
        let mut reforms = self.reforms();
        let place = reforms.iter().position(|(at, _)| *at <= now)?;
        let (_, tenant) = reforms.swap_remove(place);
        let mut after = world.tenants[tenant].office.now().clone();
        let mut policy = PolicyPatch::default();
        match chance.below(5) {
            0 => {
                after.zone = chance.pick(&[Zone::Utc, Zone::Berlin, Zone::NewYork, Zone::Kolkata]);
                policy.time_zone = Some(zone(after.zone.name()).unwrap());
            }
            1 => {
                after.opens = time(7 + u32::try_from(chance.below(4)).unwrap(), chance.pick(&[0, 15, 30]));
                policy.time_of_day = Some(after.opens);
            }
            2 => {
                after.closes = time(15 + u32::try_from(chance.below(4)).unwrap(), 0);
                policy.send_until = Some(after.closes);
            }
            3 => {
                let weeks = [&WEEK[..], &WEEK[..4], &WEEK[1..]];
                after.days = chance.pick(&weeks).to_vec();
                after.days.extend(chance.once_in(3_000).then_some(Weekday::Sat));
                policy.working_days = Some(after.days.clone());
            }
            _ => {
                // A bridge day and its neighbours, and an old one is forgotten.
                let first = now.date_naive() + Days::new(chance.next() % 40);
                after.holidays.pop_first();
                after.holidays.extend(first.iter_days().take(1 + chance.below(3)));
                policy.holidays = Some(after.holidays.clone());
            }
        }
        let command = Command::ChangeWorkspace(WorkspacePatch { policy, ..WorkspacePatch::default() });
        let id = world.tenants[tenant].id.to_text();
        let request = Self::request(world, tenant, command, Some(id));
        let effect = move |world: &mut World, _: &_, at| {
            world.count("policies changed");
            world.tenants[tenant].office.change(at, |it| *it = after);
        };
        Some((request, Box::new(effect)))
    }
}
