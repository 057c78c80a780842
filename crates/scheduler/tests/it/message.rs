use std::fmt::Write as _;

use usher_lifecycle::reminder::Kind;
use usher_lifecycle::{Phase, State};
use usher_scheduler::message::{EmailBody, Item, Message, RenderError, To};

use crate::{acme, at, by_slack, message, plain, templates};

fn shown(email: &EmailBody) -> String {
    format!("Subject: {}\n\n{}\n=== HTML ===\n{}", email.subject, email.text, email.html)
}

fn email(message: &Message) -> String {
    shown(&templates().email(message).unwrap())
}

fn slack(items: Vec<Item>) -> String {
    let bodies = templates().slack(&by_slack("U1", items)).unwrap();
    bodies.iter().fold(String::new(), |mut all, body| {
        // Whether maps keep their order depends on what else is built.
        let mut blocks = serde_json::to_value(&body.blocks).unwrap();
        blocks.sort_all_objects();
        let blocks = serde_json::to_string_pretty(&blocks).unwrap();
        writeln!(all, "text: {}\nitems: {:?}\n{blocks}", body.text, body.items).unwrap();
        all
    })
}

fn three() -> Vec<Item> {
    let waiting = Item {
        state: State::Waiting,
        state_since: Some(at("2026-05-11T09:00:00Z")),
        target: Some(at("2026-05-12T00:00:00Z")),
        ..plain(8, "Beta GmbH")
    };
    vec![plain(9, "Gamma"), waiting, acme()]
}

/// What has hurt others: each must be shown as it is, and do nothing.
const HOSTILE: [&str; 5] = [
    "<!channel>",
    "<https://evil.example|click>",
    "\"><script>alert(1)</script>",
    "Acme\r\nBcc: x@y.example",
    "& <@U123> {{ workspace }}\u{202e}gpj",
];

fn hostile() -> Vec<Item> {
    let numbered = HOSTILE.iter().zip(1..);
    numbered
        .map(|(text, n)| Item {
            customer: (*text).to_owned(),
            last_change: Some((*text).to_owned()),
            others: vec![((*text).to_owned(), (*text).to_owned())],
            notes: Some((*text).to_owned()),
            ..plain(n, "")
        })
        .collect()
}

#[test]
fn one_onboarding() {
    insta::assert_snapshot!("one_email", email(&message(vec![acme()])));
    insta::assert_snapshot!("one_slack", slack(vec![acme()]));
}

#[test]
fn three_onboardings_most_late_first() {
    insta::assert_snapshot!("three_email", email(&message(three())));
    insta::assert_snapshot!("three_slack", slack(three()));
}

#[test]
fn what_is_escalated_is_marked_among_others() {
    let escalated = Item { kind: Kind::Escalation, ..acme() };
    let items = || vec![plain(9, "Gamma"), escalated.clone()];
    insta::assert_snapshot!("mixed_email", email(&message(items())));
    insta::assert_snapshot!("mixed_slack", slack(items()));
    // So it is in the short form of what no longer fits.
    let late = (0..25).map(|n| Item { display_id: n, days_late: 9, ..acme() });
    let many = message(late.chain(items()).collect());
    let email = templates().email(&many).unwrap();
    assert!(email.text.contains("* Acme (#7) [escalated]: review, 4 days late"), "{}", email.text);
    assert!(email.html.contains("#7 (<strong>escalated</strong>): review, 4 days late"), "{}", email.html);
    // Where all is escalated, the message says so once.
    let all = Message { kind: Kind::Escalation, ..message(vec![escalated.clone(), escalated]) };
    let email = templates().email(&all).unwrap();
    assert!(
        email.subject.starts_with("Escalated: 2 onboardings need you: Acme (review"),
        "{}",
        email.subject
    );
    assert!(email.text.contains("Reminders went unheeded.") && !email.text.contains("[escalated"));
    assert!(!email.html.contains("Escalated:"));
}

