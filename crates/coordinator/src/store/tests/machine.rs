//! A machine whose power can go at any file call, whose disk keeps any part of what was not synced, and whose file
//! calls can fail.
//!
//! What programs see and what is durable are kept apart. A sync of a file makes its content and length durable, a
//! sync of the directory its names; nothing else does. When the power goes, each 512-byte sector written since the
//! last sync is kept or lost, the length is any it has had since, and of the creations, renames and removals since
//! the last sync of the directory any subset has happened. A sync that fails drops what it should have written:
//! later ones succeed and do not write it, as on Linux.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::super::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

/// Numbers that are the same for the same seed.
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What goes wrong with a file call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is refused: `EIO`.
    Input,
    /// There is no room; half of a write gets through.
    Full,
    /// Half of a write gets through, and no error says so.
    Short,
    /// It is done, and an error is answered all the same. A sync is not done, and what it should have written is
    /// lost.
    Unknown,
}

/// A machine that is broken on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Broken {
    /// It is not.
    #[default]
    No,
    /// Syncs of files answer, and do nothing.
    FileSync,
    /// Syncs of the directory answer, and do nothing.
    DirectorySync,
    /// Syncs make durable only what the same process has changed, not what one before it has.
    SyncOfOthers,
}

/// Shared by the test, the disks and their files.
#[derive(Clone, Default)]
pub(super) struct Machine(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    broken: Broken,
    files: Vec<Content>,
    /// Which file has which name, for programs.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the directory was synced.
    unsynced: Vec<NameChange>,
    calls: Vec<String>,
    /// Calls until the power goes.
    power: Option<usize>,
    is_off: bool,
    /// Calls until one fails, how, and whether all others fail as well from then on.
    fault: Option<(usize, Fault, bool)>,
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync.
    dirty: BTreeSet<usize>,
    /// Lengths it has had since.
    lengths: Vec<usize>,
}

#[derive(Clone)]
enum NameChange {
    Created(String, usize),
    Renamed(String, String, usize),
    Removed(String, usize),
}

/// What is to be done instead of the call.
enum Instead {
    Nothing,
    Half(io::Error),
    HalfWithoutError,
    Answer(io::Error),
}

