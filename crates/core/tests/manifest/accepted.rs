//! What is accepted, odd as it may look, and what it becomes.

use std::net::IpAddr;

use marblerun_core::ambient::Timestamp;
use marblerun_core::manifest::{
    Content, FeatureGate, HsmEnvironment, Limits, Role, SealMode, WarningKind, check, package_update, reopen,
};
use marblerun_core::pki::key::KeyKind;
use marblerun_core::secret::spec::{
    CertificateFamily, CertificateTemplate, NameConstraints, NameSet, SecretKind, SecretSpec,
};
use serde_json::{Value, json};

use super::support::{
    ID, RECOVERY, RECOVERY_PKCS1, USER_ED25519, USER_P256, USER_RSA_V1, accept, accept_silently,
    assert_warned, no_hsm, patched, set, small,
};

fn certificate(cert: &Value) -> CertificateTemplate {
    let definition = json!({"Type": "cert-ed25519", "Cert": cert});
    let mut manifest = accept_silently(&patched("/Secrets/x", definition));
    template(manifest.secrets.remove("x").unwrap())
}

fn template(spec: SecretSpec) -> CertificateTemplate {
    match spec.kind {
        SecretKind::Certificate { template, .. } => *template,
        _ => panic!("not a certificate"),
    }
}

fn oids(list: &[marblerun_core::secret::spec::ObjectId]) -> Vec<String> {
    list.iter().map(|oid| oid.get().to_string()).collect()
}

#[test]
fn the_small_manifest_has_no_problems() {
    let manifest = accept_silently(&small());
    let here = &manifest.infrastructures["here"];
    assert_eq!(
        (here.qe_svn, here.pce_svn, here.root_ca.as_deref()),
        (Some(2), None, Some(&[3, 3, 3][..]))
    );
    let marble = &manifest.marbles["marble"];
    assert_eq!(
        marble.roles.iter().map(|role| &**role).collect::<Vec<_>>(),
        ["reader"]
    );
    assert!(marble.references.secrets.contains("cert") && marble.references.secrets.len() == 1);
    assert!(matches!(&marble.env["KEY"], Content::Verbatim(bytes) if bytes.as_ref() == b"text"));
}

#[test]
fn every_size_of_every_type() {
    let key = |definition: Value| match accept_silently(&patched("/Secrets/x", definition)).secrets["x"]
        .kind
        .clone()
    {
        SecretKind::Certificate { key, .. } => key,
        SecretKind::Symmetric { length } => panic!("{length} bytes"),
        SecretKind::Plain => panic!("plain"),
    };
    for bits in [2048, 3072, 4096, 8192] {
        assert_eq!(
            key(json!({"Type": "cert-rsa", "Size": bits})),
            Some(KeyKind::Rsa(bits))
        );
    }
    for (bits, kind) in [
        (224, KeyKind::P224),
        (256, KeyKind::P256),
        (384, KeyKind::P384),
        (521, KeyKind::P521),
    ] {
        assert_eq!(key(json!({"Type": "cert-ecdsa", "Size": bits})), Some(kind));
    }
    assert_eq!(
        key(json!({"Type": "cert-ed25519", "Size": 0})),
        Some(KeyKind::Ed25519)
    );
    assert_eq!(
        key(json!({"Type": "cert-ecdsa", "Size": 17, "UserDefined": true})),
        None
    );
    for (bits, length) in [(8, 1), (128, 16), (65280, 8160)] {
        let manifest = accept_silently(&patched(
            "/Secrets/x",
            json!({"Type": "symmetric-key", "Size": bits}),
        ));
        assert_eq!(manifest.secrets["x"].kind, SecretKind::Symmetric { length });
        assert_eq!(manifest.secrets["x"].size, bits);
    }
}