#[test]
fn an_onboarding_with_nothing_set() {
    insta::assert_snapshot!("plain_email", email(&message(vec![plain(9, "Gamma")])));
    insta::assert_snapshot!("plain_slack", slack(vec![plain(9, "Gamma")]));
}

#[test]
fn an_escalation_and_one_by_hand() {
    let escalation = Message { kind: Kind::Escalation, ..message(vec![plain(9, "Gamma")]) };
    insta::assert_snapshot!("escalation_text", {
        let email = templates().email(&escalation).unwrap();
        format!("Subject: {}\n\n{}", email.subject, email.text)
    });
    let manual = Message { kind: Kind::Manual, ..message(vec![plain(9, "Gamma")]) };
    assert!(
        templates()
            .email(&manual)
            .unwrap()
            .text
            .contains("Somebody asked for this reminder. This onboarding")
    );
}

fn to_customer(items: Vec<Item>) -> Message {
    Message { kind: Kind::Customer, ..message(items) }
}

/// Late, with everything internal that there is.
fn secret() -> Item {
    Item {
        notes: Some("they pay late".to_owned()),
        state: State::Waiting,
        phase: Phase::InternalQa,
        ..acme()
    }
}

#[test]
fn a_customer_sees_nothing_internal() {
    let message = to_customer(vec![secret()]);
    let whole = email(&message);
    for internal in [
        "they pay late",
        "Grace",
        "Edsger",
        "at risk",
        "waiting on",
        "QA",
        "usher.example/admin",
        "late",
        "8 May",
        "onb_",
        "#7",
        "reminder",
    ] {
        assert!(!whole.contains(internal), "{internal}: {whole}");
    }
    insta::assert_snapshot!("customer_email", whole);
    assert!(matches!(templates().slack(&message), Err(RenderError::CustomerBySlack)));
}

#[test]
fn a_customer_with_several_onboardings_sees_what_is_still_to_come() {
    let to_come = Item { target: Some(at("2026-05-12T00:00:00Z")), days_late: 0, ..secret() };
    let later =
        Item { phase: Phase::Launch, target: Some(at("2026-06-01T15:00:00Z")), days_late: -20, ..secret() };
    let nameless = To { name: None, ..message(Vec::new()).to };
    let several =
        Message { to: nameless, unsubscribe_url: None, ..to_customer(vec![secret(), to_come, later]) };
    insta::assert_snapshot!("customer_several_email", email(&several));
}

#[test]
fn no_customer_message_says_that_anything_is_late_or_whose_word_it_is() {
    for phase in Phase::ALL {
        for state in State::ALL {
            let item = Item { phase, state, ..secret() };
            let whole = email(&to_customer(vec![item.clone(), Item { days_late: -3, ..item }]));
            for internal in
                ["late", "overdue", "past the", "internal", "buildout", "waiting", "at risk", "paused"]
            {
                assert!(!whole.contains(internal), "{phase} {state}: {internal}");
            }
        }
    }
}

#[test]
fn a_hostile_contact_and_customer_are_shown_and_do_nothing() {
    for text in HOSTILE {
        let mut message = to_customer(vec![Item { customer: text.to_owned(), ..secret() }]);
        message.to.name = Some(text.to_owned());
        message.workspace = text.to_owned();
        let rendered = templates().email(&message).unwrap();
        assert!(!rendered.subject.contains(['\r', '\n']), "{}", rendered.subject);
        assert!(!rendered.html.contains("<script") && !rendered.html.contains("<!channel"));
        assert!(!rendered.html.contains("<https:") && !shown(&rendered).contains('\u{202e}'));
    }
    let mut message = to_customer(hostile());
    message.to.name = Some(HOSTILE[2].to_owned());
    insta::assert_snapshot!("customer_hostile_email", email(&message));
}

