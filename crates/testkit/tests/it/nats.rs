//! A nats-server that dies and comes back.

use async_nats::jetstream::{self, stream};
use usher_testkit::nats::Nats;
use usher_testkit::skip_without_servers;

use crate::assert_nothing_left;

#[tokio::test]
async fn a_killed_server_comes_back_with_its_streams_and_leaves_nothing_behind() {
    skip_without_servers!();
    let server = Nats::start().await.unwrap();
    assert!(server.version().starts_with(|first: char| first.is_ascii_digit()), "{}", server.version());
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let subjects = vec!["things.>".to_owned()];
    let config = stream::Config { name: "THINGS".to_owned(), subjects, ..Default::default() };
    context.create_stream(config).await.unwrap();
    context.publish("things.one", "1".into()).await.unwrap().await.unwrap();

    server.kill().await.unwrap();
    assert!(async_nats::connect(server.url()).await.is_err());
    server.restart().await.unwrap();

    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let mut stream = context.get_stream("THINGS").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 1);

    let (pid, directory) = (server.pid().unwrap(), server.directory().to_path_buf());
    drop(server);
    assert_nothing_left(pid, &directory);
}

#[tokio::test]
async fn a_fragment_of_configuration_is_used() {
    skip_without_servers!();
    let server = Nats::start_with("authorization { token: \"secret\" }").await.unwrap();
    assert!(async_nats::connect(server.url()).await.is_err());
    let with_token = async_nats::ConnectOptions::with_token("secret".to_owned());
    assert!(with_token.connect(server.url()).await.is_ok());
}

#[tokio::test]
async fn a_broken_configuration_fails_at_once_and_says_why() {
    skip_without_servers!();
    let error = Nats::start_with("no_such_option: 1").await.err().unwrap();
    assert!(format!("{error:#}").contains("no_such_option"), "{error:#}");
}
