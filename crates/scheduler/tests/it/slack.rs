use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use usher_scheduler::channel::{ConfigError, Outcome, SlackSender};
use usher_scheduler::message::{Message, SlackBody};
use usher_testkit::slack::{Answer, StandIn};

use crate::{PATIENCE, acme, by_slack, message, plain, templates};

const POST: &str = "chat.postMessage";

fn sender(slack: &StandIn, token: &str) -> SlackSender {
    let _ = rustls::crypto::ring::default_provider().install_default();
    SlackSender::new(&token.to_owned().into(), &slack.base_url()).unwrap()
}

async fn started() -> (StandIn, SlackSender) {
    let slack = StandIn::start("xoxb-good").await.unwrap();
    let sender = sender(&slack, "xoxb-good");
    (slack, sender)
}

fn to(channel: &str) -> (Message, SlackBody) {
    let message = by_slack(channel, vec![acme()]);
    let body = templates().slack(&message).unwrap().remove(0);
    (message, body)
}

async fn send(sender: &SlackSender, channel: &str) -> Outcome {
    let (message, body) = to(channel);
    sender.send(&message, &body).await
}

#[tokio::test]
async fn a_reminder_is_posted_with_blocks_and_fallback() {
    let (slack, sender) = started().await;
    let (message, body) = to("U1");
    let outcome = sender.send(&message, &body).await;
    assert_eq!(outcome, Outcome::Accepted { reference: Some("D1/1700000000.000001".to_owned()) });
    let posted = slack.posted().remove(0);
    assert_eq!(posted["channel"], "U1");
    assert_eq!(posted["text"], "Acme needs you: review, 4 days late");
    assert_eq!(posted["blocks"], body.blocks);
    assert_eq!(
        (&posted["parse"], &posted["link_names"], &posted["unfurl_links"]),
        (&json!("none"), &json!(false), &json!(false))
    );
}

#[tokio::test]
async fn what_slack_refuses_for_good_breaks_the_channel_only_if_it_is_to_blame() {
    let (slack, sender) = started().await;
    for (n, (code, blamed)) in [
        ("channel_not_found", true),
        ("is_archived", true),
        ("account_inactive", true),
        ("user_not_found", true),
        ("not_in_channel", true),
        ("msg_too_long", false),
        ("invalid_blocks", false),
        ("something_new", false),
    ]
    .into_iter()
    .enumerate()
    {
        slack.next(POST, Answer::Error(code));
        let outcome = send(&sender, &format!("C{n}")).await;
        assert!(
            matches!(&outcome, Outcome::RefusedForGood { broken, code: got, .. } if *broken == blamed && got == code),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_token_that_is_no_good_takes_the_channel_down_and_blames_nobody() {
    let (slack, good) = started().await;
    for (n, code) in ["invalid_auth", "token_revoked", "missing_scope", "not_authed"].into_iter().enumerate()
    {
        slack.next(POST, Answer::Error(code));
        let outcome = send(&good, &format!("C{n}")).await;
        assert!(matches!(&outcome, Outcome::ChannelDown { code: got, .. } if got == code), "{outcome:?}");
    }
    let bad = sender(&slack, "xoxb-bad");
    for outcome in [send(&bad, "C9").await, bad.check().await] {
        assert!(
            matches!(&outcome, Outcome::ChannelDown { code, .. } if code == "invalid_auth"),
            "{outcome:?}"
        );
    }
    assert!(matches!(good.check().await, Outcome::Accepted { .. }));

    // The bot's own account: `auth.test` tells.
    slack.next(POST, Answer::Error("account_inactive"));
    slack.next("auth.test", Answer::Error("account_inactive"));
    let outcome = send(&good, "C10").await;
    assert!(
        matches!(&outcome, Outcome::ChannelDown { code, .. } if code == "account_inactive"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn too_many_requests_are_not_answered_with_more() {
    let (slack, sender) = started().await;
    slack.next(POST, Answer::RateLimited { retry_after: 30 });
    let outcome = send(&sender, "C1").await;
    assert!(
        matches!(outcome, Outcome::RefusedForNow { retry_after: Some(wait), counts: false, .. } if wait == Duration::from_secs(30)),
        "{outcome:?}"
    );
    let outcome = send(&sender, "C2").await;
    assert!(
        matches!(outcome, Outcome::RefusedForNow { retry_after: Some(wait), counts: false, .. } if wait <= Duration::from_secs(30) && wait > Duration::from_secs(20)),
        "{outcome:?}"
    );
    assert_eq!(slack.calls().len(), 1, "nobody asked again");
}

#[tokio::test]
async fn a_server_in_trouble_is_tried_again_later() {
    let (slack, sender) = started().await;
    for (n, answer) in
        [Answer::Status(503), Answer::Status(500), Answer::Error("internal_error")].into_iter().enumerate()
    {
        slack.next(POST, answer);
        let outcome = send(&sender, &format!("C{n}")).await;
        assert!(matches!(outcome, Outcome::RefusedForNow { counts: true, .. }), "{outcome:?}");
    }
    slack.next(POST, Answer::Status(404));
    let outcome = send(&sender, "C9").await;
    assert!(matches!(outcome, Outcome::ChannelDown { .. }), "{outcome:?}");
}

#[tokio::test]
async fn no_answer_is_unknown_whatever_slack_did() {
    let (slack, sender) = started().await;
    let sender = sender.with_call_limit(Duration::from_millis(300));
    for (n, answer) in
        [Answer::Hang, Answer::HangAfterAccept, Answer::DropAfterAccept].into_iter().enumerate()
    {
        slack.next(POST, answer);
        let outcome = send(&sender, &format!("C{n}")).await;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{answer:?} {outcome:?}");
    }
    assert_eq!(slack.calls().len(), 3, "nothing is sent twice");
}

#[tokio::test]
async fn nobody_there_is_no_delivery() {
    let (slack, sender) = started().await;
    drop(slack);
    // The listener ends with its task, soon after the drop.
    let refused = async {
        for n in 0.. {
            let outcome = send(&sender, &format!("C{n}")).await;
            if matches!(&outcome, Outcome::RefusedForNow { code, counts: true, .. } if code == "connect") {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
}

#[tokio::test]
async fn two_messages_to_one_channel_are_spaced_and_others_do_not_wait() {
    let (slack, sender) = started().await;
    let begun = Instant::now();
    let sends =
        tokio::join!(send(&sender, "C1"), send(&sender, "C1"), send(&sender, "U1"), send(&sender, "C2"));
    for outcome in [sends.0, sends.1, sends.2, sends.3] {
        assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
    }
    let order: Vec<String> = slack.posted().iter().map(|body| body["channel"].to_string()).collect();
    assert_eq!(order[3], "\"C1\"", "{order:?}");
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn an_email_recipient_is_not_written_to() {
    let (slack, sender) = started().await;
    let body = templates().slack(&by_slack("U1", vec![plain(1, "A")])).unwrap().remove(0);
    let outcome = sender.send(&message(vec![acme()]), &body).await;
    assert!(matches!(outcome, Outcome::RefusedForGood { broken: false, .. }));
    assert_eq!(slack.calls().len(), 0);
}

#[test]
fn an_api_url_that_is_none_is_refused() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for bad in ["", "slack.com", "ftp://slack.com"] {
        assert!(matches!(SlackSender::new(&"t".to_owned().into(), bad), Err(ConfigError::Url(_))), "{bad}");
    }
}
