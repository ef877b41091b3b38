//! The data encryption key, and what is derived from it.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Algorithm, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use super::StateId;
use crate::ambient::{CryptoFault, Dice};
use crate::pki::CryptoSuite;
use crate::secret::value::SecretBytes;

/// How the state is encrypted: decided by the crypto suite of the deployment (`spec/03`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateCipher {
    /// AES-128-GCM with a data key of 16 bytes: suite `p256-aes128`.
    Aes128Gcm,
    /// AES-256-GCM with a data key of 32 bytes: suite `p384-aes256`.
    Aes256Gcm,
}

impl StateCipher {
    /// The cipher of a crypto suite.
    pub const fn of(suite: CryptoSuite) -> Self {
        match suite {
            CryptoSuite::P256Aes128 => Self::Aes128Gcm,
            CryptoSuite::P384Aes256 => Self::Aes256Gcm,
        }
    }

    /// Length of the data key in bytes.
    pub const fn key_length(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm => 32,
        }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes128Gcm => &AES_128_GCM,
            Self::Aes256Gcm => &AES_256_GCM,
        }
    }
}

/// The data encryption key (DEK): 16 or 32 bytes. It encrypts nothing here itself, as each frame has a key of its own
/// derived from it; only in the format of the original ([`crate::original`]) it does.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey(SecretBytes);

impl DataKey {
    /// A fresh random key.
    pub fn generate(cipher: StateCipher, dice: &dyn Dice) -> Self {
        Self(SecretBytes::fill_with(cipher.key_length(), |bytes| {
            dice.fill(bytes);
        }))
    }

    /// Takes 16 or 32 bytes as a key, for instance from recovery; `None` for any other length.
    pub fn from_bytes(bytes: SecretBytes) -> Option<Self> {
        matches!(bytes.len(), 16 | 32).then_some(Self(bytes))
    }

    /// The cipher this key is for.
    pub fn cipher(&self) -> StateCipher {
        if self.0.len() == 16 {
            StateCipher::Aes128Gcm
        } else {
            StateCipher::Aes256Gcm
        }
    }

    /// The key itself; only recovery, key wrapping and the format of the original have a use for it.
    pub fn bytes(&self) -> &SecretBytes {
        &self.0
    }

    /// HKDF-SHA256(DEK, salt = state id, info = `marblerun dek check v1`), 32 bytes: stands in the clear
    /// header, so that a wrong key is told from damaged data.
    ///
    /// # Errors
    /// [`CryptoFault`] if the provider fails.
    pub fn commitment(&self, state_id: &StateId) -> Result<[u8; 32], CryptoFault> {
        let mut out = [0; 32];
        derive(
            self.0.expose(),
            state_id.bytes(),
            &[b"marblerun dek check v1"],
            &mut out,
        )?;
        Ok(out)
    }

    /// The key of one frame: HKDF-SHA256(DEK, salt, info = `marblerun frame v1` ‖ state id ‖ key generation).
    pub(super) fn frame_key(
        &self,
        salt: &[u8; 32],
        state_id: &StateId,
        key_generation: u64,
    ) -> Result<LessSafeKey, CryptoFault> {
        let info: [&[u8]; 3] = [
            b"marblerun frame v1",
            state_id.bytes(),
            &key_generation.to_le_bytes(),
        ];
        gcm_key(self.0.expose(), salt, &info, self.cipher())
    }
}

/// An AES-GCM key by HKDF-SHA256 from `secret`, `salt` and the concatenation of `info`.
pub(super) fn gcm_key(
    secret: &[u8],
    salt: &[u8; 32],
    info: &[&[u8]],
    cipher: StateCipher,
) -> Result<LessSafeKey, CryptoFault> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    let bytes = bytes.get_mut(..cipher.key_length()).unwrap_or_default();
    derive(secret, salt, info, bytes)?;
    let key = UnboundKey::new(cipher.algorithm(), bytes)
        .map_err(|_| CryptoFault::in_operation("make an AES-GCM key"))?;
    Ok(LessSafeKey::new(key))
}

fn derive(secret: &[u8], salt: &[u8; 32], info: &[&[u8]], out: &mut [u8]) -> Result<(), CryptoFault> {
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(info, OutputLength(out.len()))
        .and_then(|material| material.fill(out))
        .map_err(|_| CryptoFault::in_operation("derive a key with HKDF-SHA256"))
}

struct OutputLength(usize);

impl KeyType for OutputLength {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_lengths_are_keys() {
        for length in 0..64 {
            let key = DataKey::from_bytes(SecretBytes::fill_with(length, |_| ()));
            assert_eq!(key.is_some(), length == 16 || length == 32, "{length}");
            if let Some(key) = key {
                assert_eq!(key.cipher().key_length(), length);
            }
        }
    }

    #[test]
    fn derivation_is_hkdf_sha256_of_rfc_5869() {
        // RFC 5869 test case 1 needs a salt of 13 bytes; HMAC pads keys with zeros up to its block, so the same
        // salt with zeros behind it is the same key.
        let mut salt = [0; 32];
        hex::decode_to_slice("000102030405060708090a0b0c", &mut salt[..13]).unwrap();
        let info = hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap();
        let mut out = [0; 42];
        derive(&[0x0b; 22], &salt, &[&info[..4], &info[4..]], &mut out).unwrap();
        assert_eq!(
            hex::encode(out),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
    }

    #[test]
    fn the_commitment_depends_on_key_and_state() {
        let key = |byte| DataKey::from_bytes(SecretBytes::copy_from(&[byte; 16])).unwrap();
        let commitment = |byte, id| key(byte).commitment(&StateId::from_bytes([id; 32])).unwrap();
        assert_eq!(commitment(1, 1), commitment(1, 1));
        assert_ne!(commitment(1, 1), commitment(2, 1));
        assert_ne!(commitment(1, 1), commitment(1, 2));
    }
}
