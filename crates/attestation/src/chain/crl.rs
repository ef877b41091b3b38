//! Certificate revocation lists.

use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;
use x509_cert::name::Name;

use super::certificate::{Certificate, NotSigned, Signed, common_name};
use crate::moment::{Period, UnixSeconds};
use crate::reason::{Dated, ListName, Reason};

/// Largest list, in bytes; Intel's for platforms is below 8 KiB after eight years.
const LIMIT: usize = 1024 * 1024;

/// A revocation list. Nothing is verified until [`RevocationList::is_issued_by`] says so.
#[derive(Clone)]
pub(crate) struct RevocationList {
    pub(crate) name: ListName,
    signed: Signed,
    issuer: Name,
    period: Period,
    revoked: Vec<Vec<u8>>,
}

impl RevocationList {
    /// Reads DER strictly. A list without `nextUpdate`, or one that is only part of a list, is refused.
    pub(crate) fn parse(name: ListName, der: &[u8]) -> Result<Self, Reason> {
        let malformed = |why: String| Reason::ListMalformed { list: name, why };
        if der.len() > LIMIT {
            return Err(malformed(format!("{} bytes, more than {LIMIT}", der.len())));
        }
        let parsed: CertificateList =
            CertificateList::from_der(der).map_err(|error| malformed(error.to_string()))?;
        let content = &parsed.tbs_cert_list;
        let signed = Signed::read(
            der,
            &content.signature,
            &parsed.signature_algorithm,
            parsed.signature.as_bytes(),
        )
        .map_err(malformed)?;
        let until = content
            .next_update
            .ok_or_else(|| malformed("no nextUpdate".to_owned()))?;
        // Extensions that make a list partial or indirect are critical; no other critical one is known here.
        if let Some(extension) = content
            .crl_extensions
            .iter()
            .flatten()
            .find(|extension| extension.critical)
        {
            return Err(malformed(format!("critical extension {}", extension.extn_id)));
        }
        let mut revoked: Vec<Vec<u8>> = content
            .revoked_certificates
            .iter()
            .flatten()
            .map(|entry| entry.serial_number.as_bytes().to_vec())
            .collect();
        revoked.sort_unstable();
        Ok(Self {
            name,
            signed,
            issuer: content.issuer.clone(),
            period: Period {
                from: UnixSeconds(content.this_update.to_unix_duration().as_secs()),
                until: UnixSeconds(until.to_unix_duration().as_secs()),
            },
            revoked,
        })
    }

    /// Issuer and signature; not the dates.
    pub(crate) fn is_issued_by(&self, issuer: &Certificate) -> Result<(), Reason> {
        if self.issuer != issuer.subject {
            return Err(Reason::ListIssuer {
                list: self.name,
                found: self.issuer.to_string(),
                expected: issuer.subject.to_string(),
            });
        }
        self.signed.verify(issuer).map_err(|not| match not {
            NotSigned::Algorithm { found, expected } => Reason::ListAlgorithm {
                list: self.name,
                found,
                expected,
            },
            NotSigned::Signature => Reason::ListSignature {
                list: self.name,
                issuer: issuer.role,
            },
        })
    }

    /// The common name of the issuer; the whole name where there is none.
    pub(crate) fn issuer_name(&self) -> String {
        common_name(&self.issuer).unwrap_or_else(|| self.issuer.to_string())
    }

    /// Period of validity, with a name for messages.
    pub(crate) fn dated(&self) -> (Dated, Period) {
        (Dated::List(self.name), self.period)
    }

    /// Refuses a certificate that the list names. The list has to be of the certificate's issuer.
    pub(crate) fn does_not_name(&self, certificate: &Certificate) -> Result<(), Reason> {
        if self.revoked.binary_search(&certificate.serial).is_err() {
            return Ok(());
        }
        Err(Reason::Revoked {
            certificate: certificate.role,
            serial: hex::encode(&certificate.serial),
            list: self.name,
        })
    }
}
