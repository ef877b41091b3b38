//! One connection: handshake, protocol, the watch over it, and each of its requests.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncBufRead as _;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep_until, timeout, timeout_at};
use tower::Service as _;
use tracing::Instrument as _;

use super::activity::{Activity, WatchedReply};
use super::body::{Reservation, TimedBody, Unread};
use super::frames::Frames;
use super::gathered::{Gathered, Turns};
use super::panic::CatchPanic;
use super::{Api, Limits, PeerAddress, PeerCertificate, RequestId, Server};
use crate::observe::at_level;
use crate::observe::telemetry::request_ended;

/// How long a closing connection may do nothing.
const PATIENCE_AT_END: Duration = Duration::from_secs(2);

impl Server {
    /// Serves a connection to its end.
    pub(super) async fn handle(&self, stream: TcpStream, peer: SocketAddr) {
        // Small replies must not wait for the peer's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let activity = Arc::new(Activity::new());
        let _entered = self.connections.enter(&activity);
        tokio::select! {
            () = self.converse(stream, peer, &activity) => {}
            () = activity.is_evicted() => {
                tracing::debug!(api = self.api.name, %peer, "a quiet connection was closed to make room for another");
            }
        }
    }

    /// What a peer that says nothing can hold is kept small: what HTTP needs is set aside when the first byte comes.
    async fn converse(&self, stream: TcpStream, peer: SocketAddr, activity: &Arc<Activity>) {
        // Waiting for one's turn to shake hands counts, too.
        let handshake = Box::pin(async {
            let _turn = self.handshakes.acquire().await.map_err(io::Error::other)?;
            self.acceptor.accept(stream).await
        });
        let mut tls = match timeout(self.limits.handshake_time, handshake).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => return self.failed(peer, "TLS handshake", &error),
            Err(_) => return self.failed(peer, "TLS handshake", &"timed out"),
        };
        if self.api.of_marbles {
            std::thread::yield_now();
        }
        let place = tokio::select! {
            place = self.first_bytes(&mut tls, peer, activity) => place,
            () = self.is_stopping() => None,
        };
        let Some(_place) = place else { return };
        let session = tls.get_ref().1;
        let certificate = session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|leaf| PeerCertificate(leaf.clone().into_owned()));
        let http2 = self.api.of_marbles || session.alpn_protocol() == Some(b"h2");
        let requests = Requests {
            api: self.api.clone(),
            certificate,
            address: PeerAddress(peer.ip()),
            activity: Arc::clone(activity),
            body_pause: self.limits.body_pause,
            body_bytes: Arc::clone(&self.body_bytes),
        };
        let result = if http2 {
            let builder = http2_builder(&self.limits);
            let writing = Arc::clone(activity);
            let connection = Gathered::new(Frames::new(tls, Arc::clone(activity))).turns(
                |stream| builder.serve_connection(TokioIo::new(stream), requests),
                move || writing.has_written(),
            );
            Box::pin(self.watch(connection, activity)).await
        } else {
            let connection = http1_builder(&self.limits).serve_connection(TokioIo::new(tls), requests);
            Box::pin(self.watch(connection, activity)).await
        };
        if let Err(error) = result {
            self.failed(peer, "connection", &error);
        }
    }

    /// Waits for the first bytes of the first request, and then for a place among the connections that HTTP is spoken on:
    /// where there is none, the one that has been quiet for the longest time gives its own away. `None` if nothing came.
    async fn first_bytes(
        &self,
        tls: &mut Tls,
        peer: SocketAddr,
        activity: &Activity,
    ) -> Option<SemaphorePermit<'_>> {
        let something = poll_fn(|context| {
            let bytes = Pin::new(&mut *tls).poll_fill_buf(context);
            bytes.map(|bytes| match bytes {
                Ok(bytes) => !bytes.is_empty(),
                Err(error) => {
                    self.failed(peer, "connection", &error);
                    false
                }
            })
        });
        let place = async {
            if !something.await {
                return None;
            }
            loop {
                if let Ok(place) = self.speaking.try_acquire() {
                    activity.speaks();
                    return Some(place);
                }
                self.connections.make_room_among_speaking();
                if let Ok(place) = timeout(Duration::from_millis(100), self.speaking.acquire()).await {
                    activity.speaks();
                    return place.ok();
                }
            }
        };
        timeout_at((activity.opened() + self.limits.header_time).into(), place)
            .await
            .ok()
            .flatten()
    }

    async fn is_stopping(&self) {
        // There is nobody left to tell: that is the end, too.
        let _ = self.stop.clone().wait_for(|stopping| *stopping).await;
    }

    /// Drives a connection; closes it when it idles or the server stops.
    async fn watch(&self, connection: impl Graceful, activity: &Activity) -> Result<(), hyper::Error> {
        let mut connection = pin!(connection);
        let mut stop = self.stop.clone();
        let drain = loop {
            let end = self.end(activity);
            tokio::select! {
                result = connection.as_mut() => return result,
                _ = stop.wait_for(|stopping| *stopping) => break self.limits.drain_time,
                () = activity.header_begins() => {}
                // What happened meanwhile may have moved the end.
                () = sleep_until(end.into()) => if Instant::now() >= self.end(activity) {
                    break self.limits.header_time;
                },
            }
        };
        connection.as_mut().graceful_shutdown();
        self.give_up(connection, activity, drain).await
    }

    /// When the connection has to be closed if nothing more happens.
    fn end(&self, activity: &Activity) -> Instant {
        let idle = activity.quiet_since() + self.limits.idle_time;
        let header = if activity.requests() == 0 {
            Some(activity.opened())
        } else {
            activity.header_since()
        };
        header.map_or(idle, |since| idle.min(since + self.limits.header_time))
    }

    /// Lets what runs finish within `drain`, but does not wait for a peer that no longer reacts.
    async fn give_up(
        &self,
        mut connection: Pin<&mut impl Graceful>,
        activity: &Activity,
        drain: Duration,
    ) -> Result<(), hyper::Error> {
        const STEP: Duration = Duration::from_millis(100);
        let end = Instant::now() + drain;
        loop {
            if let Ok(result) = timeout(STEP, connection.as_mut()).await {
                return result;
            }
            let now = Instant::now();
            if now >= end || now >= activity.quiet_since() + PATIENCE_AT_END {
                return Ok(());
            }
        }
    }

    fn failed(&self, peer: SocketAddr, what: &'static str, error: &dyn std::fmt::Display) {
        at_level!(self.api.error_level, api = self.api.name, %peer, %error, "{what} failed");
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(64 << 10)
        .max_headers(100)
        .half_close(false);
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(16 << 10)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(128)
        .initial_stream_window_size(128 << 10)
        .initial_connection_window_size(128 << 10)
        .max_frame_size(16 << 10)
        .max_send_buf_size(64 << 10);
    builder
}

