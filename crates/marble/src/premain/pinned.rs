//! The Coordinator a marble is told to expect, by its root certificate.
//!
//! In the handshake the Coordinator shows its Marble root, which does not chain to the root certificate; its
//! cross-signed sibling with the same key, the intermediate, comes with the reply. So whether it was the right one
//! is known after the activation, and before anything of it is applied.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, EcdsaVerificationAlgorithm, UnparsedPublicKey,
};
use marblerun_wire::marble::{ENVIRONMENT_CERTIFICATE_CHAIN, Parameters};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_cert::Certificate;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};

use super::settings::COORDINATOR_ROOT;

/// The file that `EDG_MARBLE_COORDINATOR_ROOT` names holds no root certificate of a Coordinator.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// It cannot be read.
    #[error("{COORDINATOR_ROOT}: cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "{COORDINATOR_ROOT}: {} is no root certificate of a Coordinator: expected one certificate with a key on P-256 or P-384, PEM",
        path.display()
    )]
    Content {
        /// Which.
        path: PathBuf,
    },
}

/// Who answered is not the Coordinator of the pinned root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the server is not the Coordinator that {COORDINATOR_ROOT} names: expected {expected}; nothing of its reply was applied"
)]
pub struct NotThePinned {
    expected: &'static str,
}

/// The key of the pinned root.
pub(super) struct PinnedRoot {
    public_key: UnparsedPublicKey<Vec<u8>>,
}

impl PinnedRoot {
    /// From a file with one certificate, PEM.
    pub(super) fn read(path: &Path) -> Result<Self, PinError> {
        let mut pem = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LIMIT).read_to_end(&mut pem))
            .map_err(|source| PinError::File {
                path: path.to_owned(),
                source,
            })?;
        Self::from_pem(&pem).ok_or_else(|| PinError::Content {
            path: path.to_owned(),
        })
    }

    fn from_pem(pem: &[u8]) -> Option<Self> {
        let mut certificates = CertificateDer::pem_slice_iter(pem);
        let (Some(Ok(root)), None) = (certificates.next(), certificates.next()) else {
            return None;
        };
        let root = Certificate::from_der(&root).ok()?;
        let key = root.tbs_certificate().subject_public_key_info();
        if key.algorithm.oid != EC_PUBLIC_KEY {
            return None;
        }
        let point = key.subject_public_key.as_bytes()?;
        let algorithm: &'static EcdsaVerificationAlgorithm = match point.len() {
            P256_POINT => &ECDSA_P256_SHA256_ASN1,
            P384_POINT => &ECDSA_P384_SHA384_ASN1,
            _ => return None,
        };
        Some(Self {
            public_key: UnparsedPublicKey::new(algorithm, point.to_vec()),
        })
    }

    /// The pinned root has signed the intermediate of the reply, and whoever sent the reply has proven in the
    /// handshake that he holds the key of this intermediate. Dates are not looked at: the clock is the host's.
    pub(super) fn check(
        &self,
        handshake: &CertificateDer<'_>,
        parameters: &Parameters,
    ) -> Result<(), NotThePinned> {
        let not = |expected| NotThePinned { expected };
        let intermediate = parameters
            .env
            .get(ENVIRONMENT_CERTIFICATE_CHAIN)
            .and_then(|pem| CertificateDer::pem_slice_iter(pem).nth(1)?.ok())
            .and_then(|der| Certificate::from_der(&der).ok())
            .ok_or_else(|| not("an intermediate certificate behind the marble certificate in the reply"))?;
        let signed = intermediate
            .tbs_certificate()
            .to_der()
            .ok()
            .zip(intermediate.signature().as_bytes())
            .is_some_and(|(content, signature)| self.public_key.verify(&content, signature).is_ok());
        if !signed {
            return Err(not("an intermediate certificate signed by the pinned root"));
        }
        let shown =
            Certificate::from_der(handshake).map_err(|_| not("an X.509 certificate in the TLS handshake"))?;
        if shown.tbs_certificate().subject_public_key_info()
            != intermediate.tbs_certificate().subject_public_key_info()
        {
            return Err(not(
                "the key of the intermediate certificate in the TLS handshake",
            ));
        }
        Ok(())
    }
}

/// More than a certificate with evidence in it has.
const LIMIT: u64 = 1 << 20;
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// Bytes of an uncompressed point.
const P256_POINT: usize = 65;
const P384_POINT: usize = 97;

#[cfg(test)]
mod tests {
    use super::*;

    fn self_signed(key: &rcgen::KeyPair) -> String {
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.self_signed(key).unwrap().pem()
    }

    #[test]
    fn a_root_has_one_certificate_with_a_key_of_a_crypto_suite() {
        for curve in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
            let pem = self_signed(&rcgen::KeyPair::generate_for(curve).unwrap());
            assert!(PinnedRoot::from_pem(pem.as_bytes()).is_some());
            assert!(PinnedRoot::from_pem(pem.repeat(2).as_bytes()).is_none());
            assert!(PinnedRoot::from_pem(&pem.as_bytes()[..100]).is_none());
        }
        let pem = self_signed(&rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
        assert!(PinnedRoot::from_pem(pem.as_bytes()).is_none());
        assert!(PinnedRoot::from_pem(b"").is_none());
    }
}
