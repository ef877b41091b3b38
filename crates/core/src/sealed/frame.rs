//! Frames: each sealed under a key of its own and chained to the one before.

use std::num::NonZeroU32;

use aws_lc_rs::aead::{Aad, Nonce};
use zeroize::{Zeroize, Zeroizing};

use super::fields::Fields;
use super::{DataKey, Header, SealedError, StateId, sha256};
use crate::ambient::{CryptoFault, Dice};

/// The largest payload of one frame in bytes: 256 MiB.
pub const MAX_FRAME_PAYLOAD: usize = 256 << 20;

/// What stands in clear before each ciphertext, in bytes.
pub(super) const PRELUDE: usize = 89;
/// The AES-GCM tag behind each ciphertext, in bytes.
pub(super) const TAG: usize = 16;

pub(super) const MARKER: [u8; 8] = *b"\xa5mrblfrm";
const NONCE: [u8; 12] = [0; 12];

pub(super) const CHECKPOINT_PART: u8 = 1;
pub(super) const LAST_CHECKPOINT_PART: u8 = 2;
pub(super) const GROUP: u8 = 3;

/// Makes the checkpoint at the front of a new file; ends as the [`FrameSealer`] of its log part.
pub struct CheckpointSealer(Chain);

impl CheckpointSealer {
    /// Begins a file: the sealer, and the header as it stands in the file.
    ///
    /// `next_change` is the number of the first change that is not in the checkpoint.
    ///
    /// # Errors
    /// [`SealedError::WrongKey`] if the header is that of another key, [`SealedError::Crypto`].
    pub fn start(header: &Header, key: DataKey, next_change: u64) -> Result<(Self, Vec<u8>), SealedError> {
        header.check_key(&key)?;
        let bytes = header.encode();
        Ok((Self(Chain::new(header, &bytes, key, next_change)), bytes))
    }

    /// Seals a part that others follow. `write` must fill all of the `length` bytes it gets.
    ///
    /// # Errors
    /// What `write` answers, [`SealedError::TooLarge`], [`SealedError::Crypto`].
    pub fn part(
        &mut self,
        length: usize,
        write: impl FnOnce(&mut [u8]) -> Result<(), SealedError>,
        dice: &dyn Dice,
    ) -> Result<Vec<u8>, SealedError> {
        self.0.seal(CHECKPOINT_PART, 0, length, write, dice)
    }

    /// Seals the last part, as [`Self::part`] does.
    ///
    /// # Errors
    /// As [`Self::part`].
    pub fn last_part(
        mut self,
        length: usize,
        write: impl FnOnce(&mut [u8]) -> Result<(), SealedError>,
        dice: &dyn Dice,
    ) -> Result<(Vec<u8>, FrameSealer), SealedError> {
        let frame = self.0.seal(LAST_CHECKPOINT_PART, 0, length, write, dice)?;
        Ok((frame, FrameSealer(self.0)))
    }
}

/// Makes the frames of the log part of one file, in their order.
///
/// A frame that was sealed but did not reach the file leaves a gap the next one would not fit behind: then a
/// new file has to be made.
pub struct FrameSealer(pub(super) Chain);

impl FrameSealer {
    /// Seals a group of changes. `write` must fill all of the `length` bytes it gets with the encoded group;
    /// they are encrypted in place, so that the clear bytes are nowhere else.
    ///
    /// # Errors
    /// What `write` answers, [`SealedError::TooLarge`], [`SealedError::Crypto`]; the sealer is then as before.
    pub fn group(
        &mut self,
        changes: NonZeroU32,
        length: usize,
        write: impl FnOnce(&mut [u8]) -> Result<(), SealedError>,
        dice: &dyn Dice,
    ) -> Result<Vec<u8>, SealedError> {
        self.0.seal(GROUP, changes.get(), length, write, dice)
    }

    /// The number the next change gets.
    pub fn next_change(&self) -> u64 {
        self.0.next_change
    }

    /// The key the frames are made with.
    pub fn data_key(&self) -> &DataKey {
        &self.0.key
    }
}

/// Where in a file the next frame belongs.
pub(super) struct Chain {
    pub(super) key: DataKey,
    pub(super) header_hash: [u8; 32],
    /// The whole header until the first frame is there, then empty.
    header: Vec<u8>,
    state_id: StateId,
    key_generation: u64,
    pub(super) number: u64,
    pub(super) next_change: u64,
    pub(super) previous_tag: [u8; TAG],
}

impl Chain {
    pub(super) fn new(header: &Header, bytes: &[u8], key: DataKey, next_change: u64) -> Self {
        Self {
            key,
            header_hash: sha256(&[bytes]),
            header: bytes.to_vec(),
            state_id: header.state_id,
            key_generation: header.key_generation,
            number: 0,
            next_change,
            previous_tag: [0; TAG],
        }
    }

