//! Keys of the software TEE.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, RSA_PSS_SHA384,
    RsaKeyPair,
};

use super::FakeError;
use super::der_writer::{bits, null, oid, sequence};

/// RSASSA-PSS (RFC 4055).
pub(super) const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";

/// A private key.
#[derive(Debug)]
pub struct Key(Kind);

#[derive(Debug)]
enum Kind {
    /// The same key twice: for signatures in DER, and for R and S one after the other.
    P256(EcdsaKeyPair, EcdsaKeyPair),
    P384(EcdsaKeyPair, EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl Key {
    /// A new P-256 key.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn p256() -> Result<Self, FakeError> {
        let document = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .and_then(|key| key.to_pkcs8v1())
            .map_err(|_| FakeError::Key)?;
        Self::p256_from(document.as_ref())
    }

    /// A new P-384 key.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn p384() -> Result<Self, FakeError> {
        let document = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)
            .and_then(|key| key.to_pkcs8v1())
            .map_err(|_| FakeError::Key)?;
        Self::p384_from(document.as_ref())
    }

    /// A new RSA key of 2048 bits.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn rsa() -> Result<Self, FakeError> {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| FakeError::Key)?;
        Ok(Self(Kind::Rsa(Box::new(key))))
    }

    pub(super) fn p256_from(pkcs8: &[u8]) -> Result<Self, FakeError> {
        Ok(Self(Kind::P256(
            elliptic(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8)?,
            elliptic(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)?,
        )))
    }

    pub(super) fn p384_from(pkcs8: &[u8]) -> Result<Self, FakeError> {
        Ok(Self(Kind::P384(
            elliptic(&ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8)?,
            elliptic(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8)?,
        )))
    }

    pub(super) fn rsa_from(pkcs8: &[u8]) -> Result<Self, FakeError> {
        let key = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| FakeError::Key)?;
        Ok(Self(Kind::Rsa(Box::new(key))))
    }

    /// What certificates hold: a point without compression, or an RSAPublicKey in DER.
    pub(super) fn public(&self) -> &[u8] {
        match &self.0 {
            Kind::P256(key, _) | Kind::P384(key, _) => key.public_key().as_ref(),
            Kind::Rsa(key) => key.public_key().as_ref(),
        }
    }

    /// SubjectPublicKeyInfo, DER.
    pub(super) fn public_info(&self) -> Vec<u8> {
        let algorithm = match &self.0 {
            Kind::P256(..) => sequence(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]),
            Kind::P384(..) => sequence(&[&oid("1.2.840.10045.2.1"), &oid("1.3.132.0.34")]),
            Kind::Rsa(_) => sequence(&[&oid("1.2.840.113549.1.1.1"), &null()]),
        };
        sequence(&[&algorithm, &bits(self.public())])
    }

    /// The algorithm by which this key signs certificates.
    pub(super) fn algorithm(&self) -> &'static str {
        match &self.0 {
            Kind::P256(..) => "1.2.840.10045.4.3.2",
            Kind::P384(..) => "1.2.840.10045.4.3.3",
            Kind::Rsa(_) => RSASSA_PSS,
        }
    }

    /// A signature as certificates hold it.
    pub(super) fn sign_certificate(&self, message: &[u8]) -> Result<Vec<u8>, FakeError> {
        match &self.0 {
            Kind::P256(key, _) | Kind::P384(key, _) => sign(key, message),
            Kind::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PSS_SHA384, &SystemRandom::new(), message, &mut signature)
                    .map_err(|_| FakeError::Key)?;
                Ok(signature)
            }
        }
    }

    /// A signature as quotes, reports and collateral hold it: R and S, big-endian.
    pub(super) fn sign_fixed(&self, message: &[u8]) -> Result<Vec<u8>, FakeError> {
        match &self.0 {
            Kind::P256(_, key) | Kind::P384(_, key) => sign(key, message),
            Kind::Rsa(_) => Err(FakeError::Key),
        }
    }
}

fn elliptic(algorithm: &'static EcdsaSigningAlgorithm, pkcs8: &[u8]) -> Result<EcdsaKeyPair, FakeError> {
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).map_err(|_| FakeError::Key)
}

fn sign(key: &EcdsaKeyPair, message: &[u8]) -> Result<Vec<u8>, FakeError> {
    key.sign(&SystemRandom::new(), message)
        .map(|signature| signature.as_ref().to_vec())
        .map_err(|_| FakeError::Key)
}
