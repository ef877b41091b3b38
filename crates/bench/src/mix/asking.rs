//! Requests of the client API: those that are answered, those that are refused; and what monitoring asks for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Method, StatusCode};
use marblerun_wire::rest::path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Seen;
use super::deployment::{self, Deployment};
use super::pace::{Pace, Part};
use crate::rest::{Sender, beginning, connect, send, speak};
use crate::tls::{Connector, Identity};

/// Adds requests of strangers and of the user.
pub fn add(
    pace: &mut Pace,
    address: SocketAddr,
    user: &Identity,
    deployment: Deployment,
    seen: &Seen,
) -> Result<()> {
    let stranger = Connector::new(address, None, "http/1.1")?;
    let user = Connector::new(address, Some(user), "http/1.1")?;
    let secrets = format!("{}?s=uploaded&s=token", path::V2_SECRETS);
    pace.add("status", 40.0, Asking::get(&stranger, path::V2_STATUS));
    pace.add(
        "status, new connection",
        10.0,
        Asking::get(&stranger, path::V1_STATUS).on_new_connections(),
    );
    let quote = Asking {
        make: Box::new(|number| (format!("{}?nonce={number:032x}", path::V2_QUOTE), Bytes::new())),
        ..Asking::get(&stranger, path::V2_QUOTE)
    };
    pace.add("quote", 5.0, quote);
    pace.add("manifest", 5.0, Asking::get(&stranger, path::V2_MANIFEST));
    let log = Asking {
        size: Some(Arc::clone(&seen.log_bytes)),
        ..Asking::get(&stranger, path::V2_UPDATE)
    };
    pace.add("update log", 1.0, log);
    pace.add("secrets, read", 10.0, Asking::get(&user, &secrets));
    // The update log has a line for each secret that was written, for good: not many a second.
    let write = Asking::post(&user, path::V2_SECRETS, |number| deployment::secrets(number + 1));
    pace.add("secrets, written", 0.2, write);
    let update = Asking::post(&user, path::V1_UPDATE, move |number| deployment.update(number));
    pace.add("update", 0.1, update);

    let refused = |asking: Asking, expected| Asking { expected, ..asking };
    pace.add(
        "secrets, no user",
        5.0,
        refused(Asking::get(&stranger, &secrets), StatusCode::UNAUTHORIZED),
    );
    let no_user = Asking::post(&stranger, path::V2_SECRETS, deployment::secrets).on_new_connections();
    pace.add(
        "secrets, written by no user",
        2.0,
        refused(no_user, StatusCode::UNAUTHORIZED),
    );
    let pending = Asking::get(&stranger, path::V2_UPDATE_MANIFEST);
    pace.add("no pending update", 5.0, refused(pending, StatusCode::NOT_FOUND));
    let nothing = Asking::get(&stranger, "/api/v2/nothing");
    pace.add(
        "no such path",
        2.0,
        refused(nothing, StatusCode::METHOD_NOT_ALLOWED),
    );
    pace.add("body far too large", 2.0, TooLarge(user));
    Ok(())
}

/// Adds what monitoring reads, and takes down its size.
pub fn add_monitoring(pace: &mut Pace, address: SocketAddr, seen: &Seen) {
    for (name, path, rate, size) in [
        ("metrics", "/metrics", 1.0, Some(Arc::clone(&seen.metrics_bytes))),
        ("events", "/events", 0.2, None),
        ("readiness", "/readyz", 1.0, None),
    ] {
        let asking = Asking::on(Server::Plain(address), Method::GET, move |_| {
            (path.to_owned(), Bytes::new())
        });
        pace.add(
            name,
            rate,
            Asking {
                size,
                ..asking.on_new_connections()
            },
        );
    }
}

/// Adds a request that is answered otherwise than expected.
pub fn add_planted(pace: &mut Pace, address: SocketAddr) -> Result<()> {
    let connector = Connector::new(address, None, "http/1.1")?;
    pace.add("planted answer", 1.0, Asking::get(&connector, "/api/v2/planted"));
    Ok(())
}

/// Path and body of the request with this number.
type Make = Box<dyn Fn(u64) -> (String, Bytes) + Send + Sync>;

struct Asking {
    server: Server,
    keep: bool,
    method: Method,
    make: Make,
    expected: StatusCode,
    /// Where the size of the answer goes.
    size: Option<Arc<AtomicU64>>,
    next: AtomicU64,
}

enum Server {
    Tls(Connector),
    Plain(SocketAddr),
}

impl Asking {
    fn on(
        server: Server,
        method: Method,
        make: impl Fn(u64) -> (String, Bytes) + Send + Sync + 'static,
    ) -> Self {
        Self {
            server,
            keep: true,
            method,
            make: Box::new(make),
            expected: StatusCode::OK,
            size: None,
            next: AtomicU64::new(0),
        }
    }

    fn get(connector: &Connector, path: &str) -> Self {
        let path = path.to_owned();
        Self::on(Server::Tls(connector.clone()), Method::GET, move |_| {
            (path.clone(), Bytes::new())
        })
    }

    fn post(
        connector: &Connector,
        path: &'static str,
        body: impl Fn(u64) -> Bytes + Send + Sync + 'static,
    ) -> Self {
        Self::on(Server::Tls(connector.clone()), Method::POST, move |number| {
            (path.to_owned(), body(number))
        })
    }

    fn on_new_connections(self) -> Self {
        Self { keep: false, ..self }
    }
}

impl Part for Asking {
    type Kept = Option<Sender>;

    async fn run(&self, kept: &mut Self::Kept) -> Result<Duration> {
        let (path, body) = (self.make)(self.next.fetch_add(1, Ordering::Relaxed));
        let began = Instant::now();
        // The server closes what nothing was asked on for a while.
        if kept.as_ref().is_none_or(Sender::is_closed) {
            *kept = Some(match &self.server {
                Server::Tls(connector) => connect(connector).await?,
                Server::Plain(address) => speak(TcpStream::connect(address).await?).await?,
            });
        }
        let sender = kept.as_mut().context("no connection")?;
        let (status, body) = send(sender, self.method.clone(), &path, body).await?;
        let took = began.elapsed();
        if !self.keep {
            *kept = None;
        }
        if status != self.expected {
            bail!(
                "{} {path} answered {status} ({}), expected {}",
                self.method,
                beginning(&body),
                self.expected
            );
        }
        if let Some(size) = &self.size {
            size.store(body.len() as u64, Ordering::Relaxed);
        }
        Ok(took)
    }
}

/// A user announces far too large a body, and is refused before he sends it.
struct TooLarge(Connector);

impl Part for TooLarge {
    type Kept = ();

    async fn run(&self, (): &mut ()) -> Result<Duration> {
        let began = Instant::now();
        let mut stream = self.0.connect().await?;
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: coordinator\r\ncontent-length: 400000000\r\n\r\n",
            path::V2_SECRETS
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        if answer != *b"HTTP/1.1 413" {
            bail!("answered {}, expected 413", beginning(&answer));
        }
        Ok(began.elapsed())
    }
}