#[test]
fn validity_is_shown_as_replies_show_it() {
    let valid_for = |definition: Value| accept(&patched("/Secrets/x", definition)).0.secrets["x"].valid_for;
    assert_eq!(valid_for(json!({"Type": "cert-ed25519"})), 365);
    assert_eq!(valid_for(json!({"Type": "cert-ed25519", "ValidFor": 0})), 365);
    assert_eq!(
        valid_for(json!({"Type": "cert-ed25519", "ValidFor": 3_652_058})),
        3_652_058
    );
    assert_eq!(
        valid_for(json!({"Type": "cert-ed25519", "Cert": {"NotAfter": "2030-01-01T00:00:00Z"}})),
        0
    );
    assert_eq!(valid_for(json!({"Type": "cert-ed25519", "UserDefined": true})), 0);
    assert_eq!(valid_for(json!({"Type": "plain", "UserDefined": true})), 0);
    assert_eq!(
        valid_for(json!({"Type": "symmetric-key", "Size": 8, "ValidFor": 7})),
        7
    );
    let spec = &accept_silently(&patched("/Secrets/x", json!({"Type": "cert-ed25519"}))).secrets["x"];
    assert!(matches!(
        spec.kind,
        SecretKind::Certificate {
            family: CertificateFamily::Ed25519,
            ..
        }
    ));
}

#[test]
fn certificates_have_defaults() {
    let defaults = certificate(&json!(null));
    assert_eq!(
        defaults,
        CertificateTemplate {
            subject: defaults.subject.clone(),
            key_usage: 1 | 32,
            extended_key_usage: defaults.extended_key_usage.clone(),
            dns_names: vec!["localhost".to_owned()],
            ip_addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
            ..CertificateTemplate::default()
        }
    );
    assert_eq!(
        oids(&defaults.extended_key_usage),
        ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]
    );
    assert_eq!(defaults.subject.common_name, "localhost");
    for same in [
        json!({}),
        json!({"DNSNames": null, "IPAddresses": null, "ExtKeyUsage": null, "URIs": null, "Subject": {}}),
        json!({"KeyUsage": 0, "NotAfter": "0001-01-01T00:00:00Z", "MaxPathLen": 0, "SubjectKeyId": "", "IsCA": false}),
        json!({"NotAfter": "", "MaxPathLen": -1, "MaxPathLenZero": false, "SubjectKeyId": [], "Policies": []}),
        json!({"PermittedDNSDomainsCritical": true, "PermittedDNSDomains": null}),
    ] {
        assert_eq!(certificate(&same), defaults, "{same}");
    }
    let none = certificate(&json!({"DNSNames": [], "IPAddresses": [], "ExtKeyUsage": []}));
    assert!(none.dns_names.is_empty() && none.ip_addresses.is_empty() && none.extended_key_usage.is_empty());
    assert_eq!(none.subject.common_name, "MarbleRun Generated Certificate");
    assert_eq!(
        certificate(&json!({"DNSNames": ["a", "b"]})).subject.common_name,
        "MarbleRun Generated Certificate"
    );
    assert_eq!(certificate(&json!({"DNSNames": ["a"]})).subject.common_name, "a");
    let named = certificate(&json!({"DNSNames": ["a"], "Subject": {"CommonName": "Me"}}));
    assert_eq!(named.subject.common_name, "Me");
}

