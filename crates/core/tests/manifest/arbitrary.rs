//! Whatever comes in, the answer is a manifest or an error.

use marblerun_core::manifest::{Limits, check, package_update, reopen};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::support::{no_hsm, set, small};

pub fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("{{ hex .Secrets.shared }}")),
        Just(json!(
            "-----BEGIN CERTIFICATE-----\nMAAwAA==\n-----END CERTIFICATE-----"
        )),
    ];
    let name = prop_oneof![
        "[A-Za-z]{0,6}",
        proptest::sample::select(vec![
            "Type",
            "Size",
            "Cert",
            "Subject",
            "Certificate",
            "Roles",
            "Package",
            "Parameters",
            "Env",
            "Files",
            "Data",
            "Encoding",
            "ResourceType",
            "Incoming",
            "Port",
            "DNSNames",
            "URIs",
            "Host",
            "IP",
            "Mask",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

pub fn pointers() -> Vec<String> {
    fn walk(value: &Value, path: &str, found: &mut Vec<String>) {
        let children: Vec<(String, &Value)> = match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.replace('/', "~1"), value))
                .collect(),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(at, value)| (at.to_string(), value))
                .collect(),
            _ => Vec::new(),
        };
        for (name, child) in children {
            let path = format!("{path}/{name}");
            walk(child, &path, found);
            found.push(path);
        }
    }
    let mut found = Vec::new();
    walk(&small(), "", &mut found);
    found
}

/// All entrances; answers whether the manifest was accepted.
fn enter(raw: &[u8]) -> bool {
    let limits = Limits {
        bytes: 1 << 20,
        entries: 1000,
    };
    let accepted = match check(raw, &limits, &no_hsm()) {
        Ok(checked) => {
            assert_eq!(checked.manifest.raw.as_ref(), raw);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    };
    // Not the other way round: what came into force with an older version is opened, and its reference values that cannot
    // be used match nothing.
    assert!(reopen(raw.into()).is_ok() || !accepted);
    let _ = package_update(raw, &limits);
    accepted
}

proptest! {
    #[test]
    fn bytes(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!enter(&raw));
    }

    #[test]
    fn damaged_documents(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut raw = small().to_string().into_bytes();
        let at = at.index(raw.len());
        raw[at] = byte;
        enter(&raw);
        enter(&raw[..at]);
    }

    #[test]
    fn json(value in any_json()) {
        enter(value.to_string().as_bytes());
    }

    #[test]
    fn a_manifest_with_one_value_replaced(at in any::<proptest::sample::Index>(), value in any_json()) {
        let pointers = pointers();
        let mut manifest = small();
        set(&mut manifest, at.get::<String>(&pointers), value);
        enter(manifest.to_string().as_bytes());
    }
}
