//! Claims of an SGX enclave against a package.

use std::ops::ControlFlow;

use marblerun_attestation::SgxClaims;
use marblerun_attestation::policy::{DebugRule, Rules, SgxEnclave, tcb};

use crate::manifest::{Package, SgxPackage};

/// `raised` counts instead of the package's security version.
pub(super) fn appraise(
    rules: &mut Rules<'_>,
    package: &Package,
    sgx: &SgxPackage,
    raised: Option<u64>,
    claims: &SgxClaims,
) -> ControlFlow<()> {
    let enclave = SgxEnclave {
        unique_id: sgx.unique_id.as_deref(),
        signer_id: sgx.signer_id.as_deref(),
        product_id: sgx.product_id,
        security_version: raised.or(sgx.security_version),
        debug: DebugRule::Exactly(package.debug),
    };
    enclave.tell(rules, claims)?;
    tcb::status(rules, &package.accepted_tcb_statuses, claims.tcb_status)?;
    tcb::advisories(
        rules,
        &package.accepted_advisories,
        claims.tcb_status,
        claims.advisories.as_deref(),
    )
}
