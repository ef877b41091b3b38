//! States of the original system are taken over by recovering them. Replays the recordings of its recoveries.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::recovery::{Holder, encrypt, holders, phase, post};
use crate::support::program::{Program, manifest, start};

const FLAGS: [&str; 2] = ["--crypto-suite", "p384-aes256"];
const UUID: &str = "11111111-2222-4333-8444-555555555555";

fn sealed(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../core/tests/golden/original")
        .join(format!("{name}-sealed_data.bin"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn exchanges(name: &str) -> Vec<Value> {
    let text = match name {
        "single" => include_str!("../golden/single-recovery-exchanges.json"),
        "xor2" => include_str!("../golden/xor2-recovery-exchanges.json"),
        _ => include_str!("../golden/shamir2of3-recovery-exchanges.json"),
    };
    serde_json::from_str(text).unwrap()
}

/// A Coordinator in whose directory lies a state of the original.
fn found(name: &str) -> (tempfile::TempDir, Program) {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("sealed_data"), sealed(name)).unwrap();
    // The original's key file says nothing to us and is kept, too.
    std::fs::write(state.join("sealed_key"), b"the original's").unwrap();
    let program = start(directory.path(), &FLAGS);
    (directory, program)
}

fn aside(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(directory.join("state"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("superseded-"))
        .collect();
    paths.sort();
    paths
}

fn untouched(directory: &Path, name: &str) {
    assert!(std::fs::read(directory.join("state/sealed_data")).unwrap() == sealed(name));
    assert_eq!(aside(directory), Vec::<PathBuf>::new());
}

/// What becomes of a recorded exchange.
#[derive(PartialEq, Eq)]
enum Fate {
    Replayed,
    /// Made the recorded state, which is found in the directory here.
    StateMade,
    /// Our answer differs (`docs/compatibility.md`): a wrong secret is refused at once, and counts for nothing.
    WrongSecretRefused,
    /// Our answer differs: the signature of the one secret is what is wrong.
    SignatureRefused,
}

fn fate(name: &str, exchange: &Value) -> Fate {
    match (name, exchange["note"].as_str().unwrap()) {
        ("single", "wrong secret") => Fate::WrongSecretRefused,
        ("single", "signed by another key") => Fate::SignatureRefused,
        _ if exchange["request"]["path"] == "/api/v2/manifest" => Fate::StateMade,
        _ => Fate::Replayed,
    }
}

/// Replays one recording: how many exchanges were sent.
async fn replay(name: &str) -> usize {
    let (directory, program) = found(name);
    let mut before = None;
    let mut sent = 0;
    for exchange in exchanges(name) {
        let (request, recorded) = (&exchange["request"], &exchange["response"]);
        let place = format!("{name} {}: {}", exchange["note"], request["path"]);
        let fate = fate(name, &exchange);
        if fate == Fate::StateMade {
            continue;
        }
        sent += 1;
        if request.get("MarbleType").is_some() {
            activate(&program, request, recorded, &place).await;
            continue;
        }
        let (status, ours) = if request["path"] == "/api/v2/recover" {
            untouched(directory.path(), name);
            let outcome = recover(&program, &exchange).await;
            before.get_or_insert(outcome.1.clone());
            outcome
        } else {
            let path = request["path"].as_str().unwrap();
            program.ask(request["method"].as_str().unwrap(), path, "").await
        };
        let theirs: Value = serde_json::from_str(recorded["body"].as_str().unwrap()).unwrap();
        let message = ours["message"].as_str().unwrap_or_default();
        match fate {
            Fate::WrongSecretRefused => {
                assert_eq!(
                    (status, message),
                    (
                        500,
                        "the recovery secrets do not open the state; all of them have to be handed in again"
                    ),
                    "{place}"
                );
            }
            Fate::SignatureRefused => {
                assert_eq!(status, 500, "{place}");
                assert!(
                    message.starts_with("the signature of the recovery secret for one"),
                    "{ours}"
                );
            }
            _ => {
                assert_eq!(status, recorded["status"], "{place}: {ours}");
                assert_eq!(ours["status"], theirs["status"], "{place}");
                if request["path"] == "/api/v2/recover/public-key" {
                    assert_eq!(ours["data"]["algorithm"], theirs["data"]["algorithm"], "{place}");
                } else {
                    assert_eq!(ours["data"], theirs["data"], "{place}");
                }
                let beginning = "setting recovery key: ";
                if theirs["message"]
                    .as_str()
                    .unwrap_or_default()
                    .starts_with(beginning)
                {
                    assert!(message.starts_with(beginning), "{place}: {ours}");
                }
            }
        }
    }
    taken_over(name, directory, program).await;
    sent
}

/// Hands in what was recorded. What was encrypted for their ephemeral key is decrypted from the recorded shares and
/// encrypted for ours.
async fn recover(program: &Program, exchange: &Value) -> (u16, Value) {
    let body: Value = serde_json::from_str(exchange["request"]["body"].as_str().unwrap()).unwrap();
    let bytes = |field: &str| STANDARD.decode(body[field].as_str().unwrap()).unwrap();
    let (secret, signature) = (bytes("recoverySecret"), bytes("recoverySecretSignature"));
    if secret.len() != 512 {
        return post(program, &secret, &signature).await;
    }
    let holder = ["one", "two", "three"]
        .into_iter()
        .find(|holder| {
            exchange["note"]
                .as_str()
                .unwrap()
                .contains(&format!("share of {holder} "))
        })
        .unwrap();
    let plain = share(
        if exchange["note"].as_str().unwrap().contains("three") {
            "shamir2of3"
        } else {
            "xor2"
        },
        holder,
    );
    let encrypted = encrypt(program, &plain).await;
    post(program, &encrypted, &signature).await
}

fn recording(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../core/tests/golden/recovery")
        .join(format!("{name}-recovery.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn share(name: &str, holder: &str) -> Vec<u8> {
    hex::decode(recording(name)["shares_hex"][holder].as_str().unwrap()).unwrap()
}

/// The recorded marble activates, or does not, as recorded: with the private keys it was given.
async fn activate(program: &Program, request: &Value, recorded: &Value, place: &str) {
    let text = |name: &str| request[name].as_str().unwrap();
    let outcome = program.activate(text("MarbleType"), text("UUID")).await;
    match recorded["code"].as_str() {
        Some(code) => {
            let status = outcome.err().unwrap_or_else(|| panic!("{place}: activated"));
            assert_eq!(code, "FAILED_PRECONDITION", "{place}");
            assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{place}");
            assert!(
                status.message().contains(recorded["details"].as_str().unwrap()),
                "{place}: {status}"
            );
        }
        None => {
            let env = outcome.unwrap().env.clone();
            let mut compared = 0;
            for name in ["PRIV", "P128"] {
                let theirs = recorded["ok"]["Env"][name]
                    .as_str()
                    .unwrap_or_else(|| panic!("{place}: {recorded}"));
                assert_eq!(env[name], STANDARD.decode(theirs).unwrap(), "{place} {name}");
                compared += 1;
            }
            assert_eq!(compared, 2, "{place}");
        }
    }
}

/// The files of the original are kept aside, ours open at the next start, and again with the same recovery secrets.
async fn taken_over(name: &str, directory: tempfile::TempDir, program: Program) {
    let state = directory.path().join("state");
    let kept = aside(directory.path());
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(std::fs::read(&kept[0]).unwrap() == sealed(name), "{kept:?}");
    assert_eq!(std::fs::read(&kept[1]).unwrap(), b"the original's", "{kept:?}");
    assert_eq!(
        &std::fs::read(state.join("sealed_data")).unwrap()[..8],
        b"mrblseal"
    );
    let told = async |program: &Program| {
        assert_eq!(phase(program).await, 3, "{name}");
        let mut told = Vec::new();
        for path in ["/api/v2/manifest", "/api/v2/update", "/api/v2/quote"] {
            told.push(program.ask("GET", path, "").await);
        }
        let derived = program.activate("plainmarble", UUID).await.unwrap().env["PRIV"].clone();
        (told, derived)
    };
    let before = told(&program).await;
    program.end(Signal::KILL);
    let program = start(directory.path(), &FLAGS);
    assert!(
        told(&program).await == before,
        "{name}: a restart needs no recovery"
    );
    program.end(Signal::KILL);

    std::fs::remove_file(state.join("sealed_key")).unwrap();
    let program = start(directory.path(), &FLAGS);
    assert_eq!(phase(&program).await, 1);
    let [one, _, two] = holders();
    let given: Vec<(&Holder, Vec<u8>)> = match name {
        "single" => vec![(
            &one,
            hex::decode(recording(name)["dek_hex"].as_str().unwrap()).unwrap(),
        )],
        _ => vec![(&one, share(name, "one")), (&two, share(name, "two"))],
    };
    for (holder, secret) in &given {
        let (status, reply) = post(&program, secret, &holder.sign(secret)).await;
        assert_eq!(status, 200, "{reply}");
    }
    assert!(
        told(&program).await == before,
        "{name}: the recovery secrets stay valid"
    );
}

#[tokio::test]
async fn one_recovery_key() {
    assert_eq!(replay("single").await, exchanges("single").len());
}

#[tokio::test]
async fn two_recovery_keys() {
    assert_eq!(replay("xor2").await, exchanges("xor2").len() - 1);
}

#[tokio::test]
async fn two_of_three_recovery_keys() {
    assert_eq!(replay("shamir2of3").await, exchanges("shamir2of3").len() - 1);
}

#[tokio::test]
async fn budgets_and_counts_stay_spent() {
    let (_directory, program) = found("single");
    let [one, _, two] = holders();
    let key = hex::decode(recording("single")["dek_hex"].as_str().unwrap()).unwrap();
    let (status, _) = post(&program, &key, &two.sign(&key)).await;
    assert_eq!((status, phase(&program).await), (500, json!(1)));
    let (status, reply) = post(&program, &key, &one.sign(&key)).await;
    assert_eq!(status, 200, "{reply}");
    // Both of the two activations of `backend` were used.
    let refused = program.activate("backend", UUID).await.unwrap_err();
    assert!(
        refused.message().contains("reached max activations count (2)"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_new_manifest_gives_the_state_up_but_keeps_it() {
    let (directory, program) = found("xor2");
    assert_eq!(phase(&program).await, 1);
    program.set_manifest(&manifest()).await;
    assert_eq!(phase(&program).await, 3);
    let kept = aside(directory.path());
    assert!(std::fs::read(&kept[0]).unwrap() == sealed("xor2"), "{kept:?}");
}

#[tokio::test]
async fn a_damaged_state_is_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let mut damaged = sealed("xor2");
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(state.join("sealed_data"), &damaged).unwrap();
    let program = start(directory.path(), &[FLAGS[0], FLAGS[1], "--fresh"]);
    assert_eq!(phase(&program).await, 1, "`--fresh` has no effect on a state");
    let [one, _, two] = holders();
    for (holder, name, expected) in [(&one, "one", 200), (&two, "two", 500)] {
        let secret = share("xor2", name);
        let (status, reply) = post(&program, &secret, &holder.sign(&secret)).await;
        assert_eq!(status, expected, "{reply}");
    }
    assert_eq!(phase(&program).await, 1);
    assert!(std::fs::read(state.join("sealed_data")).unwrap() == damaged);
}
