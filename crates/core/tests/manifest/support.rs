//! A small valid manifest to break.

use marblerun_core::manifest::{
    Checked, HsmEnvironment, Limits, Manifest, ManifestError, Problem, Warning, WarningKind, check,
};
use serde_json::{Value, json};

/// P-256, X.509 version 3.
pub const USER_P256: &str = include_str!("../golden/manifest/keys/user-p256.pem");
/// Ed25519, X.509 version 3.
pub const USER_ED25519: &str = include_str!("../golden/manifest/keys/user-ed25519.pem");
/// RSA 2048, X.509 version 1.
pub const USER_RSA_V1: &str = include_str!("../golden/manifest/keys/user-rsa-v1.pem");
/// RSA 2048, `PUBLIC KEY`.
pub const RECOVERY: &str = include_str!("../golden/manifest/keys/recovery.pem");
/// The key of [`RECOVERY`] as `RSA PUBLIC KEY`.
pub const RECOVERY_PKCS1: &str = include_str!("../golden/manifest/keys/recovery-pkcs1.pem");

pub const ID: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// One entry in each section, every rule kept.
pub fn small() -> Value {
    json!({
        "Packages": {"package": {"UniqueID": ID}},
        "Infrastructures": {"here": {"QESVN": 2, "RootCA": [3, 3, 3]}},
        "Marbles": {"marble": {
            "Package": "package", "MaxActivations": 1,
            "Parameters": {"Files": {"/file": "text"}, "Env": {"KEY": "text"}, "Argv": ["./marble"]},
            "Roles": ["reader"], "TLS": ["tag"],
        }},
        "Secrets": {
            "shared": {"Type": "symmetric-key", "Size": 128, "Shared": true},
            "private": {"Type": "symmetric-key", "Size": 128},
            "user": {"Type": "plain", "UserDefined": true},
            "cert": {"Type": "cert-ecdsa", "Size": 256, "Shared": true},
        },
        "Users": {"alice": {"Certificate": USER_P256, "Roles": ["updater"]}},
        "Roles": {
            "reader": {"ResourceType": "Secrets", "ResourceNames": ["shared"], "Actions": ["ReadSecret"]},
            "updater": {"ResourceType": "Manifest", "Actions": ["UpdateManifest"]},
        },
        "RecoveryKeys": {"one": RECOVERY},
        "TLS": {"tag": {
            "Outgoing": [{"Port": "80", "Addr": "host"}],
            "Incoming": [{"Port": "81"}, {"Port": "82", "Cert": "cert", "DisableClientAuth": true}],
        }},
        "Config": {},
    })
}

/// [`small`] with the value at a JSON pointer replaced or added (lists: appended where the index is their length).
pub fn patched(pointer: &str, value: Value) -> Value {
    let mut manifest = small();
    set(&mut manifest, pointer, value);
    manifest
}

pub fn set(manifest: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').expect("a JSON pointer");
    let name = name.replace("~1", "/").replace("~0", "~");
    match manifest
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("nothing at {parent}"))
    {
        Value::Object(fields) => drop(fields.insert(name, value)),
        Value::Array(items) => {
            let index: usize = name.parse().unwrap();
            if index == items.len() {
                items.push(value);
            } else {
                items[index] = value;
            }
        }
        other => panic!("{parent} is {other}"),
    }
}

pub fn no_hsm() -> HsmEnvironment {
    HsmEnvironment {
        missing: vec!["EDG_MAA_URL".to_owned()],
        without_seal_key: false,
    }
}

pub fn check_bytes(raw: &[u8]) -> Result<Checked, ManifestError> {
    check(raw, &Limits::default(), &no_hsm())
}

pub fn check_value(manifest: &Value) -> Result<Checked, ManifestError> {
    check_bytes(manifest.to_string().as_bytes())
}

/// The manifest and its warnings; panics when it is refused.
pub fn accept(manifest: &Value) -> (Manifest, Vec<Warning>) {
    match check_value(manifest) {
        Ok(checked) => (checked.manifest, checked.warnings),
        Err(error) => panic!("refused: {error}"),
    }
}

pub fn accept_silently(manifest: &Value) -> Manifest {
    let (manifest, warnings) = accept(manifest);
    assert!(warnings.is_empty(), "{warnings:?}");
    manifest
}

pub fn problems_of(result: Result<Checked, ManifestError>) -> Vec<Problem> {
    match result {
        Ok(_) => panic!("accepted"),
        Err(ManifestError::Problems { problems, .. }) => problems,
        Err(other) => panic!("not a list of problems: {other}"),
    }
}

pub fn refuse(manifest: &Value) -> Vec<Problem> {
    problems_of(check_value(manifest))
}

/// Refused for one reason: at this path, with this word in its message.
pub fn assert_refused(manifest: &Value, path: &str, word: &str) {
    let problems = match check_value(manifest) {
        Ok(_) => panic!("accepted, expected a problem at {path} with {word:?}"),
        Err(ManifestError::Problems { problems, .. }) => problems,
        Err(other) => panic!("{path}: {other}"),
    };
    let [problem] = problems.as_slice() else {
        panic!("{path} {word:?}: expected one problem, found {problems:#?}")
    };
    assert_eq!(problem.path, path, "{problem}");
    assert!(problem.message.contains(word), "{word:?} is not in {problem}");
}

/// Accepted with exactly one warning.
pub fn assert_warned(manifest: &Value, kind: WarningKind, path: &str, word: &str) -> Manifest {
    let (manifest, warnings) = accept(manifest);
    let [warning] = warnings.as_slice() else {
        panic!("{path}: expected one warning, found {warnings:#?}")
    };
    assert_eq!((warning.kind, warning.path.as_str()), (kind, path), "{warning}");
    assert!(warning.message.contains(word), "{word:?} is not in {warning}");
    manifest
}

/// Where to break the small manifest, with what, the path of the problem and a word of its message.
pub type Case = (&'static str, Value, &'static str, &'static str);

/// Each case alone is refused for its one reason.
pub fn assert_each_refused(cases: Vec<Case>) {
    for (pointer, value, path, word) in cases {
        assert_refused(&patched(pointer, value), path, word);
    }
}
