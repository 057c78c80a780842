//! The forecast in words and as JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use chrono::{Datelike as _, NaiveDate};
use serde_json::{Value, json};

use super::forecast::{Forecast, Sent};

/// Width of a day's bar, in characters.
const BAR: usize = 40;

/// A day: messages, reminders and how many of them are escalations, people.
#[derive(Debug, Default, Clone)]
pub(super) struct Day {
    pub(super) email: usize,
    pub(super) slack: usize,
    pub(super) reminders: usize,
    pub(super) escalations: usize,
    pub(super) people: BTreeSet<String>,
}

impl Day {
    pub(super) const fn messages(&self) -> usize {
        self.email + self.slack
    }
}

/// Every day of the span, quiet ones too.
pub(super) fn days(forecast: &Forecast) -> BTreeMap<NaiveDate, Day> {
    let mut days: BTreeMap<NaiveDate, Day> = forecast
        .from
        .iter_days()
        .take_while(|day| *day <= forecast.until)
        .map(|day| (day, Day::default()))
        .collect();
    for sent in &forecast.sent {
        let day = days.entry(sent.day).or_default();
        match sent.channel {
            usher_lifecycle::reminder::Channel::Email => day.email += 1,
            usher_lifecycle::reminder::Channel::Slack => day.slack += 1,
        }
        day.reminders += sent.reminders;
        day.escalations += sent.escalations;
        day.people.insert(sent.recipient.clone());
    }
    days
}

/// Somebody's share.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) recipient: String,
    pub(super) name: String,
    pub(super) messages: usize,
    pub(super) reminders: usize,
    pub(super) escalations: usize,
    pub(super) most_on: NaiveDate,
    pub(super) most: usize,
}

/// Everybody, who gets most first.
pub(super) fn people(forecast: &Forecast) -> Vec<Person> {
    let mut all: BTreeMap<&str, Vec<&Sent>> = BTreeMap::new();
    for sent in &forecast.sent {
        all.entry(&sent.recipient).or_default().push(sent);
    }
    let share = |all: Vec<&Sent>| {
        let first = *all.first()?;
        let mut days: BTreeMap<NaiveDate, usize> = BTreeMap::new();
        for sent in &all {
            *days.entry(sent.day).or_default() += 1;
        }
        let (most_on, most) =
            days.iter().rev().max_by_key(|(_, count)| **count).map_or((first.day, 0), |(d, n)| (*d, *n));
        Some(Person {
            recipient: first.recipient.clone(),
            name: first.name.clone(),
            messages: all.len(),
            reminders: all.iter().map(|it| it.reminders).sum(),
            escalations: all.iter().map(|it| it.escalations).sum(),
            most_on,
            most,
        })
    };
    let mut people: Vec<Person> = all.into_values().filter_map(share).collect();
    people.sort_by(|one, other| other.messages.cmp(&one.messages).then_with(|| one.name.cmp(&other.name)));
    people
}

/// How many of all reminders are escalations.
pub(super) fn escalations(forecast: &Forecast) -> usize {
    forecast.sent.iter().map(|it| it.escalations).sum()
}

/// The forecast as one document.
pub(super) fn json(forecast: &Forecast) -> Value {
    let calendar: Vec<Value> = days(forecast)
        .iter()
        .map(|(date, day)| {
            let to: Vec<Value> = forecast
                .sent
                .iter()
                .filter(|sent| sent.day == *date)
                .map(|it| {
                    json!({
                        "at": it.at, "channel": it.channel, "recipient": it.recipient, "name": it.name,
                        "reminders": it.reminders, "escalations": it.escalations,
                    })
                })
                .collect();
            json!({
                "date": date, "messages": day.messages(), "reminders": day.reminders,
                "escalations": day.escalations, "people": day.people.len(), "sent": to,
            })
        })
        .collect();
    let people: Vec<Value> = people(forecast)
        .iter()
        .map(|it| {
            json!({
                "recipient": it.recipient, "name": it.name, "messages": it.messages, "reminders": it.reminders,
                "escalations": it.escalations, "most_in_a_day": it.most, "on": it.most_on,
            })
        })
        .collect();
    json!({
        "object": "simulation",
        "from": forecast.from,
        "until": forecast.until,
        "onboardings": forecast.onboardings,
        "messages": forecast.sent.len(),
        "reminders": forecast.sent.iter().map(|it| it.reminders).sum::<usize>(),
        "escalations": escalations(forecast),
        "unsent": forecast.unsent,
        "states_set": forecast.set,
        "people": people,
        "calendar": calendar,
    })
}

/// The forecast for people: a line a day, then a line a person. Escalations have a column where there are any.
pub(super) fn lines(forecast: &Forecast) -> Vec<String> {
    let days = days(forecast);
    let most = days.values().map(Day::messages).max().unwrap_or(0).max(1);
    let reminders: usize = forecast.sent.iter().map(|it| it.reminders).sum();
    let escalations = escalations(forecast);
    let column = |text: &dyn Display| match escalations {
        0 => String::new(),
        _ => format!("  {text:>11}"),
    };
    let escalated = match escalations {
        0 => String::new(),
        count => format!(", {count} of them escalations"),
    };
    let mut lines = vec![
        format!(
            "{} to {}: {} onboardings, {} messages with {reminders} reminders{escalated}",
            forecast.from,
            forecast.until,
            forecast.onboardings,
            forecast.sent.len()
        ),
        String::new(),
        format!("DAY             MESSAGES  REMINDERS{}  PEOPLE", column(&"ESCALATIONS")),
    ];
    for (date, day) in &days {
        let bar = "#".repeat((day.messages() * BAR).div_ceil(most));
        let line = format!(
            "{date} {}  {:>8}  {:>9}{}  {:>6}  {bar}",
            date.weekday(),
            day.messages(),
            day.reminders,
            column(&day.escalations),
            day.people.len()
        );
        lines.push(line.trim_end().to_owned());
    }
    lines.extend([
        String::new(),
        format!("PERSON                        MESSAGES  REMINDERS{}  MOST IN A DAY", column(&"ESCALATIONS")),
    ]);
    for it in people(forecast) {
        let name: String = it.name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(28).collect();
        lines.push(format!(
            "{name:<28}  {:>8}  {:>9}{}  {} on {}",
            it.messages,
            it.reminders,
            column(&it.escalations),
            it.most,
            it.most_on
        ));
    }
    for (title, counts) in [("NOT SENT", &forecast.unsent), ("STATES SET", &forecast.set)] {
        if !counts.is_empty() {
            lines.extend([String::new(), title.to_owned()]);
            lines.extend(counts.iter().map(|(name, count)| format!("{name:<28}  {count:>8}")));
        }
    }
    lines
}
