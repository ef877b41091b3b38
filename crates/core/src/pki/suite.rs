//! The two sets of algorithms a deployment can be made with (`spec/03`, "Crypto suite").

use std::fmt;
use std::str::FromStr;

use super::key::{KeyKind, SignatureHash};

/// Which algorithms a deployment uses; fixed when its state is first created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CryptoSuite {
    /// `p256-aes128`: ECDSA P-256 with SHA-256, state under AES-128-GCM.
    #[default]
    P256Aes128,
    /// `p384-aes256`: ECDSA P-384 with SHA-384, state under AES-256-GCM.
    P384Aes256,
}

impl CryptoSuite {
    /// Both, in the order they are documented.
    pub const ALL: [Self; 2] = [Self::P256Aes128, Self::P384Aes256];

    /// The name in configuration and state.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256Aes128 => "p256-aes128",
            Self::P384Aes256 => "p384-aes256",
        }
    }

    /// The suite of this exact name.
    ///
    /// # Errors
    /// [`UnknownSuite`] for any other name.
    pub fn parse(name: &str) -> Result<Self, UnknownSuite> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.name() == name)
            .ok_or(UnknownSuite)
    }

    /// The curve of the authority's and the marbles' keys.
    pub const fn key_kind(self) -> KeyKind {
        match self {
            Self::P256Aes128 => KeyKind::P256,
            Self::P384Aes256 => KeyKind::P384,
        }
    }

    /// The hash of every certificate signature. The manifest is signed over SHA-256 in both suites.
    pub const fn signature_hash(self) -> SignatureHash {
        match self {
            Self::P256Aes128 => SignatureHash::Sha256,
            Self::P384Aes256 => SignatureHash::Sha384,
        }
    }

    /// Length in bytes of the key that encrypts the state.
    pub const fn data_key_length(self) -> usize {
        match self {
            Self::P256Aes128 => 16,
            Self::P384Aes256 => 32,
        }
    }
}

impl fmt::Display for CryptoSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CryptoSuite {
    type Err = UnknownSuite;

    fn from_str(name: &str) -> Result<Self, UnknownSuite> {
        Self::parse(name)
    }
}

/// There is no crypto suite of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown crypto suite: expected `p256-aes128` or `p384-aes256`")]
pub struct UnknownSuite;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_the_suite() {
        for suite in CryptoSuite::ALL {
            assert_eq!(CryptoSuite::parse(suite.name()), Ok(suite));
        }
        assert_eq!(CryptoSuite::parse("P256-AES128"), Err(UnknownSuite));
        assert_eq!(CryptoSuite::default().data_key_length(), 16);
    }
}
