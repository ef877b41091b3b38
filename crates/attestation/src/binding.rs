//! What evidence is bound to: its report data names a key or a certificate by hash (spec/08, "Issuing").

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

/// Size of the report data of SGX, TDX and SEV-SNP, in bytes.
pub const REPORT_DATA_SIZE: usize = 64;

/// Something that evidence speaks for. Verification takes one and never does without, so evidence that was made
/// for another connection, or replayed, is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReportBinding {
    subject: Subject,
    digest: [u8; 32],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Certificate,
    CertificateAndNonce,
    PublicKey,
}

impl ReportBinding {
    /// To a certificate: SHA-256 of its DER.
    pub fn certificate(der: &[u8]) -> Self {
        Self {
            subject: Subject::Certificate,
            digest: sha256(&[der]),
        }
    }

    /// To a certificate and a nonce of the asking side: SHA-256 of `DER ‖ nonce`. DER says where it ends, so the two
    /// cannot be divided in another way as long as `der` is a certificate.
    pub fn certificate_and_nonce(der: &[u8], nonce: &[u8]) -> Self {
        Self {
            subject: Subject::CertificateAndNonce,
            digest: sha256(&[der, nonce]),
        }
    }

    /// To a public key: SHA-256 of its `SubjectPublicKeyInfo`, DER.
    pub fn public_key(subject_public_key_info: &[u8]) -> Self {
        Self {
            subject: Subject::PublicKey,
            digest: sha256(&[subject_public_key_info]),
        }
    }

    /// The hash, 32 bytes.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The report data expected: the hash in the first 32 bytes, the rest zero.
    pub fn report_data(&self) -> [u8; REPORT_DATA_SIZE] {
        let mut data = [0; REPORT_DATA_SIZE];
        for (target, byte) in data.iter_mut().zip(self.digest) {
            *target = byte;
        }
        data
    }
}

impl fmt::Debug for ReportBinding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl fmt::Display for ReportBinding {
    /// For messages: what it is bound to and the hash in hex. Both are public.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = match self.subject {
            Subject::Certificate => "certificate",
            Subject::CertificateAndNonce => "certificate and nonce",
            Subject::PublicKey => "public key",
        };
        write!(formatter, "{subject} with SHA-256 {}", hex::encode(self.digest))
    }
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut digest = [0; 32];
    for (target, byte) in digest.iter_mut().zip(context.finish().as_ref()) {
        *target = *byte;
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256("abc"), FIPS 180-4 example.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn report_data_is_the_hash_and_then_zeros() {
        let data = ReportBinding::certificate(b"abc").report_data();
        assert_eq!(hex::encode(&data[..32]), ABC);
        assert_eq!(data[32..], [0; 32]);
    }

    #[test]
    fn the_nonce_follows_the_certificate() {
        assert_eq!(
            hex::encode(ReportBinding::certificate_and_nonce(b"ab", b"c").digest()),
            ABC
        );
        assert_eq!(hex::encode(ReportBinding::public_key(b"abc").digest()), ABC);
    }

    #[test]
    fn messages_name_subject_and_hash() {
        assert_eq!(
            ReportBinding::public_key(b"abc").to_string(),
            format!("public key with SHA-256 {ABC}")
        );
    }
}
