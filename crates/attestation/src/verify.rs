//! Verification of evidence: one entry point, [`Verifier::verify`], for every TEE.
//!
//! It is a function of evidence, binding, collateral, roots and time; it fetches nothing and knows no clock. Its
//! steps are those of [`Step`]; the first that fails ends it with one [`Reason`]:
//!
//! 1. Format: what kind of evidence it is.
//! 2. Fields: lengths and fields with fixed values.
//! 3. Chain: the certificates of the platform end in the pinned root and are in force. SGX and TDX: PCK, PCK CA,
//!    Intel SGX root. SEV-SNP: VCEK, ASK, ARK, or VLEK, ASVK, ARK.
//! 4. Signature: SGX and TDX: the PCK signs the quoting enclave's report, that report names the attestation key, and
//!    the attestation key signs the quote. SEV-SNP: the endorsement key signs the report.
//! 5. Binding: the report data is the one asked for.
//! 6. Collateral: revocation lists, TCB information and QE identity are signed below the root and in force; no
//!    certificate is revoked.
//! 7. Platform: collateral is for this kind of TEE and this platform; an endorsement key is for this chip, firmware
//!    and product.
//! 8. Quoting enclave: its identity is Intel's (SGX, TDX).
//! 9. Guest: TDX module, attributes of the trust domain; VMPL and policy of a SEV-SNP guest.
//! 10. Rating: TCB status and advisories (SGX, TDX). Whether they are good enough is the manifest's choice.
//! 11. Second opinion: the first time a platform and its collateral are seen, a second implementation has to agree
//!     (SGX, TDX). From then on signatures of certificates and collateral are known to hold; every other step is
//!     taken again, and every period of validity is compared with the time again.

use std::fmt;

use crate::admission::Verified;
use crate::binding::ReportBinding;
use crate::claims::Claims;
use crate::collateral::{Collateral, CollateralNeeded};
use crate::dcap::{self, Seen};
use crate::freshness::{AsOf, FreshnessPolicy};
use crate::moment::UnixSeconds;
use crate::quote::{EvidenceKind, Quote};
use crate::reason::{Reason, Refused, Step};
use crate::roots::TrustRoots;
use crate::snp;

/// Verifies evidence against one set of roots.
pub struct Verifier<R> {
    roots: R,
    seen: Seen,
}

impl<R: TrustRoots> Verifier<R> {
    /// How many platforms with their collateral are remembered as verified.
    pub const PLATFORMS_REMEMBERED: usize = 256;

    /// A verifier that has seen nothing yet. Make one and share it: what it remembers makes verification faster.
    pub fn new(roots: R) -> Self {
        Self {
            roots,
            seen: Seen::new(Self::PLATFORMS_REMEMBERED),
        }
    }

    /// What the evidence needs to be verified. Steps 1 to 5 for SGX and TDX, steps 1, 2 and 5 for SEV-SNP, whose
    /// signature cannot be verified before the certificates are there.
    ///
    /// # Errors
    /// One of the steps failed: nothing has to be fetched.
    pub fn collateral_needed(
        &self,
        quote: &Quote,
        binding: &ReportBinding,
        now: UnixSeconds,
    ) -> Result<CollateralNeeded, Refused> {
        let (kind, evidence) = recognise(quote)?;
        match kind {
            EvidenceKind::Empty => Err(Step::Format.refuse(Reason::NoEvidence)),
            EvidenceKind::Snp => snp::needed(evidence, binding).map(CollateralNeeded::Snp),
            EvidenceKind::SgxV3 | EvidenceKind::TdxV4 | EvidenceKind::TdxV5 => {
                dcap::needed(self.roots.certificates(), kind, evidence, binding, now)
                    .map(CollateralNeeded::Dcap)
            }
        }
    }

    /// What evidence of a platform that was verified before needs: the answer of [`Verifier::collateral_needed`]
    /// without its cost, as nothing is verified for it. `None` for a platform that is not remembered, and for
    /// SEV-SNP, where nothing is saved.
    pub fn collateral_remembered(&self, quote: &Quote) -> Option<CollateralNeeded> {
        let (kind, evidence) = quote.recognise().ok()?;
        match kind {
            EvidenceKind::Empty | EvidenceKind::Snp => None,
            EvidenceKind::SgxV3 | EvidenceKind::TdxV4 | EvidenceKind::TdxV5 => {
                dcap::remembered(&self.seen, kind, evidence).map(CollateralNeeded::Dcap)
            }
        }
    }

