//! Measures from the log say what the aggregate said when it moved.

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use usher_lifecycle::{
    Command, Onboarding, Phase, State,
    command::{CreateOnboarding, OnboardingPatch},
    event::{Actor, EventKind},
    measure::{Measures, Row, Stay, measure},
    reminder::Rules,
    wire,
};

use crate::{
    ask, at, create, monday,
    world::{naps, patches},
};

type Log = Vec<(EventKind, DateTime<Utc>, Value)>;

fn created(it: &Onboarding) -> Log {
    let object = wire::value(&wire::OnboardingObject::from(it));
    vec![(
        EventKind::OnboardingCreated,
        it.created_at,
        json!({"object": object, "previous_attributes": null}),
    )]
}

fn read(log: &Log, now: DateTime<Utc>) -> Measures {
    measure(log.iter().map(|(kind, at, data)| Row { kind: *kind, occurred_at: *at, data }), now)
}

fn take(it: &mut Onboarding, patch: OnboardingPatch, now: DateTime<Utc>, log: &mut Log) {
    let Ok((after, decision)) = ask(&Rules::default(), it, &Command::ChangeOnboarding(patch), now) else {
        return;
    };
    let object = decision.record.object();
    log.extend(
        decision
            .events
            .iter()
            .map(|event| (event.kind, after.updated_at, event.data(&object, &Actor::system()))),
    );
    *it = after;
}

#[test]
fn a_life_in_numbers() {
    let start = CreateOnboarding {
        phase: Some(Phase::Review),
        started_at: Some(at("2026-11-01 08:00")),
        target_launch_date: Some(at("2026-12-01 00:00")),
        ..CreateOnboarding::default()
    };
    let mut it = create(start, monday());
    let mut log = created(&it);
    let nothing = OnboardingPatch::default;
    let steps = [
        ("2026-11-02 09:00", OnboardingPatch { state: Some(State::Waiting), ..nothing() }),
        ("2026-11-02 12:00", OnboardingPatch { state: Some(State::Active), ..nothing() }),
        ("2026-11-02 13:00", OnboardingPatch { phase: Some(Phase::ProgramDesign), ..nothing() }),
        (
            "2026-11-02 14:00",
            OnboardingPatch { target_launch_date: Some(Some(at("2026-12-09 00:00"))), ..nothing() },
        ),
        ("2026-11-03 08:00", OnboardingPatch { phase: Some(Phase::Launch), ..nothing() }),
        ("2026-11-03 10:00", OnboardingPatch { phase: Some(Phase::Completed), ..nothing() }),
    ];
    for (now, patch) in steps {
        take(&mut it, patch, at(now), &mut log);
    }
    let stay = |phase, from, to, hours: i64, working_hours: i64| Stay {
        phase,
        from: at(from),
        to: Some(at(to)),
        seconds: hours * 3600,
        working_seconds: working_hours * 3600,
    };
    let wanted = Measures {
        stays: vec![
            stay(Phase::Review, "2026-11-02 08:00", "2026-11-02 13:00", 5, 2),
            stay(Phase::ProgramDesign, "2026-11-02 13:00", "2026-11-03 08:00", 19, 19),
            stay(Phase::Launch, "2026-11-03 08:00", "2026-11-03 10:00", 2, 2),
        ],
        seconds_to_launch: Some(48 * 3600),
        send_backs: 1,
        target_slips: 1,
    };
    assert_eq!(read(&log, at("2027-01-01 00:00")), wanted);
    assert_eq!(read(&Log::new(), monday()), Measures::default());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_and_the_aggregate_agree(
        phase in prop::sample::select(&Phase::ALL[..6]), state in prop::sample::select(&State::ALL[..]),
        life in prop::collection::vec((naps(), patches()), 1..40),
    ) {
        let start = CreateOnboarding { phase: Some(phase), state: Some(state), ..CreateOnboarding::default() };
        let mut it = create(start, monday());
        let mut log = created(&it);
        let mut now = monday();
        for (nap, patch) in life {
            now += nap;
            take(&mut it, patch, now, &mut log);
        }
        let found = read(&log, now);
        let told: Vec<_> = log
            .iter()
            .filter(|(kind, _, _)| *kind == EventKind::OnboardingPhaseChanged)
            .map(|(_, _, data)| (data["seconds_in_phase"].clone(), data["working_seconds_in_phase"].clone()))
            .collect();
        let left: Vec<_> = found
            .stays
            .iter()
            .filter(|stay| stay.to.is_some())
            .map(|stay| (json!(stay.seconds), json!(stay.working_seconds)))
            .collect();
        prop_assert_eq!(left, told);
        let open = found.stays.iter().filter(|stay| stay.to.is_none()).count();
        prop_assert_eq!(open, usize::from(!it.phase.is_terminal()));
        let slips = log.iter().filter(|(_, _, data)| data.get("target_shift").is_some()).count();
        prop_assert_eq!(usize::try_from(found.target_slips).expect("small"), slips);
    }
}
