//! What verification needs beside the evidence: fetched by the caller, who is told here what to fetch.

mod snp;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;

pub use self::snp::{SnpCollateral, SnpRevocation};
use crate::claims::{SnpProduct, SnpSigningKey};
use crate::dcap::collateral::Signed;
use crate::moment::UnixSeconds;
use crate::reason::{Dated, Reason};
pub use crate::snp::published::{SnpCertificate, SnpCertificateInfo, SnpEndorsement, SnpListInfo};

/// Collateral of one platform.
#[derive(Debug, Clone)]
pub enum Collateral {
    /// For SGX and TDX.
    Dcap(DcapCollateral),
    /// For SEV-SNP.
    Snp(SnpCollateral),
}

/// What evidence needs to be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollateralNeeded {
    /// SGX and TDX. The PCK chain ends in the pinned root and the quote is signed under it.
    Dcap(DcapNeeded),
    /// SEV-SNP. The fields are not verified: the key they are signed with is part of what is needed.
    Snp(SnpNeeded),
}

/// The kind of TEE that DCAP collateral is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DcapTee {
    /// SGX.
    Sgx,
    /// TDX.
    Tdx,
}

impl DcapTee {
    /// As in the paths of the PCS API: `sgx` or `tdx`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sgx => "sgx",
            Self::Tdx => "tdx",
        }
    }
}

/// The issuer of a PCK certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PckAuthority {
    /// Platforms with one processor.
    Processor,
    /// Platforms with several.
    Platform,
}

impl PckAuthority {
    /// As in the PCS API: `processor` or `platform`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Platform => "platform",
        }
    }
}

/// Which collateral a quote needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DcapNeeded {
    /// Kind of TEE.
    pub tee: DcapTee,
    /// Family, model, stepping, platform type and custom SKU of the platform, from its PCK certificate.
    pub fmspc: [u8; 6],
    /// Whose revocation list.
    pub authority: PckAuthority,
}

/// Which certificates a SEV-SNP report needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpNeeded {
    /// Product line; reports of version 2 do not say.
    pub product: Option<SnpProduct>,
    /// Which endorsement key.
    pub signing_key: SnpSigningKey,
    /// The chip; zero when the host masks it.
    pub chip_id: [u8; 64],
    /// The version the endorsement key is derived for, the bytes as in the report.
    pub reported_tcb: [u8; 8],
    /// Whether the certificate of the endorsement key stands behind the report.
    pub endorsement_key_present: bool,
    /// Whether the certificate of its issuer stands behind the report.
    pub intermediate_present: bool,
}

impl Collateral {
    /// When the first part of it is out of date, certificates left out; `None` when nothing in it has such a date.
    pub fn next_update(&self) -> Option<UnixSeconds> {
        match self {
            Self::Dcap(collateral) => Some(collateral.next_update()),
            Self::Snp(collateral) => collateral.next_update(),
        }
    }
}

/// Collateral that cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CollateralError {
    /// Larger than [`DcapCollateral::LIMIT`].
    #[error(
        "collateral is too large: expected at most {} bytes, found {found}",
        DcapCollateral::LIMIT
    )]
    TooLarge {
        /// Size in bytes.
        found: usize,
    },
    /// Not the JSON object expected.
    #[error("collateral is not the JSON expected: {why}")]
    Json {
        /// What is wrong, and where.
        why: String,
    },
    /// A field that does not hold what it should.
    #[error("collateral, {field}: {why}")]
    Field {
        /// The field, by its name in JSON.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A certificate or revocation list in it is malformed.
    #[error("collateral: {0}")]
    Content(#[from] Reason),
}

impl CollateralError {
    pub(crate) fn field(field: &'static str, why: impl Into<String>) -> Self {
        Self::Field {
            field,
            why: why.into(),
        }
    }
}

/// Collateral for SGX and TDX as the PCS API gives it, part by part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DcapCollateralParts {
    /// Chain of the PCK CRL's issuer, PEM: PCK CA, root.
    pub pck_crl_issuer_chain: String,
    /// CRL of the root, DER.
    pub root_ca_crl: Vec<u8>,
    /// CRL of the PCK CA, DER.
    pub pck_crl: Vec<u8>,
    /// Chain of the TCB information's signer, PEM: signer, root.
    pub tcb_info_issuer_chain: String,
    /// The JSON object `tcbInfo`, byte for byte as signed.
    pub tcb_info: String,
    /// Its signature: ECDSA P-256, R and S.
    pub tcb_info_signature: Vec<u8>,
    /// Chain of the QE identity's signer, PEM: signer, root.
    pub qe_identity_issuer_chain: String,
    /// The JSON object `enclaveIdentity`, byte for byte as signed.
    pub qe_identity: String,
    /// Its signature: ECDSA P-256, R and S.
    pub qe_identity_signature: Vec<u8>,
}

/// Collateral for SGX and TDX, read but not verified. Cheap to clone.
#[derive(Clone)]
pub struct DcapCollateral {
    inner: Arc<Inner>,
}

struct Inner {
    parts: DcapCollateralParts,
    digest: [u8; 32],
    signed: Signed,
}

impl DcapCollateral {
    /// Largest collateral, 1 MiB; real collateral stays below 64 KiB.
    pub const LIMIT: usize = 1024 * 1024;

    /// Reads the parts.
    ///
    /// # Errors
    /// A part is malformed or all of them together are too large. Signatures and dates are verified with evidence.
    pub fn new(parts: DcapCollateralParts) -> Result<Self, CollateralError> {
        let found = parts.pieces().iter().map(|piece| piece.len()).sum();
        if found > Self::LIMIT {
            return Err(CollateralError::TooLarge { found });
        }
        let signed = Signed::read(&parts)?;
        let digest = parts.digest();
        Ok(Self {
            inner: Arc::new(Inner {
                parts,
                digest,
                signed,
            }),
        })
    }

