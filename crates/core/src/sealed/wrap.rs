//! The key file: the data key, wrapped with the seal key of the enclave.

use aws_lc_rs::aead::{Aad, Nonce};
use zeroize::Zeroizing;

use super::fields::Fields;
use super::key::gcm_key;
use super::{DataKey, FORMAT_VERSION, SealedError, StateCipher, StateId, envelope};
use crate::ambient::{CryptoFault, Dice};
use crate::secret::value::SecretBytes;

/// The longest key file in bytes.
pub const MAX_KEY_FILE_BYTES: usize = 512;

const MAGIC: &str = "mrblskey";
const TAG: usize = 16;
/// The current data key and the one before it, or the one after it while it is being changed.
const MAX_ENTRIES: usize = 2;

/// Which key of the enclave a key file is wrapped with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyBinding {
    /// Bound to signer and product id: `SealMode` `ProductKey`.
    Product,
    /// Bound to the exact measurement: `SealMode` `UniqueKey`.
    Unique,
}

impl KeyBinding {
    /// As it stands in the key file and in the derivation of the wrap key.
    const fn code(self) -> u8 {
        match self {
            Self::Product => 1,
            Self::Unique => 2,
        }
    }
}

/// Why no data key came out of a key file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// The file holds no key of this generation.
    #[error("it holds no key of generation {key_generation}")]
    NoSuchGeneration {
        /// The generation asked for.
        key_generation: u64,
    },
    /// The file was made for another state.
    #[error("it belongs to another state ({found})")]
    OtherState {
        /// The state the file names.
        found: StateId,
    },
    /// The seal key of this enclave does not open it.
    #[error("the seal key of this enclave does not open it")]
    DoesNotOpen,
    /// The crypto provider failed.
    #[error(transparent)]
    Crypto(#[from] CryptoFault),
}

/// The parsed key file of one state: at most two generations of its data key, wrapped.
///
/// It names the state and the SHA-256 of the root certificate in clear; both are bound into each wrapped key,
/// and the certificate is compared again with the opened state.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyFile {
    state_id: StateId,
    binding: KeyBinding,
    root_certificate: [u8; 32],
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    key_generation: u64,
    nonce: [u8; 12],
    /// Ciphertext and tag.
    wrapped: Vec<u8>,
}

impl KeyFile {
    /// A key file that holds no key yet. `root_certificate` is the SHA-256 of the root certificate, DER.
    pub fn new(state_id: StateId, binding: KeyBinding, root_certificate: [u8; 32]) -> Self {
        Self {
            state_id,
            binding,
            root_certificate,
            entries: Vec::new(),
        }
    }

    /// The state it belongs to.
    pub fn state_id(&self) -> StateId {
        self.state_id
    }

    /// Which seal key it is wrapped with.
    pub fn binding(&self) -> KeyBinding {
        self.binding
    }

    /// SHA-256 of the root certificate of the state, DER.
    pub fn root_certificate(&self) -> [u8; 32] {
        self.root_certificate
    }

