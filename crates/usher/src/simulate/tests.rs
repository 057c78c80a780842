use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::{
    CustomerId, Phase, State,
    onboarding::Role,
    reminder::{Ambiguous, CatchUp, Channel, EscalateTo, EscalationStep, Rules, policy::PhaseOwner, zone},
};

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
    under(Rules::default(), onboardings, days)
}

/// The second of two steps stops the reminders.
fn escalated(onboardings: usize, days: i64) -> Forecast {
    let step = |after_reminders, to, set_state| EscalationStep { after_reminders, to, set_state };
    let escalation = vec![
        step(2, EscalateTo::ProductOps, Some(State::AtRisk)),
        step(4, EscalateTo::Fallback, Some(State::Paused)),
    ];
    let ops_email = Some("ops@example.com".to_owned());
    under(Rules { escalation, ops_email, ..Rules::default() }, onboardings, days)
}

fn under(mut rules: Rules, onboardings: usize, days: i64) -> Forecast {
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
fn escalations_are_counted_in_words_numbers_and_pictures() {
    let forecast = escalated(30, 14);
    insta::assert_snapshot!(report::lines(&forecast).join("\n"));
    let json = report::json(&forecast);
    let sum = |all: &serde_json::Value, key: &str| -> u64 {
        all.as_array().expect("a list").iter().filter_map(|it| it[key].as_u64()).sum()
    };
    for key in ["reminders", "escalations"] {
        assert!(json[key].as_u64() > Some(10), "{key}");
        assert_eq!(json[key], sum(&json["people"], key), "{key}");
        assert_eq!(json[key], sum(&json["calendar"], key), "{key}");
    }
    let days = json["calendar"].as_array().expect("a list");
    for day in days {
        assert_eq!(day["escalations"], sum(&day["sent"], "escalations"), "{day}");
    }
    let dots = picture::svg(&forecast).matches("<circle").count();
    assert_eq!(dots, 1 + days.iter().filter(|day| day["escalations"] != 0).count(), "one is in the legend");
    assert_eq!(picture::svg(&simulated(30, 14)).matches("<circle").count(), 0);
}

/// Reminded daily from the first day on: two go unheeded, the third slot escalates; the fifth is stopped.
#[test]
fn what_a_step_sets_has_its_effect_on_what_comes_later() {
    let (plain, forecast) = (simulated(200, 60), escalated(200, 60));
    let paused = forecast.set.get("paused").copied().unwrap_or_default();
    assert!(paused > 50 && forecast.set.get("at_risk") > Some(&paused), "{:?}", forecast.set);
    assert!(plain.set.is_empty() && plain.sent.iter().all(|it| it.escalations == 0));
    let reminders = |it: &Forecast| it.sent.iter().map(|it| it.reminders - it.escalations).sum::<usize>();
    assert!(reminders(&forecast) * 10 < reminders(&plain) * 9, "most are paused after four");
    // A pause stops the reminders that are planned with it, and is told itself, at the workspace's address.
    let told = forecast.sent.iter().filter(|it| it.name == "ops@example.com");
    assert_eq!(told.map(|it| it.escalations).sum::<usize>(), paused);
    assert!(forecast.unsent["paused"] > plain.unsent["paused"] + paused);
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
fn customers_are_told_by_email_while_waiting_where_the_policy_says_so() {
    let from = at("2026-12-14T00:00:00Z");
    let until = from + TimeDelta::days(30);
    let forecast = |nudge_customer| {
        let rules = Rules { nudge_customer, ..Rules::default() };
        let mut world = synthetic(rules, 60, 7, from);
        // One of those who are waited for has nobody to write to.
        let waiting =
            world.onboardings.iter().find(|it| it.state == State::Waiting && it.snoozed_until.is_none());
        let lonely = waiting.map(|it| it.customer_id).expect("some wait");
        drop(world.contacts.remove(&lonely));
        (forecast::of(&world, BOTH, from, until, |_| {}), world, lonely)
    };
    let is_contact = |it: &&forecast::Sent| it.recipient.starts_with("contact:");
    let (silent, ..) = forecast(false);
    assert_eq!(silent.sent.iter().filter(is_contact).count(), 0);
    let (told, world, lonely) = forecast(true);
    let theirs: Vec<_> = told.sent.iter().filter(is_contact).collect();
    assert!(theirs.len() > 10 && theirs.iter().all(|it| it.channel == Channel::Email), "{theirs:?}");
    let waiting = |id: &CustomerId| {
        world
            .onboardings
            .iter()
            .any(|it| it.customer_id == *id && it.state == State::Waiting && it.reminder_email)
    };
    let names: BTreeSet<&str> = theirs.iter().map(|it| it.name.as_str()).collect();
    let wanted: BTreeSet<&str> = world
        .contacts
        .values()
        .filter(|it| waiting(&it.customer_id) && it.customer_id != lonely)
        .map(|it| it.name.as_str())
        .collect();
    assert!(names.is_subset(&wanted) && names.len() * 2 > wanted.len(), "{names:?} of {wanted:?}");
    assert!(told.unsent.get("no_recipient") > silent.unsent.get("no_recipient"), "{:?}", told.unsent);
    let team = |it: &forecast::Forecast| it.sent.iter().filter(|it| !is_contact(it)).count();
    assert_eq!(team(&told), team(&silent), "the team is told of the same");
}

#[test]
fn one_message_per_person_channel_and_day() {
    let forecast = simulated(200, 30);
    let mut seen = std::collections::HashSet::new();
    for sent in &forecast.sent {
        assert!(seen.insert((sent.day, sent.channel, &sent.recipient)), "{sent:?}");
    }
}

/// Thursday with Monday's slot still pending: what is overdue is caught up or skipped as plan would, not dropped.
#[test]
fn what_is_overdue_is_in_it() {
    let forecast = |catch_up, from: &str| {
        let from = at(from);
        let mut rules = Rules::default();
        rules.policy.catch_up = catch_up;
        let mut world = synthetic(rules, 30, 7, from);
        let kept = world.onboardings.iter().find(|it| {
            it.state == State::Active
                && it.snoozed_until.is_none()
                && it.reminder_email
                && it.reminder_frequency_days == 1
        });
        let mut one = kept.expect("some are").clone();
        one.created_at = at("2026-12-01T00:00:00Z");
        one.hidden.cadence_base = "2026-12-01".parse().expect("a date");
        one.reminders.next_slot = Some("2026-12-14".parse().expect("a date"));
        one.reminders.next_reminder_at = Some(at("2026-12-14T09:00:00Z"));
        world.onboardings = vec![one];
        forecast::of(&world, BOTH, from, from + TimeDelta::hours(24), |_| {})
    };
    let messages = |it: &Forecast| it.sent.iter().filter(|it| it.channel == Channel::Email).count();
    let (noon, evening) = ("2026-12-17T12:00:00Z", "2026-12-17T20:00:00Z");
    let once = forecast(CatchUp::Once, noon);
    assert_eq!((messages(&once), once.unsent.get("superseded")), (2, Some(&3)), "Thursday's and Friday's");
    let once = forecast(CatchUp::Once, evening);
    assert_eq!((messages(&once), once.unsent.get("superseded")), (1, Some(&4)), "Friday's stands for it");
    let skip = forecast(CatchUp::Skip, noon);
    assert_eq!((messages(&skip), skip.unsent.get("too_late")), (1, Some(&4)));
}

#[test]
fn a_policy_is_the_reminders_section_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.toml");
    let read = |text: &str| {
        std::fs::write(&path, text).expect("written");
        policy(&path).map(|policy| policy.rules()).map_err(|error| format!("{error:#}"))
    };
    let text = "[reminders]\ntime_zone = \"Asia/Tokyo\"\nspread_minutes = 30\nnudge_customer = true\n";
    let rules = read(text).expect("a policy");
    assert!(rules.nudge_customer);
    assert_eq!((rules.policy.time_zone.name(), rules.policy.spread_minutes), ("Asia/Tokyo", 30));
    assert!(read("[reminders]\ntime_zon = \"UTC\"\n").expect_err("unknown").contains("time_zon"));
    assert!(read("[reminders]\ntime_zone = \"Mars\"\n").expect_err("no zone").contains("Mars"));
    assert!(read("[log]\nfilter = \"info\"\n").expect_err("another section").contains("log"));
    assert!(read("time_zone = ").expect_err("no TOML").contains("not TOML"));
}

#[test]
fn a_policy_has_escalation_owners_and_what_is_ambiguous_by_the_rules_of_the_api() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.toml");
    let read = |text: &str| {
        std::fs::write(&path, format!("[reminders]\n{text}")).expect("written");
        policy(&path).map(|policy| policy.rules()).map_err(|error| format!("{error:#}"))
    };
    let rules = read(
        "spread_minutes = 5\nambiguous = \"hold\"\nphase_owners = { review = \"se\" }\n\
         [[reminders.escalation]]\nafter_reminders = 3\nto = \"product_ops\"\n\
         [[reminders.escalation]]\nafter_reminders = 5\nto = \"fallback\"\nset_state = \"at_risk\"\n",
    );
    let rules = rules.expect("a policy");
    let step = |after_reminders, to, set_state| EscalationStep { after_reminders, to, set_state };
    let wanted = [step(3, EscalateTo::ProductOps, None), step(5, EscalateTo::Fallback, Some(State::AtRisk))];
    assert_eq!(rules.escalation, wanted);
    assert_eq!((rules.owner(Phase::Review), rules.ambiguous), (Role::Se, Ambiguous::Hold));
    assert_eq!(rules.policy.spread_minutes, 5);
    for (text, fault) in [
        ("ambiguous = \"drop\"", "ambiguous is \"drop\"; resend and hold are allowed"),
        ("escalation = 3", "escalation is 3; an array is wanted"),
        ("[[reminders.escalation]]\nto = \"csm\"", "escalation.0.after_reminders is missing"),
        (
            "[[reminders.escalation]]\nafter_reminders = 0\nto = \"csm\"",
            "escalation.0.after_reminders is 0; 1 to 1000 are allowed",
        ),
        (
            "[[reminders.escalation]]\nafter_reminders = 1\nto = \"boss\"",
            "escalation.0.to is \"boss\"; csm, se, designer, product_ops and fallback are allowed",
        ),
        ("phase_owners = { review = \"boss\" }", "phase_owners.review is \"boss\"; csm, se, designer"),
    ] {
        let told = read(text).expect_err(text);
        assert!(told.contains("policy.toml, [reminders]: ") && told.contains(fault), "{told}");
    }
}

