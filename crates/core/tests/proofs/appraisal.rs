//! Accepting evidence costs no memory: nothing becomes text before a rule is broken.

use imbl::OrdMap;
use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::DcapTee;
use marblerun_attestation::fakes::{EnclaveFields, QuoteFields, SnpReportFields, SoftwareTee, TdFields};
use marblerun_attestation::{
    Admission, Collateral, Quote, ReportBinding, SimulationRoots, UnixSeconds, Verifier,
};
use marblerun_core::appraisal::comply;
use marblerun_core::manifest::{HsmEnvironment, Limits, Manifest, check};
use serde_json::{Value, json};

use super::allocator::count_allocations;

/// 2026-01-01T00:00:00Z.
const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

fn manifest(document: &Value) -> Manifest {
    let environment = HsmEnvironment::from_lookup(|_| true);
    let checked = check(document.to_string().as_bytes(), &Limits::default(), &environment);
    checked.unwrap_or_else(|error| panic!("{error}")).manifest
}

fn admissions() -> [Admission; 3] {
    let tee = SoftwareTee::development().unwrap();
    let binding = ReportBinding::certificate(b"a certificate");
    let (sgx, tdx) = (tee.intel(DcapTee::Sgx), tee.intel(DcapTee::Tdx));
    let snp = tee.snp(SnpProduct::Milan, SnpSigningKey::Vcek);
    [
        (
            QuoteFields::sgx(EnclaveFields::new(&binding)).sign(&sgx).unwrap(),
            Collateral::Dcap(sgx.collateral().unwrap()),
        ),
        (
            QuoteFields::tdx_v4(TdFields::new(&binding)).sign(&tdx).unwrap(),
            Collateral::Dcap(tdx.collateral().unwrap()),
        ),
        (
            SnpReportFields::new(&snp, SnpSigningKey::Vcek, &binding)
                .sign(&snp)
                .unwrap(),
            Collateral::Snp(snp.collateral().unwrap()),
        ),
    ]
    .map(|(evidence, collateral)| {
        let quote = Quote::new(evidence).unwrap();
        let verifier = Verifier::new(SimulationRoots::development());
        let verified = verifier.verify(&quote, &binding, &collateral, NOW).unwrap();
        Admission::VerifiedInSimulation(verified)
    })
}

#[test]
fn evidence_that_is_accepted_allocates_nothing() {
    let td = TdFields::new(&ReportBinding::certificate(b""));
    let [rtmr0, rtmr1, rtmr2, rtmr3] = td.rtmr.map(hex::encode);
    let package = json!({
        "SignerID": "51".repeat(32), "ProductID": 1, "SecurityVersion": 1,
        "AcceptedTCBStatuses": ["OutOfDate"], "AcceptedAdvisories": ["INTEL-SA-00001"],
        "TDX": {"MRTD": hex::encode(td.mrtd), "RTMR0": rtmr0, "RTMR1": rtmr1, "RTMR2": rtmr2, "RTMR3": rtmr3},
        "SNP": {
            "Measurement": "3e".repeat(48), "HostData": "05".repeat(32), "Product": ["Milan", "Genoa"],
            "MinimumTCB": {"BootLoader": 3, "TEE": 2, "SNP": 8, "Microcode": 200},
        },
    });
    let marbles = json!({"m": {"Package": "p"}});
    let open = manifest(&json!({"Packages": {"p": package}, "Marbles": marbles}));
    let mut listed = manifest(&json!({
        "Packages": {"p": package}, "Marbles": marbles, "Infrastructures": {"here": {"QESVN": 1}},
    }));
    let none = OrdMap::new();
    let [sgx, tdx, snp] = admissions();
    for (manifest, admission) in [
        (&open, &sgx),
        (&open, &tdx),
        (&open, &snp),
        (&listed, &sgx),
        (&listed, &tdx),
    ] {
        let marble = &manifest.marbles["m"];
        let (complied, blocks) = count_allocations(|| comply(manifest, &none, marble, admission));
        assert_eq!((complied, blocks), (Ok(()), 0));
    }
    // The count sees what a refusal is made of.
    listed.packages.clear();
    let marble = &listed.marbles["m"];
    let (complied, blocks) = count_allocations(|| comply(&listed, &none, marble, &sgx));
    assert!(complied.is_err() && blocks > 0);
}
