//! Files that the commands read and write.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

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
