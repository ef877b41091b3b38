//! By what right a marble is admitted: verified evidence, or simulation mode; there is no third way.

use crate::claims::Claims;

/// A value that came out of verification. Only this crate's verifier makes one, so holding it is proof that every
/// step was passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<C> {
    value: C,
}

impl<C> Verified<C> {
    /// For the verifier, after its last step.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "waits for the verifier, its only rightful caller")
    )]
    pub(crate) fn after_every_step(value: C) -> Self {
        Self { value }
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

/// What an activation is admitted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Evidence that was verified. Whether its claims comply with package and infrastructures is the next question.
    Verified(Verified<Claims>),
    /// No verified evidence. Package and infrastructure rules are not looked at, and everything that is said about
    /// the activation says SIMULATION.
    Simulated(SimulationMode),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verified_value_gives_back_what_was_verified() {
        let verified = Verified::after_every_step(7_u8);
        assert_eq!(*verified.get(), 7);
        assert_eq!(verified.into_inner(), 7);
    }
}
