//! Whom a TLS session is with.
//!
//! The Coordinator presents its root certificate, a CA certificate, as the leaf (`spec/03`); path building with
//! webpki refuses that. There is no path to build, though: the certificate is compared with the pinned one, byte
//! for byte, and that the other side holds its key is proven by the signature in the handshake.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// What is asked of the certificate, beside the proof that the other side holds its key.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    /// This certificate, for the host that was called.
    PinnedAndNamed(CertificateDer<'static>),
    /// This certificate; the host was called before under the same name.
    Pinned(CertificateDer<'static>),
    /// Nothing.
    Nothing,
}

/// Why the certificate was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the certificate is not the pinned one")]
    NotPinned,
    #[error("the certificate is not for this host")]
    WrongName { names: Vec<String> },
}

pub(crate) struct Verifier {
    expected: Expected,
    algorithms: WebPkiSupportedAlgorithms,
    seen: OnceLock<CertificateDer<'static>>,
}

impl Verifier {
    pub(crate) fn new(expected: Expected, algorithms: WebPkiSupportedAlgorithms) -> Arc<Self> {
        Arc::new(Self {
            expected,
            algorithms,
            seen: OnceLock::new(),
        })
    }

    /// The certificate that was presented and accepted.
    pub(crate) fn seen(&self) -> Option<CertificateDer<'static>> {
        self.seen.get().cloned()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.expected {
            Expected::Nothing => {}
            Expected::Pinned(pinned) => check_pin(pinned, end_entity)?,
            Expected::PinnedAndNamed(pinned) => {
                check_pin(pinned, end_entity)?;
                check_name(end_entity, server_name)?;
            }
        }
        // A verifier serves one handshake; a second certificate would not be the one vouched for.
        let certificate = end_entity.clone().into_owned();
        if self.seen.get_or_init(|| certificate.clone()) != &certificate {
            return Err(refusal(Refusal::NotPinned));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOfferedOrEnabled,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Verifier")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// The refusal behind an error of a handshake, if one of ours is.
pub(crate) fn find_refusal(error: &std::io::Error) -> Option<Refusal> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) = error else {
        return None;
    };
    reason.downcast_ref::<Refusal>().cloned()
}

fn check_pin(pinned: &CertificateDer<'_>, presented: &CertificateDer<'_>) -> Result<(), rustls::Error> {
    if pinned == presented {
        Ok(())
    } else {
        Err(refusal(Refusal::NotPinned))
    }
}

fn check_name(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), rustls::Error> {
    match verify_server_name(&ParsedCertificate::try_from(certificate)?, name) {
        Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented,
            ..
        })) => Err(refusal(Refusal::WrongName { names: presented })),
        Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForName)) => {
            Err(refusal(Refusal::WrongName { names: Vec::new() }))
        }
        other => other,
    }
}

fn refusal(refusal: Refusal) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
}
