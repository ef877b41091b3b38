//! Evidence as it arrives: bytes of a stranger, unverified.

use std::fmt;

use crate::binding::REPORT_DATA_SIZE;
use crate::header::{OpenEnclaveHeader, WrongLength};

/// Evidence as sent, unverified; may be empty. It tells what format the bytes have, and nothing they claim.
#[derive(Clone, PartialEq, Eq)]
pub struct Quote {
    bytes: Vec<u8>,
}

/// What format evidence has. Recognising it is no statement about its truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EvidenceKind {
    /// No evidence: zero bytes.
    Empty,
    /// SGX DCAP quote version 3, bare or behind the Open Enclave header.
    SgxV3,
    /// TDX DCAP quote version 4.
    TdxV4,
    /// TDX DCAP quote version 5.
    TdxV5,
    /// SEV-SNP attestation report, 1184 bytes, with or without a certificate table behind it (table as in the GHCB
    /// specification, section 4.1.8.1).
    Snp,
}

/// Evidence of no known format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnrecognisedEvidence {
    /// Larger than [`Quote::LIMIT`].
    #[error(
        "evidence is too large: expected at most {} bytes, found {found}",
        Quote::LIMIT
    )]
    TooLarge {
        /// Size in bytes.
        found: usize,
    },
    /// The Open Enclave header gives another length than that of what follows.
    #[error(transparent)]
    Header(#[from] WrongLength),
    /// Something other than an SGX quote behind the Open Enclave header.
    #[error("Open Enclave header: expected an SGX quote of version 3 behind it, found other bytes")]
    HeaderBeforeOther,
    /// Shorter than its format.
    #[error("{format} is cut short: expected at least {expected} bytes, found {found}")]
    CutShort {
        /// What the bytes begin as.
        format: &'static str,
        /// Least size, in bytes, as far as the bytes themselves tell.
        expected: u64,
        /// Size in bytes.
        found: usize,
    },
    /// The first bytes are those of no known format.
    #[error(
        "unknown format of evidence: expected an SGX quote (version 3), a TDX quote (version 4 or 5) or an SEV-SNP \
         report, found {found} bytes beginning with {beginning}"
    )]
    UnknownFormat {
        /// Size in bytes.
        found: usize,
        /// Up to 16 bytes from the start, hex.
        beginning: String,
    },
}

impl Quote {
    /// Largest evidence, 64 KiB; with all certificates real evidence stays below 20 KiB.
    pub const LIMIT: usize = 64 * 1024;

    /// Takes evidence as received.
    ///
    /// # Errors
    /// [`UnrecognisedEvidence::TooLarge`]; nothing else is looked at here.
    pub fn new(bytes: Vec<u8>) -> Result<Self, UnrecognisedEvidence> {
        if bytes.len() > Self::LIMIT {
            return Err(UnrecognisedEvidence::TooLarge { found: bytes.len() });
        }
        Ok(Self { bytes })
    }

    /// The bytes as received, Open Enclave header included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there is no evidence at all.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The report data, 64 bytes: what the evidence says it is bound to. Nothing about it is verified; it is for
    /// looking at evidence again whose binding was checked before.
    ///
    /// # Errors
    /// As [`Quote::kind`]. `None` when there is no evidence.
    pub fn unverified_report_data(&self) -> Result<Option<[u8; REPORT_DATA_SIZE]>, UnrecognisedEvidence> {
        let (kind, evidence) = self.recognise()?;
        Ok(unverified_report_data(kind, evidence).copied())
    }

    /// Bytes behind the end of an SGX quote, which its own lengths tell. Verification bears zeros there, but who signs
    /// something that is to be read with what follows must not. 0 for other evidence, and where the end is not told.
    pub fn bytes_behind(&self) -> usize {
        const LENGTH_OF_SIGNATURE_DATA: usize = QUOTE_HEADER_SIZE + SGX_REPORT_BODY_SIZE;
        let Ok((EvidenceKind::SgxV3, quote)) = self.recognise() else {
            return 0;
        };
        let length = quote
            .get(LENGTH_OF_SIGNATURE_DATA..)
            .and_then(|rest| rest.first_chunk::<4>());
        let Some(length) = length.and_then(|bytes| usize::try_from(u32::from_le_bytes(*bytes)).ok()) else {
            return 0;
        };
        let end = (LENGTH_OF_SIGNATURE_DATA + 4).saturating_add(length);
        quote.len().saturating_sub(end)
    }

