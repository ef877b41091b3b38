//! The TLS connection an activation travels in.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, Error as TlsError, PeerIncompatible,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::address::CoordinatorAddress;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The network, or the other side going away: may be different in a moment.
    #[error("{0}")]
    Unreachable(#[from] io::Error),
    /// The other side does not want this handshake, and will not want the next.
    #[error("{0}")]
    Refused(TlsError),
    /// The other side speaks TLS, but not HTTP/2.
    #[error("no HTTP/2 agreed on")]
    NoHttp2,
}

/// TLS 1.3, HTTP/2, the given client certificate, no resumption.
pub(super) fn client_configuration(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = AcceptAnyServerBecauseTheCoordinatorVerifiesUs::new(&provider);
    let mut configuration = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(vec![certificate], key)?;
    configuration.alpn_protocols = vec![b"h2".to_vec()];
    configuration.resumption = Resumption::disabled();
    Ok(configuration)
}

/// Connects and shakes hands.
pub(super) async fn connect(
    configuration: Arc<ClientConfig>,
    address: &CoordinatorAddress,
) -> Result<Connection, ConnectError> {
    let name = ServerName::try_from(address.host().to_owned()).map_err(io::Error::other)?;
    let stream = TcpStream::connect((address.host(), address.port())).await?;
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(configuration)
        .connect(name, stream)
        .await
        .map_err(|error| match tls_error(&error) {
            Some(refused) => ConnectError::Refused(refused.clone()),
            None => ConnectError::Unreachable(error),
        })?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(ConnectError::NoHttp2);
    }
    let Some(server_certificate) = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(|certificate| certificate.clone().into_owned())
    else {
        return Err(ConnectError::Refused(TlsError::NoCertificatesPresented));
    };
    Ok(Connection {
        stream,
        server_certificate,
        alert: Alert::default(),
        until_dropped: None,
    })
}

/// An alert the other side sent after the handshake. In TLS 1.3 the client is done before the server has looked at
/// the client's certificate, so a refusal of it arrives here, where the HTTP/2 library would bury it.
#[derive(Debug, Clone, Default)]
pub(super) struct Alert(Arc<OnceLock<AlertDescription>>);

impl Alert {
    /// The first fatal alert, if one came.
    pub(super) fn get(&self) -> Option<AlertDescription> {
        self.0.get().copied()
    }

    fn observe(&self, error: &io::Error) {
        if let Some(TlsError::AlertReceived(alert)) = tls_error(error) {
            let _first_one_counts = self.0.set(*alert);
        }
    }
}

/// A TLS connection that remembers the alert it ended with.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    server_certificate: CertificateDer<'static>,
    alert: Alert,
    /// Only there to be dropped.
    until_dropped: Option<oneshot::Sender<()>>,
}

impl Connection {
    /// Stays valid when the connection is gone.
    pub(super) fn alert(&self) -> Alert {
        self.alert.clone()
    }

    /// The certificate whose key the server has proven to hold.
    pub(super) fn server_certificate(&self) -> CertificateDer<'static> {
        self.server_certificate.clone()
    }

    /// Is done when the HTTP/2 library has said goodbye and dropped the connection.
    pub(super) fn closed(&mut self) -> oneshot::Receiver<()> {
        let (open, closed) = oneshot::channel();
        self.until_dropped = Some(open);
        closed
    }

    fn watched<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &outcome {
            self.alert.observe(error);
        }
        outcome
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watched(outcome)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.watched(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.watched(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watched(outcome)
    }
}

fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Takes every server certificate.
///
/// The handshake gives a marble nothing to check the server by: the Marble root that the Coordinator shows is signed
/// by itself. Whoever pins the Coordinator's root gets it checked when the reply is there ([`super::pinned`]). What
/// keeps secrets from a stranger is the other
/// direction: the Coordinator answers only to the key that a verified quote names, and that key never leaves the
/// TEE, so whoever sits in between has no certificate the Coordinator would answer to. What is *not* prevented, without
/// a pinned root, is a false Coordinator giving a marble parameters of its own; clients notice, because such a marble has no certificate
/// that chains to the root of the Coordinator they verified.
///
/// That the server holds the key of the certificate it shows is proven all the same, and TLS 1.2 is refused.
#[derive(Debug)]
struct AcceptAnyServerBecauseTheCoordinatorVerifiesUs {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AcceptAnyServerBecauseTheCoordinatorVerifiesUs {
    fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for AcceptAnyServerBecauseTheCoordinatorVerifiesUs {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
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
