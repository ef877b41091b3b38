//! TLS of both servers (`spec/03`, "TLS of the servers").
//!
//! TLS 1.3 only, aws-lc-rs only, the cipher of the crypto suite before all others, no resumption and no 0-RTT: a resumed
//! session would skip the check of the client certificate. Which certificate is presented is decided at each handshake
//! from the published state, so that recovery and updates need no restart. Client certificates are not judged here: any
//! is taken, but the key must be proven; who the caller is, is looked up for each request.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use marblerun_core::pki::CryptoSuite;
use marblerun_core::pki::key::PrivateKey;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, UnixTime,
};

use crate::certificate::public_key_info;

/// What a server presents: one certificate, sent alone, and its key.
#[derive(Clone)]
pub struct Identity {
    /// X.509 DER.
    pub certificate: Arc<[u8]>,
    /// The key of the certificate.
    pub key: PrivateKey,
}

/// Where a server finds what to present now. Asked at every handshake: must be quick and must not block.
pub trait IdentitySource: Send + Sync {
    /// The identity of this moment.
    fn current(&self) -> Identity;
}

impl<F: Fn() -> Identity + Send + Sync> IdentitySource for F {
    fn current(&self) -> Identity {
        self()
    }
}

/// Why a TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the TLS configuration could not be made: {0}")]
pub struct TlsError(#[from] Error);

/// TLS of the client API: asks for a client certificate without requiring it; HTTP/2 and HTTP/1.1.
///
/// # Errors
/// [`TlsError`] if the crypto provider does not know TLS 1.3.
pub fn client_api(
    identity: Arc<dyn IdentitySource>,
    suite: CryptoSuite,
) -> Result<Arc<ServerConfig>, TlsError> {
    configure(identity, suite, false, &[b"h2", b"http/1.1"])
}

/// TLS of the Marble API: requires some client certificate; HTTP/2 alone, which Go clients insist on being offered.
///
/// # Errors
/// [`TlsError`] if the crypto provider does not know TLS 1.3.
pub fn marble_api(
    identity: Arc<dyn IdentitySource>,
    suite: CryptoSuite,
) -> Result<Arc<ServerConfig>, TlsError> {
    configure(identity, suite, true, &[b"h2"])
}

/// The one crypto provider of this program, with X25519MLKEM768 in front.
pub fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

fn configure(
    identity: Arc<dyn IdentitySource>,
    suite: CryptoSuite,
    client_certificate_required: bool,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut provider = provider();
    if suite == CryptoSuite::P256Aes128 {
        // Connections are as strong as the suite; SHA-384 beside P-256 would only cost time. Others are taken, too.
        let preferred = CipherSuite::TLS13_AES_128_GCM_SHA256;
        provider
            .cipher_suites
            .sort_by_key(|offered| offered.suite() != preferred);
    }
    let provider = Arc::new(provider);
    let verifier = AnyClientCertificate {
        required: client_certificate_required,
        algorithms: provider.signature_verification_algorithms,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(Resolver {
            identity,
            ready: ArcSwapOption::empty(),
        }));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.ignore_client_order = true;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Presents the current identity. The parsed key is kept until another certificate is published.
struct Resolver {
    identity: Arc<dyn IdentitySource>,
    ready: ArcSwapOption<Ready>,
}

struct Ready {
    certificate: Arc<[u8]>,
    certified: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let identity = self.identity.current();
        if let Some(ready) = self
            .ready
            .load()
            .as_ref()
            .filter(|ready| ready.certificate == identity.certificate)
        {
            return Some(Arc::clone(&ready.certified));
        }
        match certify(&identity) {
            Ok(certified) => {
                let ready = Ready {
                    certificate: identity.certificate,
                    certified: Arc::clone(&certified),
                };
                self.ready.store(Some(Arc::new(ready)));
                Some(certified)
            }
            Err(error) => {
                tracing::error!(%error, "the server's own certificate cannot be presented");
                None
            }
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

fn certify(identity: &Identity) -> Result<Arc<CertifiedKey>, Error> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.pkcs8().expose()));
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)?;
    let chain = vec![CertificateDer::from(identity.certificate.to_vec())];
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// Takes any certificate whose key the peer proves to hold.
///
/// Issuer, dates and extensions are not looked at, not even parsed: users may have certificates of version 1 or
/// with critical extensions nobody knows (`spec/01`, "Users, Roles").
#[derive(Debug)]
struct AnyClientCertificate {
    required: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyClientCertificate {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key_info(certificate)
            .ok_or(Error::InvalidCertificate(rustls::CertificateError::BadEncoding))?;
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(key),
            signature,
            &self.algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
