//! The clear header of a sealed file.

use std::fmt;

use super::fields::Fields;
use super::{DataKey, SealedError, StateCipher, envelope, write_hex};
use crate::ambient::{CryptoFault, Dice};
use crate::recovery::{MAX_SHARES, RecoveryPlan, RecoveryScheme};

/// The longest header: that of a state with [`MAX_SHARES`] recovery shares has less.
pub const MAX_HEADER_BYTES: usize = 256 + 32 * MAX_SHARES;

const MAGIC: &str = "mrblseal";

/// What tells one state from all others: 32 random bytes, drawn when the state is first written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateId([u8; 32]);

impl StateId {
    /// A fresh one.
    pub fn generate(dice: &dyn Dice) -> Self {
        let mut bytes = [0; 32];
        dice.fill(&mut bytes);
        Self(bytes)
    }

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for StateId {
    /// 64 hexadecimal digits; not a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// What stands in clear before the frames. It can be read without any key; it is authenticated when the first
/// frame opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// How the frames are encrypted.
    pub cipher: StateCipher,
    /// Which state this is.
    pub state_id: StateId,
    /// 16 random bytes drawn for each file: no frame of another file of the same state fits into this one.
    pub file_id: [u8; 16],
    /// Counts the data keys of the state, from 1.
    pub key_generation: u64,
    /// How the data key can be recovered.
    pub recovery: RecoveryPlan,
    /// What the data key is checked against: [`DataKey::commitment`].
    pub commitment: [u8; 32],
}

impl Header {
    /// The header of a new file.
    ///
    /// # Errors
    /// [`CryptoFault`] if the provider fails.
    pub fn new(
        state_id: StateId,
        key: &DataKey,
        key_generation: u64,
        recovery: RecoveryPlan,
        dice: &dyn Dice,
    ) -> Result<Self, CryptoFault> {
        let mut file_id = [0; 16];
        dice.fill(&mut file_id);
        let commitment = key.commitment(&state_id)?;
        Ok(Self {
            cipher: key.cipher(),
            state_id,
            file_id,
            key_generation,
            recovery,
            commitment,
        })
    }

    /// The header as it stands in the file.
    pub fn encode(&self) -> Vec<u8> {
        let shares = u16::try_from(self.recovery.share_hashes().len()).unwrap_or(u16::MAX);
        let threshold = u16::try_from(self.recovery.threshold()).unwrap_or(u16::MAX);
        let mut body = Vec::with_capacity(94 + 32 * usize::from(shares));
        body.push(match self.cipher {
            StateCipher::Aes128Gcm => 1,
            StateCipher::Aes256Gcm => 2,
        });
        body.extend_from_slice(self.state_id.bytes());
        body.extend_from_slice(&self.file_id);
        body.extend_from_slice(&self.key_generation.to_le_bytes());
        body.push(scheme_code(self.recovery.scheme()));
        body.extend_from_slice(&shares.to_le_bytes());
        body.extend_from_slice(&threshold.to_le_bytes());
        for hash in self.recovery.share_hashes() {
            body.extend_from_slice(hash);
        }
        body.extend_from_slice(&self.commitment);
        envelope::close(MAGIC, &body)
    }

    /// Reads the header at the front of a file: the header and its length in bytes. Looks at no more than
    /// [`MAX_HEADER_BYTES`].
    ///
    /// # Errors
    /// [`SealedError::NotOurs`], [`SealedError::NewerVersion`] or [`SealedError::Corrupt`].
    pub fn parse(file: &[u8]) -> Result<(Self, usize), SealedError> {
        let (body, length) = envelope::open(MAGIC, MAX_HEADER_BYTES, file)?;
        Ok((Self::parse_body(body)?, length))
    }

    /// Checks that `key` is the one the header commits to.
    ///
    /// # Errors
    /// [`SealedError::WrongKey`], or [`SealedError::Crypto`] if the provider fails.
    pub fn check_key(&self, key: &DataKey) -> Result<(), SealedError> {
        if key.cipher() == self.cipher && key.commitment(&self.state_id)? == self.commitment {
            Ok(())
        } else {
            Err(SealedError::WrongKey)
        }
    }