/// With the records of a store: what the file names stands in the place of the workspace's own, the rest stays.
#[test]
fn what_a_policy_does_not_name_is_the_workspace_s_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.toml");
    let step =
        |after_reminders| EscalationStep { after_reminders, to: EscalateTo::Fallback, set_state: None };
    let own = Rules {
        escalation: vec![step(7)],
        phase_owners: vec![PhaseOwner { phase: Phase::Review, role: Role::Se }],
        ambiguous: Ambiguous::Hold,
        nudge_customer: true,
        policy: usher_lifecycle::reminder::Policy {
            time_zone: usher_lifecycle::reminder::zone("Europe/Berlin").expect("a zone"),
            holidays: ["2026-12-25".parse().expect("a date")].into(),
            ..Default::default()
        },
        ..Rules::default()
    };
    let over = |text: &str| {
        std::fs::write(&path, format!("[reminders]\n{text}")).expect("written");
        policy(&path).expect("a policy").over(&own).expect("it fits")
    };
    let kept = over("spread_minutes = 9\n");
    assert_eq!((&kept.escalation, kept.policy.spread_minutes), (&own.escalation, 9));
    let policy = usher_lifecycle::reminder::Policy { spread_minutes: 9, ..own.policy.clone() };
    assert_eq!(kept, Rules { policy, ..own.clone() });
    assert!(!over("nudge_customer = false\n").nudge_customer);
    std::fs::write(&path, "[reminders]\ntime_of_day = \"17:30\"\n").expect("written");
    let mut early = own.clone();
    early.policy.send_until = "17:00".parse().expect("a time");
    let told =
        super::load::policy(&path).expect("a policy").over(&early).expect_err("they do not fit").to_string();
    assert!(told.contains("time_of_day is 17:30 and reminders.send_until 17:00"), "{told}");
    assert_eq!((kept.owner(Phase::Review), kept.ambiguous), (Role::Se, Ambiguous::Hold));
    let changed = over("ambiguous = \"resend\"\nescalation = [{ after_reminders = 2, to = \"fallback\" }]\n");
    assert_eq!((changed.escalation, changed.ambiguous), (vec![step(2)], Ambiguous::Resend));
    assert_eq!(over("escalation = []\n").escalation, [], "named, and empty");
    assert_eq!(over("phase_owners = { launch = \"designer\" }\n").owner(Phase::Review), Role::Se);
}

#[test]
fn names_are_data_on_the_page() {
    let mut forecast = simulated(3, 5);
    forecast.sent.iter_mut().for_each(|it| it.name = "<script>\"&".to_owned());
    let page = picture::html(&forecast);
    assert!(page.contains("&lt;script&gt;&quot;&amp;") && !page.contains("<script>"));
}
