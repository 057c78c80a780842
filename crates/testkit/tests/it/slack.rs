//! The Slack stand-in, spoken to by hand and by the client that usher uses.

use std::time::Duration;

use serde_json::json;
use slack_morphism::prelude::*;
use usher_testkit::http;
use usher_testkit::slack::{Answer, StandIn};

use crate::SOON;

async fn post(slack: &StandIn, token: &str, text: &str) -> anyhow::Result<http::Reply> {
    let url = format!("{}/chat.postMessage", slack.base_url());
    let headers = [("authorization", &*format!("Bearer {token}")), ("content-type", "application/json")];
    http::request("POST", &url, &headers, json!({ "channel": "U1", "text": text }).to_string()).await
}

#[tokio::test]
async fn calls_are_recorded_and_answered_like_slack() {
    let slack = StandIn::start("xoxb-1").await.unwrap();
    let reply = post(&slack, "xoxb-1", "hello").await.unwrap();
    assert_eq!((reply.status, &reply.json().unwrap()["ok"]), (200, &json!(true)));
    let wrong = post(&slack, "xoxb-2", "hello").await.unwrap();
    assert_eq!((wrong.status, wrong.json().unwrap()), (200, json!({ "ok": false, "error": "invalid_auth" })));
    let empty = post(&slack, "xoxb-1", "").await.unwrap();
    assert_eq!(empty.json().unwrap()["error"], "no_text");
    let calls = slack.wait_for(3, SOON).await;
    assert_eq!(calls.iter().map(|call| call.accepted).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(calls[1].token.as_deref(), Some("xoxb-2"));
    assert_eq!(slack.posted(), [json!({ "channel": "U1", "text": "hello" })]);
}

#[tokio::test]
async fn answers_are_scripted() {
    let slack = StandIn::start("t").await.unwrap();
    slack.set("chat.postMessage", Answer::Error("is_archived"));
    slack.next("chat.postMessage", Answer::RateLimited { retry_after: 7 });
    slack.next("chat.postMessage", Answer::Status(503));
    slack.next("chat.postMessage", Answer::DropAfterAccept);

    let limited = post(&slack, "t", "1").await.unwrap();
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("7")));
    assert_eq!(post(&slack, "t", "2").await.unwrap().status, 503);
    assert!(post(&slack, "t", "3").await.is_err(), "the answer got lost");
    assert_eq!(post(&slack, "t", "4").await.unwrap().json().unwrap()["error"], "is_archived");
    assert_eq!(slack.posted(), [json!({ "channel": "U1", "text": "3" })], "but the message is there");

    slack.set("chat.postMessage", Answer::Hang);
    let hanging = tokio::time::timeout(Duration::from_millis(50), post(&slack, "t", "5")).await;
    assert!(hanging.is_err());
    assert_eq!(slack.wait_for_method("chat.postMessage", 5, SOON).await[4].body["text"], "5");
}

#[tokio::test]
async fn the_client_library_understands_it() {
    let slack = StandIn::start("xoxb-1").await.unwrap();
    let connector = hyper_util::client::legacy::connect::HttpConnector::new();
    let connector = SlackClientHyperConnector::with_connector(connector);
    let client = SlackClient::new(connector.with_slack_api_url(&slack.base_url()));
    let token = SlackApiToken::new("xoxb-1".into());
    let session = client.open_session(&token);

    assert_eq!(session.auth_test().await.unwrap().team_id.0, "T0TESTKIT");
    let open = SlackApiConversationsOpenRequest::new().with_users(vec!["U1".into()]);
    assert_eq!(session.conversations_open(&open).await.unwrap().channel.id.0, "D1");
    let content = SlackMessageContent::new().with_text("hello".into());
    let message = SlackApiChatPostMessageRequest::new("D1".into(), content.clone());
    let posted = session.chat_post_message(&message).await.unwrap();
    let update = SlackApiChatUpdateRequest::new(posted.channel, content, posted.ts);
    assert!(session.chat_update(&update).await.is_ok());

    slack.next("chat.postMessage", Answer::RateLimited { retry_after: 3 });
    let limited = session.chat_post_message(&message).await.unwrap_err();
    assert!(
        matches!(&limited, slack_morphism::errors::SlackClientError::RateLimitError(error)
            if error.retry_after == Some(Duration::from_secs(3))),
        "{limited:?}"
    );
}
