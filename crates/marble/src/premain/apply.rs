//! Files the manifest gives a marble.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use marblerun_attestation::issue::Environment;
use marblerun_wire::marble::Parameters;

use super::place::{self, Failed};

/// Why parameters cannot be applied. Names only, never contents.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A file cannot be written.
    #[error("file {path:?} of the manifest: cannot {doing} {}: {source}", at.display())]
    File {
        /// As in the manifest.
        path: String,
        /// File or directory the operation was about.
        at: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A path no file can have.
    #[error("file {path:?} of the manifest: expected a path that is not empty and holds no NUL")]
    Path {
        /// As in the manifest.
        path: String,
    },
    /// A name no variable can have.
    #[error(
        "environment variable {name:?} of the manifest: expected a name that is not empty and holds no = or NUL"
    )]
    VariableName {
        /// As in the manifest.
        name: String,
    },
    /// A value no variable can have.
    #[error("environment variable {name:?} of the manifest: expected a value without NUL bytes")]
    VariableValue {
        /// As in the manifest.
        name: String,
    },
}

/// Refuses what the system could not take, before anything is written.
pub(super) fn check(parameters: &Parameters) -> Result<(), ApplyError> {
    if let Some(path) = parameters
        .files
        .keys()
        .find(|path| path.is_empty() || path.contains('\0'))
    {
        return Err(ApplyError::Path { path: path.clone() });
    }
    for (name, value) in &parameters.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(ApplyError::VariableName { name: name.clone() });
        }
        if value.contains(&0) {
            return Err(ApplyError::VariableValue { name: name.clone() });
        }
    }
    Ok(())
}

/// Writes all files. Under Gramine the keys come first: other files may lie in what they encrypt.
pub(super) fn write_files(
    environment: Environment,
    root: &Path,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(), ApplyError> {
    let gramine = environment == Environment::Gramine;
    let (keys, others): (Vec<_>, Vec<_>) = files
        .iter()
        .partition(|(path, _)| gramine && is_gramine_key(path));
    for (path, content) in keys {
        write_key(path, &below(root, path), content)?;
        tracing::debug!(path, "key handed to Gramine");
    }
    for (path, content) in others {
        write_file(environment, path, &below(root, path), content)?;
        tracing::debug!(path, "file written");
    }
    Ok(())
}

/// Absolute paths lie below `root`; relative ones start from the working directory.
pub(super) fn below(root: &Path, path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    path.strip_prefix("/")
        .map_or_else(|_| path.to_owned(), |relative| root.join(relative))
}

fn is_gramine_key(path: &str) -> bool {
    path.starts_with("/dev/attestation/keys/") || path == "/dev/attestation/protected_files_key"
}

/// A pseudo-file: Gramine has it or not, and it has no mode.
fn write_key(path: &str, at: &Path, content: &[u8]) -> Result<(), ApplyError> {
    OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(at)
        .and_then(|mut file| file.write_all(content))
        .map_err(|source| failed(path, at, "write", source))
}

/// Directories are made with mode 0700. A file is not written beside and renamed, because single files may be mounted;
/// its mode is 0600 before the first byte of content is in it.
fn write_file(environment: Environment, path: &str, at: &Path, content: &[u8]) -> Result<(), ApplyError> {
    write_at(environment, at, content)
        .map_err(|refused| failed(path, &refused.at, refused.doing, refused.source))
}

/// Writes one file as those of the manifest are written.
pub(super) fn write_at(environment: Environment, at: &Path, content: &[u8]) -> Result<(), Failed> {
    let refused = |doing, source| Failed {
        at: at.to_owned(),
        doing,
        source,
    };
    let mut file = match environment {
        // One user, and what the host does to files is for their mounts to prevent.
        Environment::Gramine | Environment::Occlum => open_plainly(at)?,
        Environment::ConfidentialVm | Environment::Plain => place::open(at)?,
    };
    restrict(&file).map_err(|source| refused("set mode 0600 of", source))?;
    file.write_all(content).map_err(|source| refused("write", source))
}

/// In a library operating system, of whose calls this takes the usual ones.
fn open_plainly(at: &Path) -> Result<File, Failed> {
    let refused = |at: &Path, doing, source| Failed {
        at: at.to_owned(),
        doing,
        source,
    };
    if let Some(directory) = at.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| refused(directory, "make directory", source))?;
    }
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(at)
        .map_err(|source| refused(at, "create", source))
}

