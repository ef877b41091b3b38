//! The server for monitoring: plain HTTP/1.1 with `/metrics`, `/events`, `/healthz` and `/readyz`. It holds no secret, but
//! tells much: it is for the operator's network alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::metrics::metrics;
use super::scrape::Scrape;
use crate::service::Service;

/// Connections at a time, each for one request. A further one takes the place of the one that has been there for the
/// longest time: probes must get through whatever others do.
const CONNECTIONS: usize = 32;
/// A connection on which something was asked is not closed for another's sake before. Probes wait for a second, as a rule.
const SPARED: Duration = Duration::from_millis(200);
/// For the header of a request.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// For a connection, whatever it does.
const CONNECTION_TIME: Duration = Duration::from_secs(20);
/// Texts at a time that are made or on their way, as they can be long; further ones wait.
const TEXTS: usize = 4;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is told about.
pub struct Watched {
    /// The Coordinator.
    pub service: Service,
    /// The file of its state.
    pub state: std::path::PathBuf,
    /// Whether it runs in simulation.
    pub simulated: bool,
}

struct Monitoring {
    scrape: Scrape,
    texts: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

/// The connections that are served, the oldest first.
#[derive(Default)]
struct Open(VecDeque<Connection>);

struct Connection {
    since: Instant,
    asked: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Connection {
    fn may_be_closed(&self) -> bool {
        !self.asked.load(Ordering::Relaxed) || self.since.elapsed() >= SPARED
    }
}

/// A service that notes that it was asked.
struct Noting<S> {
    inner: S,
    asked: Arc<AtomicBool>,
}

impl<R, S: hyper::service::Service<R>> hyper::service::Service<R> for Noting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: R) -> S::Future {
        self.asked.store(true, Ordering::Relaxed);
        self.inner.call(request)
    }
}

impl Open {
    fn add(&mut self, asked: Arc<AtomicBool>, task: AbortHandle) {
        self.0.retain(|other| !other.task.is_finished());
        self.0.push_back(Connection {
            since: Instant::now(),
            asked,
            task,
        });
    }

    fn close_oldest(&mut self) {
        self.0.retain(|other| !other.task.is_finished());
        if let Some(oldest) = self.0.iter().find(|connection| connection.may_be_closed()) {
            oldest.task.abort();
        }
    }

    /// A place, once there is one.
    async fn place(&mut self, places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(place) = Arc::clone(places).try_acquire_owned() {
                return Some(place);
            }
            self.close_oldest();
            let freed = Arc::clone(places).acquire_owned();
            if let Ok(place) = timeout(Duration::from_millis(20), freed).await {
                return place.ok();
            }
        }
    }
}

/// A text that counts as one of [`TEXTS`] until it is sent.
struct Text {
    bytes: Vec<u8>,
    _turn: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Monitoring {
    /// The reply with a text that `make` makes, where it may take its time.
    async fn answer<E: Send + 'static>(
        self: Arc<Self>,
        content_type: &'static str,
        make: impl FnOnce(&Self) -> Result<Vec<u8>, E> + Send + 'static,
    ) -> Response {
        let Ok(turn) = Arc::clone(&self.texts).acquire_owned().await else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let made = tokio::task::spawn_blocking(move || {
            let bytes = make(&self)?;
            Ok::<_, E>(Text { bytes, _turn: turn })
        });
        match made.await {
            Ok(Ok(text)) => ([(header::CONTENT_TYPE, content_type)], Bytes::from_owner(text)).into_response(),
            _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// Serves until `stop` becomes true. From the call on, activations are remembered for `/events`.
pub async fn serve(listener: TcpListener, watched: Watched, mut stop: watch::Receiver<bool>) {
    metrics().events.remember();
    let monitoring = Arc::new(Monitoring {
        scrape: Scrape::new(watched.service, watched.state, watched.simulated),
        texts: Arc::new(Semaphore::new(TEXTS)),
        stop: stop.clone(),
    });
    let router = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/events", get(events))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(monitoring);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open = Open::default();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stopping| *stopping) => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Usually: no file descriptors left.
            open.close_oldest();
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Some(place) = open.place(&places).await else {
            return;
        };
        let asked = Arc::new(AtomicBool::new(false));
        let service = Noting {
            inner: TowerToHyperService::new(router.clone()),
            asked: Arc::clone(&asked),
        };
        let connection = tokio::spawn(async move {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .keep_alive(false)
                .max_buf_size(16 << 10);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            // Broken connections are the scraper's business.
            let _ = timeout(CONNECTION_TIME, connection).await;
            drop(place);
        });
        open.add(asked, connection.abort_handle());
    }
}

async fn metrics_text(State(monitoring): State<Arc<Monitoring>>, headers: HeaderMap) -> Response {
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    if accepts.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
        let text = |monitoring: &Monitoring| monitoring.scrape.openmetrics().map(String::into_bytes);
        monitoring.answer(OPENMETRICS, text).await
    } else {
        let text = |monitoring: &Monitoring| monitoring.scrape.prometheus().map(String::into_bytes);
        monitoring.answer(PROMETHEUS, text).await
    }
}

async fn events(State(monitoring): State<Arc<Monitoring>>) -> Response {
    let text = |_: &Monitoring| metrics().events.to_json();
    monitoring.answer("application/json", text).await
}

/// Ready in every phase: a Coordinator without a manifest waits for its users. Not when it stops, and not while it cannot
/// keep what it is told.
async fn ready(State(monitoring): State<Arc<Monitoring>>) -> Response {
    if *monitoring.stop.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    if !metrics().is_writable() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the state cannot be written\n").into_response();
    }
    "ok\n".into_response()
}
