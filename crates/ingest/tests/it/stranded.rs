//! Commands that cannot be delivered: given up by JetStream, or not to be read by the client.

use std::time::Duration;

use base64::Engine as _;
use serde_json::json;
use usher_bus::Settings;
use usher_testkit::skip_without_servers;

use crate::{
    app::{TestApp, on_both_engines},
    intake::{create, customer, keys, refusals},
    wire::{Wire, command, eventually, message},
};

on_both_engines! {
    what_jetstream_gives_up_is_rejected_not_stuck,
    headers_that_cannot_be_read_are_rejected_and_hold_nobody_up,
}

/// Somebody has made the consumer anew, with a limit; and the message's handler has died.
async fn what_jetstream_gives_up_is_rejected_not_stuck(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::new().await;
    let consumer = "USHER_COMMANDS.usher-intake";
    wire.api(&format!("CONSUMER.DELETE.{consumer}"), json!({})).await;
    let config = json!({"durable_name": "usher-intake", "ack_policy": "explicit", "max_deliver": 1,
                        "ack_wait": 2_000_000_000_u64});
    let body = json!({"stream_name": "USHER_COMMANDS", "config": config});
    wire.api(&format!("CONSUMER.DURABLE.CREATE.{consumer}"), body).await;
    let work = wire.at_work(app);
    eventually("it listens", || async {
        let request = message("usher.requests.acme.x", &[], "{}");
        wire.nats.request(request, Duration::from_secs(1)).await.is_ok()
    })
    .await;
    wire.publish(vec![command("onboarding.create", "1", &create("one"))]).await;
    // Taken by a hand that never answers. The server notices at the next question after `ack_wait`. (What is delivered
    // bears the subject of the stream, so that our client does not take it for an answer.)
    eventually("it is reported", || async {
        let taken = message(&format!("$JS.API.CONSUMER.MSG.NEXT.{consumer}"), &[], "1");
        drop(wire.nats.request(taken, Duration::from_millis(500)).await);
        wire.count("USHER_REJECTED").await == 1
    })
    .await;
    wire.drained().await;
    let mut counted = String::new();
    prometheus_client::encoding::text::encode(&mut counted, &work.metrics).unwrap();
    assert!(counted.contains("usher_intake_advisories_total{kind=\"given_up\"} 1"), "{counted}");
    work.end().await;
    assert_eq!(refusals(app).await, [("poison".to_owned(), "1".to_owned())]);
}

/// Over the first the client drops the connection, over the second its task panics. What was under way with them comes
/// again, they do not.
async fn headers_that_cannot_be_read_are_rejected_and_hold_nobody_up(app: &TestApp) {
    skip_without_servers!();
    let wire = Wire::with("", |mut settings: Settings| {
        settings.intake.ack_wait = Duration::from_secs(2);
        settings
    })
    .await;
    customer(app).await;
    let subject = "usher.commands.acme.onboarding.create";
    let bad: [(u8, &[u8]); 2] = [(b'a', b"ce-x: caf\xe9"), (b'b', b"x: b\rc")];
    for (n, (id, line)) in bad.into_iter().enumerate() {
        let headers = [b"NATS/1.0\r\nNats-Msg-Id: ", [id].as_slice(), b"\r\n", line, b"\r\n\r\n"].concat();
        wire.server.publish_raw(subject, &headers, b"{}").await.unwrap();
        wire.publish(vec![command("onboarding.create", &format!("good-{n}"), &create(&format!("k{n}")))])
            .await;
    }
    // A status of the server's own making, as far as the client can tell.
    wire.server.publish_raw(subject, b"NATS/1.0 503\r\nNats-Msg-Id: c\r\n\r\n", b"{}").await.unwrap();
    let work = wire.at_work(app);
    wire.drained().await;
    eventually("the rejections are published", || async { wire.count("USHER_REJECTED").await == 3 }).await;
    work.end().await;
    let mut refused = refusals(app).await;
    refused.sort();
    let refused: Vec<_> = refused.iter().map(|(code, id)| (code.as_str(), id.as_str())).collect();
    assert_eq!(refused, [("invalid_headers", "a"), ("invalid_headers", "b"), ("missing_field", "c")]);
    assert_eq!(keys(app).await, ["k0", "k1"]);
    let stored = wire.stored("USHER_REJECTED").await;
    let original = stored.iter().find_map(|it| it.header("Usher-Original-Headers")).unwrap();
    let original = base64::engine::general_purpose::STANDARD.decode(original).unwrap();
    assert!(original.starts_with(b"NATS/1.0\r\nNats-Msg-Id: "), "{original:?}");
}
