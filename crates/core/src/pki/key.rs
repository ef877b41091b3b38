//! Private keys in one form: PKCS#8 version 1, with their public half beside them.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
};

use der::Decode as _;

use super::{key_parser, sec1};
use crate::ambient::CryptoFault;
use crate::secret::value::SecretBytes;

pub use super::key_parser::PrivateKeyError;

/// What kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA on NIST P-224; only for certificate secrets.
    P224,
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// RSA with this many bits: 2048, 3072, 4096 or 8192 where we make it; uploaded keys may have any size
    /// from 2048 to 8192, given rounded up to whole bytes.
    Rsa(u16),
}

/// The hash of an ECDSA or RSA signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureHash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
}

/// A private key with its public half. Cloning shares it; it has no `Debug` and wipes itself.
#[derive(Clone)]
pub struct PrivateKey(Arc<Inner>);

struct Inner {
    kind: KeyKind,
    pkcs8: SecretBytes,
    public: Arc<[u8]>,
    /// Parsed on first use; `None` inside when the provider refused.
    signer: OnceLock<Option<Signer>>,
}

/// The crypto provider's own form of a key, ready to sign.
pub enum Signer {
    /// ECDSA on P-256 (for SHA-256), P-384 (for SHA-384) or P-521 (for SHA-512).
    Ecdsa(EcdsaKeyPair),
    /// Ed25519.
    Ed25519(Ed25519KeyPair),
    /// RSA.
    Rsa(RsaKeyPair),
}

impl PrivateKey {
    /// From parts that belong together: made by the dice, or checked by a parser of this module.
    ///
    /// `pkcs8` is PKCS#8 version 1 DER (Ed25519: the seed only, no public key inside), `public` is PKIX DER.
    pub fn from_parts(kind: KeyKind, pkcs8: SecretBytes, public: impl Into<Arc<[u8]>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            pkcs8,
            public: public.into(),
            signer: OnceLock::new(),
        }))
    }

    /// From a key the provider made or parsed.
    ///
    /// # Errors
    /// [`CryptoFault`] if the provider cannot write it, or if it is of a kind that has no [`KeyKind`].
    pub fn from_signer(signer: Signer) -> Result<Self, CryptoFault> {
        let (kind, pkcs8, public) = signer
            .parts()
            .ok_or(CryptoFault::in_operation("encode a private key"))?;
        let inner = Inner {
            kind,
            pkcs8,
            public,
            signer: OnceLock::from(Some(signer)),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The P-224 key with this big-endian scalar, `None` unless it is between 1 and the order of the curve.
    ///
    /// The provider has no P-224: such keys are made, written and read, but never used.
    pub fn p224_from_scalar(scalar: &[u8; 28]) -> Option<Self> {
        use p224::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _};

        let key = p224::SecretKey::from_slice(scalar).ok()?;
        let pkcs8 = SecretBytes::copy_from(key.to_pkcs8_der().ok()?.as_bytes());
        let public = key.public_key().to_public_key_der().ok()?;
        Some(Self::from_parts(KeyKind::P224, pkcs8, public.as_bytes()))
    }

    /// From PKCS#8 DER, version 1 or 2.
    ///
    /// # Errors
    /// [`PrivateKeyError`]
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, PrivateKeyError> {
        key_parser::pkcs8(der)
    }

    /// From PKCS#8 (version 1 or 2), PKCS#1 or SEC1 DER, whichever it is.
    ///
    /// # Errors
    /// [`PrivateKeyError`]
    pub fn from_any_der(der: &[u8]) -> Result<Self, PrivateKeyError> {
        key_parser::any(der)
    }

    /// The kind.
    pub fn kind(&self) -> KeyKind {
        self.0.kind
    }

    /// PKCS#8 version 1 DER.
    pub fn pkcs8(&self) -> &SecretBytes {
        &self.0.pkcs8
    }

    /// `ECPrivateKey` (RFC 5915, SEC 1) DER with curve and public point; `None` unless it is a key of a NIST curve.
    pub fn sec1(&self) -> Option<SecretBytes> {
        sec1::write(self)
    }

    /// PKIX `SubjectPublicKeyInfo` DER of the public half.
    pub fn public(&self) -> &Arc<[u8]> {
        &self.0.public
    }

    /// Whether this PKIX public key is the public half: the same key, parameters of the algorithm not looked at
    /// (RSA keys are written with and without NULL) and points of curves compressed or not.
    pub fn matches(&self, public_key_pkix: &[u8]) -> bool {
        let read = |pkix| {
            let info = spki::SubjectPublicKeyInfoRef::from_der(pkix).ok()?;
            Some((info.algorithm.oid, info.subject_public_key.as_bytes()?))
        };
        let (Some((own_algorithm, own)), Some((algorithm, bits))) =
            (read(self.public()), read(public_key_pkix))
        else {
            return false;
        };
        let same_point = match self.kind() {
            KeyKind::P224 | KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => key_parser::belongs(bits, self),
            KeyKind::Ed25519 | KeyKind::Rsa(_) => false,
        };
        own_algorithm == algorithm && (own == bits || same_point)
    }

    /// The provider's form of the key, parsed once and shared by all clones.
    ///
    /// # Errors
    /// [`CryptoFault`] if the provider does not take the key; always for P-224, which it does not know.
    pub fn signer(&self) -> Result<&Signer, CryptoFault> {
        let parse = || Signer::parse(self.0.kind, self.0.pkcs8.expose());
        self.0
            .signer
            .get_or_init(parse)
            .as_ref()
            .ok_or(CryptoFault::in_operation("load a private key"))
    }

    /// ECDSA (ASN.1 DER) of a P-384 key over a SHA-256 digest, with the nonce of RFC 6979.
    ///
    /// The provider ties P-384 to SHA-384, but existing verifiers of manifest signatures expect SHA-256.
    ///
    /// # Errors
    /// [`CryptoFault`] if this is not a P-384 key.
    pub fn sign_sha256_with_p384(&self, digest: &[u8; 32]) -> Result<Vec<u8>, CryptoFault> {
        use p384::ecdsa::signature::hazmat::PrehashSigner as _;
        use p384::ecdsa::{DerSignature, SigningKey};
        use p384::pkcs8::DecodePrivateKey as _;

        let fault = CryptoFault::in_operation("sign a SHA-256 digest with P-384");
        let key = SigningKey::from_pkcs8_der(self.0.pkcs8.expose()).map_err(|_| fault)?;
        let signature: DerSignature = key.sign_prehash(digest).map_err(|_| fault)?;
        Ok(signature.as_bytes().to_vec())
    }
}

