//! Collateral for SEV-SNP.

use super::CollateralError;
use crate::chain::{RevocationList, pem};
use crate::moment::UnixSeconds;
use crate::reason::ListName;

/// Whether a SEV-SNP chain is checked for revocation: every caller says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnpRevocation {
    /// Against this list of the ARK, DER.
    Checked(Vec<u8>),
    /// Not at all. The claims say so.
    NotChecked,
}

/// Certificates for a SEV-SNP report, DER, unverified. What is not given here may stand behind the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpCollateral {
    endorsement_key: Option<Vec<u8>>,
    authorities: Vec<Vec<u8>>,
    revocation: SnpRevocation,
}

impl SnpCollateral {
    /// Without certificates.
    pub fn new(revocation: SnpRevocation) -> Self {
        Self {
            endorsement_key: None,
            authorities: Vec::new(),
            revocation,
        }
    }

    /// With the certificate of the VCEK or VLEK, DER.
    #[must_use]
    pub fn with_endorsement_key(mut self, der: Vec<u8>) -> Self {
        self.endorsement_key = Some(der);
        self
    }

    /// With the chain above it as AMD's key distribution service gives it, PEM: ASK or ASVK, then ARK, which may be
    /// absent.
    ///
    /// # Errors
    /// Not one or two PEM certificates.
    pub fn with_authorities(mut self, chain: &[u8]) -> Result<Self, CollateralError> {
        let list = pem::certificates(chain, 2).map_err(|why| CollateralError::field("cert_chain", why))?;
        if list.is_empty() {
            return Err(CollateralError::field(
                "cert_chain",
                "expected 1 or 2 certificates, found none",
            ));
        }
        self.authorities = list;
        Ok(self)
    }

    /// The end of the revocation list; `None` without a list, or when it cannot be read.
    pub fn next_update(&self) -> Option<UnixSeconds> {
        match &self.revocation {
            SnpRevocation::NotChecked => None,
            SnpRevocation::Checked(der) => {
                let list = RevocationList::parse(ListName::Amd, der).ok()?;
                Some(list.dated().1.until)
            }
        }
    }

    /// The certificate of the VCEK or VLEK, DER, if there is one.
    pub fn endorsement_key(&self) -> Option<&[u8]> {
        self.endorsement_key.as_deref()
    }

    /// The chain above it, DER: nothing, or ASK or ASVK and perhaps ARK.
    pub fn authorities(&self) -> &[Vec<u8>] {
        &self.authorities
    }

    /// Whether and by what revocation is checked.
    pub fn revocation(&self) -> &SnpRevocation {
        &self.revocation
    }
}
