//! The seal key of a Coordinator that only simulates an enclave: a file beside the state, which protects
//! nothing.

use std::path::Path;
use std::sync::Arc;

use marblerun_core::ambient::Dice;
use marblerun_core::sealed::KeyBinding;
use marblerun_core::secret::value::SecretBytes;
use zeroize::Zeroizing;

use super::{SealKeyError, SealKeys};
use crate::config::Simulation;
use crate::store::disk::{Directory, Disk as _, write_whole};

/// The file with the key, in the directory of the state. It is not `sealed_key`: whoever removes that one to
/// rehearse recovery must get recovery.
pub const KEY_FILE: &str = "simulation_seal_key";
/// The file while it is being written.
pub(crate) const NEW_KEY_FILE: &str = "simulation_seal_key.new";

/// Length of the key in bytes.
const KEY_LENGTH: usize = 32;

/// A key in a file, made when it is first asked for.
pub struct SimulationSealKeys {
    disk: Directory,
    dice: Arc<dyn Dice>,
}

impl SimulationSealKeys {
    /// The key of the state in `directory`, which is made if it is not there. The caller holds the lock of
    /// that directory. Says loudly that nothing is protected.
    ///
    /// # Errors
    /// [`SealKeyError::Failed`] if there can be no such directory.
    pub fn new(_: Simulation, directory: &Path, dice: Arc<dyn Dice>) -> Result<Self, SealKeyError> {
        let disk = Directory::open(directory).map_err(|error| SealKeyError::Failed {
            path: directory.to_owned(),
            reason: error.to_string(),
        })?;
        tracing::warn!(
            file = %disk.path(KEY_FILE).display(),
            "SIMULATION: the key that protects the state lies in a file beside it; \
             whoever can read the directory can read every secret"
        );
        Ok(Self { disk, dice })
    }
}

impl SealKeys for SimulationSealKeys {
    /// Both bindings give the same key; the wrap keys derived from it differ.
    fn seal_key(&self, _: KeyBinding) -> Result<SecretBytes, SealKeyError> {
        let failed = |reason: String| SealKeyError::Failed {
            path: self.disk.path(KEY_FILE),
            reason,
        };
        let found = self
            .disk
            .read(KEY_FILE, KEY_LENGTH as u64)
            .map_err(|error| failed(error.to_string()))?;
        if let Some(key) = found.map(Zeroizing::new) {
            return match key.len() {
                KEY_LENGTH => Ok(SecretBytes::copy_from(&key)),
                other => Err(failed(format!("it has {other} bytes, expected {KEY_LENGTH}"))),
            };
        }
        let key = SecretBytes::fill_with(KEY_LENGTH, |bytes| self.dice.fill(bytes));
        write_whole(&self.disk, KEY_FILE, key.expose()).map_err(|error| failed(error.to_string()))?;
        Ok(key)
    }

    fn name(&self) -> &'static str {
        "simulation"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use marblerun_attestation::SimulationMode;

    use super::*;
    use crate::dice::AwsDice;

    fn keys(directory: &Path) -> SimulationSealKeys {
        SimulationSealKeys::new(
            Simulation::Lenient(SimulationMode::by_explicit_configuration()),
            directory,
            Arc::new(AwsDice),
        )
        .unwrap()
    }

    #[test]
    fn the_key_is_made_when_asked_for_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let keys_now = keys(directory.path());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let key = keys_now.seal_key(KeyBinding::Product).unwrap();
        assert_eq!(key.len(), 32);
        assert!(keys(directory.path()).seal_key(KeyBinding::Unique).unwrap() == key);
        let file = directory.path().join(KEY_FILE);
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::remove_file(&file).unwrap();
        assert!(keys_now.seal_key(KeyBinding::Product).unwrap() != key);
    }

    #[test]
    fn a_damaged_key_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        for wrong in [0, 31, 33] {
            std::fs::write(directory.path().join(KEY_FILE), vec![1; wrong]).unwrap();
            let error = keys(directory.path())
                .seal_key(KeyBinding::Product)
                .err()
                .unwrap();
            assert!(error.to_string().contains(KEY_FILE), "{error}");
            assert_eq!(
                std::fs::metadata(directory.path().join(KEY_FILE)).unwrap().len(),
                wrong as u64
            );
        }
    }
}
