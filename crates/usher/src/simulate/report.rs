//! The forecast in words and as JSON.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike as _, NaiveDate};
use serde_json::{Value, json};

use super::forecast::{Forecast, Sent};

/// Width of a day's bar, in characters.
const BAR: usize = 40;

/// A day: messages, reminders, people.
#[derive(Debug, Default, Clone)]
pub(super) struct Day {
    pub(super) email: usize,
    pub(super) slack: usize,
    pub(super) reminders: usize,
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
    pub(super) most_on: NaiveDate,
    pub(super) most: usize,
}

/// Everybody, who gets most first.
pub(super) fn people(forecast: &Forecast) -> Vec<Person> {
    let mut all: BTreeMap<&str, (&Sent, BTreeMap<NaiveDate, usize>, usize)> = BTreeMap::new();
    for sent in &forecast.sent {
        let (_, days, reminders) = all.entry(&sent.recipient).or_insert_with(|| (sent, BTreeMap::new(), 0));
        *days.entry(sent.day).or_default() += 1;
        *reminders += sent.reminders;
    }
    let share = |(first, days, reminders): (&Sent, BTreeMap<NaiveDate, usize>, usize)| {
        let (most_on, most) =
            days.iter().rev().max_by_key(|(_, count)| **count).map_or((first.day, 0), |(d, n)| (*d, *n));
        Person {
            recipient: first.recipient.clone(),
            name: first.name.clone(),
            messages: days.values().sum(),
            reminders,
            most_on,
            most,
        }
    };
    let mut people: Vec<Person> = all.into_values().map(share).collect();
    people.sort_by(|one, other| other.messages.cmp(&one.messages).then_with(|| one.name.cmp(&other.name)));
    people
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
                .map(|it| json!({"at": it.at, "channel": it.channel, "recipient": it.recipient, "name": it.name, "reminders": it.reminders}))
                .collect();
            json!({
                "date": date, "messages": day.messages(), "reminders": day.reminders,
                "people": day.people.len(), "sent": to,
            })
        })
        .collect();
    let people: Vec<Value> = people(forecast)
        .iter()
        .map(|it| {
            json!({
                "recipient": it.recipient, "name": it.name, "messages": it.messages, "reminders": it.reminders,
                "most_in_a_day": it.most, "on": it.most_on,
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
        "unsent": forecast.unsent,
        "people": people,
        "calendar": calendar,
    })
}

/// The forecast for people: a line a day, then a line a person.
pub(super) fn lines(forecast: &Forecast) -> Vec<String> {
    let days = days(forecast);
    let most = days.values().map(Day::messages).max().unwrap_or(0).max(1);
    let reminders: usize = forecast.sent.iter().map(|it| it.reminders).sum();
    let mut lines = vec![
        format!(
            "{} to {}: {} onboardings, {} messages with {reminders} reminders",
            forecast.from,
            forecast.until,
            forecast.onboardings,
            forecast.sent.len()
        ),
        String::new(),
        "DAY             MESSAGES  REMINDERS  PEOPLE".to_owned(),
    ];
    for (date, day) in &days {
        let bar = "#".repeat((day.messages() * BAR).div_ceil(most));
        let line = format!(
            "{date} {}  {:>8}  {:>9}  {:>6}  {bar}",
            date.weekday(),
            day.messages(),
            day.reminders,
            day.people.len()
        );
        lines.push(line.trim_end().to_owned());
    }
    lines.extend([
        String::new(),
        "PERSON                        MESSAGES  REMINDERS  MOST IN A DAY".to_owned(),
    ]);
    for it in people(forecast) {
        let name: String = it.name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(28).collect();
        lines.push(format!(
            "{name:<28}  {:>8}  {:>9}  {} on {}",
            it.messages, it.reminders, it.most, it.most_on
        ));
    }
    if !forecast.unsent.is_empty() {
        lines.extend([String::new(), "NOT SENT".to_owned()]);
        lines.extend(forecast.unsent.iter().map(|(reason, count)| format!("{reason:<28}  {count:>8}")));
    }
    lines
}
