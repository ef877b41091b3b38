//! The attestation report: SEV-SNP ABI specification, ATTESTATION_REPORT, versions 2 to 5.

use crate::binding::REPORT_DATA_SIZE;
use crate::claims::{SnpProduct, SnpSigningKey};
use crate::layout::Layout;
use crate::quote::SNP_REPORT_SIZE;
use crate::reason::Reason;

/// How much of the report is signed, in bytes.
const SIGNED_SIZE: usize = 0x2A0;
/// Size of R and of S in the signature, of which only the first 48 bytes are used.
const COMPONENT_SIZE: usize = 72;
/// Size of a P-384 scalar.
const SCALAR_SIZE: usize = 48;

/// A report by its fields. Nothing of it is verified.
pub(super) struct Report<'e> {
    pub(super) signed: &'e [u8],
    /// R and S, big-endian.
    pub(super) signature: [u8; 2 * SCALAR_SIZE],
    pub(super) guest_svn: u32,
    pub(super) policy: u64,
    pub(super) family_id: [u8; 16],
    pub(super) image_id: [u8; 16],
    pub(super) vmpl: u32,
    pub(super) signing_key: SnpSigningKey,
    pub(super) report_data: [u8; REPORT_DATA_SIZE],
    pub(super) measurement: [u8; 48],
    pub(super) host_data: [u8; 32],
    pub(super) id_key_digest: [u8; 48],
    pub(super) author_key_digest: [u8; 48],
    pub(super) reported_tcb: [u8; 8],
    /// By the CPUID fields, which version 2 does not have.
    pub(super) product: Option<SnpProduct>,
    pub(super) chip_id: [u8; 64],
    pub(super) committed_tcb: [u8; 8],
    pub(super) launch_tcb: [u8; 8],
    /// What follows the report: a certificate table, or nothing.
    pub(super) behind: &'e [u8],
}

impl<'e> Report<'e> {
    pub(super) fn read(evidence: &'e [u8]) -> Result<Self, Reason> {
        let mut whole = Layout::new("report", evidence);
        let report = whole.slice(SNP_REPORT_SIZE)?;
        let behind = whole.rest();
        let mut fields = Layout::new("report", report);
        let signed = fields.slice(SIGNED_SIZE)?;
        let signature = signature(fields)?;

        let mut fields = Layout::new("report", signed);
        let version = fields.u32()?;
        let guest_svn = fields.u32()?;
        let policy = fields.u64()?;
        let family_id = *fields.bytes()?;
        let image_id = *fields.bytes()?;
        let vmpl = fields.u32()?;
        fields.skip::<4>()?; // Signature algorithm: the format is recognised by it.
        fields.skip::<8>()?; // Current TCB.
        fields.skip::<8>()?; // Platform information.
        let signing_key = match (fields.u32()? >> 2) & 7 {
            0 => SnpSigningKey::Vcek,
            1 => SnpSigningKey::Vlek,
            found => return Err(Reason::SigningKey { found: found as u8 }),
        };
        fields.skip::<4>()?;
        let report_data = *fields.bytes()?;
        let measurement = *fields.bytes()?;
        let host_data = *fields.bytes()?;
        let id_key_digest = *fields.bytes()?;
        let author_key_digest = *fields.bytes()?;
        fields.skip::<64>()?; // Identifiers of this report and of the migration agent's.
        let reported_tcb = *fields.bytes()?;
        let (family, model) = (fields.u8()?, fields.u8()?);
        let product = match version {
            2 => None,
            _ => Some(product(family, model)?),
        };
        fields.skip::<22>()?;
        let chip_id = *fields.bytes()?;
        let committed_tcb = *fields.bytes()?;
        fields.skip::<8>()?; // Versions of the firmware, current and committed.
        let launch_tcb = *fields.bytes()?;
        Ok(Self {
            signed,
            signature,
            guest_svn,
            policy,
            family_id,
            image_id,
            vmpl,
            signing_key,
            report_data,
            measurement,
            host_data,
            id_key_digest,
            author_key_digest,
            reported_tcb,
            product,
            chip_id,
            committed_tcb,
            launch_tcb,
            behind,
        })
    }
}

/// R and S are little-endian and longer than their scalars.
fn signature(mut fields: Layout<'_>) -> Result<[u8; 2 * SCALAR_SIZE], Reason> {
    let mut signature = [0; 2 * SCALAR_SIZE];
    for target in signature.chunks_exact_mut(SCALAR_SIZE) {
        let scalar = fields.bytes::<SCALAR_SIZE>()?;
        for (target, byte) in target.iter_mut().zip(scalar.iter().rev()) {
            *target = *byte;
        }
        fields.reserved("upper bytes of the signature", COMPONENT_SIZE - SCALAR_SIZE)?;
    }
    fields.reserved("bytes behind the signature", fields.rest().len())?;
    Ok(signature)
}

/// Product line by the combined family and model of CPUID.
fn product(family: u8, model: u8) -> Result<SnpProduct, Reason> {
    match (family, model) {
        (0x19, 0x00..=0x0F) => Ok(SnpProduct::Milan),
        (0x19, 0x10..=0x1F | 0xA0..=0xAF) => Ok(SnpProduct::Genoa),
        (0x1A, 0x00..=0x1F) => Ok(SnpProduct::Turin),
        _ => Err(Reason::UnknownProduct {
            found: format!("CPUID family {family:#x}, model {model:#x}"),
        }),
    }
}
