//! What the customer is still told, and what not.

use super::{DUE, World, skip, world};
use crate::{
    customer::{Contact, CustomerStatus},
    id::ContactId,
    phase::Phase,
    reminder::{
        Kind, Reason, Recipient, Verdict,
        tests::{at, audience::contact},
    },
    state::State,
};

#[test]
fn the_customer_is_written_to_while_it_waits_on_them() {
    let mut it = world();
    it.kind = Kind::Customer;
    it.primary = Some(contact());
    it.recipient = Recipient::Contact(contact().id);
    it.rules.nudge_customer = true;
    assert_eq!(it.verdict(DUE), skip(Reason::NotWaiting));
    it.it.state = State::Waiting;
    assert_eq!(it.verdict(DUE), Verdict::Send);
    it.primary = Some(Contact { email_broken: Some("550".to_string()), ..contact() });
    assert_eq!(it.verdict(DUE), skip(Reason::ChannelBroken));
    it.primary = Some(Contact { id: ContactId::new(at(DUE), 2), ..contact() });
    assert_eq!(it.verdict(DUE), skip(Reason::NoLongerResponsible));
    it.primary = None;
    assert_eq!(it.verdict(DUE), skip(Reason::NoLongerResponsible));
    it.rules.nudge_customer = false;
    assert_eq!(it.verdict(DUE), skip(Reason::CustomerNotNudged));
}

/// A nudge that is wanted, and the world around it.
fn nudge() -> World {
    let mut it = world();
    it.kind = Kind::Customer;
    it.primary = Some(contact());
    it.recipient = Recipient::Contact(contact().id);
    it.rules.nudge_customer = true;
    it.it.state = State::Waiting;
    it
}

#[test]
fn what_silences_the_reminders_silences_the_customer_s_too() {
    let after = |change: &dyn Fn(&mut World)| {
        let mut it = nudge();
        change(&mut it);
        it.verdict(DUE)
    };
    assert_eq!(after(&|_| ()), Verdict::Send);
    assert_eq!(after(&|w| w.it.livemode = false), skip(Reason::TestMode));
    assert_eq!(after(&|w| w.configured.email = false), skip(Reason::NotConfigured));
    assert_eq!(after(&|w| w.it.phase = Phase::Completed), skip(Reason::Completed));
    assert_eq!(after(&|w| w.it.hidden.deleted_at = Some(at(DUE))), skip(Reason::Deleted));
    assert_eq!(after(&|w| w.customer_deleted = true), skip(Reason::CustomerDeleted));
    assert_eq!(after(&|w| w.status = CustomerStatus::Archived), skip(Reason::CustomerInactive));
    assert_eq!(after(&|w| w.it.state = State::Paused), skip(Reason::Paused));
    assert_eq!(after(&|w| w.it.reminder_email = false), skip(Reason::ChannelOff));
    let until = Some(at("2026-11-24T00:00:00+01:00"));
    assert_eq!(after(&|w| w.it.snoozed_until = until), skip(Reason::Snoozed));
    let later = Some("2026-11-24".parse().expect("a date"));
    assert_eq!(after(&|w| w.it.reminders.last_slot = later), skip(Reason::Superseded));
}

#[test]
fn a_late_nudge_waits_for_the_workspace_s_hours() {
    let it = nudge();
    assert_eq!(it.verdict("2026-11-23T17:00:00+01:00"), Verdict::Send);
    assert_eq!(it.verdict("2026-11-28T12:00:00+01:00"), Verdict::Later(at("2026-11-30T09:00:00+01:00")));
}
