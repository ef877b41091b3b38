//! Peers that are slow on purpose, each told by how long the server bears it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::{ClientIdentity, client_config, connect};

/// Where a peer stops, or becomes slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slow {
    /// Connects and says nothing.
    Silent,
    /// Sends the begin of a TLS hello, and no more.
    HalfHello,
    /// Sends a TLS hello, byte by byte.
    DrippingHello,
    /// Is done with TLS and asks for nothing (HTTP/1.1).
    NoRequest,
    /// The same over HTTP/2, without the preface.
    NoPreface,
    /// Sends the header of a request byte by byte (HTTP/1.1).
    DrippingHeader,
    /// The same in frames of HTTP/2.
    DrippingFrames,
    /// Sends half a body and no more (HTTP/1.1); gets a refusal.
    HalfBody,
    /// The same over HTTP/2.
    HalfBodyOfStream,
    /// Sends a body byte by byte.
    DrippingBody,
}

use Slow::*;

/// Whom the slow peers connect to.
#[derive(Clone)]
pub struct Victim {
    pub address: SocketAddr,
    /// A path that takes bodies by POST.
    pub path: &'static str,
    /// Only if the server insists.
    pub identity: Option<ClientIdentity>,
    /// Between two bytes of who drips.
    pub drip: Duration,
}

impl Slow {
    /// How long the server bears this peer; `None` if longer than `patience`.
    pub async fn borne(self, victim: &Victim, patience: Duration) -> Option<Duration> {
        let began = Instant::now();
        timeout(patience, self.carry_out(victim)).await.ok()?;
        Some(began.elapsed())
    }

    /// Ends when the server has had enough.
    async fn carry_out(self, victim: &Victim) {
        let tcp = || TcpStream::connect(victim.address);
        let tls = |protocol: &'static str| {
            connect(
                victim.address,
                victim.identity.as_ref(),
                match protocol {
                    "h2" => &["h2"],
                    _ => &["http/1.1"],
                },
            )
        };
        match self {
            Silent => send(tcp().await.unwrap(), b"", b"", victim.drip).await,
            HalfHello => send(tcp().await.unwrap(), &hello()[..40], b"", victim.drip).await,
            DrippingHello => send(tcp().await.unwrap(), b"", &hello(), victim.drip).await,
            NoRequest => send(tls("http/1.1").await.unwrap(), b"", b"", victim.drip).await,
            NoPreface => send(tls("h2").await.unwrap(), b"", b"", victim.drip).await,
            DrippingHeader => {
                let begin = b"GET /status HTTP/1.1\r\nhost: localhost\r\nx-slow: ";
                send(tls("http/1.1").await.unwrap(), begin, &[b'x'; 4_000], victim.drip).await;
            }
            DrippingFrames => {
                let tls = tls("h2").await.unwrap();
                // One field in a frame of 8 KiB.
                let field = [
                    b"\x82\x84\x87\x41\x09localhost\x40\x01x\x7f\xd5\x3e".as_slice(),
                    &[b'x'; 8_148],
                ]
                .concat();
                let header = frame(1, 4, 1, &field);
                send(tls, &preface(), &header, victim.drip).await;
            }
            HalfBody => {
                let begin = post(victim.path, 1_000) + "{";
                send(tls("http/1.1").await.unwrap(), begin.as_bytes(), b"", victim.drip).await;
            }
            DrippingBody => {
                let begin = post(victim.path, 10_000);
                send(
                    tls("http/1.1").await.unwrap(),
                    begin.as_bytes(),
                    &[b'x'; 9_000],
                    victim.drip,
                )
                .await;
            }
            HalfBodyOfStream => half_a_stream(tls("h2").await.unwrap(), victim.path).await,
        }
    }
}

/// Asks for more than any buffer of a socket holds, and reads nothing of it.
pub async fn ask_without_reading(address: SocketAddr) -> impl Sized + Send {
    let mut tls = connect(address, None, &["http/1.1"]).await.unwrap();
    let many = "GET /api/v2/openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200);
    let _ = timeout(Duration::from_secs(5), tls.write_all(many.as_bytes())).await;
    let _ = timeout(Duration::from_secs(5), tls.flush()).await;
    tls
}

/// Sends `at_once`, then the rest byte by byte, reads meanwhile, and ends when the server does.
async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    at_once: &[u8],
    slowly: &[u8],
    pause: Duration,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    if writer.write_all(at_once).await.is_err() || writer.flush().await.is_err() {
        return;
    }
    let slowly = slowly.to_vec();
    let drip = tokio::spawn(async move {
        for byte in slowly {
            sleep(pause).await;
            if writer.write_all(&[byte]).await.is_err() || writer.flush().await.is_err() {
                break;
            }
        }
        // Kept: closing it would end the connection from this side.
        std::future::pending::<()>().await;
        drop(writer);
    });
    let mut bytes = [0; 4096];
    while let Ok(1..) = reader.read(&mut bytes).await {}
    drip.abort();
}

/// A request whose body stops after the first piece, until it is answered or ended.
async fn half_a_stream(tls: crate::support::Tls, path: &str) {
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(tls)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("https://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Half(Some(Bytes::from_static(&[0, 0, 0, 1, 0, b'{']))))
        .unwrap();
    if let Ok(response) = sender.send_request(request).await {
        let _ = response.into_body().collect().await;
    }
    connection.abort();
}

/// A body of one piece that does not end.
struct Half(Option<Bytes>);

impl hyper::body::Body for Half {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.0.take() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => Poll::Pending,
        }
    }
}

/// What a client sends first.
fn hello() -> Vec<u8> {
    let config = Arc::new(client_config(None, &["h2"]));
    let name = ServerName::try_from("localhost").unwrap();
    let mut hello = Vec::new();
    rustls::ClientConnection::new(config, name)
        .unwrap()
        .write_tls(&mut hello)
        .unwrap();
    hello
}

fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n")
}

/// The begin of an HTTP/2 connection.
pub fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, b""));
    bytes
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}
