//! A state whose seal key is gone opens again for the holders of its recovery keys, and for nobody else.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeyPair, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::start::with_recovery_key;
use crate::support::program::{Program, manifest, start};
use crate::support::{connect, server_certificate};

const UUID: &str = "9c2f1f5e-53e1-4b3c-8f0e-2d1c0b9a8f7e";

/// A holder of a recovery key.
pub struct Holder {
    pub name: &'static str,
    pkcs8: Vec<u8>,
}

/// The three holders of the recordings.
pub fn holders() -> [Holder; 3] {
    let holder = |name, pem: &[u8]| Holder {
        name,
        pkcs8: x509_parser::pem::parse_x509_pem(pem).unwrap().1.contents,
    };
    [
        holder("one", include_bytes!("../golden/recovery-one.key.pem")),
        holder("three", include_bytes!("../golden/recovery-three.key.pem")),
        holder("two", include_bytes!("../golden/recovery-two.key.pem")),
    ]
}

impl Holder {
    pub fn public_key(&self) -> String {
        let key = KeyPair::from_pkcs8(&self.pkcs8).unwrap();
        let der =
            aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(key.public_key())
                .unwrap();
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der.as_ref())
        )
    }

    pub fn decrypt(&self, secret: &Value) -> Vec<u8> {
        let key = PrivateDecryptingKey::from_pkcs8(&self.pkcs8).unwrap();
        let key = OaepPrivateDecryptingKey::new(key).unwrap();
        let secret = STANDARD.decode(secret.as_str().unwrap()).unwrap();
        let mut plain = vec![0; key.min_output_size()];
        key.decrypt(&OAEP_SHA256_MGF1SHA256, &secret, &mut plain, None)
            .unwrap()
            .to_vec()
    }

    pub fn sign(&self, secret: &[u8]) -> Vec<u8> {
        let key = KeyPair::from_pkcs8(&self.pkcs8).unwrap();
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), secret, &mut signature)
            .unwrap();
        signature
    }
}

/// Encrypts a secret for the Coordinator's ephemeral key.
pub async fn encrypt(program: &Program, secret: &[u8]) -> Vec<u8> {
    let (status, reply) = program.ask("GET", "/api/v2/recover/public-key", "").await;
    assert_eq!(
        (status, &reply["data"]["algorithm"]),
        (200, &json!("RSA")),
        "{reply}"
    );
    let key = STANDARD
        .decode(reply["data"]["ephemeralPublicKey"].as_str().unwrap())
        .unwrap();
    let key = PublicEncryptingKey::from_der(&key).unwrap();
    assert_eq!(key.key_size_bits(), 4096);
    let key = OaepPublicEncryptingKey::new(key).unwrap();
    let mut out = vec![0; key.ciphertext_size()];
    key.encrypt(&OAEP_SHA256_MGF1SHA256, secret, &mut out, None)
        .unwrap()
        .to_vec()
}

/// Hands a secret in.
pub async fn post(program: &Program, secret: &[u8], signature: &[u8]) -> (u16, Value) {
    let body = json!({
        "recoverySecret": STANDARD.encode(secret),
        "recoverySecretSignature": STANDARD.encode(signature),
    });
    program.ask("POST", "/api/v2/recover", body.to_string()).await
}

pub async fn phase(program: &Program) -> Value {
    program.ask("GET", "/api/v2/status", "").await.1["data"]["code"].clone()
}

fn taken(remaining: usize) -> (u16, Value) {
    let message = if remaining == 0 {
        "Recovery successful.".to_owned()
    } else {
        format!("Secret was processed successfully. Upload the next secret. Remaining secrets: {remaining}")
    };
    let data = json!({"remaining": remaining, "message": message});
    (200, json!({"status": "success", "data": data}))
}

async fn refused(program: &Program, secret: &[u8], signature: &[u8], part: &str) {
    let (status, reply) = post(program, secret, signature).await;
    assert_eq!((status, &reply["status"]), (500, &json!("error")), "{reply}");
    assert!(
        reply["message"].as_str().unwrap().contains(part),
        "{part}: {reply}"
    );
    assert_eq!(phase(program).await, 1);
}

/// A Coordinator that waits for recovery, what it was before, and the plain secret of each holder.
struct Locked {
    directory: tempfile::TempDir,
    program: Program,
    root: Vec<u8>,
    derived: Vec<u8>,
    secrets: Vec<Vec<u8>>,
}

async fn root(program: &Program) -> Vec<u8> {
    server_certificate(&connect(program.client, None, &[]).await.unwrap())
}

fn state_file(directory: &Path) -> Vec<u8> {
    std::fs::read(directory.join("state/sealed_data")).unwrap()
}

