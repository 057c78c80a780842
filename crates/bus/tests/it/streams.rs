//! Streams and consumer are made once, verified every time, and never changed.

use std::time::Duration;

use usher_bus::{BusError, Difference, INTAKE_CONSUMER, Names, Nats, Settings};
use usher_testkit::skip_without_servers;

use crate::{PATIENCE, connected, quick, raw, ready};

#[tokio::test]
async fn streams_are_created_once_and_verified_again() {
    skip_without_servers!();
    let (server, nats) = connected().await;
    nats.ensure_streams().await.unwrap();
    let jetstream = raw(&server).await;
    let mut created = Vec::new();
    for name in ["USHER_EVENTS", "USHER_TEST_EVENTS", "USHER_COMMANDS", "USHER_REJECTED"] {
        created.push(jetstream.get_stream(name).await.unwrap().cached_info().created);
    }
    nats.ensure_streams().await.unwrap();
    Nats::connect(quick(&server.url())).await.unwrap().ensure_streams().await.unwrap();
    let events = jetstream.get_stream("USHER_EVENTS").await.unwrap();
    assert_eq!(events.cached_info().created, created[0]);
    assert_eq!(events.cached_info().config.max_age, Duration::from_hours(30 * 24));
}

#[tokio::test]
async fn two_replicas_that_start_together_both_succeed() {
    skip_without_servers!();
    let (server, one) = connected().await;
    let other = Nats::connect(quick(&server.url())).await.unwrap();
    let (one, other) = tokio::join!(one.ensure_streams(), other.ensure_streams());
    one.unwrap();
    other.unwrap();
}

#[tokio::test]
async fn two_installations_share_a_server_under_different_names() {
    skip_without_servers!();
    let (server, _one) = ready().await;
    let names = Names::new("corp.usher", "CORP").unwrap();
    let other = Nats::connect(Settings { names, ..quick(&server.url()) }).await.unwrap();
    other.ensure_streams().await.unwrap();
}

#[tokio::test]
async fn a_stream_with_other_settings_is_an_error_and_stays_as_it_is() {
    skip_without_servers!();
    let (server, _nats) = ready().await;
    let mut settings = quick(&server.url());
    settings.ages.events = Duration::from_hours(24);
    settings.replicas = 3;
    let error = Nats::connect(settings).await.unwrap().ensure_streams().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "stream USHER_EVENTS is there with other settings: num_replicas is 1, wanted 3; max_age is 2592000s, \
         wanted 86400s"
    );
    let stream = raw(&server).await.get_stream("USHER_EVENTS").await.unwrap();
    assert_eq!(stream.cached_info().config.max_age, Duration::from_hours(30 * 24));
}

#[tokio::test]
async fn a_consumer_with_other_settings_is_an_error_and_stays_as_it_is() {
    skip_without_servers!();
    let (server, _nats) = ready().await;
    let mut settings = quick(&server.url());
    settings.intake.ack_wait = Duration::from_secs(5);
    let nats = Nats::connect(settings).await.unwrap();
    let Err(BusError::Mismatch(mismatch)) = nats.ensure_streams().await else { panic!("a mismatch") };
    assert_eq!(mismatch.object, "consumer usher-intake of stream USHER_COMMANDS");
    let difference = Difference { field: "ack_wait", wanted: "5s".into(), found: "30s".into() };
    assert_eq!(mismatch.differences, [difference]);
    assert!(matches!(
        nats.commands().await.unwrap().next_batch(1, PATIENCE).await,
        Err(BusError::Mismatch(_))
    ));
}

#[tokio::test]
async fn another_stream_on_our_subjects_is_an_error() {
    skip_without_servers!();
    let (server, nats) = connected().await;
    let foreign = async_nats::jetstream::stream::Config {
        name: "FOREIGN".into(),
        subjects: vec!["usher.events.acme.>".into()],
        ..Default::default()
    };
    raw(&server).await.create_stream(foreign).await.unwrap();
    let error = nats.ensure_streams().await.unwrap_err();
    assert!(
        error.to_string().starts_with("create stream USHER_EVENTS: NATS answered: subjects overlap"),
        "{error}"
    );
}

#[tokio::test]
async fn the_consumer_takes_everything_and_gives_up_on_nothing() {
    skip_without_servers!();
    let (server, _nats) = ready().await;
    let stream = raw(&server).await.get_stream("USHER_COMMANDS").await.unwrap();
    let config = stream.consumer_info(INTAKE_CONSUMER).await.unwrap().config;
    assert_eq!((config.max_deliver, config.filter_subject.as_str()), (-1, ""));
    assert_eq!(config.ack_policy, async_nats::jetstream::consumer::AckPolicy::Explicit);
}
