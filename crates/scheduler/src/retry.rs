//! What an attempt's outcome makes of a delivery: sent, tried again later, or given up, with the reason.

use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::reminder::{Ambiguous, Channel, Kind, Rules, plan::GRACE, sendable_at, stable_hash};
use usher_store::{AttemptError, Delivery, Status};

use crate::channel::Outcome;

/// Waits between attempts; the last one repeats.
const WAITS: [i64; 6] = [30, 120, 480, 1_800, 7_200, 21_600];
/// What could not be delivered for so long after its due time has failed.
const GIVE_UP: TimeDelta = TimeDelta::hours(24);
/// How long a message of unknown fate waits before its one repeat.
const BEFORE_REPEAT: TimeDelta = TimeDelta::seconds(30);
/// How long a delivery waits whose channel is down through a fault of our configuration.
const WHILE_DOWN: TimeDelta = TimeDelta::minutes(2);

/// Writes an attempt's outcome into the delivery. `sent` is the instant at which the channel answered.
pub(crate) fn record(delivery: &mut Delivery, outcome: &Outcome, rules: &Rules, sent: DateTime<Utc>) {
    // The wait counts from the due time, from when the message was allowed to go, or from when it was put back.
    let begun = delivery.due_at.max(delivery.planned_at);
    let expires = delivery.retried_at.map_or(begun, |at| begun.max(at)) + GIVE_UP;
    match outcome {
        Outcome::Accepted { .. } => {
            delivery.status = Status::Sent;
            delivery.reason = None;
            delivery.sent_at = Some(sent);
            delivery.attempts += 1;
        }
        Outcome::RefusedForNow { code, detail, retry_after, counts } => {
            note(delivery, sent, code, detail);
            delivery.attempts += i64::from(*counts);
            let wait = retry_after
                .and_then(|wait| TimeDelta::from_std(wait).ok())
                .unwrap_or_else(|| backoff(delivery));
            again(delivery, rules, sent, wait, expires, code);
        }
        Outcome::RefusedForGood { code, detail, .. } => {
            note(delivery, sent, code, detail);
            delivery.attempts += 1;
            delivery.status = Status::Failed;
            delivery.reason = Some(code.clone());
        }
        Outcome::ChannelDown { code, detail } => {
            // One note per outage is enough: the ledger row is no log.
            if delivery.errors.last().is_none_or(|last| last.code != *code) {
                note(delivery, sent, code, detail);
            }
            again(delivery, rules, sent, WHILE_DOWN, expires, code);
        }
        Outcome::Unknown { detail } => {
            let unmarked = match delivery.channel {
                Some(Channel::Slack) => "; a repeat cannot be recognised in Slack",
                Some(Channel::Email) | None => "",
            };
            note(delivery, sent, "unknown", &format!("{detail}{unmarked}"));
            delivery.attempts += 1;
            delivery.ambiguities += 1;
            if gives_up_ambiguous(delivery, rules) {
                delivery.status = Status::Ambiguous;
                delivery.reason = Some("ambiguous".into());
            } else {
                delivery.send_after = sent + BEFORE_REPEAT;
            }
        }
    }
}

/// Whether a message of unknown fate is left as it is: by policy, or because it was repeated already.
pub(crate) fn gives_up_ambiguous(delivery: &Delivery, rules: &Rules) -> bool {
    let counted = delivery.ambiguities - delivery.forgiven;
    match rules.ambiguous {
        Ambiguous::Hold => counted > 0,
        Ambiguous::Resend => counted > 1,
    }
}

fn note(delivery: &mut Delivery, at: DateTime<Utc>, code: &str, detail: &str) {
    delivery.errors.push(AttemptError { at, code: code.to_owned(), detail: detail.to_owned() });
}

/// Gives the delivery back for another attempt, or up.
fn again(
    delivery: &mut Delivery,
    rules: &Rules,
    now: DateTime<Utc>,
    wait: TimeDelta,
    expires: DateTime<Utc>,
    code: &str,
) {
    let at = later(delivery, rules, now + wait);
    // A late message waits for the workspace's hours, which may lie beyond a day's wait, over a weekend.
    if now + wait > expires {
        delivery.status = Status::Failed;
        delivery.reason = Some(code.to_owned());
        return;
    }
    delivery.send_after = at;
    // Nothing of it arrived, so the next attempt may carry what else is due then. A repeat keeps its id.
    if delivery.ambiguities == 0 {
        delivery.message_id = None;
    }
}

/// When a retry may go out: what is late only in the workspace's hours; what was asked for by hand at any time.
fn later(delivery: &Delivery, rules: &Rules, at: DateTime<Utc>) -> DateTime<Utc> {
    match delivery.kind {
        Kind::Manual => at,
        Kind::Cadence | Kind::Escalation | Kind::Customer if at - delivery.due_at <= GRACE => at,
        Kind::Cadence | Kind::Escalation | Kind::Customer => sendable_at(&rules.policy, at),
    }
}