#[test]
fn hostile_names_are_shown_and_do_nothing() {
    let message = message(hostile());
    let rendered = templates().email(&message).unwrap();
    assert!(!rendered.subject.contains(['\r', '\n']));
    assert!(
        !rendered.html.contains("<script")
            && !rendered.html.contains("<!channel")
            && !rendered.html.contains("\"><s")
    );
    assert!(!shown(&rendered).contains('\u{202e}'));
    for body in templates().slack(&by_slack("C1", hostile())).unwrap() {
        let blocks = body.blocks.to_string();
        assert!(!blocks.contains('<') && !body.text.contains(['<', '>']), "{blocks}");
    }
    insta::assert_snapshot!("hostile_email", shown(&rendered));
    insta::assert_snapshot!("hostile_slack", slack(hostile()));
}

#[test]
fn right_to_left_text_does_not_turn_its_surroundings() {
    let item =
        Item { notes: Some("ملاحظة داخلية 2026".to_owned()), ..plain(3, "שלום בע\"מ") };
    insta::assert_snapshot!("rtl_email", email(&message(vec![item.clone()])));
    insta::assert_snapshot!("rtl_slack", slack(vec![item]));
}

#[test]
fn a_note_of_ten_thousand_characters_is_cut() {
    let item = Item { notes: Some("<&>é\n".repeat(2_500)), ..acme() };
    let email = templates().email(&message(vec![item.clone()])).unwrap();
    assert!(email.text.contains('…') && email.text.chars().count() < 2_000 + 2_500, "{}", email.text.len());
    let bodies = templates().slack(&by_slack("U1", vec![item])).unwrap();
    let text = bodies[0].blocks[1]["text"]["text"].as_str().unwrap();
    assert!(text.chars().count() <= 3_000);
    assert!(text.contains("&lt;&amp;&gt;é &lt;&amp;&gt;é") && text.contains('…'));
}

#[test]
fn two_hundred_onboardings_fit() {
    let items: Vec<Item> = (0..200)
        .map(|n| Item { display_id: n, customer: format!("Customer {n}"), days_late: n, ..acme() })
        .collect();
    let email = templates().email(&message(items.clone())).unwrap();
    assert_eq!(
        email.subject,
        "200 onboardings need you: Customer 199 (review, 199 days late), Customer 198 (review, 198 days late), \
         Customer 197 (review, 197 days late) and 197 more"
    );
    // Gmail clips what is longer.
    assert!(email.html.len() < 100_000, "{}", email.html.len());
    for n in 0..200 {
        assert!(
            email.text.contains(&format!("Customer {n} (#{n})")) && email.html.contains(&format!("#{n}:"))
                || n >= 175
        );
    }

    let bodies = templates().slack(&by_slack("U1", items)).unwrap();
    let mut seen: Vec<usize> = bodies.iter().flat_map(|body| body.items.clone()).collect();
    assert_eq!(seen.first(), Some(&199), "the most late one comes first");
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
    for (n, body) in bodies.iter().enumerate() {
        assert!(body.blocks.as_array().unwrap().len() <= 50);
        assert_eq!(body.blocks.as_array().unwrap().len(), body.items.len() + 1);
        assert!(body.text.ends_with(&format!("({}/{})", n + 1, bodies.len())), "{}", body.text);
    }
}

#[test]
fn more_than_fifty_blocks_are_several_messages() {
    let bodies = templates().slack(&by_slack("U1", (0..50).map(|n| plain(n, "Gamma")).collect())).unwrap();
    let blocks: Vec<usize> = bodies.iter().map(|body| body.blocks.as_array().unwrap().len()).collect();
    assert_eq!(blocks, [50, 2]);
}

#[test]
fn a_link_that_is_no_web_link_is_refused() {
    let item = Item { link: Some("javascript:alert(1)".to_owned()), ..acme() };
    assert!(matches!(templates().email(&message(vec![item])), Err(RenderError::Link)));
    assert!(matches!(templates().email(&message(vec![])), Err(RenderError::Empty)));
}
