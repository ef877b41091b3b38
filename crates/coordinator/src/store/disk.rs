//! The few things the store asks of a file system, so that tests can stand in its place and fail, cut and
//! reorder.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// One directory with regular files in it, named by their file names. Whatever else has one of the names (a link, a
/// pipe, a device, a directory) is neither read nor written nor waited for, but refused.
///
/// What is written, renamed or removed is durable only after the file or the directory was synced.
pub trait Disk: Send + Sync {
    /// The names in the directory, in no order; what is not UTF-8 is replaced.
    ///
    /// # Errors
    /// What the system answers.
    fn list(&self) -> io::Result<Vec<String>>;

    /// The whole content of a file, or `None` if there is no such file.
    ///
    /// # Errors
    /// What the system answers; `FileTooLarge` beyond `limit` bytes.
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>>;

    /// Creates a file with mode 0600. What has the name is removed before, never written into.
    ///
    /// # Errors
    /// What the system answers.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file; writes go to its end.
    ///
    /// # Errors
    /// What the system answers.
    fn open_end(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file, in place of the one that has the new name.
    ///
    /// # Errors
    /// What the system answers.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system answers.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// What the system answers.
    fn sync_directory(&self) -> io::Result<()>;

    /// Takes the lock of the directory, by locking this file, until the disk is dropped or the process ends.
    ///
    /// # Errors
    /// `WouldBlock` if another process has it; what the system answers.
    fn lock(&mut self, name: &str) -> io::Result<()>;

    /// Where a file is, for messages; the directory itself for an empty name.
    fn path(&self, name: &str) -> PathBuf;
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send {
    /// Writes some of `bytes` at the end: how many, at least one.
    ///
    /// # Errors
    /// What the system answers.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes content and length durable.
    ///
    /// # Errors
    /// What the system answers. What was written since the last sync may be lost then, and a second sync that
    /// succeeds says nothing about it.
    fn sync_data(&mut self) -> io::Result<()>;

    /// Makes content and all metadata durable.
    ///
    /// # Errors
    /// As [`Self::sync_data`].
    fn sync_all(&mut self) -> io::Result<()>;

    /// Cuts the file to this length in bytes.
    ///
    /// # Errors
    /// What the system answers.
    fn cut(&mut self, length: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// What the system answers.
    fn length(&self) -> io::Result<u64>;
}

/// Writes all of `bytes`.
///
/// # Errors
/// What the file answers; `WriteZero` if it takes no more.
pub fn write_all(file: &mut dyn DiskFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes a file with this content durable under `name`, in place of the one that is there: at every moment
/// `name` is the old file or the whole new one. The directory is synced at the end.
///
/// # Errors
/// What the disk answers; which of the two files is there then is unknown.
pub fn write_whole(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = format!("{name}.new");
    let written = disk.create(&new).and_then(|mut file| {
        write_all(&mut *file, bytes)?;
        file.sync_all()
    });
    if let Err(error) = written {
        // On a full disk its bytes may be what the next attempt lacks; that it stays is no second error.
        let _ = disk.remove(&new);
        return Err(error);
    }
    disk.rename(&new, name)?;
    disk.sync_directory()
}

/// A directory of the operating system.
pub struct Directory {
    path: PathBuf,
    lock: Option<File>,
}

impl Directory {
    /// A directory; made with mode 0700 if it is not there, and then durable.
    ///
    /// # Errors
    /// What the system answers.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        if !path.try_exists()? {
            DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
            if let Some(parent) = path.parent() {
                sync_directory(parent)?;
            }
        }
        // Fails here, and not with the first change, if it is no directory or may not be read.
        std::fs::read_dir(&path)?;
        Ok(Self { path, lock: None })
    }
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.path)?;
        names
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match open_regular(OpenOptions::new().read(true), &self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Some(bytes))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = open_regular(OpenOptions::new().write(true).create_new(true).mode(0o600), &path)?;
        // The mode of a file must not depend on the mask of the process.
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(Box::new(file))
    }

