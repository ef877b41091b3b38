//! What AMD publishes, by its own words: to know what a file or an answer is. Nothing here is verified.

use super::{endorsement, endorsement_name, intermediate_name};
use crate::chain::{Certificate, RevocationList};
use crate::claims::{SnpProduct, SnpSigningKey, SnpTcb};
use crate::moment::UnixSeconds;
use crate::reason::{CertificateRole, ListName, Reason};

/// What a certificate of AMD says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnpCertificate {
    /// Root of a product line.
    Ark(SnpProduct),
    /// Issuer of VCEK certificates, ASK, or of VLEK certificates, ASVK.
    Intermediate(SnpProduct, SnpSigningKey),
    /// An endorsement key.
    Endorsement(SnpEndorsement),
}

/// What the certificate of an endorsement key says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnpEndorsement {
    /// Product line.
    pub product: SnpProduct,
    /// VCEK or VLEK.
    pub signing_key: SnpSigningKey,
    /// The chip, padded with zeros as in reports; a VLEK has none.
    pub chip_id: Option<[u8; 64]>,
    /// The version it is derived for.
    pub tcb: SnpTcb,
}

/// A certificate of AMD with its dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnpCertificateInfo {
    /// What it is.
    pub what: SnpCertificate,
    /// Valid from.
    pub from: UnixSeconds,
    /// Valid until.
    pub until: UnixSeconds,
}

impl SnpCertificateInfo {
    /// Reads a certificate, DER.
    ///
    /// # Errors
    /// It is none, or none of those named in [`SnpCertificate`].
    pub fn read(der: &[u8]) -> Result<Self, Reason> {
        let certificate = Certificate::parse(CertificateRole::Vcek, der)?;
        let (_, period) = certificate.dated();
        Ok(Self {
            what: what(&certificate)?,
            from: period.from,
            until: period.until,
        })
    }
}

fn what(certificate: &Certificate) -> Result<SnpCertificate, Reason> {
    let name = certificate.common_name().unwrap_or_default();
    for key in [SnpSigningKey::Vcek, SnpSigningKey::Vlek] {
        for product in SnpProduct::ALL {
            if name == intermediate_name(product, key) {
                return Ok(SnpCertificate::Intermediate(product, key));
            }
        }
        if name == endorsement_name(key) {
            let product = endorsement::product(certificate)?;
            return Ok(SnpCertificate::Endorsement(SnpEndorsement {
                product,
                signing_key: key,
                chip_id: match key {
                    SnpSigningKey::Vcek => Some(endorsement::chip_id(certificate)?),
                    SnpSigningKey::Vlek => None,
                },
                tcb: endorsement::tcb(certificate, product)?,
            }));
        }
    }
    if let Some(product) = product_of_ark(&name) {
        return Ok(SnpCertificate::Ark(product));
    }
    Err(Reason::AnotherSubject {
        certificate: certificate.role,
        found: if name.is_empty() { "none".to_owned() } else { name },
        expected: "that of an ARK, ASK, ASVK, VCEK or VLEK",
    })
}

/// A revocation list of AMD with its dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnpListInfo {
    /// Product line of the root that issued it.
    pub product: SnpProduct,
    /// `thisUpdate`.
    pub from: UnixSeconds,
    /// `nextUpdate`.
    pub until: UnixSeconds,
}

impl SnpListInfo {
    /// Reads a list, DER.
    ///
    /// # Errors
    /// It is none, or none of an ARK.
    pub fn read(der: &[u8]) -> Result<Self, Reason> {
        let list = RevocationList::parse(ListName::Amd, der)?;
        let name = list.issuer_name();
        let product = product_of_ark(&name).ok_or_else(|| Reason::ListIssuer {
            list: ListName::Amd,
            found: name.clone(),
            expected: "ARK-Milan, ARK-Genoa or ARK-Turin".to_owned(),
        })?;
        let (_, period) = list.dated();
        Ok(Self {
            product,
            from: period.from,
            until: period.until,
        })
    }
}

fn product_of_ark(name: &str) -> Option<SnpProduct> {
    SnpProduct::named(name.strip_prefix("ARK-")?)
}