#[test]
fn certificates_with_every_field() {
    let read = certificate(&json!({
        "Subject": {
            "Country": ["DE"], "Organization": ["\u{d6}rg", "Two"], "OrganizationalUnit": ["Unit"], "Locality": ["L"],
            "Province": ["P"], "StreetAddress": ["S 1"], "PostalCode": ["12345"], "SerialNumber": "7", "CommonName": "N",
            "ExtraNames": [{"Type": [2, 5, 4, 3], "Value": "x"}], "Names": [{"Type": "whatever"}],
        },
        "NotAfter": "2319-03-03T08:29:45+01:00",
        "KeyUsage": 257, "ExtKeyUsage": [0, 9], "UnknownExtKeyUsage": [[1, 3, 6, 1, 4, 1, 311, 10]],
        "IsCA": true, "MaxPathLen": 3, "MaxPathLenZero": true, "SubjectKeyId": "AAEC",
        "DNSNames": ["*.example"], "EmailAddresses": ["me@example"], "IPAddresses": ["::ffff:10.0.0.1", "fd00::1"],
        "URIs": [
            {"Scheme": "https", "Host": "h.example:8443", "Path": "/a b", "RawPath": "/a%20b", "RawQuery": "q=1", "Fragment": "f"},
            {"Scheme": "https", "Host": "h", "Path": "x y"},
            {"Scheme": "urn", "Opaque": "uuid:1", "User": null, "OmitHost": false, "ForceQuery": false},
            {"Scheme": "file", "Path": "/etc", "ForceQuery": true},
            "spiffe://trust/w",
        ],
        "OCSPServer": ["http://ocsp"], "IssuingCertificateURL": ["http://ca"], "CRLDistributionPoints": ["http://crl"],
        "PolicyIdentifiers": [[1, 2, 3], [2, 23, 140, 1]], "Policies": ["1.2.3", "1.2.4"],
        "PermittedDNSDomainsCritical": true,
        "PermittedDNSDomains": [".example"], "ExcludedDNSDomains": [""],
        "PermittedIPRanges": [{"IP": "10.1.2.3", "Mask": "/wAAAA=="}, {"IP": "fd00::1", "Mask": [255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]}],
        "ExcludedIPRanges": [{"IP": "10.1.2.3", "Mask": "////////////////////AA=="}],
        "PermittedEmailAddresses": ["@example"], "ExcludedEmailAddresses": ["a@b"],
        "PermittedURIDomains": ["h"], "ExcludedURIDomains": [".h"],
        "SerialNumber": 123_456_789_012_345_678_901_234_567_890_f64, "NotBefore": "never", "BasicConstraintsValid": false,
        "AuthorityKeyId": 1, "SignatureAlgorithm": "x", "Version": 99, "PublicKey": {"N": 1}, "Issuer": [1], "Raw": "?",
        "RawTBSCertificate": 1, "RawSubjectPublicKeyInfo": 1, "RawSubject": 1, "RawIssuer": 1,
        "Signature": "", "PublicKeyAlgorithm": 0, "Extensions": null, "InhibitAnyPolicy": 0, "PolicyMappings": [],
    }));
    let subject = &read.subject;
    assert_eq!(subject.organization, ["\u{d6}rg", "Two"]);
    assert_eq!(
        (
            subject.country.len(),
            subject.organizational_unit.len(),
            subject.locality.len()
        ),
        (1, 1, 1)
    );
    assert_eq!(
        (
            subject.province.len(),
            subject.street_address.len(),
            subject.postal_code.len()
        ),
        (1, 1, 1)
    );
    assert_eq!(
        (subject.serial_number.as_str(), subject.common_name.as_str()),
        ("7", "N")
    );
    assert_eq!(
        (
            subject.extra_names[0].0.get().to_string(),
            subject.extra_names[0].1.as_str()
        ),
        ("2.5.4.3".to_owned(), "x")
    );
    assert_eq!(read.not_after, Timestamp::parse_rfc3339("2319-03-03T07:29:45Z"));
    assert_eq!(read.key_usage, 257);
    assert_eq!(
        oids(&read.extended_key_usage),
        ["2.5.29.37.0", "1.3.6.1.5.5.7.3.9", "1.3.6.1.4.1.311.10"]
    );
    assert_eq!((read.is_ca, read.max_path_length), (true, Some(3)));
    assert_eq!(read.subject_key_id.as_deref(), Some(&[0, 1, 2][..]));
    let addresses: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    assert_eq!(read.ip_addresses, addresses);
    assert_eq!(
        read.uris,
        [
            "https://h.example:8443/a%20b?q=1#f",
            "https://h/x%20y",
            "urn:uuid:1",
            "file:///etc?",
            "spiffe://trust/w"
        ]
    );
    assert_eq!(
        (
            read.dns_names.len(),
            read.email_addresses.len(),
            read.ocsp_servers.len()
        ),
        (1, 1, 1)
    );
    assert_eq!(
        (
            read.issuing_certificate_urls.len(),
            read.crl_distribution_points.len()
        ),
        (1, 1)
    );
    assert_eq!(oids(&read.policies), ["1.2.3", "2.23.140.1", "1.2.4"]);
    let mut network_6 = vec![0xfd];
    network_6.resize(16, 0);
    network_6.extend([255, 255]);
    network_6.resize(32, 0);
    assert_eq!(
        read.name_constraints,
        Some(NameConstraints {
            critical: true,
            permitted: NameSet {
                dns_domains: vec![".example".to_owned()],
                ip_ranges: vec![vec![10, 0, 0, 0, 255, 0, 0, 0], network_6],
                email_addresses: vec!["@example".to_owned()],
                uri_domains: vec!["h".to_owned()],
            },
            excluded: NameSet {
                dns_domains: vec![String::new()],
                ip_ranges: vec![vec![10, 1, 2, 0, 255, 255, 255, 0]],
                email_addresses: vec!["a@b".to_owned()],
                uri_domains: vec![".h".to_owned()],
            },
        })
    );
    assert_eq!(
        certificate(&json!({"IsCA": true, "MaxPathLenZero": true})).max_path_length,
        Some(0)
    );
    assert_eq!(
        certificate(&json!({"IsCA": true, "MaxPathLen": 0})).max_path_length,
        None
    );
}

