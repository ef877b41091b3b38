//! Enclaves without a seal key.

use marblerun_core::sealed::KeyBinding;
use marblerun_core::secret::value::SecretBytes;

use super::{SealKeyError, SealKeys};

/// A TEE that has no seal key: nothing but recovery opens the state, after each restart.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSealKeys;

impl SealKeys for NoSealKeys {
    fn seal_key(&self, _: KeyBinding) -> Result<SecretBytes, SealKeyError> {
        Err(SealKeyError::NoSealKey {
            provider: self.name(),
        })
    }

    fn name(&self) -> &'static str {
        "this TEE"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_none() {
        for binding in [KeyBinding::Product, KeyBinding::Unique] {
            assert!(matches!(
                NoSealKeys.seal_key(binding),
                Err(SealKeyError::NoSealKey { .. })
            ));
        }
    }
}