    fn parse_body(body: &[u8]) -> Result<Self, SealedError> {
        let short = || SealedError::corrupt(0, "the header is too short for its fields");
        let mut fields = Fields::new(body);
        let cipher = match fields.u8().ok_or_else(short)? {
            1 => StateCipher::Aes128Gcm,
            2 => StateCipher::Aes256Gcm,
            other => {
                return Err(SealedError::NewerVersion {
                    what: "suite",
                    found: other.into(),
                });
            }
        };
        let state_id = StateId(fields.array().ok_or_else(short)?);
        let file_id = fields.array().ok_or_else(short)?;
        let key_generation = fields.u64().ok_or_else(short)?;
        let scheme = fields.u8().ok_or_else(short)?;
        let scheme = scheme_of(scheme).ok_or(SealedError::NewerVersion {
            what: "recovery scheme",
            found: scheme.into(),
        })?;
        let shares = usize::from(fields.u16().ok_or_else(short)?);
        let threshold = usize::from(fields.u16().ok_or_else(short)?);
        if shares > MAX_SHARES {
            return Err(SealedError::corrupt(
                0,
                "the header names more recovery shares than there can be",
            ));
        }
        let share_hashes = (0..shares)
            .map(|_| fields.array())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(short)?;
        let commitment = fields.array().ok_or_else(short)?;
        if !fields.is_empty() {
            return Err(SealedError::corrupt(0, "the header is longer than its fields"));
        }
        let recovery = RecoveryPlan::from_parts(scheme, threshold, share_hashes).ok_or(
            SealedError::corrupt(0, "the recovery scheme of the header does not fit its shares"),
        )?;
        Ok(Self {
            cipher,
            state_id,
            file_id,
            key_generation,
            recovery,
            commitment,
        })
    }
}

/// A recovery scheme as it stands in headers and checkpoints.
pub(super) const fn scheme_code(scheme: RecoveryScheme) -> u8 {
    match scheme {
        RecoveryScheme::None => 0,
        RecoveryScheme::Single => 1,
        RecoveryScheme::Xor => 2,
        RecoveryScheme::Shamir => 3,
    }
}

pub(super) const fn scheme_of(code: u8) -> Option<RecoveryScheme> {
    match code {
        0 => Some(RecoveryScheme::None),
        1 => Some(RecoveryScheme::Single),
        2 => Some(RecoveryScheme::Xor),
        3 => Some(RecoveryScheme::Shamir),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::value::SecretBytes;

    fn key() -> DataKey {
        DataKey::from_bytes(SecretBytes::copy_from(&[7; 16])).unwrap()
    }

    fn header(recovery: RecoveryPlan) -> Header {
        let state_id = StateId::from_bytes([3; 32]);
        Header {
            cipher: StateCipher::Aes128Gcm,
            state_id,
            file_id: [4; 16],
            key_generation: 5,
            recovery,
            commitment: key().commitment(&state_id).unwrap(),
        }
    }

    fn two_of_three() -> RecoveryPlan {
        RecoveryPlan::from_parts(RecoveryScheme::Shamir, 2, vec![[1; 32], [2; 32], [3; 32]]).unwrap()
    }

    #[test]
    fn headers_come_back() {
        for plan in [
            RecoveryPlan::none(),
            two_of_three(),
            RecoveryPlan::from_parts(RecoveryScheme::Xor, MAX_SHARES, vec![[9; 32]; MAX_SHARES]).unwrap(),
        ] {
            let header = header(plan);
            let mut bytes = header.encode();
            let length = bytes.len();
            assert!(length <= MAX_HEADER_BYTES);
            assert_eq!(Header::parse(&bytes), Ok((header.clone(), length)));
            bytes.extend_from_slice(b"frames");
            assert_eq!(Header::parse(&bytes), Ok((header, length)));
        }
    }

    #[test]
    fn the_bytes_of_a_header_are_fixed() {
        let encoded = hex::encode(header(RecoveryPlan::none()).encode());
        let expected = concat!(
            "6d72626c7365616c",
            "0100",
            "8c000000",
            "01",
            "0303030303030303030303030303030303030303030303030303030303030303",
            "04040404040404040404040404040404",
            "0500000000000000",
            "00",
            "0000",
            "0000",
        );
        assert_eq!(encoded.get(..expected.len()), Some(expected));
        assert_eq!(encoded.len(), 0x8c * 2);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = header(two_of_three()).encode();
        for position in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[position / 8] ^= 1 << (position % 8);
            let error = Header::parse(&damaged).unwrap_err();
            let expected = if position < 64 {
                matches!(error, SealedError::NotOurs { .. })
            } else {
                matches!(error, SealedError::Corrupt { offset: 0, .. })
            };
            assert!(expected, "bit {position}: {error}");
        }
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = header(two_of_three()).encode();
        for length in 0..bytes.len() {
            assert!(Header::parse(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn newer_files_say_so() {
        for (offset, what) in [(8, "format version"), (14, "suite"), (71, "recovery scheme")] {
            let mut bytes = header(two_of_three()).encode();
            bytes[offset] = 9;
            envelope::repair(&mut bytes);
            assert_eq!(
                Header::parse(&bytes),
                Err(SealedError::NewerVersion { what, found: 9 })
            );
        }
    }

    #[test]
    fn hostile_lengths_are_bounded() {
        for (offset, value) in [(10, u32::MAX), (10, 0), (72, u32::MAX), (72, 0x0001_ffff)] {
            let mut bytes = header(two_of_three()).encode();
            bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            envelope::repair(&mut bytes);
            assert!(
                matches!(Header::parse(&bytes), Err(SealedError::Corrupt { .. })),
                "{offset} {value}"
            );
        }
    }

    #[test]
    fn only_the_committed_key_fits() {
        let header = header(RecoveryPlan::none());
        assert_eq!(header.check_key(&key()), Ok(()));
        for other in [vec![8; 16], vec![7; 32]] {
            let other = DataKey::from_bytes(SecretBytes::new(other.into())).unwrap();
            assert_eq!(header.check_key(&other), Err(SealedError::WrongKey));
        }
    }
}