    /// Reads the JSON object that collateral services and quoting libraries exchange: the parts by their names in
    /// [`DcapCollateralParts`], with revocation lists and signatures in hex. Other fields are passed over.
    ///
    /// # Errors
    /// As [`DcapCollateral::new`], or not such an object.
    pub fn from_json(json: &[u8]) -> Result<Self, CollateralError> {
        if json.len() > Self::LIMIT {
            return Err(CollateralError::TooLarge { found: json.len() });
        }
        let json: Json = serde_json::from_slice(json).map_err(|error| CollateralError::Json {
            why: error.to_string(),
        })?;
        Self::new(DcapCollateralParts {
            pck_crl_issuer_chain: json.pck_crl_issuer_chain,
            root_ca_crl: hexadecimal("root_ca_crl", &json.root_ca_crl)?,
            pck_crl: hexadecimal("pck_crl", &json.pck_crl)?,
            tcb_info_issuer_chain: json.tcb_info_issuer_chain,
            tcb_info: json.tcb_info,
            tcb_info_signature: hexadecimal("tcb_info_signature", &json.tcb_info_signature)?,
            qe_identity_issuer_chain: json.qe_identity_issuer_chain,
            qe_identity: json.qe_identity,
            qe_identity_signature: hexadecimal("qe_identity_signature", &json.qe_identity_signature)?,
        })
    }

    /// The JSON object [`DcapCollateral::from_json`] reads.
    pub fn to_json(&self) -> String {
        let parts = self.parts();
        serde_json::json!({
            "pck_crl_issuer_chain": parts.pck_crl_issuer_chain,
            "root_ca_crl": hex::encode(&parts.root_ca_crl),
            "pck_crl": hex::encode(&parts.pck_crl),
            "tcb_info_issuer_chain": parts.tcb_info_issuer_chain,
            "tcb_info": parts.tcb_info,
            "tcb_info_signature": hex::encode(&parts.tcb_info_signature),
            "qe_identity_issuer_chain": parts.qe_identity_issuer_chain,
            "qe_identity": parts.qe_identity,
            "qe_identity_signature": hex::encode(&parts.qe_identity_signature),
        })
        .to_string()
    }

    /// The parts it was read from.
    pub fn parts(&self) -> &DcapCollateralParts {
        &self.inner.parts
    }

    /// The end of the first part to expire, certificates left out: fetch new collateral before.
    pub fn next_update(&self) -> UnixSeconds {
        self.inner.signed.next_update()
    }

    /// What it says it is for; nothing of it is verified. `None` when it says no such thing.
    pub fn is_for(&self) -> Option<DcapNeeded> {
        self.inner.signed.is_for()
    }

    /// Everything in it that has a period of validity.
    pub fn dated(&self) -> Vec<(Dated, UnixSeconds, UnixSeconds)> {
        let dated = self.inner.signed.dated().into_iter();
        dated
            .map(|(dated, period)| (dated, period.from, period.until))
            .collect()
    }

    pub(crate) fn signed(&self) -> &Signed {
        &self.inner.signed
    }

    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.inner.digest
    }
}

impl fmt::Debug for DcapCollateral {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DcapCollateral")
            .field("digest", &hex::encode(self.inner.digest))
            .finish_non_exhaustive()
    }
}

impl DcapCollateralParts {
    fn pieces(&self) -> [&[u8]; 9] {
        [
            self.pck_crl_issuer_chain.as_bytes(),
            &self.root_ca_crl,
            &self.pck_crl,
            self.tcb_info_issuer_chain.as_bytes(),
            self.tcb_info.as_bytes(),
            &self.tcb_info_signature,
            self.qe_identity_issuer_chain.as_bytes(),
            self.qe_identity.as_bytes(),
            &self.qe_identity_signature,
        ]
    }

    /// Each piece with its length in front, so that no two sets of parts have the same bytes.
    fn digest(&self) -> [u8; 32] {
        let mut bytes = Vec::new();
        for piece in self.pieces() {
            bytes.extend_from_slice(&(piece.len() as u64).to_be_bytes());
            bytes.extend_from_slice(piece);
        }
        sha256(&bytes)
    }
}

#[derive(Deserialize)]
struct Json {
    pck_crl_issuer_chain: String,
    root_ca_crl: String,
    pck_crl: String,
    tcb_info_issuer_chain: String,
    tcb_info: String,
    tcb_info_signature: String,
    qe_identity_issuer_chain: String,
    qe_identity: String,
    qe_identity_signature: String,
}

fn hexadecimal(field: &'static str, text: &str) -> Result<Vec<u8>, CollateralError> {
    hex::decode(text)
        .map_err(|error| CollateralError::field(field, format!("expected hex, found {}", not_hex(error))))
}

/// Why something is not hex. A byte that is not ASCII is shown escaped: it is part of a character, and none itself.
pub fn not_hex(error: hex::FromHexError) -> String {
    match error {
        hex::FromHexError::InvalidHexCharacter { c, index } => match u8::try_from(c) {
            Ok(byte) => format!("\"{}\" behind {index} bytes", byte.escape_ascii()),
            Err(_) => error.to_string(),
        },
        other => other.to_string(),
    }
}

/// SHA-256 as an array.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut output = [0; 32];
    for (target, byte) in output.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *target = *byte;
    }
    output
}
