//! Recorded states of the original open for whoever may, and forged ones for nobody.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::flow::recover;
use crate::pki::{CryptoSuite, authority};
use crate::recovery::{Lock, Progress, Recovery, RecoveryScheme, shamir, xor};
use crate::refusal::Refusal;
use crate::sealed::sha256;
use crate::secret::value::{SecretBytes, SecretValue};
use crate::state::PreviousSecret;
use crate::testing::TestDice;

/// The entries of a state, values in base64.
pub(super) type Entries = BTreeMap<String, String>;

pub(super) fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn sealed(name: &str) -> Vec<u8> {
    golden(&format!("original/{name}-sealed_data.bin"))
}

pub(super) fn secrets(name: &str) -> (DataKey, BTreeMap<String, SecretBytes>) {
    let document: Value = serde_json::from_slice(&golden(&format!("recovery/{name}-recovery.json"))).unwrap();
    let secret = |value: &Value| SecretBytes::copy_from(&hex::decode(value.as_str().unwrap()).unwrap());
    let key = secret(&document["dek_hex"]);
    let shares = match document["shares_hex"].as_object() {
        Some(shares) => shares
            .iter()
            .map(|(name, share)| (name.clone(), secret(share)))
            .collect(),
        None => [("one".to_owned(), key.clone())].into(),
    };
    (DataKey::from_bytes(key).unwrap(), shares)
}

fn sign(holder: &str, secret: &SecretBytes) -> Vec<u8> {
    let key =
        PrivatePkcs8KeyDer::from_pem_slice(&golden(&format!("recovery/recovery-{holder}.key.pem"))).unwrap();
    let key = KeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        secret.expose(),
        &mut signature,
    )
    .unwrap();
    signature
}

/// Hands secrets in as a Coordinator does: `Ok(None)` while more are wanted.
pub(super) fn hand_in(file: &[u8], given: &[(&str, &SecretBytes)]) -> Result<Option<State>, Refusal> {
    let mut recovery = Recovery::new(Lock::Original(OriginalHeader::parse(file).unwrap()));
    for (holder, secret) in given {
        let Progress::Complete(recovered) =
            recovery.collect(SecretBytes::clone(secret), &sign(holder, secret))?
        else {
            continue;
        };
        match recover::open_original(file, &recovered) {
            Err(SealedError::WrongKey) if recovered.remaining > 0 => {}
            Err(error) => panic!("{error}"),
            Ok(state) => {
                recover::check(&state, &recovered.collected)?;
                return Ok(Some(state));
            }
        }
    }
    Ok(None)
}

pub(super) fn entries(name: &str) -> Entries {
    let file = sealed(name);
    let (key, _) = secrets(name);
    let header = OriginalHeader::parse(&file).unwrap();
    let mut plain = file[header.length() + NONCE..].to_vec();
    let nonce = file[header.length()..][..NONCE].try_into().unwrap();
    let opener = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.bytes().expose()).unwrap());
    let plain = opener
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut plain)
        .unwrap();
    serde_json::from_slice(plain).unwrap()
}

/// A file of the original with these entries, under a key and around shares of whoever makes it.
pub(super) fn forge(entries: &Entries, key: &[u8], shares: &[SecretBytes]) -> Vec<u8> {
    let hashes: BTreeMap<String, bool> = shares
        .iter()
        .map(|share| (hex::encode(sha256(&[share.expose()])), true))
        .collect();
    let header = match shares {
        [] => "null".to_owned(),
        _ => serde_json::to_string(&hashes).unwrap(),
    };
    let mut file = u32::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(&[7; NONCE]);
    let mut content = serde_json::to_vec(entries).unwrap();
    let algorithm = if key.len() == 16 {
        &AES_128_GCM
    } else {
        &AES_256_GCM
    };
    LessSafeKey::new(UnboundKey::new(algorithm, key).unwrap())
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key([7; NONCE]),
            Aad::empty(),
            &mut content,
        )
        .unwrap();
    file.extend_from_slice(&content);
    file
}

