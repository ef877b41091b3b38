//! Values that users upload (`spec/02`, "Reading, writing").

use std::sync::Arc;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION};
use const_oid::db::rfc8410::ID_ED_25519;
use der::Decode as _;
use spki::SubjectPublicKeyInfoRef;

use super::spec::{CertificateFamily, SecretKind, SecretSpec};
use super::value::{CertificateValue, SecretBytes, SecretValue};
use crate::manifest::certificate_public_key;
use crate::pki::key::{PrivateKey, PrivateKeyError};

/// A value as a user sends it. What is empty is as good as absent, as Go clients write it.
#[derive(Clone, Default)]
pub struct Upload {
    /// The bytes of a symmetric or plain secret.
    pub key: Option<SecretBytes>,
    /// Of a certificate secret: the certificate, X.509 DER.
    pub certificate: Option<Arc<[u8]>>,
    /// Of a certificate secret: its private key, PKCS#8, PKCS#1 or SEC1 DER.
    pub private: Option<SecretBytes>,
}

/// Why a value does not fit the definition of its secret. Never says anything of the value but its length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// A symmetric key of another length than its definition says.
    #[error("declared size and actual size don't match: {name} (expected {expected} bytes, found {found})")]
    Size {
        /// The secret.
        name: String,
        /// Bytes of the definition.
        expected: usize,
        /// Bytes of the value.
        found: usize,
    },
    /// A certificate or its private key where neither belongs.
    #[error("secret {name} is of type {secret_type}: expected Key alone, found Cert or Private")]
    NotACertificate {
        /// The secret.
        name: String,
        /// Its type.
        secret_type: &'static str,
    },
    /// `Key` where a certificate belongs.
    #[error("secret {name} is of type {secret_type}: expected Cert and, if there is one, Private; found Key")]
    NotAKey {
        /// The secret.
        name: String,
        /// Its type.
        secret_type: &'static str,
    },
    /// No certificate.
    #[error("secret {name} is of type {secret_type}: expected Cert, found none")]
    NoCertificate {
        /// The secret.
        name: String,
        /// Its type.
        secret_type: &'static str,
    },
    /// Bytes that are no certificate.
    #[error("Cert of secret {name}: expected an X.509 certificate (DER)")]
    Certificate {
        /// The secret.
        name: String,
    },
    /// Bytes that are no private key.
    #[error("Private of secret {name}: {reason}")]
    Private {
        /// The secret.
        name: String,
        /// What is wrong.
        reason: PrivateKeyError,
    },
    /// A private key that belongs to another certificate.
    #[error("Private of secret {name} is not the key of its Cert")]
    Mismatch {
        /// The secret.
        name: String,
    },
}

/// A value that fits its definition.
pub struct Accepted {
    /// The value; `None`: the secret shall have none, as an empty plain secret says.
    pub value: Option<SecretValue>,
    /// What the user should know, for the log.
    pub warning: Option<String>,
}

/// Checks what was uploaded for a user-defined secret against its definition.
///
/// # Errors
/// [`UploadError`]
pub fn accept(name: &str, spec: &SecretSpec, upload: &Upload) -> Result<Accepted, UploadError> {
    let key = upload.key.as_ref().filter(|key| !key.is_empty());
    let certificate = upload.certificate.as_deref().filter(|der| !der.is_empty());
    let private = upload.private.as_ref().filter(|der| !der.is_empty());
    let has_certificate = certificate.is_some() || private.is_some();
    let (name, secret_type) = (name.to_owned(), spec.type_name());
    let plain = |value| Accepted { value, warning: None };
    match &spec.kind {
        SecretKind::Symmetric { .. } | SecretKind::Plain if has_certificate => {
            Err(UploadError::NotACertificate { name, secret_type })
        }
        SecretKind::Plain => Ok(plain(key.cloned().map(SecretValue::Plain))),
        SecretKind::Symmetric { length } => match key {
            Some(key) if key.len() == *length => Ok(plain(Some(SecretValue::Symmetric(key.clone())))),
            other => Err(UploadError::Size {
                name,
                expected: *length,
                found: other.map_or(0, SecretBytes::len),
            }),
        },
        SecretKind::Certificate { .. } if key.is_some() => Err(UploadError::NotAKey { name, secret_type }),
        SecretKind::Certificate { family, .. } => match certificate {
            Some(der) => accept_certificate(name, *family, secret_type, der, private),
            None => Err(UploadError::NoCertificate { name, secret_type }),
        },
    }
}

fn accept_certificate(
    name: String,
    family: CertificateFamily,
    secret_type: &'static str,
    der: &[u8],
    private: Option<&SecretBytes>,
) -> Result<Accepted, UploadError> {
    let read = certificate_public_key(der).and_then(|public| {
        Some((
            public,
            SubjectPublicKeyInfoRef::from_der(public).ok()?.algorithm.oid,
        ))
    });
    let Some((public, algorithm)) = read else {
        return Err(UploadError::Certificate { name });
    };
    let private = match private {
        None => None,
        Some(private) => match PrivateKey::from_any_der(private.expose()) {
            Err(reason) => return Err(UploadError::Private { name, reason }),
            Ok(key) if !key.matches(public) => return Err(UploadError::Mismatch { name }),
            Ok(key) => Some(key.pkcs8().clone()),
        },
    };
    let expected: ObjectIdentifier = match family {
        CertificateFamily::Rsa => RSA_ENCRYPTION,
        CertificateFamily::Ecdsa => ID_EC_PUBLIC_KEY,
        CertificateFamily::Ed25519 => ID_ED_25519,
    };
    let warning = (algorithm != expected).then(|| {
        format!("secret {name} is of type {secret_type}, but the key of its Cert is of another (algorithm {algorithm})")
    });
    Ok(Accepted {
        value: Some(SecretValue::Certificate(CertificateValue {
            certificate: der.into(),
            public: public.into(),
            private,
        })),
        warning,
    })
}