impl Machine {
    pub(super) fn new(broken: Broken) -> Self {
        let machine = Self::default();
        machine.inner().broken = broken;
        machine
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// A machine in the same condition, which goes its own way from now on.
    pub(super) fn copy(&self) -> Self {
        let inner = self.inner();
        let copy = Inner {
            broken: inner.broken,
            files: inner.files.clone(),
            names: inner.names.clone(),
            durable_names: inner.durable_names.clone(),
            unsynced: inner.unsynced.clone(),
            ..Inner::default()
        };
        Self(Arc::new(Mutex::new(copy)))
    }

    /// A disk of this machine.
    pub(super) fn disk(&self) -> SimulatedDisk {
        SimulatedDisk {
            machine: self.clone(),
            has_changed: Arc::default(),
        }
    }

    /// The file calls so far that change something, and forgets them.
    pub(super) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().calls)
    }

    /// Turns the power off at the call after so many.
    pub(super) fn off_after(&self, calls: usize) {
        self.inner().power = Some(calls);
    }

    pub(super) fn is_off(&self) -> bool {
        self.inner().is_off
    }

    /// Has the call after so many fail, and with `for_good` all that follow.
    pub(super) fn fail_after(&self, calls: usize, fault: Fault, for_good: bool) {
        self.inner().fault = Some((calls, fault, for_good));
    }

    /// Whether the fault that was asked for is still to come.
    pub(super) fn fault_is_to_come(&self) -> bool {
        self.inner().fault.is_some_and(|(left, ..)| left > 0)
    }

    pub(super) fn repair(&self) {
        self.inner().fault = None;
    }

    /// The content of a file, as programs see it.
    pub(super) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.inner();
        let file = *inner.names.get(name)?;
        Some(inner.files[file].now.clone())
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.inner().names.keys().cloned().collect()
    }

    /// Adds to a file, durably: what a crash has left there.
    pub(super) fn add(&self, name: &str, bytes: &[u8]) {
        let mut inner = self.inner();
        let file = inner.names[name];
        inner.files[file].write(bytes);
        inner.files[file].sync();
    }

    /// Takes a file away, durably: somebody has removed it.
    pub(super) fn lose(&self, name: &str) {
        let mut inner = self.inner();
        inner.names.remove(name);
        inner.durable_names.remove(name);
        inner.unsynced.clear();
    }

    /// The machine after the power has come back, with what its disk has kept.
    pub(super) fn after_power_loss(&self, numbers: &mut Numbers) -> Self {
        let inner = self.inner();
        let mut names = inner.durable_names.clone();
        // All, none or any of the changes of names.
        let how = numbers.below(4);
        for change in &inner.unsynced {
            let kept = match how {
                0 => false,
                1 => true,
                _ => numbers.chance(50),
            };
            if kept {
                apply(&mut names, change);
            }
        }
        let files = inner.files.iter().map(|file| file.after_power_loss(numbers));
        let after = Inner {
            broken: inner.broken,
            files: files.collect(),
            names: names.clone(),
            durable_names: names,
            ..Inner::default()
        };
        Self(Arc::new(Mutex::new(after)))
    }

    /// Notes a call; what is to become of it.
    fn call(&self, what: String) -> io::Result<Instead> {
        let mut inner = self.inner();
        if inner.is_off {
            return Err(no_power());
        }
        inner.calls.push(what);
        match &mut inner.power {
            Some(0) => {
                inner.is_off = true;
                // A write may have reached the disk before the power went, whole or in part.
                return Ok(Instead::Half(no_power()));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let Some((left, fault, for_good)) = &mut inner.fault else {
            return Ok(Instead::Nothing);
        };
        if *left > 0 {
            *left -= 1;
            return Ok(Instead::Nothing);
        }
        let fault = *fault;
        if !*for_good {
            inner.fault = None;
        }
        match fault {
            Fault::Input => Err(io::Error::from_raw_os_error(5)),
            Fault::Full => Ok(Instead::Half(io::Error::from_raw_os_error(28))),
            Fault::Short => Ok(Instead::HalfWithoutError),
            Fault::Unknown => Ok(Instead::Answer(io::Error::from_raw_os_error(5))),
        }
    }

    /// A call that is done whole or not at all.
    fn whole(&self, what: String, act: impl FnOnce(&mut Inner)) -> io::Result<()> {
        match self.call(what)? {
            Instead::Nothing | Instead::HalfWithoutError => {
                act(&mut self.inner());
                Ok(())
            }
            Instead::Half(error) if self.is_off() => {
                act(&mut self.inner());
                Err(error)
            }
            Instead::Half(error) => Err(error),
            Instead::Answer(error) => {
                act(&mut self.inner());
                Err(error)
            }
        }
    }
}

fn no_power() -> io::Error {
    io::Error::other("the power is off")
}

fn apply(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Created(name, file) => {
            names.insert(name.clone(), *file);
        }
        NameChange::Renamed(from, to, file) => {
            if names.get(from) == Some(file) {
                names.remove(from);
            }
            names.insert(to.clone(), *file);
        }
        NameChange::Removed(name, file) => {
            if names.get(name) == Some(file) {
                names.remove(name);
            }
        }
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = self.now.len();
        self.now.extend_from_slice(bytes);
        self.dirty.extend(start / SECTOR..=(self.now.len() - 1) / SECTOR);
        self.lengths.push(self.now.len());
    }

    fn cut(&mut self, length: usize) {
        self.now.resize(length, 0);
        self.dirty.insert(length / SECTOR);
        self.lengths.push(length);
    }

    fn sync(&mut self) {
        self.durable.resize(self.now.len(), 0);
        for sector in &self.dirty {
            copy_sector(&mut self.durable, &self.now, *sector);
        }
        self.dirty.clear();
        self.lengths.clear();
    }

    fn failed_sync(&mut self) {
        self.dirty.clear();
    }

    fn after_power_loss(&self, numbers: &mut Numbers) -> Self {
        let how = numbers.below(4);
        let mut lengths = vec![self.durable.len()];
        lengths.extend(&self.lengths);
        let mut length = lengths[numbers.below(lengths.len())];
        // The length may have been set when only a part of a write was there.
        if how == 3 && length > self.durable.len() {
            let more = length - self.durable.len();
            length = self.durable.len() + numbers.below(more + 1);
        }
        let mut kept = self.durable.clone();
        kept.resize(length, 0);
        for sector in &self.dirty {
            let new = match how {
                0 => false,
                1 => true,
                _ => numbers.chance(50),
            };
            if new {
                copy_sector(&mut kept, &self.now, *sector);
            }
        }
        Self {
            now: kept.clone(),
            durable: kept,
            ..Self::default()
        }
    }
}

