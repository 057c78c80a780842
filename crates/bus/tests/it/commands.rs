//! Commands come until they are acknowledged, whatever happens to the server meanwhile.

use std::time::Duration;

use usher_bus::{BusError, Commands, Delivery, Headers, INTAKE_CONSUMER, Nats, decode_command};
use usher_testkit::skip_without_servers;

use crate::{PATIENCE, command, eventually, quick, raw, ready};

async fn publish(nats: &Nats, ids: &[&str]) {
    let window = ids.iter().map(|id| command(id, r#"{"name":"Acme"}"#)).collect();
    for result in nats.publish_window(window).await {
        assert!(!result.unwrap().duplicate);
    }
}

/// The next `count` deliveries, over as many batches as it takes and whatever errors there are between.
async fn take(commands: &mut Commands, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    let taking = async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        while taken.len() < count {
            match commands.next_batch(count - taken.len(), Duration::from_secs(1)).await {
                Ok(batch) => taken.extend(batch),
                Err(_away) => drop(pause.tick().await),
            }
        }
    };
    tokio::time::timeout(PATIENCE, taking).await.expect("they come");
    taken
}

/// Takes until this one comes. A server that was killed may not have written whom it gave what, and what was
/// acknowledged: others may come again before it.
async fn take_until(commands: &mut Commands, wanted: &str) -> Delivery {
    loop {
        let delivery = take(commands, 1).await.remove(0);
        if id(&delivery) == wanted {
            return delivery;
        }
        delivery.ack().await.unwrap();
    }
}

fn id(delivery: &Delivery) -> &str {
    delivery.headers.get("nats-msg-id").unwrap()
}

async fn left(server: &usher_testkit::nats::Nats) -> u64 {
    raw(server).await.get_stream("USHER_COMMANDS").await.unwrap().cached_info().state.messages
}

#[tokio::test]
async fn a_batch_is_what_is_there_and_leaves_when_acknowledged() {
    skip_without_servers!();
    let (server, nats) = ready().await;
    let mut commands = nats.commands().await.unwrap();
    publish(&nats, &["a", "b", "c"]).await;
    let batch = take(&mut commands, 2).await;
    assert_eq!(batch.iter().map(id).collect::<Vec<_>>(), ["a", "b"]);
    let first = &batch[0];
    assert_eq!(first.subject, "usher.commands.acme.onboarding.create");
    assert_eq!((first.num_delivered, first.stream.sequence), (1, 1));
    assert_eq!(first.stream.name, "USHER_COMMANDS");
    // More is asked for than there is: the rest comes at once, not after the wait.
    let rest =
        tokio::time::timeout(PATIENCE, commands.next_batch(100, PATIENCE * 10)).await.unwrap().unwrap();
    assert_eq!(rest.iter().map(id).collect::<Vec<_>>(), ["c"]);
    batch[0].ack_confirmed().await.unwrap();
    batch[1].ack().await.unwrap();
    rest[0].term().await.unwrap();
    eventually("all left", || async { left(&server).await == 0 }).await;
    assert!(commands.next_batch(100, Duration::from_millis(50)).await.unwrap().is_empty());
}

#[tokio::test]
async fn waiting_ends_with_the_first_command() {
    skip_without_servers!();
    let (_server, nats) = ready().await;
    let mut commands = nats.commands().await.unwrap();
    let waiting = tokio::spawn(async move { commands.next_batch(100, PATIENCE * 10).await });
    publish(&nats, &["a"]).await;
    let batch = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(batch.iter().map(id).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_and_is_counted() {
    skip_without_servers!();
    let server = usher_testkit::nats::Nats::start().await.unwrap();
    let mut settings = quick(&server.url());
    settings.intake.ack_wait = Duration::from_secs(1);
    let nats = Nats::connect(settings).await.unwrap();
    nats.ensure_streams().await.unwrap();
    let mut commands = nats.commands().await.unwrap();
    publish(&nats, &["naked", "forgotten"]).await;
    let batch = take(&mut commands, 2).await;
    batch[0].nak(Duration::from_millis(10)).await.unwrap();
    batch[1].progress().await.unwrap();
    drop(batch);
    let again = take(&mut commands, 2).await;
    assert_eq!(
        again.iter().map(|delivery| (id(delivery), delivery.num_delivered)).collect::<Vec<_>>(),
        [("naked", 2), ("forgotten", 2)]
    );
}

#[tokio::test]
async fn a_thousand_commands_reach_two_workers_once_each() {
    skip_without_servers!();
    let (server, nats) = ready().await;
    let ids: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
    publish(&nats, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let worker = |nats: Nats| async move {
        let mut commands = nats.commands().await.unwrap();
        let mut seen = Vec::new();
        loop {
            let batch = commands.next_batch(64, Duration::from_millis(300)).await.unwrap();
            if batch.is_empty() {
                return seen;
            }
            for delivery in batch {
                delivery.ack().await.unwrap();
                seen.push(id(&delivery).to_owned());
            }
        }
    };
    let other = Nats::connect(quick(&server.url())).await.unwrap();
    let (mut seen, rest) = tokio::join!(worker(nats), worker(other));
    seen.extend(rest);
    assert_eq!(seen.len(), 1000);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 1000);
    eventually("all left", || async { left(&server).await == 0 }).await;
}

#[tokio::test]
async fn a_cancelled_call_loses_nothing() {
    skip_without_servers!();
    let (_server, nats) = ready().await;
    let mut commands = nats.commands().await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(200), commands.next_batch(10, PATIENCE)).await.is_err()
    );
    publish(&nats, &["a", "b"]).await;
    // Far sooner than `ack_wait`: what answers the cancelled question is not thrown away.
    let taken = take(&mut commands, 2).await;
    assert!(taken.iter().all(|delivery| delivery.num_delivered == 1), "{taken:?}");
}

#[tokio::test]
async fn stopping_ends_the_wait_and_all_further_pulls() {
    skip_without_servers!();
    let (_server, nats) = ready().await;
    let mut commands = nats.commands().await.unwrap();
    let stop = commands.stop_handle();
    let waiting = tokio::spawn(async move {
        let batch = commands.next_batch(10, PATIENCE * 10).await.unwrap();
        (batch.len(), commands)
    });
    stop.stop();
    let (count, mut commands) = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(count, 0);
    let next = tokio::time::timeout(PATIENCE, commands.next_batch(10, PATIENCE * 10)).await;
    assert!(next.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn a_killed_server_is_errors_and_then_the_commands_come() {
    skip_without_servers!();
    let (server, nats) = ready().await;
    let mut commands = nats.commands().await.unwrap();
    publish(&nats, &["before"]).await;
    let before = take(&mut commands, 1).await;
    server.kill().await.unwrap();
    eventually("the loss is noticed", || async { !nats.is_connected() }).await;
    let meanwhile = tokio::time::timeout(PATIENCE, commands.next_batch(1, PATIENCE * 10)).await.unwrap();
    assert!(matches!(meanwhile, Err(BusError::NotConnected)), "{meanwhile:?}");
    assert!(matches!(before[0].ack().await, Err(BusError::NotConnected)));
    server.restart().await.unwrap();
    eventually("connected", || async { nats.is_connected() }).await;
    publish(&nats, &["after"]).await;
    let after = take_until(&mut commands, "after").await;
    assert_eq!(after.stream.created, before[0].stream.created);
    before[0].ack_confirmed().await.unwrap();
    after.ack_confirmed().await.unwrap();
    eventually("both left", || async { left(&server).await == 0 }).await;
}

#[tokio::test]
async fn a_wait_that_a_restart_interrupts_goes_on() {
    skip_without_servers!();
    let (server, nats) = ready().await;
    let mut commands = nats.commands().await.unwrap();
    publish(&nats, &["first"]).await;
    take(&mut commands, 1).await[0].ack_confirmed().await.unwrap();
    let waiting = tokio::spawn(async move { take_until(&mut commands, "second").await });
    server.kill().await.unwrap();
    server.restart().await.unwrap();
    eventually("connected", || async { nats.is_connected() }).await;
    publish(&nats, &["second"]).await;
    let delivery = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(delivery.num_delivered, 1);
}

#[tokio::test]
async fn a_lost_consumer_is_made_again() {
    skip_without_servers!();
    let (server, nats) = ready().await;
    let mut commands = nats.commands().await.unwrap();
    publish(&nats, &["a"]).await;
    take(&mut commands, 1).await[0].ack_confirmed().await.unwrap();
    let stream = raw(&server).await.get_stream("USHER_COMMANDS").await.unwrap();
    stream.delete_consumer(INTAKE_CONSUMER).await.unwrap();
    publish(&nats, &["b"]).await;
    assert_eq!(id(&take(&mut commands, 1).await[0]), "b");
}

#[tokio::test]
async fn a_stream_made_anew_is_another_source() {
    skip_without_servers!();
    let (server, nats) = ready().await;
    let mut commands = nats.commands().await.unwrap();
    let plain = |delivery: &Delivery| {
        let facts = Some(&delivery.stream);
        decode_command(nats.names(), &delivery.subject, &Headers::new(), &delivery.payload, facts).unwrap()
    };
    publish(&nats, &["a"]).await;
    let first = plain(&take(&mut commands, 1).await[0]);
    raw(&server).await.delete_stream("USHER_COMMANDS").await.unwrap();
    let gone = commands.next_batch(1, Duration::from_millis(100)).await.unwrap_err();
    let gone_again = commands.next_batch(1, Duration::from_millis(100)).await.unwrap_err();
    assert!(gone_again.to_string().contains("stream not found"), "{gone}, {gone_again}");
    nats.ensure_streams().await.unwrap();
    publish(&nats, &["a"]).await;
    let second = plain(&take(&mut commands, 1).await[0]);
    assert_eq!((first.id.as_deref(), second.id.as_deref()), (Some("1"), Some("1")), "the numbers repeat");
    assert_ne!(first.source, second.source);
}

#[tokio::test]
async fn a_stream_made_anew_behind_our_back_is_noticed() {
    skip_without_servers!();
    let (server, nats) = ready().await;
    let mut commands = nats.commands().await.unwrap();
    publish(&nats, &["a"]).await;
    let first = take(&mut commands, 1).await;
    // Between two pulls, so that nothing tells this worker.
    raw(&server).await.delete_stream("USHER_COMMANDS").await.unwrap();
    let other = Nats::connect(quick(&server.url())).await.unwrap();
    other.ensure_streams().await.unwrap();
    publish(&other, &["b"]).await;
    let second = take(&mut commands, 1).await;
    assert_eq!((first[0].stream.sequence, second[0].stream.sequence), (1, 1));
    assert_ne!(first[0].stream.created, second[0].stream.created);
}