    /// Verifies evidence as of `now`.
    ///
    /// # Errors
    /// The step that failed, and why.
    pub fn verify(
        &self,
        quote: &Quote,
        binding: &ReportBinding,
        collateral: &Collateral,
        now: UnixSeconds,
    ) -> Result<Verified<Claims, R>, Refused> {
        self.verify_by_policy(quote, binding, collateral, now, FreshnessPolicy::default())
    }

    /// As [`Verifier::verify`], with collateral that may be out of date by what the policy grants. Whoever grants it
    /// says so where the outcome is told.
    ///
    /// # Errors
    /// The step that failed, and why.
    pub fn verify_by_policy(
        &self,
        quote: &Quote,
        binding: &ReportBinding,
        collateral: &Collateral,
        now: UnixSeconds,
        policy: FreshnessPolicy,
    ) -> Result<Verified<Claims, R>, Refused> {
        let as_of = AsOf { now, policy };
        // 1. Format.
        let (kind, evidence) = recognise(quote)?;
        let roots = self.roots.certificates();
        let other_collateral =
            |found, expected| Err(Step::Collateral.refuse(Reason::AnotherCollateral { found, expected }));
        let claims = match (kind, collateral) {
            (EvidenceKind::Empty, _) => return Err(Step::Format.refuse(Reason::NoEvidence)),
            (EvidenceKind::Snp, Collateral::Snp(collateral)) => Claims::Snp(Box::new(snp::verify(
                roots, evidence, binding, collateral, as_of,
            )?)),
            (EvidenceKind::Snp, Collateral::Dcap(_)) => {
                return other_collateral("SGX or TDX", "that of SEV-SNP");
            }
            (_, Collateral::Dcap(collateral)) => {
                dcap::verify(roots, &self.seen, kind, evidence, binding, collateral, as_of)?
            }
            (_, Collateral::Snp(_)) => return other_collateral("SEV-SNP", "that of SGX or TDX"),
        };
        Ok(Verified::after_every_step(claims))
    }
}

/// Checks collateral by itself, before there is evidence: signed below `roots` by whom it should be, in force at `now`
/// or within the policy, and for what `needed` names. Whether it fits evidence is known only with the evidence; but
/// what does not pass here never will.
///
/// Certificates of a SEV-SNP platform that stand behind the report are not asked for, and without its product line
/// nothing about such collateral can be checked: then it is refused.
///
/// # Errors
/// As those of steps 3, 6 and 7 of verification.
pub fn check_collateral<R: TrustRoots>(
    roots: &R,
    collateral: &Collateral,
    needed: &CollateralNeeded,
    now: UnixSeconds,
    policy: FreshnessPolicy,
) -> Result<(), Refused> {
    let roots = roots.certificates();
    let as_of = AsOf { now, policy };
    let other = |found, expected| Err(Step::Collateral.refuse(Reason::AnotherCollateral { found, expected }));
    match (collateral, needed) {
        (Collateral::Dcap(collateral), CollateralNeeded::Dcap(needed)) => {
            dcap::check_collateral(roots, collateral, needed, as_of)
        }
        (Collateral::Snp(collateral), CollateralNeeded::Snp(needed)) => {
            snp::check_collateral(roots, collateral, needed, as_of)
        }
        (Collateral::Dcap(_), CollateralNeeded::Snp(_)) => other("SGX or TDX", "that of SEV-SNP"),
        (Collateral::Snp(_), CollateralNeeded::Dcap(_)) => other("SEV-SNP", "that of SGX or TDX"),
    }
}

impl<R: fmt::Debug> fmt::Debug for Verifier<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Verifier")
            .field("roots", &self.roots)
            .finish_non_exhaustive()
    }
}

fn recognise(quote: &Quote) -> Result<(EvidenceKind, &[u8]), Refused> {
    quote
        .recognise()
        .map_err(|error| Step::Format.refuse(Reason::Unrecognised(error)))
}
