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
    data: [u8; REPORT_DATA_SIZE],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Certificate,
    CertificateAndNonce,
    PublicKey,
    ReportData,
}

impl ReportBinding {
    /// To a certificate: SHA-256 of its DER.
    pub fn certificate(der: &[u8]) -> Self {
        Self {
            subject: Subject::Certificate,
            data: sha256_then_zeros(&[der]),
        }
    }

    /// To a certificate and a nonce of the asking side: SHA-256 of `DER ‖ nonce`. DER says where it ends, so the two
    /// cannot be divided in another way as long as `der` is a certificate.
    pub fn certificate_and_nonce(der: &[u8], nonce: &[u8]) -> Self {
        Self {
            subject: Subject::CertificateAndNonce,
            data: sha256_then_zeros(&[der, nonce]),
        }
    }

    /// To a public key: SHA-256 of its `SubjectPublicKeyInfo`, DER.
    pub fn public_key(subject_public_key_info: &[u8]) -> Self {
        Self {
            subject: Subject::PublicKey,
            data: sha256_then_zeros(&[subject_public_key_info]),
        }
    }

    /// To these 64 bytes themselves: for evidence that is looked at again after its binding was checked, such as a
    /// saved quote.
    pub fn report_data_itself(data: [u8; REPORT_DATA_SIZE]) -> Self {
        Self {
            subject: Subject::ReportData,
            data,
        }
    }

    /// The hash, 32 bytes: the first half of the report data.
    pub fn digest(&self) -> &[u8; 32] {
        let (digest, _) = self.data.split_first_chunk::<32>().unwrap_or((&[0; 32], &[]));
        digest
    }

    /// The report data expected: the hash in the first 32 bytes, the rest zero.
    pub fn report_data(&self) -> [u8; REPORT_DATA_SIZE] {
        self.data
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
            Subject::ReportData => return write!(formatter, "exactly {}", hex::encode(self.data)),
        };
        write!(formatter, "{subject} with SHA-256 {}", hex::encode(self.digest()))
    }
}

fn sha256_then_zeros(parts: &[&[u8]]) -> [u8; REPORT_DATA_SIZE] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut data = [0; REPORT_DATA_SIZE];
    for (target, byte) in data.iter_mut().zip(context.finish().as_ref()) {
        *target = *byte;
    }
    data
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
    fn report_data_can_be_given_as_it_is() {
        let data: [u8; 64] = std::array::from_fn(|index| index as u8);
        let binding = ReportBinding::report_data_itself(data);
        assert_eq!(binding.report_data(), data);
        assert_eq!(binding.digest()[..], data[..32]);
        assert!(binding.to_string().starts_with("exactly 000102"));
    }

    #[test]
    fn messages_name_subject_and_hash() {
        assert_eq!(
            ReportBinding::public_key(b"abc").to_string(),
            format!("public key with SHA-256 {ABC}")
        );
    }
}
