//! Claims of a trust domain against a package.

use std::ops::ControlFlow;

use marblerun_attestation::TdxClaims;
use marblerun_attestation::policy::{Rules, tcb};

use crate::manifest::{Package, RTMR_FIELDS, TdxPackage};

/// What `TDX` does not give itself, the package gives: `Debug`, `AcceptedTCBStatuses`, `AcceptedAdvisories`.
pub(super) fn appraise(
    rules: &mut Rules<'_>,
    package: &Package,
    tdx: &TdxPackage,
    claims: &TdxClaims,
) -> ControlFlow<()> {
    if tdx.debug.is_none() {
        rules.equal("Debug", package.debug, claims.debug)?;
    }
    let mut own = rules.below("TDX");
    if let Some(expected) = tdx.debug {
        own.equal("Debug", expected, claims.debug)?;
    }
    let mut measured = |field, expected: &Option<[u8; 48]>, found| match expected {
        Some(expected) => own.equal_bytes(field, expected, found),
        None => ControlFlow::Continue(()),
    };
    measured("MRTD", &tdx.mrtd, &claims.mrtd)?;
    for (field, (expected, found)) in RTMR_FIELDS.iter().zip(tdx.rtmr.iter().zip(&claims.rtmr)) {
        measured(field, expected, found)?;
    }
    measured("MRSEAM", &tdx.mr_seam, &claims.mr_seam)?;
    measured("MRCONFIGID", &tdx.mr_config_id, &claims.mr_config_id)?;
    measured("MROWNER", &tdx.mr_owner, &claims.mr_owner)?;
    measured("MROWNERCONFIG", &tdx.mr_owner_config, &claims.mr_owner_config)?;

    if tdx.accepted_tcb_statuses.is_empty() {
        tcb::status(rules, &package.accepted_tcb_statuses, claims.tcb_status)?;
    } else {
        let own = &mut rules.below("TDX");
        tcb::status(own, &tdx.accepted_tcb_statuses, claims.tcb_status)?;
    }
    let found = claims.advisories.as_deref();
    if tdx.accepted_advisories.is_empty() {
        tcb::advisories(rules, &package.accepted_advisories, claims.tcb_status, found)
    } else {
        let own = &mut rules.below("TDX");
        tcb::advisories(own, &tdx.accepted_advisories, claims.tcb_status, found)
    }
}
