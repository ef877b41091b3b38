//! What the campaign has to find: servers that bear too much, and the same with limits, which bear little.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use http::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use marblerun_coordinator::config::LogLevel;
use marblerun_coordinator::listen::{self, Api, Limits};
use marblerun_coordinator::tls;
use marblerun_core::pki::CryptoSuite;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::flood::{FLOODS, Flood, Sent};
use super::slow::{Slow, Victim};
use crate::listener::identity;

const LITTLE: Duration = Duration::from_millis(300);
const MUCH: Duration = Duration::from_secs(600);
/// Longer than little with what a busy machine adds.
const PATIENCE: Duration = Duration::from_secs(3);

/// Reads bodies up to `most`.
fn router(most: usize) -> Router {
    let swallow = move |request: Request<Body>| async move {
        match axum::body::to_bytes(request.into_body(), most).await {
            Ok(_) => StatusCode::OK.into_response(),
            Err(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        }
    };
    Router::new()
        .route("/manifest", post(swallow))
        .route("/", get(async || "here"))
}

fn server_tls() -> Arc<rustls::ServerConfig> {
    let identity = identity();
    tls::client_api(Arc::new(move || identity.clone()), CryptoSuite::default()).unwrap()
}

/// The Coordinator's listener that waits this long for everything.
async fn waiting(time: Duration) -> (SocketAddr, watch::Sender<bool>) {
    let limits = Limits {
        handshake_time: time,
        header_time: time,
        body_pause: time,
        idle_time: time,
        drain_time: Duration::ZERO,
        ..Limits::default()
    };
    let api = Api {
        name: "planted",
        router: router(1_000_000),
        on_panic: || StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        error_level: LogLevel::Debug,
        of_marbles: false,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(listen::serve(listener, server_tls(), api, limits, stopping));
    (address, stop)
}

/// A server that takes whatever the library takes, which is told to take more.
async fn bearing_all() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(server_tls());
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else {
                    return;
                };
                let service = TowerToHyperService::new(router(usize::MAX));
                if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
                    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    builder
                        .max_pending_accept_reset_streams(usize::MAX)
                        .max_local_error_reset_streams(None);
                    let _ = builder.serve_connection(TokioIo::new(tls), service).await;
                } else {
                    let builder = hyper::server::conn::http1::Builder::new();
                    let _ = builder.serve_connection(TokioIo::new(tls), service).await;
                }
            });
        }
    });
    address
}

const SLOW: [Slow; 10] = [
    Slow::Silent,
    Slow::HalfHello,
    Slow::DrippingHello,
    Slow::NoRequest,
    Slow::NoPreface,
    Slow::DrippingHeader,
    Slow::DrippingFrames,
    Slow::HalfBody,
    Slow::HalfBodyOfStream,
    Slow::DrippingBody,
];

/// Who of the slow is borne longer than [`PATIENCE`] by a server that waits this long.
async fn borne_too_long(time: Duration) -> Vec<Slow> {
    let (address, _stop) = waiting(time).await;
    let mut peers = Vec::new();
    for slow in SLOW {
        let victim = Victim {
            address,
            path: "/manifest",
            identity: None,
            drip: Duration::from_millis(50),
        };
        peers.push((
            slow,
            tokio::spawn(async move { slow.borne(&victim, PATIENCE).await }),
        ));
    }
    let mut too_long = Vec::new();
    for (slow, borne) in peers {
        if borne.await.unwrap().is_none() {
            too_long.push(slow);
        }
    }
    too_long
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_waits_for_the_slow_is_noticed() {
    assert_eq!(borne_too_long(MUCH).await, SLOW);
    // Who keeps sending a body is under another limit.
    assert_eq!(borne_too_long(LITTLE).await, [Slow::DrippingBody]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_bears_floods_is_noticed() {
    let address = bearing_all().await;
    let mut borne = Vec::new();
    for flood in FLOODS {
        if flood.borne(address, None, Duration::from_secs(1)).await.is_none() {
            borne.push(flood);
        }
    }
    // Headers that go on and on, and data without content, the library ends by itself.
    let ended = [Flood::Continuation, Flood::EmptyData];
    assert_eq!(
        borne,
        FLOODS
            .into_iter()
            .filter(|flood| !ended.contains(flood))
            .collect::<Vec<_>>()
    );

    let (address, _stop) = waiting(MUCH).await;
    for flood in FLOODS {
        let borne = flood.borne(address, None, Duration::from_secs(10)).await;
        assert!(borne.is_some(), "{flood:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_bodies_of_any_size_is_noticed() {
    let bearing = bearing_all().await;
    let (limited, _stop) = waiting(MUCH).await;
    for sent in [Sent::Announced, Sent::Chunked, Sent::Streamed] {
        assert_eq!(
            sent.post(bearing, None, "/manifest", 5_000_000).await,
            200,
            "{sent:?}"
        );
        // This server drops what it refuses at once: the peer may see the end of the connection (0) before the answer.
        let refused = sent.post(limited, None, "/manifest", 5_000_000).await;
        assert!([413, 0].contains(&refused), "{sent:?}: {refused}");
    }
}