#[test]
fn all_recorded_states_open_for_their_holders() {
    let (_, single) = secrets("single");
    assert!(
        hand_in(&sealed("single"), &[("one", &single["one"])])
            .unwrap()
            .is_some()
    );
    let (_, xor2) = secrets("xor2");
    for order in [["one", "two"], ["two", "one"]] {
        let given = order.map(|name| (name, &xor2[name]));
        assert!(hand_in(&sealed("xor2"), &given).unwrap().is_some());
        assert!(hand_in(&sealed("xor2"), &given[..1]).unwrap().is_none());
    }
    let (key, three) = secrets("shamir2of3");
    for order in [
        ["one", "two"],
        ["one", "three"],
        ["two", "one"],
        ["two", "three"],
        ["three", "one"],
        ["three", "two"],
    ] {
        let state = hand_in(&sealed("shamir2of3"), &order.map(|name| (name, &three[name])));
        let state = state.unwrap().unwrap();
        let sealing = state.sealing().unwrap();
        assert!(sealing.key == key);
        // The third share was not seen, but there is one place left for it.
        let hashes: Vec<_> = ["one", "three", "two"]
            .iter()
            .map(|name| sha256(&[three[*name].expose()]))
            .collect();
        let plan = RecoveryPlan::from_parts(RecoveryScheme::Shamir, 2, hashes).unwrap();
        assert_eq!(sealing.recovery, plan);
    }
}

#[test]
fn everything_recorded_is_in_the_state() {
    let recorded: Entries = serde_json::from_slice(&golden("original/single-state.json")).unwrap();
    let bytes = |name: &str| STANDARD.decode(&recorded[name]).unwrap();
    let (key, single) = secrets("single");
    let state = hand_in(&sealed("single"), &[("one", &single["one"])])
        .unwrap()
        .unwrap();
    let deployment = state.deployment.as_ref().unwrap();

    assert_eq!(&*state.authority.root, bytes("certificate:coordinatorRootCert"));
    assert_eq!(
        &*state.authority.intermediate,
        bytes("certificate:coordinatorIntermediateCert")
    );
    assert_eq!(&*state.authority.marble_root, bytes("certificate:marbleRootCert"));
    for (key, name) in [
        (&state.authority.root_key, "coordinatorRootKey"),
        (&state.authority.intermediate_key, "coordinatorIntermediateKey"),
    ] {
        let recorded = bytes(&format!("privateKey:{name}"));
        // SEC 1: version, then the scalar of 48 bytes.
        let scalar = &recorded[8..8 + 48];
        assert!(
            key.pkcs8().expose().windows(48).any(|part| part == scalar),
            "{name}"
        );
    }
    assert_eq!(state.root_secret.expose(), bytes("rootSecret"));
    assert_eq!(&*deployment.manifest.raw, bytes("manifest"));
    assert_eq!(&*deployment.signature, bytes("manifestSignature"));
    assert_eq!(state.activations("backend"), 2);
    let owner = (
        Arc::from("backend"),
        Uuid::parse_str("11111111-2222-4333-8444-555555555555").unwrap(),
    );
    assert_eq!(
        (deployment.counter(&owner, "c"), deployment.counter_count),
        (9, 1)
    );
    let log: Vec<_> = deployment.update_log.iter().map(|entry| &*entry.line).collect();
    assert_eq!(
        log.join("\n") + "\n",
        String::from_utf8(bytes("updateLog")).unwrap()
    );
    assert!(deployment.raised.is_empty());
    let sealing = state.sealing().unwrap();
    assert!(sealing.key == key);
    assert_eq!(sealing.recovery.find_share(key.bytes().expose()), Some(0));

    let names: Vec<_> = deployment.secrets.keys().map(|name| &**name).collect();
    let mut expected: Vec<_> = deployment
        .manifest
        .secrets
        .iter()
        .filter(|(_, spec)| !spec.is_private())
        .map(|(name, _)| &**name)
        .collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for (name, stored) in &deployment.secrets {
        let recorded: Value = serde_json::from_slice(&bytes(&format!("secret:{name}"))).unwrap();
        let field = |field: &str| STANDARD.decode(recorded[field].as_str().unwrap()).unwrap();
        match &*stored.value {
            SecretValue::Symmetric(value) | SecretValue::Plain(value) => {
                assert_eq!(value.expose(), field("Private"), "{name}");
            }
            SecretValue::Certificate(value) => {
                assert_eq!(&*value.certificate, field("Cert"), "{name}");
                assert_eq!(&*value.public, field("Public"), "{name}");
                assert!(value.private.is_some(), "{name}");
            }
        }
    }
    let previous: Vec<_> = deployment.previous.keys().map(|name| &**name).collect();
    // Those of other certificates are what the present ones are.
    assert_eq!(previous, ["certShared", "private", "private128", "shared"]);
    for name in ["cert224", "certEd", "added"] {
        let (before, now) = (format!("previousSecret:{name}"), format!("secret:{name}"));
        assert_eq!(recorded[&before], recorded[&now], "{name}");
    }
    match &deployment.previous["private"] {
        PreviousSecret::RootSecret(before) => {
            assert_eq!(before.expose(), bytes("previousRootSecret"));
        }
        PreviousSecret::Value(_) => panic!("private secrets are derived"),
    }
}

