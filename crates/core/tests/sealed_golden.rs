//! A state that version 1 of the format wrote once: every later version opens it.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use marblerun_core::ambient::Timestamp;
use marblerun_core::change::Change;
use marblerun_core::manifest;
use marblerun_core::pki::{CryptoSuite, authority};
use marblerun_core::recovery::{RecoveryPlan, RecoveryScheme};
use marblerun_core::sealed::{
    DataKey, KeyBinding, KeyFile, OpenedState, StateId, open_state, root_certificate_hash, seal_state,
};
use marblerun_core::secret::value::{CertificateValue, SecretBytes, SecretValue};
use marblerun_core::state::State;
use marblerun_core::testing::{NOW, TestDice};

const SEAL_KEY: [u8; 16] = [0x5e; 16];
const DATA_KEY: [u8; 32] = [0xd7; 32];
const STATE_ID: StateId = StateId::from_bytes([0x1d; 32]);
const MANIFEST: &str = r#"{"Packages":{"backend":{"SignerID":"1111111111111111111111111111111111111111111111111111111111111111","ProductID":1,"SecurityVersion":2}},"Marbles":{"backend":{"Package":"backend","MaxActivations":5}}}"#;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sealed")
}

fn open_golden() -> OpenedState {
    let seal_key = SecretBytes::copy_from(&SEAL_KEY);
    let key_file = KeyFile::parse(&std::fs::read(golden().join("v1-sealed_key")).unwrap()).unwrap();
    assert_eq!(key_file.binding(), KeyBinding::Product);
    let key = key_file.unwrap(&STATE_ID, 2, &seal_key).unwrap();
    assert!(key.bytes().expose() == DATA_KEY);
    let opened = open_state(&std::fs::read(golden().join("v1-sealed_data")).unwrap(), &key).unwrap();
    assert_eq!(root_certificate_hash(&opened.state), key_file.root_certificate());
    opened
}

#[test]
fn a_file_of_version_1_opens() {
    let OpenedState { state, end } = open_golden();
    assert_eq!(end.header.state_id, STATE_ID);
    assert_eq!((end.header.key_generation, end.torn), (2, None));
    assert_eq!(end.header.recovery, plan());
    assert_eq!(state.sealing().unwrap().recovery, plan());
    assert_eq!(state.authority().suite, CryptoSuite::P384Aes256);
    assert_eq!(state.manifest().unwrap().raw.as_ref(), MANIFEST.as_bytes());
    assert_eq!((state.position(), state.manifest_generation()), (6, 1));
    assert_eq!(state.secret_version("symmetric"), 6);
    assert_eq!(state.secret_version("certificate"), 3);
    assert_eq!(state.activations("backend"), 2);
}

#[test]
fn what_follows_a_file_of_version_1_is_read_back() {
    let OpenedState { mut state, end } = open_golden();
    let mut sealer = end.sealer;
    let change = Change::ActivationCounted {
        marble_type: "backend".into(),
        count: 3,
    };
    let frame = sealer
        .changes(std::slice::from_ref(&change), &TestDice::new(7))
        .unwrap();
    state.apply(&change);
    let file = [std::fs::read(golden().join("v1-sealed_data")).unwrap(), frame].concat();
    let opened = open_state(&file, &state.sealing().unwrap().key).unwrap();
    assert_eq!(
        (opened.state.position(), opened.state.activations("backend")),
        (7, 3)
    );
}

/// Not run by itself: makes such files anew and says where, for a new version of the format.
#[test]
#[ignore = "makes the recorded files of a new version"]
fn make_golden_files() {
    let dice = TestDice::new(1);
    let authority = authority::create(CryptoSuite::P384Aes256, &[], None, &dice.ambient()).unwrap();
    let mut state = State::begin(authority, SecretBytes::copy_from(&[0x40; 32]), false);
    let Ok(manifest) = manifest::reopen(MANIFEST.as_bytes().into()) else {
        panic!("the manifest does not compile")
    };
    let symmetric = |byte: u8| Arc::new(SecretValue::Symmetric(SecretBytes::copy_from(&[byte; 16])));
    let certificate = Arc::new(SecretValue::Certificate(CertificateValue {
        certificate: b"certificate".as_slice().into(),
        public: b"public key".as_slice().into(),
        private: Some(SecretBytes::copy_from(b"private key")),
    }));
    let plain = Arc::new(SecretValue::Plain(SecretBytes::copy_from(b"plain")));
    let count = |count| Change::ActivationCounted {
        marble_type: "backend".into(),
        count,
    };
    for change in [
        Change::ManifestSet {
            at: Timestamp::from_unix_millis(NOW.unix_millis()),
            manifest: Arc::new(manifest),
            signature: b"signature".as_slice().into(),
        },
        Change::DataKeyDrawn {
            key_generation: 2,
            key: DataKey::from_bytes(SecretBytes::copy_from(&DATA_KEY)).unwrap(),
            recovery: plan(),
        },
        Change::SecretsGenerated {
            values: vec![
                ("symmetric".into(), symmetric(1)),
                ("certificate".into(), certificate),
                ("plain".into(), plain),
            ],
        },
    ] {
        state.apply(&change);
    }
    let (mut data, mut sealer) = seal_state(&state, STATE_ID, &dice).unwrap();
    let rewritten = Change::SecretsGenerated {
        values: vec![("symmetric".into(), symmetric(2))],
    };
    for group in [vec![count(1)], vec![count(2), rewritten]] {
        data.extend(sealer.changes(&group, &dice).unwrap());
    }
    let mut key_file = KeyFile::new(STATE_ID, KeyBinding::Product, root_certificate_hash(&state));
    let seal_key = SecretBytes::copy_from(&SEAL_KEY);
    let key = |bytes: &[u8]| DataKey::from_bytes(SecretBytes::copy_from(bytes)).unwrap();
    key_file.wrap(1, &key(&[0xd6; 32]), &seal_key, &dice).unwrap();
    key_file.wrap(2, &key(&DATA_KEY), &seal_key, &dice).unwrap();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(directory.join("v1-sealed_data"), data).unwrap();
    std::fs::write(directory.join("v1-sealed_key"), key_file.encode()).unwrap();
    println!("written to {}", directory.display());
}

fn plan() -> RecoveryPlan {
    RecoveryPlan::from_parts(RecoveryScheme::Shamir, 2, vec![[1; 32], [2; 32], [3; 32]]).unwrap()
}