    fn seal(
        &mut self,
        kind: u8,
        changes: u32,
        length: usize,
        write: impl FnOnce(&mut [u8]) -> Result<(), SealedError>,
        dice: &dyn Dice,
    ) -> Result<Vec<u8>, SealedError> {
        let too_large = SealedError::TooLarge {
            what: "a frame of the state",
            size: length as u64,
            limit: MAX_FRAME_PAYLOAD as u64,
        };
        let sealed_length = u32::try_from(length + TAG).map_err(|_| too_large.clone())?;
        if length > MAX_FRAME_PAYLOAD {
            return Err(too_large);
        }
        let mut salt = [0; 32];
        dice.fill(&mut salt);
        let prelude = Prelude {
            kind,
            length: sealed_length,
            number: self.number,
            first_change: self.next_change,
            changes,
            previous_tag: self.previous_tag,
            salt,
        };
        let clear = prelude.encode(&self.header_hash);

        let mut frame = Zeroizing::new(Vec::with_capacity(PRELUDE + length + TAG));
        frame.extend_from_slice(&clear);
        frame.resize(PRELUDE + length, 0);
        let payload = frame.get_mut(PRELUDE..).unwrap_or_default();
        write(payload)?;
        let key = self.key.frame_key(&salt, &self.state_id, self.key_generation)?;
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(NONCE),
                Aad::from(self.associated_data(&clear)),
                payload,
            )
            .map_err(|_| CryptoFault::in_operation("encrypt a frame with AES-GCM"))?;
        frame.extend_from_slice(tag.as_ref());

        let tag = <[u8; TAG]>::try_from(tag.as_ref())
            .map_err(|_| CryptoFault::in_operation("take the tag of AES-GCM"))?;
        self.follow(&prelude, tag);
        Ok(std::mem::take(&mut *frame))
    }

    /// Decrypts a frame of this place in the file into `out`; `false` if it does not verify.
    pub(super) fn unseal(
        &self,
        prelude: &Prelude,
        sealed: &[u8],
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<bool, SealedError> {
        let Some((ciphertext, tag)) = sealed.split_last_chunk::<TAG>() else {
            return Ok(false);
        };
        let key = self
            .key
            .frame_key(&prelude.salt, &self.state_id, self.key_generation)?;
        let nonce = Nonce::assume_unique_for_key(NONCE);
        let associated_data = Aad::from(self.associated_data(&prelude.encode(&self.header_hash)));
        // A vector that has to grow would leave its old bytes behind: a new one is made instead.
        if out.capacity() < ciphertext.len() {
            *out = Zeroizing::new(Vec::with_capacity(ciphertext.len()));
        }
        out.zeroize();
        out.resize(ciphertext.len(), 0);
        Ok(key
            .open_separate_gather(nonce, associated_data, ciphertext, tag, out)
            .is_ok())
    }

    /// Moves on behind a frame.
    pub(super) fn follow(&mut self, prelude: &Prelude, tag: [u8; TAG]) {
        self.number = self.number.saturating_add(1);
        self.next_change = prelude.first_change.saturating_add(prelude.changes.into());
        self.previous_tag = tag;
        self.header = Vec::new();
    }

    /// The first frame carries the whole header, every other one its hash; both the whole prelude.
    fn associated_data(&self, prelude: &[u8; PRELUDE]) -> Vec<u8> {
        let bound: &[u8] = if self.number == 0 {
            &self.header
        } else {
            &self.header_hash
        };
        [bound, prelude].concat()
    }
}

/// The clear fields of a frame.
#[derive(Clone, Copy)]
pub(super) struct Prelude {
    pub(super) kind: u8,
    /// Of ciphertext and tag.
    pub(super) length: u32,
    pub(super) number: u64,
    pub(super) first_change: u64,
    pub(super) changes: u32,
    pub(super) previous_tag: [u8; TAG],
    pub(super) salt: [u8; 32],
}

impl Prelude {
    /// Reads a prelude at the front of `bytes`; `None` unless it is there whole, undamaged, and made for the
    /// file with this header.
    pub(super) fn parse(bytes: &[u8], header_hash: &[u8; 32]) -> Option<Self> {
        let bytes = bytes.first_chunk::<PRELUDE>()?;
        let mut fields = Fields::new(bytes);
        if fields.array()? != MARKER {
            return None;
        }
        let prelude = Self {
            kind: fields.u8()?,
            length: fields.u32()?,
            number: fields.u64()?,
            first_change: fields.u64()?,
            changes: fields.u32()?,
            previous_tag: fields.array()?,
            salt: fields.array()?,
        };
        (prelude.encode(header_hash) == *bytes).then_some(prelude)
    }

    /// The prelude as it stands in the file: the fields, then the first 8 bytes of SHA-256(header hash ‖ fields).
    pub(super) fn encode(&self, header_hash: &[u8; 32]) -> [u8; PRELUDE] {
        let mut fields = Vec::with_capacity(PRELUDE);
        fields.extend_from_slice(&MARKER);
        fields.push(self.kind);
        fields.extend_from_slice(&self.length.to_le_bytes());
        fields.extend_from_slice(&self.number.to_le_bytes());
        fields.extend_from_slice(&self.first_change.to_le_bytes());
        fields.extend_from_slice(&self.changes.to_le_bytes());
        fields.extend_from_slice(&self.previous_tag);
        fields.extend_from_slice(&self.salt);
        let checksum = sha256(&[header_hash, &fields]);
        let mut out = [0; PRELUDE];
        for (to, from) in out.iter_mut().zip(fields.iter().chain(&checksum)) {
            *to = *from;
        }
        out
    }
}
