//! The file that keeps a marble's UUID from one start to the next.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;
use uuid::Uuid;

/// Why there is no UUID.
#[derive(Debug, thiserror::Error)]
pub enum UuidFileError {
    /// The file cannot be read or made.
    #[error("UUID file {}: cannot {doing} it: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// It holds something else.
    #[error("UUID file {} holds no UUID: expected its 36 characters, found {found}", path.display())]
    NoUuid {
        /// Which.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// No random bytes.
    #[error("the system gives no random bytes for a UUID")]
    NoRandomness,
}

/// The UUID in the file at `path`; when there is no such file, a new one (v4), which the file then holds.
///
/// # Errors
/// [`UuidFileError`] names the file. A file with other content is never overwritten: whoever made it meant
/// something by it.
pub(super) fn read_or_create(path: &Path) -> Result<Uuid, UuidFileError> {
    if let Some(uuid) = read(path)? {
        return Ok(uuid);
    }
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| UuidFileError::NoRandomness)?;
    let uuid = uuid::Builder::from_random_bytes(random).into_uuid();
    match create(path, &uuid.to_string()) {
        Ok(()) => Ok(uuid),
        // Someone was quicker, and theirs counts.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| failed(path, "create", error))
        }
        Err(error) => Err(failed(path, "create", error)),
    }
}

fn read(path: &Path) -> Result<Option<Uuid>, UuidFileError> {
    let mut content = Vec::new();
    match open(path).and_then(|file| {
        warn_of_writers(path, &file)?;
        file.take(LIMIT).read_to_end(&mut content)
    }) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, "read", error)),
    }
    let no_uuid = |found: String| UuidFileError::NoUuid {
        path: path.to_owned(),
        found,
    };
    let text = content.strip_suffix(b"\n").unwrap_or(&content);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.len() != UUID_LENGTH {
        let more = if content.len() as u64 == LIMIT {
            " or more"
        } else {
            ""
        };
        return Err(no_uuid(format!("{}{more} bytes", content.len())));
    }
    match Uuid::try_parse_ascii(text) {
        Ok(uuid) if uuid.is_nil() => Err(no_uuid("the nil UUID".to_owned())),
        Ok(uuid) => Ok(Some(uuid)),
        Err(error) => Err(no_uuid(format!("other characters ({error})"))),
    }
}

/// A pipe would be waited for, and a device may do anything.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.union(OFlags::NOCTTY).bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("expected a regular file"))
    }
}

/// Who chooses the UUID chooses which private keys the marble gets.
fn warn_of_writers(path: &Path, file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    let writers = if ![0, rustix::process::geteuid().as_raw()].contains(&metadata.uid()) {
        "it belongs to another user"
    } else if metadata.mode() & 0o022 != 0 {
        "others may write it"
    } else {
        return Ok(());
    };
    tracing::warn!(
        uuid_file = %path.display(),
        "the UUID file can be changed by other users, who so choose which private keys this marble gets: {writers}"
    );
    Ok(())
}

const UUID_LENGTH: usize = 36;

/// Enough for a UUID and to see that there is more.
const LIMIT: u64 = 64;

/// Writes beside, then renames: after a crash there is either the whole file or none.
fn create(path: &Path, text: &str) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or(ErrorKind::InvalidFilename)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}", std::process::id()));
    let beside = directory.join(beside);

    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| rename_without_replacing(&beside, path));
    if written.is_err() {
        drop(std::fs::remove_file(&beside));
    }
    written?;
    sync_directory(directory)
}

/// Library operating systems and some file systems rename, but cannot promise not to replace.
fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => std::fs::rename(from, to),
        outcome => Ok(outcome?),
    }
}

/// Makes the name durable. Where directories cannot be synchronised (library operating systems, some network file
/// systems) a crash may cost the name, and the marble gets a new UUID.
fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(
                    Errno::INVAL
                        | Errno::NOSYS
                        | Errno::OPNOTSUPP
                        | Errno::ISDIR
                        | Errno::BADF
                        | Errno::ACCESS
                )
            ) =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

fn failed(path: &Path, doing: &'static str, source: io::Error) -> UuidFileError {
    UuidFileError::File {
        path: path.to_owned(),
        doing,
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const UUID: &str = "68a9a66e-4a52-4b3d-8e0b-0f6c2c6b2d11";

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_new_uuid_is_kept() {
        let directory = directory();
        let path = directory.path().join("uuid");
        let uuid = read_or_create(&path).unwrap();
        assert_eq!(uuid.get_version_num(), 4);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), uuid.to_string());
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        assert_eq!(read_or_create(&path).unwrap(), uuid);
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn a_newline_and_upper_case_are_tolerated() {
        let directory = directory();
        let path = directory.path().join("uuid");
        for content in [
            UUID.to_owned(),
            format!("{UUID}\n"),
            format!("{UUID}\r\n"),
            UUID.to_uppercase(),
        ] {
            std::fs::write(&path, &content).unwrap();
            assert_eq!(read_or_create(&path).unwrap().to_string(), UUID);
            assert_eq!(
                std::fs::read_to_string(&path).unwrap(),
                content,
                "it is left as it was"
            );
        }
    }

    #[test]
    fn other_content_is_refused_and_left_alone() {
        let directory = directory();
        let path = directory.path().join("uuid");
        let nil = Uuid::nil().to_string();
        let long = "x".repeat(100);
        let not_hex = UUID.replace('6', "g");
        for content in [
            "",
            "\n",
            &UUID[..35],
            &format!("{UUID}\n\n"),
            &format!(" {UUID}"),
            &nil,
            &long,
            &not_hex,
        ] {
            std::fs::write(&path, content).unwrap();
            let message = read_or_create(&path).unwrap_err().to_string();
            let expected = format!(
                "UUID file {} holds no UUID: expected its 36 characters, found ",
                path.display()
            );
            assert!(message.starts_with(&expected), "{message}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_the_file() {
        let directory = directory();
        let path = directory.path().join("absent/uuid");
        let message = read_or_create(&path).unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("UUID file {}: cannot create it: ", path.display())),
            "{message}"
        );
        let message = read_or_create(directory.path()).unwrap_err().to_string();
        assert!(message.contains(": cannot read it: "), "{message}");
    }

    #[test]
    fn whoever_is_quicker_counts() {
        let directory = directory();
        let path = directory.path().join("uuid");
        std::fs::write(&path, UUID).unwrap();
        let error = create(&path, "another").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), UUID);
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            1,
            "nothing else is left"
        );
    }
}
