//! Collateral as it is when nothing fails: evidence verifies with it.

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::{CollateralNeeded, DcapTee, PckAuthority};
use marblerun_attestation::fakes::{EnclaveFields, QuoteFields, SnpReportFields, SoftwareTee, TdFields};
use marblerun_attestation::{
    Claims, Collateral, FreshnessPolicy, ProductionRoots, Quote, ReportBinding, SimulationRoots,
    SnpCollateral, UnixSeconds, Verifier,
};
use marblerun_collateral::{Asker, CollateralError, Collaterals, Config, Freshness, Source, StartError};

use super::{NOW, TestClock, intel, milan, setup, sgx, snp_needed};

fn binding() -> ReportBinding {
    ReportBinding::certificate(b"a certificate")
}

/// Evidence of every TEE that the software TEE imitates.
fn evidence() -> Vec<(&'static str, Vec<u8>)> {
    let tee = SoftwareTee::development().unwrap();
    let mut all = vec![
        (
            "SGX",
            QuoteFields::sgx(EnclaveFields::new(&binding()))
                .sign(&tee.intel(DcapTee::Sgx))
                .unwrap(),
        ),
        (
            "TDX 4",
            QuoteFields::tdx_v4(TdFields::new(&binding()))
                .sign(&tee.intel(DcapTee::Tdx))
                .unwrap(),
        ),
        (
            "TDX 5",
            QuoteFields::tdx_v5(TdFields::new(&binding()))
                .sign(&tee.intel(DcapTee::Tdx))
                .unwrap(),
        ),
    ];
    for product in SnpProduct::ALL {
        let platform = tee.snp(product, SnpSigningKey::Vcek);
        let report = SnpReportFields::new(&platform, SnpSigningKey::Vcek, &binding());
        all.push((product.as_str(), report.sign(&platform).unwrap()));
    }
    all
}

/// From evidence to claims, as a Coordinator goes.
async fn verify(collaterals: &Collaterals, evidence: Vec<u8>) -> Claims {
    let verifier = Verifier::new(SimulationRoots::development());
    let quote = Quote::new(evidence).unwrap();
    let needed = verifier
        .collateral_needed(&quote, &binding(), UnixSeconds(NOW))
        .unwrap();
    let obtained = collaterals.get(&needed, Asker::Trusted).await.unwrap();
    assert_eq!(obtained.freshness, Freshness::Fresh);
    verifier
        .verify_by_policy(
            &quote,
            &binding(),
            &obtained.collateral,
            UnixSeconds(NOW),
            collaterals.policy(),
        )
        .unwrap()
        .into_inner()
}

#[tokio::test]
async fn evidence_of_every_tee_is_verified_with_what_the_services_have() {
    let setup = setup(|_| {}).await;
    for (name, evidence) in evidence() {
        let claims = verify(&setup.collaterals, evidence).await;
        if let Claims::Snp(claims) = &claims {
            assert!(claims.revocation_checked, "{name}");
        }
    }
    for path in [
        "/sgx/certification/v4/rootcacrl",
        "/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
        "/sgx/certification/v4/tcb?fmspc=506070000000",
        "/sgx/certification/v4/qe/identity",
        "/tdx/certification/v4/tcb?fmspc=506070000000",
        "/tdx/certification/v4/qe/identity",
        "/vcek/v1/Milan/cert_chain",
        "/vcek/v1/Genoa/crl",
        "/vcek/v1/Turin/c1c1c1c1c1c1c1c1?fmcSPL=01&blSPL=03&teeSPL=02&snpSPL=08&ucodeSPL=200",
    ] {
        assert!(
            setup.service.requests().iter().any(|request| request == path),
            "{path}: {:#?}",
            setup.service.requests()
        );
    }
}

#[tokio::test]
async fn evidence_of_every_tee_is_verified_without_a_network_in_strict_simulation() {
    let collaterals = Collaterals::new(
        Config::new(Source::SoftwareTee),
        SimulationRoots::development(),
        TestClock::new().clock(),
    )
    .unwrap();
    for (_, evidence) in evidence() {
        verify(&collaterals, evidence).await;
    }
}

