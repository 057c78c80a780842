//! What is still sent at the moment of sending, and what is not.

mod nudges;

use chrono::{DateTime, NaiveDate, Utc, Weekday};

use super::{
    EVERY_DAY, at,
    audience::{BOTH, ops, staffed},
    office, time, user, user_id,
};
use crate::{
    Onboarding, Phase, State,
    customer::{Contact, CustomerStatus},
    person::{QuietHours, User},
    reminder::{
        Channel, Configured, Context, EscalateTo, EscalationStep, Kind, Planned, Policy, Reason, Recipient,
        Rules, TakenStep, Verdict, recheck,
    },
};

/// The world as it is when a delivery is about to be sent: Monday's slot of `staffed`, to the CSM by email.
struct World {
    rules: Rules,
    it: Onboarding,
    people: Vec<User>,
    status: CustomerStatus,
    customer_deleted: bool,
    primary: Option<Contact>,
    configured: Configured,
    kind: Kind,
    channel: Channel,
    recipient: Recipient,
    channels: Option<Vec<Channel>>,
    steps: Option<Vec<TakenStep>>,
    last_escalation: Option<NaiveDate>,
}

const SLOT: &str = "2026-11-23";
const DUE: &str = "2026-11-23T09:00:00+01:00";

fn world() -> World {
    let (it, people) = staffed();
    World {
        rules: Rules { policy: office("Europe/Berlin", "09:00"), ..ops() },
        it,
        people,
        status: CustomerStatus::Onboarding,
        customer_deleted: false,
        primary: None,
        configured: BOTH,
        kind: Kind::Cadence,
        channel: Channel::Email,
        recipient: Recipient::User(user_id(1)),
        channels: None,
        steps: None,
        last_escalation: None,
    }
}

impl World {
    fn verdict(&self, now: &str) -> Verdict {
        self.at(at(now))
    }

    fn at(&self, now: DateTime<Utc>) -> Verdict {
        let context = Context {
            rules: &self.rules,
            onboarding: &self.it,
            customer_status: self.status,
            customer_deleted: self.customer_deleted,
            people: &self.people,
            primary_contact: self.primary.as_ref(),
            configured: self.configured,
        };
        let planned = Planned {
            kind: self.kind,
            slot: SLOT,
            due_at: at(DUE),
            channel: self.channel,
            recipient: &self.recipient,
            channels: self.channels.as_deref(),
            steps: self.steps.as_deref(),
            last_escalation: self.last_escalation,
        };
        recheck(&context, &planned, now)
    }

    /// The verdicts for a reminder of the rhythm and for *remind now*, a second after the due time.
    fn both(mut self) -> (Verdict, Verdict) {
        let cadence = self.verdict("2026-11-23T09:00:01+01:00");
        self.kind = Kind::Manual;
        (cadence, self.verdict("2026-11-23T09:00:01+01:00"))
    }
}

fn after(change: impl FnOnce(&mut World)) -> (Verdict, Verdict) {
    let mut world = world();
    change(&mut world);
    world.both()
}

fn skip(reason: Reason) -> Verdict {
    Verdict::Skip(reason)
}

fn never(reason: Reason) -> (Verdict, Verdict) {
    (skip(reason), skip(reason))
}

#[test]
fn what_is_wanted_is_sent() {
    assert_eq!(after(|_| ()), (Verdict::Send, Verdict::Send));
    for state in [State::Waiting, State::AtRisk] {
        assert_eq!(after(|w| w.it.state = state), (Verdict::Send, Verdict::Send));
    }
}

#[test]
fn what_happened_to_the_onboarding_meanwhile() {
    assert_eq!(after(|w| w.it.phase = Phase::Completed), never(Reason::Completed));
    assert_eq!(after(|w| w.it.hidden.deleted_at = Some(at(DUE))), never(Reason::Deleted));
    assert_eq!(after(|w| w.customer_deleted = true), never(Reason::CustomerDeleted));
    assert_eq!(after(|w| w.it.livemode = false), never(Reason::TestMode));
    assert_eq!(after(|w| w.configured.email = false), never(Reason::NotConfigured));
    assert_eq!(after(|w| w.it.state = State::Paused), (skip(Reason::Paused), Verdict::Send));
    let churned = after(|w| w.status = CustomerStatus::Churned);
    assert_eq!(churned, (skip(Reason::CustomerInactive), Verdict::Send));
    let snoozed = after(|w| w.it.snoozed_until = Some(at("2026-11-24T00:00:00+01:00")));
    assert_eq!(snoozed, (skip(Reason::Snoozed), Verdict::Send));
    let long_ago = after(|w| w.it.snoozed_until = Some(at("2026-11-23T00:00:00+01:00")));
    assert_eq!(long_ago, (Verdict::Send, Verdict::Send));
}

