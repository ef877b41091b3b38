//! Evidence inside a certificate, over the certificate's own key (spec/03): the value of extension 2.23.133.5.4.9,
//! tagged evidence of the TCG DICE attestation architecture.
//!
//! The value is CBOR (RFC 8949) in its shortest form:
//!
//! * SGX and TDX: tag 60000 (IANA: attestation evidence with a quote of an Intel TEE) around an array of two byte
//!   strings: the quote, without Open Enclave header, and the `SubjectPublicKeyInfo`, DER, whose SHA-256 is the
//!   report data;
//! * SEV-SNP, which has no tag: a conceptual message wrapper, an array of the text [`SNP_MEDIA_TYPE`] and a byte
//!   string with the report and what stands behind it.

use crate::quote::{EvidenceKind, Quote, UnrecognisedEvidence};

/// Media type of an SEV-SNP report in a certificate.
pub const SNP_MEDIA_TYPE: &str = "application/vnd.amd.sev-snp-report";

/// Largest value of the extension in bytes.
pub const LIMIT: usize = Quote::LIMIT + 1024;

const TAG_TEE_QUOTE: u64 = 60_000;

const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const TAG: u8 = 6;

/// A value that is not the evidence of its certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateEvidenceError {
    /// Not the CBOR expected.
    #[error("evidence in the certificate: expected tagged evidence of SGX, TDX or SEV-SNP, found {found}")]
    Malformed {
        /// What was found instead.
        found: &'static str,
    },
    /// Evidence that says it is of another key than the certificate's.
    #[error(
        "evidence in the certificate: expected it to be of the key of the certificate, found another key"
    )]
    OtherKey,
    /// No known format.
    #[error("evidence in the certificate: {0}")]
    Unrecognised(#[from] UnrecognisedEvidence),
}

/// The value of the extension of a certificate with this key, DER, for evidence that is bound to
/// [`crate::ReportBinding::public_key`] of it.
///
/// # Errors
/// Evidence of no known format, or none.
pub fn encode(evidence: &[u8], subject_public_key_info: &[u8]) -> Result<Vec<u8>, CertificateEvidenceError> {
    let quote = Quote::new(evidence.to_vec())?;
    let (kind, bare) = quote.recognise()?;
    let mut value = Vec::with_capacity(bare.len() + subject_public_key_info.len() + 64);
    match kind {
        EvidenceKind::Empty => return Err(malformed("no evidence")),
        EvidenceKind::SgxV3 | EvidenceKind::TdxV4 | EvidenceKind::TdxV5 => {
            head(&mut value, TAG, TAG_TEE_QUOTE);
            head(&mut value, ARRAY, 2);
            string(&mut value, BYTES, bare);
            string(&mut value, BYTES, subject_public_key_info);
        }
        EvidenceKind::Snp => {
            head(&mut value, ARRAY, 2);
            string(&mut value, TEXT, SNP_MEDIA_TYPE.as_bytes());
            string(&mut value, BYTES, bare);
        }
    }
    Ok(value)
}

/// The evidence in the extension of a certificate with this key, DER. It is unverified; verify it bound to
/// [`crate::ReportBinding::public_key`].
///
/// # Errors
/// [`CertificateEvidenceError`]
pub fn decode(value: &[u8], subject_public_key_info: &[u8]) -> Result<Quote, CertificateEvidenceError> {
    if value.len() > LIMIT {
        return Err(malformed("more bytes than evidence has"));
    }
    let mut reader = Reader { rest: value };
    let evidence = match reader.head()? {
        (TAG, TAG_TEE_QUOTE) => {
            reader.array_of_two()?;
            let evidence = reader.string(BYTES)?;
            if reader.string(BYTES)? != subject_public_key_info {
                return Err(CertificateEvidenceError::OtherKey);
            }
            evidence
        }
        (ARRAY, 2) => {
            if reader.string(TEXT)? != SNP_MEDIA_TYPE.as_bytes() {
                return Err(malformed("another media type"));
            }
            reader.string(BYTES)?
        }
        _ => return Err(malformed("other CBOR")),
    };
    if !reader.rest.is_empty() {
        return Err(malformed("bytes behind it"));
    }
    let quote = Quote::new(evidence.to_vec())?;
    match (value.first().map(|byte| byte >> 5), quote.kind()?) {
        (_, EvidenceKind::Empty) => Err(malformed("no evidence")),
        (Some(ARRAY), EvidenceKind::Snp) => Ok(quote),
        (Some(TAG), EvidenceKind::SgxV3 | EvidenceKind::TdxV4 | EvidenceKind::TdxV5) => Ok(quote),
        _ => Err(malformed("evidence of another TEE than it is tagged with")),
    }
}

fn malformed(found: &'static str) -> CertificateEvidenceError {
    CertificateEvidenceError::Malformed { found }
}

