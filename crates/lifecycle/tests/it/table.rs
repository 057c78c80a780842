//! What every command does in every phase and every state: the snapshot is the documentation.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use usher_lifecycle::{
    Command, Onboarding, Phase, State,
    command::{OnboardingPatch, Snooze},
    event::EventKind,
    reminder::Rules,
};

use crate::{ask, at, standing};

/// Every command about an onboarding, by the words of the table. Creating is in `moves.rs`.
fn commands() -> Vec<(String, Command)> {
    let patch = |name: String, patch| (name, Command::ChangeOnboarding(patch));
    let nothing = OnboardingPatch::default;
    let mut all = Vec::new();
    for phase in Phase::ALL {
        all.push(patch(format!("phase: {phase}"), OnboardingPatch { phase: Some(phase), ..nothing() }));
    }
    for state in State::ALL {
        all.push(patch(format!("state: {state}"), OnboardingPatch { state: Some(state), ..nothing() }));
    }
    for flag in [true, false] {
        let waiting_on_customer = Some(flag);
        let name = format!("waiting_on_customer: {flag}");
        all.push(patch(name.clone(), OnboardingPatch { waiting_on_customer, ..nothing() }));
        for state in State::ALL {
            let both = OnboardingPatch { waiting_on_customer, state: Some(state), ..nothing() };
            all.push(patch(format!("{name}, state: {state}"), both));
        }
    }
    let end = OnboardingPatch { phase: Some(Phase::Completed), state: Some(State::Active), ..nothing() };
    all.push(patch("phase: completed, state: active".into(), end));
    let target = OnboardingPatch { target_launch_date: Some(Some(at("2026-12-24 00:00"))), ..nothing() };
    all.push(patch("target_launch_date: the third time to later".into(), target));
    all.push(patch("notes: other".into(), OnboardingPatch { notes: Some(Some("n".into())), ..nothing() }));
    all.push(patch("nothing".into(), nothing()));
    all.push(("snooze".into(), Command::SnoozeOnboarding(Snooze::Days(3))));
    all.push(("unsnooze".into(), Command::UnsnoozeOnboarding));
    all.push(("remind now".into(), Command::RemindOnboarding(None)));
    all.push(("delete".into(), Command::DeleteOnboarding));
    all
}

/// The onboarding of the table: snoozed, and its target moved to later twice within the phase.
fn subject(phase: Phase, state: State) -> Onboarding {
    let mut it = standing(phase, state);
    it.target_launch_date = Some(at("2026-12-01 00:00"));
    it.hidden.target_shifts = 2;
    it.snoozed_until = Some(at("2026-11-04 00:00"));
    it
}

/// What the command does, as the difference to what was.
fn outcome(it: &Onboarding, command: &Command) -> String {
    let (after, decision) = match ask(&Rules::default(), it, command, at("2026-11-03 08:00")) {
        Ok(done) => done,
        Err(refusal) => return format!("refused: {}", refusal.code.as_str()),
    };
    let mut parts = Vec::new();
    if let Some(moved) = it.phase.move_to(after.phase) {
        parts.push(moved.as_str().to_string());
    }
    if it.state != after.state {
        parts.push(format!("now {}", after.state));
    }
    let names = decision.events.iter().map(|event| event.kind.as_str().replace("onboarding.", ""));
    let names: Vec<_> = names.collect();
    if decision.remind.is_some() {
        parts.push("a reminder is sent".into());
    } else if names.is_empty() {
        parts.push("no change".into());
    } else {
        parts.push(format!("[{}]", names.join(", ")));
    }
    assert_eq!(decision.events.is_empty(), after == *it, "{command:?}");
    parts.join(" ")
}

/// Phases and states in which the outcome is the same, in few words.
struct Places(Vec<(Phase, State)>);

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_phase: BTreeMap<Phase, Vec<State>> = BTreeMap::new();
        for (phase, state) in &self.0 {
            by_phase.entry(*phase).or_default().push(*state);
        }
        let mut by_states: Vec<(Vec<State>, Vec<Phase>)> = Vec::new();
        for (phase, states) in by_phase {
            match by_states.iter_mut().find(|(known, _)| *known == states) {
                Some((_, phases)) => phases.push(phase),
                None => by_states.push((states, vec![phase])),
            }
        }
        let lines = by_states.into_iter().map(|(states, phases)| {
            format!("{} / {}", words(&phases, &Phase::ALL), words(&states, &State::ALL))
        });
        f.write_str(&lines.collect::<Vec<_>>().join(" | "))
    }
}

/// `any`, `any but x`, or the names.
fn words<T: PartialEq + ToString>(some: &[T], all: &[T]) -> String {
    let names = |list: Vec<&T>| list.iter().map(|it| it.to_string()).collect::<Vec<_>>().join(", ");
    let missing: Vec<_> = all.iter().filter(|it| !some.contains(it)).collect();
    match missing.len() {
        0 => "any".into(),
        1 => format!("any but {}", names(missing)),
        _ => names(some.iter().collect()),
    }
}

#[test]
fn every_command_in_every_phase_and_state() {
    let mut text = String::from("command\n    phase / state: what it does [events]\n");
    for (name, command) in commands() {
        let mut outcomes: Vec<(String, Vec<(Phase, State)>)> = Vec::new();
        for phase in Phase::ALL {
            for state in State::ALL {
                let found = outcome(&subject(phase, state), &command);
                match outcomes.iter_mut().find(|(known, _)| *known == found) {
                    Some((_, places)) => places.push((phase, state)),
                    None => outcomes.push((found, vec![(phase, state)])),
                }
            }
        }
        let places: usize = outcomes.iter().map(|(_, places)| places.len()).sum();
        assert_eq!(places, 28);
        writeln!(text, "\n{name}").expect("a string");
        for (outcome, places) in outcomes {
            writeln!(text, "    {}: {outcome}", Places(places)).expect("a string");
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_names_of_events_are_distinct_and_dotted() {
    let names: std::collections::BTreeSet<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(names.len(), EventKind::ALL.len());
    assert!(names.iter().all(|name| name.split('.').count() == 2), "{names:?}");
}
