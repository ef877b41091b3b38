//! What becomes of the evidence a marble sends (`spec/08`).

use marblerun_attestation::{Admission, SimulationMode};

/// Judges the evidence of a marble.
///
/// In simulation an empty quote is admitted without package rules, as the original checks nothing there; one that
/// is sent all the same cannot be verified by this version and is admitted with a warning.
pub fn admit(simulation: SimulationMode, quote: &[u8]) -> Admission {
    if !quote.is_empty() {
        tracing::warn!(
            bytes = quote.len(),
            "a marble's quote is admitted without being verified"
        );
    }
    Admission::Simulated(simulation)
}
