//! Where the sealed state is kept (`spec/06`).
//!
//! [`Store`] keeps bytes: one sealed file, which grows at its end and is replaced as a whole, and beside it a
//! key file. It knows nothing of keys or changes. [`files`] keeps them in a directory of one Coordinator,
//! [`memory`] nowhere. A store shared by several Coordinators stands behind the same trait: what it holds has
//! to be what its caller saw last, or the write is refused.
//!
//! [`open::open`] looks at a store, a [`seal`](crate::seal) provider and what the two hold, and answers with
//! what was found and with the [`journal::SealedJournal`] that makes changes durable from then on.

mod adopt;
mod aside;
pub(crate) mod checkpoint;
pub mod disk;
mod draft;
pub mod files;
pub mod journal;
pub mod memory;
pub mod open;
mod settle;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use marblerun_core::sealed::SealedError;

use crate::seal::SealKeyError;

/// Keeps a sealed state.
///
/// The caller is the only writer. After an error of [`append`](Store::append), [`replace`](Store::replace),
/// [`publish_draft`](Store::publish_draft), [`replace_key`](Store::replace_key) or [`retire`](Store::retire) the
/// outcome is unknown: what was to be written may be there, whole or in part. Then only a [`replace`](Store::replace) that succeeds makes it
/// certain again; an append is refused until then.
pub trait Store: Send {
    /// Reads all that is kept.
    ///
    /// # Errors
    /// [`StoreError::Io`] if something is there and cannot be read: never taken for nothing.
    fn load(&mut self) -> Result<Stored, StoreError>;

    /// Makes `frame` durable behind the `length` bytes the sealed file has now.
    ///
    /// # Errors
    /// [`StoreError::NotAppendable`] if the file is not `length` bytes long or an earlier write failed; nothing
    /// was written then. [`StoreError::Io`].
    fn append(&mut self, length: u64, frame: &[u8]) -> Result<(), StoreError>;

    /// Puts a new sealed file in the place of the old one, durable before it returns. At every moment one of
    /// the two is there, and the key file before the sealed file it is needed for.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn replace(&mut self, new: Replacement<'_>) -> Result<(), StoreError>;

    /// After a [`replace`](Store::replace) that kept the old files aside and failed: puts them back, durable before
    /// it returns, if they are not there any more. Between the two files there may be the old sealed file with the
    /// new key file, which does not open it.
    ///
    /// # Errors
    /// [`StoreError::Io`]: it may be tried again.
    fn put_back(&mut self) -> Result<(), StoreError>;

    /// Begins a second sealed file beside the first, empty, while the first goes on growing. There is one at a
    /// time; one that was left behind is emptied.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the sealed file is as it was and can be appended to.
    fn begin_draft(&mut self) -> Result<Box<dyn Draft>, StoreError>;

    /// Puts a draft, which was synced, in the place of the sealed file, durable before it returns. The key file
    /// stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::NotAppendable`]: which of the two is there is unknown.
    fn publish_draft(&mut self, draft: Box<dyn Draft>) -> Result<(), StoreError>;

    /// Removes what is left of a draft that is not wanted any more. It only saves space.
    fn discard_draft(&mut self);

    /// Puts a new key file in the place of the old one, durable before it returns.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn replace_key(&mut self, key: &[u8]) -> Result<(), StoreError>;

    /// Cuts a torn tail off, so that the sealed file has `length` bytes; what is cut is kept aside. Answers
    /// where.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn cut(&mut self, length: u64) -> Result<String, StoreError>;

    /// Moves the sealed file aside: the state is kept no more.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn retire(&mut self) -> Result<(), StoreError>;

    /// Where the sealed file is, for messages.
    fn sealed_data_path(&self) -> PathBuf;

    /// Where the key file is, for messages.
    fn sealed_key_path(&self) -> PathBuf;
}

/// A sealed file in the making, which means nothing until it is published. Filled on any thread.
pub trait Draft: Send {
    /// Writes behind what was written before.
    ///
    /// # Errors
    /// [`StoreError::Io`]: the draft is of no use any more.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Makes all of it durable.
    ///
    /// # Errors
    /// As [`Self::append`].
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Its length in bytes.
    fn length(&self) -> u64;
}

/// All that a store keeps.
#[derive(Clone, Default)]
pub struct Stored {
    /// The sealed file.
    pub sealed_data: Option<Vec<u8>>,
    /// The key file.
    pub sealed_key: Option<Vec<u8>>,
    /// Names of what else is there and says that a state was, or that the place is used by something else.
    pub traces: Vec<String>,
}

/// What takes the place of a sealed file.
#[derive(Clone, Copy)]
pub struct Replacement<'a> {
    /// The whole new file.
    pub sealed_data: &'a [u8],
    /// The key file that goes with it; `None` where there is no seal key.
    pub sealed_key: Option<&'a [u8]>,
    /// Whether the old files are kept aside, as those of another state that was given up. Of such states
    /// the latest is kept, and the first that recovery secrets open.
    pub keep_old: bool,
}

/// Why the state cannot be read or written. Names places, never a value.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process uses the directory.
    #[error("{}: another Coordinator uses this directory; each needs one of its own", directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// No state, but signs that there was one: an accident, not a new deployment.
    #[error(
        "{}: no state here, but {}: a state may have been lost. Put it back, or start with `--fresh` if there \
         is none to lose",
        path.display(),
        found.join(", ")
    )]
    StateMissing {
        /// Where the sealed file should be.
        path: PathBuf,
        /// What is there instead.
        found: Vec<String>,
    },
    /// The file is there, but is no state that can be read.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the offset.
        problem: SealedError,
    },
    /// The state cannot be sealed.
    #[error("cannot seal the state: {0}")]
    Sealing(#[from] SealedError),
    /// There should be a seal key, but it cannot be had.
    #[error(transparent)]
    SealKey(#[from] SealKeyError),
    /// The file cannot be appended to: it is not what the caller takes it for, or an earlier write failed.
    #[error("{}: not appended to: {reason}", path.display())]
    NotAppendable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file would become larger than what is opened again. It was not written.
    #[error("{}: not written: it would have {size} bytes, and at most {limit} are opened again", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes it would have.
        size: u64,
        /// Bytes it may have.
        limit: u64,
    },
    /// What was being written is not wanted any more.
    #[error("given up, because another file took its place")]
    GivenUp,
    /// The system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was to be done.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}
