//! What the original accepted and refused.

use std::net::IpAddr;

use marblerun_core::manifest::{Content, FeatureGate, Role, SealMode, WarningKind, check, reopen};
use marblerun_core::manifest::{Limits, package_update};
use marblerun_core::pki::key::KeyKind;
use marblerun_core::secret::spec::{CertificateTemplate, SecretKind, SecretSpec};
use serde_json::Value;

use super::support::{check_bytes, no_hsm, problems_of};

const ACCEPTED: &[u8] = include_bytes!("../golden/manifest/accepted.json");
const REFUSED: &str = include_str!("../golden/manifest/refused.json");

fn template(spec: &SecretSpec) -> &CertificateTemplate {
    match &spec.kind {
        SecretKind::Certificate { template, .. } => template,
        _ => panic!("not a certificate"),
    }
}

fn key(spec: &SecretSpec) -> Option<KeyKind> {
    match &spec.kind {
        SecretKind::Certificate { key, .. } => *key,
        _ => panic!("not a certificate"),
    }
}

#[test]
fn the_accepted_manifest_is_read_whole() {
    let checked = check_bytes(ACCEPTED).unwrap_or_else(|error| panic!("{error}"));
    assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
    let manifest = checked.manifest;
    assert_eq!(manifest.raw.as_ref(), ACCEPTED);
    assert_eq!(
        manifest.fingerprint,
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, ACCEPTED).as_ref()
    );

    let backend = &manifest.packages["backend"];
    assert!(!backend.debug);
    assert!(
        backend
            .sgx
            .as_ref()
            .unwrap()
            .unique_id
            .as_ref()
            .unwrap()
            .starts_with("000102")
    );
    let frontend = manifest.packages["frontend"].sgx.as_ref().unwrap();
    assert_eq!(
        (frontend.product_id, frontend.security_version),
        (Some(44), Some(3))
    );
    assert!(frontend.signer_id.is_some() && frontend.unique_id.is_none());
    assert!(manifest.infrastructures.is_empty());

    let names: Vec<&str> = manifest.marbles.keys().map(|name| &**name).collect();
    assert_eq!(names, ["backend", "frontend", "plainmarble", "unbound"]);
    let backend = &manifest.marbles["backend"];
    assert_eq!((&*backend.package, backend.max_activations), ("backend", 2));
    assert_eq!((backend.files.len(), backend.env.len()), (17, 6));
    assert_eq!(backend.argv, ["./backend", "--first", "serve"]);
    assert_eq!(backend.tls.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["web"]);
    assert!(manifest.marbles["unbound"].disable_secret_binding && !backend.disable_secret_binding);
    for (path, expected) in [
        ("/plain.txt", Some(&b"foo"[..])),
        ("/b64.bin", Some(&[0, 1, 2, 3])),
        ("/untouched", Some(b"{{ not a template }}")),
        ("/hex.txt", None),
        ("/raw.key", None),
    ] {
        match (&backend.files[path], expected) {
            (Content::Verbatim(bytes), Some(expected)) => assert_eq!(bytes.as_ref(), expected, "{path}"),
            (Content::Template(_), None) => {}
            _ => panic!("{path} is not what it should be"),
        }
    }
    let frontend = &manifest.marbles["frontend"];
    assert_eq!(frontend.tls.len(), 2);
    assert!(
        frontend.references.secrets.contains("certShared"),
        "the certificate of a TLS tag"
    );

    let secrets = &manifest.secrets;
    assert_eq!(secrets.len(), 11);
    assert_eq!(secrets["shared"].kind, SecretKind::Symmetric { length: 16 });
    assert!(secrets["shared"].shared && secrets["private"].is_private());
    assert_eq!((secrets["private"].size, secrets["private"].valid_for), (256, 0));
    assert_eq!(secrets["token"].kind, SecretKind::Plain);
    assert_eq!(
        (key(&secrets["userCert"]), secrets["userCert"].valid_for),
        (None, 0)
    );
    assert_eq!(
        (key(&secrets["certRsa"]), secrets["certRsa"].valid_for),
        (Some(KeyKind::Rsa(2048)), 7)
    );
    assert_eq!(
        (key(&secrets["certEd"]), secrets["certEd"].valid_for),
        (Some(KeyKind::Ed25519), 365)
    );
    assert_eq!(key(&secrets["cert224"]), Some(KeyKind::P224));
    let shared = template(&secrets["certShared"]);
    assert_eq!(shared.subject.common_name, "shared.example");
    assert_eq!(shared.subject.organization, ["Org"]);
    assert_eq!(shared.dns_names, ["shared.example", "localhost"]);
    assert_eq!(shared.ip_addresses, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!((shared.key_usage, shared.extended_key_usage.len()), (33, 2));
    let ca = template(&secrets["certCA"]);
    assert_eq!((ca.is_ca, ca.max_path_length, ca.key_usage), (true, Some(0), 32));
    let curve_224 = template(&secrets["cert224"]);
    assert_eq!((curve_224.key_usage, curve_224.extended_key_usage.len()), (1, 1));
    assert_eq!(curve_224.subject.common_name, "localhost");

    assert_eq!(manifest.users.len(), 3);
    assert_eq!(manifest.users["admin"].roles.len(), 2);
    assert!(matches!(&manifest.roles["upd"], Role::Manifest { update: true }));
    match (
        &manifest.roles["secretAdmin"],
        &manifest.roles["reader"],
        &manifest.roles["updPackages"],
    ) {
        (
            Role::Secrets { read, write },
            Role::Secrets {
                read: read_too,
                write: none,
            },
            Role::Packages {
                update_security_version,
            },
        ) => {
            assert_eq!(
                (read.len(), write.len(), read_too.len(), none.len()),
                (3, 3, 4, 0)
            );
            assert!(update_security_version.contains("frontend"));
        }
        _ => panic!("roles of other types"),
    }
    assert_eq!(manifest.recovery_keys["one"].public_key_pkix.len(), 294);
    assert_eq!(manifest.tls["web"].outgoing[0].address, "service.name");
    assert_eq!(
        manifest.tls["other"].incoming[0].certificate.as_deref(),
        Some("certShared")
    );
    assert_eq!(manifest.config.seal_mode, SealMode::ProductKey);
    assert!(
        manifest
            .config
            .feature_gates
            .contains(&FeatureGate::SignQuoteEndpoint)
    );
    assert_eq!(manifest.config.feature_gates.len(), 2);

    let again = reopen(ACCEPTED.into()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.fingerprint, manifest.fingerprint);
    assert_eq!(again.secrets, manifest.secrets);
    assert_eq!(package_update(ACCEPTED, &Limits::default()), Ok(None));
}

