//! A TLS and HTTP client for the tests of the servers: takes any server certificate, keeps it for looking at.

pub mod program;
pub mod users;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate with its key, for a client to present.
#[derive(Clone)]
pub struct ClientIdentity {
    pub certificate: Vec<u8>,
    pub pkcs8: Vec<u8>,
}

impl ClientIdentity {
    pub fn self_signed() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        Self {
            certificate: certificate.der().to_vec(),
            pkcs8: key.serialize_der(),
        }
    }

    /// Of a certificate (the first one) and a key (PKCS#8) in PEM.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Self {
        let contents = |pem: &[u8]| x509_parser::pem::parse_x509_pem(pem).unwrap().1.contents;
        Self {
            certificate: contents(certificate),
            pkcs8: contents(key),
        }
    }

    /// What a marble was given.
    pub fn of_marble(parameters: &marblerun_wire::marble::Parameters) -> Self {
        let env = |name: &str| parameters.env[name].as_slice();
        Self::from_pem(
            env("MARBLE_PREDEFINED_MARBLE_CERTIFICATE_CHAIN"),
            env("MARBLE_PREDEFINED_PRIVATE_KEY"),
        )
    }

    pub fn certificate_pem(&self) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(&self.certificate);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }
}

#[derive(Debug)]
struct Presenting(Arc<CertifiedKey>);

impl ResolvesClientCert for Presenting {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes any certificate, proves possession of its key.
#[derive(Debug)]
struct AnyServer(CryptoProvider);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("not in these tests".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = marblerun_coordinator::certificate::public_key_info(certificate).unwrap();
        let key = SubjectPublicKeyInfoDer::from(key);
        verify_tls13_signature_with_raw_key(
            message,
            &key,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// TLS of a client that would resume sessions if it could.
pub fn client_config(identity: Option<&ClientIdentity>, protocols: &[&str]) -> ClientConfig {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    client_config_with(provider, identity, protocols)
}

pub fn client_config_with(
    provider: CryptoProvider,
    identity: Option<&ClientIdentity>,
    protocols: &[&str],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.pkcs8.clone()));
            let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
            let chain = vec![CertificateDer::from(identity.certificate.clone())];
            builder.with_client_cert_resolver(Arc::new(Presenting(Arc::new(CertifiedKey::new(chain, key)))))
        }
    };
    config.resumption = Resumption::in_memory_sessions(16);
    config.enable_early_data = true;
    config.alpn_protocols = protocols
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec())
        .collect();
    config
}

pub type Tls = TlsStream<TcpStream>;

pub async fn connect_with(address: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<Tls> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").unwrap();
    timeout(
        Duration::from_secs(20),
        TlsConnector::from(config).connect(name, stream),
    )
    .await
    .unwrap()
}

pub async fn connect(
    address: SocketAddr,
    identity: Option<&ClientIdentity>,
    protocols: &[&str],
) -> std::io::Result<Tls> {
    connect_with(address, Arc::new(client_config(identity, protocols))).await
}

/// The server's certificate.
pub fn server_certificate(tls: &Tls) -> Vec<u8> {
    tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

pub type Sender1 = hyper::client::conn::http1::SendRequest<Full<Bytes>>;
pub type Sender2 = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

pub async fn http1(tls: Tls) -> Sender1 {
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

pub async fn http2(tls: Tls) -> Sender2 {
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub fn request(method: &str, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .body(Full::new(body.into()))
        .unwrap()
}

pub async fn read(response: Response<hyper::body::Incoming>) -> (StatusCode, http::HeaderMap, Bytes) {
    let (parts, body) = response.into_parts();
    (
        parts.status,
        parts.headers,
        body.collect().await.unwrap().to_bytes(),
    )
}

/// One request on a new HTTP/1.1 connection.
pub async fn ask(
    address: SocketAddr,
    identity: Option<&ClientIdentity>,
    method: &str,
    path: &str,
    body: impl Into<Bytes>,
) -> (StatusCode, http::HeaderMap, Bytes) {
    let mut sender = http1(connect(address, identity, &["http/1.1"]).await.unwrap()).await;
    read(sender.send_request(request(method, path, body)).await.unwrap()).await
}