#[test]
fn a_state_of_the_other_suite_opens_with_a_key_of_16_bytes() {
    let dice = TestDice::new(3);
    let authority = authority::create(CryptoSuite::P256Aes128, &[], None, &dice.ambient()).unwrap();
    let mut entries = entries("single");
    for (name, bytes) in [
        (
            "privateKey:coordinatorRootKey",
            authority.root_key.pkcs8().expose(),
        ),
        (
            "privateKey:coordinatorIntermediateKey",
            authority.intermediate_key.pkcs8().expose(),
        ),
        ("certificate:coordinatorRootCert", &authority.root),
        ("certificate:coordinatorIntermediateCert", &authority.intermediate),
        ("certificate:marbleRootCert", &authority.marble_root),
    ] {
        entries.insert(name.to_owned(), STANDARD.encode(bytes));
    }
    let key = SecretBytes::copy_from(&[5; 16]);
    let file = forge(&entries, key.expose(), &[]);
    let state = hand_in(&file, &[("one", &key)]).unwrap().unwrap();
    assert_eq!(state.authority.suite, CryptoSuite::P256Aes128);
    // The key has to fit the suite.
    let key = DataKey::from_bytes(SecretBytes::copy_from(&[5; 32])).unwrap();
    let file = forge(&entries, key.bytes().expose(), &[]);
    let error = open(&file, &key, RecoveryPlan::none()).err().unwrap().to_string();
    assert!(error.contains("does not fit the data key"), "{error}");
}

#[test]
fn wrong_secrets_are_refused() {
    let (_, single) = secrets("single");
    let zeros = SecretBytes::copy_from(&[0; 32]);
    let file = sealed("single");
    let mut recovery = Recovery::new(Lock::Original(OriginalHeader::parse(&file).unwrap()));
    let Ok(Progress::Complete(wrong)) = recovery.collect(zeros.clone(), &[]) else {
        panic!("only opening tells");
    };
    assert_eq!(
        (recover::open_original(&file, &wrong).err(), wrong.remaining),
        (Some(SealedError::WrongKey), 0)
    );
    denied(
        hand_in(&file, &[("two", &single["one"])]),
        "the signature of the recovery secret for one",
    );
    let share = SecretBytes::copy_from(&[0; 33]);
    denied(
        hand_in(&file, &[("one", &share)]),
        "not the recovery secret of the state",
    );

    let (_, three) = secrets("shamir2of3");
    let file = sealed("shamir2of3");
    denied(
        hand_in(&file, &[("one", &zeros)]),
        "not a recovery secret of the state",
    );
    let again = [("one", &three["one"]), ("one", &three["one"])];
    denied(hand_in(&file, &again), "was used already");
    // The share of the holder who did not sign is the one that is named.
    let given = [("one", &three["one"]), ("one", &three["two"])];
    denied(
        hand_in(&file, &given),
        "the signature of the recovery secret for ",
    );
}

#[track_caller]
fn denied(outcome: Result<Option<State>, Refusal>, part: &str) {
    let refusal = outcome.map(|state| state.is_some()).expect_err(part);
    assert!(refusal.message().contains(part), "{}", refusal.message());
}

/// Shares of a key of the forger's own.
fn own(scheme: RecoveryScheme, threshold: usize, shares: usize) -> (Vec<u8>, Vec<SecretBytes>) {
    let (dice, key) = (TestDice::new(6), vec![9; 32]);
    let shares = match scheme {
        RecoveryScheme::Xor => xor::split(&key, shares, &dice).unwrap(),
        RecoveryScheme::Shamir => shamir::split(&key, threshold, shares, &dice).unwrap(),
        RecoveryScheme::Single | RecoveryScheme::None => Vec::new(),
    };
    (key, shares)
}

