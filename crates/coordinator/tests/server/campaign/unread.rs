//! Peers that ask for as much as they may at a time, have room for all of it, and read nothing.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::measure::Report;
use super::{MOST_MEMORY, megabytes, on};
use crate::support::program::Program;
use crate::support::{Tls, client_config, connect_with};

/// As many as HTTP is spoken with.
const PEERS: usize = 1_000;
/// More than anybody is answered at a time.
const REQUESTS: usize = 100;

/// What one of them holds: its connection, and the requests it has made.
type Unread = Box<dyn Any + Send>;

/// How much memory they take.
pub async fn replies(program: &Arc<Program>, report: &mut Report, hostile: &Handle) {
    let address = program.client;
    let peers = on(hostile, async move {
        let config = Arc::new(client_config(None, &["h2"]));
        let mut peers = Vec::new();
        for _ in 0..PEERS {
            if let Ok(tls) = connect_with(address, Arc::clone(&config)).await {
                peers.extend(ask_and_read_nothing(tls).await);
            }
        }
        peers
    })
    .await;
    let name = format!("memory with {PEERS} peers that read none of their replies");
    report.number(&name, megabytes(program), "MB", MOST_MEMORY);
    report.fact(
        "connections of them that were taken",
        peers.len() > PEERS / 2,
        true,
    );
}

async fn ask_and_read_nothing(tls: Tls) -> Option<Unread> {
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(1 << 30)
        .initial_connection_window_size(1 << 30);
    let (mut sender, connection) = builder.handshake(TokioIo::new(tls)).await.ok()?;
    let mut connection = Box::pin(connection);
    let mut requests = Vec::new();
    for _ in 0..REQUESTS {
        let get = http::Request::get("https://localhost/api/v2/manifest")
            .body(http_body_util::Full::<bytes::Bytes>::default())
            .ok()?;
        requests.push(sender.send_request(get));
    }
    // For as long as it takes to send them; then nobody drives it any more.
    let _ = timeout(Duration::from_millis(5), &mut connection).await;
    Some(Box::new((sender, connection, requests)))
}