#[test]
fn what_the_original_refused_is_refused_at_the_right_place() {
    let cases: Vec<Value> = serde_json::from_str(REFUSED).unwrap();
    assert_eq!(cases.len(), 19);
    for case in &cases {
        let mut manifest: Value = serde_json::from_slice(ACCEPTED).unwrap();
        merge(&mut manifest, &case["merge"]);
        let result = check(manifest.to_string().as_bytes(), &Limits::default(), &no_hsm());
        let problems = problems_of(result.map_err(|error| {
            assert!(error.to_string().starts_with("checking manifest: "), "{error}");
            error
        }));
        let [problem] = problems.as_slice() else {
            panic!("{}: {problems:?}", case["note"])
        };
        assert_eq!(problem.path, case["path"], "{problem}");
        let word = case["word"].as_str().unwrap();
        assert!(problem.message.contains(word), "{word:?} is not in {problem}");
    }
}

#[test]
fn a_debug_package_may_break_the_rules_with_a_warning() {
    let mut manifest: Value = serde_json::from_slice(ACCEPTED).unwrap();
    manifest["Packages"]["backend"] = serde_json::json!({"Debug": true, "SignerID": "00"});
    let checked = check_bytes(manifest.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let seen: Vec<_> = checked
        .warnings
        .iter()
        .map(|warning| (warning.kind, warning.path.as_str()))
        .collect();
    let rule = WarningKind::PackageRule;
    assert_eq!(
        seen,
        [
            (rule, "Packages.backend.SignerID"),
            (rule, "Packages.backend.ProductID"),
            (rule, "Packages.backend.SecurityVersion")
        ]
    );
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            if !target.is_object() {
                *target = serde_json::json!({});
            }
            for (name, value) in fields {
                if value.is_null() {
                    target.as_object_mut().unwrap().remove(name);
                } else {
                    merge(&mut target[name], value);
                }
            }
        }
        other => *target = other.clone(),
    }
}
