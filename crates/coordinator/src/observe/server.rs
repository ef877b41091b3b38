//! The server for monitoring: plain HTTP/1.1 with `/metrics`, `/events`, `/healthz` and `/readyz`. It holds no secret, but
//! tells much: it is for the operator's network alone.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::metrics::metrics;
use super::scrape::Scrape;
use crate::service::Service;

/// Connections at a time; further ones wait.
const CONNECTIONS: usize = 32;
/// For the header of a request.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// For a connection, whatever it does: whoever scrapes comes again.
const CONNECTION_TIME: Duration = Duration::from_secs(300);

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
    stop: watch::Receiver<bool>,
}

/// Serves until `stop` becomes true. From the call on, activations are remembered for `/events`.
pub async fn serve(listener: TcpListener, watched: Watched, mut stop: watch::Receiver<bool>) {
    metrics().events.remember();
    let monitoring = Arc::new(Monitoring {
        scrape: Scrape::new(watched.service, watched.state, watched.simulated),
        stop: stop.clone(),
    });
    let router = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/events", get(events))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(monitoring);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stopping| *stopping) => return,
            accepted = async { (place.await, listener.accept().await) } => accepted,
        };
        let (Ok(place), Ok((stream, _))) = accepted else {
            // Usually: no file descriptors left.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .max_buf_size(16 << 10);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            // Broken connections are the scraper's business.
            let _ = timeout(CONNECTION_TIME, connection).await;
            drop(place);
        });
    }
}

async fn metrics_text(State(monitoring): State<Arc<Monitoring>>, headers: HeaderMap) -> Response {
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let openmetrics = accepts.is_some_and(|accept| accept.contains("application/openmetrics-text"));
    // The size of the state is asked of the file system.
    let text = tokio::task::spawn_blocking(move || {
        if openmetrics {
            monitoring.scrape.openmetrics()
        } else {
            monitoring.scrape.prometheus()
        }
    });
    let content_type = if openmetrics { OPENMETRICS } else { PROMETHEUS };
    match text.await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, content_type)], text).into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn events() -> Response {
    match metrics().events.to_json() {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
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
