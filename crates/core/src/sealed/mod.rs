//! The sealed record format: how the state is kept outside the enclave (`spec/06`, `docs/state-format.md`).
//!
//! Bytes only. A file is a clear [`Header`], frames with the parts of a checkpoint ([`CheckpointSealer`]), then
//! one frame for each group of changes ([`FrameSealer`]). [`Reader`] walks them and tells a torn tail
//! from corruption, [`KeyFile`] keeps the data key wrapped with the seal key of the enclave.

mod cbor;
mod change_codec;
mod checkpoint;
mod deployment_codec;
mod envelope;
mod fields;
mod frame;
mod header;
mod key;
mod reader;
mod state_codec;
mod update_codec;
mod value_codec;
mod wrap;

use std::fmt;

pub use checkpoint::{OpenedState, open_state, root_certificate_hash, seal_state, seal_state_in_parts};
pub use frame::{CheckpointSealer, FrameSealer, MAX_FRAME_PAYLOAD};
pub use header::{Header, MAX_HEADER_BYTES, StateId};
pub use key::{DataKey, StateCipher};
pub use reader::{ReadToEnd, Reader, Record, TornTail};
pub use wrap::{KeyBinding, KeyFile, KeyFileError, MAX_KEY_FILE_BYTES};

use crate::ambient::CryptoFault;

/// The version of the format this code writes, and the highest it reads.
pub const FORMAT_VERSION: u16 = 1;

/// The largest sealed file that is read, in bytes: 1 GiB.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// Why sealed bytes were not read or made. Holds offsets and names of fields, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// The bytes do not begin as a file of this format does.
    #[error("not a file of MarbleRun: expected it to begin with `{expected}`")]
    NotOurs {
        /// The magic that was expected.
        expected: &'static str,
    },
    /// Whole and ours, but made by a later program: never guessed at.
    #[error("made by a newer version: {what} {found} is not known to this one")]
    NewerVersion {
        /// What is not known: `format version`, `suite`, `change`, …
        what: &'static str,
        /// The number found.
        found: u64,
    },
    /// Bytes are damaged, missing or out of place.
    #[error("damaged at offset {offset}: {problem}")]
    Corrupt {
        /// Offset in the file, in bytes, of the header or frame the problem is in.
        offset: u64,
        /// What is wrong there.
        problem: &'static str,
    },
    /// The data key is not the one the header commits to.
    #[error("the data key is not the key of this state")]
    WrongKey,
    /// More than the format can hold.
    #[error("{what} is too large: {size} bytes, at most {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The manifest in the state is not one this version takes.
    #[error("the manifest in the state (frame at offset {offset}) is refused: {reason}")]
    Manifest {
        /// Offset in the file, in bytes, of the frame with the manifest.
        offset: u64,
        /// Why it is refused.
        reason: String,
    },
    /// A state of the original opened, but cannot be taken over.
    #[error("the state of the original cannot be taken over: {entry}: {problem}")]
    Original {
        /// The entry of the state.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A state without a data key cannot be sealed: there is no manifest yet.
    #[error("there is no data key to seal the state with")]
    NotSealable,
    /// A group that draws a data key, or is empty, is no frame: the whole state is to be sealed anew.
    #[error("these changes need a new file")]
    NeedsNewFile,
    /// An encoding was not as long as it was measured: a fault of ours.
    #[error("an encoding has not the length it was measured to have")]
    Encoding,
    /// The crypto provider failed.
    #[error(transparent)]
    Crypto(#[from] CryptoFault),
}

impl SealedError {
    fn corrupt(offset: usize, problem: &'static str) -> Self {
        Self::Corrupt {
            offset: offset as u64,
            problem,
        }
    }
}

/// SHA-256 of the concatenation of `parts`.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// Writes bytes as lower-case hexadecimal digits.
fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
