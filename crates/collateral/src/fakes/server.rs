//! The server: HTTP/1.1, with or without TLS, answering as it was told.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::documents::{document, make};
use super::{Behaviour, Shared};

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// Larger than any document that is taken.
const OVERSIZE: u64 = 1 << 30;

/// Serves until it is dropped, and all connections with it.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    shared: Arc<Shared>,
) {
    let tls = tls.map(TlsAcceptor::from);
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            match tls {
                None => converse(tcp, shared).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(tcp).await {
                        converse(stream, shared).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn converse<S>(stream: S, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, &request).await) }
    });
    // How a client ends it is its own affair.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(shared: &Shared, request: &Request<Incoming>) -> Answer {
    let uri = request.uri();
    let behaviour = {
        let mut state = shared.lock();
        let text = uri.path_and_query().map_or_else(String::new, ToString::to_string);
        state.requests.push(text);
        document(uri.path())
            .and_then(|document| state.behaviour.get(&document).cloned())
            .unwrap_or_default()
    };
    match &behaviour {
        Behaviour::Slow(time) => tokio::time::sleep(*time).await,
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Status(status) => {
            return empty(StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
        }
        Behaviour::Redirect(to) => {
            let mut answer = empty(StatusCode::FOUND);
            if let Ok(to) = HeaderValue::from_str(to) {
                answer.headers_mut().insert(http::header::LOCATION, to);
            }
            return answer;
        }
        _ => {}
    }
    let foreign = behaviour == Behaviour::ForeignIssuerChain;
    let made = match make(shared, uri.path(), uri.query().unwrap_or_default(), foreign) {
        Ok(Some(made)) => made,
        Ok(None) => return empty(StatusCode::NOT_FOUND),
        Err(_) => return empty(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let mut answer = Response::new(body(&behaviour, made.body));
    if let Some((name, chain)) = made.chain {
        let value = match behaviour {
            Behaviour::NoIssuerChain => None,
            Behaviour::BrokenIssuerChain => Some("no%20PEM".to_owned()),
            _ => Some(percent_encoded(&chain)),
        };
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            answer.headers_mut().insert(name, value);
        }
    }
    if behaviour == Behaviour::HugeHeaders {
        // Fewer than the hundred headers that hyper takes anyway.
        for _ in 0..80 {
            let value = HeaderValue::from_str(&"x".repeat(1024));
            if let Ok(value) = value {
                answer.headers_mut().append("x-padding", value);
            }
        }
    }
    answer
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(whole(Vec::new()));
    *answer.status_mut() = status;
    answer
}

fn whole(bytes: Vec<u8>) -> UnsyncBoxBody<Bytes, std::io::Error> {
    Full::new(Bytes::from(bytes))
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn body(behaviour: &Behaviour, mut document: Vec<u8>) -> UnsyncBoxBody<Bytes, std::io::Error> {
    match behaviour {
        Behaviour::Garbage => whole(b"<html><body>It works!</body></html>".to_vec()),
        Behaviour::Flipped => {
            let middle = document.len() / 2;
            if let Some(byte) = document.get_mut(middle) {
                *byte ^= 1;
            }
            whole(document)
        }
        Behaviour::Oversize => Odd {
            chunk: vec![b' '; 64 * 1024],
            announced: Some(OVERSIZE),
            then: Then::Again,
        }
        .boxed_unsync(),
        Behaviour::Endless => Odd {
            chunk: vec![b' '; 64 * 1024],
            announced: None,
            then: Then::Again,
        }
        .boxed_unsync(),
        Behaviour::Stall => {
            let announced = document.len() as u64;
            document.truncate(1);
            Odd {
                chunk: document,
                announced: Some(announced),
                then: Then::Never,
            }
            .boxed_unsync()
        }
        Behaviour::Cut => {
            let announced = document.len() as u64;
            document.truncate(document.len() / 2);
            Odd {
                chunk: document,
                announced: Some(announced),
                then: Then::Fail,
            }
            .boxed_unsync()
        }
        _ => whole(document),
    }
}

/// A body that is not what it was announced to be.
struct Odd {
    chunk: Vec<u8>,
    announced: Option<u64>,
    then: Then,
}

enum Then {
    Again,
    Never,
    Fail,
}

impl Body for Odd {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Then::Again = self.then {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from(self.chunk.clone())))));
        }
        let chunk = std::mem::take(&mut self.chunk);
        if !chunk.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from(chunk)))));
        }
        match self.then {
            Then::Fail => Poll::Ready(Some(Err(std::io::Error::other("cut")))),
            _ => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.announced
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}
