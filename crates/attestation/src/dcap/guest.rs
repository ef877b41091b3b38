//! The TDX module and the attributes of a trust domain (Intel TDX Module ABI specification, TD_PARAMS.ATTRIBUTES).

use super::quote::TdReport;
use super::tcb_info::TcbInfo;
use crate::reason::Reason;

/// Bits of the group TUD: the trust domain is under debug.
const UNDER_DEBUG: u64 = 0xFF;
const SERVTD_EXT: u64 = 1 << 17;
const SEPT_VE_DISABLE: u64 = 1 << 28;
const MIGRATABLE: u64 = 1 << 29;
/// Bits 1 to 3, 7 to 15, 23 to 26, 32 to 61.
const RESERVED: u64 = 0x3FFF_FFFF_0780_FF8E;

/// Whether the trust domain can be looked into by its host.
pub(super) fn debug(report: &TdReport<'_>) -> bool {
    u64::from_le_bytes(*report.attributes) & UNDER_DEBUG != 0
}

/// Whether the module is the one that the TCB information rates, and the trust domain stays where and what it is.
pub(super) fn check(report: &TdReport<'_>, info: &TcbInfo) -> Result<(), Reason> {
    module(report, info)?;

    let attributes = u64::from_le_bytes(*report.attributes);
    let found = || hex::encode(report.attributes);
    if attributes & RESERVED != 0 {
        return Err(Reason::TdReserved { found: found() });
    }
    if attributes & MIGRATABLE != 0 {
        return Err(Reason::TdMigratable { found: found() });
    }
    if attributes & SEPT_VE_DISABLE == 0 {
        return Err(Reason::TdSeptVe { found: found() });
    }
    if attributes & SERVTD_EXT != 0 {
        return Err(Reason::TdService {
            found: format!("SERVTD_EXT on in {}", found()),
        });
    }
    match &report.since_15 {
        Some(fields) if *fields.mr_service_td != [0; 48] => Err(Reason::TdService {
            found: hex::encode(fields.mr_service_td),
        }),
        _ => Ok(()),
    }
}

fn module(report: &TdReport<'_>, info: &TcbInfo) -> Result<(), Reason> {
    let [_, version, ..] = *report.tee_tcb_svn;
    let expected = info.module(version)?;
    if *report.mr_signer_seam != expected.mr_signer {
        return Err(Reason::Module {
            field: "MRSIGNERSEAM",
            found: hex::encode(report.mr_signer_seam),
            expected: hex::encode(expected.mr_signer),
        });
    }
    // Bits outside the mask are not known to be harmless, so they have to be zero.
    let found = u64::from_le_bytes(*report.seam_attributes);
    let mask = u64::from_le_bytes(expected.mask);
    if found != u64::from_le_bytes(expected.attributes) & mask {
        return Err(Reason::Module {
            field: "SEAMATTRIBUTES",
            found: hex::encode(report.seam_attributes),
            expected: format!(
                "{} under mask {}",
                hex::encode(expected.attributes),
                hex::encode(expected.mask)
            ),
        });
    }
    Ok(())
}
