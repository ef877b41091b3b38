//! Evidence that programs in simulation send: it verifies, claims what it was told to claim, and is what no other
//! roots accept.

use marblerun_attestation::certificate;
use marblerun_attestation::fakes::{ProfileError, SoftwareIssuer, SoftwareProfile};
use marblerun_attestation::issue::Issuer;
use marblerun_attestation::{CollateralNeeded, ProductionRoots};

use super::*;

fn issuer(tee: &str, claims: &str) -> SoftwareIssuer {
    let profile = SoftwareProfile::new(tee, Some(claims), Some(b"program")).unwrap();
    SoftwareIssuer::development(profile).unwrap()
}

fn collateral(tee: &str, claims: &str) -> Collateral {
    match tee {
        "sgx" => Collateral::Dcap(TEE.intel(DcapTee::Sgx).collateral().unwrap()),
        "tdx" => Collateral::Dcap(TEE.intel(DcapTee::Tdx).collateral().unwrap()),
        _ => {
            let product = SnpProduct::ALL
                .into_iter()
                .find(|product| claims.contains(product.as_str()))
                .unwrap_or(SnpProduct::Milan);
            Collateral::Snp(TEE.snp(product, SnpSigningKey::Vcek).collateral().unwrap())
        }
    }
}

fn claims_of(tee: &str, claims: &str) -> Claims {
    let evidence = issuer(tee, claims).quote(&binding()).unwrap();
    judge(evidence, &collateral(tee, claims)).unwrap()
}

#[test]
fn what_is_not_given_is_measured_from_the_program() {
    let Claims::Sgx(claims) = claims_of("sgx", "{}") else {
        panic!()
    };
    assert_eq!(
        claims.unique_id[..],
        *aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"program").as_ref()
    );
    assert_eq!(
        (claims.product_id, claims.security_version, claims.debug),
        (1, 1, false)
    );
    let Claims::Tdx(claims) = claims_of("tdx", "{}") else {
        panic!()
    };
    let sha384 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, b"program");
    assert_eq!(claims.mrtd[..], *sha384.as_ref());
    let Claims::Snp(claims) = claims_of("snp", "{}") else {
        panic!()
    };
    assert_eq!(claims.measurement[..], *sha384.as_ref());
}

