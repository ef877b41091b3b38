//! Certificates and revocation lists, on both kinds of chain.

use std::sync::Arc;

use marblerun_attestation::UnixSeconds;
use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::{
    CollateralError, DcapCollateral, DcapTee, SnpCollateral, SnpRevocation,
};
use marblerun_attestation::fakes::{CertificateFields, Extension, Key, ListFields, SnpReportFields};
use marblerun_attestation::reason::{CertificateRole as Role, Dated, ListName};
use marblerun_attestation::{Claims, Collateral, Reason, Refused};

use super::{NOW, TEE, binding, judge, other_p256, refused, replace_chain, sgx, sgx_signed, snp};

fn unknown_critical() -> Extension {
    Extension {
        id: "1.2.3.4".to_owned(),
        critical: true,
        value: vec![5, 0],
    }
}

/// Each certificate of both chains, with the step at which it is looked at.
#[test]
fn each_certificate_has_to_be_in_force() {
    type Change = fn(&mut CertificateFields);
    let late: Change = |fields| fields.not_after = UnixSeconds(NOW.0 - 1);
    let early: Change = |fields| fields.not_before = UnixSeconds(NOW.0 + 1);
    let last: Change = |fields| fields.not_after = NOW;
    let first: Change = |fields| fields.not_before = NOW;
    let judged = |role: Role, change: Change| match role {
        Role::PckCa => sgx(|platform, _| change(&mut platform.ca)),
        Role::Pck => sgx(|platform, _| change(&mut platform.pck)),
        Role::TcbInfoSigner => sgx(|platform, _| change(&mut platform.signer)),
        Role::Ask => snp(|platform, _| change(&mut platform.intermediate)),
        _ => snp(|platform, _| change(&mut platform.endorsement)),
    };
    for role in [Role::PckCa, Role::Pck, Role::TcbInfoSigner, Role::Ask, Role::Vcek] {
        let refusal = judged(role, late).unwrap_err();
        assert!(
            matches!(*refusal.reason, Reason::Expired { dated: Dated::Certificate(found), .. } if found == role),
            "{refusal}"
        );
        let refusal = judged(role, early).unwrap_err();
        assert!(
            matches!(*refusal.reason, Reason::NotYetValid { dated: Dated::Certificate(found), .. } if found == role),
            "{refusal}"
        );
        assert!(
            judged(role, last).is_ok() && judged(role, first).is_ok(),
            "{role}"
        );
    }
}

#[test]
fn each_revoked_certificate_is_refused() {
    let revoked = |serial: u8| {
        move |list: &mut ListFields| list.revoked = vec![vec![0x77], vec![serial], vec![1, serial]]
    };
    refused!(
        sgx(|platform, _| revoked(3)(&mut platform.pck_list)),
        Collateral,
        Revoked {
            certificate: Role::Pck,
            list: ListName::Pck,
            ..
        }
    );
    refused!(
        sgx(|platform, _| revoked(2)(&mut platform.root_list)),
        Collateral,
        Revoked {
            certificate: Role::PckCa,
            list: ListName::IntelSgxRoot,
            ..
        }
    );
    refused!(
        sgx(|platform, _| revoked(4)(&mut platform.root_list)),
        Collateral,
        Revoked {
            certificate: Role::TcbInfoSigner,
            ..
        }
    );
    refused!(
        snp(|platform, _| revoked(2)(&mut platform.list)),
        Collateral,
        Revoked {
            certificate: Role::Ask,
            list: ListName::Amd,
            ..
        }
    );
    assert!(sgx(|platform, _| platform.pck_list.revoked = vec![vec![0x77]]).is_ok());
    assert!(snp(|platform, _| platform.list.revoked = vec![vec![0x77]]).is_ok());
}

