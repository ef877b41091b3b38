//! Claims of a SEV-SNP guest against a package.

use std::ops::ControlFlow;

use marblerun_attestation::SnpClaims;
use marblerun_attestation::policy::{Rules, snp_minimum_tcb, snp_product};

use crate::manifest::{Package, SnpPackage};

/// What `SNP` does not give itself, the package gives: `Debug`. There is no rating of SEV-SNP platforms, so its lists
/// of statuses and advisories are not looked at.
pub(super) fn appraise(
    rules: &mut Rules<'_>,
    package: &Package,
    snp: &SnpPackage,
    claims: &SnpClaims,
) -> ControlFlow<()> {
    if snp.debug.is_none() {
        rules.equal("Debug", package.debug, claims.debug)?;
    }
    let mut own = rules.below("SNP");
    if let Some(expected) = snp.debug {
        own.equal("Debug", expected, claims.debug)?;
    }
    // An agent could move the guest, with all it knows, to a platform nobody appraised.
    own.tell(
        "",
        !claims.migration_agent_allowed,
        "a guest policy without migration agent",
        if claims.migration_agent_allowed {
            "one that allows it"
        } else {
            "none"
        },
    )?;
    own.equal("VMPL", u32::from(snp.vmpl), claims.vmpl)?;
    if let Some(expected) = &snp.measurement {
        own.equal_bytes("Measurement", expected, &claims.measurement)?;
    }
    if let Some(expected) = &snp.host_data {
        own.equal_bytes("HostData", expected, &claims.host_data)?;
    }
    if let Some(expected) = &snp.id_key_digest {
        own.equal_bytes("IDKeyDigest", expected, &claims.id_key_digest)?;
    }
    if let Some(expected) = &snp.author_key_digest {
        own.equal_bytes("AuthorKeyDigest", expected, &claims.author_key_digest)?;
    }
    snp_product(&mut own, &snp.products, claims.product)?;
    if let Some(minimum) = &snp.minimum_tcb {
        snp_minimum_tcb(&mut own, minimum, &claims.tcb)?;
    }
    ControlFlow::Continue(())
}
