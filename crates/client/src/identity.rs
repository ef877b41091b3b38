//! Who a user is: a certificate and its key.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate to present to the Coordinator, with its key.
///
/// The certificate is presented as it is: version 1, expired or with extensions nobody knows, since the
/// Coordinator recognises users by the bytes of their certificate (`spec/01`).
#[derive(Clone)]
pub struct ClientIdentity {
    key: Arc<CertifiedKey>,
}

impl ClientIdentity {
    /// Reads a certificate (PEM, the first block is the user's; what follows is sent along) and its private key
    /// (PEM: PKCS#8, PKCS#1 or SEC 1; RSA, ECDSA or Ed25519).
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| IdentityError::Certificate {
                reason: error.to_string(),
            })?;
        if chain.is_empty() {
            return Err(IdentityError::Certificate {
                reason: "it holds no PEM block CERTIFICATE".to_owned(),
            });
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| IdentityError::Key {
            reason: match error {
                rustls_pki_types::pem::Error::NoItemsFound => {
                    "it holds no PEM block PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY".to_owned()
                }
                other => other.to_string(),
            },
        })?;
        let key = any_supported_type(&key).map_err(|error| IdentityError::Key {
            reason: error.to_string(),
        })?;
        let certified = CertifiedKey::new(chain, key);
        // Any other outcome only means that the certificate is one webpki does not read; the Coordinator may.
        if let Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) = certified.keys_match() {
            return Err(IdentityError::Mismatch);
        }
        Ok(Self {
            key: Arc::new(certified),
        })
    }

    /// Presents the identity whatever the server says it would like to see.
    pub(crate) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(CertifiedKey::clone(&self.key)))
    }
}

/// Not a certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The certificate is unusable.
    #[error("unusable certificate: {reason}")]
    Certificate {
        /// Why.
        reason: String,
    },
    /// The key is unusable.
    #[error("unusable private key: {reason}")]
    Key {
        /// Why; never quotes the key.
        reason: String,
    },
    /// The key is another's.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(["user".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn certificate_and_key_must_fit() {
        let ((first, first_key), (_, second_key)) = (identity(), identity());
        assert!(ClientIdentity::from_pem(first.as_bytes(), first_key.as_bytes()).is_ok());
        let error = ClientIdentity::from_pem(first.as_bytes(), second_key.as_bytes())
            .err()
            .unwrap();
        assert_eq!(error, IdentityError::Mismatch);
    }

    #[test]
    fn unusable_files() {
        let (certificate, key) = identity();
        let refuse = |certificate: &str, key: &str| {
            ClientIdentity::from_pem(certificate.as_bytes(), key.as_bytes())
                .err()
                .unwrap()
                .to_string()
        };
        assert!(refuse("", &key).contains("no PEM block CERTIFICATE"));
        assert!(refuse(&certificate, "").contains("no PEM block PRIVATE KEY"));
        assert!(refuse(&certificate, &certificate).contains("no PEM block PRIVATE KEY"));
        let rubbish = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(refuse(&certificate, rubbish).starts_with("unusable private key"));
    }

    #[test]
    fn keys_in_all_forms() {
        for (certificate, key) in [
            (
                &include_bytes!("../tests/keys/sec1.crt.pem")[..],
                &include_bytes!("../tests/keys/sec1.key.pem")[..],
            ),
            (
                include_bytes!("../tests/keys/pkcs1.crt.pem"),
                include_bytes!("../tests/keys/pkcs1.key.pem"),
            ),
            (
                include_bytes!("../tests/keys/version1.crt.pem"),
                include_bytes!("../tests/keys/version1.key.pem"),
            ),
        ] {
            ClientIdentity::from_pem(certificate, key).unwrap();
        }
    }
}
