//! One TLS 1.3 connection that speaks HTTP.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::TLS13;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::address::Address;
use crate::error::ConnectError;
use crate::identity::ClientIdentity;
use crate::verifier::{Expected, Refusal, Verifier, find_refusal};

/// Longest header section that is taken, in bytes.
const MAXIMUM_HEADERS: u32 = 64 << 10;

/// An open connection and the certificate it was verified with.
pub(crate) struct Connection {
    sender: Sender,
    authority: String,
    certificate: CertificateDer<'static>,
    driver: JoinHandle<()>,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// Why an answer was not taken.
pub(crate) enum ExchangeError {
    /// Cannot be put into a request.
    Unwritable(http::Error),
    /// See [`crate::RequestError::Broken`].
    Broken(hyper::Error),
    /// More than the limit.
    TooLarge,
}

impl Connection {
    /// Opens a connection. Not bounded in time: the caller bounds it.
    pub(crate) async fn open(
        address: &Address,
        expected: Expected,
        identity: Option<&ClientIdentity>,
    ) -> Result<Self, ConnectError> {
        let tls_error = |source| ConnectError::Tls {
            address: address.clone(),
            source,
        };
        let tcp = TcpStream::connect((address.host(), address.port()))
            .await
            .map_err(|source| ConnectError::Unreachable {
                address: address.clone(),
                source,
            })?;
        // A lost option costs latency, nothing else.
        let _ = tcp.set_nodelay(true);

        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Verifier::new(expected, provider.signature_verification_algorithms);
        let config = tls_config(provider, Arc::clone(&verifier), identity)
            .map_err(|error| tls_error(io::Error::other(error)))?;
        let tls = TlsConnector::from(Arc::new(config))
            .connect(address.server_name(), tcp)
            .await
            .map_err(|source| match find_refusal(&source) {
                Some(Refusal::NotPinned) => ConnectError::NotPinned {
                    address: address.clone(),
                },
                Some(Refusal::WrongName { names }) => ConnectError::WrongName {
                    address: address.clone(),
                    names,
                },
                None => tls_error(source),
            })?;
        let certificate = verifier
            .seen()
            .ok_or_else(|| tls_error(io::Error::other("no certificate was presented")))?;

        let http_error = |source| ConnectError::Http {
            address: address.clone(),
            source,
        };
        let two = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(tls);
        let (sender, driver) = if two {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            let (sender, connection) = builder
                .max_header_list_size(MAXIMUM_HEADERS)
                .handshake(io)
                .await
                .map_err(http_error)?;
            (Sender::Two(sender), tokio::spawn(finish(connection)))
        } else {
            let mut builder = http1::Builder::new();
            let (sender, connection) = builder
                .max_header_size(MAXIMUM_HEADERS as usize)
                .handshake(io)
                .await
                .map_err(http_error)?;
            (Sender::One(sender), tokio::spawn(finish(connection)))
        };
        Ok(Self {
            sender,
            authority: address.to_string(),
            certificate,
            driver,
        })
    }

    /// The certificate the other side presented, was accepted with and proved the key of.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Whether a request can be sent; if not, the other side has closed the connection.
    pub(crate) async fn is_open(&mut self) -> bool {
        match &mut self.sender {
            Sender::One(sender) => sender.ready().await.is_ok(),
            Sender::Two(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Sends a request and reads the answer, of at most `limit` bytes. Not bounded in time.
    pub(crate) async fn exchange(
        &mut self,
        method: Method,
        path_and_query: &str,
        body: Bytes,
        limit: usize,
    ) -> Result<(StatusCode, Zeroizing<Vec<u8>>), ExchangeError> {
        let request = self
            .request(method, path_and_query, body)
            .map_err(ExchangeError::Unwritable)?;
        let response = match &mut self.sender {
            Sender::One(sender) => sender.send_request(request).await,
            Sender::Two(sender) => sender.send_request(request).await,
        }
        .map_err(ExchangeError::Broken)?;
        let status = response.status();
        Ok((status, read(response, limit).await?))
    }

    fn request(
        &self,
        method: Method,
        path_and_query: &str,
        body: Bytes,
    ) -> http::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder();
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let request = match self.sender {
            Sender::One(_) => request.header(HOST, &self.authority).uri(path_and_query),
            Sender::Two(_) => request.uri(
                Uri::builder()
                    .scheme("https")
                    .authority(self.authority.as_str())
                    .path_and_query(path_and_query)
                    .build()?,
            ),
        };
        request.method(method).body(Full::new(body))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Drives a connection; how it ends is told to whoever waits for an answer.
async fn finish(connection: impl Future<Output = hyper::Result<()>>) {
    let _ = connection.await;
}

fn tls_config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<Verifier>,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
        None => builder.with_no_client_auth(),
    };
    // A resumed session would skip the verification of the certificate.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The body, in a buffer that leaves no copies behind when it grows: answers hold secrets.
async fn read(response: Response<Incoming>, limit: usize) -> Result<Zeroizing<Vec<u8>>, ExchangeError> {
    let announced = response
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ExchangeError::TooLarge);
    }
    let mut content = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(0).min(1 << 20)));
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(ExchangeError::Broken)?.into_data() else {
            continue;
        };
        let length = content.len().saturating_add(data.len());
        if length > limit {
            return Err(ExchangeError::TooLarge);
        }
        if length > content.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(
                length.max(content.capacity().saturating_mul(2)),
            ));
            larger.extend_from_slice(&content);
            content = larger;
        }
        content.extend_from_slice(&data);
    }
    Ok(content)
}
