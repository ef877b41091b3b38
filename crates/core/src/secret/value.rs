//! Secret values: types that cannot print, wipe themselves and compare in constant time.

use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Secret bytes behind a shared pointer.
///
/// Cloning shares the one copy, which is wiped when its last owner goes. The type has no `Debug`, `Display` or
/// serialisation, so that it cannot reach a log by accident; equality takes the same time whatever the bytes.
#[derive(Clone)]
pub struct SecretBytes(Arc<Zeroizing<Box<[u8]>>>);

impl SecretBytes {
    /// Takes over exactly these bytes, without leaving a copy behind.
    pub fn new(bytes: Box<[u8]>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// Copies `bytes`; the caller's copy stays the caller's to wipe.
    pub fn copy_from(bytes: &[u8]) -> Self {
        Self::new(Box::from(bytes))
    }

    /// Makes `length` bytes in place with `fill`.
    pub fn fill_with(length: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut bytes = Zeroizing::new(vec![0; length].into_boxed_slice());
        fill(&mut bytes);
        Self(Arc::new(bytes))
    }

    /// The bytes. Whoever copies them must wipe the copy.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes; lengths are not secret.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretBytes {}

/// The value of a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretValue {
    /// Of a `symmetric-key`: the key.
    Symmetric(SecretBytes),
    /// Of a `plain` secret: the uploaded bytes.
    Plain(SecretBytes),
    /// Of a certificate type.
    Certificate(CertificateValue),
}

/// The value of a certificate secret.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateValue {
    /// The certificate, X.509 DER.
    pub certificate: Arc<[u8]>,
    /// The public key, PKIX `SubjectPublicKeyInfo` DER.
    pub public: Arc<[u8]>,
    /// The private key, PKCS#8 version 1 DER; an uploaded certificate may come without.
    pub private: Option<SecretBytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_is_of_the_bytes() {
        assert!(SecretBytes::copy_from(b"abc") == SecretBytes::fill_with(3, |b| b.copy_from_slice(b"abc")));
        assert!(SecretBytes::copy_from(b"abc") != SecretBytes::copy_from(b"abd"));
        assert!(SecretBytes::copy_from(b"abc") != SecretBytes::copy_from(b"ab"));
    }
}
