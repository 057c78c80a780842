//! Headers that the client cannot read: what it does about them, and how such commands are found and removed.

use std::time::Duration;

use usher_bus::{Commands, Nats, ORIGINAL_HEADERS};
use usher_testkit::skip_without_servers;

use crate::{PATIENCE, command, eventually, quick, raw};

/// Blocks of headers, after `NATS/1.0`.
const BLOCKS: [(&str, &[u8]); 19] = [
    ("none", b"\r\n\r\n"),
    ("plain", b"\r\na: b\r\n\r\n"),
    ("UTF-8", b"\r\na: caf\xc3\xa9\r\n\r\n"),
    ("without a space", b"\r\na:b\r\n\r\n"),
    ("an empty name", b"\r\n: b\r\n\r\n"),
    ("an empty value", b"\r\na:\r\n\r\n"),
    ("line feeds alone", b"\na: b\n\n"),
    ("a value over two lines", b"\r\na: b\r\n c\r\n\r\n"),
    ("a tab", b"\r\na: b\tc\r\n\r\n"),
    ("a status", b" 503\r\n\r\n"),
    ("a status with words", b" 408 Request Timeout\r\na: b\r\n\r\n"),
    ("Latin-1", b"\r\na: caf\xe9\r\n\r\n"),
    ("a carriage return in a value", b"\r\na: b\rc\r\n\r\n"),
    ("a carriage return in a second line", b"\r\na: b\r\n c\rd\r\n\r\n"),
    ("a space in a name", b"\r\na b: c\r\n\r\n"),
    ("a name that is not ASCII", b"\r\n\xc3\xa9: c\r\n\r\n"),
    ("no colon", b"\r\nabc\r\n\r\n"),
    ("a second line of nothing", b"\r\n b\r\n\r\n"),
    ("a status that is none", b" 5x3\r\n\r\n"),
];

enum Came {
    Delivered,
    /// The connection broke, or the client ended.
    Broke,
}

/// What comes of the one command in the stream.
async fn outcome(nats: &Nats, commands: &mut Commands) -> Came {
    let mut connections = nats.connections();
    connections.mark_unchanged();
    let waiting = async {
        loop {
            if let Ok(batch) = commands.next_batch(10, Duration::from_millis(500)).await
                && let [delivery] = batch.as_slice()
            {
                delivery.ack_confirmed().await.unwrap();
                return Came::Delivered;
            }
            if nats.is_connected() && connections.has_changed().unwrap() {
                return Came::Broke;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

#[tokio::test]
async fn what_the_client_cannot_read_is_found_by_the_same_rules_and_removed() {
    skip_without_servers!();
    let server = usher_testkit::nats::Nats::start().await.unwrap();
    let mut settings = quick(&server.url());
    settings.intake.ack_wait = Duration::from_mins(10);
    let nats = Nats::connect(settings).await.unwrap();
    nats.ensure_streams().await.unwrap();
    let mut commands = nats.commands().await.unwrap();
    for (what, block) in BLOCKS {
        let headers = [b"NATS/1.0".as_slice(), block].concat();
        server.publish_raw("usher.commands.acme.x", &headers, b"{}").await.unwrap();
        let came = outcome(&nats, &mut commands).await;
        let found = nats.unreadable_commands().await.unwrap();
        match came {
            Came::Delivered => assert!(found.is_empty(), "{what}: {found:?}"),
            Came::Broke => {
                let [stranded] = found.as_slice() else { panic!("{what}: {found:?}") };
                assert!(stranded.unreadable.is_some(), "{what}");
                assert_eq!(stranded.payload, "{}");
                assert!(stranded.headers.get(ORIGINAL_HEADERS).is_some(), "{what}");
                nats.remove_stranded(stranded.stream.sequence).await.unwrap();
                nats.remove_stranded(stranded.stream.sequence).await.unwrap();
            }
        }
        let left = || async {
            let mut stream = raw(&server).await.get_stream("USHER_COMMANDS").await.unwrap();
            let consumer = stream.consumer_info("usher-intake").await.unwrap();
            (stream.info().await.unwrap().state.messages, consumer.num_ack_pending)
        };
        eventually(what, || async { left().await == (0, 0) }).await;
    }
}

#[tokio::test]
async fn a_client_that_ends_is_replaced_and_listeners_hear_again() {
    skip_without_servers!();
    let server = usher_testkit::nats::Nats::start().await.unwrap();
    let nats = Nats::connect(quick(&server.url())).await.unwrap();
    nats.ensure_streams().await.unwrap();
    let (mut listener, mut requests) = (nats.listen("heard").await.unwrap(), nats.requests().await.unwrap());
    let mut connections = nats.connections();
    connections.mark_unchanged();
    // The client's own task panics over this one.
    server.publish_raw("heard", b"NATS/1.0\r\na: b\rc\r\n\r\n", b"").await.unwrap();
    tokio::time::timeout(PATIENCE, connections.changed()).await.unwrap().unwrap();
    eventually("connected again", || async { nats.is_connected() }).await;
    assert_eq!(nats.trouble(), None);
    let heard = tokio::time::timeout(PATIENCE, async {
        let mut again = tokio::time::interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                message = listener.next() => return message,
                _ = again.tick() => server.publish_raw("heard", b"NATS/1.0\r\n\r\n", b"x").await.unwrap(),
            }
        }
    });
    assert_eq!(heard.await.unwrap().payload, "x");
    tokio::spawn(async move {
        let request = requests.next().await;
        request.respond(usher_bus::Headers::new(), "done".into()).await.unwrap();
    });
    let client = Nats::connect(quick(&server.url())).await.unwrap();
    eventually("a request is answered", || async {
        let question = crate::message("usher.requests.acme.x", "", "{}");
        client.request(question, PATIENCE).await.is_ok_and(|(_, answer)| answer == "done")
    })
    .await;
    for result in nats.publish_window(vec![command("2", "{}")]).await {
        result.unwrap();
    }
}
