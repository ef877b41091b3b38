//! The directory of a single Coordinator (`spec/06`, "Single instance").
//!
//! | file | what it is |
//! |---|---|
//! | `sealed_data` | the state |
//! | `sealed_key` | its data key, wrapped; losing it leads to recovery, never to loss of data |
//! | `superseded-<time>-sealed_data`, `-sealed_key` | states that were given up: the latest, and the first that can be recovered |
//! | `torn-<time>` | what was cut off the end of `sealed_data` |
//! | `*.new` | being written, `checkpoint.new` beside a state that goes on growing; left behind only by a crash |
//! | `lock` | locked while a Coordinator uses the directory |

use std::io;
use std::path::{Path, PathBuf};

use marblerun_core::ambient::Timestamp;
use marblerun_core::sealed::{MAX_FILE_BYTES, MAX_KEY_FILE_BYTES, SealedError};

use super::disk::{Directory, Disk, DiskFile, write_all, write_whole};
use super::draft::FileDraft;
use super::{Draft, Replacement, Store, StoreError, Stored};
use crate::seal::simulation;
use crate::startup;

pub(crate) const DATA: &str = "sealed_data";
pub(super) const KEY: &str = "sealed_key";
const NEW_DATA: &str = "sealed_data.new";
const DRAFT: &str = "checkpoint.new";
const LOCK: &str = "lock";
pub(super) const SUPERSEDED: &str = "superseded-";
const TORN: &str = "torn-";
/// Torn tails that are kept; there is one for each crash in the middle of a write.
const TORN_KEPT: usize = 4;

/// Keeps the state in a directory.
pub struct FileStore {
    pub(super) disk: Box<dyn Disk>,
    pub(super) clock: fn() -> Timestamp,
    /// The sealed file, open at its end, and its length; `None` while it cannot be appended to.
    end: Option<(Box<dyn DiskFile>, u64)>,
    /// Prefix of the files that a replacement has put aside and not finished with.
    aside: Option<String>,
}

impl FileStore {
    /// Opens a directory, made with mode 0700 if it is not there, and keeps every other Coordinator out.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Io`].
    pub fn open(directory: &Path, clock: fn() -> Timestamp) -> Result<Self, StoreError> {
        let disk = Directory::open(directory).map_err(|source| StoreError::Io {
            path: directory.to_owned(),
            action: "open or make the directory of the state",
            source,
        })?;
        Self::on(Box::new(disk), clock)
    }

    /// The store on any disk.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn on(mut disk: Box<dyn Disk>, clock: fn() -> Timestamp) -> Result<Self, StoreError> {
        match disk.lock(LOCK) {
            Ok(()) => Ok(Self {
                disk,
                clock,
                end: None,
                aside: None,
            }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(StoreError::InUse {
                directory: disk.path(""),
            }),
            Err(source) => Err(StoreError::Io {
                path: disk.path(LOCK),
                action: "lock",
                source,
            }),
        }
    }

    pub(super) fn failed(&self, name: &str, action: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        let path = self.disk.path(name);
        move |source| StoreError::Io { path, action, source }
    }

    pub(super) fn list(&self) -> Result<Vec<String>, StoreError> {
        let mut names = self.disk.list().map_err(self.failed("", "list the directory"))?;
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn write_whole(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        write_whole(&*self.disk, name, bytes).map_err(self.failed(name, "write"))
    }

    fn write_new_data(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let mut file = self
            .disk
            .create(NEW_DATA)
            .map_err(self.failed(NEW_DATA, "create"))?;
        write_all(&mut *file, bytes).map_err(self.failed(NEW_DATA, "write"))?;
        file.sync_all().map_err(self.failed(NEW_DATA, "sync"))
    }

    /// Removes a file that means nothing, if it is there. It only saves space.
    fn discard(&self, name: &str) {
        match self.disk.remove(name) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(file = %self.disk.path(name).display(), %error, "an unfinished file stays");
            }
        }
    }

    /// Opens the sealed file after a new one took its name. Opened anew: some file systems keep showing the old
    /// name's file through the old handle.
    fn open_replaced(&mut self, expected: u64) -> Result<(), StoreError> {
        let file = self
            .disk
            .open_end(DATA)
            .map_err(self.failed(DATA, "open for writing"))?;
        let length = file.length().map_err(self.failed(DATA, "measure"))?;
        if length != expected {
            let reason = format!("it has {length} bytes after it was replaced, expected {expected}");
            return Err(StoreError::NotAppendable {
                path: self.disk.path(DATA),
                reason,
            });
        }
        self.end = Some((file, length));
        Ok(())
    }

    fn sync_directory(&self) -> Result<(), StoreError> {
        self.disk
            .sync_directory()
            .map_err(self.failed("", "sync the directory"))
    }
}

