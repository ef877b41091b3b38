//! Collateral behind its `nextUpdate`, and collateral checked before there is evidence.

#![cfg(test)]

use std::time::Duration;

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey, SnpTcb};
use marblerun_attestation::collateral::{
    CollateralNeeded, DcapNeeded, DcapTee, PckAuthority, SnpCertificate, SnpCertificateInfo, SnpListInfo,
    SnpNeeded, SnpRevocation,
};
use marblerun_attestation::fakes::{EnclaveFields, QuoteFields, SnpPlatform, SnpReportFields, SoftwareTee};
use marblerun_attestation::reason::{CertificateRole, Dated, ListName};
use marblerun_attestation::verify::check_collateral;
use marblerun_attestation::{
    Collateral, DcapCollateral, FreshnessPolicy, ProductionRoots, Quote, Reason, Refused, ReportBinding,
    SimulationRoots, SnpCollateral, Step, UnixSeconds, Verifier,
};

const DAY: u64 = 86_400;
const SGX_TIME: u64 = 1_750_416_971;

fn sgx() -> (Quote, ReportBinding, DcapCollateral) {
    let quote = Quote::new(include_bytes!("evidence/sgx_v3.quote").to_vec()).unwrap();
    let data = quote.unverified_report_data().unwrap().unwrap();
    let collateral = DcapCollateral::from_json(include_bytes!("evidence/sgx_v3.collateral.json")).unwrap();
    (quote, ReportBinding::report_data_itself(data), collateral)
}

fn days(days: u64) -> FreshnessPolicy {
    FreshnessPolicy {
        grace: Duration::from_secs(days * DAY),
    }
}

#[test]
fn real_evidence_is_verified_with_collateral_out_of_date_within_the_grace_only() {
    let (quote, binding, collateral) = sgx();
    let end = collateral.next_update().0;
    let collateral = Collateral::Dcap(collateral);
    // New each time: what was seen before is judged on another path.
    let verify = |verifier: &Verifier<ProductionRoots>, now, policy| {
        verifier
            .verify_by_policy(&quote, &binding, &collateral, UnixSeconds(now), policy)
            .map(marblerun_attestation::Verified::into_inner)
    };
    let warm = Verifier::new(ProductionRoots::pinned());
    let fresh = verify(&warm, SGX_TIME, days(0)).unwrap();
    for cold in [true, false] {
        let new = Verifier::new(ProductionRoots::pinned());
        let verifier = if cold { &new } else { &warm };
        assert_eq!(verify(verifier, end, days(0)).unwrap(), fresh);
        assert_eq!(
            verify(verifier, end + 3 * DAY, days(3)).unwrap(),
            fresh,
            "cold: {cold}"
        );
        let refused = verify(verifier, end + 3 * DAY + 1, days(3)).unwrap_err();
        assert_eq!(refused.step, Step::Collateral, "cold: {cold}");
        assert!(
            matches!(&*refused.reason, Reason::Expired { until, .. } if until.0 == end),
            "{refused}"
        );
        assert_eq!(
            verify(verifier, end + 1, days(0)).unwrap_err().step,
            Step::Collateral
        );
    }
}

