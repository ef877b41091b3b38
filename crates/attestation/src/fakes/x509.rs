//! Certificates and revocation lists of the software TEE, every field settable.

use super::FakeError;
use super::der_writer::{
    OCTET_STRING, bits, boolean, date, explicit, integer, name, named_bits, null, oid, sequence, tlv,
};
use super::key::{Key, RSASSA_PSS};
use crate::moment::UnixSeconds;

/// 2020-01-01T00:00:00Z.
pub const FROM: UnixSeconds = UnixSeconds(1_577_836_800);
/// 2049-12-31T00:00:00Z.
pub const UNTIL: UnixSeconds = UnixSeconds(2_524_521_600);

const KEY_CERT_SIGN_AND_CRL_SIGN: u8 = 0b0000_0110;
const DIGITAL_SIGNATURE: u8 = 0b1000_0000;

/// A certificate before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFields {
    /// Serial number, big-endian.
    pub serial: Vec<u8>,
    /// Common name of the issuer.
    pub issuer: String,
    /// Common name of the subject.
    pub subject: String,
    /// Start of validity.
    pub not_before: UnixSeconds,
    /// End of validity.
    pub not_after: UnixSeconds,
    /// Whether it may issue certificates and revocation lists.
    pub authority: bool,
    /// Further extensions.
    pub extensions: Vec<Extension>,
    /// An algorithm to name in place of the one signed with, dotted.
    pub algorithm: Option<&'static str>,
}

/// An extension of a certificate or revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// OBJECT IDENTIFIER, dotted.
    pub id: String,
    /// Whether it has to be understood.
    pub critical: bool,
    /// Content, DER or what the manufacturer puts there.
    pub value: Vec<u8>,
}

impl CertificateFields {
    pub(super) fn new(serial: u8, issuer: &str, subject: &str, authority: bool) -> Self {
        Self {
            serial: vec![serial],
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            not_before: FROM,
            not_after: UNTIL,
            authority,
            extensions: Vec::new(),
            algorithm: None,
        }
    }

    /// Signs it; DER.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn sign(&self, subject: &Key, issuer: &Key) -> Result<Vec<u8>, FakeError> {
        let algorithm = algorithm(self.algorithm.unwrap_or(issuer.algorithm()));
        let usage = if self.authority {
            KEY_CERT_SIGN_AND_CRL_SIGN
        } else {
            DIGITAL_SIGNATURE
        };
        let mut extensions = extension("2.5.29.15", true, &named_bits(usage));
        if self.authority {
            extensions.extend(extension("2.5.29.19", true, &sequence(&[&boolean(true)])));
        }
        for more in &self.extensions {
            extensions.extend(extension(&more.id, more.critical, &more.value));
        }
        signed(
            &[
                &explicit(0, &integer(&[2])),
                &integer(&self.serial),
                &algorithm,
                &name(&self.issuer),
                &sequence(&[&date(self.not_before), &date(self.not_after)]),
                &name(&self.subject),
                &subject.public_info(),
                &explicit(3, &sequence(&[&extensions])),
            ],
            &algorithm,
            issuer,
        )
    }
}

/// A revocation list before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFields {
    /// Common name of the issuer.
    pub issuer: String,
    /// When it was made.
    pub this_update: UnixSeconds,
    /// When the next one is made, if it says so.
    pub next_update: Option<UnixSeconds>,
    /// Serial numbers of revoked certificates, big-endian.
    pub revoked: Vec<Vec<u8>>,
    /// Further extensions.
    pub extensions: Vec<Extension>,
    /// An algorithm to name in place of the one signed with, dotted.
    pub algorithm: Option<&'static str>,
}

impl ListFields {
    pub(super) fn new(issuer: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            this_update: FROM,
            next_update: Some(UNTIL),
            revoked: Vec::new(),
            extensions: Vec::new(),
            algorithm: None,
        }
    }

    /// Signs it; DER.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn sign(&self, issuer: &Key) -> Result<Vec<u8>, FakeError> {
        let algorithm = algorithm(self.algorithm.unwrap_or(issuer.algorithm()));
        let mut revoked = Vec::new();
        for serial in &self.revoked {
            revoked.extend(sequence(&[&integer(serial), &date(self.this_update)]));
        }
        let revoked = match revoked.as_slice() {
            [] => Vec::new(),
            entries => sequence(&[entries]),
        };
        let mut extensions = extension("2.5.29.20", false, &integer(&[1]));
        for more in &self.extensions {
            extensions.extend(extension(&more.id, more.critical, &more.value));
        }
        signed(
            &[
                &integer(&[1]),
                &algorithm,
                &name(&self.issuer),
                &date(self.this_update),
                &self.next_update.map(date).unwrap_or_default(),
                &revoked,
                &explicit(0, &sequence(&[&extensions])),
            ],
            &algorithm,
            issuer,
        )
    }
}

/// AlgorithmIdentifier; RSASSA-PSS with SHA-384, MGF1 with SHA-384 and 48 bytes of salt.
fn algorithm(id: &str) -> Vec<u8> {
    let parameters = if id == RSASSA_PSS {
        let hash = sequence(&[&oid("2.16.840.1.101.3.4.2.2"), &null()]);
        let mask = sequence(&[&oid("1.2.840.113549.1.1.8"), &hash]);
        sequence(&[
            &explicit(0, &hash),
            &explicit(1, &mask),
            &explicit(2, &integer(&[48])),
        ])
    } else {
        Vec::new()
    };
    sequence(&[&oid(id), &parameters])
}

fn signed(content: &[&[u8]], algorithm: &[u8], issuer: &Key) -> Result<Vec<u8>, FakeError> {
    let content = sequence(content);
    let signature = issuer.sign_certificate(&content)?;
    Ok(sequence(&[&content, algorithm, &bits(&signature)]))
}

fn extension(id: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { boolean(true) } else { Vec::new() };
    sequence(&[&oid(id), &critical, &tlv(OCTET_STRING, &[value])])
}

/// A chain in PEM.
pub(super) fn pem(certificates: &[&[u8]]) -> String {
    let mut text = String::new();
    for der in certificates {
        if let Ok(block) = der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der) {
            text.push_str(&block);
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
    }
    text
}