#[test]
fn each_revocation_list_has_to_be_in_force() {
    type Change = fn(&mut ListFields);
    let late: Change = |list| list.next_update = Some(UnixSeconds(NOW.0 - 1));
    let early: Change = |list| list.this_update = UnixSeconds(NOW.0 + 1);
    let judged = |name: ListName, change: Change| match name {
        ListName::IntelSgxRoot => sgx(|platform, _| change(&mut platform.root_list)),
        ListName::Pck => sgx(|platform, _| change(&mut platform.pck_list)),
        ListName::Amd => snp(|platform, _| change(&mut platform.list)),
    };
    for name in [ListName::IntelSgxRoot, ListName::Pck, ListName::Amd] {
        let refusal = judged(name, late).unwrap_err();
        assert!(
            matches!(*refusal.reason, Reason::Expired { dated: Dated::List(found), .. } if found == name),
            "{refusal}"
        );
        let refusal = judged(name, early).unwrap_err();
        assert!(
            matches!(*refusal.reason, Reason::NotYetValid { dated: Dated::List(found), .. } if found == name),
            "{refusal}"
        );
    }
}

#[test]
fn a_revocation_list_has_to_be_whole_and_of_the_issuer() {
    let partial = Extension {
        id: "2.5.29.27".to_owned(),
        critical: true,
        value: vec![2, 1, 1],
    };
    refused!(
        snp(|platform, _| platform.list.extensions.push(partial.clone())),
        Collateral,
        ListMalformed {
            list: ListName::Amd,
            ..
        }
    );
    refused!(
        snp(|platform, _| platform.list.next_update = None),
        Collateral,
        ListMalformed {
            list: ListName::Amd,
            ..
        }
    );
    refused!(
        snp(|platform, _| platform.list.issuer = "ARK-Genoa".to_owned()),
        Collateral,
        ListIssuer {
            list: ListName::Amd,
            ..
        }
    );
    refused!(
        sgx(|platform, _| platform.pck_list.issuer = "Intel SGX PCK Processor CA".to_owned()),
        Collateral,
        ListIssuer {
            list: ListName::Pck,
            ..
        }
    );
    refused!(
        sgx(|platform, _| platform.root_list.algorithm = Some("1.2.840.10045.4.3.3")),
        Collateral,
        ListAlgorithm {
            list: ListName::IntelSgxRoot,
            ..
        }
    );
    let platform = TEE.intel(DcapTee::Sgx);
    refused!(
        sgx_signed(|_, parts| parts.root_ca_crl = platform.root_list.sign(&other_p256()).unwrap()),
        Collateral,
        ListSignature {
            list: ListName::IntelSgxRoot,
            ..
        }
    );
    refused!(
        sgx_signed(|_, parts| parts.pck_crl = platform.pck_list.sign(&other_p256()).unwrap()),
        Collateral,
        ListSignature {
            list: ListName::Pck,
            ..
        }
    );
}

#[test]
fn collateral_that_cannot_be_read_is_no_collateral() {
    let parts = TEE.intel(DcapTee::Sgx).parts().unwrap();
    let read = |change: fn(&mut marblerun_attestation::collateral::DcapCollateralParts)| {
        let mut parts = parts.clone();
        change(&mut parts);
        DcapCollateral::new(parts).unwrap_err()
    };
    assert!(matches!(
        read(|parts| parts.pck_crl.truncate(9)),
        CollateralError::Content(Reason::ListMalformed {
            list: ListName::Pck,
            ..
        })
    ));
    for (field, error) in [
        ("tcb_info", read(|parts| parts.tcb_info.truncate(9))),
        ("qe_identity", read(|parts| parts.qe_identity = "{}".to_owned())),
        (
            "tcb_info_issuer_chain",
            read(|parts| parts.tcb_info_issuer_chain.clear()),
        ),
        (
            "pck_crl_issuer_chain",
            read(|parts| parts.pck_crl_issuer_chain.push('x')),
        ),
    ] {
        assert!(
            matches!(&error, CollateralError::Field { field: found, .. } if *found == field),
            "{error}"
        );
    }
    assert!(matches!(
        read(|parts| parts.tcb_info = " ".repeat(DcapCollateral::LIMIT)),
        CollateralError::TooLarge { .. }
    ));
    // What is no hex is shown escaped, not as other characters.
    let json = include_str!("../evidence/sgx_v3.collateral.json");
    let signature = json.find("\"tcb_info_signature\": \"").unwrap() + 23;
    let mut json = json.to_owned();
    json.replace_range(signature + 2..signature + 4, "\u{e9}");
    let error = DcapCollateral::from_json(json.as_bytes())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(r#"expected hex, found "\xc3" behind 2 bytes"#),
        "{error}"
    );
    assert!(matches!(
        DcapCollateral::from_json(b"{}"),
        Err(CollateralError::Json { .. })
    ));
}