#[test]
fn no_grace_makes_a_certificate_good_after_its_end_or_anything_before_its_beginning() {
    let tee = SoftwareTee::generate().unwrap();
    let verify = |change: fn(&mut marblerun_attestation::fakes::IntelPlatform), now| {
        let mut platform = tee.intel(DcapTee::Sgx);
        change(&mut platform);
        let binding = ReportBinding::certificate(b"certificate");
        let quote = QuoteFields::sgx(EnclaveFields::new(&binding))
            .sign(&platform)
            .unwrap();
        Verifier::new(tee.roots().unwrap())
            .verify_by_policy(
                &Quote::new(quote).unwrap(),
                &binding,
                &Collateral::Dcap(platform.collateral().unwrap()),
                UnixSeconds(now),
                days(10_000),
            )
            .map(|_| ())
            .map_err(|refused| *refused.reason)
    };
    const NOW: u64 = 1_800_000_000;
    assert_eq!(verify(|_| {}, NOW), Ok(()));
    let expired = verify(|platform| platform.signer.not_after = UnixSeconds(NOW - 1), NOW);
    assert!(
        matches!(
            expired,
            Err(Reason::Expired {
                dated: Dated::Certificate(CertificateRole::TcbInfoSigner),
                ..
            })
        ),
        "{expired:?}"
    );
    let early = verify(
        |platform| platform.root_list.this_update = UnixSeconds(NOW + 1),
        NOW,
    );
    assert!(
        matches!(
            early,
            Err(Reason::NotYetValid {
                dated: Dated::List(ListName::IntelSgxRoot),
                ..
            })
        ),
        "{early:?}"
    );
    let listed = verify(
        |platform| platform.pck_list.next_update = Some(UnixSeconds(NOW - 1)),
        NOW,
    );
    assert_eq!(
        listed,
        Ok(()),
        "planted: it is the date that is overlooked, nothing else"
    );
    let revoked = verify(
        |platform| {
            platform.pck_list.next_update = Some(UnixSeconds(NOW - 1));
            platform.pck_list.revoked = vec![platform.pck.serial.clone()];
        },
        NOW,
    );
    assert!(matches!(revoked, Err(Reason::Revoked { .. })), "{revoked:?}");
}

fn snp_needed(platform: &SnpPlatform, signing_key: SnpSigningKey) -> SnpNeeded {
    let report = SnpReportFields::new(platform, signing_key, &ReportBinding::certificate(b""));
    SnpNeeded {
        product: Some(platform.product),
        signing_key,
        chip_id: report.chip_id,
        reported_tcb: report.reported_tcb,
        endorsement_key_present: false,
        intermediate_present: false,
    }
}

#[test]
fn a_list_of_amd_out_of_date_is_good_within_the_grace_only() {
    let tee = SoftwareTee::generate().unwrap();
    let mut platform = tee.snp(SnpProduct::Milan, SnpSigningKey::Vcek);
    const END: u64 = 1_800_000_000;
    platform.list.next_update = Some(UnixSeconds(END));
    let binding = ReportBinding::certificate(b"certificate");
    let report = SnpReportFields::new(&platform, SnpSigningKey::Vcek, &binding)
        .sign(&platform)
        .unwrap();
    let collateral = Collateral::Snp(platform.collateral().unwrap());
    assert_eq!(collateral.next_update(), Some(UnixSeconds(END)));
    let needed = CollateralNeeded::Snp(snp_needed(&platform, SnpSigningKey::Vcek));
    let roots = tee.roots().unwrap();
    let verifier = Verifier::new(roots.clone());
    for (now, policy, good) in [
        (END, days(0), true),
        (END + 1, days(0), false),
        (END + DAY, days(1), true),
        (END + DAY + 1, days(1), false),
    ] {
        let quote = Quote::new(report.clone()).unwrap();
        let verified = verifier.verify_by_policy(&quote, &binding, &collateral, UnixSeconds(now), policy);
        assert_eq!(verified.is_ok(), good, "{now}");
        let checked = check_collateral(&roots, &collateral, &needed, UnixSeconds(now), policy);
        assert_eq!(checked.is_ok(), good, "{now}");
    }
}

fn check_sgx(roots: &SimulationRoots, collateral: DcapCollateral, needed: DcapNeeded) -> Result<(), Refused> {
    check_collateral(
        roots,
        &Collateral::Dcap(collateral),
        &CollateralNeeded::Dcap(needed),
        UnixSeconds(1_800_000_000),
        days(0),
    )
}

