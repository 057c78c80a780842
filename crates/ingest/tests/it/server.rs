//! The server itself: connections, limits, the end.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use usher_ingest::http::serve;

use crate::app::TestApp;

const SOON: Duration = Duration::from_secs(20);

async fn start(app: &TestApp) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, app.router.clone(), shutdown.clone()));
    (address, shutdown, serving)
}

async fn read_to_end(mut stream: TcpStream) -> String {
    let mut text = String::new();
    timeout(SOON, stream.read_to_string(&mut text)).await.expect("the server closes").unwrap();
    text
}

#[tokio::test]
async fn a_request_in_flight_is_answered_after_the_end_was_asked_for() {
    let app = TestApp::sqlite().await;
    let (address, shutdown, serving) = start(&app).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");

    let mut busy = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nExpect: 100-continue\r\nContent-Length: 15\r\n\r\n",
        app.live
    );
    busy.write_all(head.as_bytes()).await.unwrap();
    // The interim answer comes when the handler asks for the body: now the request is in flight.
    let mut interim = [0; 25];
    timeout(SOON, busy.read_exact(&mut interim)).await.expect("in time").unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    shutdown.cancel();
    read_to_end(idle).await;
    busy.write_all(br#"{"name":"Acme"}"#).await.unwrap();
    let answer = read_to_end(busy).await;
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    timeout(SOON, serving).await.expect("the server ends").unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn headers_that_never_end_are_not_waited_for() {
    let app = TestApp::sqlite().await;
    let (address, _shutdown, _serving) = start(&app).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    tokio::time::pause();
    // The clock is paused: it jumps to the server's limit, which comes before ours.
    let mut rest = Vec::new();
    timeout(Duration::from_mins(1), slow.read_to_end(&mut rest)).await.expect("the server gives up").unwrap();
}

#[tokio::test]
async fn a_postgres_that_goes_away_is_503_and_recovers_by_itself() {
    usher_testkit::skip_without_servers!();
    let server = usher_testkit::postgres::Postgres::start().await.unwrap();
    let app = TestApp::on_postgres(&server.url("postgres")).await;
    app.get("onboardings").await.ok();
    server.stop().await.unwrap();
    app.get("onboardings").await.refused(503, "unavailable", None);
    app.post("customers", serde_json::json!({"name": "x"})).await.refused(503, "unavailable", None);
    server.restart().await.unwrap();
    app.get("onboardings").await.ok();
    app.made("customers", serde_json::json!({"name": "x"})).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_in_the_envelope() {
    let app = TestApp::sqlite().await;
    let (address, shutdown, serving) = start(&app).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let size = 1024 * 1024 + 1;
    let head = format!(
        "POST /api/v1/customers HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\nContent-Length: {size}\r\n\r\n",
        app.live
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; size]).await.unwrap();
    let answer = read_to_end(stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains(r#""code":"payload_too_large""#), "{answer}");
    shutdown.cancel();
    timeout(SOON, serving).await.expect("the server ends").unwrap();
}