async fn locked(holders: &[Holder], threshold: usize, flags: &[&str]) -> Locked {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), flags);
    let mut manifest = manifest();
    let keys = holders.iter().map(|holder| (holder.name, holder.public_key()));
    manifest["RecoveryKeys"] = keys.collect::<Vec<_>>().into_iter().collect();
    if threshold > 0 {
        manifest["Config"] = json!({"RecoveryThreshold": threshold});
    }
    let sent = program.set_manifest(&manifest).await;
    let secrets = holders
        .iter()
        .map(|holder| holder.decrypt(&sent[holder.name]))
        .collect();
    let derived = program.activate("plain", UUID).await.unwrap().env["OWN"].clone();
    program.activate("few", UUID).await.unwrap();
    let before = root(&program).await;
    program.end(Signal::KILL);
    std::fs::remove_file(directory.path().join("state/sealed_key")).unwrap();
    let program = start(directory.path(), flags);
    assert_eq!(phase(&program).await, 1);
    assert_ne!(root(&program).await, before, "a temporary certificate");
    Locked {
        directory,
        program,
        root: before,
        derived,
        secrets,
    }
}

impl Locked {
    /// Everything is as it was, and the next start needs no recovery.
    async fn expect_recovered(self, flags: &[&str]) {
        let Self {
            directory,
            mut program,
            ..
        } = self;
        for _ in 0..2 {
            assert_eq!(phase(&program).await, 3);
            assert_eq!(root(&program).await, self.root);
            assert_eq!(
                program.activate("plain", UUID).await.unwrap().env["OWN"],
                self.derived
            );
            for path in ["/api/v2/recover", "/api/v2/recover/public-key"] {
                let method = if path.ends_with("key") { "GET" } else { "POST" };
                let (status, reply) = program.ask(method, path, "{}").await;
                assert_eq!(
                    (status, &reply["message"]),
                    (500, &json!("server is not in expected state"))
                );
            }
            program.end(Signal::KILL);
            program = start(directory.path(), flags);
        }
        // One of the ten was spent before, and is still spent.
        for _ in 0..9 {
            program.activate("few", UUID).await.unwrap();
        }
        program.activate("few", UUID).await.unwrap_err();
    }
}

#[tokio::test]
async fn one_holder_recovers_with_the_data_key() {
    let [one, three, two] = holders();
    for (flags, length) in [
        (["--crypto-suite", "p256-aes128"], 16),
        (["--crypto-suite", "p384-aes256"], 32),
    ] {
        let locked = locked(std::slice::from_ref(&one), 0, &flags).await;
        let (program, secret) = (&locked.program, &locked.secrets[0]);
        assert_eq!(secret.len(), length);
        let before = state_file(locked.directory.path());

        let wrong = vec![b'0'; length];
        refused(
            program,
            &wrong,
            &one.sign(&wrong),
            "not the recovery secret of the state",
        )
        .await;
        refused(program, secret, &two.sign(secret), "for one").await;
        refused(program, secret, &three.sign(&wrong), "for one").await;
        refused(program, secret, b"", "for one").await;
        refused(program, secret, &[0; 1025], "expected at most 1024").await;

        // What is no plain secret does not decrypt, whether as long as a ciphertext or not.
        for odd in [vec![], vec![1; 31], vec![1; 512], encrypt_for(&one, secret)] {
            let (status, reply) = post(program, &odd, &one.sign(secret)).await;
            assert_eq!((status, &reply["status"]), (400, &json!("fail")), "{reply}");
        }
        let (status, _) = program.ask("POST", "/api/v2/recover", "no JSON").await;
        assert_eq!(status, 400);
        let (status, _) = program.ask("POST", "/api/v2/recover", vec![b' '; 20_481]).await;
        assert_eq!(status, 413);

        assert!(
            before == state_file(locked.directory.path()),
            "the state is untouched"
        );
        let files = |name: &str| locked.directory.path().join("state").join(name).exists();
        assert!(!files("sealed_key"));
        assert_eq!(post(program, secret, &one.sign(secret)).await, taken(0));
        locked.expect_recovered(&flags).await;
    }
}

