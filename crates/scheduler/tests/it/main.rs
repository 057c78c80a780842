//! The channels against real servers, and the messages as people see them.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod changes;
mod digest;
mod due;
mod email;
mod email_security;
mod escalation;
mod escalation_changes;
mod escalation_later;
mod foresight;
mod message;
mod nudge_changes;
mod nudges;
mod overrides;
mod policy_change;
mod retention;
mod retries;
mod rig;
mod scenarios;
mod slack;
mod slack_outcomes;
mod smtp_outcomes;
mod unknown_fate;
mod wake_up;
mod worker;

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::reminder::{Kind, zone};
use usher_lifecycle::{Phase, State};
use usher_scheduler::message::{Address, Item, Message, Templates, To};

/// Longer than anything here takes; a test that reaches it fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn templates() -> &'static Templates {
    static EMBEDDED: LazyLock<Templates> = LazyLock::new(|| Templates::embedded().unwrap());
    &EMBEDDED
}

fn message(items: Vec<Item>) -> Message {
    Message {
        kind: Kind::Cadence,
        to: To {
            name: Some("Ada Lovelace".to_owned()),
            address: Address::Email("ada@example.com".to_owned()),
            zone: zone("America/New_York").unwrap(),
        },
        items,
        workspace: "Northwind".to_owned(),
        message_id: "<rem-1@usher.example>".to_owned(),
        now: at("2026-05-12T13:00:00Z"),
        references: vec!["<onb-7@usher.example>".to_owned(), "<rem-0@usher.example>".to_owned()],
        unsubscribe_url: Some("https://usher.example/u/abc?t=1&k=2".to_owned()),
        reply_to: None,
    }
}

fn by_slack(address: &str, items: Vec<Item>) -> Message {
    let address = if address.starts_with('U') {
        Address::SlackUser(address.to_owned())
    } else {
        Address::SlackChannel(address.to_owned())
    };
    let mut message = message(items);
    message.to.address = address;
    message
}

/// Late, at risk, with everything set.
fn acme() -> Item {
    Item {
        kind: usher_lifecycle::reminder::Kind::Cadence,
        onboarding_id: "onb_01h455vb4pex5vsknk084sn02q".to_owned(),
        display_id: 7,
        customer: "Acme".to_owned(),
        phase: Phase::Review,
        days_in_phase: 12,
        state: State::AtRisk,
        state_since: Some(at("2026-05-04T02:00:00Z")),
        target: Some(at("2026-05-08T00:00:00Z")),
        days_late: 4,
        last_change: Some("Grace moved it to review".to_owned()),
        changed_since_last: true,
        others: vec![
            ("CSM".to_owned(), "Grace Hopper".to_owned()),
            ("designer".to_owned(), "Edsger".to_owned()),
        ],
        notes: Some("Waiting for the legal team.\nAsk again on Friday.".to_owned()),
        link: Some("https://usher.example/admin/onboardings/7".to_owned()),
        slot: "2026-05-12".to_owned(),
        lag: Some(TimeDelta::minutes(90)),
        also: Vec::new(),
    }
}

/// Nothing set that need not be.
fn plain(display_id: i64, customer: &str) -> Item {
    Item {
        display_id,
        customer: customer.to_owned(),
        phase: Phase::Launch,
        days_in_phase: 1,
        state: State::Active,
        state_since: None,
        target: None,
        days_late: 0,
        last_change: None,
        changed_since_last: false,
        others: Vec::new(),
        notes: None,
        link: Some(format!("https://usher.example/admin/onboardings/{display_id}")),
        lag: None,
        ..acme()
    }
}
