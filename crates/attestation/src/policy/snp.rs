//! Which platforms of SEV-SNP are good enough (spec/08): they have no rating, so products and the security versions of
//! their components are compared.

use std::fmt;
use std::ops::ControlFlow;

use super::Rules;
use crate::claims::{SnpProduct, SnpTcb};

/// `MinimumTCB`: the least security version of each component of a SEV-SNP platform. What is `None` is not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnpMinimumTcb {
    /// `BootLoader`
    pub boot_loader: Option<u8>,
    /// `TEE`
    pub tee: Option<u8>,
    /// `SNP`
    pub snp: Option<u8>,
    /// `Microcode`
    pub microcode: Option<u8>,
    /// `FMC`; only Turin has it.
    pub fmc: Option<u8>,
}

/// The rule `Product`: one of those listed; an empty list takes any.
///
/// # Errors
/// Breaks off where the judge of `rules` says so.
pub fn snp_product(rules: &mut Rules<'_>, listed: &[SnpProduct], found: SnpProduct) -> ControlFlow<()> {
    if listed.is_empty() {
        return ControlFlow::Continue(());
    }
    rules.tell("Product", listed.contains(&found), OneOf(listed), found)
}

/// The rules below `MinimumTCB`, held against the reported version: the one that the endorsement key stands for.
///
/// # Errors
/// Breaks off where the judge of `rules` says so.
pub fn snp_minimum_tcb(rules: &mut Rules<'_>, minimum: &SnpMinimumTcb, found: &SnpTcb) -> ControlFlow<()> {
    let mut rules = rules.below("MinimumTCB");
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
