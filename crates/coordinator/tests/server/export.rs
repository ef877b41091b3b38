//! A state is exported in the format of the original, and whoever has the recovery secrets opens the export.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::recovery::{Holder, holders, phase, post};
use crate::support::ClientIdentity;
use crate::support::program::{Program, start};
use crate::support::users::{Users, upload, wrapped};

const UUID: &str = "9c2f1f5e-53e1-4b3c-8f0e-2d1c0b9a8f7e";
const PATH: &str = "/api/v2/state/export";

/// A manifest the original can represent, with these recovery keys.
fn manifest(users: &Users, holders: &[Holder], threshold: usize) -> Value {
    let mut manifest = users.manifest_with_slots(3);
    manifest["Marbles"].as_object_mut().unwrap().remove("teller");
    let keys = holders.iter().map(|holder| (holder.name, holder.public_key()));
    manifest["RecoveryKeys"] = keys.collect();
    manifest["Config"]["RecoveryThreshold"] = json!(threshold);
    manifest
}

async fn raise(program: &Program, marble: &ClientIdentity, value: u64) -> Value {
    let body = json!({"name": "n", "value": value}).to_string();
    program.v2(marble, "POST", "monotonic-counter", body).await["value"].clone()
}

/// What the Coordinator tells, and the values of secrets.
async fn told(program: &Program, users: &Users) -> Vec<Value> {
    assert_eq!(phase(program).await, 3);
    let mut told = Vec::new();
    for path in ["manifest", "update", "quote"] {
        told.push(program.v2(None, "GET", path, "").await);
    }
    let names = "secrets?s=token&s=slot0&s=slot1&s=shared&s=cert";
    told.push(program.v2(&users.admin, "GET", names, "").await);
    let parameters = program.activate("plain", UUID).await.unwrap();
    told.push(json!([
        parameters.env["OWN"],
        parameters.env["SHARED"],
        parameters.files["/cert"]
    ]));
    told
}

async fn round_trip(flags: &[&str], holders: &[Holder], threshold: usize) {
    let (users, directory) = (Users::new(), tempfile::tempdir().unwrap());
    let program = start(directory.path(), flags);
    let sent = program.set_manifest(&manifest(&users, holders, threshold)).await;
    let secrets: Vec<_> = holders
        .iter()
        .map(|holder| holder.decrypt(&sent[holder.name]))
        .collect();
    let values = upload([("token", "a token nobody logs"), ("slot0", "zero")]);
    program.v2(&users.admin, "POST", "secrets", values).await;
    let package = wrapped(&json!({"Packages": {"web": {"SecurityVersion": 4}}}));
    program.v2(&users.admin, "POST", "update", package).await;
    let marble = ClientIdentity::of_marble(&program.activate("counting", UUID).await.unwrap());
    raise(&program, &marble, 41).await;
    for _ in 0..7 {
        program.activate("few", UUID).await.unwrap();
    }
    let before = told(&program, &users).await;

    // Only who may update the manifest.
    let (status, reply) = program.ask_as(&users.admin, "POST", PATH, "").await;
    assert_eq!(status, 500);
    assert_eq!(reply["message"], "user admin is not allowed to export the state");
    let (status, _) = program.ask_as(&users.nobody, "POST", PATH, "").await;
    assert_eq!(status, 401);

    let exported = program.v2(&users.alice, "POST", "state/export", "").await;
    let exported = STANDARD.decode(exported["sealedData"].as_str().unwrap()).unwrap();
    let log = program.log();
    assert!(log.contains("the state was exported"), "{log}");
    assert!(!log.contains("a token nobody logs"), "{log}");
    program.end(Signal::KILL);

    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir(other.path().join("state")).unwrap();
    std::fs::write(other.path().join("state/sealed_data"), &exported).unwrap();
    let program = start(other.path(), flags);
    assert_eq!(phase(&program).await, 1);
    let needed = if threshold == 0 { holders.len() } else { threshold };
    for (holder, secret) in holders.iter().zip(&secrets).take(needed) {
        let (status, reply) = post(&program, secret, &holder.sign(secret)).await;
        assert_eq!(status, 200, "{reply}");
    }
    assert!(told(&program, &users).await == before, "not what was exported");
    // Seven of ten were spent, and the counter stands where it stood.
    for _ in 0..3 {
        program.activate("few", UUID).await.unwrap();
    }
    program.activate("few", UUID).await.unwrap_err();
    let marble = ClientIdentity::of_marble(&program.activate("counting", UUID).await.unwrap());
    assert_eq!(raise(&program, &marble, 42).await, 41);
}

#[tokio::test]
async fn with_one_recovery_key_and_a_key_of_16_bytes() {
    let [one, ..] = holders();
    round_trip(&["--crypto-suite", "p256-aes128"], &[one], 0).await;
}

#[tokio::test]
async fn with_all_recovery_keys() {
    let [one, three, ..] = holders();
    round_trip(&["--crypto-suite", "p384-aes256"], &[one, three], 0).await;
}

#[tokio::test]
async fn with_a_threshold() {
    round_trip(&[], &holders(), 2).await;
}

#[tokio::test]
async fn what_cannot_go_back_is_refused() {
    let (users, directory) = (Users::new(), tempfile::tempdir().unwrap());
    let program = start(directory.path(), &[]);
    let refused = async |program: &Program| {
        let (status, reply) = program.ask_as(&users.alice, "POST", PATH, "{}").await;
        assert_eq!((status, &reply["data"]), (500, &Value::Null), "{reply}");
        reply["message"].as_str().unwrap().to_owned()
    };
    program.set_manifest(&manifest(&users, &[], 0)).await;
    assert!(refused(&program).await.contains("has no recovery keys"));

    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let [one, ..] = holders();
    let first = manifest(&users, std::slice::from_ref(&one), 0);
    program.set_manifest(&first).await;
    let mut next = first.clone();
    next["Marbles"]["counting"]["Roles"] = json!(["token"]);
    program.v2(&users.alice, "POST", "update", wrapped(&next)).await;
    assert!(refused(&program).await.contains("is in progress"));
    program
        .v2(&users.bob, "POST", "update-manifest", wrapped(&next))
        .await;
    assert!(
        refused(&program)
            .await
            .contains("cannot represent Marbles.counting.Roles")
    );
    // A refusal costs nothing: the next update helps.
    for (user, path) in [(&users.alice, "update"), (&users.bob, "update-manifest")] {
        program.v2(user, "POST", path, wrapped(&first)).await;
    }
    program.v2(&users.alice, "POST", "state/export", "").await;
}
