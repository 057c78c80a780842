//! What the templates see. These names are what an operator writes in a template: renaming one breaks overrides.
//!
//! Top: `kind, count, late_count, name, workspace, unsubscribe_url, items`. Item: `customer, display_id, phase,
//! days_in_phase, state, blocked, since, target, days_late, last_change, changed, escalated, others (role, name), notes,
//! note, link, slot, lag`. What does not apply is `none`. A customer's message has only `count, name, workspace,
//! unsubscribe_url, items`, and its items `customer, phase, since, target`: `phase` in words for customers, `target` while
//! it is still to come.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Serialize;
use usher_lifecycle::State;
use usher_lifecycle::reminder::{Kind, Zone, local_date};

use super::{Item, Message, clean, render::RenderError};

/// The names at the top.
pub(super) const ALL: &[&str] =
    &["kind", "count", "late_count", "name", "workspace", "unsubscribe_url", "items"];
/// The names at the top of a customer's message.
pub(super) const CUSTOMER: &[&str] = &["count", "name", "workspace", "unsubscribe_url", "items"];
/// The names at the top where a template is about one onboarding.
pub(super) const ONE: &[&str] = &["kind", "item"];

const NAME: usize = 120;
const NOTES: usize = 1_000;
const NOTE_LINE: usize = 300;

/// A message to the team.
#[derive(Debug, Serialize)]
pub(super) struct TeamView {
    kind: &'static str,
    count: usize,
    late_count: usize,
    name: Option<String>,
    workspace: String,
    unsubscribe_url: Option<String>,
    pub(super) items: Vec<TeamItem>,
}

/// A message to the customer: nothing of it says that anything is late.
#[derive(Debug, Serialize)]
pub(super) struct CustomerView {
    count: usize,
    name: Option<String>,
    workspace: String,
    unsubscribe_url: Option<String>,
    items: Vec<CustomerItem>,
}

/// An onboarding as the team sees it.
#[derive(Debug, Serialize)]
pub(super) struct TeamItem {
    customer: String,
    display_id: i64,
    phase: &'static str,
    days_in_phase: i64,
    state: &'static str,
    blocked: bool,
    since: Option<String>,
    target: Option<String>,
    days_late: i64,
    last_change: Option<String>,
    changed: bool,
    escalated: bool,
    others: Vec<Other>,
    notes: Option<String>,
    note: Option<String>,
    pub(super) link: Option<String>,
    slot: String,
    lag: Option<String>,
}

#[derive(Debug, Serialize)]
struct Other {
    role: String,
    name: String,
}

/// An onboarding as the customer sees it: nothing internal.
#[derive(Debug, Serialize)]
struct CustomerItem {
    customer: String,
    phase: &'static str,
    since: Option<String>,
    target: Option<String>,
}

/// Positions of the items, most late first; then at risk, then longest in its phase.
pub(super) fn order(items: &[Item]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&at| {
        let item = &items[at];
        let late = item.days_late.max(0);
        let at_risk = matches!(item.state, State::AtRisk);
        (std::cmp::Reverse((late, at_risk, item.days_in_phase)), item.display_id)
    });
    order
}

pub(super) fn team(message: &Message, order: &[usize]) -> Result<TeamView, RenderError> {
    let items = order.iter().map(|&at| team_item(&message.items[at], &message.to.zone));
    Ok(TeamView {
        kind: kind(message.kind),
        count: message.items.len(),
        late_count: message.items.iter().filter(|item| item.days_late > 0).count(),
        name: recipient(message),
        workspace: name(&message.workspace),
        unsubscribe_url: message.unsubscribe_url.clone(),
        items: items.collect::<Result<_, _>>()?,
    })
}

pub(super) fn customer(message: &Message, order: &[usize]) -> CustomerView {
    let zone = &message.to.zone;
    let today = local_date(zone, message.now);
    let items = order.iter().map(|&at| &message.items[at]).map(|item| CustomerItem {
        customer: name(&item.customer),
        phase: item.phase.customer_label(),
        since: item.state_since.map(|at| date(at, zone)),
        // One that has passed would read as a reproach.
        target: item.target.map(|at| target_day(at, zone)).filter(|day| *day >= today).map(written),
    });
    CustomerView {
        count: message.items.len(),
        name: recipient(message),
        workspace: name(&message.workspace),
        unsubscribe_url: message.unsubscribe_url.clone(),
        items: items.collect(),
    }
}

fn recipient(message: &Message) -> Option<String> {
    message.to.name.as_deref().map(name).filter(|name| !name.is_empty())
}

fn team_item(item: &Item, zone: &Zone) -> Result<TeamItem, RenderError> {
    let notes = |max| {
        item.notes.as_deref().map(|notes| clean::paragraphs(notes, max)).filter(|text| !text.is_empty())
    };
    Ok(TeamItem {
        customer: name(&item.customer),
        display_id: item.display_id,
        phase: item.phase.label(),
        days_in_phase: item.days_in_phase,
        state: item.state.label(),
        blocked: !matches!(item.state, State::Active),
        since: item.state_since.map(|at| date(at, zone)),
        target: item.target.map(|at| written(target_day(at, zone))),
        days_late: item.days_late,
        last_change: item.last_change.as_deref().map(|text| clean::isolate(clean::line(text, NOTE_LINE))),
        changed: item.changed_since_last,
        escalated: matches!(item.kind, Kind::Escalation),
        others: item
            .others
            .iter()
            .map(|(role, person)| Other { role: name(role), name: name(person) })
            .collect(),
        notes: notes(NOTES),
        note: notes(NOTES).map(|text| clean::isolate(clean::line(&text, NOTE_LINE))),
        link: item.link.as_deref().map(link).transpose()?,
        slot: clean::line(&item.slot, NAME),
        lag: item.lag.filter(|lag| lag.num_minutes() >= 15).map(span),
    })
}

fn name(text: &str) -> String {
    clean::isolate(clean::line(text, NAME))
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Cadence => "cadence",
        Kind::Manual => "manual",
        Kind::Escalation => "escalation",
        Kind::Customer => "customer",
    }
}

/// Only http and https: a `javascript:` link must not get into a message, wherever it came from.
fn link(text: &str) -> Result<String, RenderError> {
    url::Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .map(String::from)
        .ok_or(RenderError::Link)
}

fn date(at: DateTime<Utc>, zone: &Zone) -> String {
    written(local_date(zone, at))
}

/// A target given as a plain date is kept as midnight UTC: it must not read as the day before further west.
fn target_day(at: DateTime<Utc>, zone: &Zone) -> NaiveDate {
    if at.time() == NaiveTime::MIN { at.date_naive() } else { local_date(zone, at) }
}

fn written(date: NaiveDate) -> String {
    date.format("%-d %b %Y").to_string()
}

fn span(lag: TimeDelta) -> String {
    let of = |count: i64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    match (lag.num_days(), lag.num_hours()) {
        (0, 0) => of(lag.num_minutes(), "minute"),
        (0, hours) => of(hours, "hour"),
        (days, _) => of(days, "day"),
    }
}
