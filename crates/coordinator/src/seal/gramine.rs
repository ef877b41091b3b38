//! Seal keys of an SGX enclave under Gramine, which shows them as files
//! (Gramine documentation, "Attestation and Secret Provisioning": special keys).

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use marblerun_core::sealed::KeyBinding;
use marblerun_core::secret::value::SecretBytes;
use zeroize::Zeroizing;

use super::{SealKeyError, SealKeys};

/// Length of a seal key of SGX in bytes.
const KEY_LENGTH: usize = 16;

/// The seal keys bound to signer and product (`_sgx_mrsigner`) and to the measurement (`_sgx_mrenclave`).
#[derive(Debug, Clone)]
pub struct GramineSealKeys {
    directory: PathBuf,
}

impl GramineSealKeys {
    /// The keys of the enclave this process runs in.
    pub fn new() -> Self {
        Self::below(Path::new("/"))
    }

    /// The keys of a tree that stands in for the root of the file system.
    pub fn below(root: &Path) -> Self {
        Self {
            directory: root.join("dev/attestation/keys"),
        }
    }
}

impl Default for GramineSealKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl SealKeys for GramineSealKeys {
    fn seal_key(&self, binding: KeyBinding) -> Result<SecretBytes, SealKeyError> {
        let path = self.directory.join(match binding {
            KeyBinding::Product => "_sgx_mrsigner",
            KeyBinding::Unique => "_sgx_mrenclave",
        });
        // One byte more than a key has, so that a longer one is seen. Reads need not give all at once.
        let mut bytes = Zeroizing::new([0; KEY_LENGTH + 1]);
        let mut length = 0;
        let read = File::open(&path).and_then(|mut file| {
            while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
                match file.read(rest)? {
                    0 => break,
                    count => length += count,
                }
            }
            Ok(())
        });
        match (read, bytes.get(..length)) {
            (Err(error), _) => Err(SealKeyError::Failed {
                path,
                reason: error.to_string(),
            }),
            (Ok(()), Some(key)) if length == KEY_LENGTH => Ok(SecretBytes::copy_from(key)),
            _ => {
                let reason = format!("it has not {KEY_LENGTH} bytes");
                Err(SealKeyError::Failed { path, reason })
            }
        }
    }

    fn name(&self) -> &'static str {
        "SGX (Gramine)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(product: &[u8], unique: &[u8]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let keys = root.path().join("dev/attestation/keys");
        std::fs::create_dir_all(&keys).unwrap();
        std::fs::write(keys.join("_sgx_mrsigner"), product).unwrap();
        std::fs::write(keys.join("_sgx_mrenclave"), unique).unwrap();
        root
    }

    #[test]
    fn each_binding_has_its_key() {
        let root = tree(&[1; 16], &[2; 16]);
        let keys = GramineSealKeys::below(root.path());
        assert!(keys.seal_key(KeyBinding::Product).unwrap().expose() == [1; 16]);
        assert!(keys.seal_key(KeyBinding::Unique).unwrap().expose() == [2; 16]);
    }

    #[test]
    fn anything_but_sixteen_bytes_is_refused_by_name() {
        for wrong in [0, 15, 17, 4096] {
            let root = tree(&vec![1; wrong], &[2; 16]);
            let error = GramineSealKeys::below(root.path())
                .seal_key(KeyBinding::Product)
                .err()
                .unwrap();
            assert!(error.to_string().contains("_sgx_mrsigner"), "{error}");
            assert!(error.to_string().contains("16 bytes"), "{error}");
        }
    }

    #[test]
    fn a_missing_device_is_a_failure_and_not_a_missing_key() {
        let root = tempfile::tempdir().unwrap();
        let error = GramineSealKeys::below(root.path())
            .seal_key(KeyBinding::Unique)
            .err()
            .unwrap();
        assert!(matches!(error, SealKeyError::Failed { path, .. } if path.ends_with("keys/_sgx_mrenclave")));
    }
}
