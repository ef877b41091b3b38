//! Layout of quotes: Intel SGX DCAP ECDSA quote library API, appendix A (version 3), Intel TDX DCAP quoting library
//! API, appendix A (versions 4 and 5).

use crate::collateral::DcapTee;
use crate::layout::{Layout, zero};
use crate::quote::{EvidenceKind, QUOTE_HEADER_SIZE, SGX_REPORT_BODY_SIZE, TD_REPORT_10_SIZE};
use crate::reason::Reason;

/// Intel's QE vendor id.
const INTEL: [u8; 16] = *b"\x93\x9a\x72\x33\xf7\x9c\x4c\xa9\x94\x0a\x0d\xb3\x95\x7f\x06\x07";
const ECDSA_P256: u16 = 2;
const PCK_CHAIN: u16 = 5;
const QE_REPORT: u16 = 6;
/// Size of the authentication data that Intel's quoting enclaves write.
const AUTHENTICATION_DATA_SIZE: u16 = 32;

/// A quote by its fields. Nothing of it is verified.
pub(super) struct Quote<'e> {
    /// What the attestation key signs: header and body.
    pub(super) signed: &'e [u8],
    pub(super) body: Body<'e>,
    /// R and S, big-endian.
    pub(super) signature: &'e [u8; 64],
    /// X and Y.
    pub(super) attestation_key: &'e [u8; 64],
    /// What the PCK signs: the report of the quoting enclave.
    pub(super) qe_report: &'e [u8; SGX_REPORT_BODY_SIZE],
    pub(super) qe_report_signature: &'e [u8; 64],
    pub(super) authentication_data: &'e [u8],
    /// PEM.
    pub(super) pck_chain: &'e [u8],
}

/// The report in the quote.
pub(super) enum Body<'e> {
    Sgx(SgxReport<'e>),
    Tdx(TdReport<'e>),
}

impl Body<'_> {
    pub(super) fn tee(&self) -> DcapTee {
        match self {
            Self::Sgx(_) => DcapTee::Sgx,
            Self::Tdx(_) => DcapTee::Tdx,
        }
    }

    pub(super) fn report_data(&self) -> &[u8; 64] {
        match self {
            Self::Sgx(report) => report.report_data,
            Self::Tdx(report) => report.report_data,
        }
    }
}

/// Report body of an enclave.
pub(super) struct SgxReport<'e> {
    pub(super) misc_select: &'e [u8; 4],
    pub(super) attributes: &'e [u8; 16],
    pub(super) mr_enclave: &'e [u8; 32],
    pub(super) mr_signer: &'e [u8; 32],
    pub(super) product_id: u16,
    pub(super) security_version: u16,
    pub(super) report_data: &'e [u8; 64],
}

impl<'e> SgxReport<'e> {
    pub(super) fn read(bytes: &'e [u8]) -> Result<Self, Reason> {
        let mut fields = Layout::new("enclave report", bytes);
        fields.skip::<16>()?; // CPUSVN.
        let misc_select = fields.bytes()?;
        fields.skip::<28>()?;
        let attributes = fields.bytes()?;
        let mr_enclave = fields.bytes()?;
        fields.skip::<32>()?;
        let mr_signer = fields.bytes()?;
        fields.skip::<96>()?;
        let product_id = fields.u16()?;
        let security_version = fields.u16()?;
        fields.skip::<60>()?;
        let report_data = fields.bytes()?;
        fields.end()?;
        Ok(Self {
            misc_select,
            attributes,
            mr_enclave,
            mr_signer,
            product_id,
            security_version,
            report_data,
        })
    }

    /// Attribute DEBUG.
    pub(super) fn debug(&self) -> bool {
        let [flags, ..] = self.attributes;
        flags & 2 != 0
    }
}

/// Report body of a trust domain.
pub(super) struct TdReport<'e> {
    pub(super) tee_tcb_svn: &'e [u8; 16],
    pub(super) mr_seam: &'e [u8; 48],
    pub(super) mr_signer_seam: &'e [u8; 48],
    pub(super) seam_attributes: &'e [u8; 8],
    pub(super) attributes: &'e [u8; 8],
    pub(super) xfam: &'e [u8; 8],
    pub(super) mrtd: &'e [u8; 48],
    pub(super) mr_config_id: &'e [u8; 48],
    pub(super) mr_owner: &'e [u8; 48],
    pub(super) mr_owner_config: &'e [u8; 48],
    pub(super) rtmr: [&'e [u8; 48]; 4],
    pub(super) report_data: &'e [u8; 64],
    /// What TD reports 1.5 add.
    pub(super) since_15: Option<Since15<'e>>,
}

/// Fields of TD report 1.5.
pub(super) struct Since15<'e> {
    /// Security versions now; the others are those of when the trust domain was started.
    pub(super) tee_tcb_svn_now: &'e [u8; 16],
    pub(super) mr_service_td: &'e [u8; 48],
}