/// A connection that can be told to finish what runs and take nothing new.
trait Graceful: Future<Output = Result<(), hyper::Error>> {
    fn graceful_shutdown(self: Pin<&mut Self>);
}

type Tls = tokio_rustls::server::TlsStream<TcpStream>;

impl Graceful for http1::Connection<TokioIo<Tls>, Requests> {
    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

type Http2 = http2::Connection<TokioIo<Gathered<Frames<Tls>>>, Requests, TokioExecutor>;

impl<A: Fn() + Unpin> Graceful for Turns<Http2, Frames<Tls>, A> {
    fn graceful_shutdown(mut self: Pin<&mut Self>) {
        Pin::new(&mut self.connection).graceful_shutdown();
    }
}

/// The requests of one connection.
struct Requests {
    api: Api,
    certificate: Option<PeerCertificate>,
    address: PeerAddress,
    activity: Arc<Activity>,
    body_pause: Duration,
    body_bytes: Arc<Semaphore>,
}

impl Service<http::Request<Incoming>> for Requests {
    type Response = http::Response<WatchedReply>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let running = self.activity.request_started();
        let id = next_request_id();
        let reservation = Arc::new(Reservation::new(Arc::clone(&self.body_bytes)));
        let http2 = request.version() == http::Version::HTTP_2;
        let unread = Arc::new(Unread::default());
        let mut request = request.map(|body| {
            TimedBody::new(
                body,
                self.body_pause,
                Arc::clone(&reservation),
                Arc::clone(&unread),
            )
        });
        request.extensions_mut().insert(id);
        request.extensions_mut().insert(self.address);
        if let Some(certificate) = &self.certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        let activity = Arc::clone(&self.activity);
        let (name, level, on_panic) = (self.api.name, self.api.error_level, self.api.on_panic);
        let of_marbles = self.api.of_marbles;
        let method = request.method().clone();
        let path: String = request.uri().path().chars().take(200).collect();
        let mut router = self.api.router.clone();
        // Of the highest level, so that whatever is logged has its request.
        let span = tracing::error_span!("request", request = format_args!("{:016x}", id.0));
        let answer = async move {
            let started = Instant::now();
            let handled = CatchPanic::new(poll_router(&mut router, request)).await;
            let response = handled.unwrap_or_else(|| {
                tracing::error!("a handler panicked; the request is answered with an error");
                on_panic()
            });
            let method_name = method.as_str().get(..20).unwrap_or(method.as_str());
            let microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            let status = response.status().as_u16();
            let grpc = response
                .headers()
                .get("grpc-status")
                .and_then(|code| code.to_str().ok())
                .unwrap_or("0");
            if status < 400 && grpc == "0" {
                tracing::debug!(api = name, method = %method_name, path, status, microseconds, "request served");
            } else {
                // The client API has no codes of gRPC.
                let grpc = (grpc != "0").then_some(grpc);
                at_level!(level, api = name, method = %method_name, path, status, grpc, microseconds, "request refused");
            }
            request_ended(name, &method, &path, status, grpc);
            if http2 {
                unread.drain().await;
            }
            drop((running, reservation));
            if of_marbles {
                activity.give_way_after_writing();
            }
            Ok(response.map(|body| WatchedReply::new(body, activity)))
        };
        Box::pin(answer.instrument(span))
    }
}

async fn poll_router(
    router: &mut axum::Router,
    request: http::Request<TimedBody>,
) -> axum::response::Response {
    std::future::poll_fn(|context: &mut Context<'_>| -> Poll<()> {
        let ready: Poll<Result<(), std::convert::Infallible>> =
            tower::Service::<http::Request<TimedBody>>::poll_ready(router, context);
        ready.map(|_| ())
    })
    .await;
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Numbers that differ between runs and follow each other within one.
fn next_request_id() -> RequestId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static START: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let start = *START.get_or_init(|| {
        let mut random = [0; 4];
        // Only a help for readers of the log: without randomness the numbers begin at 0.
        let _ = aws_lc_rs::rand::fill(&mut random);
        u64::from(u32::from_le_bytes(random)) << 32
    });
    RequestId(start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)))
}
