//! What is exported is what the original recorded, and opens again for its holders.

use std::sync::Arc;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::tests::{Entries, entries, forge, golden, hand_in, sealed, secrets};
use super::*;
use crate::change::Change;
use crate::secret::value::SecretBytes;
use crate::testing::TestDice;

fn opened(name: &str) -> State {
    let (_, shares) = secrets(name);
    let given: Vec<_> = match name {
        "single" => vec![("one", &shares["one"])],
        _ => vec![("one", &shares["one"]), ("two", &shares["two"])],
    };
    hand_in(&sealed(name), &given).unwrap().unwrap()
}

fn decrypt(file: &[u8], key: &DataKey) -> Entries {
    let header = OriginalHeader::parse(file).unwrap();
    let (nonce, sealed) = file[header.length()..].split_first_chunk::<NONCE>().unwrap();
    let opener = LessSafeKey::new(UnboundKey::new(algorithm(key.cipher()), key.bytes().expose()).unwrap());
    let mut plain = sealed.to_vec();
    let plain = opener
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut plain)
        .unwrap();
    serde_json::from_slice(plain).unwrap()
}

fn bytes(entries: &Entries, name: &str) -> Vec<u8> {
    STANDARD.decode(&entries[name]).unwrap()
}

fn json(entries: &Entries, name: &str) -> Value {
    serde_json::from_slice(&bytes(entries, name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Placeholders are made anew: only their shape is compared, and that the certificate is of the same subject.
fn same_placeholder(theirs: &mut Value, ours: &mut Value, name: &str) {
    for field in ["Private", "Public", "Cert"] {
        let (theirs, ours) = (theirs[field].take(), ours[field].take());
        assert_eq!(theirs.is_null(), ours.is_null(), "{name} {field}");
        let (Some(theirs), Some(ours)) = (theirs.as_str(), ours.as_str()) else {
            continue;
        };
        let (theirs, ours) = (STANDARD.decode(theirs).unwrap(), STANDARD.decode(ours).unwrap());
        if field == "Cert" {
            let subject = |der: &[u8]| {
                let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
                (
                    certificate.subject().to_string(),
                    certificate.issuer().to_string(),
                )
            };
            assert_eq!(subject(&theirs), subject(&ours), "{name}");
        } else if theirs.len() < 64 {
            assert_eq!(theirs.len(), ours.len(), "{name} {field}");
        }
    }
}

/// Compares all entries; answers how many there are.
fn compare(theirs: &Entries, ours: &Entries) -> usize {
    let names = |entries: &Entries| entries.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(theirs), names(ours));
    for name in theirs.keys() {
        let kind = name.split(':').next().unwrap();
        match kind {
            "secret" | "previousSecret" => {
                let (mut theirs, mut ours) = (json(theirs, name), json(ours, name));
                if !theirs["Shared"].as_bool().unwrap() && !theirs["UserDefined"].as_bool().unwrap() {
                    same_placeholder(&mut theirs, &mut ours, name);
                }
                assert_eq!(theirs, ours, "{name}");
            }
            "TLS" | "marble" | "package" | "user" => {
                assert_eq!(json(theirs, name), json(ours, name), "{name}");
            }
            _ => assert!(bytes(theirs, name) == bytes(ours, name), "{name}"),
        }
    }
    theirs.len()
}

#[test]
fn recorded_states_come_back_entry_by_entry() {
    for (name, count) in [("single", 46), ("xor2", 43), ("shamir2of3", 43)] {
        let state = opened(name);
        let dice = TestDice::new(11);
        let file = export(&state, &dice.ambient()).unwrap();
        let (key, _) = secrets(name);
        let header = |file: &[u8]| OriginalHeader::parse(file).unwrap().length();
        let theirs = sealed(name);
        // Header and its length, byte for byte; the order of the hashes is that of their digits.
        assert_eq!(file[..header(&file)], theirs[..header(&theirs)], "{name}");
        assert_eq!(compare(&entries(name), &decrypt(&file, &key)), count, "{name}");
        // A second one has a nonce of its own.
        let again = export(&state, &dice.ambient()).unwrap();
        assert_ne!(file[header(&file)..][..NONCE], again[header(&again)..][..NONCE]);
    }
    let recorded: Entries = serde_json::from_slice(&golden("original/single-state.json")).unwrap();
    assert_eq!(recorded, entries("single"));
}

#[test]
fn what_is_exported_opens_for_the_holders_alone() {
    for name in ["single", "xor2", "shamir2of3"] {
        let state = opened(name);
        let file = export(&state, &TestDice::new(12).ambient()).unwrap();
        let (_, shares) = secrets(name);
        let given: Vec<_> = match name {
            "single" => vec![("one", &shares["one"])],
            "xor2" => vec![("one", &shares["one"]), ("two", &shares["two"])],
            _ => vec![("three", &shares["three"]), ("two", &shares["two"])],
        };
        let back = hand_in(&file, &given).unwrap().unwrap();
        assert!(back.root_secret == state.root_secret, "{name}");
        assert!(back.authority.root_key.pkcs8() == state.authority.root_key.pkcs8());
        let (theirs, ours) = (back.deployment.unwrap(), state.deployment.unwrap());
        assert!(theirs.counters == ours.counters && theirs.activations == ours.activations);
        assert_eq!(theirs.signature, ours.signature);
        assert!(hand_in(&file, &[("two", given[0].1)]).is_err() || name != "single");
    }
}

#[test]
fn what_was_counted_and_raised_since_is_exported() {
    let mut state = opened("single");
    let uuid = uuid::Uuid::from_u128(7);
    let raised = [
        Change::CounterRaised {
            marble_type: Arc::from("frontend"),
            uuid,
            name: Arc::from("n:1"),
            value: 300,
        },
        Change::PackagesRaised {
            at: crate::testing::NOW,
            user: Arc::from("admin"),
            versions: vec![(Arc::from("frontend"), 9)],
        },
    ];
    for change in &raised {
        state.apply(change);
    }
    let file = export(&state, &TestDice::new(13).ambient()).unwrap();
    let (key, single) = secrets("single");
    let written = decrypt(&file, &key);
    assert_eq!(json(&written, "package:frontend")["SecurityVersion"], 9);
    let counter = format!(
        "monotonicCounter:{}:{}:{}",
        STANDARD.encode("frontend"),
        STANDARD.encode(uuid),
        STANDARD.encode("n:1")
    );
    assert_eq!(bytes(&written, &counter), 300_u64.to_le_bytes());
    let back = hand_in(&file, &[("one", &single["one"])]).unwrap().unwrap();
    let back = back.deployment.unwrap();
    assert_eq!(back.security_version("frontend"), Some(9));
    assert_eq!(back.counter(&(Arc::from("frontend"), uuid), "n:1"), 300);
}

/// The recorded single state with another manifest in it.
fn with_manifest(change: impl FnOnce(&mut Value)) -> State {
    let mut entries = entries("single");
    let mut manifest = json(&entries, "manifest");
    change(&mut manifest);
    entries.insert("manifest".to_owned(), STANDARD.encode(manifest.to_string()));
    let (key, _) = secrets("single");
    open(
        &forge(&entries, key.bytes().expose(), &[]),
        &key,
        opened("single").sealing().unwrap().recovery.clone(),
    )
    .unwrap()
}

#[test]
fn what_the_original_cannot_represent_is_refused_by_name() {
    let refused = |state: &State| {
        export(state, &TestDice::new(14).ambient())
            .err()
            .unwrap()
            .to_string()
    };
    let unchanged = with_manifest(|_| {});
    assert!(export(&unchanged, &TestDice::new(14).ambient()).is_ok());
    let none = with_manifest(|manifest| drop(manifest.as_object_mut().unwrap().remove("RecoveryKeys")));
    assert!(refused(&none).contains("no recovery keys"), "{}", refused(&none));
    for (part, state) in [
        (
            "Infrastructures.azure",
            with_manifest(|manifest| {
                manifest["Infrastructures"] = serde_json::json!({"azure": {"QESVN": 2}});
            }),
        ),
        (
            "the TDX or SNP rules of Packages.backend",
            with_manifest(|manifest| {
                manifest["Packages"]["backend"]["SNP"] = serde_json::json!({"Measurement": "ab".repeat(48)});
            }),
        ),
        (
            "Marbles.backend.Roles",
            with_manifest(|manifest| {
                manifest["Marbles"]["backend"]["Roles"] = serde_json::json!(["reader"]);
            }),
        ),
    ] {
        assert!(refused(&state).contains(part), "{}", refused(&state));
    }
    let mut pending = opened("single");
    let raw = Arc::clone(&pending.manifest().unwrap().raw);
    pending.deployment.as_mut().unwrap().pending = Some(crate::state::PendingUpdate::new(3, raw));
    assert!(refused(&pending).contains("is in progress"));
    let authority = pending.authority().as_ref().clone();
    let empty = State::begin(authority, SecretBytes::copy_from(&[1; 32]), false);
    assert_eq!(
        export(&empty, &TestDice::new(14).ambient()),
        Err(ExportError::NoManifest)
    );
}

#[test]
fn parameters_are_exported_as_they_were_written() {
    let state = with_manifest(|manifest| {
        let parameters = &mut manifest["Marbles"]["frontend"]["Parameters"];
        *parameters = serde_json::json!({
            "files": {"/a": {"DATA": "6162", "encoding": "HEX"}, "/b": {"Data": "plain"}, "/none": null},
            "Env": {"X": {"Data": "YQ==", "Encoding": "Base64", "NoTemplates": true}},
        });
    });
    let file = export(&state, &TestDice::new(15).ambient()).unwrap();
    let (key, _) = secrets("single");
    let written = json(&decrypt(&file, &key), "marble:frontend");
    assert_eq!(
        written["Parameters"],
        serde_json::json!({
            "Files": {
                "/a": {"Data": "6162", "Encoding": "hex", "NoTemplates": false},
                "/b": {"Data": "plain", "Encoding": "string", "NoTemplates": false},
            },
            "Env": {"X": {"Data": "YQ==", "Encoding": "base64", "NoTemplates": true}},
            "Argv": null,
        })
    );
}
