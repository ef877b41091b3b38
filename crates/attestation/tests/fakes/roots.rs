//! Roots of production and roots of simulation.

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::{DcapTee, SnpRevocation};
use marblerun_attestation::fakes::{EnclaveFields, QuoteFields, SnpReportFields, SoftwareTee, TdFields};
use marblerun_attestation::{
    Collateral, DcapCollateral, ProductionRoots, Quote, Reason, ReportBinding, SimulationRoots,
    SnpCollateral, Step, TrustRoots, UnixSeconds, Verifier,
};

use super::{NOW, binding};

/// One piece of evidence of each kind, with its collateral.
fn evidence_of(tee: &SoftwareTee) -> Vec<(Vec<u8>, Collateral)> {
    let quotes = [
        QuoteFields::sgx(EnclaveFields::new(&binding())),
        QuoteFields::tdx_v4(TdFields::new(&binding())),
        QuoteFields::tdx_v5(TdFields::new(&binding())),
    ];
    let mut list: Vec<_> = quotes
        .iter()
        .map(|quote| {
            let platform = tee.intel(quote.tee());
            (
                quote.sign(&platform).unwrap(),
                Collateral::Dcap(platform.collateral().unwrap()),
            )
        })
        .collect();
    for product in SnpProduct::ALL {
        for key in [SnpSigningKey::Vcek, SnpSigningKey::Vlek] {
            let platform = tee.snp(product, key);
            let report = SnpReportFields::new(&platform, key, &binding());
            list.push((
                report.sign(&platform).unwrap(),
                Collateral::Snp(platform.collateral().unwrap()),
            ));
        }
    }
    list
}

fn accepts<R: TrustRoots>(
    verifier: &Verifier<R>,
    evidence: &[u8],
    collateral: &Collateral,
) -> Result<(), Reason> {
    verifier
        .verify(
            &Quote::new(evidence.to_vec()).unwrap(),
            &binding(),
            collateral,
            NOW,
        )
        .map(|_| ())
        .map_err(|refused| {
            assert_eq!(refused.step, Step::Chain, "{refused}");
            *refused.reason
        })
}

#[test]
fn a_production_verifier_accepts_no_software_tee() {
    let production = Verifier::new(ProductionRoots::pinned());
    let simulation = Verifier::new(SimulationRoots::development());
    for (evidence, collateral) in evidence_of(&SoftwareTee::development().unwrap()) {
        assert_eq!(accepts(&simulation, &evidence, &collateral), Ok(()));
        let refused = accepts(&production, &evidence, &collateral);
        assert!(matches!(refused, Err(Reason::AnotherRoot { .. })), "{refused:?}");
        let asked = production.collateral_needed(&Quote::new(evidence).unwrap(), &binding(), NOW);
        assert!(matches!(collateral, Collateral::Snp(_)) || asked.is_err());
    }
}

#[test]
fn each_software_tee_is_trusted_for_itself_only() {
    let (one, other) = (SoftwareTee::generate().unwrap(), SoftwareTee::generate().unwrap());
    let (ours, theirs) = (
        Verifier::new(one.roots().unwrap()),
        Verifier::new(other.roots().unwrap()),
    );
    for (evidence, collateral) in evidence_of(&one) {
        assert_eq!(accepts(&ours, &evidence, &collateral), Ok(()));
        let refused = accepts(&theirs, &evidence, &collateral);
        assert!(matches!(refused, Err(Reason::AnotherRoot { .. })), "{refused:?}");
    }
}

#[test]
fn a_simulation_verifier_accepts_no_hardware() {
    let simulation = Verifier::new(SimulationRoots::development());
    let sgx = (
        include_bytes!("../evidence/sgx_v3.quote").to_vec(),
        Collateral::Dcap(
            DcapCollateral::from_json(include_bytes!("../evidence/sgx_v3.collateral.json")).unwrap(),
        ),
        1_750_416_971,
    );
    let snp = (
        hex::decode(include_str!("../evidence/snp_milan.report.hex").trim()).unwrap(),
        Collateral::Snp(
            SnpCollateral::new(SnpRevocation::NotChecked)
                .with_endorsement_key(include_bytes!("../evidence/snp_milan.vcek.der").to_vec())
                .with_authorities(include_bytes!("../evidence/snp_milan.ask_ark.pem"))
                .unwrap(),
        ),
        1_700_000_000,
    );
    for (evidence, collateral, time) in [sgx, snp] {
        let quote = Quote::new(evidence).unwrap();
        let binding = ReportBinding::report_data_itself(quote.unverified_report_data().unwrap().unwrap());
        let refused = simulation
            .verify(&quote, &binding, &collateral, UnixSeconds(time))
            .unwrap_err();
        assert!(matches!(*refused.reason, Reason::AnotherRoot { .. }), "{refused}");
    }
}

#[test]
fn collateral_of_another_root_is_refused() {
    let (one, other) = (
        SoftwareTee::development().unwrap(),
        SoftwareTee::generate().unwrap(),
    );
    let platform = one.intel(DcapTee::Sgx);
    let quote = QuoteFields::sgx(EnclaveFields::new(&binding()))
        .sign(&platform)
        .unwrap();
    let collateral = Collateral::Dcap(other.intel(DcapTee::Sgx).collateral().unwrap());
    let refused = Verifier::new(SimulationRoots::development())
        .verify(&Quote::new(quote).unwrap(), &binding(), &collateral, NOW)
        .unwrap_err();
    assert_eq!(refused.step, Step::Collateral);
    assert!(matches!(*refused.reason, Reason::AnotherRoot { .. }), "{refused}");
}