/// A file that was there before keeps its mode when it is opened. Devices and pipes keep theirs.
fn restrict(file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.permissions().mode() & 0o7777 != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn failed(path: &str, at: &Path, doing: &'static str, source: io::Error) -> ApplyError {
    ApplyError::File {
        path: path.to_owned(),
        at: at.to_owned(),
        doing,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
        files
            .iter()
            .map(|(path, content)| ((*path).to_owned(), content.to_vec()))
            .collect()
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn files_and_new_directories_are_for_the_marble_alone() {
        let root = tempfile::tempdir().unwrap();
        let old = root.path().join("old");
        std::fs::create_dir(&old).unwrap();
        std::fs::set_permissions(&old, Permissions::from_mode(0o755)).unwrap();
        std::fs::write(old.join("file"), "longer than before").unwrap();
        std::fs::set_permissions(old.join("file"), Permissions::from_mode(0o644)).unwrap();

        let files = files(&[("/new/deep/file", b"\0one"), ("/old/file", b"two"), ("/top", b"")]);
        write_files(Environment::Plain, root.path(), &files).unwrap();

        for (path, content) in &files {
            let path = below(root.path(), path);
            assert_eq!(&std::fs::read(&path).unwrap(), content);
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        assert_eq!(mode(&root.path().join("new")), 0o700);
        assert_eq!(mode(&root.path().join("new/deep")), 0o700);
        assert_eq!(mode(&old), 0o755, "a directory that was there is left as it was");
    }

    #[test]
    fn a_path_without_root_starts_from_the_working_directory() {
        assert_eq!(below(Path::new("/root"), "/a/b"), Path::new("/root/a/b"));
        assert_eq!(below(Path::new("/root"), "a/b"), Path::new("a/b"));
        assert_eq!(below(Path::new("/"), "/a/b"), Path::new("/a/b"));
    }

    #[test]
    fn under_gramine_the_keys_come_first_and_are_never_made() {
        let root = tempfile::tempdir().unwrap();
        let keys = root.path().join("dev/attestation/keys");
        std::fs::create_dir_all(&keys).unwrap();
        // The file of this name sorts before the key, and its directory cannot be made.
        std::fs::write(root.path().join("dev/a"), "").unwrap();
        std::fs::write(keys.join("default"), "").unwrap();
        let given = files(&[
            ("/dev/a/file", b"content"),
            ("/dev/attestation/keys/default", b"0123456789abcdef"),
        ]);
        let refused = write_files(Environment::Gramine, root.path(), &given)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("\"/dev/a/file\" of the manifest: cannot make directory"),
            "{refused}"
        );
        assert_eq!(std::fs::read(keys.join("default")).unwrap(), b"0123456789abcdef");

        let given = files(&[("/dev/attestation/protected_files_key", b"00")]);
        let refused = write_files(Environment::Gramine, root.path(), &given)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("protected_files_key\" of the manifest: cannot write"),
            "{refused}"
        );
        write_files(Environment::Plain, root.path(), &given).unwrap();
        assert_eq!(
            mode(&root.path().join("dev/attestation/protected_files_key")),
            0o600
        );
    }

    #[test]
    fn names_and_values_the_system_cannot_take_are_refused_without_showing_values() {
        let refused = |path: &str, name: &str, value: &[u8]| {
            let mut parameters = Parameters::default();
            parameters.files.insert(path.into(), Vec::new());
            parameters.env.insert(name.into(), value.to_vec());
            check(&parameters).unwrap_err().to_string()
        };
        for path in ["", "/a\0b"] {
            assert!(refused(path, "A", b"").starts_with(&format!("file {path:?} of the manifest: ")));
        }
        for name in ["", "A=B", "A\0"] {
            assert!(
                refused("/a", name, b"")
                    .starts_with(&format!("environment variable {name:?} of the manifest"))
            );
        }
        let message = refused("/a", "TOKEN", b"sec\0ret");
        assert_eq!(
            message,
            "environment variable \"TOKEN\" of the manifest: expected a value without NUL bytes"
        );
    }

    #[test]
    fn a_directory_in_the_place_of_a_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("place")).unwrap();
        let message = write_files(Environment::Plain, root.path(), &files(&[("/place", b"x")]))
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("file \"/place\" of the manifest: cannot create "),
            "{message}"
        );
    }
}
