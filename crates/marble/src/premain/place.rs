//! Where a file of the manifest comes to lie on a system with several users.
//!
//! A file that another user has put in the place, or a link of his, must not receive what is meant for the marble.
//! Whether somebody else could have done so shows in the directory: it is *exposed* when it belongs to another user
//! than root and the marble's own, or when others may write to it. In an exposed directory
//!
//! * a file of another user, one with several links and a symbolic link of another user are removed, and a new file
//!   is made; what cannot be removed is refused;
//! * a directory behind a symbolic link of another user is refused.
//!
//! In all other directories everything is taken as it is found: whoever put it there decides over this system anyway.
//! Devices and pseudo-files are always taken as they are. A file that others may read is made anew, where that is
//! possible, for somebody may hold it open.
//!
//! Directories are opened one by one, so nothing is replaced between a check and what relies on it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat};
use rustix::fs::{fstat, fstatfs, ftruncate, mkdirat, openat, readlinkat, statat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

/// What could not be done, and with which file or directory.
pub(super) struct Failed {
    pub(super) at: PathBuf,
    pub(super) doing: &'static str,
    pub(super) source: io::Error,
}

/// Opens the file at `path` for writing, empty if it is a regular one. Directories that are missing are made.
pub(super) fn open(path: &Path) -> Result<File, Failed> {
    Walk::begin(path)?.reach_the_file()
}

/// A directory that is open.
struct Directory {
    descriptor: OwnedFd,
    /// How it was come to.
    path: PathBuf,
    /// Others may have put there what is in it.
    exposed: bool,
}

struct Walk {
    here: Directory,
    /// Still to be gone through; the last one is the file.
    ahead: VecDeque<OsString>,
    links: u32,
}

/// As many as Linux follows.
const MOST_LINKS: u32 = 40;
/// Somebody keeps putting things in the way.
const MOST_REMOVALS: u32 = 8;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::WRONLY.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

impl Walk {
    fn begin(path: &Path) -> Result<Self, Failed> {
        let start = if path.is_absolute() { "/" } else { "." };
        let mut ahead = names(path);
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            ahead.push_back(OsString::from("."));
        }
        Ok(Self {
            here: Directory::open(
                CWD,
                Path::new(start),
                PathBuf::from(if start == "." { "" } else { start }),
            )
            .map_err(|error| failed(Path::new(start), "open", error))?,
            ahead,
            links: 0,
        })
    }

    fn reach_the_file(mut self) -> Result<File, Failed> {
        let mut removals = 0;
        while let Some(name) = self.ahead.pop_front() {
            if !self.ahead.is_empty() {
                self.enter(&name)?;
                continue;
            }
            let at = self.here.path.join(&name);
            let found = match statat(&self.here.descriptor, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => found,
                Err(Errno::NOENT) => match self.create(&name) {
                    Err(Errno::EXIST) if removals < MOST_REMOVALS => {
                        removals += 1;
                        self.ahead.push_front(name);
                        continue;
                    }
                    outcome => return outcome.map_err(|error| failed(&at, "create", error)),
                },
                Err(error) => return Err(failed(&at, "create", error)),
            };
            let kind = FileType::from_raw_mode(found.st_mode);
            let suspect = self.here.exposed && is_suspect(&found);
            if kind == FileType::Symlink && !suspect {
                match self.follow(&name, &at)? {
                    Some(file) => return Ok(file),
                    None => continue,
                }
            }
            if (suspect && is_removable(kind)) || is_readable_by_others(&found) {
                match unlinkat(&self.here.descriptor, &name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) if removals < MOST_REMOVALS => {
                        removals += 1;
                        self.ahead.push_front(name);
                        continue;
                    }
                    Ok(()) => return Err(failed(&at, "create", Errno::EXIST)),
                    // A mounted file, for example, stays where it is.
                    Err(_) if !suspect => {}
                    Err(error) => {
                        let doing = "replace what another user could have put at";
                        return Err(failed(&at, doing, error));
                    }
                }
            }
            return self
                .open_existing(&name, kind)
                .map_err(|error| failed(&at, "create", error));
        }
        let at = self.here.path;
        Err(failed(&at, "create", Errno::ISDIR))
    }

    /// Goes into the directory `name`, which is made if it is missing.
    fn enter(&mut self, name: &OsStr) -> Result<(), Failed> {
        let at = self.here.path.join(name);
        let refused = |error| failed(&at, "make directory", error);
        match mkdirat(&self.here.descriptor, name, Mode::RWXU) {
            Ok(()) => {}
            // Other errors may only mean that it is there: file systems differ in what they look at first.
            Err(error) => {
                let found = statat(&self.here.descriptor, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|_| refused(error))?;
                if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
                    if self.here.exposed && is_suspect(&found) {
                        let doing = "go through the symbolic link of another user";
                        return Err(failed(&at, doing, Errno::LOOP));
                    }
                    if !self.here.is_pseudo() {
                        return self.turn(name, &at);
                    }
                    self.here =
                        Directory::follow(&self.here.descriptor, name, at.clone()).map_err(refused)?;
                    return Ok(());
                }
            }
        }
        self.here = Directory::open(&self.here.descriptor, Path::new(name), at.clone()).map_err(refused)?;
        Ok(())
    }

    /// The last name is a link nobody else has made. Pseudo-files, such as standard output, are opened through it.
    fn follow(&mut self, name: &OsStr, at: &Path) -> Result<Option<File>, Failed> {
        if !self.here.is_pseudo() {
            self.turn(name, at)?;
            return Ok(None);
        }
        openat(&self.here.descriptor, name, FILE | OFlags::TRUNC, Mode::empty())
            .map(|descriptor| Some(File::from(descriptor)))
            .map_err(|error| failed(at, "create", error))
    }

    /// Goes on where a link points to.
    fn turn(&mut self, name: &OsStr, at: &Path) -> Result<(), Failed> {
        let refused = |error| failed(at, "follow", error);
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(refused(Errno::LOOP));
        }
        let target = readlinkat(&self.here.descriptor, name, Vec::new()).map_err(refused)?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            let root = Path::new("/");
            self.here = Directory::open(CWD, root, root.to_owned()).map_err(refused)?;
        }
        for name in names(&target).into_iter().rev() {
            self.ahead.push_front(name);
        }
        Ok(())
    }

    fn create(&self, name: &OsStr) -> Result<File, Errno> {
        let flags = FILE | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        openat(&self.here.descriptor, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
    }

    /// What was found good by its name has to be good when it is open, too.
    fn open_existing(&self, name: &OsStr, kind: FileType) -> Result<File, Errno> {
        // A pipe waits for its reader, a regular file for nobody.
        let waiting = match kind {
            FileType::RegularFile => OFlags::NONBLOCK,
            _ => OFlags::empty(),
        };
        let descriptor = openat(
            &self.here.descriptor,
            name,
            FILE | OFlags::NOFOLLOW | waiting,
            Mode::empty(),
        )?;
        let opened = fstat(&descriptor)?;
        let replaced = self.here.exposed && is_removable(kind) && is_suspect(&opened);
        if FileType::from_raw_mode(opened.st_mode) != kind || replaced {
            return Err(Errno::STALE);
        }
        if kind == FileType::RegularFile {
            ftruncate(&descriptor, 0)?;
        }
        Ok(File::from(descriptor))
    }
}