#[test]
fn collateral_of_intel_is_checked_before_there_is_evidence() {
    let tee = SoftwareTee::generate().unwrap();
    let (roots, platform) = (tee.roots().unwrap(), tee.intel(DcapTee::Sgx));
    let collateral = platform.collateral().unwrap();
    let needed = collateral.is_for().unwrap();
    assert_eq!(
        needed,
        DcapNeeded {
            tee: DcapTee::Sgx,
            fmspc: [0x50, 0x60, 0x70, 0, 0, 0],
            authority: PckAuthority::Platform
        }
    );
    check_sgx(&roots, collateral.clone(), needed).unwrap();

    let refused = |needed| *check_sgx(&roots, collateral.clone(), needed).unwrap_err().reason;
    let other = refused(DcapNeeded {
        fmspc: [0; 6],
        ..needed
    });
    assert!(matches!(other, Reason::Fmspc { .. }), "{other}");
    let other = refused(DcapNeeded {
        tee: DcapTee::Tdx,
        ..needed
    });
    assert!(matches!(other, Reason::CollateralKind { .. }), "{other}");
    let other = refused(DcapNeeded {
        authority: PckAuthority::Processor,
        ..needed
    });
    assert_eq!(
        other.to_string(),
        "PCK CRL: expected that of the processor CA, found that of CN=Intel SGX PCK Platform CA"
    );

    let elsewhere = SoftwareTee::generate().unwrap();
    let refused = check_sgx(&elsewhere.roots().unwrap(), collateral.clone(), needed).unwrap_err();
    assert_eq!(refused.step, Step::Collateral);
    assert!(matches!(*refused.reason, Reason::AnotherRoot { .. }), "{refused}");

    let mut parts = platform.parts().unwrap();
    parts.tcb_info_signature[5] ^= 1;
    let refused = check_sgx(&roots, DcapCollateral::new(parts).unwrap(), needed).unwrap_err();
    assert!(
        matches!(
            *refused.reason,
            Reason::CollateralSignature {
                signed: Dated::TcbInfo,
                ..
            }
        ),
        "{refused}"
    );

    let mut late = platform.clone();
    late.root_list.next_update = Some(UnixSeconds(1_799_999_999));
    let refused = check_sgx(&roots, late.collateral().unwrap(), needed).unwrap_err();
    assert!(matches!(*refused.reason, Reason::Expired { .. }), "{refused}");

    let mut revoked = platform;
    revoked.root_list.revoked = vec![revoked.ca.serial.clone()];
    let refused = check_sgx(&roots, revoked.collateral().unwrap(), needed).unwrap_err();
    assert!(matches!(*refused.reason, Reason::Revoked { .. }), "{refused}");
}

#[test]
fn real_collateral_is_checked_before_there_is_evidence() {
    let (_, _, collateral) = sgx();
    let needed = CollateralNeeded::Dcap(collateral.is_for().unwrap());
    let check = |now| {
        check_collateral(
            &ProductionRoots::pinned(),
            &Collateral::Dcap(collateral.clone()),
            &needed,
            UnixSeconds(now),
            days(0),
        )
    };
    check(SGX_TIME).unwrap();
    assert!(check(SGX_TIME + 60 * DAY).is_err());
    assert_eq!(collateral.dated().len(), 10);
    let again = DcapCollateral::from_json(collateral.to_json().as_bytes()).unwrap();
    assert_eq!(again.parts(), collateral.parts());
}