#[tokio::test]
async fn collateral_of_the_software_tee_is_refused_below_the_roots_of_the_manufacturers() {
    let collaterals = Collaterals::new(
        Config::new(Source::SoftwareTee),
        ProductionRoots::pinned(),
        TestClock::new().clock(),
    )
    .unwrap();
    for needed in [sgx(), milan()] {
        let error = collaterals.get(&needed, Asker::Trusted).await.unwrap_err();
        assert!(matches!(error, CollateralError::Refused { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_software_tee_has_one_platform_of_intel() {
    let collaterals = Collaterals::new(
        Config::new(Source::SoftwareTee),
        SimulationRoots::development(),
        TestClock::new().clock(),
    )
    .unwrap();
    let error = collaterals
        .get(&intel(DcapTee::Sgx, 1), Asker::Trusted)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("FMSPC"), "{error}");
}

#[tokio::test]
async fn collateral_of_the_other_ca_is_fetched_where_the_platform_has_it() {
    let setup = setup(|_| {}).await;
    let CollateralNeeded::Dcap(mut needed) = sgx() else {
        unreachable!()
    };
    needed.authority = PckAuthority::Processor;
    let obtained = setup
        .collaterals
        .get(&CollateralNeeded::Dcap(needed), Asker::Trusted)
        .await
        .unwrap();
    let Collateral::Dcap(collateral) = &*obtained.collateral else {
        panic!("collateral of another TEE")
    };
    assert_eq!(collateral.is_for(), Some(needed));
}

#[tokio::test]
async fn chips_of_a_product_line_share_what_is_the_same_for_all() {
    let setup = setup(|_| {}).await;
    for number in 0..3 {
        setup
            .collaterals
            .get(&super::chip(number), Asker::Trusted)
            .await
            .unwrap();
    }
    assert_eq!(setup.service.requests_with("cert_chain"), 1);
    assert_eq!(setup.service.requests_with("crl"), 1);
    assert_eq!(setup.service.requests_with("blSPL"), 3);
}

#[tokio::test]
async fn a_report_that_does_not_name_its_product_line_is_looked_for_in_those_it_can_be_of() {
    let setup = setup(|_| {}).await;
    setup.service.change_amd(|platform| {
        if platform.product == SnpProduct::Milan {
            platform.product_name = "Genoa-B0".to_owned();
        }
    });
    let mut needed = snp_needed(SnpProduct::Genoa, SnpSigningKey::Vcek);
    needed.product = None;
    let refused = setup
        .collaterals
        .get(&CollateralNeeded::Snp(needed.clone()), Asker::Trusted)
        .await
        .unwrap_err();
    assert!(matches!(refused, CollateralError::Refused { .. }), "{refused}");

    // As the real service: it does not know the chip of another product line.
    let setup = super::setup(|_| {}).await;
    setup.service.forget_product(SnpProduct::Milan);
    let obtained = setup
        .collaterals
        .get(&CollateralNeeded::Snp(needed), Asker::Stranger)
        .await
        .unwrap();
    assert!(is_of(&obtained.collateral, SnpProduct::Genoa));
}

fn is_of(collateral: &Collateral, product: SnpProduct) -> bool {
    use marblerun_attestation::collateral::{SnpCertificate, SnpCertificateInfo};
    let Collateral::Snp(collateral) = collateral else {
        return false;
    };
    let info = SnpCertificateInfo::read(collateral.endorsement_key().unwrap()).unwrap();
    matches!(info.what, SnpCertificate::Endorsement(says) if says.product == product)
}

fn snp(collateral: &Collateral) -> &SnpCollateral {
    match collateral {
        Collateral::Snp(collateral) => collateral,
        Collateral::Dcap(_) => panic!("collateral of another TEE"),
    }
}

#[tokio::test]
async fn certificates_behind_the_report_are_not_fetched() {
    let setup = setup(|_| {}).await;
    let mut needed = snp_needed(SnpProduct::Milan, SnpSigningKey::Vlek);
    let error = setup
        .collaterals
        .get(&CollateralNeeded::Snp(needed.clone()), Asker::Trusted)
        .await
        .unwrap_err();
    assert_eq!(error, CollateralError::VlekNotPublished);
    needed.endorsement_key_present = true;
    let obtained = setup
        .collaterals
        .get(&CollateralNeeded::Snp(needed.clone()), Asker::Stranger)
        .await
        .unwrap();
    assert!(snp(&obtained.collateral).endorsement_key().is_none());
    assert_eq!(setup.service.requests_with("/vlek/v1/Milan/"), 2);
    needed.product = None;
    let error = setup
        .collaterals
        .get(&CollateralNeeded::Snp(needed), Asker::Trusted)
        .await
        .unwrap_err();
    assert_eq!(error, CollateralError::UnknownProduct);
}

#[tokio::test]
async fn reports_that_cannot_be_asked_for_are_refused_without_asking() {
    let setup = setup(|_| {}).await;
    let mut masked = snp_needed(SnpProduct::Milan, SnpSigningKey::Vcek);
    masked.chip_id = [0; 64];
    let mut reserved = snp_needed(SnpProduct::Milan, SnpSigningKey::Vcek);
    reserved.reported_tcb[3] = 1;
    for (needed, kind) in [(masked, "masked_chip"), (reserved, "reported_tcb")] {
        let error = setup
            .collaterals
            .get(&CollateralNeeded::Snp(needed), Asker::Stranger)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind);
    }
    assert_eq!(setup.service.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn without_revocation_no_list_is_fetched() {
    use marblerun_attestation::collateral::SnpRevocation;
    let setup = setup(|config| config.snp_revocation = false).await;
    let obtained = setup.collaterals.get(&milan(), Asker::Trusted).await.unwrap();
    assert_eq!(*snp(&obtained.collateral).revocation(), SnpRevocation::NotChecked);
    assert_eq!(setup.service.requests_with("crl"), 0);
}

#[test]
fn nothing_to_fetch_from_is_no_configuration() {
    let started = Collaterals::new(
        Config::new(Source::Nothing),
        SimulationRoots::development(),
        TestClock::new().clock(),
    );
    assert!(matches!(started, Err(StartError::NoSource)));
}

#[test]
fn no_grace_is_given_unasked() {
    assert_eq!(
        Config::new(Source::SoftwareTee).grace,
        FreshnessPolicy::default().grace
    );
}
