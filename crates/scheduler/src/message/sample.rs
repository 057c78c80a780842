//! Messages to try templates on: everything set, nothing set, one and several, every kind.

use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::reminder::{Kind, Zone};
use usher_lifecycle::{Phase, State};

use super::{Address, Item, Message, To};

/// Between them these take every branch of the embedded templates.
pub(super) fn messages() -> Vec<Message> {
    let kinds = [Kind::Cadence, Kind::Manual, Kind::Escalation, Kind::Customer];
    let lists: [Vec<Item>; 5] =
        [vec![full()], vec![bare()], vec![full(), bare()], vec![bare(), bare()], many(30)];
    let mut messages = Vec::new();
    for kind in kinds {
        for items in &lists {
            for rich in [true, false] {
                messages.push(message(kind, items.clone(), rich));
            }
        }
    }
    messages
}

fn many(count: i64) -> Vec<Item> {
    (0..count)
        .map(|n| Item { display_id: n, days_late: n % 3, ..if n % 2 == 0 { full() } else { bare() } })
        .collect()
}

fn message(kind: Kind, items: Vec<Item>, rich: bool) -> Message {
    Message {
        kind,
        to: To {
            name: rich.then(|| "Ada Lovelace".to_owned()),
            address: Address::Email("ada@example.com".to_owned()),
            zone: Zone::utc(),
        },
        items,
        workspace: "Example".to_owned(),
        message_id: "<sample@example.com>".to_owned(),
        now: DateTime::UNIX_EPOCH,
        references: Vec::new(),
        unsubscribe_url: rich.then(|| "https://example.com/mute".to_owned()),
        reply_to: None,
    }
}

fn full() -> Item {
    Item {
        kind: Kind::Cadence,
        onboarding_id: "onb_00000000000000000000000000".to_owned(),
        display_id: 7,
        customer: "Acme".to_owned(),
        phase: Phase::Review,
        days_in_phase: 12,
        state: State::AtRisk,
        state_since: Some(DateTime::<Utc>::UNIX_EPOCH),
        target: Some(DateTime::<Utc>::UNIX_EPOCH),
        days_late: 4,
        last_change: Some("moved to review".to_owned()),
        changed_since_last: true,
        others: vec![("CSM".to_owned(), "Grace".to_owned()), ("designer".to_owned(), "Edsger".to_owned())],
        notes: Some("first line\nsecond line".to_owned()),
        link: Some("https://example.com/7".to_owned()),
        slot: "1970-01-01".to_owned(),
        lag: Some(TimeDelta::hours(2)),
        also: Vec::new(),
    }
}

fn bare() -> Item {
    Item {
        kind: Kind::Escalation,
        days_in_phase: 1,
        state: State::Active,
        state_since: None,
        target: None,
        days_late: 0,
        last_change: None,
        changed_since_last: false,
        others: Vec::new(),
        notes: None,
        link: None,
        lag: None,
        ..full()
    }
}
