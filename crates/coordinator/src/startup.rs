//! The startup manifest (`spec/11`): set when the Coordinator starts without one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use marblerun_core::flow::inspect;
use marblerun_core::manifest::Name;
use marblerun_core::phase::Phase;
use marblerun_core::refusal::{Refusal, RefusalKind};
use marblerun_wire::rest::{Base64Bytes, to_body, v2};

use crate::service::Service;
use crate::store::disk::{Directory, write_whole};

/// Where the recovery secrets go, in the directory of the sealed state.
pub const RECOVERY_SECRETS_FILE: &str = "recovery_secrets.json";
/// The file while it is being written.
pub const NEW_RECOVERY_SECRETS_FILE: &str = "recovery_secrets.json.new";

/// Why the startup manifest ends the start.
#[derive(Debug, thiserror::Error)]
pub enum StartupManifestError {
    /// It cannot be read.
    #[error("the startup manifest {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was refused, or its recovery secrets could not be kept.
    #[error("the startup manifest {} was refused: {refusal}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
}

/// Sets the manifest at `path`, if the Coordinator is ready to accept one. The recovery secrets are in
/// `seal_directory` before the state is.
///
/// A manifest that is set already stays: quietly when it is this one, with a warning when it is another. In
/// recovery the startup manifest is never set, with a warning: it would end the hope of recovering.
///
/// # Errors
/// [`StartupManifestError`] if it cannot be read, is refused, or its recovery secrets cannot be written.
pub async fn set(service: &Service, path: &Path, seal_directory: &Path) -> Result<(), StartupManifestError> {
    let raw = read(path, service.limits().bytes).map_err(|source| StartupManifestError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let state = service.snapshot();
    match state.phase() {
        Phase::Recovery => {
            tracing::warn!("the startup manifest is not set: the Coordinator is in recovery mode");
            return Ok(());
        }
        Phase::AcceptingMarbles => {
            if inspect::manifest(&state).is_none_or(|set| *set.raw != *raw) {
                tracing::warn!("the startup manifest is not set: another manifest is set already and stays");
            }
            return Ok(());
        }
        Phase::AcceptingManifest => {}
    }
    let seal_directory = seal_directory.to_owned();
    let keep = move |secrets: &BTreeMap<Name, Vec<u8>>| keep(&seal_directory, secrets);
    let set = service
        .set_manifest(raw, keep)
        .await
        .map_err(|refusal| StartupManifestError::Refused {
            path: path.to_owned(),
            refusal,
        })?;
    for warning in &set.warnings {
        tracing::warn!(warning, "the startup manifest was set with a warning");
    }
    tracing::info!("the startup manifest was set");
    Ok(())
}

/// Reads one byte more than a manifest may have, so that the rules refuse what is too large.
fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut raw = Vec::new();
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut raw)?;
    Ok(raw)
}

/// Writes the encrypted recovery secrets so that they survive a power cut; nothing to write without any.
fn keep(seal_directory: &Path, secrets: &BTreeMap<Name, Vec<u8>>) -> Result<(), Refusal> {
    if secrets.is_empty() {
        return Ok(());
    }
    let failed = |error: &dyn std::fmt::Display| {
        let message = format!(
            "the recovery secrets cannot be written to {}: {error}",
            seal_directory.join(RECOVERY_SECRETS_FILE).display()
        );
        Refusal::new(RefusalKind::Unavailable, message)
    };
    let recovery_secrets = secrets
        .iter()
        .map(|(name, secret)| (name.to_string(), Base64Bytes(secret.clone())))
        .collect();
    let body = to_body(&v2::ManifestSet { recovery_secrets }).map_err(|error| failed(&error))?;
    Directory::open(seal_directory)
        .and_then(|directory| write_whole(&directory, RECOVERY_SECRETS_FILE, &body))
        .map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn recovery_secrets_are_kept_for_their_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(RECOVERY_SECRETS_FILE);
        keep(directory.path(), &BTreeMap::new()).unwrap();
        assert!(!file.exists());
        keep(directory.path(), &[("one".into(), b"sealed".to_vec())].into()).unwrap();
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "{\"RecoverySecrets\":{\"one\":\"c2VhbGVk\"}}\n"
        );
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

        let refusal = keep(Path::new("/dev/null/recovery"), &[("one".into(), vec![1])].into()).unwrap_err();
        assert!(refusal.message().contains("/dev/null/recovery"), "{refusal}");
    }
}