#[test]
fn all_kinds_of_user_certificates() {
    let pem = |name: &str| {
        let path = format!(
            "{}/tests/golden/manifest/keys/{name}.pem",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read_to_string(path).unwrap()
    };
    let mut manifest = small();
    let relabelled = USER_ED25519.replace("CERTIFICATE", "ANYTHING");
    for (name, certificate) in [
        ("bob", format!("some text\n{relabelled}{USER_P256}")),
        ("carol", USER_RSA_V1.to_owned()),
        ("dave", pem("user-p384")),
        ("erin", pem("user-p521")),
    ] {
        set(
            &mut manifest,
            &format!("/Users/{name}"),
            json!({"Certificate": certificate, "Roles": null}),
        );
    }
    let read = accept_silently(&manifest);
    assert_eq!(read.users.len(), 5);
    assert_eq!(read.users["bob"].certificate.first(), Some(&0x30));
    assert!(read.users["bob"].certificate != read.users["alice"].certificate);
}

#[test]
fn recovery_keys_in_both_forms_are_one_key() {
    let mut manifest = small();
    set(&mut manifest, "/RecoveryKeys/two", json!(RECOVERY_PKCS1));
    set(&mut manifest, "/Config/RecoveryThreshold", json!(2));
    let read = accept_silently(&manifest);
    assert_eq!(
        read.recovery_keys["one"].public_key_pkix,
        read.recovery_keys["two"].public_key_pkix
    );
    assert_eq!(
        (&*read.recovery_keys["one"].pem, &*read.recovery_keys["two"].pem),
        (RECOVERY, RECOVERY_PKCS1)
    );
    assert_eq!(read.config.recovery_threshold, 2);
}

#[test]
fn roles_permit_what_their_actions_say() {
    let mut manifest = small();
    for (name, role) in [
        (
            "a",
            json!({"ResourceType": "Secrets", "ResourceNames": ["user"], "Actions": ["WRITESECRET", "readSecret"]}),
        ),
        (
            "b",
            json!({"ResourceType": "Secrets", "ResourceNames": ["private"]}),
        ),
        (
            "c",
            json!({"ResourceType": "Packages", "ResourceNames": ["package"], "Actions": ["updatesecurityversion"]}),
        ),
        (
            "d",
            json!({"ResourceType": "Packages", "ResourceNames": ["package"], "Actions": []}),
        ),
        (
            "e",
            json!({"ResourceType": "Manifest", "ResourceNames": [], "Actions": ["updatemanifest"]}),
        ),
        ("f", json!({"ResourceType": "Manifest"})),
    ] {
        set(&mut manifest, &format!("/Roles/{name}"), role);
    }
    let roles = accept_silently(&manifest).roles;
    let sizes = |name: &str| match &roles[name] {
        Role::Secrets { read, write } => (read.len(), write.len()),
        Role::Packages {
            update_security_version,
        } => (update_security_version.len(), 0),
        Role::Manifest { update } => (usize::from(*update), 0),
    };
    assert_eq!(
        ["a", "b", "c", "d", "e", "f"].map(sizes),
        [(1, 1), (0, 0), (1, 0), (0, 0), (1, 0), (0, 0)]
    );
}

#[test]
fn config_is_read() {
    let mut manifest = patched(
        "/Config",
        json!({
            "SealMode": "UniqueKey", "UpdateThreshold": 1, "RotateRootSecret": true,
            "FeatureGates": ["signquoteendpoint", "MONOTONICCOUNTER", "AzureHSMSealing"],
        }),
    );
    let ready = HsmEnvironment {
        missing: Vec::new(),
        without_seal_key: false,
    };
    let raw = manifest.to_string();
    let config = check(raw.as_bytes(), &Limits::default(), &ready)
        .map_err(|error| error.to_string())
        .unwrap()
        .manifest
        .config;
    assert_eq!(
        (config.seal_mode, config.update_threshold),
        (SealMode::UniqueKey, 1)
    );
    assert!(config.rotate_root_secret && config.feature_gates.contains(&FeatureGate::AzureHsmSealing));
    assert_eq!(config.feature_gates.len(), 3);
    // What was accepted elsewhere opens here.
    let reopened = reopen(raw.as_bytes().into())
        .map_err(|error| error.to_string())
        .unwrap();
    assert_eq!(reopened.config, config);
    set(&mut manifest, "/Config", json!({"SealMode": "Disabled"}));
    assert_eq!(accept_silently(&manifest).config.seal_mode, SealMode::Disabled);
    set(&mut manifest, "/Config", json!({"SealMode": "ProductKey"}));
    assert_eq!(accept_silently(&manifest).config.seal_mode, SealMode::ProductKey);
}

#[test]
fn warnings() {
    let rule = WarningKind::PackageRule;
    for (pointer, value, kind, path, word) in [
        (
            "/Packages/unused",
            json!({}),
            rule,
            "Packages.unused",
            "no marble refers",
        ),
        (
            "/Packages/unused",
            json!({"SignerID": ID, "ProductID": 1, "SecurityVersion": 65_536}),
            rule,
            "Packages.unused.SecurityVersion",
            "no enclave has 65536",
        ),
        (
            "/Packages/package",
            json!({"SignerID": ID, "ProductID": 65_536, "SecurityVersion": 65_535, "Debug": true}),
            rule,
            "Packages.package.ProductID",
            "no enclave has 65536",
        ),
        (
            "/Packages/unused",
            json!({"UniqueID": ID, "ProductID": 1}),
            rule,
            "Packages.unused.UniqueID",
            "no marble refers",
        ),
        (
            "/Packages/package",
            json!({"Debug": true}),
            rule,
            "Packages.package",
            "Debug is true",
        ),
        (
            "/Packages/package",
            json!({"UniqueID": "YOUR_ID"}),
            rule,
            "Packages.package.UniqueID",
            "64 hex",
        ),
        (
            "/Packages/package",
            json!({"UniqueID": ID, "Debug": true, "AcceptedTCBStatuses": ["upToDate"]}),
            rule,
            "Packages.package.AcceptedTCBStatuses[0]",
            "status",
        ),
        (
            "/Secrets/x",
            json!({"Type": "plain", "UserDefined": true, "Cert": {"IsCA": true}}),
            WarningKind::NoEffect,
            "Secrets.x.Cert",
            "not looked at",
        ),
        (
            "/Infrastructures/any",
            json!({"QESVN": 0}),
            WarningKind::NoEffect,
            "Infrastructures.any",
            "every Intel platform",
        ),
        (
            "/TLS/tag",
            json!({"Outgoing": []}),
            WarningKind::NoEffect,
            "Marbles.marble.TLS",
            "refuse to start",
        ),
        (
            "/Secrets/x",
            json!({"Type": "cert-ed25519", "Cert": {"Subject": {"DNSNames": ["a"]}}}),
            WarningKind::UnknownField,
            "Secrets.x.Cert.Subject.DNSNames",
            "unknown field",
        ),
        (
            "/Secrets/x",
            json!({"Type": "cert-ed25519", "Cert": {"Validity": 1}}),
            WarningKind::UnknownField,
            "Secrets.x.Cert.Validity",
            "unknown field",
        ),
        (
            "/Infrastructures/here",
            json!({"QESVN": 2, "Platform": 1}),
            WarningKind::UnknownField,
            "Infrastructures.here.Platform",
            "unknown field",
        ),
        (
            "/Packages/package",
            json!({"UniqueID": ID, "Comment": "x"}),
            WarningKind::UnknownField,
            "Packages.package.Comment",
            "unknown field",
        ),
        (
            "/Extra",
            json!({"a": {"b": 1}}),
            WarningKind::UnknownField,
            "Extra",
            "unknown field",
        ),
        (
            "/Marbles/marble/Parameters/Files/~1file",
            json!({"Data": "x", "Mode": 7}),
            WarningKind::UnknownField,
            "Marbles.marble.Parameters.Files./file.Mode",
            "unknown field",
        ),
        (
            "/TLS/tag/Incoming/0",
            json!({"Port": "1", "Addr": "x"}),
            WarningKind::UnknownField,
            "TLS.tag.Incoming[0].Addr",
            "unknown field",
        ),
        (
            "/Config/X",
            json!(null),
            WarningKind::UnknownField,
            "Config.X",
            "unknown field",
        ),
    ] {
        assert_warned(&patched(pointer, value), kind, path, word);
    }
}

#[test]
fn updates_of_packages() {
    let update = |document: Value| package_update(document.to_string().as_bytes(), &Limits::default());
    let versions = update(json!({
        "Packages": {"a": {"SecurityVersion": 5, "UniqueID": "", "ProductID": 0, "Debug": false, "TDX": null}, "b": {"securityversion": 0}},
        "Marbles": null, "Secrets": {}, "Users": {"x": null}, "Config": {"SealMode": "UniqueKey"},
    }))
    .unwrap()
    .unwrap();
    let versions: Vec<_> = versions
        .iter()
        .map(|(name, version)| (&**name, *version))
        .collect();
    assert_eq!(versions, [("a", 5), ("b", 0)]);
    assert_eq!(update(small()), Ok(None));
    assert_eq!(update(json!({})), Ok(None));
    assert_eq!(
        update(json!({"Packages": {"a": {"SecurityVersion": 1}}, "Roles": {"x": {}}})),
        Ok(None)
    );
    for (package, path) in [
        (json!({"SecurityVersion": 1, "Debug": true}), "Packages.a.Debug"),
        (
            json!({"SecurityVersion": 1, "ProductID": 1}),
            "Packages.a.ProductID",
        ),
        (
            json!({"SecurityVersion": 1, "AcceptedAdvisories": ["x"]}),
            "Packages.a.AcceptedAdvisories",
        ),
        (json!({}), "Packages.a.SecurityVersion"),
        (json!({"SecurityVersion": 65_536}), "Packages.a.SecurityVersion"),
        (json!({"SecurityVersion": null}), "Packages.a.SecurityVersion"),
        (json!({"SecurityVersion": -1}), "Packages.a.SecurityVersion"),
        (json!(7), "Packages.a"),
    ] {
        let error = update(json!({"Packages": {"a": package}}))
            .unwrap_err()
            .to_string();
        assert!(error.contains(&format!("{path}: ")), "{error}");
    }
}

#[test]
fn a_manifest_in_force_stays_so_whatever_its_packages_match() {
    let too_large = json!({"SignerID": ID, "ProductID": 1, "SecurityVersion": 65_536});
    let misspelled = json!({"UniqueID": ID, "AcceptedAdvisorys": ["INTEL-SA-00334"]});
    for manifest in [
        patched("/Packages/package", too_large),
        patched("/Packages/package", misspelled),
        patched("/Infrastructures/here", json!({"QESVN": 2, "CPUSVM": [1]})),
        patched("/Infrastructures/here", json!({"Platform": "x"})),
    ] {
        let manifest = manifest.to_string();
        assert!(
            check(manifest.as_bytes(), &Limits::default(), &no_hsm()).is_err(),
            "{manifest}"
        );
        assert!(reopen(manifest.into_bytes().into()).is_ok());
    }
}

#[test]
fn old_spellings_in_templates_are_warned_about() {
    let manifest = patched(
        "/Marbles/marble/Parameters/Env/KEY",
        json!("{{ pem .Marblerun.RootCA.Cert }}"),
    );
    let path = "Marbles.marble.Parameters.Env.KEY";
    assert_warned(&manifest, WarningKind::Template, path, "Marblerun");
}