#[test]
fn a_chain_ends_in_the_pinned_root() {
    refused!(
        sgx(|platform, _| {
            platform.root_key = other_p256();
            platform.root_as_issued = None;
        }),
        Chain,
        AnotherRoot {
            certificate: Role::IntelSgxRoot,
            ..
        }
    );
    refused!(
        snp(|platform, _| {
            std::mem::swap(&mut platform.ark_key, &mut platform.intermediate_key);
            platform.ark_as_issued = None;
        }),
        Chain,
        AnotherRoot {
            certificate: Role::Ark,
            ..
        }
    );
}

#[test]
fn a_root_issued_anew_is_the_same_root() {
    assert!(sgx(|platform, _| platform.root_as_issued = None).is_ok());
    assert!(snp(|platform, _| platform.ark_as_issued = None).is_ok());
}

#[test]
fn each_certificate_is_issued_by_the_one_above_it() {
    refused!(
        sgx(|platform, _| platform.root_key = other_p256()),
        Chain,
        CertificateSignature {
            certificate: Role::PckCa,
            issuer: Role::IntelSgxRoot
        }
    );
    refused!(
        sgx(|platform, _| platform.ca.issuer = "another".to_owned()),
        Chain,
        AnotherIssuer {
            certificate: Role::PckCa,
            ..
        }
    );
    refused!(
        sgx(|platform, _| platform.pck.issuer = "another".to_owned()),
        Chain,
        AnotherIssuer {
            certificate: Role::Pck,
            ..
        }
    );
    refused!(
        sgx(|platform, _| platform.ca.authority = false),
        Chain,
        NotAnAuthority {
            certificate: Role::PckCa
        }
    );
    refused!(
        sgx(|platform, _| platform.pck.algorithm = Some("1.2.840.10045.4.3.3")),
        Chain,
        CertificateAlgorithm {
            certificate: Role::Pck,
            ..
        }
    );
    refused!(
        snp(|platform, _| platform.endorsement.issuer = "SEV-Genoa".to_owned()),
        Chain,
        AnotherIssuer {
            certificate: Role::Vcek,
            ..
        }
    );
    refused!(
        snp(|platform, _| platform.intermediate.authority = false),
        Chain,
        NotAnAuthority {
            certificate: Role::Ask
        }
    );
}

#[test]
fn each_certificate_has_its_own_purpose() {
    refused!(
        sgx(|platform, _| {
            platform.ca.subject = "Intel SGX TCB Signing".to_owned();
            platform.pck.issuer = platform.ca.subject.clone();
            platform.pck_list.issuer = platform.ca.subject.clone();
        }),
        Chain,
        AnotherSubject {
            certificate: Role::PckCa,
            ..
        }
    );
    refused!(
        sgx(|platform, _| platform.signer.subject = "Intel SGX PCK Platform CA".to_owned()),
        Collateral,
        AnotherSubject {
            certificate: Role::TcbInfoSigner,
            ..
        }
    );
    refused!(
        sgx(|platform, _| platform.signer.authority = true),
        Collateral,
        UnexpectedAuthority {
            certificate: Role::TcbInfoSigner
        }
    );
    refused!(
        sgx(|platform, _| platform.pck.authority = true),
        Chain,
        UnexpectedAuthority {
            certificate: Role::Pck
        }
    );
    refused!(
        sgx(|platform, _| platform.pck.extensions.push(unknown_critical())),
        Chain,
        CriticalExtension {
            certificate: Role::Pck,
            ..
        }
    );
    refused!(
        snp(|platform, _| platform.intermediate.extensions.push(unknown_critical())),
        Chain,
        CriticalExtension {
            certificate: Role::Ask,
            ..
        }
    );
    refused!(
        snp(|platform, _| {
            platform.intermediate.subject = "SEV-Genoa".to_owned();
            platform.endorsement.issuer = "SEV-Genoa".to_owned();
        }),
        Chain,
        AnotherSubject {
            certificate: Role::Ask,
            ..
        }
    );
    refused!(
        snp(|platform, _| platform.endorsement.subject = "SEV-VLEK".to_owned()),
        Chain,
        AnotherSubject {
            certificate: Role::Vcek,
            ..
        }
    );
    refused!(
        snp(|platform, _| platform.endorsement.authority = true),
        Chain,
        UnexpectedAuthority {
            certificate: Role::Vcek
        }
    );
}