/// All secrets of the forger, who holds the recovery key `signer`, up to `count`.
fn attack(
    entries: &Entries,
    scheme: RecoveryScheme,
    numbers: (usize, usize),
    signers: &[&str],
) -> Result<Option<State>, Refusal> {
    let (threshold, shares) = numbers;
    let (key, shares) = own(scheme, threshold, shares);
    let file = forge(entries, &key, &shares);
    let key = SecretBytes::copy_from(&key);
    let given: Vec<_> = match shares.as_slice() {
        [] => vec![(signers[0], &key)],
        shares => signers.iter().copied().zip(shares).collect(),
    };
    hand_in(&file, &given)
}

const NOT_SHARED_SO: &str = "not shared among the recovery keys of its manifest as the manifest prescribes";
const BADLY_SIGNED: &str = "the signature of the recovery secret for ";

#[test]
fn own_key_around_a_manifest_with_one_recovery_key() {
    let entries = entries("single");
    denied(
        attack(&entries, RecoveryScheme::Single, (1, 1), &["two"]),
        BADLY_SIGNED,
    );
    denied(
        attack(&entries, RecoveryScheme::Xor, (2, 2), &["two", "three"]),
        NOT_SHARED_SO,
    );
    denied(
        attack(&entries, RecoveryScheme::Shamir, (2, 3), &["two", "three"]),
        NOT_SHARED_SO,
    );
}

#[test]
fn own_key_around_a_manifest_that_needs_all_recovery_keys() {
    let entries = entries("xor2");
    let (xor, shamir) = (RecoveryScheme::Xor, RecoveryScheme::Shamir);
    denied(attack(&entries, xor, (2, 2), &["three", "three"]), BADLY_SIGNED);
    // One genuine holder is not enough, whatever he signs.
    denied(attack(&entries, xor, (2, 2), &["one", "three"]), BADLY_SIGNED);
    denied(attack(&entries, xor, (2, 2), &["one", "one"]), BADLY_SIGNED);
    denied(
        attack(&entries, RecoveryScheme::Single, (1, 1), &["one"]),
        NOT_SHARED_SO,
    );
    denied(
        attack(&entries, xor, (3, 3), &["one", "one", "one"]),
        NOT_SHARED_SO,
    );
    denied(attack(&entries, shamir, (2, 3), &["one", "one"]), NOT_SHARED_SO);
}

#[test]
fn own_key_around_a_manifest_with_a_threshold() {
    let entries = entries("shamir2of3");
    let (xor, shamir) = (RecoveryScheme::Xor, RecoveryScheme::Shamir);
    denied(attack(&entries, shamir, (2, 3), &["one", "one"]), BADLY_SIGNED);
    denied(
        attack(&entries, RecoveryScheme::Single, (1, 1), &["one"]),
        NOT_SHARED_SO,
    );
    denied(attack(&entries, xor, (2, 2), &["one", "one"]), NOT_SHARED_SO);
    denied(
        attack(&entries, xor, (3, 3), &["one", "one", "one"]),
        NOT_SHARED_SO,
    );
    denied(attack(&entries, shamir, (2, 4), &["one", "one"]), NOT_SHARED_SO);
}

#[test]
fn fewer_shares_than_the_threshold_of_the_manifest() {
    let mut entries = entries("shamir2of3");
    let mut manifest: Value =
        serde_json::from_slice(&STANDARD.decode(&entries["manifest"]).unwrap()).unwrap();
    manifest["RecoveryKeys"]["four"] = manifest["RecoveryKeys"]["one"].clone();
    manifest["Config"] = json!({"RecoveryThreshold": 3});
    entries.insert("manifest".to_owned(), STANDARD.encode(manifest.to_string()));
    let shamir = RecoveryScheme::Shamir;
    // As the manifest wants it, it opens: the planted state itself is sound.
    let genuine = attack(&entries, shamir, (3, 4), &["one", "two", "three"]);
    assert!(genuine.unwrap().is_some());
    // Two holders of genuine keys cannot lower the number to their own.
    denied(attack(&entries, shamir, (2, 4), &["one", "two"]), NOT_SHARED_SO);
}

