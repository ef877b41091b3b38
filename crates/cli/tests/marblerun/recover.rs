//! Holders of recovery keys open the state of a real Coordinator.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use marblerun_client::rest::Base64Bytes;
use marblerun_coordinator::assemble::Running;
use marblerun_coordinator::config::{self, Request};
use serde_json::{Value, json};

use crate::support::{Home, Outcome, start_coordinator};

/// A Coordinator in simulation, with its state in the home.
struct Coordinator {
    running: Running,
    address: String,
}

async fn start(home: &Home) -> Coordinator {
    let directory = home.file("state");
    let arguments = [
        "marblerun-coordinator",
        "--simulation",
        "--mesh-addr=127.0.0.1:0",
        "--client-addr=127.0.0.1:0",
        "--seal-dir",
        directory.to_str().unwrap(),
    ];
    let Request::Run(config) = config::load(arguments, &BTreeMap::new()).unwrap() else {
        panic!("expected a configuration");
    };
    let running = start_coordinator(&config).await;
    let address = running.client.to_string();
    Coordinator { running, address }
}

impl Coordinator {
    fn run(&self, home: &Home, arguments: &str) -> Outcome {
        let arguments: Vec<&str> = arguments
            .split(' ')
            .map(|argument| {
                if argument == "ADDR" {
                    &self.address
                } else {
                    argument
                }
            })
            .chain(["--insecure"])
            .collect();
        tokio::task::block_in_place(|| home.run(&arguments))
    }

    #[track_caller]
    fn says(&self, home: &Home, arguments: &str, expected: &str) {
        let outcome = self.run(home, arguments);
        assert_eq!(outcome.code, 0, "{arguments}: {outcome:?}");
        assert_eq!(outcome.stdout, format!("{expected}\n"), "{arguments}");
    }

    #[track_caller]
    fn refuses(&self, home: &Home, arguments: &str, part: &str) {
        let outcome = self.run(home, arguments);
        assert_eq!(outcome.code, 1, "{arguments}: {outcome:?}");
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "{arguments}");
    }
}