impl Signer {
    /// The provider's algorithm for keys of this kind, `None` where there is none.
    pub(super) fn ecdsa_algorithm(kind: KeyKind) -> Option<&'static EcdsaSigningAlgorithm> {
        match kind {
            KeyKind::P256 => Some(&ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyKind::P384 => Some(&ECDSA_P384_SHA384_ASN1_SIGNING),
            KeyKind::P521 => Some(&ECDSA_P521_SHA512_ASN1_SIGNING),
            KeyKind::P224 | KeyKind::Ed25519 | KeyKind::Rsa(_) => None,
        }
    }

    fn parse(kind: KeyKind, pkcs8: &[u8]) -> Option<Self> {
        match kind {
            KeyKind::P224 => None,
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => {
                EcdsaKeyPair::from_pkcs8(Self::ecdsa_algorithm(kind)?, pkcs8)
                    .ok()
                    .map(Self::Ecdsa)
            }
            KeyKind::Ed25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
                .ok()
                .map(Self::Ed25519),
            KeyKind::Rsa(_) => RsaKeyPair::from_pkcs8(pkcs8).ok().map(Self::Rsa),
        }
    }

    /// Kind, PKCS#8 version 1 and PKIX public key.
    fn parts(&self) -> Option<(KeyKind, SecretBytes, Arc<[u8]>)> {
        let (kind, pkcs8, public): (_, _, PublicKeyX509Der<'_>) = match self {
            Self::Ecdsa(pair) => {
                let kind = [KeyKind::P256, KeyKind::P384, KeyKind::P521]
                    .into_iter()
                    .find(|kind| Self::ecdsa_algorithm(*kind) == Some(pair.algorithm()))?;
                let pkcs8 = SecretBytes::copy_from(pair.to_pkcs8v1().ok()?.as_ref());
                (kind, pkcs8, pair.public_key().as_der().ok()?)
            }
            Self::Ed25519(pair) => {
                let pkcs8 = SecretBytes::copy_from(pair.to_pkcs8v1().ok()?.as_ref());
                (KeyKind::Ed25519, pkcs8, pair.public_key().as_der().ok()?)
            }
            Self::Rsa(pair) => {
                let bits = u16::try_from(pair.public_modulus_len().checked_mul(8)?).ok()?;
                let pkcs8: Pkcs8V1Der<'_> = pair.as_der().ok()?;
                (
                    KeyKind::Rsa(bits),
                    SecretBytes::copy_from(pkcs8.as_ref()),
                    pair.public_key().as_der().ok()?,
                )
            }
        };
        Some((kind, pkcs8, Arc::from(public.as_ref())))
    }
}
