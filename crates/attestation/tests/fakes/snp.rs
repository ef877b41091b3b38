//! SEV-SNP.

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::{CollateralNeeded, SnpCollateral, SnpRevocation};
use marblerun_attestation::fakes::SnpReportFields;
use marblerun_attestation::reason::CertificateRole;
use marblerun_attestation::{Claims, Collateral, Quote, SimulationRoots, Verifier};

use super::{NOW, TEE, binding, judge, refused, snp, snp_with};

const VCEK_ID: [u8; 16] = *b"\x8d\x75\xda\x63\x64\xe6\x64\x45\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd";
const ASK_ID: [u8; 16] = *b"\x79\xb3\xb7\x4a\xac\xbb\xe4\x4f\xa0\x2f\x05\xae\xf3\x27\xc7\x82";

#[test]
fn every_product_and_signing_key_verifies() {
    for product in SnpProduct::ALL {
        for key in [SnpSigningKey::Vcek, SnpSigningKey::Vlek] {
            for version in 2..=5 {
                // Version 2 does not say which product it is of.
                let Claims::Snp(claims) = snp_with(product, key, |_, report| {
                    report.version = version;
                    if version == 2 {
                        report.cpuid = [0; 2];
                    }
                })
                .unwrap() else {
                    panic!("another TEE")
                };
                assert_eq!((claims.product, claims.signing_key), (product, key));
                assert_eq!(claims.tcb, TEE.snp(product, key).tcb);
                assert!(claims.revocation_checked);
            }
        }
    }
}

#[test]
fn claims_are_the_fields_of_the_report() {
    let platform = TEE.snp(SnpProduct::Milan, SnpSigningKey::Vcek);
    let fields = SnpReportFields::new(&platform, SnpSigningKey::Vcek, &binding());
    let Claims::Snp(claims) = snp(|_, report| {
        report.policy |= 1 << 18;
        (report.vmpl, report.guest_svn) = (2, 7);
    })
    .unwrap() else {
        panic!("another TEE")
    };
    assert_eq!(
        (claims.measurement, claims.host_data),
        (fields.measurement, fields.host_data)
    );
    assert_eq!(
        (claims.id_key_digest, claims.author_key_digest),
        (fields.id_key_digest, fields.author_key_digest)
    );
    assert_eq!(
        (claims.family_id, claims.image_id),
        (fields.family_id, fields.image_id)
    );
    assert_eq!((claims.vmpl, claims.guest_svn, claims.policy), (2, 7, 0x7_0000));
    assert_eq!(
        (claims.chip_id, claims.reported_tcb),
        (fields.chip_id, fields.reported_tcb)
    );
    assert!(claims.migration_agent_allowed && !claims.debug);
    assert!(snp(|_, report| report.policy |= 1 << 19).unwrap().debug());
}

#[test]
fn each_field_of_the_report_is_signed() {
    let platform = TEE.snp(SnpProduct::Milan, SnpSigningKey::Vcek);
    let collateral = Collateral::Snp(platform.collateral().unwrap());
    let report = SnpReportFields::new(&platform, SnpSigningKey::Vcek, &binding())
        .sign(&platform)
        .unwrap();
    let mut flipped = report.clone();
    flipped[0x90] ^= 1;
    refused!(
        judge(flipped, &collateral),
        Signature,
        ReportSignature {
            signer: CertificateRole::Vcek
        }
    );
    let mut unused = report.clone();
    unused[0x2A0 + 48] = 1;
    refused!(judge(unused, &collateral), Fields, Reserved { .. });
    let mut behind = report;
    behind[1183] = 1;
    refused!(judge(behind, &collateral), Fields, Reserved { .. });
}

#[test]
fn fields_with_fixed_values_are_compared() {
    refused!(
        snp(|_, report| report.signing_key = 7),
        Fields,
        SigningKey { found: 7 }
    );
    refused!(
        snp(|_, report| report.cpuid = [0x17, 1]),
        Fields,
        UnknownProduct { .. }
    );
    refused!(snp(|_, report| report.vmpl = 4), Guest, Vmpl { found: 4 });
    refused!(snp(|_, report| report.policy = 0x1_0000), Guest, Policy { .. });
    refused!(snp(|_, report| report.policy |= 1 << 26), Guest, Policy { .. });
    refused!(
        snp(|_, report| report.report_data[63] = 1),
        Binding,
        Binding { .. }
    );
}