    /// The key generations it holds, oldest first.
    pub fn key_generations(&self) -> impl Iterator<Item = u64> + '_ {
        self.entries.iter().map(|entry| entry.key_generation)
    }

    /// Adds a data key, wrapped; one of the same generation is replaced, and of more than two the oldest goes.
    ///
    /// # Errors
    /// [`SealedError::Crypto`] if the provider fails.
    pub fn wrap(
        &mut self,
        key_generation: u64,
        key: &DataKey,
        seal_key: &SecretBytes,
        dice: &dyn Dice,
    ) -> Result<(), SealedError> {
        let mut nonce = [0; 12];
        dice.fill(&mut nonce);
        let mut wrapped = Zeroizing::new(Vec::with_capacity(key.bytes().len() + TAG));
        wrapped.extend_from_slice(key.bytes().expose());
        self.wrap_key(seal_key)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.associated_data(key_generation)),
                &mut *wrapped,
            )
            .map_err(|_| CryptoFault::in_operation("wrap the data key with AES-GCM"))?;
        self.entries
            .retain(|entry| entry.key_generation != key_generation);
        self.entries.push(Entry {
            key_generation,
            nonce,
            wrapped: std::mem::take(&mut *wrapped),
        });
        self.entries.sort_by_key(|entry| entry.key_generation);
        if self.entries.len() > MAX_ENTRIES {
            self.entries.remove(0);
        }
        Ok(())
    }

    /// Opens the data key of one generation of the state `state_id`.
    ///
    /// # Errors
    /// [`KeyFileError`]; which of them it is tells nothing about the keys.
    pub fn unwrap(
        &self,
        state_id: &StateId,
        key_generation: u64,
        seal_key: &SecretBytes,
    ) -> Result<DataKey, KeyFileError> {
        if self.state_id != *state_id {
            return Err(KeyFileError::OtherState { found: self.state_id });
        }
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.key_generation == key_generation)
            .ok_or(KeyFileError::NoSuchGeneration { key_generation })?;
        let Some((ciphertext, tag)) = entry.wrapped.split_last_chunk::<TAG>() else {
            return Err(KeyFileError::DoesNotOpen);
        };
        let wrap_key = self.wrap_key(seal_key)?;
        let mut opened = Ok(());
        let bytes = SecretBytes::fill_with(ciphertext.len(), |out| {
            opened = wrap_key.open_separate_gather(
                Nonce::assume_unique_for_key(entry.nonce),
                Aad::from(self.associated_data(key_generation)),
                ciphertext,
                tag,
                out,
            );
        });
        match (opened, DataKey::from_bytes(bytes)) {
            (Ok(()), Some(key)) => Ok(key),
            _ => Err(KeyFileError::DoesNotOpen),
        }
    }

    /// The file.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(MAX_KEY_FILE_BYTES);
        body.extend_from_slice(self.state_id.bytes());
        body.push(self.binding.code());
        body.extend_from_slice(&self.root_certificate);
        body.push(u8::try_from(self.entries.len()).unwrap_or(u8::MAX));
        for entry in &self.entries {
            body.extend_from_slice(&entry.key_generation.to_le_bytes());
            body.extend_from_slice(&entry.nonce);
            body.push(u8::try_from(entry.wrapped.len()).unwrap_or(u8::MAX));
            body.extend_from_slice(&entry.wrapped);
        }
        envelope::close(MAGIC, &body)
    }

    /// Parses a key file.
    ///
    /// # Errors
    /// [`SealedError::NotOurs`], [`SealedError::NewerVersion`] or [`SealedError::Corrupt`].
    pub fn parse(file: &[u8]) -> Result<Self, SealedError> {
        let (body, length) = envelope::open(MAGIC, MAX_KEY_FILE_BYTES, file)?;
        if length != file.len() {
            return Err(SealedError::corrupt(length, "bytes follow the key file"));
        }
        let short = || SealedError::corrupt(0, "the key file is too short for its fields");
        let mut fields = Fields::new(body);
        let state_id = StateId::from_bytes(fields.array().ok_or_else(short)?);
        let binding = match fields.u8().ok_or_else(short)? {
            1 => KeyBinding::Product,
            2 => KeyBinding::Unique,
            other => {
                return Err(SealedError::NewerVersion {
                    what: "seal mode",
                    found: other.into(),
                });
            }
        };
        let root_certificate = fields.array().ok_or_else(short)?;
        let count = usize::from(fields.u8().ok_or_else(short)?);
        if count > MAX_ENTRIES {
            return Err(SealedError::corrupt(0, "the key file holds more than two keys"));
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let key_generation = fields.u64().ok_or_else(short)?;
            let nonce = fields.array().ok_or_else(short)?;
            let length = usize::from(fields.u8().ok_or_else(short)?);
            if length != 16 + TAG && length != 32 + TAG {
                return Err(SealedError::corrupt(
                    0,
                    "a wrapped key has neither 16 nor 32 bytes",
                ));
            }
            let wrapped = fields.take(length).ok_or_else(short)?.to_vec();
            entries.push(Entry {
                key_generation,
                nonce,
                wrapped,
            });
        }
        if !fields.is_empty() {
            return Err(SealedError::corrupt(0, "the key file is longer than its fields"));
        }
        if !entries.is_sorted_by(|a, b| a.key_generation < b.key_generation) {
            return Err(SealedError::corrupt(
                0,
                "the keys of the key file are not in order",
            ));
        }
        Ok(Self {
            state_id,
            binding,
            root_certificate,
            entries,
        })
    }

    /// HKDF-SHA256(seal key, salt = state id, info = `marblerun kek v1` ‖ seal mode): deployments on one
    /// machine have the same seal key, but not the same wrap key.
    fn wrap_key(&self, seal_key: &SecretBytes) -> Result<aws_lc_rs::aead::LessSafeKey, CryptoFault> {
        let info: [&[u8]; 2] = [b"marblerun kek v1", &[self.binding.code()]];
        gcm_key(
            seal_key.expose(),
            self.state_id.bytes(),
            &info,
            StateCipher::Aes256Gcm,
        )
    }

    fn associated_data(&self, key_generation: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(82);
        bytes.extend_from_slice(MAGIC.as_bytes());
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(self.state_id.bytes());
        bytes.extend_from_slice(&key_generation.to_le_bytes());
        bytes.extend_from_slice(&self.root_certificate);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDice;

    const STATE: StateId = StateId::from_bytes([7; 32]);

    fn seal_key() -> SecretBytes {
        SecretBytes::copy_from(&[9; 16])
    }

    fn data_key(byte: u8) -> DataKey {
        DataKey::from_bytes(SecretBytes::copy_from(&[byte; 32])).unwrap()
    }

    fn key_file() -> KeyFile {
        let dice = TestDice::new(1);
        let mut file = KeyFile::new(STATE, KeyBinding::Product, [5; 32]);
        file.wrap(1, &data_key(1), &seal_key(), &dice).unwrap();
        file.wrap(2, &data_key(2), &seal_key(), &dice).unwrap();
        file
    }

    #[test]
    fn both_generations_come_back() {
        let bytes = key_file().encode();
        assert!(bytes.len() <= MAX_KEY_FILE_BYTES);
        let file = KeyFile::parse(&bytes).unwrap();
        assert!(file == key_file());
        assert_eq!(file.binding(), KeyBinding::Product);
        assert_eq!(file.root_certificate(), [5; 32]);
        for generation in [1, 2] {
            let key = file.unwrap(&STATE, generation, &seal_key()).unwrap();
            assert!(key == data_key(generation as u8));
        }
        let error = file.unwrap(&STATE, 3, &seal_key()).err();
        assert_eq!(error, Some(KeyFileError::NoSuchGeneration { key_generation: 3 }));
        assert!(
            !bytes
                .windows(16)
                .any(|window| window == [1; 16] || window == [2; 16])
        );
    }

    #[test]
    fn the_oldest_of_three_goes() {
        let dice = TestDice::new(2);
        let mut file = key_file();
        file.wrap(3, &data_key(3), &seal_key(), &dice).unwrap();
        assert!(file.key_generations().eq([2, 3]));
        file.wrap(3, &data_key(4), &seal_key(), &dice).unwrap();
        assert!(file.key_generations().eq([2, 3]));
        assert!(file.unwrap(&STATE, 3, &seal_key()).unwrap() == data_key(4));
    }

    #[test]
    fn the_key_file_of_one_state_never_opens_another() {
        let other = StateId::from_bytes([2; 32]);
        let error = key_file().unwrap(&other, 1, &seal_key()).err();
        assert_eq!(error, Some(KeyFileError::OtherState { found: STATE }));
        // Nor with a forged clear part.
        for forged in [
            KeyFile {
                state_id: other,
                ..key_file()
            },
            KeyFile {
                binding: KeyBinding::Unique,
                ..key_file()
            },
            KeyFile {
                root_certificate: [6; 32],
                ..key_file()
            },
        ] {
            let id = forged.state_id;
            assert_eq!(
                forged.unwrap(&id, 1, &seal_key()).err(),
                Some(KeyFileError::DoesNotOpen)
            );
        }
        let mut swapped = key_file();
        swapped.entries[0].key_generation = 2;
        swapped.entries[1].key_generation = 1;
        assert_eq!(
            swapped.unwrap(&STATE, 1, &seal_key()).err(),
            Some(KeyFileError::DoesNotOpen)
        );
        let stranger = SecretBytes::copy_from(&[8; 16]);
        assert_eq!(
            key_file().unwrap(&STATE, 1, &stranger).err(),
            Some(KeyFileError::DoesNotOpen)
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let bytes = key_file().encode();
        for position in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[position / 8] ^= 1 << (position % 8);
            assert!(KeyFile::parse(&damaged).is_err(), "bit {position}");
        }
        for length in 0..bytes.len() {
            assert!(KeyFile::parse(&bytes[..length]).is_err(), "{length}");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(matches!(
            KeyFile::parse(&longer),
            Err(SealedError::Corrupt { .. })
        ));
    }

    #[test]
    fn hostile_fields_are_refused() {
        let newer = |what, found| Some(SealedError::NewerVersion { what, found });
        for (offset, value, error) in [
            (8, 7, newer("format version", 7)),
            (46, 7, newer("seal mode", 7)),
            (79, 3, None),
            (79, 255, None),
            (79, 1, None),
            (100, 255, None),
            (100, 31, None),
            (80, 2, None),
            (80, 9, None),
        ] {
            let mut bytes = key_file().encode();
            bytes[offset] = value;
            envelope::repair(&mut bytes);
            let found = KeyFile::parse(&bytes).err().unwrap();
            match error {
                Some(error) => assert_eq!(found, error),
                None => assert!(
                    matches!(found, SealedError::Corrupt { .. }),
                    "{offset} {value}: {found}"
                ),
            }
        }
    }
}