#[test]
fn own_authority_around_a_genuine_manifest() {
    for name in ["single", "xor2", "shamir2of3"] {
        let mut entries = entries(name);
        let other = self::entries(if name == "single" { "xor2" } else { "single" });
        for (entry, value) in other {
            if entry.starts_with("privateKey:") || entry.starts_with("certificate:") || entry == "rootSecret"
            {
                entries.insert(entry, value);
            }
        }
        let outcome = match name {
            "single" => attack(&entries, RecoveryScheme::Single, (1, 1), &["two"]),
            "xor2" => attack(&entries, RecoveryScheme::Xor, (2, 2), &["three", "three"]),
            _ => attack(&entries, RecoveryScheme::Shamir, (2, 3), &["one", "one"]),
        };
        denied(outcome, BADLY_SIGNED);
    }
}

#[test]
fn a_manifest_without_recovery_keys_never_opens() {
    let mut entries = entries("single");
    let mut manifest: Value =
        serde_json::from_slice(&STANDARD.decode(&entries["manifest"]).unwrap()).unwrap();
    manifest.as_object_mut().unwrap().remove("RecoveryKeys");
    entries.insert("manifest".to_owned(), STANDARD.encode(manifest.to_string()));
    denied(
        attack(&entries, RecoveryScheme::Single, (1, 1), &["one"]),
        "has no recovery keys",
    );
}

#[test]
fn content_that_is_no_state_is_named() {
    let good = entries("single");
    let key = DataKey::from_bytes(SecretBytes::copy_from(&[9; 32])).unwrap();
    let text = |text: &str| Some(STANDARD.encode(text));
    for (entry, value, problem) in [
        ("state", text("2"), "expected 3"),
        ("state", None, "missing"),
        ("rootSecret", text("short"), "5 bytes, expected 32"),
        ("previousRootSecret", text("short"), "5 bytes, expected 32"),
        ("manifest", text("{"), "manifest"),
        ("manifestSignature", Some("!".to_owned()), "not base64"),
        ("privateKey:coordinatorRootKey", text("no key"), ""),
        (
            "certificate:coordinatorRootCert",
            text("none"),
            "not an X.509 certificate",
        ),
        (
            "certificate:coordinatorRootCert",
            Some(good["certificate:marbleRootCert"].clone()),
            "not the certificate of its key",
        ),
        ("activations:backend", text("many"), "not a number"),
        (
            "monotonicCounter:YQ==:YQ==:YQ==",
            text("12345678"),
            "expected marble type, UUID",
        ),
        (
            "monotonicCounter:YmFja2VuZA==:ERERESIiQzOERFVVVVVVVQ==:Yw==",
            text("1"),
            "expected 8 bytes",
        ),
        ("secret:shared", text("[]"), "not a secret"),
        (
            "secret:shared",
            text(r#"{"Cert":null,"Private":"YQ=="}"#),
            "declared size and actual size",
        ),
        ("package:frontend", text("7"), "not a package"),
        ("updateLog", Some(STANDARD.encode([0xff])), "not UTF-8"),
        ("pendingSomething", text("x"), "not known here"),
    ] {
        let mut entries = good.clone();
        match value {
            Some(value) => entries.insert(entry.to_owned(), value),
            None => entries.remove(entry),
        };
        let file = forge(&entries, key.bytes().expose(), &[]);
        match open(&file, &key, RecoveryPlan::none()) {
            Err(SealedError::Original {
                entry: named,
                problem: said,
            }) => assert!(named == entry && said.contains(problem), "{named}: {said}"),
            other => panic!("{entry}: {:?}", other.map(|_| "opened")),
        }
    }
    let file = forge(&good, key.bytes().expose(), &[]);
    assert!(open(&file, &key, RecoveryPlan::none()).is_ok());
    for cut in [0, 3, 8, 19, file.len() - 1] {
        assert!(open(&file[..cut], &key, RecoveryPlan::none()).is_err(), "{cut}");
    }
}

#[test]
fn a_raised_security_version_stays_raised() {
    let mut entries = entries("single");
    let package = json!({"SecurityVersion": 9}).to_string();
    entries.insert("package:frontend".to_owned(), STANDARD.encode(package));
    let key = DataKey::from_bytes(SecretBytes::copy_from(&[9; 32])).unwrap();
    let state = open(
        &forge(&entries, key.bytes().expose(), &[]),
        &key,
        RecoveryPlan::none(),
    )
    .unwrap();
    assert_eq!(state.deployment.unwrap().security_version("frontend"), Some(9));
}
