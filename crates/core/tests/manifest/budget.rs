//! What setting a manifest may cost in keys and bytes.

use serde_json::{Value, json};

use super::support::{accept, assert_refused, small};

/// The small manifest with `count` more secrets like this one.
fn with(count: usize, secret: &Value) -> Value {
    let mut manifest = small();
    let secrets = manifest["Secrets"].as_object_mut().unwrap();
    for number in 0..count {
        secrets.insert(format!("more{number}"), secret.clone());
    }
    manifest
}

#[test]
fn shared_rsa_keys_have_a_budget() {
    let rsa = |bits: u32, shared: bool| json!({"Type": "cert-rsa", "Size": bits, "Shared": shared});
    for (bits, most) in [(2048, 512), (4096, 32), (8192, 2)] {
        accept(&with(most, &rsa(bits, true)));
        assert_refused(&with(most + 1, &rsa(bits, true)), "Secrets", "keys of 2048 bits");
        accept(&with(1_000, &rsa(bits, false)));
    }
    let uploaded = json!({"Type": "cert-rsa", "Size": 8192, "Shared": true, "UserDefined": true});
    accept(&with(1_000, &uploaded));
}

#[test]
fn shared_values_have_a_budget() {
    let key = |bits: u32, shared: bool| json!({"Type": "symmetric-key", "Size": bits, "Shared": shared});
    accept(&with(16_000, &key(65_280, true)));
    assert_refused(
        &with(17_000, &key(65_280, true)),
        "Secrets",
        "bytes, expected at most",
    );
    accept(&with(17_000, &key(65_280, false)));
    accept(&with(100_000, &key(256, true)));
}