/// Copies what both have of a sector.
fn copy_sector(to: &mut [u8], from: &[u8], sector: usize) {
    let end = ((sector + 1) * SECTOR).min(to.len()).min(from.len());
    if let Some(range) = to.get_mut(sector * SECTOR..end) {
        range.copy_from_slice(&from[sector * SECTOR..end]);
    }
}

/// The disk of a [`Machine`], as one process sees it.
pub(super) struct SimulatedDisk {
    machine: Machine,
    /// Whether this process has changed something.
    has_changed: Arc<AtomicBool>,
}

impl SimulatedDisk {
    fn number(&self, name: &str) -> io::Result<usize> {
        let found = self.machine.inner().names.get(name).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&self, name: &str, file: usize) -> Box<dyn DiskFile> {
        Box::new(SimulatedFile {
            machine: self.machine.clone(),
            has_changed: Arc::clone(&self.has_changed),
            name: name.to_owned(),
            file,
        })
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        if self.machine.is_off() {
            return Err(no_power());
        }
        Ok(self.machine.names())
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if self.machine.is_off() {
            return Err(no_power());
        }
        let content = self.machine.content(name);
        if content.as_ref().is_some_and(|bytes| bytes.len() as u64 > limit) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(content)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.has_changed.store(true, Ordering::Relaxed);
        self.machine.whole(format!("create {name}"), |inner| {
            if let Some(file) = inner.names.get(name).copied() {
                return inner.files[file].cut(0);
            }
            let file = inner.files.len();
            inner.files.push(Content::default());
            inner.names.insert(name.to_owned(), file);
            inner.unsynced.push(NameChange::Created(name.to_owned(), file));
        })?;
        Ok(self.file(name, self.number(name)?))
    }

