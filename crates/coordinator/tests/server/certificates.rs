//! Users are recognised by any X.509 certificate whose key TLS can prove, and by nothing but its key.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::json;

use crate::support::ClientIdentity;
use crate::support::program::{manifest, start};

fn of_key(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> ClientIdentity {
    let mut params = CertificateParams::new(vec![]).unwrap();
    change(&mut params);
    ClientIdentity {
        certificate: params.self_signed(key).unwrap().der().to_vec(),
        pkcs8: key.serialize_der(),
    }
}

fn rsa(pkcs8: &[u8]) -> KeyPair {
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), &rcgen::PKCS_RSA_SHA256).unwrap()
}

fn kinds() -> Vec<(&'static str, ClientIdentity)> {
    let ec = || KeyPair::generate().unwrap();
    let of = |algorithm| of_key(&KeyPair::generate_for(algorithm).unwrap(), |_| {});
    let mut kinds = vec![
        (
            "version 1",
            ClientIdentity::from_pem(
                include_bytes!("../golden/user-v1.crt.pem"),
                include_bytes!("../golden/user-v1.key.pem"),
            ),
        ),
        ("P-256", of(&rcgen::PKCS_ECDSA_P256_SHA256)),
        ("P-384", of(&rcgen::PKCS_ECDSA_P384_SHA384)),
        ("P-521", of(&rcgen::PKCS_ECDSA_P521_SHA512)),
        ("Ed25519", of(&rcgen::PKCS_ED25519)),
        (
            "expired",
            of_key(&ec(), |params| {
                params.not_before = rcgen::date_time_ymd(2001, 1, 1);
                params.not_after = rcgen::date_time_ymd(2002, 1, 1);
            }),
        ),
        (
            "not yet valid",
            of_key(&ec(), |params| {
                params.not_before = rcgen::date_time_ymd(2901, 1, 1);
                params.not_after = rcgen::date_time_ymd(2902, 1, 1);
            }),
        ),
        (
            "an unknown critical extension",
            of_key(&ec(), |params| {
                let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                unknown.set_criticality(true);
                params.custom_extensions.push(unknown);
            }),
        ),
        (
            "for servers only",
            of_key(&ec(), |params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
    ];
    for (name, size) in [
        ("RSA 2048", KeySize::Rsa2048),
        ("RSA 3072", KeySize::Rsa3072),
        ("RSA 4096", KeySize::Rsa4096),
    ] {
        let key = RsaKeyPair::generate(size).unwrap();
        let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().unwrap();
        kinds.push((name, of_key(&rsa(pkcs8.as_ref()), |_| {})));
    }
    // Made beforehand: it takes half a minute.
    let (_, large) =
        x509_parser::pem::parse_x509_pem(include_bytes!("../../../core/tests/golden/pki/rsa-8192.pem"))
            .unwrap();
    kinds.push(("RSA 8192", of_key(&rsa(&large.contents), |_| {})));
    kinds
}

#[tokio::test]
async fn every_kind_of_certificate_is_recognised_with_its_key_and_with_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let program = std::sync::Arc::new(start(directory.path(), &[]));
    let kinds = kinds();
    let mut manifest = manifest();
    for (name, identity) in &kinds {
        manifest["Users"][*name] = json!({"Certificate": identity.certificate_pem(), "Roles": ["reader"]});
    }
    manifest["Roles"]["reader"] =
        json!({"ResourceType": "Secrets", "ResourceNames": ["shared"], "Actions": ["ReadSecret"]});
    program.set_manifest(&manifest).await;
    for (name, identity) in kinds {
        let (code, reply) = program
            .ask_as(&identity, "GET", "/api/v2/secrets?s=shared", "")
            .await;
        assert_eq!(code, 200, "{name}: {reply}");

        // With another key there is no connection, even where nobody has to be known.
        let algorithm = if name == "P-384" {
            &rcgen::PKCS_ECDSA_P384_SHA384
        } else {
            &rcgen::PKCS_ECDSA_P256_SHA256
        };
        let thief = ClientIdentity {
            certificate: identity.certificate,
            pkcs8: KeyPair::generate_for(algorithm).unwrap().serialize_der(),
        };
        let program = std::sync::Arc::clone(&program);
        let asked = tokio::spawn(async move { program.ask_as(&thief, "GET", "/api/v2/status", "").await });
        assert!(asked.await.is_err(), "{name}: a connection with another key");
    }
}
