use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::reminder::{Rules, zone};

use super::{
    forecast::{self, Forecast},
    picture, policy,
    population::{BOTH, synthetic},
    report,
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn simulated(onboardings: usize, days: i64) -> Forecast {
    let mut rules = Rules::default();
    rules.policy.time_zone = zone("Europe/Berlin").expect("a zone");
    rules.policy.spread_minutes = 20;
    rules.policy.holidays.insert("2026-12-25".parse().expect("a date"));
    let from = at("2026-12-18T00:00:00Z");
    let world = synthetic(rules, onboardings, 7, from);
    forecast::of(&world, BOTH, from, from + TimeDelta::days(days), |_| {})
}

#[test]
fn the_calendar_for_people() {
    insta::assert_snapshot!(report::lines(&simulated(30, 14)).join("\n"));
}

#[test]
fn the_calendar_as_json() {
    insta::assert_json_snapshot!(report::json(&simulated(3, 5)));
}

#[test]
fn the_picture() {
    insta::assert_snapshot!(picture::svg(&simulated(30, 14)));
}

#[test]
fn the_same_seed_is_the_same_answer_and_days_off_are_empty() {
    let (one, other) = (simulated(200, 30), simulated(200, 30));
    assert_eq!(report::json(&one), report::json(&other));
    let days = report::days(&one);
    for day in ["2026-12-19", "2026-12-20", "2026-12-25"] {
        assert_eq!(days[&day.parse().expect("a date")].messages(), 0, "{day}");
    }
    assert!(days.values().filter(|day| day.messages() > 10).count() > 10);
    let total: usize = report::people(&one).iter().map(|it| it.messages).sum();
    assert_eq!(total, one.sent.len());
}

#[test]
fn one_message_per_person_channel_and_day() {
    let forecast = simulated(200, 30);
    let mut seen = std::collections::HashSet::new();
    for sent in &forecast.sent {
        assert!(seen.insert((sent.day, sent.channel, &sent.recipient)), "{sent:?}");
    }
}

#[test]
fn a_policy_is_the_reminders_section_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.toml");
    let read = |text: &str| {
        std::fs::write(&path, text).expect("written");
        policy(&path).map_err(|error| format!("{error:#}"))
    };
    let rules = read("[reminders]\ntime_zone = \"Asia/Tokyo\"\nspread_minutes = 30\n").expect("a policy");
    assert_eq!((rules.policy.time_zone.name(), rules.policy.spread_minutes), ("Asia/Tokyo", 30));
    assert!(read("[reminders]\ntime_zon = \"UTC\"\n").expect_err("unknown").contains("time_zon"));
    assert!(read("[reminders]\ntime_zone = \"Mars\"\n").expect_err("no zone").contains("Mars"));
    assert!(read("[log]\nfilter = \"info\"\n").expect_err("another section").contains("log"));
    assert!(read("time_zone = ").expect_err("no TOML").contains("not TOML"));
}

#[test]
fn names_are_data_on_the_page() {
    let mut forecast = simulated(3, 5);
    forecast.sent.iter_mut().for_each(|it| it.name = "<script>\"&".to_owned());
    let page = picture::html(&forecast);
    assert!(page.contains("&lt;script&gt;&quot;&amp;") && !page.contains("<script>"));
}
