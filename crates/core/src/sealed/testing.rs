//! Dice for tests: seeded bytes, and an envelope in the place of OAEP.

use std::sync::atomic::{AtomicU64, Ordering};

use super::sha256;
use crate::ambient::{CryptoFault, Dice};
use crate::pki::key::{KeyKind, PrivateKey, SignatureHash};
use crate::secret::value::SecretBytes;

const OAEP_KEY: &[u8] = b"the public key of the tests";

/// The same bytes in every run with the same seed.
pub(crate) struct TestDice {
    seed: u64,
    drawn: AtomicU64,
}

impl TestDice {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self {
            seed,
            drawn: AtomicU64::new(0),
        }
    }

    /// The one key [`Dice::encrypt_oaep_sha256`] takes.
    pub(crate) fn oaep_key() -> &'static [u8] {
        OAEP_KEY
    }
}

/// What was given to [`Dice::encrypt_oaep_sha256`].
pub(crate) fn unpack_oaep(encrypted: &[u8]) -> SecretBytes {
    SecretBytes::copy_from(encrypted.strip_prefix(b"encrypted:").unwrap())
}

impl Dice for TestDice {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let count = self.drawn.fetch_add(1, Ordering::Relaxed);
            let block = sha256(&[&self.seed.to_le_bytes(), &count.to_le_bytes()]);
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }

    fn generate_key(&self, _: KeyKind) -> Result<PrivateKey, CryptoFault> {
        Err(CryptoFault::in_operation("make a key in a test that needs none"))
    }

    fn sign(&self, _: &PrivateKey, _: SignatureHash, _: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        Err(CryptoFault::in_operation(
            "sign in a test that needs no signature",
        ))
    }

    fn encrypt_oaep_sha256(&self, public_key_pkix: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        if public_key_pkix != OAEP_KEY {
            return Err(CryptoFault::in_operation("encrypt for a key that is not RSA"));
        }
        Ok([b"encrypted:", plaintext].concat())
    }
}