/// 30 s, 2 min, 8 min, ... with up to a fifth more, by a hash of the message: the same on every host, and for all that
/// travelled together, so that a refused digest stays whole.
fn backoff(delivery: &Delivery) -> TimeDelta {
    let tries = usize::try_from(delivery.attempts.max(1) - 1).unwrap_or(0);
    let seconds = WAITS.get(tries).or(WAITS.last()).copied().unwrap_or(30);
    let own = delivery.id.to_text();
    let message = delivery.message_id.as_deref().unwrap_or(&own);
    let hash = stable_hash(&[message, &delivery.attempts.to_string()]);
    let jitter = i64::try_from(hash % 200).unwrap_or(0);
    TimeDelta::milliseconds(seconds * 1_000 + seconds * jitter)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use usher_lifecycle::{
        CustomerId, Onboarding, OnboardingId, Phase, State, WorkspaceId,
        onboarding::{Hidden, Reminded, Roles},
    };

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    fn delivery(kind: Kind) -> Delivery {
        let now = at("2026-03-02T09:00:00Z"); // a Monday
        let onboarding = Onboarding {
            id: OnboardingId::new(now, 1),
            workspace_id: WorkspaceId::new(now, 2),
            livemode: true,
            display_id: 1,
            customer_id: CustomerId::new(now, 3),
            template_id: None,
            phase: Phase::Review,
            state: State::Active,
            started_at: now,
            completed_at: None,
            target_launch_date: None,
            roles: Roles::default(),
            notes: None,
            waiting_since: None,
            wizard_completed_at: None,
            reminder_email: true,
            reminder_slack: true,
            reminder_frequency_days: 1,
            snoozed_until: None,
            external_id: None,
            created_at: now,
            updated_at: now,
            version: 1,
            hidden: Hidden {
                cadence_base: now.date_naive(),
                phase_entered_at: now,
                idle_since: None,
                idle_seconds: 0,
                target_shifts: 0,
                deleted_at: None,
            },
            reminders: Reminded::default(),
        };
        let mut row = Delivery::pending(&onboarding, kind, "2026-03-02".into(), now, now, now);
        row.message_id = Some("rem_x".into());
        row
    }

    fn for_now(retry_after: Option<Duration>, counts: bool) -> Outcome {
        Outcome::RefusedForNow { code: "450".into(), detail: "busy".into(), retry_after, counts }
    }

    #[test]
    fn refused_for_now_waits_longer_each_time_and_gives_up_after_a_day() {
        let rules = Rules::default();
        let mut row = delivery(Kind::Manual);
        let mut now = at("2026-03-02T09:00:00Z");
        let mut waits = Vec::new();
        while row.status == Status::Pending {
            record(&mut row, &for_now(None, true), &rules, now);
            if row.status == Status::Pending {
                assert!(row.message_id.is_none(), "what was refused may travel with other things");
                waits.push((row.send_after - now).num_seconds());
                now = row.send_after;
            }
        }
        for (wait, least) in waits.iter().zip(WAITS) {
            assert!((least..=least * 6 / 5).contains(wait), "{waits:?}");
        }
        assert_eq!(row.status, Status::Failed);
        assert_eq!(row.reason.as_deref(), Some("450"));
        assert_eq!(i64::try_from(row.errors.len()), Ok(row.attempts));
        assert!(now - row.due_at > TimeDelta::hours(17), "{waits:?}");
    }

    #[test]
    fn what_travelled_together_is_tried_again_together() {
        let waits = [1, 2].map(|_| {
            let mut row = delivery(Kind::Manual);
            let now = row.due_at;
            record(&mut row, &for_now(None, true), &Rules::default(), now);
            row.send_after
        });
        assert_eq!(waits[0], waits[1]);
    }

    #[test]
    fn throttling_costs_no_attempt_and_is_honoured() {
        let mut row = delivery(Kind::Manual);
        let now = row.due_at;
        record(&mut row, &for_now(Some(Duration::from_secs(7)), false), &Rules::default(), now);
        assert_eq!((row.attempts, row.send_after), (0, now + TimeDelta::seconds(7)));
    }

    #[test]
    fn a_late_retry_of_the_rhythm_waits_for_the_hours_of_the_workspace() {
        let mut row = delivery(Kind::Cadence);
        record(&mut row, &for_now(None, true), &Rules::default(), at("2026-03-02T17:59:50Z"));
        assert_eq!(row.send_after, at("2026-03-03T09:00:00Z"));
    }

    #[test]
    fn unknown_is_repeated_once_with_the_same_id() {
        let mut row = delivery(Kind::Cadence);
        let unknown = Outcome::Unknown { detail: "gone after DATA".into() };
        let now = row.due_at;
        record(&mut row, &unknown, &Rules::default(), now);
        assert_eq!((row.status, row.message_id.as_deref()), (Status::Pending, Some("rem_x")));
        // The repeat is refused for now: it stays the same message.
        record(&mut row, &for_now(None, true), &Rules::default(), now);
        assert_eq!(row.message_id.as_deref(), Some("rem_x"));
        record(&mut row, &unknown, &Rules::default(), now);
        assert_eq!(row.status, Status::Ambiguous);
    }

    #[test]
    fn what_was_put_back_by_hand_has_another_day_and_another_repeat() {
        let mut row = delivery(Kind::Manual);
        let put_back = row.due_at + TimeDelta::days(3);
        (row.ambiguities, row.forgiven, row.retried_at) = (2, 2, Some(put_back));
        record(&mut row, &for_now(None, true), &Rules::default(), put_back);
        assert_eq!(row.status, Status::Pending);
        let unknown = Outcome::Unknown { detail: String::new() };
        record(&mut row, &unknown, &Rules::default(), put_back);
        assert_eq!((row.status, row.message_id.as_deref()), (Status::Pending, Some("rem_x")));
        record(&mut row, &unknown, &Rules::default(), put_back);
        assert_eq!(row.status, Status::Ambiguous);
        row.status = Status::Pending;
        record(&mut row, &for_now(None, true), &Rules::default(), put_back + GIVE_UP);
        assert_eq!(row.status, Status::Failed);
    }

    #[test]
    fn unknown_is_held_where_the_policy_says_so() {
        let mut row = delivery(Kind::Cadence);
        let rules = Rules { ambiguous: Ambiguous::Hold, ..Rules::default() };
        let now = row.due_at;
        record(&mut row, &Outcome::Unknown { detail: String::new() }, &rules, now);
        assert_eq!(row.status, Status::Ambiguous);
    }
}