#[test]
fn each_certificate_has_the_key_of_its_kind() {
    let mut platform = TEE.intel(DcapTee::Sgx);
    platform.pck_key = Arc::new(Key::p384().unwrap());
    let chain = platform.pck_chain().unwrap();
    refused!(
        sgx_signed(|quote, _| replace_chain(quote, chain.as_bytes())),
        Chain,
        CertificateKey {
            certificate: Role::Pck,
            ..
        }
    );
    refused!(
        snp(|platform, _| platform.endorsement_key = other_p256()),
        Chain,
        CertificateKey {
            certificate: Role::Vcek,
            ..
        }
    );
}

#[test]
fn extensions_of_the_manufacturer_are_required() {
    refused!(
        sgx(|platform, _| platform.extension.present = false),
        Chain,
        CertificateExtension {
            certificate: Role::Pck,
            extension: "SGX extension",
            ..
        }
    );
    refused!(
        sgx(|platform, _| platform.extension.fmspc.push(0)),
        Chain,
        CertificateExtension {
            extension: "FMSPC",
            ..
        }
    );
    refused!(
        sgx(|platform, _| platform.extension.cpu_svn.clear()),
        Chain,
        CertificateExtension {
            extension: "CPUSVN",
            ..
        }
    );
    refused!(
        sgx(|platform, _| platform.extension.components.truncate(15)),
        Chain,
        CertificateExtension {
            extension: "TCB component",
            ..
        }
    );
}

#[test]
fn certificates_that_are_none_are_refused() {
    refused!(
        sgx_signed(|quote, _| {
            let at = quote.len() - 100;
            quote[at] = b'*';
        }),
        Chain,
        CertificateMalformed {
            certificate: Role::Pck,
            ..
        }
    );
    let platform = TEE.intel(DcapTee::Sgx);
    let two = {
        let chain = platform.pck_chain().unwrap();
        let end = "-----END CERTIFICATE-----\n";
        chain.rsplitn(3, end).last().unwrap().to_owned() + end
    };
    refused!(
        sgx_signed(|quote, _| replace_chain(quote, two.as_bytes())),
        Chain,
        ChainLength { found: 2, .. }
    );
    refused!(
        with_snp_certificate(vec![0x30, 0]),
        Chain,
        CertificateMalformed {
            certificate: Role::Vcek,
            ..
        }
    );
    refused!(
        with_snp_certificate(vec![0; 9000]),
        Chain,
        CertificateMalformed {
            certificate: Role::Vcek,
            ..
        }
    );
}

fn with_snp_certificate(der: Vec<u8>) -> Result<Claims, Refused> {
    let platform = TEE.snp(SnpProduct::Milan, SnpSigningKey::Vcek);
    let report = SnpReportFields::new(&platform, SnpSigningKey::Vcek, &binding())
        .sign(&platform)
        .unwrap();
    let collateral: SnpCollateral = platform.collateral().unwrap().with_endorsement_key(der);
    judge(report, &Collateral::Snp(collateral))
}

#[test]
fn certificates_that_nobody_gave_are_named() {
    let platform = TEE.snp(SnpProduct::Milan, SnpSigningKey::Vcek);
    let report = SnpReportFields::new(&platform, SnpSigningKey::Vcek, &binding())
        .sign(&platform)
        .unwrap();
    let none = SnpCollateral::new(SnpRevocation::NotChecked);
    refused!(
        judge(report.clone(), &Collateral::Snp(none.clone())),
        Chain,
        CertificateMissing {
            certificate: Role::Vcek
        }
    );
    let only = none.with_endorsement_key(platform.endorsement_der().unwrap());
    refused!(
        judge(report, &Collateral::Snp(only)),
        Chain,
        CertificateMissing {
            certificate: Role::Ask
        }
    );
}
