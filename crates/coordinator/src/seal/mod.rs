//! Where the key comes from that wraps the data key (`spec/06`, "Keys").

pub mod gramine;
pub mod none;
pub mod place;
pub mod simulation;

use std::path::PathBuf;

use marblerun_core::sealed::KeyBinding;
use marblerun_core::secret::value::SecretBytes;

/// The seal keys of the enclave the Coordinator runs in.
pub trait SealKeys: Send + Sync {
    /// The seal key with this binding: the same each time, as long as what it is bound to is the same. It is
    /// never used itself: a wrap key of the state is derived from it.
    ///
    /// # Errors
    /// [`SealKeyError`].
    fn seal_key(&self, binding: KeyBinding) -> Result<SecretBytes, SealKeyError>;

    /// What the keys come from, for the log.
    fn name(&self) -> &'static str;
}

/// Why there is no seal key.
#[derive(Debug, thiserror::Error)]
pub enum SealKeyError {
    /// There is none here, by nature: the state opens by recovery alone.
    #[error("{provider} has no seal key")]
    NoSealKey {
        /// What was asked.
        provider: &'static str,
    },
    /// There should be one, but it cannot be had.
    #[error("cannot get the seal key from {}: {reason}", path.display())]
    Failed {
        /// The file or device.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
