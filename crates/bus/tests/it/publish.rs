//! `Ok` means stored; everything else means: still to publish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use usher_bus::{Bus, BusError, Headers, Nats, Outgoing, PublishError, Published, Rejected, Settings};
use usher_testkit::skip_without_servers;

use crate::{connected, eventually, message, quick, raw, ready};

const EVENT: &str = "usher.events.acme.onboarding.created";

fn events(range: std::ops::Range<usize>) -> Vec<Outgoing> {
    range.map(|n| message(EVENT, &format!("/usher/acme/evt_{n}"), "{}")).collect()
}

async fn stored(server: &usher_testkit::nats::Nats) -> u64 {
    raw(server).await.get_stream("USHER_EVENTS").await.unwrap().cached_info().state.messages
}

#[tokio::test]
async fn a_window_of_a_thousand_is_stored_and_its_repeat_is_known() {
    skip_without_servers!();
    let (server, nats) = ready().await;
    let bus = Bus::Nats(nats);
    let results = bus.publish_window(events(0..1000)).await;
    assert_eq!(results, vec![Ok(Published { duplicate: false }); 1000]);
    let results = bus.publish_window(events(500..1500)).await;
    let duplicates = results.iter().filter(|result| **result == Ok(Published { duplicate: true })).count();
    assert_eq!((results.len(), duplicates), (1000, 500));
    assert_eq!(stored(&server).await, 1500);
    assert!(bus.publish_window(Vec::new()).await.is_empty());
}

#[tokio::test]
async fn no_stream_is_an_error_and_not_a_success() {
    skip_without_servers!();
    let (_server, nats) = connected().await;
    assert_eq!(nats.publish_window(events(0..2)).await, vec![Err(PublishError::NoStream(EVENT.into())); 2]);
    nats.ensure_streams().await.unwrap();
    assert_eq!(nats.publish_window(events(0..2)).await, vec![Ok(Published { duplicate: false }); 2]);
}

#[tokio::test]
async fn a_full_stream_refuses_and_drops_nothing() {
    skip_without_servers!();
    let (server, nats) = ready().await;
    let jetstream = raw(&server).await;
    let mut config = jetstream.get_stream("USHER_EVENTS").await.unwrap().cached_info().config.clone();
    config.max_messages = 10;
    jetstream.update_stream(config).await.unwrap();
    let results = nats.publish_window(events(0..15)).await;
    assert!(results[..10].iter().all(Result::is_ok), "{results:?}");
    for refused in &results[10..] {
        let Err(error @ PublishError::Refused { code: 10077, .. }) = refused else { panic!("{refused:?}") };
        assert!(!error.is_permanent());
    }
    assert_eq!(stored(&server).await, 10);
}

#[tokio::test]
async fn a_limit_in_bytes_is_kept_or_refused() {
    skip_without_servers!();
    let server = usher_testkit::nats::Nats::start().await.unwrap();
    let settings = Settings { max_bytes: Some(10_000), ..quick(&server.url()) };
    let nats = Nats::connect(settings).await.unwrap();
    if server.version().starts_with("2.9.") {
        // It would acknowledge more than it can hold, and drop the oldest.
        let error = nats.ensure_streams().await.unwrap_err();
        assert!(matches!(error, BusError::Setting { setting: "max_bytes", .. }), "{error:?}");
        return;
    }
    nats.ensure_streams().await.unwrap();
    let results = nats.publish_window(events(0..500)).await;
    let acknowledged = results.iter().filter(|result| result.is_ok()).count();
    assert!(acknowledged > 10 && acknowledged < 500, "{acknowledged}");
    assert_eq!(stored(&server).await, u64::try_from(acknowledged).unwrap());
}

#[tokio::test]
async fn one_bad_message_does_not_spoil_its_window() {
    skip_without_servers!();
    let (_server, nats) = ready().await;
    let limit = nats.max_payload();
    let large = Outgoing { payload: Bytes::from(vec![b'x'; limit]), ..message(EVENT, "large", "") };
    let astray = message("nobody.is.here", "astray", "{}");
    let results = nats.publish_window(vec![large, astray, message(EVENT, "good", "{}")]).await;
    assert_eq!(results[0], Err(PublishError::TooLarge { limit }));
    assert!(results[0].as_ref().unwrap_err().is_permanent());
    assert_eq!(results[1], Err(PublishError::NoStream("nobody.is.here".into())));
    assert!(results[2].is_ok());
}

#[tokio::test]
async fn the_largest_command_can_still_be_reported_as_rejected() {
    skip_without_servers!();
    let (server, nats) = ready().await;
    let headers = Headers::new().with("Nats-Expected-Stream", "USHER_COMMANDS").with("Nats-Msg-Id", "crm-1");
    let rejected = Rejected {
        id: "rej_1".into(),
        subject: "usher.commands.acme.onboarding.create".into(),
        payload: Bytes::from(vec![b'x'; nats.max_payload() - headers.wire_len()]),
        headers,
        code: "invalid_json".into(),
        message: "the body is not JSON\r\nat all".into(),
        field: None,
        attempts: 1,
    };
    let message = rejected.to_message(nats.names(), nats.max_payload());
    assert_eq!(nats.publish_window(vec![message]).await, [Ok(Published { duplicate: false })]);
    let stream = raw(&server).await.get_stream("USHER_REJECTED").await.unwrap();
    let reported = stream.get_raw_message(1).await.unwrap();
    assert_eq!(reported.subject.as_str(), "usher.rejected.acme.onboarding.create");
    assert_eq!(reported.headers.get("Usher-Original-Nats-Msg-Id").unwrap().as_str(), "crm-1");
    assert_eq!(reported.headers.get("Usher-Error-Message").unwrap().as_str(), "the body is not JSON  at all");
}

#[tokio::test]
async fn a_killed_server_is_errors_until_it_is_back_and_loses_nothing_acknowledged() {
    skip_without_servers!();
    let (server, nats) = ready().await;
    assert!(nats.publish_window(events(0..100)).await.iter().all(Result::is_ok));
    let stop = Arc::new(AtomicBool::new(false));
    let (publisher, stopped) = (nats.clone(), Arc::clone(&stop));
    let publishing = tokio::spawn(async move {
        let (mut acknowledged, mut errors, mut next) = (100, 0, 100);
        while !stopped.load(Ordering::Relaxed) {
            let results = publisher.publish_window(events(next..next + 50)).await;
            acknowledged += results.iter().filter(|result| result.is_ok()).count();
            errors += results.iter().filter(|result| result.is_err()).count();
            next += 50;
            tokio::task::yield_now().await;
        }
        (acknowledged, errors)
    });
    server.kill().await.unwrap();
    eventually("the loss is noticed", || async { !nats.is_connected() }).await;
    assert_eq!(nats.publish_window(events(0..1)).await, [Err(PublishError::NotConnected)]);
    server.restart().await.unwrap();
    eventually("published again", || async { nats.publish_window(events(0..1)).await[0].is_ok() }).await;
    stop.store(true, Ordering::Relaxed);
    let (acknowledged, errors) = publishing.await.unwrap();
    assert!(errors > 0);
    assert!(stored(&server).await >= u64::try_from(acknowledged).unwrap());
}
