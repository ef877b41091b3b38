//! What becomes of the evidence a marble sends (`spec/08`).

use marblerun_attestation::Admission;
use rustls_pki_types::CertificateDer;

use crate::config::Simulation;

/// Judges the evidence of a marble that presented `certificate`.
///
/// In simulation an empty quote is admitted without package rules, as the original checks nothing there; one that
/// is sent all the same cannot be verified by this version and is admitted with a warning.
pub fn admit(simulation: Simulation, quote: &[u8], certificate: &CertificateDer<'_>) -> Admission {
    let _ = certificate;
    if !quote.is_empty() {
        tracing::warn!(bytes = quote.len(), "a marble's quote is admitted without being verified");
    }
    Admission::unverified(simulation.mode)
}
