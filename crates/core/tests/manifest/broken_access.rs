//! One thing wrong at a time: users, roles, recovery keys, TLS, the configuration.

use marblerun_core::manifest::{HsmEnvironment, Limits, check};
use serde_json::{Value, json};

use super::support::{
    RECOVERY, USER_ED25519, USER_P256, assert_each_refused, assert_refused, check_value, no_hsm, patched,
    set, small,
};

#[test]
fn users() {
    let user = |certificate: &str| json!({"Certificate": certificate});
    let key = |name: &str| {
        let path = format!(
            "{}/tests/golden/manifest/keys/{name}.pem",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read_to_string(path).unwrap()
    };
    let (garbage, cut) = (
        "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n",
        &USER_P256[..300],
    );
    assert_each_refused(vec![
        ("/Users/bob", json!({}), "Users.bob.Certificate", "missing"),
        ("/Users/bob", user(""), "Users.bob.Certificate", "missing"),
        (
            "/Users/bob",
            user("nope"),
            "Users.bob.Certificate",
            "no PEM block",
        ),
        (
            "/Users/bob",
            user(garbage),
            "Users.bob.Certificate",
            "not an X.509 certificate",
        ),
        ("/Users/bob", user(cut), "Users.bob.Certificate", "no end"),
        (
            "/Users/bob",
            user(RECOVERY),
            "Users.bob.Certificate",
            "not an X.509 certificate",
        ),
        (
            "/Users/bob",
            user(&key("user-rsa-1024")),
            "Users.bob.Certificate",
            "2048 to 8192",
        ),
        (
            "/Users/bob",
            user(&key("user-p224")),
            "Users.bob.Certificate",
            "curve",
        ),
        (
            "/Users/bob",
            user(&key("user-dsa")),
            "Users.bob.Certificate",
            "neither RSA, ECDSA nor Ed25519",
        ),
        (
            "/Users/bob",
            json!({"Certificate": [1, 2]}),
            "Users.bob.Certificate",
            "expected a string",
        ),
        (
            "/Users/bob",
            user(USER_P256),
            "Users.bob.Certificate",
            "same certificate as that of user `alice`",
        ),
        (
            "/Users/bob",
            json!({"Certificate": USER_ED25519, "Roles": ["nope"]}),
            "Users.bob.Roles[0]",
            "no `nope` in Roles",
        ),
        (
            "/Users/bob",
            json!({"Certificate": USER_ED25519, "Roles": "x"}),
            "Users.bob.Roles",
            "a list",
        ),
    ]);
}

#[test]
fn roles() {
    let role = |kind: &str, names: Value, actions: Value| json!({"ResourceType": kind, "ResourceNames": names, "Actions": actions});
    let p = "/Roles/x";
    assert_each_refused(vec![
        (
            p,
            json!({}),
            "Roles.x.ResourceType",
            "Packages, Secrets or Manifest",
        ),
        (
            p,
            role("secrets", json!([]), json!([])),
            "Roles.x.ResourceType",
            "found `secrets`",
        ),
        (
            p,
            role("Marbles", json!([]), json!([])),
            "Roles.x.ResourceType",
            "found `Marbles`",
        ),
        (
            p,
            role("Packages", json!(["nope"]), json!([])),
            "Roles.x.ResourceNames[0]",
            "no `nope` in Packages",
        ),
        (
            p,
            role("Packages", json!(["package"]), json!(["ReadSecret"])),
            "Roles.x.Actions[0]",
            "UpdateSecurityVersion",
        ),
        (
            p,
            role("Secrets", json!(["shared", "nope"]), json!(["ReadSecret"])),
            "Roles.x.ResourceNames[1]",
            "no `nope` in Secrets",
        ),
        (
            p,
            role("Secrets", json!(["shared"]), json!(["ReadSecrets"])),
            "Roles.x.Actions[0]",
            "ReadSecret or WriteSecret",
        ),
        (
            p,
            role("Secrets", json!(["shared"]), json!(["UpdateManifest"])),
            "Roles.x.Actions[0]",
            "found `UpdateManifest`",
        ),
        (
            p,
            role("Secrets", json!(["shared"]), json!(["WriteSecret"])),
            "Roles.x.ResourceNames[0]",
            "not user-defined",
        ),
        (
            p,
            role("Secrets", json!(["shared", "private"]), json!(["readsecret"])),
            "Roles.x.ResourceNames[1]",
            "of its own for each marble",
        ),
        (
            p,
            role("Manifest", json!(["x"]), json!(["UpdateManifest"])),
            "Roles.x.ResourceNames",
            "no names",
        ),
        (
            p,
            role("Manifest", json!([]), json!(["x"])),
            "Roles.x.Actions[0]",
            "UpdateManifest",
        ),
        (
            p,
            role("Manifest", json!([]), json!("UpdateManifest")),
            "Roles.x.Actions",
            "a list",
        ),
        (
            p,
            role("Packages", json!("package"), json!([])),
            "Roles.x.ResourceNames",
            "a list",
        ),
        (
            p,
            role("Packages", json!(["package", 1]), json!([])),
            "Roles.x.ResourceNames[1]",
            "a string",
        ),
        (p, json!({"ResourceType": 1}), "Roles.x.ResourceType", "a string"),
    ]);
}

#[test]
fn recovery_keys() {
    let key = |name: &str| {
        let path = format!(
            "{}/tests/golden/manifest/keys/{name}.pem",
            env!("CARGO_MANIFEST_DIR")
        );
        json!(std::fs::read_to_string(path).unwrap())
    };
    let wrapped = |label: &str| json!(format!("-----BEGIN {label}-----\nAAEC\n-----END {label}-----\n"));
    assert_each_refused(vec![
        ("/RecoveryKeys/two", json!(""), "RecoveryKeys.two", "missing"),
        (
            "/RecoveryKeys/two",
            json!("nope"),
            "RecoveryKeys.two",
            "no PEM block",
        ),
        ("/RecoveryKeys/two", json!([1]), "RecoveryKeys.two", "a string"),
        (
            "/RecoveryKeys/two",
            wrapped("PUBLIC KEY"),
            "RecoveryKeys.two",
            "cannot be read",
        ),
        (
            "/RecoveryKeys/two",
            wrapped("RSA PUBLIC KEY"),
            "RecoveryKeys.two",
            "not an RSA key",
        ),
        (
            "/RecoveryKeys/two",
            wrapped("RSA PRIVATE KEY"),
            "RecoveryKeys.two",
            "neither PUBLIC KEY nor RSA PUBLIC KEY",
        ),
        (
            "/RecoveryKeys/two",
            json!(USER_P256),
            "RecoveryKeys.two",
            "neither PUBLIC KEY nor RSA PUBLIC KEY",
        ),
        (
            "/RecoveryKeys/two",
            key("recovery-1024"),
            "RecoveryKeys.two",
            "2048 to 8192",
        ),
        (
            "/RecoveryKeys/two",
            key("ed25519-public"),
            "RecoveryKeys.two",
            "not an RSA key",
        ),
    ]);
}

#[test]
fn tls() {
    assert_each_refused(vec![
        (
            "/TLS/x",
            json!({"Outgoing": [{"Addr": "a"}]}),
            "TLS.x.Outgoing[0].Port",
            "missing",
        ),
        (
            "/TLS/x",
            json!({"Outgoing": [{"Port": "1"}]}),
            "TLS.x.Outgoing[0].Addr",
            "missing",
        ),
        (
            "/TLS/x",
            json!({"Outgoing": [{"Port": 80, "Addr": "a"}]}),
            "TLS.x.Outgoing[0].Port",
            "found the number 80",
        ),
        ("/TLS/x", json!({"Outgoing": {}}), "TLS.x.Outgoing", "a list"),
        (
            "/TLS/x",
            json!({"Outgoing": ["a:1"]}),
            "TLS.x.Outgoing[0]",
            "an object",
        ),
        (
            "/TLS/x",
            json!({"Incoming": [{}]}),
            "TLS.x.Incoming[0].Port",
            "missing",
        ),
        (
            "/TLS/x",
            json!({"Incoming": [{"Port": ""}]}),
            "TLS.x.Incoming[0].Port",
            "missing",
        ),
        (
            "/TLS/x",
            json!({"Incoming": [{"Port": "1", "DisableClientAuth": true}]}),
            "TLS.x.Incoming[0].DisableClientAuth",
            "only together with Cert",
        ),
        (
            "/TLS/x",
            json!({"Incoming": [{"Port": "1", "Cert": "cert"}]}),
            "TLS.x.Incoming[0].DisableClientAuth",
            "expected true",
        ),
        (
            "/TLS/x",
            json!({"Incoming": [{"Port": "1", "Cert": "nope", "DisableClientAuth": true}]}),
            "TLS.x.Incoming[0].Cert",
            "no `nope` in Secrets",
        ),
        (
            "/TLS/x",
            json!({"Incoming": [{"Port": "1", "Cert": "shared", "DisableClientAuth": true}]}),
            "TLS.x.Incoming[0].Cert",
            "certificate type",
        ),
        (
            "/TLS/x",
            json!({"Incoming": [{"Port": "1", "Cert": 1}]}),
            "TLS.x.Incoming[0].Cert",
            "a string",
        ),
        (
            "/TLS/x",
            json!({"Incoming": [{"Port": "1", "DisableClientAuth": "yes"}]}),
            "TLS.x.Incoming[0].DisableClientAuth",
            "true or false",
        ),
    ]);
}

#[test]
fn config() {
    assert_each_refused(vec![
        (
            "/Config",
            json!({"SealMode": "productkey"}),
            "Config.SealMode",
            "found `productkey`",
        ),
        ("/Config", json!({"SealMode": 1}), "Config.SealMode", "a string"),
        (
            "/Config",
            json!({"UpdateThreshold": 2}),
            "Config.UpdateThreshold",
            "(1) for a threshold of 2",
        ),
        (
            "/Config",
            json!({"UpdateThreshold": -1}),
            "Config.UpdateThreshold",
            "whole number",
        ),
        (
            "/Config",
            json!({"RecoveryThreshold": 1}),
            "Config.RecoveryThreshold",
            "at least 2",
        ),
        (
            "/Config",
            json!({"RecoveryThreshold": 2}),
            "Config.RecoveryThreshold",
            "(1) for a threshold of 2",
        ),
        (
            "/Config",
            json!({"RecoveryThreshold": "2"}),
            "Config.RecoveryThreshold",
            "whole number",
        ),
        (
            "/Config",
            json!({"FeatureGates": ["MonotonicCounter", "x"]}),
            "Config.FeatureGates[1]",
            "unknown feature gate `x`",
        ),
        (
            "/Config",
            json!({"FeatureGates": "MonotonicCounter"}),
            "Config.FeatureGates",
            "a list",
        ),
        (
            "/Config",
            json!({"FeatureGates": [""]}),
            "Config.FeatureGates[0]",
            "unknown feature gate",
        ),
        (
            "/Config",
            json!({"FeatureGates": ["azurehsmsealing"]}),
            "Config.FeatureGates[0]",
            "EDG_MAA_URL",
        ),
        (
            "/Config",
            json!({"RotateRootSecret": "true"}),
            "Config.RotateRootSecret",
            "true or false",
        ),
    ]);
    // Roles of marbles do not count for the threshold.
    let mut manifest = patched("/Config", json!({"UpdateThreshold": 2}));
    set(&mut manifest, "/Marbles/marble/Roles", json!(["updater"]));
    assert_refused(&manifest, "Config.UpdateThreshold", "(1)");
}

#[test]
fn where_no_seal_key_is_a_manifest_needs_a_recovery_key() {
    let without = HsmEnvironment {
        without_seal_key: true,
        ..no_hsm()
    };
    let check = |manifest: &Value| {
        check(manifest.to_string().as_bytes(), &Limits::default(), &without)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(check(&small()), Ok(()));
    let mut manifest = small();
    set(&mut manifest, "/RecoveryKeys", json!({}));
    let refused = check(&manifest).unwrap_err();
    assert!(
        refused.contains("RecoveryKeys: missing: this Coordinator's TEE has no seal key"),
        "{refused}"
    );
    assert!(check_value(&manifest).is_ok(), "elsewhere it may have none");
    set(&mut manifest, "/Config/SealMode", json!("Disabled"));
    assert_eq!(check(&manifest), Ok(()));
}