impl Store for FileStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        self.end = None;
        let traces = self.list()?.into_iter().filter(|name| is_trace(name)).collect();
        let too_large = |limit| SealedError::TooLarge {
            what: "the file",
            size: limit + 1,
            limit,
        };
        let read = |name, limit| match self.disk.read(name, limit) {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(StoreError::Unreadable {
                path: self.disk.path(name),
                problem: too_large(limit),
            }),
            read => read.map_err(self.failed(name, "read")),
        };
        let sealed_data = read(DATA, MAX_FILE_BYTES)?;
        // What is longer than a key file can be is none; a key file that is damaged does not stop the start.
        let sealed_key = match self.disk.read(KEY, MAX_KEY_FILE_BYTES as u64) {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Some(Vec::new()),
            read => read.map_err(self.failed(KEY, "read"))?,
        };
        if let Some(data) = &sealed_data {
            let mut file = self
                .disk
                .open_end(DATA)
                .map_err(self.failed(DATA, "open for writing"))?;
            // After a kill neither the name nor the last frame may be durable yet, and both are served from now on.
            let durable = file
                .sync_data()
                .map_err(self.failed(DATA, "sync"))
                .and_then(|()| self.sync_directory());
            match durable {
                Ok(()) => self.end = Some((file, data.len() as u64)),
                // It can be read all the same. The next change writes a new file.
                Err(error) => tracing::error!(%error, "the state was read, but cannot be appended to"),
            }
        }
        Ok(Stored {
            sealed_data,
            sealed_key,
            traces,
        })
    }

    fn append(&mut self, length: u64, frame: &[u8]) -> Result<(), StoreError> {
        let refuse = |reason: String| StoreError::NotAppendable {
            path: self.disk.path(DATA),
            reason,
        };
        // Taken out, and put back only when all went well: after a failed write or sync nobody knows what the
        // file holds, and the next sync would succeed without having written what this one lost.
        let Some((mut file, known)) = self.end.take() else {
            return Err(refuse(
                "there is none, or an earlier write to it failed".to_owned(),
            ));
        };
        if known != length {
            self.end = Some((file, known));
            return Err(refuse(format!("it has {known} bytes, expected {length}")));
        }
        write_all(&mut *file, frame).map_err(self.failed(DATA, "append"))?;
        file.sync_data().map_err(self.failed(DATA, "sync"))?;
        self.end = Some((file, length + frame.len() as u64));
        Ok(())
    }

    fn replace(&mut self, new: Replacement<'_>) -> Result<(), StoreError> {
        self.end = None;
        // 1. The new state, whole and durable under a name that means nothing yet.
        if let Err(error) = self.write_new_data(new.sealed_data) {
            // On a full disk its bytes may be what the next attempt lacks.
            self.discard(NEW_DATA);
            return Err(error);
        }
        // 2. The old files aside, if they are another state's.
        let superseded = if new.keep_old { self.keep_old()? } else { None };
        if new.keep_old {
            self.aside.clone_from(&superseded);
        }
        // 3. The key file, which opens the old state as well as the new one.
        if let Some(key) = new.sealed_key {
            self.write_whole(KEY, key)?;
        } else {
            self.sync_directory()?;
        }
        // 4. The commit.
        self.disk
            .rename(NEW_DATA, DATA)
            .map_err(self.failed(DATA, "rename the new file"))?;
        self.sync_directory()?;
        self.open_replaced(new.sealed_data.len() as u64)?;
        self.aside = None;
        if new.sealed_key.is_none() {
            self.tidy(KEY, |_, name| name != KEY);
        }
        if let Some(prefix) = superseded {
            self.tidy_superseded(&prefix);
        }
        Ok(())
    }

    fn put_back(&mut self) -> Result<(), StoreError> {
        let Some(prefix) = self.aside.clone() else {
            return Ok(());
        };
        self.end = None;
        let read = |name: &str| {
            self.disk
                .read(name, MAX_FILE_BYTES)
                .map_err(self.failed(name, "read"))
        };
        // The data first: with whatever key file, it opens or waits for recovery as it did before.
        for name in [DATA, KEY] {
            if let Some(bytes) = read(&format!("{prefix}-{name}"))?
                && read(name)?.as_ref() != Some(&bytes)
            {
                self.write_whole(name, &bytes)?;
            }
        }
        self.aside = None;
        Ok(())
    }

    fn begin_draft(&mut self) -> Result<Box<dyn Draft>, StoreError> {
        let file = self.disk.create(DRAFT).map_err(self.failed(DRAFT, "create"))?;
        Ok(Box::new(FileDraft::new(self.disk.path(DRAFT), file)))
    }

    fn publish_draft(&mut self, draft: Box<dyn Draft>) -> Result<(), StoreError> {
        self.end = None;
        let length = draft.length();
        drop(draft);
        self.disk
            .rename(DRAFT, DATA)
            .map_err(self.failed(DATA, "rename the checkpoint"))?;
        self.sync_directory()?;
        self.open_replaced(length)
    }

    fn discard_draft(&mut self) {
        self.discard(DRAFT);
    }

    fn replace_key(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.write_whole(KEY, key)
    }

    fn cut(&mut self, length: u64) -> Result<String, StoreError> {
        self.end = None;
        let data = self
            .disk
            .read(DATA, MAX_FILE_BYTES)
            .map_err(self.failed(DATA, "read"))?
            .ok_or_else(|| self.failed(DATA, "cut")(io::ErrorKind::NotFound.into()))?;
        let torn = usize::try_from(length)
            .ok()
            .and_then(|length| data.get(length..))
            .unwrap_or_default();
        let name = self.timed(TORN)?;
        self.write_whole(&name, torn)?;
        let mut file = self
            .disk
            .open_end(DATA)
            .map_err(self.failed(DATA, "open for writing"))?;
        file.cut(length).map_err(self.failed(DATA, "cut"))?;
        file.sync_all().map_err(self.failed(DATA, "sync"))?;
        self.end = Some((file, length));
        // With a clock that was set back, the newest is not the last.
        self.tidy(TORN, |from_end, other| from_end <= TORN_KEPT || other == name);
        Ok(self.disk.path(&name).display().to_string())
    }

    fn retire(&mut self) -> Result<(), StoreError> {
        self.end = None;
        let prefix = self.timed(SUPERSEDED)?;
        let aside = format!("{prefix}-{DATA}");
        self.disk
            .rename(DATA, &aside)
            .map_err(self.failed(DATA, "move aside"))?;
        self.sync_directory()?;
        self.tidy_superseded(&prefix);
        Ok(())
    }

    fn sealed_data_path(&self) -> PathBuf {
        self.disk.path(DATA)
    }

    fn sealed_key_path(&self) -> PathBuf {
        self.disk.path(KEY)
    }
}