/// Major type and argument (RFC 8949 section 3).
fn head(target: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    match argument {
        0..=23 => target.push(major | argument as u8),
        24..=0xff => target.extend([major | 24, argument as u8]),
        0x100..=0xffff => {
            target.push(major | 25);
            target.extend((argument as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            target.push(major | 26);
            target.extend((argument as u32).to_be_bytes());
        }
        _ => {
            target.push(major | 27);
            target.extend(argument.to_be_bytes());
        }
    }
}

fn string(target: &mut Vec<u8>, major: u8, content: &[u8]) {
    head(target, major, content.len() as u64);
    target.extend_from_slice(content);
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], CertificateEvidenceError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(malformed("an end too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<(u8, u64), CertificateEvidenceError> {
        let first = self.take(1)?.first().copied().unwrap_or_default();
        let (major, short) = (first >> 5, first & 0x1f);
        let length = match short {
            0..=23 => return Ok((major, u64::from(short))),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return Err(malformed("an indefinite length")),
        };
        let argument = self
            .take(length)?
            .iter()
            .fold(0, |argument, byte| argument << 8 | u64::from(*byte));
        let mut shortest = Vec::new();
        head(&mut shortest, major, argument);
        if shortest.len() != 1 + length {
            return Err(malformed("a length not in its shortest form"));
        }
        Ok((major, argument))
    }

    fn array_of_two(&mut self) -> Result<(), CertificateEvidenceError> {
        match self.head()? {
            (ARRAY, 2) => Ok(()),
            _ => Err(malformed("other CBOR")),
        }
    }

    fn string(&mut self, wanted: u8) -> Result<&'a [u8], CertificateEvidenceError> {
        match self.head()? {
            (major, length) if major == wanted => {
                self.take(usize::try_from(length).map_err(|_| malformed("an end too early"))?)
            }
            _ => Err(malformed("other CBOR")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence() -> [(EvidenceKind, Vec<u8>); 3] {
        let data = [7; 64];
        let tdx = crate::quote::tests::tdx_v4(&data);
        [
            (EvidenceKind::SgxV3, crate::quote::tests::sgx(&data)),
            (EvidenceKind::TdxV4, tdx),
            (EvidenceKind::Snp, crate::quote::tests::snp(&data)),
        ]
    }

    #[test]
    fn evidence_of_each_tee_reads_back_without_its_header() {
        for (kind, bytes) in evidence() {
            let value = encode(&bytes, b"key").unwrap();
            assert_eq!(decode(&value, b"key").unwrap().as_bytes(), bytes, "{kind}");
            if kind == EvidenceKind::SgxV3 {
                let behind_header = crate::header::OpenEnclaveHeader::add(&bytes);
                assert_eq!(encode(&behind_header, b"key").unwrap(), value);
                // Tag 60000, array of two.
                assert_eq!(value[..4], [0xd9, 0xea, 0x60, 0x82]);
            }
        }
    }

    #[test]
    fn evidence_of_another_key_is_refused() {
        let (_, bytes) = &evidence()[0];
        let value = encode(bytes, b"key").unwrap();
        assert_eq!(decode(&value, b"kez"), Err(CertificateEvidenceError::OtherKey));
    }

    #[test]
    fn what_is_cut_or_goes_on_or_is_mixed_up_is_refused() {
        for (kind, bytes) in evidence() {
            let value = encode(&bytes, b"key").unwrap();
            for end in 0..value.len() {
                assert!(decode(&value[..end], b"key").is_err(), "{kind} cut at {end}");
            }
            let longer = [value.as_slice(), b"x"].concat();
            assert_eq!(decode(&longer, b"key"), Err(malformed("bytes behind it")));
        }
        let [(_, sgx), _, (_, snp)] = &evidence();
        let mut as_snp = Vec::new();
        head(&mut as_snp, ARRAY, 2);
        string(&mut as_snp, TEXT, SNP_MEDIA_TYPE.as_bytes());
        string(&mut as_snp, BYTES, sgx);
        assert!(
            decode(&as_snp, b"key")
                .unwrap_err()
                .to_string()
                .contains("another TEE")
        );
        let mut as_quote = Vec::new();
        head(&mut as_quote, TAG, TAG_TEE_QUOTE);
        head(&mut as_quote, ARRAY, 2);
        string(&mut as_quote, BYTES, snp);
        string(&mut as_quote, BYTES, b"key");
        assert!(
            decode(&as_quote, b"key")
                .unwrap_err()
                .to_string()
                .contains("another TEE")
        );
        assert!(
            decode(&[0x82, 0x78, 0x05], b"key")
                .unwrap_err()
                .to_string()
                .contains("shortest")
        );
        assert!(
            decode(&[0x5f], b"key")
                .unwrap_err()
                .to_string()
                .contains("indefinite")
        );
        assert!(encode(b"", b"key").is_err());
        assert!(decode(&vec![0; LIMIT + 1], b"key").is_err());
    }
}