#[test]
fn collateral_of_amd_is_checked_as_far_as_it_is_there() {
    let tee = SoftwareTee::generate().unwrap();
    let roots = tee.roots().unwrap();
    let check = |collateral: SnpCollateral, needed: &SnpNeeded| {
        check_collateral(
            &roots,
            &Collateral::Snp(collateral),
            &CollateralNeeded::Snp(needed.clone()),
            UnixSeconds(1_800_000_000),
            days(0),
        )
        .map_err(|refused| (refused.step, *refused.reason))
    };
    let elsewhere = SoftwareTee::generate().unwrap();
    for product in SnpProduct::ALL {
        for key in [SnpSigningKey::Vcek, SnpSigningKey::Vlek] {
            let platform = tee.snp(product, key);
            let needed = snp_needed(&platform, key);
            check(platform.collateral().unwrap(), &needed).unwrap();
            check(SnpCollateral::new(SnpRevocation::NotChecked), &needed).unwrap();

            let mut other = platform.clone();
            other.tcb.microcode = 1;
            let refused = check(other.collateral().unwrap(), &needed).unwrap_err();
            assert!(
                matches!(refused, (Step::Platform, Reason::EndorsedTcb { .. })),
                "{refused:?}"
            );
            let mut revoked = platform.clone();
            revoked.list.revoked = vec![revoked.intermediate.serial.clone()];
            let refused = check(revoked.collateral().unwrap(), &needed).unwrap_err();
            assert!(
                matches!(refused, (Step::Collateral, Reason::Revoked { .. })),
                "{refused:?}"
            );
            let refused = check(elsewhere.snp(product, key).collateral().unwrap(), &needed).unwrap_err();
            assert!(
                matches!(refused, (Step::Chain, Reason::AnotherRoot { .. })),
                "{refused:?}"
            );
            let mut unnamed = needed.clone();
            unnamed.product = None;
            let refused = check(platform.collateral().unwrap(), &unnamed).unwrap_err();
            assert!(
                matches!(refused, (Step::Chain, Reason::UnknownProduct { .. })),
                "{refused:?}"
            );
        }
    }
    let milan = tee.snp(SnpProduct::Milan, SnpSigningKey::Vcek);
    let refused = check_sgx(
        &roots,
        tee.intel(DcapTee::Sgx).collateral().unwrap(),
        DcapNeeded {
            tee: DcapTee::Sgx,
            fmspc: [1; 6],
            authority: PckAuthority::Platform,
        },
    );
    assert!(refused.is_err());
    let mixed = check_collateral(
        &roots,
        &Collateral::Dcap(tee.intel(DcapTee::Sgx).collateral().unwrap()),
        &CollateralNeeded::Snp(snp_needed(&milan, SnpSigningKey::Vcek)),
        UnixSeconds(1_800_000_000),
        days(0),
    )
    .unwrap_err();
    assert!(
        matches!(*mixed.reason, Reason::AnotherCollateral { .. }),
        "{mixed}"
    );
}

#[test]
fn certificates_and_lists_of_amd_say_what_they_are() {
    let vcek = SnpCertificateInfo::read(include_bytes!("evidence/snp_milan.vcek.der")).unwrap();
    let SnpCertificate::Endorsement(vcek) = vcek.what else {
        panic!("{vcek:?}")
    };
    assert_eq!(
        (vcek.product, vcek.signing_key),
        (SnpProduct::Milan, SnpSigningKey::Vcek)
    );
    assert_eq!(vcek.tcb.microcode, 0x73);
    let report = hex::decode(include_str!("evidence/snp_milan.report.hex").trim()).unwrap();
    assert_eq!(vcek.chip_id.unwrap()[..], report[0x1A0..0x1E0]);
    assert_eq!(
        Ok(vcek.tcb),
        SnpTcb::read(SnpProduct::Milan, report[0x180..0x188].try_into().unwrap())
    );

    let turin = SnpCertificateInfo::read(include_bytes!("evidence/snp_turin.vcek.der")).unwrap();
    let SnpCertificate::Endorsement(turin) = turin.what else {
        panic!("{turin:?}")
    };
    assert!(turin.tcb.fmc.is_some() && turin.chip_id.unwrap()[8..] == [0; 56]);

    let tee = SoftwareTee::generate().unwrap();
    for product in SnpProduct::ALL {
        for key in [SnpSigningKey::Vcek, SnpSigningKey::Vlek] {
            let platform = tee.snp(product, key);
            let read = |der: Vec<u8>| SnpCertificateInfo::read(&der).unwrap().what;
            assert_eq!(read(platform.ark_der().unwrap()), SnpCertificate::Ark(product));
            assert_eq!(
                read(platform.intermediate_der().unwrap()),
                SnpCertificate::Intermediate(product, key)
            );
            let list = SnpListInfo::read(&platform.list.sign(&platform.ark_key).unwrap()).unwrap();
            assert_eq!(list.product, product);
        }
    }
    let intel = tee.intel(DcapTee::Sgx);
    assert!(SnpCertificateInfo::read(&intel.root_der().unwrap()).is_err());
    assert!(SnpListInfo::read(&intel.parts().unwrap().pck_crl).is_err());
    assert!(SnpCertificateInfo::read(b"").is_err() && SnpListInfo::read(b"").is_err());
}
