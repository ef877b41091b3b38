//! Evidence of the software TEE, from its bytes to the decision: verified by `Verifier::verify`, then held against a
//! manifest. One table of every combination of what can be wrong with collateral, how the platform is rated, and what
//! a package accepts; the rule is stated once more here, in words that know nothing of the code.

#![cfg(test)]

mod conditions;
mod explained;
mod rule;
mod table;

use std::sync::LazyLock;

use imbl::OrdMap;
use marblerun_attestation::admission::Verified;
use marblerun_attestation::fakes::SoftwareTee;
use marblerun_attestation::{Admission, Claims, ReportBinding, SimulationRoots, UnixSeconds};
use marblerun_core::appraisal::{comply, explain};
use marblerun_core::manifest::{HsmEnvironment, Limits, Manifest, check};
use serde_json::Value;

/// 2026-01-01T00:00:00Z.
const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

static TEE: LazyLock<SoftwareTee> = LazyLock::new(|| SoftwareTee::development().unwrap());

fn binding() -> ReportBinding {
    ReportBinding::certificate(b"a certificate")
}

fn manifest(document: &Value) -> Manifest {
    let environment = HsmEnvironment {
        missing: Vec::new(),
        without_seal_key: false,
    };
    match check(document.to_string().as_bytes(), &Limits::default(), &environment) {
        Ok(checked) => checked.manifest,
        Err(error) => panic!("{error}"),
    }
}

/// What becomes of the marble `name`: nothing, or the first rule that is broken. Both ways of asking agree.
fn judged(manifest: &Manifest, name: &str, verified: &Verified<Claims, SimulationRoots>) -> Option<String> {
    let marble = &manifest.marbles[name];
    let admission = Admission::VerifiedInSimulation(verified.clone());
    let mismatch = comply(manifest, &OrdMap::new(), marble, &admission).err();
    let explained = explain(manifest, &marble.package, &OrdMap::new(), verified.get());
    let broken = explained.iter().find(|outcome| outcome.is_broken());
    assert_eq!(
        broken.map(|outcome| (&outcome.rule, &outcome.expected, &outcome.found)),
        mismatch
            .as_ref()
            .map(|mismatch| (&mismatch.rule, &mismatch.expected, &mismatch.found))
    );
    mismatch.map(|mismatch| mismatch.rule)
}
