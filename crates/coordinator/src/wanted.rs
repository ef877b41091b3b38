//! Dice that stop when nobody waits for what they make.

use marblerun_core::ambient::{CryptoFault, Dice};
use marblerun_core::pki::key::{KeyKind, PrivateKey, SignatureHash};

/// Makes keys as long as somebody wants them. A thread cannot be stopped from outside, and whoever asked for hundreds
/// of RSA keys may be gone before the second.
pub(crate) struct WantedDice<'a, W> {
    /// What throws.
    pub dice: &'a dyn Dice,
    /// Asked before each key.
    pub is_wanted: W,
}

impl<W: Fn() -> bool + Send + Sync> Dice for WantedDice<'_, W> {
    fn fill(&self, out: &mut [u8]) {
        self.dice.fill(out);
    }

    fn generate_key(&self, kind: KeyKind) -> Result<PrivateKey, CryptoFault> {
        if !(self.is_wanted)() {
            return Err(CryptoFault::in_operation(
                "make a key, as nobody waits for it any more",
            ));
        }
        self.dice.generate_key(kind)
    }

    fn sign(&self, key: &PrivateKey, hash: SignatureHash, message: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        self.dice.sign(key, hash, message)
    }

    fn encrypt_oaep_sha256(&self, public_key_pkix: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        self.dice.encrypt_oaep_sha256(public_key_pkix, plaintext)
    }
}
