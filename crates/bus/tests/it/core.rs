//! Requests, hints and listening: core NATS, for those who are there.

use std::time::Duration;

use bytes::Bytes;
use usher_bus::{Bus, BusError, Headers, Nats};
use usher_testkit::skip_without_servers;

use crate::{PATIENCE, connected, eventually, message, quick, ready};

#[tokio::test]
async fn a_request_is_answered_by_exactly_one_replica() {
    skip_without_servers!();
    let (server, one) = connected().await;
    let other = Nats::connect(quick(&server.url())).await.unwrap();
    let (answered, mut answers) = tokio::sync::mpsc::unbounded_channel();
    for nats in [&one, &other] {
        let (mut requests, answered) = (nats.requests().await.unwrap(), answered.clone());
        tokio::spawn(async move {
            loop {
                let request = requests.next().await;
                answered.send(request.subject.clone()).unwrap();
                let headers = Headers::new().with("Content-Type", "application/json");
                request.respond(headers, request.payload.clone()).await.unwrap();
            }
        });
    }
    let client = Nats::connect(quick(&server.url())).await.unwrap();
    for _ in 0..20 {
        let request = message("usher.requests.acme.onboarding.create", "", r#"{"a":1}"#);
        let (headers, payload) = client.request(request, PATIENCE).await.unwrap();
        assert_eq!(payload, r#"{"a":1}"#);
        assert_eq!(headers.get("content-type"), Some("application/json"));
        assert_eq!(answers.recv().await.unwrap(), "usher.requests.acme.onboarding.create");
    }
    assert!(answers.try_recv().is_err(), "more answers than requests");
}

#[tokio::test]
async fn a_request_that_nobody_answers_says_so() {
    skip_without_servers!();
    let (_server, nats) = connected().await;
    let request = || message("usher.requests.acme.onboarding.create", "", "{}");
    let error = nats.request(request(), PATIENCE).await.unwrap_err();
    assert!(matches!(error, BusError::Refused { code: 503, .. }), "{error:?}");
    let _silent = nats.requests().await.unwrap();
    let error = nats.request(request(), Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, BusError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_hint_wakes_every_scheduler_also_after_a_restart_of_the_server() {
    skip_without_servers!();
    let (server, nats) = connected().await;
    let (one, other) = (Bus::Nats(nats), Bus::Nats(Nats::connect(quick(&server.url())).await.unwrap()));
    let (mut first, mut second) = (one.hints().await.unwrap(), other.hints().await.unwrap());
    assert!(!first.wait(Duration::from_millis(20)).await);
    one.hint_due().await;
    assert!(first.wait(PATIENCE).await && second.wait(PATIENCE).await);
    server.kill().await.unwrap();
    eventually("both notice", || async { !one.is_connected() && !other.is_connected() }).await;
    one.hint_due().await;
    server.restart().await.unwrap();
    eventually("both are back", || async { one.is_connected() && other.is_connected() }).await;
    let hinting = async {
        // The subscription is made anew in the background; a hint before that is lost, as hints may be.
        while !second.wait(Duration::from_millis(50)).await {
            one.hint_due().await;
        }
    };
    tokio::time::timeout(PATIENCE, hinting).await.unwrap();
}

#[tokio::test]
async fn a_listener_sees_what_passes() {
    skip_without_servers!();
    let (_server, nats) = ready().await;
    let mut listener = nats.listen("usher.events.>").await.unwrap();
    let event = message("usher.events.acme.onboarding.created", "1", "{}");
    nats.publish_window(vec![event.clone()]).await.pop().unwrap().unwrap();
    let seen = tokio::time::timeout(PATIENCE, listener.next()).await.unwrap();
    assert_eq!(seen, event);
    assert_eq!(seen.payload, Bytes::from_static(b"{}"));
}
