//! Monotonic counters: numbers the Coordinator keeps for a marble and never lets go down (spec/05, `POST
//! monotonic-counter`). A marble uses one to notice that its stored data was put back to an older state.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use marblerun_wire::rest::path::V2_MONOTONIC_COUNTER;
use marblerun_wire::rest::v2::{CounterSet, SetCounter};
use marblerun_wire::rest::{BodyError, read_reply, to_body};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error as TlsError, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::address::CoordinatorAddress;
use crate::identity::Identity;
use crate::tls::{TlsConfigurationError, pinned_client_config};

/// Why a counter was not raised. The counter may have been raised all the same when the answer is what failed.
#[derive(Debug, thiserror::Error)]
pub enum CounterError {
    /// The marble's identity is of no use for TLS.
    #[error(transparent)]
    Tls(#[from] TlsConfigurationError),
    /// The Coordinator cannot be reached, or is not the one this marble was activated by.
    #[error("the client API of the Coordinator at {address} cannot be reached: {source}")]
    Unreachable {
        /// Where.
        address: CoordinatorAddress,
        /// Why not.
        source: std::io::Error,
    },
    /// HTTP failed.
    #[error("the Coordinator at {address} does not answer as expected: {source}")]
    Exchange {
        /// Where.
        address: CoordinatorAddress,
        /// In what way.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("the Coordinator at {address} did not answer within {} s", TIME_LIMIT.as_secs())]
    Timeout {
        /// Where.
        address: CoordinatorAddress,
    },
    /// The Coordinator refuses: this marble's certificate is of an earlier manifest, the feature is off, a limit is
    /// reached.
    #[error("the Coordinator refused with HTTP status {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its reason.
        message: String,
    },
}

/// Sets the counter `name` of this marble (marble type and UUID) to `value` if that is more than it is, and tells
/// what it was before; 0 for a new one. The new value is durable when this returns.
///
/// `coordinator` is the address of the client API (port 4433 by default). The Coordinator must present the root
/// certificate that this marble was given at its activation.
///
/// # Errors
/// [`CounterError`]
pub async fn raise(
    identity: &Identity,
    coordinator: &CoordinatorAddress,
    name: &str,
    value: u64,
) -> Result<u64, CounterError> {
    let request = SetCounter {
        name: name.to_owned(),
        value,
    };
    tokio::time::timeout(TIME_LIMIT, exchange(identity, coordinator, &request))
        .await
        .unwrap_or_else(|_| {
            Err(CounterError::Timeout {
                address: coordinator.clone(),
            })
        })
}

const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Longest answer, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;

async fn exchange(
    identity: &Identity,
    address: &CoordinatorAddress,
    request: &SetCounter,
) -> Result<u64, CounterError> {
    let unreachable = |source| CounterError::Unreachable {
        address: address.clone(),
        source,
    };
    let exchange = |source| CounterError::Exchange {
        address: address.clone(),
        source,
    };

    let verifier = TheCoordinatorThatActivatedUs::new(identity.coordinator_root().clone());
    let configuration = pinned_client_config(identity, Arc::new(verifier))?;
    let server = ServerName::try_from(address.host().to_owned())
        .map_err(|error| unreachable(std::io::Error::other(error)))?;
    let stream = TcpStream::connect((address.host(), address.port()))
        .await
        .map_err(unreachable)?;
    let stream = TlsConnector::from(Arc::new(configuration))
        .connect(server, stream)
        .await
        .map_err(unreachable)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| exchange(error.into()))?;

    let request = Request::builder()
        .method(Method::POST)
        .uri(V2_MONOTONIC_COUNTER)
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(
            to_body(request).map_err(|error| exchange(error.into()))?,
        )))
        .map_err(|error| exchange(error.into()))?;
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT).collect().await?.to_bytes();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((head.status, body))
    };
    // The connection ends when the answer is complete; one that ends before shows in the answer.
    let (answer, _) = tokio::join!(answer, connection);
    let (status, body) = answer.map_err(exchange)?;

    match read_reply::<CounterSet>(&body) {
        Ok(reply) if status.is_success() => match reply.data {
            Some(counter) => Ok(counter.value),
            None => Err(CounterError::Refused {
                status: status.as_u16(),
                message: reply.message,
            }),
        },
        Ok(reply) => Err(CounterError::Refused {
            status: status.as_u16(),
            message: reply.message,
        }),
        Err(error) => Err(exchange(Box::new(NoReply {
            status: status.as_u16(),
            error,
        }))),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("HTTP status {status}, {error}")]
struct NoReply {
    status: u16,
    error: BodyError,
}

/// Takes the Coordinator's root certificate, which it presents as it is, and no other. It is a certificate of an
/// authority, so there is no path to build: equality and possession of the key are all there is to check.
#[derive(Debug)]
struct TheCoordinatorThatActivatedUs {
    root: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl TheCoordinatorThatActivatedUs {
    fn new(root: CertificateDer<'static>) -> Self {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Self {
            root,
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for TheCoordinatorThatActivatedUs {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if *certificate == self.root {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