#[test]
fn a_slot_inside_a_snooze_stays_unwanted_after_it() {
    let mut it = world();
    it.it.snoozed_until = Some(at("2026-11-24T00:00:00+01:00"));
    assert_eq!(it.verdict("2026-11-24T09:00:00+01:00"), skip(Reason::Snoozed));
}

#[test]
fn what_happened_to_the_person_meanwhile() {
    assert_eq!(after(|w| w.people[0].active = false), never(Reason::NoLongerResponsible));
    assert_eq!(after(|w| w.people[0].deleted_at = Some(at(DUE))), never(Reason::NoLongerResponsible));
    let replaced = after(|w| {
        w.it.roles.csm = Some(user_id(5));
        w.people[0] = user(5);
    });
    assert_eq!(replaced, never(Reason::NoLongerResponsible));
    let other_phase = after(|w| {
        w.recipient = Recipient::User(user_id(2));
        w.it.phase = Phase::Review;
    });
    assert_eq!(other_phase, never(Reason::NoLongerResponsible));
    let mute = |until: &str| {
        let until = at(until);
        after(move |w| w.people[0].reach.mute_until = Some(until))
    };
    assert_eq!(mute("2026-11-23T09:00:02+01:00"), never(Reason::Muted));
    assert_eq!(mute("2026-11-23T09:00:01+01:00"), (Verdict::Send, Verdict::Send));
    assert_eq!(after(|w| w.people[0].reach.email_enabled = false), never(Reason::ChannelOff));
    assert_eq!(
        after(|w| w.people[0].reach.email_broken = Some("550".to_string())),
        never(Reason::ChannelBroken)
    );
}

#[test]
fn switches_of_the_onboarding_unless_channels_were_named() {
    assert_eq!(after(|w| w.it.reminder_email = false), never(Reason::ChannelOff));
    let both_off = |w: &mut World| (w.it.reminder_email, w.it.reminder_slack) = (false, false);
    assert_eq!(after(both_off), never(Reason::ChannelsOff));
    let named = after(|w| {
        both_off(w);
        w.channels = Some(vec![Channel::Email]);
    });
    assert_eq!(named, (skip(Reason::ChannelsOff), Verdict::Send));
    let own_wish = after(|w| {
        w.people[0].reach.email_enabled = false;
        w.channels = Some(vec![Channel::Email]);
    });
    assert_eq!(own_wish, never(Reason::ChannelOff));
    // Who wants it by the other named channel, and has no address there, has the workspace stand in: it is not skipped.
    let mut stands_in = world();
    for person in &mut stands_in.people {
        person.reach.email_enabled = false;
        person.slack_user_id = None;
    }
    stands_in.rules.ops_slack_channel = None;
    stands_in.recipient = Recipient::Email("ops@example.com".to_string());
    stands_in.rules.ops_email = Some("ops@example.com".to_string());
    stands_in.kind = Kind::Manual;
    stands_in.channels = Some(vec![Channel::Email, Channel::Slack]);
    assert_eq!(stands_in.verdict("2026-11-23T09:00:01+01:00"), Verdict::Send);
}

#[test]
fn the_channel_that_took_over_is_sent_by_though_it_is_switched_off() {
    let taken_over = after(|w| {
        w.it.reminder_email = false;
        w.people[0].reach.slack_broken = Some("account_inactive".to_string());
    });
    assert_eq!(taken_over, (Verdict::Send, Verdict::Send));
}

#[test]
fn the_workspace_s_own_addresses_stand_until_somebody_is_there() {
    let mut it = world();
    it.recipient = Recipient::Email("ops@example.com".to_string());
    assert_eq!(it.verdict(DUE), skip(Reason::NoLongerResponsible));
    it.people.clear();
    assert_eq!(it.verdict(DUE), Verdict::Send);
    it.rules.ops_email = None;
    assert_eq!(it.verdict(DUE), skip(Reason::NoLongerResponsible));
}

fn quiet(from: &str, to: &str) -> World {
    let mut it = world();
    it.people[0].reach.quiet_hours = Some(QuietHours { from: time(from), to: time(to) });
    it
}

