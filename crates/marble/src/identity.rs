//! Who a marble is: what the Coordinator handed out at activation, as the premain puts it into the environment
//! (spec/04, "Environment added to the manifest's own").

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;

use marblerun_wire::marble::{
    ENVIRONMENT_CERTIFICATE_CHAIN, ENVIRONMENT_COORDINATOR_ROOT_CA, ENVIRONMENT_PRIVATE_KEY,
    ENVIRONMENT_ROOT_CA,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use uuid::Uuid;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use zeroize::Zeroizing;

/// What a marble certificate says about its marble (spec/03, "Marble certificate").
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MarbleName {
    /// The CommonName.
    pub uuid: Uuid,
    /// The marble type, a key of the manifest's `Marbles`: extension 1.3.9903.2.1.
    pub marble_type: String,
}

impl fmt::Display for MarbleName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.uuid, self.marble_type)
    }
}

/// A certificate that is not a marble's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a marble certificate: expected {expected}")]
pub struct NotAMarble {
    /// What is missing or wrong.
    pub expected: &'static str,
}

impl MarbleName {
    /// Reads a marble certificate, DER. This only reads: the certificate must have been verified before, as one that
    /// the Marble root has signed *itself*, which is what [`crate::tls`] lets through. A chain to the Marble root is
    /// not enough: a certificate secret of the manifest may be an authority, and what it signs can bear any name.
    /// Certificates that the Marble root made for secrets never have the marble's extension, and are refused here.
    ///
    /// # Errors
    /// [`NotAMarble`]
    pub fn of_verified_certificate(der: &CertificateDer<'_>) -> Result<Self, NotAMarble> {
        let not = |expected| NotAMarble { expected };
        let certificate = Certificate::from_der(der).map_err(|_| not("an X.509 certificate"))?;
        let certificate = certificate.tbs_certificate();
        let uuid = certificate
            .subject()
            .common_name()
            .ok()
            .flatten()
            .and_then(|name| Uuid::try_parse(&name.value()).ok())
            .ok_or_else(|| not("a UUID as CommonName"))?;
        let marble_type = certificate
            .extensions()
            .into_iter()
            .flatten()
            .find(|extension| extension.extn_id == MARBLE_TYPE_EXTENSION)
            .and_then(|extension| String::from_utf8(extension.extn_value.as_bytes().to_vec()).ok())
            .ok_or_else(|| not("the marble type as UTF-8 in extension 1.3.9903.2.1"))?;
        Ok(Self { uuid, marble_type })
    }
}

/// The value is the name of the type itself, without further ASN.1 inside the OCTET STRING.
const MARBLE_TYPE_EXTENSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.9903.2.1");

/// This marble: its name, certificates and key. The key is wiped when the identity is dropped, and never printed.
pub struct Identity {
    name: MarbleName,
    certificate_chain: Vec<CertificateDer<'static>>,
    private_key: Zeroizing<Vec<u8>>,
    marble_root: CertificateDer<'static>,
    coordinator_root: CertificateDer<'static>,
}

/// A variable that the premain would have set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not set, or empty.
    #[error(
        "{variable} is not set: expected to run as a marble, started by marble-run or a runtime with MarbleRun"
    )]
    Missing {
        /// Name of the variable.
        variable: &'static str,
    },
    /// Set to something else.
    #[error("{variable}: expected {expected}")]
    Wrong {
        /// Name of the variable.
        variable: &'static str,
        /// What belongs there; what was found may be secret.
        expected: &'static str,
    },
    /// The certificate is not a marble's.
    #[error("{variable}: {source}")]
    NotAMarble {
        /// Name of the variable.
        variable: &'static str,
        /// In what way.
        source: NotAMarble,
    },
}

impl Identity {
    /// From the environment of this process.
    ///
    /// # Errors
    /// [`IdentityError`] names the variable.
    pub fn from_env() -> Result<Self, IdentityError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// From variables kept elsewhere.
    ///
    /// # Errors
    /// [`IdentityError`] names the variable.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, IdentityError> {
        let pem = |name: &'static str| match variable(name) {
            Some(value) if !value.is_empty() => Ok(Zeroizing::new(value.into_vec())),
            _ => Err(IdentityError::Missing { variable: name }),
        };
        let single = |name| {
            let expected = "one certificate, PEM";
            let mut certificates = certificates(&pem(name)?)
                .ok_or(IdentityError::Wrong {
                    variable: name,
                    expected,
                })?
                .into_iter();
            match (certificates.next(), certificates.next()) {
                (Some(certificate), None) => Ok(certificate),
                _ => Err(IdentityError::Wrong {
                    variable: name,
                    expected,
                }),
            }
        };

        let certificate_chain = certificates(&pem(ENVIRONMENT_CERTIFICATE_CHAIN)?).unwrap_or_default();
        let leaf = certificate_chain.first().ok_or(IdentityError::Wrong {
            variable: ENVIRONMENT_CERTIFICATE_CHAIN,
            expected: "marble certificate and intermediate certificate, PEM",
        })?;
        let name = MarbleName::of_verified_certificate(leaf).map_err(|source| IdentityError::NotAMarble {
            variable: ENVIRONMENT_CERTIFICATE_CHAIN,
            source,
        })?;
        let private_key =
            PrivatePkcs8KeyDer::from_pem_slice(&pem(ENVIRONMENT_PRIVATE_KEY)?).map_err(|_| {
                IdentityError::Wrong {
                    variable: ENVIRONMENT_PRIVATE_KEY,
                    expected: "a private key, PKCS#8 PEM",
                }
            })?;
        Ok(Self {
            name,
            private_key: Zeroizing::new(private_key.secret_pkcs8_der().to_vec()),
            marble_root: single(ENVIRONMENT_ROOT_CA)?,
            coordinator_root: single(ENVIRONMENT_COORDINATOR_ROOT_CA)?,
            certificate_chain,
        })
    }

    /// UUID and marble type.
    pub fn name(&self) -> &MarbleName {
        &self.name
    }

    /// The marble certificate, then the intermediate certificate.
    pub fn certificate_chain(&self) -> &[CertificateDer<'static>] {
        &self.certificate_chain
    }

    /// The Marble root: what certificates of other marbles of this deployment chain to, until the next manifest
    /// update.
    pub fn marble_root(&self) -> &CertificateDer<'static> {
        &self.marble_root
    }

    /// The Coordinator's root certificate, which the Coordinator presents as it is on its client API.
    pub fn coordinator_root(&self) -> &CertificateDer<'static> {
        &self.coordinator_root
    }

    /// The private key, PKCS#8 DER. The copy is the caller's to wipe; rustls wipes it once it is loaded.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.private_key.to_vec()))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// `None` when it is no PEM, or PEM of something that is not X.509.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem)
        .map(|certificate| certificate.ok().filter(|der| Certificate::from_der(der).is_ok()))
        .collect()
}
