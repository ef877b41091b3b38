//! Verifying a Coordinator's evidence: collateral is obtained, then the verifier decides (`spec/08`).

use std::sync::Arc;
use std::time::SystemTime;

use marblerun_attestation::quote::UnrecognisedEvidence;
use marblerun_attestation::{
    Claims, ProductionRoots, Quote, Refused, ReportBinding, SimulationRoots, TrustRoots, UnixSeconds,
    Verified, Verifier,
};
use marblerun_collateral::{Asker, Clock, CollateralError, Collaterals, Config, StartError};

use crate::attested::Trust;

/// Why evidence was not verified.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// It has no known format.
    #[error(transparent)]
    Unrecognised(#[from] UnrecognisedEvidence),
    /// Verification failed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is no collateral to verify it with.
    #[error("no collateral to verify it with")]
    NoCollateral(#[from] CollateralError),
}

/// Verifies evidence, under the roots of the manufacturers or under those of the software TEE, never under both.
pub struct EvidenceVerifier {
    kind: Kind,
    clock: Clock,
}

/// The clock of this machine.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        UnixSeconds(since_epoch.map_or(0, |since_epoch| since_epoch.as_secs()))
    })
}

enum Kind {
    Hardware(Verifier<ProductionRoots>, Collaterals),
    SoftwareTee(Verifier<SimulationRoots>, Collaterals),
}

impl EvidenceVerifier {
    /// Under the roots of the manufacturers, with collateral as configured, as of the time that `clock` tells.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn hardware(collateral: Config, clock: Clock) -> Result<Self, StartError> {
        let roots = ProductionRoots::pinned();
        let collaterals = Collaterals::new(collateral, roots.clone(), Arc::clone(&clock))?;
        Ok(Self {
            kind: Kind::Hardware(Verifier::new(roots), collaterals),
            clock,
        })
    }

    /// Under the roots of the software TEE, whose keys everybody knows: for Coordinators in strict simulation. What is
    /// verified so proves nothing; whoever uses it should say so loudly.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn dangerous_software_tee(collateral: Config, clock: Clock) -> Result<Self, StartError> {
        let roots = SimulationRoots::development();
        let collaterals = Collaterals::new(collateral, roots.clone(), Arc::clone(&clock))?;
        Ok(Self {
            kind: Kind::SoftwareTee(Verifier::new(roots), collaterals),
            clock,
        })
    }

    /// What verified evidence claims.
    ///
    /// # Errors
    /// [`EvidenceError`]
    pub async fn verify(&self, evidence: &[u8], binding: &ReportBinding) -> Result<Claims, EvidenceError> {
        let quote = Quote::new(evidence.to_vec())?;
        let clock = &self.clock;
        match &self.kind {
            Kind::Hardware(verifier, collaterals) => verify(verifier, collaterals, clock, &quote, binding)
                .await
                .map(Verified::into_inner),
            Kind::SoftwareTee(verifier, collaterals) => verify(verifier, collaterals, clock, &quote, binding)
                .await
                .map(Verified::into_inner),
        }
    }

    /// Why a Coordinator is believed that this verifies.
    pub(crate) fn trust(&self) -> Trust {
        match self.kind {
            Kind::Hardware(..) => Trust::Evidence,
            Kind::SoftwareTee(..) => Trust::SimulatedEvidence,
        }
    }
}

async fn verify<R: TrustRoots>(
    verifier: &Verifier<R>,
    collaterals: &Collaterals,
    clock: &Clock,
    quote: &Quote,
    binding: &ReportBinding,
) -> Result<Verified<Claims, R>, EvidenceError> {
    let needed = verifier.collateral_needed(quote, binding, clock())?;
    let obtained = collaterals.get(&needed, Asker::Trusted).await?;
    Ok(verifier.verify_by_policy(
        quote,
        binding,
        &obtained.collateral,
        clock(),
        collaterals.policy(),
    )?)
}