#[test]
fn every_claim_can_be_given() {
    let ids = format!(
        r#"{{"UniqueID":"{}","SignerID":"{}","ProductID":44,"SecurityVersion":3,"Debug":true}}"#,
        "01".repeat(32),
        "02".repeat(32)
    );
    let Claims::Sgx(claims) = claims_of("sgx", &ids) else {
        panic!()
    };
    assert_eq!((claims.unique_id, claims.signer_id), ([1; 32], [2; 32]));
    assert_eq!(
        (claims.product_id, claims.security_version, claims.debug),
        (44, 3, true)
    );

    let names = [
        "MRTD",
        "RTMR0",
        "RTMR1",
        "RTMR2",
        "RTMR3",
        "MRSEAM",
        "MRCONFIGID",
        "MROWNER",
    ];
    let fields: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(index, name)| format!(r#""{name}":"{}""#, format!("{:02x}", index + 1).repeat(48)))
        .collect();
    let all = format!(r#"{{{},"Debug":true}}"#, fields.join(","));
    let Claims::Tdx(claims) = claims_of("tdx", &all) else {
        panic!()
    };
    assert_eq!(
        (claims.mrtd, claims.rtmr),
        ([1; 48], [[2; 48], [3; 48], [4; 48], [5; 48]])
    );
    assert_eq!(
        (claims.mr_seam, claims.mr_config_id, claims.mr_owner),
        ([6; 48], [7; 48], [8; 48])
    );
    assert!(claims.debug);

    let all = format!(
        r#"{{"Product":"Turin","Measurement":"{}","HostData":"{}","IDKeyDigest":"{}","AuthorKeyDigest":"{}","VMPL":2,"Debug":true}}"#,
        "01".repeat(48),
        "02".repeat(32),
        "03".repeat(48),
        "04".repeat(48)
    );
    let Claims::Snp(claims) = claims_of("snp", &all) else {
        panic!()
    };
    assert_eq!(
        (claims.product, claims.vmpl, claims.debug),
        (SnpProduct::Turin, 2, true)
    );
    assert_eq!((claims.measurement, claims.host_data), ([1; 48], [2; 32]));
    assert_eq!(
        (claims.id_key_digest, claims.author_key_digest),
        ([3; 48], [4; 48])
    );
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let refused = |tee, claims| {
        SoftwareProfile::new(tee, Some(claims), None)
            .unwrap_err()
            .to_string()
    };
    assert!(matches!(
        SoftwareProfile::new("sev", None, None),
        Err(ProfileError::Tee { .. })
    ));
    assert!(refused("sgx", r#"{"Uniqueid":""}"#).contains("Uniqueid"));
    assert!(refused("sgx", "[").contains("claims of the simulated TEE"));
    assert!(refused("sgx", r#"{"UniqueID":"00"}"#).contains("UniqueID: expected 64 hexadecimal digits"));
    assert!(refused("tdx", r#"{"RTMR3":"zz"}"#).contains("RTMR3: expected 96 hexadecimal digits"));
    assert!(refused("snp", r#"{"HostData":"00"}"#).contains("HostData: expected 64 hexadecimal digits"));
    assert!(refused("snp", r#"{"VMPL":4}"#).contains("VMPL: expected 0 to 3"));
    assert!(refused("snp", r#"{"Product":"Naples"}"#).contains("Product: expected Milan"));
}

#[test]
fn one_issuer_is_one_platform_which_a_verifier_remembers() {
    let issuer = issuer("sgx", "{}");
    let verifier = Verifier::new(SimulationRoots::development());
    let collateral = collateral("sgx", "{}");
    let quote = |der: &[u8]| Quote::new(issuer.quote(&ReportBinding::certificate(der)).unwrap()).unwrap();
    let (first, second) = (quote(b"first"), quote(b"second"));
    assert_eq!(verifier.collateral_remembered(&first), None);
    let binding = ReportBinding::certificate(b"first");
    let needed = verifier.collateral_needed(&first, &binding, NOW).unwrap();
    assert!(matches!(needed, CollateralNeeded::Dcap(_)));
    verifier.verify(&first, &binding, &collateral, NOW).unwrap();
    assert_eq!(verifier.collateral_remembered(&second), Some(needed));
    let other_tee = self::issuer("tdx", "{}").quote(&binding).unwrap();
    assert_eq!(
        verifier.collateral_remembered(&Quote::new(other_tee).unwrap()),
        None
    );
    assert_eq!(
        verifier.collateral_remembered(&Quote::new(Vec::new()).unwrap()),
        None
    );
}

#[test]
fn production_takes_none_of_it() {
    let verifier = Verifier::new(ProductionRoots::pinned());
    for tee in ["sgx", "tdx", "snp"] {
        let quote = Quote::new(issuer(tee, "{}").quote(&binding()).unwrap()).unwrap();
        let refused = verifier
            .verify(&quote, &binding(), &collateral(tee, "{}"), NOW)
            .unwrap_err();
        assert_eq!(refused.step, Step::Chain, "{tee}: {refused}");
        assert!(
            matches!(*refused.reason, Reason::AnotherRoot { .. }),
            "{tee}: {refused}"
        );
    }
}

#[test]
fn evidence_in_a_certificate_verifies_over_the_key_of_the_certificate() {
    for tee in ["sgx", "tdx", "snp"] {
        let binding = ReportBinding::public_key(b"public key");
        let value = certificate::encode(&issuer(tee, "{}").quote(&binding).unwrap(), b"public key").unwrap();
        let quote = certificate::decode(&value, b"public key").unwrap();
        Verifier::new(SimulationRoots::development())
            .verify(&quote, &binding, &collateral(tee, "{}"), NOW)
            .unwrap();
    }
}
