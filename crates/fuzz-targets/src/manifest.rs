//! Manifests, and documents that update packages.

use imbl::OrdMap;
use marblerun_core::appraisal::explain;
use marblerun_core::manifest::{HsmEnvironment, Limits, Warning, check, package_update, reopen};

const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    entries: 1_000,
};

pub fn run(input: &[u8]) {
    let environment = HsmEnvironment::from_lookup(|_| true);
    match check(input, &LIMITS, &environment) {
        Ok(checked) => {
            let manifest = checked.manifest;
            assert!(*manifest.raw == *input, "other bytes than those given");
            assert!(
                checked
                    .warnings
                    .iter()
                    .map(Warning::to_string)
                    .all(|text| !text.is_empty())
            );
            let Ok(again) = reopen(manifest.raw.clone()) else {
                panic!("accepted, and does not open again")
            };
            assert!(again.fingerprint == manifest.fingerprint);
            assert!(again.packages == manifest.packages && again.config == manifest.config);
            for marble in manifest.marbles.values() {
                for claims in super::world::claims() {
                    let outcomes = explain(&manifest, &marble.package, &OrdMap::new(), claims);
                    assert!(!outcomes.is_empty(), "evidence nothing is asked of");
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = package_update(input, &LIMITS);
    let _ = reopen(input.into());
}

pub fn seeds() -> Vec<Vec<u8>> {
    [
        include_str!("../../core/tests/golden/single-manifest.json"),
        include_str!("../../core/tests/golden/manifest/accepted.json"),
        include_str!("../../../examples/demo/manifest.json"),
        include_str!("../../../examples/nginx/manifest.json"),
        include_str!("../../../examples/attestation/manifest.json"),
        r#"{"Packages": {"a": {"SecurityVersion": 5, "TDX": {"MRTD": ""}}}}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
