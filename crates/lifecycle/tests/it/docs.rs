//! docs/lifecycle.md holds what the code says: the diagrams and the table of moves. `UPDATE_DOCS=1` rewrites them.

use std::{fmt::Write as _, path::Path};

use usher_lifecycle::{
    Command, Phase, State, command::OnboardingPatch, phase, refusal::Kind, reminder::Rules, state,
};

use crate::{ask, monday, standing};

const OPEN: &str = "<!-- generated: diagram -->";
const CLOSE: &str = "<!-- /generated -->";

/// What a PATCH of the phase is, asked of the rules themselves.
fn cell(from: Phase, to: Phase) -> &'static str {
    let patch = OnboardingPatch { phase: Some(to), ..OnboardingPatch::default() };
    let it = standing(from, State::Active);
    match ask(&Rules::default(), &it, &Command::ChangeOnboarding(patch), monday()) {
        Ok((after, _)) => it.phase.move_to(after.phase).map_or("-", phase::Move::as_str),
        Err(refusal) => {
            assert_eq!(refusal.code.kind(), Kind::Conflict);
            "409"
        }
    }
}

fn generated() -> String {
    let mut text = format!("\n```mermaid\n{}```\n\n| from \\ to |", phase::diagram());
    for to in Phase::ALL {
        write!(text, " {to} |").expect("a string");
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- |".repeat(Phase::ALL.len()));
    for from in Phase::ALL {
        write!(text, "\n| `{from}` |").expect("a string");
        for to in Phase::ALL {
            write!(text, " {} |", cell(from, to)).expect("a string");
        }
    }
    write!(text, "\n\n```mermaid\n{}```\n", state::diagram()).expect("a string");
    text
}

#[test]
fn the_generated_part_of_the_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lifecycle.md");
    let page = std::fs::read_to_string(&path).expect("docs/lifecycle.md is there");
    let (head, rest) = page.split_once(OPEN).expect("has the opening mark");
    let (page_has, tail) = rest.split_once(CLOSE).expect("has the closing mark");
    if page_has == generated() {
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "a switch for people who regenerate the page")]
    let update = std::env::var("UPDATE_DOCS").is_ok();
    assert!(
        update,
        "docs/lifecycle.md is stale; UPDATE_DOCS=1 cargo test -p usher-lifecycle --test it rewrites it"
    );
    std::fs::write(&path, format!("{head}{OPEN}{}{CLOSE}{tail}", generated())).expect("can be written");
}

#[test]
fn every_arrow_of_the_diagram_is_a_legal_move_and_each_neighbour_has_one() {
    let diagram = phase::diagram();
    let mut arrows = 0;
    for (from, to, label) in arrows_of(&diagram) {
        let (Ok(from), Ok(to)) = (from.parse::<Phase>(), to.parse::<Phase>()) else { continue };
        assert_eq!(Some(cell(from, to)), label, "{from} --> {to}");
        arrows += 1;
    }
    // Six steps forward, five back.
    assert_eq!(arrows, 11);
}

#[test]
fn the_states_are_connected_all_to_all() {
    let diagram = state::diagram();
    let arrows = arrows_of(&diagram).filter(|(from, _, _)| *from != "[*]").count();
    assert_eq!(arrows, State::ALL.len() * (State::ALL.len() - 1));
}

fn arrows_of(diagram: &str) -> impl Iterator<Item = (&str, &str, Option<&str>)> {
    diagram.lines().filter_map(|line| {
        let (from, rest) = line.trim().split_once(" --> ")?;
        let (to, label) = rest.split_once(": ").map_or((rest, None), |(to, label)| (to, Some(label)));
        Some((from, to, label))
    })
}
