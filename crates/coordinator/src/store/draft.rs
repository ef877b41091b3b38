//! A draft as a file of a [`Disk`](super::disk::Disk).

use std::io;
use std::path::PathBuf;

use super::disk::{DiskFile, write_all};
use super::{Draft, StoreError};

/// A checkpoint in the making.
pub(super) struct FileDraft {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    length: u64,
}

impl FileDraft {
    /// A file that is empty.
    pub(super) fn new(path: PathBuf, file: Box<dyn DiskFile>) -> Self {
        Self {
            path,
            file,
            length: 0,
        }
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError::Io { path, action, source }
    }
}

impl Draft for FileDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        write_all(&mut *self.file, bytes).map_err(self.failed("write"))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(self.failed("sync"))
    }

    fn length(&self) -> u64 {
        self.length
    }
}