#[test]
fn quiet_hours_defer_to_their_end_and_then_it_is_one() {
    let mut it = quiet("20:00", "10:30");
    let end = "2026-11-23T10:30:00+01:00";
    assert_eq!(it.verdict(DUE), Verdict::Later(at(end)));
    assert_eq!(it.verdict(end), Verdict::Send);
    it.kind = Kind::Manual;
    assert_eq!(it.verdict(DUE), Verdict::Send);
}

#[test]
fn cleared_while_quiet_none() {
    let mut it = quiet("20:00", "10:30");
    it.it.state = State::Paused;
    assert_eq!(it.verdict("2026-11-23T10:30:00+01:00"), skip(Reason::Paused));
}

#[test]
fn quiet_into_the_evening_waits_for_the_workspace_s_morning() {
    // Their quiet covers all of the workspace's hours: theirs decide.
    let all_day = quiet("08:00", "19:00");
    assert_eq!(all_day.verdict(DUE), Verdict::Later(at("2026-11-23T19:00:00+01:00")));
    assert_eq!(all_day.verdict("2026-11-23T19:00:00+01:00"), Verdict::Send);
    // In the evening it waits for the morning, theirs and the workspace's.
    assert_eq!(
        quiet("00:00", "09:30").verdict("2026-11-23T18:30:00+01:00"),
        Verdict::Later(at("2026-11-24T09:30:00+01:00"))
    );
}

#[test]
fn quiet_is_read_in_the_person_s_zone() {
    let mut it = quiet("18:00", "09:00");
    it.people[0].reach.time_zone = Some("Asia/Tokyo".to_string());
    // 09:00 in Berlin is 17:00 in Tokyo; an hour later their evening begins, which ends at 01:00 in Berlin.
    assert_eq!(it.verdict(DUE), Verdict::Send);
    assert_eq!(it.verdict("2026-11-23T10:00:00+01:00"), Verdict::Later(at("2026-11-24T09:00:00+01:00")));
}

#[test]
fn days_off_defer_and_a_week_of_them_is_never() {
    let mut it = world();
    it.people[0].reach.days_off.weekdays = vec![Weekday::Mon, Weekday::Tue];
    // Midnight is the end of their day off, but late for the workspace.
    assert_eq!(it.verdict(DUE), Verdict::Later(at("2026-11-25T09:00:00+01:00")));
    it.people[0].reach.days_off.weekdays = EVERY_DAY.to_vec();
    assert_eq!(it.verdict(DUE), skip(Reason::NeverReachable));
}

#[test]
fn what_is_late_waits_for_the_workspace_s_hours() {
    let it = world();
    assert_eq!(it.verdict("2026-11-23T18:00:00+01:00"), Verdict::Send);
    assert_eq!(it.verdict("2026-11-23T18:00:01+01:00"), Verdict::Later(at("2026-11-24T09:00:00+01:00")));
    assert_eq!(it.verdict("2026-11-28T12:00:00+01:00"), Verdict::Later(at("2026-11-30T09:00:00+01:00")));
}

#[test]
fn what_was_spread_is_not_late() {
    let mut it = world();
    let late_office = Policy { spread_minutes: 600, send_until: time("09:30"), ..it.rules.policy.clone() };
    it.rules.policy = late_office;
    let policy = &it.rules.policy;
    let moved = crate::reminder::spread(policy, at(DUE), &it.recipient.to_string(), it.channel);
    assert!(moved > at("2026-11-23T10:00:00+01:00"), "the hash of this recipient is a late one: {moved}");
    assert_eq!(it.at(moved), Verdict::Send);
}

#[test]
fn an_escalation_goes_to_whom_the_policy_names() {
    let mut it = world();
    it.kind = Kind::Escalation;
    it.recipient = Recipient::User(user_id(4));
    it.it.reminders.escalated = 3;
    assert_eq!(it.verdict(DUE), skip(Reason::NoLongerResponsible));
    it.it.reminders.escalated = 0;
    let step = EscalationStep { after_reminders: 3, to: EscalateTo::ProductOps, set_state: None };
    it.rules.escalation = vec![step];
    // Taken, and heeded since.
    assert_eq!(it.verdict(DUE), skip(Reason::Heeded));
    it.it.reminders.escalated = 3;
    assert_eq!(it.verdict(DUE), Verdict::Send);
    it.it.roles.product_ops = None;
    assert_eq!(it.verdict(DUE), skip(Reason::NoLongerResponsible));
}

