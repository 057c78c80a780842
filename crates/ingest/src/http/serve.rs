//! Connections: accepted until the end is asked for, then what is in flight has ten seconds to finish.

use std::{io, net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// In how long a request's headers must arrive; also how long an idle connection is kept.
const HEADERS: Duration = Duration::from_secs(30);
/// Most bytes of a request's headers.
const HEADERS_SIZE: usize = 64 * 1024;
/// How long requests in flight may take once the end is asked for.
const GRACE: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted (no file descriptors left).
const BREATH: Duration = Duration::from_millis(200);

/// Serves until `shutdown` is cancelled and what was in flight is answered, or ten seconds later.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADERS_SIZE);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            stream = accept(&listener) => stream,
        };
        let (stream, peer) = stream;
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            router.call(request)
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "requests were still running at the end and are cut off"
        );
    }
    connections.shutdown().await;
}

/// The next connection; failures to accept pass by themselves.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are small: they must not wait for the acknowledgement of earlier ones.
                if stream.set_nodelay(true).is_ok() {
                    return (stream, peer);
                }
            }
            Err(error) if is_the_callers(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

fn is_the_callers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