fn encrypt_for(holder: &Holder, secret: &[u8]) -> Vec<u8> {
    let key = KeyPair::from_pkcs8(&holder.pkcs8).unwrap();
    let der =
        aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(key.public_key())
            .unwrap();
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(der.as_ref()).unwrap()).unwrap();
    let mut out = vec![0; key.ciphertext_size()];
    key.encrypt(&OAEP_SHA256_MGF1SHA256, secret, &mut out, None)
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn all_of_several_holders_recover_one_of_them_offline() {
    let holders = holders();
    let locked = locked(&holders, 0, &[]).await;
    let (program, secrets) = (&locked.program, &locked.secrets);
    let [one, three, two] = &holders;

    let encrypted = encrypt(program, &secrets[0]).await;
    assert_eq!(post(program, &encrypted, &one.sign(&secrets[0])).await, taken(2));
    refused(program, &secrets[0], &one.sign(&secrets[0]), "used already").await;
    refused(program, &encrypted, &one.sign(&secrets[0]), "used already").await;
    let foreign = [7; 16];
    refused(
        program,
        &foreign,
        &two.sign(&foreign),
        "not a recovery secret of the state",
    )
    .await;
    let foreign = encrypt(program, b"of no known length").await;
    refused(
        program,
        &foreign,
        &two.sign(&foreign),
        "not a recovery secret of the state",
    )
    .await;
    assert_eq!(
        post(program, &secrets[1], &three.sign(&secrets[1])).await,
        taken(1)
    );

    // Signed by one who has signed already: refused, and all begins anew.
    refused(program, &secrets[2], &one.sign(&secrets[2]), "for two").await;
    assert_eq!(post(program, &secrets[2], &two.sign(&secrets[2])).await, taken(2));
    assert_eq!(post(program, &secrets[0], &one.sign(&secrets[0])).await, taken(1));
    assert_eq!(
        post(program, &secrets[1], &three.sign(&secrets[1])).await,
        taken(0)
    );
    locked.expect_recovered(&[]).await;
}

#[tokio::test]
async fn two_of_three_holders_recover() {
    let holders = holders();
    let flags = ["--crypto-suite", "p384-aes256"];
    let locked = locked(&holders, 2, &flags).await;
    let (program, secrets) = (&locked.program, &locked.secrets);
    assert_eq!(secrets[0].len(), 33);
    let [one, _, two] = &holders;
    assert_eq!(post(program, &secrets[0], &one.sign(&secrets[0])).await, taken(2));
    refused(program, &secrets[2], &[0; 256], "for two").await;
    assert_eq!(post(program, &secrets[2], &two.sign(&secrets[2])).await, taken(2));
    let encrypted = encrypt(program, &secrets[0]).await;
    assert_eq!(post(program, &encrypted, &one.sign(&secrets[0])).await, taken(0));
    locked.expect_recovered(&flags).await;
}

/// Somebody sets manifests of his own again and again while a Coordinator waits for recovery.
#[tokio::test]
async fn the_state_that_mattered_outlives_those_that_were_set_while_it_was_waited_for() {
    let holders = holders();
    let locked = locked(&holders, 2, &[]).await;
    let place = locked.directory.path().join("state");
    let before = state_file(locked.directory.path());
    let superseded = || {
        let mut found: Vec<_> = std::fs::read_dir(&place)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                let name = path.file_name().unwrap().to_string_lossy();
                name.starts_with("superseded-") && name.ends_with("-sealed_data")
            })
            .collect();
        found.sort();
        found
    };
    let mut program = locked.program;
    for round in 0..4 {
        let bogus = with_recovery_key(manifest());
        let bogus = if round % 2 == 0 { bogus } else { manifest() };
        program.set_manifest(&bogus).await;
        let found = superseded();
        assert_eq!(found.len(), 1 + usize::from(round > 0), "{round}: {found:?}");
        assert!(std::fs::read(&found[0]).unwrap() == before, "{round}");
        program.end(Signal::KILL);
        std::fs::remove_file(place.join("sealed_key")).unwrap();
        program = start(locked.directory.path(), &[]);
        assert_eq!(phase(&program).await, 1);
    }
    assert!(
        program.log().contains("kept beside the latest"),
        "and that is said"
    );
    // Put back, it is recovered.
    program.end(Signal::KILL);
    std::fs::rename(&superseded()[0], place.join("sealed_data")).unwrap();
    let program = start(locked.directory.path(), &[]);
    let [one, _, two] = &holders;
    let secrets = &locked.secrets;
    assert_eq!(
        post(&program, &secrets[0], &one.sign(&secrets[0])).await,
        taken(2)
    );
    assert_eq!(
        post(&program, &secrets[2], &two.sign(&secrets[2])).await,
        taken(0)
    );
    assert_eq!(root(&program).await, locked.root);
}

#[tokio::test]
async fn without_recovery_keys_only_a_new_manifest_helps() {
    let locked = locked(&[], 0, &[]).await;
    let [one, ..] = holders();
    let program = &locked.program;
    refused(program, &[1; 16], &one.sign(&[1; 16]), "has no recovery keys").await;

    // The old state goes aside, and stays there.
    let before = state_file(locked.directory.path());
    program.set_manifest(&manifest()).await;
    assert_eq!(phase(program).await, 3);
    let aside: Vec<_> = std::fs::read_dir(locked.directory.path().join("state"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("superseded-"))
        .collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(std::fs::read(&aside[0]).unwrap() == before);
    let (status, reply) = post(program, &[1; 16], &[]).await;
    assert_eq!(
        (status, &reply["message"]),
        (500, &json!("server is not in expected state"))
    );
}
