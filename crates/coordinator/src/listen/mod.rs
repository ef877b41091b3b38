//! The accept loop of both servers: TLS, HTTP/1.1 and HTTP/2, and the limits that keep strangers cheap.
//!
//! Everything a peer can hold on to is bounded in number and in time: handshakes, connections, headers, bodies,
//! idling, reading the reply. Handshakes run in tasks of their own, so a silent peer delays nobody.

mod activity;
mod body;
mod connection;
mod frames;
mod gathered;
mod panic;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::config::{ListenAddress, LogLevel};

pub use body::{BodyError, TimedBody};

use activity::Connections;

/// The certificate the peer proved to hold the key of, in the extensions of each request; X.509 DER.
#[derive(Clone)]
pub struct PeerCertificate(pub CertificateDer<'static>);

/// Where the peer is, in the extensions of each request: a proxy before the Coordinator stands for all behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// Identifies a request in the log; in the extensions of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub u64);

/// What is served on a listener.
#[derive(Clone)]
pub struct Api {
    /// For the log.
    pub name: &'static str,
    /// The routes.
    pub router: axum::Router,
    /// The reply to a request whose handler panicked.
    pub on_panic: fn() -> axum::response::Response,
    /// The level of refused requests and failed connections.
    pub error_level: LogLevel,
    /// Whether marbles come to it: they speak HTTP/2 also where they negotiated nothing, as peers of gRPC may, and as they come
    /// in crowds, other threads that wait for the processor come first after each handshake and each reply.
    pub of_marbles: bool,
}

/// How much of everything one listener lets its peers have.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time. A further one takes the place of the one that has been quiet for the longest time; while
    /// all are busy it waits.
    pub connections: usize,
    /// Those of them that HTTP is spoken on, which takes most of the memory of a connection. A further one takes the
    /// place of the one that has been quiet for the longest time, too.
    pub speaking: usize,
    /// Handshakes at a time, of those connections.
    pub handshakes: usize,
    /// From the accepted connection to the end of the TLS handshake.
    pub handshake_time: Duration,
    /// For the header of a request, and for the first request of a connection.
    pub header_time: Duration,
    /// Between two pieces of a request body.
    pub body_pause: Duration,
    /// Of a connection without a request, or whose peer does not read the reply, whatever else it sends.
    pub idle_time: Duration,
    /// For what runs when the server stops.
    pub drain_time: Duration,
    /// HTTP/2 requests at a time on one connection.
    pub streams: u32,
    /// Bytes that the bodies of unanswered requests may take, all together.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 12_000,
            speaking: 1_000,
            handshakes: 4_096,
            handshake_time: Duration::from_secs(10),
            header_time: Duration::from_secs(10),
            body_pause: Duration::from_secs(10),
            idle_time: Duration::from_secs(60),
            drain_time: Duration::from_secs(30),
            streams: 16,
            body_bytes: Semaphore::MAX_PERMITS,
        }
    }
}

/// An address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    address: String,
    source: std::io::Error,
}

/// Listens on an address; one without a host means all interfaces, IPv6 and IPv4.
///
/// # Errors
/// [`BindError`] if the name does not resolve or the address is taken or not ours.
pub async fn bind(address: &ListenAddress) -> Result<TcpListener, BindError> {
    let bound = match &address.host {
        Some(host) => TcpListener::bind((host.as_str(), address.port)).await,
        // A machine without IPv6 has no `::`.
        None => match TcpListener::bind(("::", address.port)).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind(("0.0.0.0", address.port)).await,
        },
    };
    bound.map_err(|source| BindError {
        address: address.to_string(),
        source,
    })
}

/// Serves until `stop` becomes true, then lets what runs finish within [`Limits::drain_time`].
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    api: Api,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let server = Arc::new(Server {
        acceptor: TlsAcceptor::from(tls),
        handshakes: Semaphore::new(limits.handshakes),
        speaking: Semaphore::new(limits.speaking),
        body_bytes: Arc::new(Semaphore::new(limits.body_bytes)),
        connections: Arc::default(),
        api,
        limits,
        stop: stop.clone(),
    });
    let places = Arc::new(Semaphore::new(server.limits.connections));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stopping| *stopping) => break,
            accepted = server.accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, permit)) = accepted else {
            continue;
        };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            server.handle(stream, peer).await;
            drop(permit);
        });
    }
    drop(listener);
    let all = u32::try_from(server.limits.connections).unwrap_or(u32::MAX);
    if timeout(server.limits.drain_time, places.acquire_many(all))
        .await
        .is_err()
    {
        tracing::warn!(api = server.api.name, "stopped before every request was finished");
    }
}

type Accepted = (
    tokio::net::TcpStream,
    SocketAddr,
    tokio::sync::OwnedSemaphorePermit,
);

struct Server {
    acceptor: TlsAcceptor,
    handshakes: Semaphore,
    speaking: Semaphore,
    body_bytes: Arc<Semaphore>,
    connections: Arc<Connections>,
    api: Api,
    limits: Limits,
    stop: watch::Receiver<bool>,
}

impl Server {
    /// The next connection, once there is room for it.
    async fn accept(&self, listener: &TcpListener, places: &Arc<Semaphore>) -> Option<Accepted> {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Usually: no file descriptors left. Wait for some to come back instead of spinning.
                tracing::warn!(%error, "a connection could not be accepted");
                self.connections.make_room();
                tokio::time::sleep(Duration::from_millis(50)).await;
                return None;
            }
        };
        loop {
            if let Ok(place) = Arc::clone(places).try_acquire_owned() {
                return Some((stream, peer, place));
            }
            self.connections.make_room();
            let freed = Arc::clone(places).acquire_owned();
            if let Ok(place) = timeout(Duration::from_millis(100), freed).await {
                return Some((stream, peer, place.ok()?));
            }
        }
    }
}