impl<'e> TdReport<'e> {
    fn read(bytes: &'e [u8]) -> Result<Self, Reason> {
        let mut fields = Layout::new("TD report", bytes);
        let report = Self {
            tee_tcb_svn: fields.bytes()?,
            mr_seam: fields.bytes()?,
            mr_signer_seam: fields.bytes()?,
            seam_attributes: fields.bytes()?,
            attributes: fields.bytes()?,
            xfam: fields.bytes()?,
            mrtd: fields.bytes()?,
            mr_config_id: fields.bytes()?,
            mr_owner: fields.bytes()?,
            mr_owner_config: fields.bytes()?,
            rtmr: [fields.bytes()?, fields.bytes()?, fields.bytes()?, fields.bytes()?],
            report_data: fields.bytes()?,
            since_15: None,
        };
        if bytes.len() == TD_REPORT_10_SIZE {
            return Ok(report);
        }
        // The extended report adds fields that describe, and nothing that has to be judged.
        Ok(Self {
            since_15: Some(Since15 {
                tee_tcb_svn_now: fields.bytes()?,
                mr_service_td: fields.bytes()?,
            }),
            ..report
        })
    }
}

impl<'e> Quote<'e> {
    /// Reads evidence of one of the kinds with quotes.
    pub(super) fn read(kind: EvidenceKind, evidence: &'e [u8]) -> Result<Self, Reason> {
        let mut whole = Layout::new("quote", evidence);
        header(*whole.bytes()?)?;
        let (body, body_size) = match kind {
            EvidenceKind::TdxV5 => {
                let mut descriptor = whole;
                descriptor.skip::<2>()?; // Type of the body; recognised by it.
                let size = descriptor.u32()? as usize;
                whole.skip::<6>()?;
                (Body::Tdx(TdReport::read(whole.slice(size)?)?), 6 + size)
            }
            EvidenceKind::TdxV4 => {
                let body = TdReport::read(whole.slice(TD_REPORT_10_SIZE)?)?;
                (Body::Tdx(body), TD_REPORT_10_SIZE)
            }
            _ => {
                let body = SgxReport::read(whole.slice(SGX_REPORT_BODY_SIZE)?)?;
                (Body::Sgx(body), SGX_REPORT_BODY_SIZE)
            }
        };
        let signed = Layout::new("quote", evidence).slice(QUOTE_HEADER_SIZE + body_size)?;
        let signature_size = whole.u32()? as usize;
        let mut data = Layout::new("signature data of the quote", whole.slice(signature_size)?);
        let behind = whole.rest();
        if zero("", behind).is_err() {
            return Err(Reason::TrailingBytes {
                evidence: kind,
                found: behind.len(),
            });
        }

        let signature = data.bytes()?;
        let attestation_key = data.bytes()?;
        if kind != EvidenceKind::SgxV3 {
            data = certification_data(data, QE_REPORT)?;
        }
        let qe_report = data.bytes()?;
        let qe_report_signature = data.bytes()?;
        let authentication_size = data.u16()?;
        if authentication_size != AUTHENTICATION_DATA_SIZE {
            return Err(Reason::Length {
                part: "authentication data of the quoting enclave",
                expected: AUTHENTICATION_DATA_SIZE.into(),
                found: authentication_size.into(),
            });
        }
        let authentication_data = data.slice(authentication_size.into())?;
        let pck_chain = certification_data(data, PCK_CHAIN)?.rest();
        Ok(Self {
            signed,
            body,
            signature,
            attestation_key,
            qe_report,
            qe_report_signature,
            authentication_data,
            pck_chain,
        })
    }
}

/// Header fields that the format was not already recognised by.
fn header(header: [u8; QUOTE_HEADER_SIZE]) -> Result<(), Reason> {
    let mut fields = Layout::new("header of the quote", &header);
    fields.skip::<2>()?; // Version.
    let found = fields.u16()?;
    if found != ECDSA_P256 {
        return Err(Reason::AttestationKeyType { found });
    }
    fields.skip::<8>()?; // TEE type; security versions or reserved.
    let vendor: &[u8; 16] = fields.bytes()?;
    if *vendor != INTEL {
        return Err(Reason::QeVendor {
            found: hex::encode(vendor),
            expected: hex::encode(INTEL),
        });
    }
    Ok(())
}

/// Type, length and content of certification data, which is the last thing in what holds it.
fn certification_data<'e>(mut data: Layout<'e>, expected: u16) -> Result<Layout<'e>, Reason> {
    let found = data.u16()?;
    if found != expected {
        return Err(Reason::CertificationData { found, expected });
    }
    let size = data.u32()? as usize;
    let content = data.slice(size)?;
    data.end()?;
    Ok(Layout::new("certification data of the quote", content))
}