/// A Coordinator that waits for the recovery of a state with these holders. The home has for each its key
/// (`<name>.key`) and recovery secret (`<name>.secret`, and in base64 `<name>.base64`).
async fn locked(names: &[&str], threshold: usize) -> (Home, Coordinator) {
    let home = Home::new();
    let mut keys = BTreeMap::new();
    for name in ["one", "two", "three", "two-pkcs1"] {
        let golden = |kind: &str| {
            let path = format!(
                "{}/tests/golden/recovery-{name}.{kind}.pem",
                env!("CARGO_MANIFEST_DIR")
            );
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        home.write(&format!("{name}.key"), golden("key"));
        if names.contains(&name) {
            keys.insert(name, golden("pub"));
        }
    }
    let manifest = json!({
        "Packages": {"any": {"UniqueID": "00".repeat(32)}},
        "Marbles": {"plain": {"Package": "any"}},
        "RecoveryKeys": keys,
        "Config": {"RecoveryThreshold": threshold},
    });
    home.write("manifest.json", manifest.to_string());
    let coordinator = start(&home).await;
    let set = coordinator.run(&home, "manifest set manifest.json ADDR -r recovery.json");
    assert_eq!(set.code, 0, "{set:?}");
    let data: Value = serde_json::from_str(&home.read("recovery.json")).unwrap();
    for name in names {
        let secret = data["RecoverySecrets"][name].as_str().unwrap();
        home.write(&format!("{name}.base64"), secret);
        home.write(&format!("{name}.secret"), Base64Bytes::decode(secret).unwrap().0);
    }
    coordinator.running.stop().await;
    std::fs::remove_file(home.file("state/sealed_key")).unwrap();
    let coordinator = start(&home).await;
    coordinator.refuses(&home, "manifest get ADDR", "not set");
    (home, coordinator)
}

fn wanting(remaining: usize) -> String {
    format!("Secret was processed successfully. Upload the next secret. Remaining secrets: {remaining}")
}

#[tokio::test(flavor = "multi_thread")]
async fn holders_hand_their_secrets_in() {
    let (home, coordinator) = locked(&["one", "two", "three"], 2).await;
    let refuses = |arguments: &str, part: &str| coordinator.refuses(&home, arguments, part);
    refuses("recover one.secret ADDR", "name its file with --key");
    refuses("recover none ADDR -k one.key", "cannot open none");
    refuses("recover one.secret ADDR -k none", "cannot open none");
    refuses(
        "recover one.secret ADDR -k one.secret",
        "no PEM block PRIVATE KEY",
    );
    refuses(
        "recover one.secret ADDR -k two.key",
        "does not decrypt with this key",
    );
    refuses("recover one.base64 ADDR -k one.key", "it looks like base64");
    refuses("recover one.key ADDR -k one.key", "expected 16, 17, 32 or 33");
    home.write("zeros", [0; 33]);
    refuses(
        "recover zeros ADDR -k one.key",
        "not a recovery secret of the state",
    );

    coordinator.says(&home, "recover one.secret ADDR -k one.key", &wanting(2));
    refuses("recover one.secret ADDR --key=one.key", "was used already");
    coordinator.says(
        &home,
        "recover two.secret ADDR --key two-pkcs1.key",
        "Recovery successful.",
    );
    let manifest = coordinator.run(&home, "manifest get ADDR");
    assert_eq!(manifest.stdout, home.read("manifest.json") + "\n");
    refuses(
        "recover three.secret ADDR -k three.key",
        "`marblerun status` says what",
    );

    // The next start needs no recovery.
    coordinator.running.stop().await;
    let coordinator = start(&home).await;
    let manifest = coordinator.run(&home, "manifest get ADDR");
    assert_eq!(manifest.stdout, home.read("manifest.json") + "\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_holders_sign_and_encrypt() {
    let (home, coordinator) = locked(&["one", "two"], 0).await;
    let says = |arguments: &str, expected: &str| coordinator.says(&home, arguments, expected);
    let refuses = |arguments: &str, part: &str| coordinator.refuses(&home, arguments, part);

    let command = "recover-with-signature public-key ADDR";
    says(
        &format!("{command} -o coordinator.pem"),
        "Public key saved to coordinator.pem",
    );
    let printed = coordinator.run(&home, command);
    assert_eq!(printed.stdout, home.read("coordinator.pem"));
    assert!(
        printed.stdout.starts_with("-----BEGIN PUBLIC KEY-----\n"),
        "{printed:?}"
    );

    let command = "recover-with-signature encrypt-secret one.secret --coordinator-pub-key";
    refuses(
        &format!("{command} coordinator.pem -o one.out"),
        "name the file of your recovery key with --key",
    );
    refuses(
        &format!("{command} one.key -k one.key -o one.out"),
        "no PEM block PUBLIC KEY",
    );
    says(
        &format!("{command} coordinator.pem -k one.key -o one.out"),
        "Encrypted recovery secret saved to one.out",
    );
    let made = std::fs::read(home.file("one.out")).unwrap();
    assert_eq!(made.len(), 512);
    let mode = std::fs::metadata(home.file("one.out"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    refuses(
        &format!("{command} coordinator.pem -k one.key -o one.out"),
        "one.out is there already and is not overwritten",
    );
    assert_eq!(std::fs::read(home.file("one.out")).unwrap(), made);

    let command = "recover-with-signature sign-secret one.secret -o one.sig";
    refuses(command, "name its file with --key");
    says(&format!("{command} -k one.key"), "Signature saved to one.sig");
    refuses(&format!("{command} -k one.key"), "is not overwritten");

    let command = "recover-with-signature one.out ADDR";
    refuses(command, "--signature");
    refuses("recover-with-signature", "ADDR");
    refuses(&format!("{command} -s none"), "cannot open none");
    refuses(
        "recover-with-signature one.base64 ADDR -s one.sig",
        "looks like base64",
    );
    refuses(
        &format!("{command} -s one.base64"),
        "one.base64 looks like base64",
    );
    refuses(
        "recover-with-signature one.secret ADDR -s one.sig",
        "does not decrypt: expected",
    );
    says(&format!("{command} --signature one.sig"), &wanting(1));

    // The second holder signs with the wrong key: all is refused and has to come again.
    says(
        "recover-with-signature sign-secret two.secret -k two.key -o two.sig",
        "Signature saved to two.sig",
    );
    refuses(
        "recover-with-signature two.secret ADDR -s two.sig",
        "does not decrypt",
    );
    says(
        "recover-with-signature encrypt-secret two.secret -k two.key --coordinator-pub-key coordinator.pem -o two.out",
        "Encrypted recovery secret saved to two.out",
    );
    refuses("recover-with-signature two.out ADDR -s one.sig", "for two");
    says("recover-with-signature two.out ADDR -s two.sig", &wanting(1));
    says(
        "recover-with-signature one.out ADDR -s one.sig --format json",
        "{\n  \"message\": \"Recovery successful.\",\n  \"remaining\": 0\n}",
    );
    refuses(
        "recover-with-signature public-key ADDR",
        "`marblerun status` says what",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_headers_of_states() {
    let (home, coordinator) = locked(&["one", "two", "three"], 2).await;
    coordinator.running.stop().await;
    let outcome = home.run(&["state", "inspect", "state/sealed_data"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    for line in [
        "Format:         MarbleRun, version 1\n",
        "Cipher:         AES-128-GCM (p256-aes128)\n",
        "Key generation: 1\n",
        "Recovery:       with a threshold of the recovery keys\nShares:         3\nNeeded:         2\n",
    ] {
        assert!(outcome.stdout.contains(line), "{line}: {}", outcome.stdout);
    }
    assert_eq!(outcome.stdout.matches("\nShare SHA-256:  ").count(), 3);
    let outcome = home.run(&["state", "inspect", "state/sealed_data", "--format", "json"]);
    let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        (&value["format"], &value["shares"]),
        (&json!("marblerun"), &json!(3))
    );

    let golden = |name: &str| {
        format!(
            "{}/../core/tests/golden/original/{name}-sealed_data.bin",
            env!("CARGO_MANIFEST_DIR")
        )
    };
    for (name, shares) in [("single", 0), ("xor2", 2), ("shamir2of3", 3)] {
        let outcome = home.run(&["state", "inspect", &golden(name), "--format=json"]);
        let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(
            (&value["format"], &value["shares"]),
            (&json!("original"), &json!(shares)),
            "{name}"
        );
    }
    home.write("other", [7; 1000]);
    let mut damaged = std::fs::read(home.file("state/sealed_data")).unwrap();
    damaged[20] ^= 1;
    home.write("damaged", damaged);
    for (file, part) in [
        ("other", "other: not a file of MarbleRun"),
        ("damaged", "damaged: damaged at offset 0"),
        ("none", "cannot open none"),
        (
            "state",
            "state is a directory: expected a file, such as `sealed_data` in it",
        ),
    ] {
        let outcome = home.run(&["state", "inspect", file]);
        assert!(
            outcome.code == 1 && outcome.stderr.contains(part),
            "{part}: {outcome:?}"
        );
    }
}