#[test]
fn the_endorsement_key_is_of_this_chip_and_firmware() {
    refused!(snp(|_, report| report.chip_id[63] ^= 1), Platform, ChipId { .. });
    assert!(snp(|_, report| report.chip_id = [0; 64]).is_ok());
    refused!(
        snp_with(SnpProduct::Turin, SnpSigningKey::Vcek, |_, report| report
            .chip_id[8] =
            1),
        Platform,
        ChipId { .. }
    );
    for (at, name) in [(0, "boot loader"), (1, "TEE"), (6, "SNP"), (7, "microcode")] {
        let refusal = snp(|_, report| report.reported_tcb[at] += 1).unwrap_err();
        assert!(refusal.to_string().contains(name), "{refusal}");
        refused!(
            snp(|_, report| report.reported_tcb[at] += 1),
            Platform,
            EndorsedTcb { .. }
        );
    }
    refused!(
        snp_with(SnpProduct::Turin, SnpSigningKey::Vcek, |_, report| report
            .reported_tcb[0] +=
            1),
        Platform,
        EndorsedTcb { component: "FMC", .. }
    );
    refused!(
        snp(|_, report| report.reported_tcb[2] = 1),
        Platform,
        Reserved { .. }
    );
    refused!(
        snp(|platform, _| platform.hardware_id = None),
        Platform,
        CertificateExtension { .. }
    );
    refused!(
        snp(|platform, _| platform.hardware_id = Some(vec![1; 9])),
        Platform,
        CertificateExtension { .. }
    );
    let wrapped = [&[4, 64][..], &[0xC1; 64]].concat();
    assert!(snp(|platform, _| platform.hardware_id = Some(wrapped)).is_ok());
}

#[test]
fn the_endorsement_key_is_of_this_product() {
    refused!(
        snp(|platform, _| platform.product_name = "Genoa-B0".to_owned()),
        Platform,
        AnotherProduct { .. }
    );
    refused!(
        snp(|platform, _| platform.product_name = "Rome".to_owned()),
        Platform,
        UnknownProduct { .. }
    );
    assert!(
        snp_with(SnpProduct::Genoa, SnpSigningKey::Vcek, |platform, _| {
            platform.product_name = "Siena-A1".to_owned();
        })
        .is_ok()
    );
    // A report of another product line is verified against another root.
    refused!(
        snp(|_, report| report.cpuid = [0x1A, 2]),
        Chain,
        AnotherRoot { .. }
    );
    // A VLEK is no VCEK.
    refused!(
        snp(|_, report| report.signing_key = 1),
        Chain,
        AnotherSubject { .. }
    );
}

#[test]
fn a_product_without_root_is_refused() {
    let platform = TEE.snp(SnpProduct::Milan, SnpSigningKey::Vcek);
    let ark = platform.ark_der().unwrap();
    let intel = TEE
        .intel(marblerun_attestation::collateral::DcapTee::Sgx)
        .root_der()
        .unwrap();
    let roots = SimulationRoots::new(&intel, &[(SnpProduct::Genoa, &ark)]).unwrap();
    let report = SnpReportFields::new(&platform, SnpSigningKey::Vcek, &binding())
        .sign(&platform)
        .unwrap();
    let result = Verifier::new(roots)
        .verify(
            &Quote::new(report).unwrap(),
            &binding(),
            &Collateral::Snp(platform.collateral().unwrap()),
            NOW,
        )
        .map(marblerun_attestation::Verified::into_inner);
    refused!(result, Chain, NoRoot { product: "Milan", .. });
}

#[test]
fn certificates_may_stand_behind_the_report() {
    let platform = TEE.snp(SnpProduct::Milan, SnpSigningKey::Vcek);
    let (vcek, ask) = (
        platform.endorsement_der().unwrap(),
        platform.intermediate_der().unwrap(),
    );
    let mut evidence = SnpReportFields::new(&platform, SnpSigningKey::Vcek, &binding())
        .sign(&platform)
        .unwrap();
    for (id, offset, length) in [
        (VCEK_ID, 72, vcek.len()),
        (ASK_ID, 72 + vcek.len(), ask.len()),
        ([0; 16], 0, 0),
    ] {
        evidence.extend(id);
        evidence.extend((offset as u32).to_le_bytes());
        evidence.extend((length as u32).to_le_bytes());
    }
    evidence.extend([&vcek[..], &ask].concat());
    let none = Collateral::Snp(SnpCollateral::new(SnpRevocation::NotChecked));
    let Claims::Snp(claims) = judge(evidence.clone(), &none).unwrap() else {
        panic!("another TEE")
    };
    assert!(!claims.revocation_checked);

    let needed = Verifier::new(SimulationRoots::development())
        .collateral_needed(&Quote::new(evidence.clone()).unwrap(), &binding(), NOW)
        .unwrap();
    let CollateralNeeded::Snp(needed) = needed else {
        panic!("another TEE")
    };
    assert!(needed.endorsement_key_present && needed.intermediate_present);
    assert_eq!(needed.product, Some(SnpProduct::Milan));

    // Up to the end of the page there may be zeros, and nothing else.
    let mut padded = evidence.clone();
    padded.resize(1184 + 4096, 0);
    judge(padded.clone(), &none).unwrap();
    padded[1184 + 4095] = 1;
    refused!(
        judge(padded, &none),
        Fields,
        BytesInNoCertificate { found: 1, at: 4095 }
    );

    evidence[1184 + 16..1184 + 20].copy_from_slice(&u32::MAX.to_le_bytes());
    refused!(judge(evidence, &none), Fields, CertificateTable { .. });
}
