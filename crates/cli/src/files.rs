//! Files that the commands read and write.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use zeroize::Zeroizing;

/// Reads a file of at most `limit` bytes.
pub fn read(path: &Path, limit: usize) -> Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut content = Vec::new();
    file.take(limit as u64 + 1)
        .read_to_end(&mut content)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if content.len() > limit {
        bail!("{} is longer than {limit} bytes", path.display());
    }
    Ok(content)
}

/// Refuses a pipe that has a name in a directory: whoever opens it waits for somebody to write, possibly for ever. A pipe
/// that is open already, as that of `<(command)` in a shell, has a writer, and none of the names it can be reached by is
/// one of a file.
pub fn refuse_named_pipe(path: &Path) -> Result<()> {
    let is_pipe = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    if is_pipe && fs::canonicalize(path).is_ok() {
        bail!("{} is a named pipe: expected a regular file", path.display());
    }
    Ok(())
}

/// Reads a file that holds a secret, as [`read`] does, into a buffer that leaves no copies behind.
pub fn read_secret(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut content = Zeroizing::new(Vec::new());
    let mut chunk = Zeroizing::new([0; 16 << 10]);
    loop {
        let length = match file.read(&mut *chunk) {
            Ok(0) => return Ok(content),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let needed = content.len().saturating_add(length);
        if needed > limit {
            bail!("{} is longer than {limit} bytes", path.display());
        }
        if needed > content.capacity() {
            // Grown by hand: what a vector leaves behind when it moves is not wiped.
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.saturating_mul(2)));
            larger.extend_from_slice(&content);
            content = larger;
        }
        content.extend_from_slice(chunk.get(..length).unwrap_or_default());
    }
}

/// Makes sure that a file can be written, before something is done whose result belongs there. What the file
/// holds stays as it is. Tells whether the file was made by this.
pub fn probe(path: &Path) -> Result<bool> {
    let existed = path.exists();
    open(path)?;
    Ok(!existed)
}

/// Writes a file of mode 0600, in place of what was there.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    let mut file = open(path)?;
    let context = || format!("cannot write {}", path.display());
    // Pipes and devices keep their mode and have no length.
    if file.metadata().with_context(context)?.is_file() {
        file.set_permissions(Permissions::from_mode(0o600))
            .with_context(context)?;
        file.set_len(0).with_context(context)?;
    }
    file.write_all(content)
        .and_then(|()| file.flush())
        .with_context(context)
}

/// Writes a new file of mode 0600.
///
/// # Errors
/// There is such a file already: it stays as it is.
pub fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    let mut file = match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is there already and is not overwritten", path.display())
        }
        other => other.with_context(|| format!("cannot write {}", path.display()))?,
    };
    file.write_all(content)
        .and_then(|()| file.flush())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Makes the directories above a file, for this user alone.
pub fn make_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .with_context(|| format!("cannot make the directory {}", parent.display())),
        _ => Ok(()),
    }
}

/// Where the Coordinator's certificates are pinned when no flag says otherwise.
pub fn default_pin() -> Result<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let config = match (variable("XDG_CONFIG_HOME"), variable("HOME")) {
        (Some(config), _) => config,
        (None, Some(home)) => home.join(".config"),
        (None, None) => bail!("neither XDG_CONFIG_HOME nor HOME is set: name a file with --coordinator-cert"),
    };
    Ok(config.join("marblerun").join("coordinator-cert.pem"))
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_files_are_read_whole_and_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let content: Vec<u8> = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
        fs::write(&path, &content).unwrap();
        assert_eq!(*read_secret(&path, content.len()).unwrap(), content);
        let error = read_secret(&path, content.len() - 1).unwrap_err().to_string();
        assert!(error.ends_with("is longer than 99999 bytes"), "{error}");
        let error = read_secret(directory.path(), 10).unwrap_err().to_string();
        assert!(error.starts_with("cannot read "), "{error}");
        let error = read_secret(&path.join("x"), 10).unwrap_err().to_string();
        assert!(error.starts_with("cannot open "), "{error}");
    }
}
