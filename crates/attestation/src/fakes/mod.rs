//! A software TEE: structurally real evidence under roots of its own, for people without hardware and for tests.
//!
//! Everything that hardware and its manufacturers make is made here: certificate chains, revocation lists, TCB
//! information, identity of the quoting enclave, quotes and reports. Every field can be changed and signed again.
//! The whole verification runs on it; only the roots differ, and those are
//! [`crate::SimulationRoots`], which no program outside simulation trusts.

mod amd;
mod der_writer;
mod intel;
mod issuer;
mod key;
mod quote;
mod x509;

use std::sync::Arc;

pub use self::amd::{SnpPlatform, SnpReportFields};
pub use self::intel::{IntelPlatform, PckExtension};
pub use self::issuer::{ProfileError, SoftwareIssuer, SoftwareProfile};
pub use self::key::Key;
pub use self::quote::{BodyFields, EnclaveFields, QuoteFields, TdFields};
pub use self::x509::{CertificateFields, Extension, FROM, ListFields, UNTIL};
use crate::claims::{SnpProduct, SnpSigningKey};
use crate::collateral::{CollateralError, DcapTee};
use crate::roots::{NotSimulationRoots, SimulationRoots};

/// Why no evidence was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FakeError {
    /// The cryptographic library refuses a key or to sign.
    #[error("cannot make or use a key of the software TEE")]
    Key,
    /// What was made cannot be read back.
    #[error("collateral of the software TEE: {0}")]
    Collateral(Box<CollateralError>),
    /// The roots are no roots.
    #[error("roots of the software TEE: {0}")]
    Roots(Box<NotSimulationRoots>),
}

/// A software TEE.
#[derive(Debug, Clone)]
pub struct SoftwareTee {
    intel: IntelPlatform,
    amd_keys: [Arc<Key>; 3],
    /// Roots as issued once, by product.
    arks: Vec<(SnpProduct, Vec<u8>)>,
}

impl SoftwareTee {
    /// The one whose keys everybody knows and whose roots are [`SimulationRoots::development`].
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn development() -> Result<Self, FakeError> {
        let intel = IntelPlatform::new(
            [
                Key::p256_from(include_bytes!("keys/intel_root.pk8"))?,
                Key::p256_from(include_bytes!("keys/intel_ca.pk8"))?,
                Key::p256_from(include_bytes!("keys/pck.pk8"))?,
                Key::p256_from(include_bytes!("keys/intel_signer.pk8"))?,
                Key::p256_from(include_bytes!("keys/attestation.pk8"))?,
            ],
            Some(crate::roots::DEVELOPMENT_INTEL_SGX.to_vec()),
            DcapTee::Sgx,
        );
        Ok(Self {
            intel,
            amd_keys: [
                Arc::new(Key::rsa_from(include_bytes!("keys/ark.pk8"))?),
                Arc::new(Key::rsa_from(include_bytes!("keys/ask.pk8"))?),
                Arc::new(Key::p384_from(include_bytes!("keys/endorsement.pk8"))?),
            ],
            arks: crate::roots::DEVELOPMENT_ARKS
                .iter()
                .map(|(product, der)| (*product, der.to_vec()))
                .collect(),
        })
    }

    /// A new one, with keys and roots of its own.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn generate() -> Result<Self, FakeError> {
        let mut intel = IntelPlatform::new(
            [
                Key::p256()?,
                Key::p256()?,
                Key::p256()?,
                Key::p256()?,
                Key::p256()?,
            ],
            None,
            DcapTee::Sgx,
        );
        intel.root_as_issued = Some(intel.root_der()?);
        let amd_keys = [Key::rsa()?, Key::rsa()?, Key::p384()?].map(Arc::new);
        let mut tee = Self {
            intel,
            amd_keys,
            arks: Vec::new(),
        };
        for product in SnpProduct::ALL {
            let ark = tee.snp(product, SnpSigningKey::Vcek).ark_der()?;
            tee.arks.push((product, ark));
        }
        Ok(tee)
    }

    /// Its roots.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn roots(&self) -> Result<SimulationRoots, FakeError> {
        let arks: Vec<_> = self
            .arks
            .iter()
            .map(|(product, der)| (*product, der.as_slice()))
            .collect();
        SimulationRoots::new(&self.intel.root_der()?, &arks)
            .map_err(|error| FakeError::Roots(Box::new(error)))
    }

    /// A platform with SGX or TDX, and the collateral for it.
    pub fn intel(&self, tee: DcapTee) -> IntelPlatform {
        self.intel.clone().with_collateral_for(tee)
    }

    /// A platform with SEV-SNP.
    pub fn snp(&self, product: SnpProduct, signing_key: SnpSigningKey) -> SnpPlatform {
        let ark = self.arks.iter().find(|(of, _)| *of == product);
        SnpPlatform::new(
            self.amd_keys.clone(),
            ark.map(|(_, der)| der.clone()),
            product,
            signing_key,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roots::sealed::Roots as _;

    #[test]
    fn the_roots_that_everybody_knows_belong_to_the_keys_that_everybody_knows() {
        let tee = SoftwareTee::development().unwrap();
        let roots = SimulationRoots::development();
        assert_eq!(
            roots.certificates().intel_sgx.public_key,
            tee.intel(DcapTee::Sgx).root_key.public()
        );
        for product in SnpProduct::ALL {
            let platform = tee.snp(product, SnpSigningKey::Vcek);
            assert_eq!(
                roots.certificates().ark(product).unwrap().public_key,
                platform.ark_key.public()
            );
        }
    }

    #[test]
    fn each_new_software_tee_has_roots_of_its_own() {
        let (one, other) = (SoftwareTee::generate().unwrap(), SoftwareTee::generate().unwrap());
        assert_ne!(
            one.roots().unwrap().certificates().intel_sgx.public_key,
            other.roots().unwrap().certificates().intel_sgx.public_key
        );
    }
}
