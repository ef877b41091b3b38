//! Private keys in one form: PKCS#8 version 1, with their public half beside them.

use std::sync::Arc;

use crate::secret::value::SecretBytes;

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
    /// RSA with this many bits: 2048, 3072, 4096 or 8192.
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
pub struct PrivateKey {
    kind: KeyKind,
    pkcs8: SecretBytes,
    public: Arc<[u8]>,
}

impl PrivateKey {
    /// From parts that belong together: made by the dice, or checked by a parser of this module.
    ///
    /// `pkcs8` is PKCS#8 version 1 DER (Ed25519: the seed only, no public key inside), `public` is PKIX DER.
    pub fn from_parts(kind: KeyKind, pkcs8: SecretBytes, public: impl Into<Arc<[u8]>>) -> Self {
        Self {
            kind,
            pkcs8,
            public: public.into(),
        }
    }

    /// The kind.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// PKCS#8 version 1 DER.
    pub fn pkcs8(&self) -> &SecretBytes {
        &self.pkcs8
    }

    /// PKIX `SubjectPublicKeyInfo` DER of the public half.
    pub fn public(&self) -> &Arc<[u8]> {
        &self.public
    }
}