impl Directory {
    fn open(from: impl std::os::fd::AsFd, name: &Path, path: PathBuf) -> Result<Self, Errno> {
        Self::of(
            openat(from, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?,
            path,
        )
    }

    fn follow(from: impl std::os::fd::AsFd, name: &OsStr, path: PathBuf) -> Result<Self, Errno> {
        Self::of(openat(from, name, DIRECTORY, Mode::empty())?, path)
    }

    fn of(descriptor: OwnedFd, path: PathBuf) -> Result<Self, Errno> {
        let found = fstat(&descriptor)?;
        let writable = Mode::from_raw_mode(found.st_mode).intersects(Mode::WGRP | Mode::WOTH);
        Ok(Self {
            exposed: writable || !is_trusted(found.st_uid),
            descriptor,
            path,
        })
    }

    /// Links in /proc lead to what no path names.
    fn is_pseudo(&self) -> bool {
        fstatfs(&self.descriptor).is_ok_and(|system| system.f_type == PROC_SUPER_MAGIC)
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
        .map(|component| component.as_os_str().to_owned())
        .collect()
}

/// Root can do all the marble can.
fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == geteuid().as_raw()
}

/// In an exposed directory another user may have made it.
fn is_suspect(found: &Stat) -> bool {
    let several = is_removable(FileType::from_raw_mode(found.st_mode)) && found.st_nlink > 1;
    several || !is_trusted(found.st_uid)
}

/// What any user can make, as opposed to devices; what stands in for it is made anew.
fn is_removable(kind: FileType) -> bool {
    matches!(kind, FileType::RegularFile | FileType::Symlink | FileType::Fifo)
}

fn is_readable_by_others(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
        && found.st_uid == geteuid().as_raw()
        && found.st_nlink == 1
        && Mode::from_raw_mode(found.st_mode).intersects(Mode::RWXG | Mode::RWXO)
}

fn failed(at: &Path, doing: &'static str, error: Errno) -> Failed {
    Failed {
        at: at.to_owned(),
        doing,
        source: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use rustix::fs::{Gid, Uid, chownat};

    use super::*;

    const STRANGER: u32 = 65_534;

    fn write(path: &Path) -> Result<(), String> {
        let mut file = open(path).map_err(|failed| {
            format!(
                "cannot {} {}: {}",
                failed.doing,
                failed.at.display(),
                failed.source
            )
        })?;
        file.write_all(b"secret").map_err(|error| error.to_string())
    }

    /// `None`, said loudly, where this user cannot give files away.
    fn give_away(path: &Path) -> Option<()> {
        let (user, group) = (Uid::from_raw(STRANGER), Gid::from_raw(STRANGER));
        let given = chownat(CWD, path, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW);
        if given.is_err() {
            eprintln!("SKIPPED: only root can give files to another user");
        }
        given.ok()
    }

    /// A directory as another user makes it for everybody.
    fn exposed() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        directory
    }

    fn is_ours_alone(path: &Path) -> bool {
        let found = std::fs::symlink_metadata(path).unwrap();
        found.is_file()
            && found.uid() == geteuid().as_raw()
            && found.mode() & 0o7777 == 0o600
            && found.nlink() == 1
    }

    #[test]
    fn what_another_user_put_there_gets_no_secret() {
        let directory = exposed();
        let path = directory.path().join("secret");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let mut held_open = File::open(&path).unwrap();
        if give_away(&path).is_none() {
            return;
        }
        write(&path).unwrap();
        assert!(is_ours_alone(&path));
        let mut seen = String::new();
        held_open.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "", "who had it open sees nothing");
    }

