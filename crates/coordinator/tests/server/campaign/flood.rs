//! Peers that ask for nothing but work (HTTP/2), and those that send more than anybody wants.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::slow::{frame, preface};
use crate::support::{ClientIdentity, connect};

/// Frames that are sent without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// Requests that are taken back at once.
    RapidReset,
    Settings,
    Ping,
    WindowUpdate,
    Priority,
    /// Data without content, on a request that is not finished.
    EmptyData,
    /// A header that goes on and on.
    Continuation,
    /// Kinds that nobody knows.
    Unknown,
}

use Flood::*;

pub const FLOODS: [Flood; 8] = [
    RapidReset,
    Settings,
    Ping,
    WindowUpdate,
    Priority,
    EmptyData,
    Continuation,
    Unknown,
];

/// `GET /`.
const GET: &[u8] = b"\x82\x84\x87\x41\x09localhost";
/// `POST /manifest`.
const POST: &[u8] = b"\x83\x87\x04\x09/manifest\x41\x09localhost";

impl Flood {
    /// What is sent first.
    fn begin(self) -> Vec<u8> {
        let mut bytes = preface();
        match self {
            EmptyData => bytes.extend(frame(1, 4, 1, POST)),
            Continuation => bytes.extend(frame(1, 0, 1, GET)),
            _ => {}
        }
        bytes
    }

    /// Hundred rounds; `first` is the number of the first stream.
    fn frames(self, first: u32) -> Vec<u8> {
        let round = |number: u32| match self {
            RapidReset => {
                let stream = first + 2 * number;
                [frame(1, 5, stream, GET), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
            }
            Settings => frame(4, 0, 0, &[0, 4, 0, 1, 0, 0]),
            Ping => frame(6, 0, 0, b"12345678"),
            WindowUpdate => frame(8, 0, 0, &[0, 0, 0, 1]),
            Priority => frame(2, 0, 1, &[0, 0, 0, 3, 16]),
            EmptyData => frame(0, 0, 1, b""),
            Continuation => frame(9, 0, 1, b"\x40\x01x\x01y"),
            Unknown => frame(77, 0, 0, b"?"),
        };
        (0..100).flat_map(round).collect()
    }

    /// Floods until the server closes: after how long. `None` if it does not within `patience`.
    pub async fn borne(
        self,
        address: SocketAddr,
        identity: Option<&ClientIdentity>,
        patience: Duration,
    ) -> Option<Duration> {
        let began = Instant::now();
        let tls = connect(address, identity, &["h2"]).await.ok()?;
        let (mut reader, mut writer) = tokio::io::split(tls);
        let flooding = tokio::spawn(async move {
            let mut first = 1;
            let _ = writer.write_all(&self.begin()).await;
            while writer.write_all(&self.frames(first)).await.is_ok() && writer.flush().await.is_ok() {
                first += 200;
            }
        });
        let mut bytes = [0; 16 << 10];
        let until_closed = async { while let Ok(1..) = reader.read(&mut bytes).await {} };
        let closed = timeout(patience, until_closed).await;
        flooding.abort();
        closed.ok().map(|()| began.elapsed())
    }
}

/// A body that is far too large.
pub struct TooLarge {
    left: u64,
    announced: bool,
}

impl hyper::body::Body for TooLarge {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        static PIECE: [u8; 64 << 10] = [b' '; 64 << 10];
        let length = self.left.min(PIECE.len() as u64);
        self.left -= length;
        let piece = &PIECE[..usize::try_from(length).unwrap()];
        Poll::Ready((length > 0).then(|| Ok(Frame::data(Bytes::from_static(piece)))))
    }

    fn size_hint(&self) -> SizeHint {
        match self.announced {
            true => SizeHint::with_exact(self.left),
            false => SizeHint::default(),
        }
    }
}

/// How such a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// HTTP/1.1 with its length.
    Announced,
    /// HTTP/1.1 in chunks.
    Chunked,
    /// HTTP/2 without a length.
    Streamed,
}

impl Sent {
    /// Posts so many bytes: the code of the answer; 0 if there is none.
    pub async fn post(
        self,
        address: SocketAddr,
        identity: Option<&ClientIdentity>,
        path: &str,
        bytes: u64,
    ) -> u16 {
        let body = TooLarge {
            left: bytes,
            announced: self == Self::Announced,
        };
        let answer = async {
            match self {
                Self::Streamed => {
                    let tls = connect(address, identity, &["h2"]).await.ok()?;
                    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
                    let (mut sender, connection) = builder.handshake(TokioIo::new(tls)).await.ok()?;
                    tokio::spawn(connection);
                    let request = http::Request::post(format!("https://localhost{path}"));
                    let response = sender.send_request(request.body(body).ok()?).await.ok()?;
                    Some(read(response).await)
                }
                Self::Announced | Self::Chunked => {
                    let tls = connect(address, identity, &["http/1.1"]).await.ok()?;
                    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
                        .await
                        .ok()?;
                    tokio::spawn(connection);
                    let request = http::Request::post(path).header("host", "localhost");
                    let response = sender.send_request(request.body(body).ok()?).await.ok()?;
                    Some(read(response).await)
                }
            }
        };
        timeout(Duration::from_secs(60), answer)
            .await
            .ok()
            .flatten()
            .unwrap_or(0)
    }
}

async fn read(response: http::Response<hyper::body::Incoming>) -> u16 {
    let status = response.status().as_u16();
    let _ = response.into_body().collect().await;
    status
}
