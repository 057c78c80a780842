//! Measures from the log: how long an onboarding was in each phase, how long it took to launch, how often it was sent
//! back and its target slipped.
//!
//! Derived from events alone, so that they can be recomputed at any time and need no table of their own.

use alloc::vec::Vec;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{event::EventKind, phase::Phase, state::State};

/// One event of an onboarding, as the log has it. Rows come in the order of version and ordinal.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub occurred_at: DateTime<Utc>,
    /// The `data` of the event on the wire.
    pub data: &'a Value,
}

/// What the log of one onboarding says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measures {
    /// Its stays in open phases, in order; a phase that it came back to has several.
    pub stays: Vec<Stay>,
    /// Seconds from `started_at` to the first launch; none while it is not launched.
    pub seconds_to_launch: Option<i64>,
    /// How often it was sent back to an earlier phase.
    pub send_backs: u32,
    /// How often its target moved to later.
    pub target_slips: u32,
}

/// One stay in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    /// The phase.
    pub phase: Phase,
    /// When it came there.
    pub from: DateTime<Utc>,
    /// When it left; none while it is there.
    pub to: Option<DateTime<Utc>>,
    /// Whole seconds there, until `to` or the instant of the question.
    pub seconds: i64,
    /// The same, without the spans in `paused` and `waiting`.
    pub working_seconds: i64,
}

/// Reads the log of one onboarding, from `onboarding.created` on; a stay that still lasts is counted until `now`.
/// Rows that it does not understand (of other records, of a later version) count for nothing.
pub fn measure<'a>(rows: impl IntoIterator<Item = Row<'a>>, now: DateTime<Utc>) -> Measures {
    let mut measures = Measures::default();
    let mut here: Option<Here> = None;
    let close = |measures: &mut Measures, here: Option<Here>, at, left| {
        measures.stays.extend(here.and_then(|here| here.stay(at, left)));
    };
    for row in rows {
        let at = row.occurred_at;
        match row.kind {
            EventKind::OnboardingCreated => {
                if let (Some(phase), Some(state)) = (phase(row.data), state(row.data)) {
                    here = Some(Here {
                        phase,
                        from: at,
                        idle_seconds: 0,
                        idle_since: state.is_idle().then_some(at),
                    });
                }
            }
            EventKind::OnboardingUpdated if row.data.get("target_shift").is_some() => {
                measures.target_slips += 1;
            }
            EventKind::OnboardingPhaseChanged => {
                if row.data["move"] == "send_back" {
                    measures.send_backs += 1;
                }
                let idle = here.as_ref().and_then(|here| here.idle_since);
                close(&mut measures, here.take(), at, true);
                here = phase(row.data).map(|phase| Here {
                    phase,
                    from: at,
                    idle_seconds: 0,
                    idle_since: idle.map(|_| at),
                });
            }
            EventKind::OnboardingStateChanged => {
                if let (Some(here), Some(state)) = (&mut here, state(row.data)) {
                    here.enter(state, at);
                }
            }
            EventKind::OnboardingLaunched if measures.seconds_to_launch.is_none() => {
                measures.seconds_to_launch = started_at(row.data).map(|started| seconds(started, at));
            }
            EventKind::OnboardingDeleted => close(&mut measures, here.take(), at, true),
            EventKind::OnboardingUpdated
            | EventKind::OnboardingLaunched
            | EventKind::OnboardingAtRisk
            | EventKind::OnboardingBackOnTrack
            | EventKind::OnboardingCompleted
            | EventKind::ReminderSent
            | EventKind::ReminderFailed
            | EventKind::ReminderSkipped
            | EventKind::ReminderSnoozed
            | EventKind::ReminderEscalated
            | EventKind::CustomerCreated
            | EventKind::CustomerUpdated
            | EventKind::CustomerDeleted
            | EventKind::ContactCreated
            | EventKind::ContactUpdated
            | EventKind::ContactDeleted
            | EventKind::TemplateCreated
            | EventKind::TemplateUpdated
            | EventKind::TemplateDeleted
            | EventKind::WorkspaceUpdated
            | EventKind::UserCreated
            | EventKind::UserUpdated
            | EventKind::UserDeleted => {}
        }
    }
    close(&mut measures, here, now, false);
    measures
}

/// Where it is while the log is read.
struct Here {
    phase: Phase,
    from: DateTime<Utc>,
    idle_seconds: i64,
    idle_since: Option<DateTime<Utc>>,
}

impl Here {
    fn enter(&mut self, state: State, at: DateTime<Utc>) {
        match (self.idle_since, state.is_idle()) {
            (None, true) => self.idle_since = Some(at),
            (Some(since), false) => {
                self.idle_seconds += seconds(since, at);
                self.idle_since = None;
            }
            (Some(_), true) | (None, false) => {}
        }
    }

    /// None for `completed`: nobody works on it any more.
    fn stay(&self, at: DateTime<Utc>, left: bool) -> Option<Stay> {
        let wall = seconds(self.from, at);
        let idle = self.idle_seconds + self.idle_since.map_or(0, |since| seconds(since, at));
        (!self.phase.is_terminal()).then_some(Stay {
            phase: self.phase,
            from: self.from,
            to: left.then_some(at),
            seconds: wall,
            working_seconds: (wall - idle).max(0),
        })
    }
}

fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    (to - from).num_seconds().max(0)
}

fn phase(data: &Value) -> Option<Phase> {
    data["object"]["phase"].as_str()?.parse().ok()
}

fn state(data: &Value) -> Option<State> {
    data["object"]["state"].as_str()?.parse().ok()
}

fn started_at(data: &Value) -> Option<DateTime<Utc>> {
    let text = data["object"]["started_at"].as_str()?;
    Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc())
}