    fn open_end(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.machine.whole(format!("open {name}"), |_| ())?;
        Ok(self.file(name, self.number(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.number(from)?;
        self.has_changed.store(true, Ordering::Relaxed);
        self.machine.whole(format!("rename {from} {to}"), |inner| {
            let change = NameChange::Renamed(from.to_owned(), to.to_owned(), file);
            apply(&mut inner.names, &change);
            inner.unsynced.push(change);
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let file = self.number(name)?;
        self.has_changed.store(true, Ordering::Relaxed);
        self.machine.whole(format!("remove {name}"), |inner| {
            let change = NameChange::Removed(name.to_owned(), file);
            apply(&mut inner.names, &change);
            inner.unsynced.push(change);
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        match self.machine.call("sync directory".to_owned())? {
            Instead::Nothing | Instead::HalfWithoutError => {
                let mut inner = self.machine.inner();
                let skipped = match inner.broken {
                    Broken::DirectorySync => true,
                    Broken::SyncOfOthers => !self.has_changed.load(Ordering::Relaxed),
                    Broken::No | Broken::FileSync => false,
                };
                if !skipped {
                    inner.durable_names = inner.names.clone();
                    inner.unsynced.clear();
                }
                Ok(())
            }
            Instead::Half(error) | Instead::Answer(error) => Err(error),
        }
    }

    fn lock(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("simulated").join(name)
    }
}

struct SimulatedFile {
    machine: Machine,
    has_changed: Arc<AtomicBool>,
    name: String,
    file: usize,
}

impl SimulatedFile {
    fn sync(&self, what: &str) -> io::Result<()> {
        let instead = self.machine.call(format!("{what} {}", self.name))?;
        let mut inner = self.machine.inner();
        let (broken, is_off) = (inner.broken, inner.is_off);
        let content = &mut inner.files[self.file];
        match instead {
            Instead::Nothing | Instead::HalfWithoutError => {
                let skipped = match broken {
                    Broken::FileSync => true,
                    Broken::SyncOfOthers => !self.has_changed.load(Ordering::Relaxed),
                    Broken::No | Broken::DirectorySync => false,
                };
                if !skipped {
                    content.sync();
                }
                Ok(())
            }
            Instead::Half(error) | Instead::Answer(error) => {
                if !is_off {
                    content.failed_sync();
                }
                Err(error)
            }
        }
    }
}

impl DiskFile for SimulatedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let instead = self.machine.call(format!("write {}", self.name))?;
        self.has_changed.store(true, Ordering::Relaxed);
        let half = bytes.len().div_ceil(2);
        let is_off = self.machine.is_off();
        let mut inner = self.machine.inner();
        let content = &mut inner.files[self.file];
        match instead {
            Instead::Nothing => {
                content.write(bytes);
                Ok(bytes.len())
            }
            Instead::HalfWithoutError => {
                content.write(&bytes[..half]);
                Ok(half)
            }
            Instead::Half(error) => {
                content.write(if is_off { bytes } else { &bytes[..half] });
                Err(error)
            }
            Instead::Answer(error) => {
                content.write(bytes);
                Err(error)
            }
        }
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.sync("sync data")
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.sync("sync")
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).unwrap();
        self.machine.whole(format!("cut {}", self.name), |inner| {
            inner.files[self.file].cut(length);
        })
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.machine.inner().files[self.file].now.len() as u64)
    }
}

#[test]
fn what_was_not_synced_is_lost_in_every_way_and_what_was_stays() {
    let machine = Machine::new(Broken::No);
    let disk = machine.disk();
    let mut file = disk.create("file").unwrap();
    file.write(&[1; 1024]).unwrap();
    file.sync_data().unwrap();
    disk.sync_directory().unwrap();
    file.write(&[2; 1024]).unwrap();
    disk.create("other").unwrap();
    disk.rename("other", "third").unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..1000 {
        let after = machine.after_power_loss(&mut Numbers::new(seed));
        let content = after.content("file").unwrap();
        assert!(content[..1024] == [1; 1024]);
        let sectors: Vec<u8> = content[1024..].chunks(SECTOR).map(|sector| sector[0]).collect();
        seen.insert(format!("{sectors:?}"));
        seen.insert(format!("{:?}", after.names()));
    }
    for expected in ["[]", "[0]", "[2]", "[2, 2]", "[0, 2]", "[2, 0]", "[0, 0]"] {
        assert!(seen.contains(expected), "{expected}: {seen:?}");
    }
    for expected in [&["file"][..], &["file", "other"], &["file", "third"]] {
        assert!(seen.contains(&format!("{expected:?}")), "{expected:?}: {seen:?}");
    }
}

#[test]
fn what_a_failed_sync_lost_no_later_one_writes() {
    let machine = Machine::new(Broken::No);
    let disk = machine.disk();
    let mut file = disk.create("file").unwrap();
    disk.sync_directory().unwrap();
    file.write(&[1; 100]).unwrap();
    machine.fail_after(0, Fault::Input, false);
    assert!(file.sync_data().is_err());
    machine.fail_after(0, Fault::Unknown, false);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(machine.content("file").unwrap(), [1; 100]);
    let after = machine.after_power_loss(&mut Numbers::new(1));
    assert_eq!(after.content("file").unwrap(), [0; 100]);
}