/// Whether a file beside the state says that the place is not new. What says nothing: the lock, the key of the
/// simulation, hidden files, and what file systems put there themselves.
fn is_trace(name: &str) -> bool {
    let says_nothing = [
        DATA,
        KEY,
        LOCK,
        simulation::KEY_FILE,
        simulation::NEW_KEY_FILE,
        "lost+found",
        // Written before the state they belong to is: a crash in between leaves them alone.
        startup::RECOVERY_SECRETS_FILE,
        startup::NEW_RECOVERY_SECRETS_FILE,
    ];
    !says_nothing.contains(&name) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::super::tests::recording::{Failure, Record, RecordingDisk};
    use super::*;

    fn clock() -> Timestamp {
        Timestamp::from_unix_millis(1_795_250_551_650)
    }

    struct Place {
        directory: tempfile::TempDir,
        record: Record,
    }

    impl Place {
        fn new() -> Self {
            Self {
                directory: tempfile::tempdir().unwrap(),
                record: Record::default(),
            }
        }

        fn open(&self) -> FileStore {
            let disk = RecordingDisk::open(self.directory.path(), &self.record);
            FileStore::on(Box::new(disk), clock).unwrap()
        }

        fn holding(data: &[u8], key: &[u8]) -> Self {
            let place = Self::new();
            place.open().replace(both(data, key)).unwrap();
            place.record.take();
            place
        }

        fn content(&self, name: &str) -> Option<Vec<u8>> {
            std::fs::read(self.directory.path().join(name)).ok()
        }

        fn names(&self) -> Vec<String> {
            let mut names = Directory::open(self.directory.path()).unwrap().list().unwrap();
            names.sort_unstable();
            names
        }
    }

    fn both<'a>(data: &'a [u8], key: &'a [u8]) -> Replacement<'a> {
        Replacement {
            sealed_data: data,
            sealed_key: Some(key),
            keep_old: false,
        }
    }

    #[test]
    fn an_empty_directory_holds_nothing_and_stays_empty() {
        let place = Place::new();
        let stored = place.open().load().unwrap();
        assert!(stored.sealed_data.is_none() && stored.sealed_key.is_none() && stored.traces.is_empty());
        assert_eq!(place.names(), ["lock"]);
        assert!(place.record.take().is_empty());
    }

    #[test]
    fn a_new_file_is_durable_before_its_name_and_the_key_before_the_data() {
        let place = Place::new();
        let mut store = place.open();
        store.replace(both(b"data", b"key")).unwrap();
        assert_eq!(
            place.record.take(),
            [
                "create sealed_data.new",
                "write sealed_data.new",
                "sync sealed_data.new",
                "create sealed_key.new",
                "write sealed_key.new",
                "sync sealed_key.new",
                "rename sealed_key.new sealed_key",
                "sync directory",
                "rename sealed_data.new sealed_data",
                "sync directory",
            ]
        );
        store.append(4, b"+frame").unwrap();
        assert_eq!(
            place.record.take(),
            ["write sealed_data", "sync data sealed_data"]
        );
        assert_eq!(place.content("sealed_data").unwrap(), b"data+frame");
        assert_eq!(place.names(), ["lock", "sealed_data", "sealed_key"]);
    }

    #[test]
    fn without_a_seal_key_there_is_no_key_file() {
        let place = Place::holding(b"old", b"key");
        let new = Replacement {
            sealed_data: b"data",
            sealed_key: None,
            keep_old: false,
        };
        place.open().replace(new).unwrap();
        assert_eq!(
            place.record.take(),
            [
                "create sealed_data.new",
                "write sealed_data.new",
                "sync sealed_data.new",
                "sync directory",
                "rename sealed_data.new sealed_data",
                "sync directory",
                "remove sealed_key",
            ]
        );
    }

    #[test]
    fn the_key_file_is_replaced_alone() {
        let place = Place::holding(b"data", b"key");
        place.open().replace_key(b"other").unwrap();
        assert_eq!(
            place.record.take(),
            [
                "create sealed_key.new",
                "write sealed_key.new",
                "sync sealed_key.new",
                "rename sealed_key.new sealed_key",
                "sync directory",
            ]
        );
        assert_eq!(place.content("sealed_key").unwrap(), b"other");
    }

    #[test]
    fn a_state_that_is_given_up_is_copied_aside_and_only_the_latest_stays() {
        let place = Place::holding(b"first", b"first key");
        let mut store = place.open();
        for (new, old) in [("second", "first"), ("third", "second")] {
            let key = format!("{new} key");
            let replacement = Replacement {
                sealed_data: new.as_bytes(),
                sealed_key: Some(key.as_bytes()),
                keep_old: true,
            };
            store.replace(replacement).unwrap();
            let names = place.names();
            let aside: Vec<&String> = names.iter().filter(|name| name.starts_with(SUPERSEDED)).collect();
            assert_eq!(aside.len(), 2, "{names:?}");
            assert!(aside[0].ends_with("-sealed_data") && aside[1].ends_with("-sealed_key"));
            assert!(aside[0].starts_with("superseded-20261121T084231.650Z"));
            assert_eq!(place.content(aside[0]).unwrap(), old.as_bytes());
            assert_eq!(place.content(aside[1]).unwrap(), format!("{old} key").as_bytes());
        }
        assert_eq!(store.load().unwrap().sealed_data.unwrap(), b"third");
    }

    #[test]
    fn a_kill_at_any_operation_leaves_the_old_pair_or_a_working_one() {
        for keep_old in [false, true] {
            for count in 0.. {
                let place = Place::holding(b"old data", b"old key");
                let mut store = place.open();
                place.record.fail_after(count, Failure::Kill);
                let new = Replacement {
                    sealed_data: b"new data",
                    sealed_key: Some(b"both keys"),
                    keep_old,
                };
                let done = store.replace(new).is_ok();
                drop(store);
                let stored = FileStore::open(place.directory.path(), clock)
                    .unwrap()
                    .load()
                    .unwrap();
                // The key file always opens the data beside it: the new one holds both keys.
                match (stored.sealed_data.as_deref(), stored.sealed_key.as_deref()) {
                    (Some(b"old data"), Some(b"old key" | b"both keys")) => assert!(!done),
                    (Some(b"new data"), Some(b"both keys")) => {}
                    _ => panic!("killed after {count} operations: neither the old pair nor the new"),
                }
                if done {
                    assert!(count >= 10);
                    break;
                }
            }
        }
    }

    #[test]
    fn after_a_failed_write_only_a_new_file_lets_it_go_on() {
        // The write, then the sync.
        for count in 0..2 {
            let place = Place::holding(b"data", b"key");
            let mut store = place.open();
            store.load().unwrap();
            place.record.fail_after(count, Failure::Once);
            assert!(matches!(store.append(4, b"+frame"), Err(StoreError::Io { .. })));
            place.record.take();
            for length in [4, 7, 10] {
                assert!(matches!(
                    store.append(length, b"+more"),
                    Err(StoreError::NotAppendable { .. })
                ));
            }
            assert!(place.record.take().is_empty());
            store.replace(both(b"anew", b"key")).unwrap();
            store.append(4, b"+more").unwrap();
            assert_eq!(place.content("sealed_data").unwrap(), b"anew+more");
        }
    }

    #[test]
    fn any_failed_operation_of_a_replacement_is_reported_and_it_can_be_tried_again() {
        for count in 0..10 {
            let place = Place::holding(b"old", b"key");
            let mut store = place.open();
            store.load().unwrap();
            place.record.fail_after(count, Failure::Once);
            assert!(store.replace(both(b"new", b"key")).is_err(), "{count}");
            assert!(
                matches!(store.append(3, b"+"), Err(StoreError::NotAppendable { .. })),
                "{count}"
            );
            store.replace(both(b"new", b"key")).unwrap();
            store.append(3, b"+").unwrap();
            assert_eq!(place.content("sealed_data").unwrap(), b"new+");
        }
    }

    #[test]
    fn an_append_at_another_length_writes_nothing() {
        let place = Place::holding(b"data", b"key");
        let mut store = place.open();
        assert!(matches!(
            store.append(4, b"x"),
            Err(StoreError::NotAppendable { .. })
        ));
        store.load().unwrap();
        for length in [0, 3, 5] {
            assert!(matches!(
                store.append(length, b"x"),
                Err(StoreError::NotAppendable { .. })
            ));
        }
        store.append(4, b"x").unwrap();
        assert_eq!(place.content("sealed_data").unwrap(), b"datax");
    }

    #[test]
    fn a_torn_tail_is_kept_before_it_is_cut() {
        let place = Place::holding(b"data", b"key");
        let mut store = place.open();
        store.load().unwrap();
        store.append(4, b"torn").unwrap();
        place.record.take();
        let aside = store.cut(4).unwrap();
        assert_eq!(
            place.record.take(),
            [
                "create torn-20261121T084231.650Z.new",
                "write torn-20261121T084231.650Z.new",
                "sync torn-20261121T084231.650Z.new",
                "rename torn-20261121T084231.650Z.new torn-20261121T084231.650Z",
                "sync directory",
                "cut sealed_data 4",
                "sync sealed_data",
            ]
        );
        assert!(aside.ends_with("/torn-20261121T084231.650Z"), "{aside}");
        assert_eq!(place.content("torn-20261121T084231.650Z").unwrap(), b"torn");
        store.append(4, b"+more").unwrap();
        assert_eq!(place.content("sealed_data").unwrap(), b"data+more");
        for round in 0..10 {
            store.append(9, b"torn").unwrap();
            store.cut(9).unwrap();
            let kept = place.names().iter().filter(|name| name.starts_with(TORN)).count();
            // The clock stands still, so that the newest may not be the last by its name: it is kept beside those.
            assert!(
                (TORN_KEPT.min(round + 2)..=TORN_KEPT + 1).contains(&kept),
                "{kept}"
            );
        }
    }

    #[test]
    fn a_retired_state_is_moved_aside() {
        let place = Place::holding(b"data", b"key");
        let mut store = place.open();
        store.retire().unwrap();
        assert_eq!(
            place.record.take(),
            [
                "rename sealed_data superseded-20261121T084231.650Z-sealed_data",
                "sync directory"
            ]
        );
        let stored = store.load().unwrap();
        assert!(stored.sealed_data.is_none());
        assert_eq!(stored.traces, ["superseded-20261121T084231.650Z-sealed_data"]);
    }

    #[test]
    fn traces_of_a_state_are_told_from_what_says_nothing() {
        let place = Place::new();
        let harmless = [
            "lock",
            "simulation_seal_key",
            "simulation_seal_key.new",
            "recovery_secrets.json",
            "recovery_secrets.json.new",
            ".nfs0001",
        ];
        let telling = [
            "sealed_data.new",
            "sealed_key.new",
            "checkpoint.new",
            "superseded-x-sealed_data",
            "torn-x",
            "else",
        ];
        for name in harmless.iter().chain(&telling) {
            std::fs::write(place.directory.path().join(name), b"").unwrap();
        }
        std::fs::create_dir(place.directory.path().join("lost+found")).unwrap();
        let mut telling = telling.map(str::to_owned);
        telling.sort_unstable();
        assert_eq!(place.open().load().unwrap().traces, telling);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        let place = Place::new();
        std::fs::create_dir(place.directory.path().join("sealed_data")).unwrap();
        let error = place.open().load().err().unwrap();
        assert!(error.to_string().contains("sealed_data: cannot read"), "{error}");
    }

    #[test]
    fn a_key_file_that_is_too_long_is_no_key_file() {
        let place = Place::holding(b"data", &[1; MAX_KEY_FILE_BYTES + 1]);
        assert_eq!(
            place.open().load().unwrap().sealed_key.as_deref(),
            Some(b"".as_slice())
        );
    }

    #[test]
    fn one_directory_is_used_by_one_coordinator() {
        let place = Place::new();
        let _first = place.open();
        let error = FileStore::open(place.directory.path(), clock).err().unwrap();
        assert!(matches!(&error, StoreError::InUse { directory } if directory == place.directory.path()));
        assert!(
            error
                .to_string()
                .contains(&place.directory.path().display().to_string())
        );
    }
}
