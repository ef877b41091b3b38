//! By what right a marble is admitted: verified evidence, or simulation mode; there is no third way.

use std::fmt;
use std::marker::PhantomData;

use crate::claims::Claims;
use crate::roots::{ProductionRoots, SimulationRoots};

/// A value that came out of verification against the roots `R`. Only this crate's verifier makes one, so holding it
/// is proof that every step was passed.
///
/// Without `R` it stands for the roots of the manufacturers: what was verified against the roots of a software TEE
/// has another type, so it cannot come where proof of real hardware is asked for.
///
/// ```compile_fail,E0308
/// use marblerun_attestation::roots::SimulationRoots;
/// use marblerun_attestation::{Claims, Verified};
/// fn only_real(_: &Verified<Claims>) {}
/// fn refused(simulated: &Verified<Claims, SimulationRoots>) {
///     only_real(simulated);
/// }
/// ```
pub struct Verified<C, R = ProductionRoots> {
    value: C,
    roots: PhantomData<fn() -> R>,
}

impl<C, R> Verified<C, R> {
    /// For the verifier, after its last step.
    pub(crate) fn after_every_step(value: C) -> Self {
        Self {
            value,
            roots: PhantomData,
        }
    }

    /// What was verified.
    pub fn get(&self) -> &C {
        &self.value
    }

    /// What was verified, without the proof that it was.
    pub fn into_inner(self) -> C {
        self.value
    }
}

impl<C: fmt::Debug, R> fmt::Debug for Verified<C, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Verified").field(&self.value).finish()
    }
}

impl<C: Clone, R> Clone for Verified<C, R> {
    fn clone(&self) -> Self {
        Self::after_every_step(self.value.clone())
    }
}

impl<C: PartialEq, R> PartialEq for Verified<C, R> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<C: Eq, R> Eq for Verified<C, R> {}

/// Permission to admit a marble without verified evidence. It is needed wherever a check is left out, so the places
/// that weaken security are those that name this type.
///
/// It stands for the lenient simulation mode only: with `--simulation-strict` nothing unverified is admitted, so
/// none is made (spec/08).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulationMode(());

impl SimulationMode {
    /// Only the Coordinator's configuration module may call this, when whoever starts the Coordinator asked for
    /// simulation in so many words (`--simulation`, `OE_SIMULATION=1`). A device that fails is never a reason.
    pub fn by_explicit_configuration() -> Self {
        Self(())
    }
}

/// Permission to take the software TEE for a TEE: evidence is verified as ever, but against roots whose keys
/// everybody knows. It stands for `--simulation-strict` only (spec/08); nothing unverified is admitted by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrictSimulationMode(());

impl StrictSimulationMode {
    /// Only the Coordinator's configuration module may call this, when whoever starts the Coordinator asked for
    /// strict simulation in so many words (`--simulation-strict`).
    pub fn by_explicit_configuration() -> Self {
        Self(())
    }
}

/// What an activation is admitted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Evidence that was verified. Whether its claims comply with package and infrastructures is the next question.
    Verified(Verified<Claims>),
    /// Evidence of a software TEE that was verified against its roots, in strict simulation. Every rule applies as to
    /// the former, and everything that is said about the activation says SIMULATION.
    VerifiedInSimulation(Verified<Claims, SimulationRoots>),
    /// No verified evidence. Package and infrastructure rules are not looked at, and everything that is said about
    /// the activation says SIMULATION.
    Simulated(SimulationMode),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verified_value_gives_back_what_was_verified() {
        let verified: Verified<u8> = Verified::after_every_step(7_u8);
        assert_eq!(*verified.get(), 7);
        assert_eq!(verified.into_inner(), 7);
    }
}
