//! Appraisal: do verified claims comply with the package of a marble and with the infrastructures the manifest
//! allows (`spec/01`, `spec/08`)?
//!
//! A pure comparison, the same for the decision ([`comply`]) and for whoever wants to know why ([`explain`]). Every
//! rule names what was expected and what was found; the manifest is public and the evidence is the caller's own, so
//! all of it may be told.

mod infrastructure;
mod sgx;
mod snp;
mod tdx;

use std::ops::ControlFlow;

use imbl::OrdMap;
use marblerun_attestation::policy::{EveryRule, FirstBroken, Judge, RuleOutcome, Rules};
use marblerun_attestation::{Admission, Claims};

use crate::manifest::{Manifest, Marble, Name, Package};

/// A rule that the claims do not keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: expected {expected}, found {found}")]
pub struct Mismatch {
    /// The rule, by its path in the manifest.
    pub rule: String,
    /// What the manifest asks for.
    pub expected: String,
    /// What the evidence shows.
    pub found: String,
}

impl From<RuleOutcome> for Mismatch {
    fn from(outcome: RuleOutcome) -> Self {
        Self {
            rule: outcome.rule,
            expected: outcome.expected,
            found: outcome.found,
        }
    }
}

/// Whether a marble may be admitted. `raised` holds the security versions that package updates put in the place
/// of the manifest's.
///
/// Without verified evidence, which only simulation mode allows, there is nothing to compare.
///
/// # Errors
/// The first rule that is not kept.
pub fn comply(
    manifest: &Manifest,
    raised: &OrdMap<Name, u64>,
    marble: &Marble,
    admission: &Admission,
) -> Result<(), Mismatch> {
    let claims = match admission {
        Admission::Simulated(_) => return Ok(()),
        Admission::Verified(verified) => verified.get(),
        Admission::VerifiedInSimulation(verified) => verified.get(),
    };
    let mut first = FirstBroken::default();
    // What stopped it is kept by `first`.
    let _ = appraise(&mut first, manifest, &marble.package, raised, claims);
    Ok(first.into_result()?)
}

/// Every rule that is looked at for claims of a marble of this package, kept or not, in the order in which [`comply`]
/// looks at them. The claims comply if none is broken.
pub fn explain(
    manifest: &Manifest,
    package: &str,
    raised: &OrdMap<Name, u64>,
    claims: &Claims,
) -> Vec<RuleOutcome> {
    let mut every = EveryRule::default();
    // No rule stops `EveryRule`.
    let _ = appraise(&mut every, manifest, package, raised, claims);
    every.into_outcomes()
}

fn appraise(
    judge: &mut dyn Judge,
    manifest: &Manifest,
    name: &str,
    raised: &OrdMap<Name, u64>,
    claims: &Claims,
) -> ControlFlow<()> {
    let mut rules = Rules::of_document(judge);
    match manifest.packages.get(name) {
        Some(package) => {
            let raised = raised.get(name).copied();
            appraise_package(&mut rules.below("Packages").below(name), package, raised, claims)?;
        }
        None => rules.tell("Packages", false, name, "no such package")?,
    }
    infrastructure::appraise(&mut rules, &manifest.infrastructures, claims)
}

fn appraise_package(
    rules: &mut Rules<'_>,
    package: &Package,
    raised: Option<u64>,
    claims: &Claims,
) -> ControlFlow<()> {
    match (claims, &package.sgx, &package.tdx, &package.snp) {
        (Claims::Sgx(claims), Some(sgx), _, _) => sgx::appraise(rules, package, sgx, raised, claims),
        (Claims::Tdx(claims), _, Some(tdx), _) => tdx::appraise(rules, package, tdx, claims),
        (Claims::Snp(claims), _, _, Some(snp)) => snp::appraise(rules, package, snp, claims),
        (claims, ..) => rules.tell(
            "",
            false,
            "evidence of a TEE the package names claims for",
            format_args!("{} evidence", claims.tee()),
        ),
    }
}

#[cfg(test)]
mod tests;
