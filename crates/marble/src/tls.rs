//! Mutual TLS between marbles: rustls configurations made from a marble's [`Identity`].
//!
//! Both speak TLS 1.3 only. Neither resumes sessions: a resumed session skips the check of the other side's
//! certificate, and would outlive a manifest update. Both take only certificates that the Marble root itself has
//! signed: what an authority signs that the manifest defines as a secret is nobody's here.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};

use crate::direct_issue::IssuedDirectly;
use crate::identity::Identity;

/// A configuration cannot be made from this identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigurationError {
    /// The Marble root cannot serve as trust anchor.
    #[error("the Marble root is no trust anchor: {0}")]
    Root(rustls::Error),
    /// Nothing to verify the certificates of the other side with.
    #[error("certificates of the other side cannot be verified: {0}")]
    Verifier(#[from] VerifierBuilderError),
    /// Certificate chain and key do not fit each other, or are of a kind that TLS has no use for.
    #[error("certificate chain and private key cannot be used: {0}")]
    Chain(rustls::Error),
    /// The cryptography library cannot do TLS 1.3.
    #[error("TLS 1.3 cannot be spoken: {0}")]
    Protocol(rustls::Error),
}

/// For a marble that serves: presents the marble certificate, and requires of every client a certificate that the
/// Marble root of the same deployment has signed itself. Which marble it is, [`crate::MarbleName::of_verified_certificate`]
/// tells from the first of the connection's peer certificates; whether that one may do what it asks is the
/// application's to decide.
///
/// # Errors
/// [`TlsConfigurationError`]
pub fn server_config(identity: &Identity) -> Result<ServerConfig, TlsConfigurationError> {
    let provider = provider();
    let verifier: Arc<dyn ClientCertVerifier> =
        WebPkiClientVerifier::builder_with_provider(marble_roots(identity)?, Arc::clone(&provider))
            .build()?;
    let mut configuration = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsConfigurationError::Protocol)?
        .with_client_cert_verifier(Arc::new(IssuedDirectly(verifier)))
        .with_single_cert(identity.certificate_chain().to_vec(), identity.private_key())
        .map_err(TlsConfigurationError::Chain)?;
    configuration.session_storage = Arc::new(NoServerSessionStorage {});
    configuration.send_tls13_tickets = 0;
    Ok(configuration)
}

/// For a marble that calls another: presents the marble certificate, and requires of the server a certificate that
/// the Marble root of the same deployment has signed itself, and that has the name called among its SANs (`EDG_MARBLE_DNS_NAMES`
/// of the other marble).
///
/// # Errors
/// [`TlsConfigurationError`]
pub fn client_config(identity: &Identity) -> Result<ClientConfig, TlsConfigurationError> {
    let verifier: Arc<dyn ServerCertVerifier> =
        WebPkiServerVerifier::builder_with_provider(marble_roots(identity)?, provider()).build()?;
    pinned_client_config(identity, Arc::new(IssuedDirectly(verifier)))
}

/// As [`client_config`], for a server that is recognised in another way.
pub(crate) fn pinned_client_config(
    identity: &Identity,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, TlsConfigurationError> {
    let builder = client_builder()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    present(identity, builder)
}

fn client_builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsConfigurationError> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsConfigurationError::Protocol)
}

fn present(
    identity: &Identity,
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
) -> Result<ClientConfig, TlsConfigurationError> {
    let mut configuration = builder
        .with_client_auth_cert(identity.certificate_chain().to_vec(), identity.private_key())
        .map_err(TlsConfigurationError::Chain)?;
    configuration.resumption = Resumption::disabled();
    Ok(configuration)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn marble_roots(identity: &Identity) -> Result<Arc<RootCertStore>, TlsConfigurationError> {
    let mut roots = RootCertStore::empty();
    roots
        .add(identity.marble_root().clone())
        .map_err(TlsConfigurationError::Root)?;
    Ok(Arc::new(roots))
}