    fn open_end(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = open_regular(OpenOptions::new().append(true), &self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }

    fn lock(&mut self, name: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = open_regular(&mut options, &self.path.join(name))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            // Library operating systems of enclaves may lack locks; there the mount is the enclave's alone.
            Err(TryLockError::Error(error)) if is_unsupported(&error) => {
                tracing::warn!(
                    directory = %self.path.display(),
                    "this system has no file locks: nothing keeps a second Coordinator out of the directory"
                );
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        self.lock = Some(file);
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            self.path.clone()
        } else {
            self.path.join(name)
        }
    }
}

impl DiskFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(self, bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn sync_all(&mut self) -> io::Result<()> {
        File::sync_all(self)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Opens a regular file that has this one name. A symbolic link is not followed, and opening never waits, as it would
/// for the other end of a pipe. A second name (a hard link) would be somewhere else, where others may write or read.
fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let refuse = |what: &str| {
        let reason = format!("it is {what}; only a regular file with this one name is taken");
        Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
    };
    // The bits are those of the system's header, whatever the sign of the type.
    let file = match options.custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(error) => {
            let no_reader = error.raw_os_error() == Some(Errno::NXIO.raw_os_error());
            return match std::fs::symlink_metadata(path) {
                Ok(found) if found.is_symlink() => refuse("a symbolic link"),
                Ok(found) if found.is_dir() => refuse("a directory"),
                Ok(_) if no_reader => refuse("a pipe, a socket or a device"),
                _ => Err(error),
            };
        }
    };
    let found = file.metadata()?;
    if found.is_dir() {
        refuse("a directory")
    } else if !found.is_file() {
        refuse("a pipe, a socket or a device")
    } else if found.nlink() > 1 {
        refuse("a file with several names (hard links)")
    } else {
        Ok(file)
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // POSIX lets a file system refuse to sync a directory; renames are durable there at once, or never.
        Err(error) if is_unsupported(&error) => Ok(()),
        synced => synced,
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    let refused = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP];
    refused
        .iter()
        .any(|refused| error.raw_os_error() == Some(refused.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn directories_and_files_are_private() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        let disk = Directory::open(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        write_whole(&disk, "file", b"content").unwrap();
        assert_eq!(mode(&path.join("file")), 0o600);
        // Also when a file with another mode is in the way.
        std::fs::write(path.join("file.new"), b"").unwrap();
        std::fs::set_permissions(path.join("file.new"), Permissions::from_mode(0o666)).unwrap();
        write_whole(&disk, "file", b"other").unwrap();
        assert_eq!(mode(&path.join("file")), 0o600);
        assert_eq!(
            disk.read("file", 5).unwrap().as_deref(),
            Some(b"other".as_slice())
        );
        assert_eq!(disk.list().unwrap(), ["file"]);
    }

    #[test]
    fn reads_are_bounded() {
        let base = tempfile::tempdir().unwrap();
        let disk = Directory::open(base.path()).unwrap();
        write_whole(&disk, "file", b"12345").unwrap();
        assert_eq!(
            disk.read("file", 4).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        assert!(disk.read("nothing", 4).unwrap().is_none());
    }

    #[test]
    fn files_grow_at_their_end_and_are_cut() {
        let base = tempfile::tempdir().unwrap();
        let disk = Directory::open(base.path()).unwrap();
        write_whole(&disk, "file", b"one").unwrap();
        let mut file = disk.open_end("file").unwrap();
        write_all(&mut *file, b"two").unwrap();
        assert_eq!(file.length().unwrap(), 6);
        file.cut(4).unwrap();
        write_all(&mut *file, b"!").unwrap();
        assert_eq!(
            disk.read("file", 99).unwrap().as_deref(),
            Some(b"onet!".as_slice())
        );
    }

    #[test]
    fn what_was_planted_under_the_name_of_a_new_file_is_not_written_into() {
        let base = tempfile::tempdir().unwrap();
        let victim = base.path().join("victim");
        std::fs::write(&victim, b"precious").unwrap();
        let path = base.path().join("place");
        let disk = Directory::open(&path).unwrap();
        let plants: [fn(&Path, &Path); 3] = [
            |victim, new| std::os::unix::fs::symlink(victim, new).unwrap(),
            |victim, new| std::fs::hard_link(victim, new).unwrap(),
            |_, new| make_pipe(new),
        ];
        for plant in plants {
            plant(&victim, &path.join("file.new"));
            write_whole(&disk, "file", b"content").unwrap();
            assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
            let made = std::fs::symlink_metadata(path.join("file")).unwrap();
            assert!(made.is_file() && made.nlink() == 1);
            assert_eq!(disk.list().unwrap(), ["file"]);
        }
    }

    #[test]
    fn only_regular_files_are_opened_and_none_is_waited_for() {
        let base = tempfile::tempdir().unwrap();
        let victim = base.path().join("victim");
        std::fs::write(&victim, b"precious").unwrap();
        let nowhere = base.path().join("nowhere");
        let path = base.path().join("place");
        let mut disk = Directory::open(&path).unwrap();
        let file = path.join("file");
        let socket = std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();
        let plants: [(&str, &dyn Fn()); 6] = [
            ("symbolic link", &|| {
                std::os::unix::fs::symlink(&victim, &file).unwrap();
            }),
            ("symbolic link", &|| {
                std::os::unix::fs::symlink(&nowhere, &file).unwrap();
            }),
            ("hard link", &|| std::fs::hard_link(&victim, &file).unwrap()),
            ("pipe", &|| make_pipe(&file)),
            ("directory", &|| std::fs::create_dir(&file).unwrap()),
            ("socket", &|| std::fs::rename(path.join("socket"), &file).unwrap()),
        ];
        for (what, plant) in plants {
            plant();
            let errors = [
                disk.read("file", 99).err(),
                disk.open_end("file").err(),
                disk.lock("file").err(),
            ];
            for error in errors {
                let error = error.unwrap().to_string();
                assert!(error.contains(what), "{what}: {error}");
            }
            if file.symlink_metadata().unwrap().is_dir() {
                std::fs::remove_dir(&file).unwrap();
            } else {
                std::fs::remove_file(&file).unwrap();
            }
        }
        drop(socket);
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
        assert!(!nowhere.exists());
    }

    fn make_pipe(path: &Path) {
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(Directory::open(&file).is_err());
    }

    #[test]
    fn the_lock_keeps_others_out() {
        let base = tempfile::tempdir().unwrap();
        let mut first = Directory::open(base.path()).unwrap();
        let mut second = Directory::open(base.path()).unwrap();
        first.lock("lock").unwrap();
        assert_eq!(second.lock("lock").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        second.lock("lock").unwrap();
    }
}