/// An escalation of these steps to the recipient, in a workspace with these steps.
fn escalation(steps: &[(u32, EscalateTo)], taken: Option<&[(u32, EscalateTo)]>) -> World {
    let mut it = world();
    it.kind = Kind::Escalation;
    it.recipient = Recipient::User(user_id(4));
    it.it.reminders.escalated = 9;
    let step = |(after_reminders, to)| EscalationStep { after_reminders, to, set_state: None };
    it.rules.escalation = steps.iter().copied().map(step).collect();
    let taken_step = |(after_reminders, to)| TakenStep { after_reminders, to };
    it.steps = taken.map(|taken| taken.iter().copied().map(taken_step).collect());
    it
}

#[test]
fn an_escalation_goes_to_a_recipient_of_its_own_steps_only() {
    use EscalateTo::{Csm, Fallback, ProductOps};
    let gone = skip(Reason::NoLongerResponsible);
    let list = [(3, ProductOps), (5, Csm)];
    let verdict = |steps: &[_], taken: &[_]| escalation(steps, Some(taken)).verdict(DUE);
    assert_eq!(verdict(&list, &[(3, ProductOps)]), Verdict::Send);
    assert_eq!(verdict(&list, &[(5, Csm)]), gone, "product ops is told by another step");
    assert_eq!(verdict(&list, &[(5, Csm), (3, ProductOps)]), Verdict::Send, "one row for two steps");
    assert_eq!(verdict(&[(5, Csm)], &[(3, ProductOps)]), gone, "the step was removed");
    assert_eq!(verdict(&[(3, Csm), (5, ProductOps)], &[(3, ProductOps)]), gone, "it tells others now");
    assert_eq!(verdict(&[(3, ProductOps)], &[(3, Fallback)]), Verdict::Send, "it tells them now, too");
    // Two steps of the same number: each has its own recipients.
    let twins = [(3, Csm), (3, ProductOps)];
    assert_eq!(verdict(&twins, &[(3, ProductOps)]), Verdict::Send);
    assert_eq!(verdict(&twins, &[(3, Csm)]), gone);
    // A row that does not say for which step it was planned.
    assert_eq!(escalation(&list, None).verdict(DUE), Verdict::Send);
    assert_eq!(escalation(&[(3, Csm), (5, Fallback)], None).verdict(DUE), gone);
}

#[test]
fn an_escalation_gives_way_to_a_later_one_to_the_same_recipient() {
    let mut it = escalation(&[(3, EscalateTo::ProductOps)], Some(&[(3, EscalateTo::ProductOps)]));
    // Slots of the rhythm that came since are nothing to it.
    it.it.reminders.last_slot = Some("2026-11-24".parse().expect("a date"));
    assert_eq!(it.verdict(DUE), Verdict::Send);
    it.last_escalation = Some(SLOT.parse().expect("a date"));
    assert_eq!(it.verdict(DUE), Verdict::Send, "its own");
    it.last_escalation = Some("2026-11-24".parse().expect("a date"));
    assert_eq!(it.verdict(DUE), skip(Reason::Superseded));
    it.it.state = State::Paused;
    assert_eq!(it.verdict(DUE), skip(Reason::Paused));
}

#[test]
fn an_escalation_of_an_earlier_count_is_heeded() {
    let list = [(2, EscalateTo::Csm), (4, EscalateTo::ProductOps)];
    let mut it = escalation(&list, Some(&[(4, EscalateTo::ProductOps)]));
    it.it.reminders.escalated = 4;
    assert_eq!(it.verdict(DUE), Verdict::Send);
    // Somebody cared, nobody did since, and the count has come as far as the first step again.
    it.it.reminders.escalated = 2;
    assert_eq!(it.verdict(DUE), skip(Reason::Heeded));
}

#[test]
fn what_a_dead_worker_held_gives_way_to_a_later_slot() {
    let mut it = world();
    it.it.reminders.last_slot = Some("2026-11-23".parse().expect("a date"));
    assert_eq!(it.verdict(DUE), Verdict::Send, "its own slot is the last one planned");
    it.it.reminders.last_slot = Some("2026-11-24".parse().expect("a date"));
    assert_eq!(it.verdict(DUE), skip(Reason::Superseded));
    it.kind = Kind::Manual;
    assert_eq!(it.verdict(DUE), Verdict::Send, "what was asked for by hand has no later slot");
}