    /// Which format the bytes have, as far as their fixed fields and lengths tell.
    ///
    /// # Errors
    /// They have no known format; the message says what was found and expected, and may be sent to the caller.
    pub fn kind(&self) -> Result<EvidenceKind, UnrecognisedEvidence> {
        self.recognise().map(|(kind, _)| kind)
    }

    /// The evidence itself, without the Open Enclave header, and its format.
    ///
    /// # Errors
    /// As [`Quote::kind`].
    pub fn recognise(&self) -> Result<(EvidenceKind, &[u8]), UnrecognisedEvidence> {
        match OpenEnclaveHeader::strip(&self.bytes)? {
            None => Ok((recognise(&self.bytes)?, &self.bytes)),
            Some(evidence) => match recognise(evidence)? {
                EvidenceKind::SgxV3 => Ok((EvidenceKind::SgxV3, evidence)),
                _ => Err(UnrecognisedEvidence::HeaderBeforeOther),
            },
        }
    }
}

impl fmt::Debug for Quote {
    /// Size and format: quotes do not belong into logs in full.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Quote")
            .field("kind", &self.kind().ok())
            .field("size", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl EvidenceKind {
    /// For messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "no evidence",
            Self::SgxV3 => "SGX quote (version 3)",
            Self::TdxV4 => "TDX quote (version 4)",
            Self::TdxV5 => "TDX quote (version 5)",
            Self::Snp => "SEV-SNP report",
        }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Size of an SEV-SNP attestation report, in bytes (SEV-SNP ABI specification, ATTESTATION_REPORT).
pub(crate) const SNP_REPORT_SIZE: usize = 1184;

pub(crate) const QUOTE_HEADER_SIZE: usize = 48;
pub(crate) const SGX_REPORT_BODY_SIZE: usize = 384;
pub(crate) const TD_REPORT_10_SIZE: usize = 584;
pub(crate) const TD_REPORT_15_SIZE: usize = 648;
pub(crate) const TD_REPORT_15_EXTENDED_SIZE: usize = 885;

/// Where the report data lies in evidence of this kind without header. For issuers, which check what their own TEE
/// gave them; it is unverified.
pub(crate) fn unverified_report_data(kind: EvidenceKind, evidence: &[u8]) -> Option<&[u8; REPORT_DATA_SIZE]> {
    let offset = match kind {
        EvidenceKind::Empty => return None,
        EvidenceKind::SgxV3 => QUOTE_HEADER_SIZE + 320,
        EvidenceKind::TdxV4 => QUOTE_HEADER_SIZE + 520,
        EvidenceKind::TdxV5 => QUOTE_HEADER_SIZE + 6 + 520,
        EvidenceKind::Snp => 0x50,
    };
    evidence.get(offset..)?.first_chunk()
}

/// Bare evidence. Layouts: Intel SGX DCAP ECDSA quote library API, appendix A; Intel TDX DCAP quoting library API,
/// appendix A; SEV-SNP ABI specification, ATTESTATION_REPORT.
fn recognise(evidence: &[u8]) -> Result<EvidenceKind, UnrecognisedEvidence> {
    if evidence.is_empty() {
        return Ok(EvidenceKind::Empty);
    }
    let version = u16_at(evidence, 0);
    let key_type = u16_at(evidence, 2);
    let tee_type = u32_at(evidence, 4);
    match (version, key_type, tee_type) {
        // Version 3 is SGX only: where later versions have the TEE type it has reserved bytes, zero.
        (Some(3), Some(2), Some(0)) => signed(
            EvidenceKind::SgxV3,
            evidence,
            QUOTE_HEADER_SIZE + SGX_REPORT_BODY_SIZE,
        ),
        (Some(4), Some(2 | 3), Some(TEE_TYPE_TDX)) => signed(
            EvidenceKind::TdxV4,
            evidence,
            QUOTE_HEADER_SIZE + TD_REPORT_10_SIZE,
        ),
        (Some(5), Some(2 | 3), Some(TEE_TYPE_TDX)) => {
            let body_type = u16_at(evidence, QUOTE_HEADER_SIZE);
            let body_size = match (body_type, u32_at(evidence, QUOTE_HEADER_SIZE + 2)) {
                (Some(2), Some(size)) if size as usize == TD_REPORT_10_SIZE => TD_REPORT_10_SIZE,
                (Some(3), Some(size)) if size as usize == TD_REPORT_15_SIZE => TD_REPORT_15_SIZE,
                (Some(4), Some(size)) if size as usize == TD_REPORT_15_EXTENDED_SIZE => {
                    TD_REPORT_15_EXTENDED_SIZE
                }
                _ => return Err(unknown(evidence)),
            };
            signed(EvidenceKind::TdxV5, evidence, QUOTE_HEADER_SIZE + 6 + body_size)
        }
        // A version as u32, so the upper half is zero, and at 0x34 the only signature algorithm there is.
        (Some(2..=5), Some(0), _) if u32_at(evidence, 0x34) == Some(1) => {
            at_least(EvidenceKind::Snp, evidence, SNP_REPORT_SIZE as u64)
        }
        _ => Err(unknown(evidence)),
    }
}

const TEE_TYPE_TDX: u32 = 0x81;

/// A quote whose signature data, with a u32 length in front, follows `signed_size` bytes.
fn signed(
    kind: EvidenceKind,
    evidence: &[u8],
    signed_size: usize,
) -> Result<EvidenceKind, UnrecognisedEvidence> {
    let fixed = signed_size as u64 + 4;
    let signature = u32_at(evidence, signed_size).map_or(0, u64::from);
    at_least(kind, evidence, fixed + signature)
}

fn at_least(
    kind: EvidenceKind,
    evidence: &[u8],
    expected: u64,
) -> Result<EvidenceKind, UnrecognisedEvidence> {
    if (evidence.len() as u64) < expected {
        return Err(UnrecognisedEvidence::CutShort {
            format: kind.as_str(),
            expected,
            found: evidence.len(),
        });
    }
    Ok(kind)
}

fn unknown(evidence: &[u8]) -> UnrecognisedEvidence {
    let beginning = hex::encode(evidence.get(..16).unwrap_or(evidence));
    UnrecognisedEvidence::UnknownFormat {
        found: evidence.len(),
        beginning,
    }
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes
        .get(offset..)?
        .first_chunk()
        .copied()
        .map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes
        .get(offset..)?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A quote by its fixed fields: `signed_size` bytes, then signature data of `signature` bytes.
    fn quote(fields: &[(usize, &[u8])], signed_size: usize, signature: u32) -> Vec<u8> {
        let mut bytes = vec![0; signed_size];
        for (offset, value) in fields {
            bytes[*offset..offset + value.len()].copy_from_slice(value);
        }
        bytes.extend_from_slice(&signature.to_le_bytes());
        bytes.resize(bytes.len() + signature as usize, 0xEE);
        bytes
    }

    pub(crate) fn sgx(report_data: &[u8; 64]) -> Vec<u8> {
        quote(&[(0, &[3, 0, 2, 0]), (368, report_data)], 432, 100)
    }

    pub(crate) fn tdx_v4(report_data: &[u8; 64]) -> Vec<u8> {
        quote(&[(0, &[4, 0, 2, 0, 0x81, 0, 0, 0]), (568, report_data)], 632, 100)
    }

    fn tdx_v5(report_data: &[u8; 64], body_type: u8, body_size: u16) -> Vec<u8> {
        let [low, high] = body_size.to_le_bytes();
        quote(
            &[
                (0, &[5, 0, 2, 0, 0x81, 0, 0, 0]),
                (48, &[body_type, 0, low, high, 0, 0]),
                (574, report_data),
            ],
            54 + usize::from(body_size),
            100,
        )
    }

    pub(crate) fn snp(report_data: &[u8; 64]) -> Vec<u8> {
        let mut bytes = vec![0; SNP_REPORT_SIZE];
        bytes[0] = 3;
        bytes[0x34] = 1;
        bytes[0x50..0x90].copy_from_slice(report_data);
        bytes
    }

    fn kind(bytes: &[u8]) -> Result<EvidenceKind, UnrecognisedEvidence> {
        Quote::new(bytes.to_vec()).unwrap().kind()
    }

    #[test]
    fn each_format_is_recognised_and_its_report_data_found() {
        let data: [u8; 64] = std::array::from_fn(|index| index as u8 + 1);
        let cases = [
            (EvidenceKind::SgxV3, sgx(&data)),
            (EvidenceKind::TdxV4, tdx_v4(&data)),
            (EvidenceKind::TdxV5, tdx_v5(&data, 2, 584)),
            (EvidenceKind::TdxV5, tdx_v5(&data, 3, 648)),
            (EvidenceKind::TdxV5, tdx_v5(&data, 4, 885)),
            (EvidenceKind::Snp, snp(&data)),
            (EvidenceKind::Snp, [snp(&data), vec![1; 4000]].concat()),
        ];
        for (expected, bytes) in cases {
            let quote = Quote::new(bytes.clone()).unwrap();
            assert_eq!(quote.recognise(), Ok((expected, &bytes[..])));
            assert_eq!(
                unverified_report_data(expected, &bytes),
                Some(&data),
                "{expected}"
            );
        }
        assert_eq!(kind(&[]), Ok(EvidenceKind::Empty));
        assert!(Quote::new(Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn an_sgx_quote_is_recognised_behind_the_header_and_nothing_else_is() {
        let bare = sgx(&[0; 64]);
        let quote = Quote::new(OpenEnclaveHeader::add(&bare)).unwrap();
        assert_eq!(quote.recognise(), Ok((EvidenceKind::SgxV3, &bare[..])));
        for other in [Vec::new(), tdx_v4(&[0; 64]), snp(&[0; 64])] {
            assert_eq!(
                kind(&OpenEnclaveHeader::add(&other)),
                Err(UnrecognisedEvidence::HeaderBeforeOther)
            );
        }
        let twice = OpenEnclaveHeader::add(&OpenEnclaveHeader::add(&bare));
        assert!(matches!(
            kind(&twice),
            Err(UnrecognisedEvidence::UnknownFormat { .. })
        ));
        let mut longer = OpenEnclaveHeader::add(&bare);
        longer.push(0);
        assert!(matches!(kind(&longer), Err(UnrecognisedEvidence::Header(_))));
    }

    #[test]
    fn no_prefix_of_evidence_is_taken_for_the_whole() {
        for bytes in [
            sgx(&[0; 64]),
            tdx_v4(&[0; 64]),
            tdx_v5(&[0; 64], 3, 648),
            snp(&[0; 64]),
        ] {
            for length in 1..bytes.len() {
                let refused = kind(&bytes[..length]).unwrap_err();
                assert!(
                    matches!(
                        refused,
                        UnrecognisedEvidence::CutShort { .. } | UnrecognisedEvidence::UnknownFormat { .. }
                    ),
                    "{length}: {refused}"
                );
            }
        }
    }

    #[test]
    fn a_length_beyond_everything_is_refused_without_overflow() {
        let mut bytes = sgx(&[0; 64]);
        bytes[432..436].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(
            kind(&bytes),
            Err(UnrecognisedEvidence::CutShort {
                format: "SGX quote (version 3)",
                expected: 436 + u64::from(u32::MAX),
                found: bytes.len()
            })
        );
    }

    #[test]
    fn other_versions_and_tees_are_refused() {
        let mut sgx_v4 = sgx(&[0; 64]);
        sgx_v4[0] = 4;
        let mut epid = sgx(&[0; 64]);
        epid[2] = 1;
        let wrong_size = tdx_v5(&[0; 64], 2, 648);
        for bytes in [sgx_v4, epid, wrong_size, b"not evidence at all".to_vec()] {
            assert!(matches!(
                kind(&bytes),
                Err(UnrecognisedEvidence::UnknownFormat { .. })
            ));
        }
        let message = kind(b"hello").unwrap_err().to_string();
        assert!(
            message.ends_with("found 5 bytes beginning with 68656c6c6f"),
            "{message}"
        );
    }

    #[test]
    fn size_is_bounded() {
        assert!(Quote::new(vec![0; Quote::LIMIT]).is_ok());
        let refused = Quote::new(vec![0; Quote::LIMIT + 1]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "evidence is too large: expected at most 65536 bytes, found 65537"
        );
    }

    #[test]
    fn debug_shows_no_bytes() {
        let quote = Quote::new(sgx(&[0x77; 64])).unwrap();
        assert_eq!(format!("{quote:?}"), "Quote { kind: Some(SgxV3), size: 536, .. }");
    }
}