    #[test]
    fn a_file_others_could_read_before_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let mut held_open = File::open(&path).unwrap();
        write(&path).unwrap();
        assert!(is_ours_alone(&path));
        let mut seen = String::new();
        held_open.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "");
    }

    #[test]
    fn another_name_of_a_file_gets_no_secret() {
        let directory = exposed();
        let (path, other) = (directory.path().join("secret"), directory.path().join("other"));
        std::fs::write(&other, "as before").unwrap();
        std::fs::hard_link(&other, &path).unwrap();
        write(&path).unwrap();
        assert!(is_ours_alone(&path));
        assert_eq!(std::fs::read(&other).unwrap(), b"as before");
    }

    #[test]
    fn links_of_another_user_are_not_followed() {
        let (directory, target) = (exposed(), tempfile::tempdir().unwrap());
        let (file, folder) = (directory.path().join("file"), directory.path().join("folder"));
        std::fs::write(target.path().join("victim"), "as before").unwrap();
        symlink(target.path().join("victim"), &file).unwrap();
        symlink(target.path(), &folder).unwrap();
        if give_away(&file).and_then(|()| give_away(&folder)).is_none() {
            return;
        }
        write(&file).unwrap();
        assert!(is_ours_alone(&file));
        let refused = write(&folder.join("victim")).unwrap_err();
        let expected = format!(
            "cannot go through the symbolic link of another user {}: ",
            folder.display()
        );
        assert!(refused.starts_with(&expected), "{refused}");
        assert_eq!(std::fs::read(target.path().join("victim")).unwrap(), b"as before");
    }

    #[test]
    fn a_file_that_root_placed_for_another_user_stays_his() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "longer than what is written").unwrap();
        if give_away(&path).is_none() {
            return;
        }
        let before = std::fs::metadata(&path).unwrap().ino();
        write(&path).unwrap();
        let after = std::fs::metadata(&path).unwrap();
        assert_eq!((after.uid(), after.ino()), (STRANGER, before));
        assert_eq!(std::fs::read(&path).unwrap(), b"secret");
    }

    #[test]
    fn own_links_files_and_volumes_are_used_as_ever() {
        let (volume, data) = (exposed(), tempfile::tempdir().unwrap());
        symlink(data.path(), volume.path().join("..data")).unwrap();
        symlink("..data/key", volume.path().join("key")).unwrap();
        for _ in 0..2 {
            write(&volume.path().join("key")).unwrap();
            assert_eq!(std::fs::read(data.path().join("key")).unwrap(), b"secret");
            write(&volume.path().join("new/deep/../file")).unwrap();
            assert!(is_ours_alone(&volume.path().join("new/file")));
        }
        assert!(volume.path().join("key").is_symlink(), "it is left as it was");
        let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
        let before = inode(&data.path().join("key"));
        write(&data.path().join("key")).unwrap();
        assert_eq!(inode(&data.path().join("key")), before, "written in place");
    }

    #[test]
    fn devices_and_open_files_of_this_process_are_written_to() {
        write(Path::new("/dev/null")).unwrap();
        assert!(!std::fs::symlink_metadata("/dev/null").unwrap().is_file());
        // As /dev/stdout leads to what the process was started with.
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("stdout"));
        let stream = File::create(&target).unwrap();
        symlink(format!("/proc/self/fd/{}", stream.as_raw_fd()), &link).unwrap();
        write(&link).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"secret");
        assert!(link.is_symlink());
    }

    #[test]
    fn a_directory_or_a_circle_of_links_is_no_file() {
        let directory = tempfile::tempdir().unwrap();
        symlink("circle", directory.path().join("circle")).unwrap();
        assert!(
            write(&directory.path().join("circle"))
                .unwrap_err()
                .contains("cannot follow")
        );
        for path in ["", "new/", ".."] {
            let refused = write(&directory.path().join(path)).unwrap_err();
            assert!(refused.starts_with("cannot create"), "{refused}");
        }
    }
}
