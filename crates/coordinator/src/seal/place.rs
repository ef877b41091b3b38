//! Who may change or read the directory of the sealed state, besides the Coordinator.
//!
//! Nobody can forge what is in it, but who may write there can put back an old state, remove it, or hold the lock. What
//! is in it is encrypted, but in simulation the key lies beside it.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::process::geteuid;

/// Writing for the group and for all.
const OTHERS_WRITE: u32 = 0o022;
/// Reading for the group and for all.
const OTHERS_READ: u32 = 0o044;

/// Looks at the directory and the files in it, once they are there. Files of the Coordinator's user that others may
/// write or read get mode 0600, unless they have a second name (a hard link) somewhere else; the directory is left as it
/// is, since it may be a volume whose mode is somebody else's affair. Tells, one line each, what was changed and what
/// should be.
///
/// # Errors
/// The directory cannot be read.
pub fn close_to_others(directory: &Path) -> io::Result<Vec<String>> {
    let mut notices = Vec::new();
    let found = fs::metadata(directory)?;
    if let Some(reason) = open_to_others(&found) {
        notices.push(format!(
            "the directory of the sealed state {} {reason}: other users can put back an old state or delete it; \
             give it to the Coordinator's user, mode 0700",
            directory.display()
        ));
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        // What is removed meanwhile needs no care, and links are nothing the Coordinator makes.
        let Ok(found) = fs::symlink_metadata(&path) else {
            continue;
        };
        let readable = (found.mode() & OTHERS_READ != 0).then_some("could be read by others");
        let Some(reason) = open_to_others(&found).or(readable).filter(|_| found.is_file()) else {
            continue;
        };
        let closed = found.uid() == geteuid().as_raw()
            && found.nlink() == 1
            && fs::set_permissions(&path, Permissions::from_mode(0o600)).is_ok();
        let now = if closed {
            "now only its owner can"
        } else {
            "it stays so"
        };
        notices.push(format!("the file {} {reason}; {now}", path.display()));
    }
    notices.sort();
    Ok(notices)
}

fn open_to_others(found: &Metadata) -> Option<&'static str> {
    if ![0, geteuid().as_raw()].contains(&found.uid()) {
        Some("belongs to another user")
    } else if found.mode() & OTHERS_WRITE != 0 {
        Some("can be written by others")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_private_needs_no_words() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("lock"), "").unwrap();
        for (files, folder) in [(0o600, 0o700), (0o400, 0o755)] {
            set_mode(&directory.path().join("lock"), files);
            set_mode(directory.path(), folder);
            assert_eq!(close_to_others(directory.path()).unwrap(), Vec::<String>::new());
            assert_eq!(mode(&directory.path().join("lock")), files);
        }
    }

    #[test]
    fn files_are_closed_and_directories_complained_about() {
        let directory = tempfile::tempdir().unwrap();
        let lock = directory.path().join("lock");
        fs::write(&lock, "").unwrap();
        for folder in [0o777, 0o770, 0o1777] {
            set_mode(&lock, 0o666);
            set_mode(directory.path(), folder);
            let notices = close_to_others(directory.path()).unwrap();
            let [of_directory, of_file] = &notices[..] else {
                panic!("{notices:?}")
            };
            assert!(
                of_directory.contains("can be written by others"),
                "{of_directory}"
            );
            assert!(
                of_file.contains("lock can be written by others; now only"),
                "{of_file}"
            );
            assert_eq!((mode(&lock), mode(directory.path())), (0o600, folder));
        }
    }

    #[test]
    fn files_that_could_be_read_are_closed_and_that_is_told() {
        let directory = tempfile::tempdir().unwrap();
        set_mode(directory.path(), 0o755);
        for name in ["sealed_data", "sealed_key", "simulation_seal_key", "lock"] {
            let file = directory.path().join(name);
            fs::write(&file, "").unwrap();
            for open in [0o644, 0o640, 0o604] {
                set_mode(&file, open);
                let notices = close_to_others(directory.path()).unwrap();
                let expected = format!("{name} could be read by others; now only its owner can");
                assert!(
                    notices.len() == 1 && notices[0].ends_with(&expected),
                    "{notices:?}"
                );
                assert_eq!(mode(&file), 0o600);
            }
        }
    }

    #[test]
    fn the_mode_of_a_file_elsewhere_is_not_changed() {
        let base = tempfile::tempdir().unwrap();
        let victim = base.path().join("victim");
        fs::write(&victim, "").unwrap();
        set_mode(&victim, 0o644);
        let directory = base.path().join("place");
        fs::create_dir(&directory).unwrap();
        set_mode(&directory, 0o700);
        fs::hard_link(&victim, directory.join("sealed_key")).unwrap();
        std::os::unix::fs::symlink(&victim, directory.join("sealed_data")).unwrap();
        let notices = close_to_others(&directory).unwrap();
        assert!(
            notices.len() == 1 && notices[0].ends_with("sealed_key could be read by others; it stays so"),
            "{notices:?}"
        );
        assert_eq!(mode(&victim), 0o644);
    }

    #[test]
    fn another_owner_is_told() {
        let directory = tempfile::tempdir().unwrap();
        if std::os::unix::fs::chown(directory.path(), Some(65_534), None).is_err() {
            eprintln!("SKIPPED: only root can give files to another user");
            return;
        }
        let notices = close_to_others(directory.path()).unwrap();
        assert!(
            notices.len() == 1 && notices[0].contains("belongs to another user"),
            "{notices:?}"
        );
    }
}
