//! Claims of a SEV-SNP guest against a package.

use std::fmt;
use std::ops::ControlFlow;

use marblerun_attestation::SnpClaims;
use marblerun_attestation::claims::SnpProduct;
use marblerun_attestation::policy::Rules;

use crate::manifest::{Package, SnpMinimumTcb, SnpPackage};

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
    if !snp.products.is_empty() {
        let kept = snp.products.contains(&claims.product);
        own.tell("Product", kept, OneOf(&snp.products), claims.product)?;
    }
    if let Some(minimum) = &snp.minimum_tcb {
        appraise_tcb(&mut own.below("MinimumTCB"), minimum, claims)?;
    }
    ControlFlow::Continue(())
}

/// Against the reported version: the one that the endorsement key stands for.
fn appraise_tcb(rules: &mut Rules<'_>, minimum: &SnpMinimumTcb, claims: &SnpClaims) -> ControlFlow<()> {
    let found = claims.tcb;
    for (field, minimum, found) in [
        ("BootLoader", minimum.boot_loader, Some(found.boot_loader)),
        ("TEE", minimum.tee, Some(found.tee)),
        ("SNP", minimum.snp, Some(found.snp)),
        ("Microcode", minimum.microcode, Some(found.microcode)),
        ("FMC", minimum.fmc, found.fmc),
    ] {
        match (minimum, found) {
            (None, _) => {}
            (Some(minimum), Some(found)) => rules.at_least(field, minimum, found)?,
            (Some(minimum), None) => rules.tell(
                field,
                false,
                format_args!("at least {minimum}"),
                "no such component",
            )?,
        }
    }
    ControlFlow::Continue(())
}

struct OneOf<'a>(&'a [SnpProduct]);

impl fmt::Display for OneOf<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, product) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(" or ")?;
            }
            write!(formatter, "{product}")?;
        }
        Ok(())
    }
}
