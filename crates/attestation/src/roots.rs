//! What trust ends in: the pinned roots of the manufacturers, or the roots of the software TEE. The two are
//! different types, and a verifier works with one of them.

use std::fmt;

use crate::chain::Certificate;
use crate::claims::SnpProduct;
use crate::reason::{CertificateRole, Reason};

const INTEL_SGX: &[u8] = include_bytes!("roots/intel_sgx.der");
const ARKS: [(SnpProduct, &[u8]); 3] = [
    (SnpProduct::Milan, include_bytes!("roots/ark_milan.der")),
    (SnpProduct::Genoa, include_bytes!("roots/ark_genoa.der")),
    (SnpProduct::Turin, include_bytes!("roots/ark_turin.der")),
];

/// Roots of the software TEE whose keys everybody knows.
pub(crate) const DEVELOPMENT_INTEL_SGX: &[u8] = include_bytes!("roots/development_intel_sgx.der");
pub(crate) const DEVELOPMENT_ARKS: [(SnpProduct, &[u8]); 3] = [
    (
        SnpProduct::Milan,
        include_bytes!("roots/development_ark_milan.der"),
    ),
    (
        SnpProduct::Genoa,
        include_bytes!("roots/development_ark_genoa.der"),
    ),
    (
        SnpProduct::Turin,
        include_bytes!("roots/development_ark_turin.der"),
    ),
];

/// Roots that evidence is verified against. Only [`ProductionRoots`] and [`SimulationRoots`] are some.
pub trait TrustRoots: sealed::Roots + Send + Sync + 'static {}

impl TrustRoots for ProductionRoots {}
impl TrustRoots for SimulationRoots {}

/// The roots of Intel (SGX and TDX) and AMD (SEV-SNP: Milan, Genoa, Turin), pinned by subject and key.
#[derive(Clone)]
pub struct ProductionRoots(Roots);

impl ProductionRoots {
    /// The roots this program was built with. There is no way to add one.
    ///
    /// # Panics
    /// Never: a test reads each of them.
    #[expect(clippy::expect_used, reason = "constants, each read by a test")]
    pub fn pinned() -> Self {
        Self(Roots::read(INTEL_SGX, &ARKS).expect("pinned roots are certificates"))
    }
}

/// The roots of a software TEE, for people without hardware. What is verified against them has another type than
/// what is verified against [`ProductionRoots`].
#[derive(Clone)]
pub struct SimulationRoots(Roots);

/// Roots that are none of a software TEE.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSimulationRoots {
    /// Not a certificate.
    #[error(transparent)]
    Certificate(#[from] Reason),
    /// A key that is a root in production.
    #[error("{certificate}: expected the root of a software TEE, found the root of a manufacturer")]
    OfAManufacturer {
        /// Which.
        certificate: CertificateRole,
    },
}

impl SimulationRoots {
    /// The roots of the software TEE whose keys everybody knows.
    ///
    /// # Panics
    /// Never: a test reads each of them.
    #[expect(clippy::expect_used, reason = "constants, each read by a test")]
    pub fn development() -> Self {
        Self::new(DEVELOPMENT_INTEL_SGX, &DEVELOPMENT_ARKS)
            .expect("roots of the software TEE are certificates")
    }

    /// Certificates of a software TEE, DER: the root of its SGX and TDX evidence, and the roots of its SEV-SNP
    /// evidence by product.
    ///
    /// # Errors
    /// Something that is no certificate, or the key of a root of production.
    pub fn new(intel_sgx: &[u8], arks: &[(SnpProduct, &[u8])]) -> Result<Self, NotSimulationRoots> {
        let roots = Roots::read(intel_sgx, arks)?;
        let production = ProductionRoots::pinned().0;
        for certificate in roots.all() {
            if production
                .all()
                .any(|root| root.public_key == certificate.public_key)
            {
                return Err(NotSimulationRoots::OfAManufacturer {
                    certificate: certificate.role,
                });
            }
        }
        Ok(Self(roots))
    }
}

impl fmt::Debug for ProductionRoots {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ProductionRoots")
    }
}

impl fmt::Debug for SimulationRoots {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SimulationRoots")
    }
}

/// The root certificates themselves.
#[derive(Clone)]
pub struct Roots {
    pub(crate) intel_sgx: Certificate,
    arks: Vec<(SnpProduct, Certificate)>,
}

impl Roots {
    fn read(intel_sgx: &[u8], arks: &[(SnpProduct, &[u8])]) -> Result<Self, Reason> {
        let read = |role, der| {
            let certificate = Certificate::parse(role, der)?;
            certificate.is_root(&certificate)?;
            Ok::<_, Reason>(certificate)
        };
        Ok(Self {
            intel_sgx: read(CertificateRole::IntelSgxRoot, intel_sgx)?,
            arks: arks
                .iter()
                .map(|(product, der)| Ok((*product, read(CertificateRole::Ark, der)?)))
                .collect::<Result<_, Reason>>()?,
        })
    }

    /// The root of a product line, if there is one.
    pub(crate) fn ark(&self, wanted: SnpProduct) -> Option<&Certificate> {
        self.arks
            .iter()
            .find_map(|(product, ark)| (*product == wanted).then_some(ark))
    }

    fn all(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.intel_sgx).chain(self.arks.iter().map(|(_, ark)| ark))
    }
}

pub(crate) mod sealed {
    use super::{ProductionRoots, SimulationRoots};

    /// Who may stand for roots, and which they are.
    pub trait Roots {
        /// The certificates.
        fn certificates(&self) -> &super::Roots;
    }

    impl Roots for ProductionRoots {
        fn certificates(&self) -> &super::Roots {
            &self.0
        }
    }

    impl Roots for SimulationRoots {
        fn certificates(&self) -> &super::Roots {
            &self.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_roots_are_those_of_intel_and_of_each_product_of_amd() {
        let roots = ProductionRoots::pinned().0;
        assert_eq!(roots.intel_sgx.common_name().unwrap(), "Intel SGX Root CA");
        for (product, name) in [
            (SnpProduct::Milan, "ARK-Milan"),
            (SnpProduct::Genoa, "ARK-Genoa"),
            (SnpProduct::Turin, "ARK-Turin"),
        ] {
            assert_eq!(roots.ark(product).unwrap().common_name().unwrap(), name);
        }
    }

    #[test]
    fn a_root_of_production_is_none_of_simulation() {
        let refused = SimulationRoots::new(INTEL_SGX, &[]).unwrap_err();
        assert_eq!(
            refused,
            NotSimulationRoots::OfAManufacturer {
                certificate: CertificateRole::IntelSgxRoot
            }
        );
        assert!(matches!(
            SimulationRoots::new(b"none", &[]),
            Err(NotSimulationRoots::Certificate(
                Reason::CertificateMalformed { .. }
            ))
        ));
    }
}
