//! A disk for tests that writes down what is asked of it, and can stop in the middle.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::super::disk::{Directory, Disk, DiskFile};

/// What a [`RecordingDisk`] and its files saw; shared with the test.
#[derive(Clone, Default)]
pub(in crate::store) struct Record(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    operations: Vec<String>,
    /// How many more operations succeed, and whether those after the failing one succeed again.
    left: Option<(usize, Failure)>,
}

/// What happens when no more operations are left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Failure {
    /// Nothing works any more, as if the process had been killed. The failing write is done by half.
    Kill,
    /// One operation fails, the following work.
    Once,
}

impl Record {
    /// The operations so far, and forgets them.
    pub(in crate::store) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().operations)
    }

    /// Lets `count` more operations succeed.
    pub(in crate::store) fn fail_after(&self, count: usize, failure: Failure) {
        self.0.lock().unwrap().left = Some((count, failure));
    }

    /// Lets everything succeed again.
    pub(in crate::store) fn succeed(&self) {
        self.0.lock().unwrap().left = None;
    }

    fn note(&self, operation: String) -> io::Result<()> {
        let mut seen = self.0.lock().unwrap();
        seen.operations.push(operation);
        match &mut seen.left {
            None => Ok(()),
            Some((0, Failure::Kill)) => Err(io::Error::other("killed by the test")),
            Some((0, Failure::Once)) => {
                seen.left = None;
                Err(io::Error::other("failed by the test"))
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

/// A directory of the system whose every change is recorded.
pub(in crate::store) struct RecordingDisk {
    inner: Directory,
    record: Record,
}

impl RecordingDisk {
    pub(in crate::store) fn open(path: &Path, record: &Record) -> Self {
        Self {
            inner: Directory::open(path).unwrap(),
            record: record.clone(),
        }
    }

    fn file(&self, name: &str, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(RecordingFile {
            name: name.to_owned(),
            inner,
            record: self.record.clone(),
        })
    }
}

impl Disk for RecordingDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        self.inner.read(name, limit)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.record.note(format!("create {name}"))?;
        Ok(self.file(name, self.inner.create(name)?))
    }

    fn open_end(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(name, self.inner.open_end(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.record.note(format!("rename {from} {to}"))?;
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.record.note(format!("remove {name}"))?;
        self.inner.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.record.note("sync directory".to_owned())?;
        self.inner.sync_directory()
    }

    fn lock(&mut self, name: &str) -> io::Result<()> {
        self.inner.lock(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inner.path(name)
    }
}

struct RecordingFile {
    name: String,
    inner: Box<dyn DiskFile>,
    record: Record,
}

impl DiskFile for RecordingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.record.note(format!("write {}", self.name)) {
            let half = &bytes[..bytes.len() / 2];
            if !half.is_empty() {
                self.inner.write(half)?;
            }
            return Err(error);
        }
        self.inner.write(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.record.note(format!("sync data {}", self.name))?;
        self.inner.sync_data()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.record.note(format!("sync {}", self.name))?;
        self.inner.sync_all()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.record.note(format!("cut {} {length}", self.name))?;
        self.inner.cut(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }
}
