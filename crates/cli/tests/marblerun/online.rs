//! Commands against a Coordinator that speaks recorded replies.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use http::StatusCode;
use serde_json::{Value, json};

use crate::server::{self, Authority, Server, certified, json as reply};
use crate::support::{Home, Outcome};

pub const PIN: &str = ".config/marblerun/coordinator-cert.pem";
const LOG: [&str; 3] = [
    r#"{"time":"2026-11-21T08:42:31.650Z","update":"Initial manifest set"}"#,
    r#"{"time":"2026-11-21T08:42:33.817Z","update":"SecurityVersion increased","user":"admin","package":"frontend","new version":5}"#,
    r#"{"time":"2026-11-21T08:42:33.918Z","update":"Secret set","user":"a\u003cb","secret":"s","type":"plain"}"#,
];

/// A Coordinator in simulation and the certificates it shows.
pub struct Coordinator {
    pub server: Server,
    pub address: String,
    pub chain: String,
}

impl Coordinator {
    async fn start() -> Self {
        Self::start_with(&Authority::new(&["localhost"]), json!(null)).await
    }

    async fn start_with(root: &Authority, quote: Value) -> Self {
        Self::start_showing(root, root, quote).await
    }

    /// Makes its connections as `root`, and says that it is `shown`.
    async fn start_showing(root: &Authority, shown: &Authority, quote: Value) -> Self {
        let intermediate = Authority::new(&["localhost"]);
        let chain = (intermediate.certificate.pem() + &shown.certificate.pem()).replace("\r\n", "\n");
        let data = json!({"status": "success", "data": {"cert": chain, "quote": quote}}).to_string();
        let server = Server::start(
            certified(root, root),
            &["h2", "http/1.1"],
            move |line| match line {
                "GET /api/v2/quote" => reply(&data),
                line if line.starts_with("GET /api/v2/quote?nonce=") => reply(&data),
                "GET /api/v2/update" => {
                    reply(&json!({"status": "success", "data": {"updateLog": LOG}}).to_string())
                }
                line => recorded(line),
            },
        )
        .await;
        let address = format!("localhost:{}", server.port);
        Self {
            server,
            address,
            chain,
        }
    }

    /// Runs the program without blocking the Coordinator. `ADDR` stands for the address.
    pub async fn run(&self, home: &Home, arguments: &[&str]) -> Outcome {
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|argument| {
                if *argument == "ADDR" {
                    &self.address
                } else {
                    *argument
                }
            })
            .collect();
        tokio::task::block_in_place(|| home.run(&arguments))
    }

    fn lines(&self) -> Vec<String> {
        self.server.asked().into_iter().map(|asked| asked.line).collect()
    }
}

/// The last recorded reply with HTTP 200, otherwise that of an unknown path.
fn recorded(line: &str) -> http::Response<server::Body> {
    let replies: Vec<Value> =
        serde_json::from_str(include_str!("../../../wire/tests/golden/replies.json")).unwrap();
    let found = replies.iter().rev().find(|recorded| {
        line == format!(
            "{} {}",
            recorded["method"].as_str().unwrap(),
            recorded["path"].as_str().unwrap()
        ) && recorded["status"] == 200
    });
    if let Some(found) = found {
        return reply(found["body"].as_str().unwrap());
    }
    refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        r#"{"status":"error","data":null}"#,
    )
}

pub fn refusal(status: StatusCode, body: &str) -> http::Response<server::Body> {
    let mut refusal = reply(body);
    *refusal.status_mut() = status;
    refusal
}

fn manifest() -> String {
    let replies: Vec<Value> =
        serde_json::from_str(include_str!("../../../wire/tests/golden/replies.json")).unwrap();
    let body = replies
        .iter()
        .find(|recorded| {
            recorded["path"] == "/api/v2/manifest" && recorded["status"] == 200 && recorded["method"] == "GET"
        })
        .unwrap();
    let body: Value = serde_json::from_str(body["body"].as_str().unwrap()).unwrap();
    let bytes =
        marblerun_client::rest::Base64Bytes::decode(body["data"]["manifest"].as_str().unwrap()).unwrap();
    String::from_utf8(bytes.0).unwrap()
}

fn signature(manifest: &str) -> String {
    marblerun_client::manifest_fingerprint(manifest.as_bytes())
}

pub fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[track_caller]
pub fn succeeded(outcome: &Outcome) {
    assert_eq!(outcome.code, 0, "{}\n{}", outcome.stdout, outcome.stderr);
}

#[track_caller]
pub fn failed(outcome: &Outcome, part: &str) {
    assert_eq!(outcome.code, 1, "{}", outcome.stdout);
    let error = outcome
        .stderr
        .lines()
        .find(|line| line.starts_with("Error: "))
        .unwrap_or_default();
    assert!(error.contains(part), "{}", outcome.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn set_prints_keeps_and_pins() {
    let (home, coordinator) = (Home::new(), Coordinator::start().await);
    home.write("m.yaml", "b: on\na: <\n");
    let sent = r#"{"a":"\u003c","b":true}"#;
    let outcome = coordinator
        .run(&home, &["manifest", "set", "m.yaml", "ADDR", "--insecure"])
        .await;
    succeeded(&outcome);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], format!("Manifest signature: {}", signature(sent)));
    assert_eq!(lines[1], "Manifest successfully set");
    let recovery: Value = serde_json::from_str(lines[2]).unwrap();
    assert!(
        recovery["RecoverySecrets"]["one"]
            .as_str()
            .unwrap()
            .starts_with("dCN5oSwE")
    );
    assert_eq!(lines.len(), 3);
    assert!(
        outcome.stderr.contains("NOT verified") && outcome.stderr.contains("SIMULATION"),
        "{}",
        outcome.stderr
    );

    let posted = coordinator
        .server
        .asked()
        .into_iter()
        .find(|asked| asked.line.starts_with("POST"))
        .unwrap();
    assert_eq!(
        (posted.host, posted.client_certificate),
        (coordinator.address.clone(), None)
    );
    let posted: Value = serde_json::from_slice(&posted.body).unwrap();
    assert_eq!(
        marblerun_client::rest::Base64Bytes::decode(posted["manifest"].as_str().unwrap())
            .unwrap()
            .0,
        sent.as_bytes()
    );
    assert_eq!(home.read(PIN), coordinator.chain);
    assert_eq!(mode(&home.file(PIN)), 0o600);
    assert_eq!(mode(home.file(PIN).parent().unwrap()), 0o700);

    // From now on the certificate is known.
    let outcome = coordinator.run(&home, &["status", "ADDR"]).await;
    succeeded(&outcome);
    assert_eq!(
        outcome.stdout,
        "3: Coordinator is running correctly and ready to accept marbles.\n"
    );
    assert!(
        !outcome.stderr.contains("NOT verified") && outcome.stderr.contains("SIMULATION"),
        "{}",
        outcome.stderr
    );
    let outcome = coordinator
        .run(&home, &["status", "ADDR", "--format", "json"])
        .await;
    let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(value["code"], 3);
    assert_eq!(
        coordinator
            .server
            .connections
            .load(std::sync::atomic::Ordering::SeqCst),
        3,
        "one for each command"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_data_goes_to_a_file_of_this_user() {
    let (home, coordinator) = (Home::new(), Coordinator::start().await);
    home.write("m.json", "{}");
    home.write(
        "recovery.json",
        "something longer than the recovery data ".repeat(50),
    );
    std::fs::set_permissions(home.file("recovery.json"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let outcome = coordinator
        .run(
            &home,
            &[
                "-i",
                "manifest",
                "set",
                "m.json",
                "ADDR",
                "-r",
                "recovery.json",
                "--coordinator-cert",
                "a/b/pin",
            ],
        )
        .await;
    succeeded(&outcome);
    let saved = home.read("recovery.json");
    assert!(
        saved.starts_with(r#"{"RecoverySecrets":{"one":""#) && saved.lines().count() == 1,
        "{saved}"
    );
    assert_eq!(mode(&home.file("recovery.json")), 0o600);
    assert!(!outcome.stdout.contains("dCN5oSwE"));
    assert_eq!(home.read("a/b/pin"), coordinator.chain);
    assert!(!home.file(PIN).exists());

    let outcome = coordinator
        .run(
            &home,
            &["-i", "manifest", "set", "m.json", "ADDR", "--format", "json"],
        )
        .await;
    let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(value["manifestSignature"], signature("{}"));
    assert!(value["RecoverySecrets"]["one"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_manifest_pins_nothing() {
    let root = Authority::new(&["localhost"]);
    let chain = root.certificate.pem().repeat(2);
    let quote = json!({"status": "success", "data": {"cert": chain, "quote": null}}).to_string();
    let server = Server::start(certified(&root, &root), &["h2"], move |line| match line {
        "GET /api/v2/quote" => reply(&quote),
        "GET /api/v2/manifest" => refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            r#"{"status":"error","data":null,"message":"requested value not set"}"#,
        ),
        _ => refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            r#"{"status":"error","data":null,"message":"checking manifest: \u001b[2Jno"}"#,
        ),
    })
    .await;
    let coordinator = Coordinator {
        address: format!("localhost:{}", server.port),
        server,
        chain: String::new(),
    };
    let home = Home::new();
    home.write("m.json", "{}");
    let outcome = coordinator
        .run(&home, &["manifest", "set", "m.json", "ADDR", "-i"])
        .await;
    failed(
        &outcome,
        "refused POST /api/v2/manifest with HTTP 500: checking manifest: \u{fffd}[2Jno",
    );
    assert!(!outcome.stdout.contains("successfully"));
    home.write("kept", "kept");
    for file in ["made", "kept"] {
        failed(
            &coordinator
                .run(&home, &["manifest", "set", "m.json", "ADDR", "-i", "-r", file])
                .await,
            "HTTP 500",
        );
    }
    assert!(!home.file("made").exists());
    assert_eq!(home.read("kept"), "kept");
    let hash = "00".repeat(32);
    failed(
        &coordinator
            .run(&home, &["manifest", "verify", &hash, "ADDR", "-i"])
            .await,
        "set a manifest with",
    );
    failed(
        &coordinator
            .run(&home, &["manifest", "get", "ADDR", "-i", "--keep-cert"])
            .await,
        "set a manifest with",
    );
    assert!(!home.file(PIN).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_commands_refuse_other_coordinators() {
    let (home, first, second) = (
        Home::new(),
        Coordinator::start().await,
        Coordinator::start().await,
    );
    succeeded(
        &first
            .run(
                &home,
                &["manifest", "get", "ADDR", "-i", "--keep-cert", "-o", "m"],
            )
            .await,
    );
    for arguments in [&["status", "ADDR"][..], &["manifest", "log", "ADDR"]] {
        succeeded(&first.run(&home, arguments).await);
        let outcome = second.run(&home, arguments).await;
        failed(&outcome, "presents another root certificate than the pinned one");
        assert!(
            outcome.stderr.contains(PIN)
                && outcome.stderr.contains("manifest verify")
                && outcome.stderr.contains("recovery mode"),
            "{}",
            outcome.stderr
        );
        assert_eq!(outcome.stdout, "");
    }
    assert!(second.lines().is_empty(), "nothing was asked");
    // With --insecure anybody will do, loudly.
    let outcome = second
        .run(&home, &["status", "ADDR", "--insecure", "--insecure"])
        .await;
    succeeded(&outcome);
    assert!(outcome.stderr.contains("NOT verified"));
    // The right certificate under another name.
    let address = format!("127.0.0.1:{}", first.server.port);
    let outcome = tokio::task::block_in_place(|| home.run(&["status", &address]));
    failed(&outcome, "is not for this host");
}

#[tokio::test(flavor = "multi_thread")]
async fn insecure_lets_nobody_answer_for_another_coordinator() {
    let (own, others) = (Authority::new(&["localhost"]), Authority::new(&["localhost"]));
    let home = Home::new();
    home.write("m.yaml", "a: 1\n");
    let coordinator = Coordinator::start_showing(&own, &others, json!(null)).await;
    for arguments in [
        &["manifest", "set", "m.yaml", "ADDR", "-i"][..],
        &["manifest", "get", "--keep-cert", "ADDR", "-i"],
        &["certificate", "root", "ADDR", "-i"],
    ] {
        let outcome = coordinator.run(&home, arguments).await;
        failed(&outcome, "something stands between you and the Coordinator");
        assert_eq!(outcome.code, 1);
        assert!(!home.file(PIN).exists(), "nobody is pinned");
    }
    let asked = coordinator.lines();
    assert!(
        asked.iter().all(|line| line.starts_with("GET /api/v2/quote")),
        "nothing is sent: {asked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_saved() {
    let (home, coordinator) = (Home::new(), Coordinator::start().await);
    let (intermediate, root) = coordinator
        .chain
        .split_at(coordinator.chain.rfind("-----BEGIN").unwrap());
    for (word, file, content) in [
        ("root", "marblerunRootCA.crt", root),
        ("intermediate", "marblerunIntermediateCA.crt", intermediate),
        ("chain", "marblerunChainCA.crt", coordinator.chain.as_str()),
    ] {
        home.write(file, "old".repeat(2000));
        let outcome = coordinator.run(&home, &["certificate", word, "ADDR", "-i"]).await;
        succeeded(&outcome);
        assert!(outcome.stdout.contains(file), "{}", outcome.stdout);
        assert_eq!(home.read(file), content);
        assert_eq!(mode(&home.file(file)), 0o600);
        succeeded(
            &coordinator
                .run(&home, &["certificate", word, "ADDR", "--output=out.pem", "-i"])
                .await,
        );
        assert_eq!(home.read("out.pem"), content);
        let outcome = coordinator
            .run(&home, &["certificate", word, "ADDR", "-i", "--format", "json"])
            .await;
        let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(
            (value["file"].as_str(), value["certificate"].as_str()),
            (Some(file), Some(content))
        );
    }
    assert!(!home.file(PIN).exists(), "certificates are not pinned by this");
    failed(
        &coordinator
            .run(&home, &["certificate", "root", "ADDR", "-i", "-o", "no/where"])
            .await,
        "cannot write no/where",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn get_in_all_forms() {
    let (home, coordinator) = (Home::new(), Coordinator::start().await);
    let manifest = manifest();
    let fingerprint = signature(&manifest);
    let outcome = coordinator.run(&home, &["manifest", "get", "ADDR", "-i"]).await;
    succeeded(&outcome);
    assert_eq!(outcome.stdout, format!("{manifest}\n"));
    assert!(!home.file(PIN).exists());

    let outcome = coordinator
        .run(
            &home,
            &["manifest", "get", "-i", "-o", "m.json", "ADDR", "--keep-cert"],
        )
        .await;
    succeeded(&outcome);
    assert_eq!(home.read("m.json"), manifest);
    assert_eq!(home.read(PIN), coordinator.chain);

    let signed = coordinator.run(&home, &["manifest", "get", "ADDR", "-is"]).await;
    assert_eq!(
        signed.stdout,
        format!("{{\"ManifestSignature\": \"{fingerprint}\", \"Manifest\": {manifest}}}\n")
    );

    let updated = coordinator
        .run(&home, &["manifest", "get", "ADDR", "-i", "--display-update"])
        .await;
    succeeded(&updated);
    assert!(
        updated.stdout.starts_with("{\n    \"Config\": {\n"),
        "{}",
        updated.stdout
    );
    let value: Value = serde_json::from_str(&updated.stdout).unwrap();
    assert_eq!(value["Packages"]["frontend"]["SecurityVersion"], 5);
    let original: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(original["Packages"]["frontend"]["SecurityVersion"], 3);
    assert_eq!(value["Marbles"], original["Marbles"]);

    let both = coordinator
        .run(&home, &["manifest", "get", "ADDR", "-i", "-su"])
        .await;
    let value: Value = serde_json::from_str(&both.stdout).unwrap();
    assert_eq!(value["ManifestSignature"], fingerprint);
    assert_eq!(value["Manifest"]["Packages"]["frontend"]["SecurityVersion"], 5);
    let neither = coordinator
        .run(
            &home,
            &[
                "manifest",
                "get",
                "ADDR",
                "-i",
                "-su",
                "-s=false",
                "--display-update=0",
            ],
        )
        .await;
    assert_eq!(neither.stdout, format!("{manifest}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_compares_and_pins() {
    let (home, coordinator) = (Home::new(), Coordinator::start().await);
    let manifest = manifest();
    let other = "11".repeat(32);
    failed(
        &coordinator
            .run(&home, &["manifest", "verify", &other, "ADDR", "-i"])
            .await,
        "another manifest is in force",
    );
    home.write("other.json", "{}");
    failed(
        &coordinator
            .run(&home, &["manifest", "verify", "other.json", "ADDR", "-i"])
            .await,
        &signature("{}"),
    );
    assert!(!home.file(PIN).exists());
    home.write("m.json", &manifest);
    let hash = signature(&manifest);
    for argument in ["m.json", &hash, &hash.to_uppercase()] {
        let _ = std::fs::remove_file(home.file(PIN));
        let outcome = coordinator
            .run(&home, &["manifest", "verify", argument, "ADDR", "-i"])
            .await;
        succeeded(&outcome);
        assert_eq!(outcome.stdout, "OK\n");
        assert_eq!(home.read(PIN), coordinator.chain);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_in_all_forms() {
    let (home, coordinator) = (Home::new(), Coordinator::start().await);
    let outcome = coordinator.run(&home, &["manifest", "log", "ADDR", "-i"]).await;
    succeeded(&outcome);
    assert_eq!(outcome.stdout, format!("Update log:\n{}\n", LOG.join("\n")));
    succeeded(
        &coordinator
            .run(&home, &["manifest", "log", "ADDR", "-i", "-o", "log.txt"])
            .await,
    );
    assert_eq!(home.read("log.txt"), LOG.join("\n"));
    assert_eq!(mode(&home.file("log.txt")), 0o600);
    let outcome = coordinator
        .run(&home, &["manifest", "log", "ADDR", "-i", "--format", "json"])
        .await;
    let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(value[1]["new version"], 5);
    let outcome = coordinator
        .run(&home, &["manifest", "log", "ADDR", "-i", "--format", "table"])
        .await;
    assert!(
        outcome.stdout.contains("new version") && outcome.stdout.contains("a<b"),
        "{}",
        outcome.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_insecure_the_evidence_decides() {
    let (home, coordinator) = (Home::new(), Coordinator::start().await);
    home.write("m.json", "{}");
    home.write("era.json", r#"{"ProductID":3,"SecurityVersion":1}"#);
    let hash = "00".repeat(32);
    for arguments in [
        &["manifest", "set", "m.json", "ADDR"][..],
        &["manifest", "get", "ADDR"],
        &["manifest", "verify", &hash, "ADDR"],
        &["certificate", "chain", "ADDR"],
    ] {
        let arguments: Vec<&str> = arguments
            .iter()
            .copied()
            .chain(["--era-config", "era.json", "--nonce", "abc"])
            .collect();
        let outcome = coordinator.run(&home, &arguments).await;
        failed(
            &outcome,
            "is in SIMULATION: it has no evidence to verify; use --insecure",
        );
        assert!(
            outcome.stderr.contains("does not name the code"),
            "{}",
            outcome.stderr
        );
    }
    assert!(
        coordinator
            .lines()
            .iter()
            .all(|line| line == "GET /api/v2/quote?nonce=YWJj"),
        "{:?}",
        coordinator.lines()
    );

    let enclave = Coordinator::start_with(&Authority::new(&["localhost"]), json!("AQID")).await;
    let outcome = enclave
        .run(&home, &["manifest", "get", "ADDR", "--era-config", "era.json"])
        .await;
    failed(
        &outcome,
        "was not verified: step 1, format: unknown format of evidence",
    );
    // With --insecure it is taken, and its evidence can be kept for a look.
    let outcome = enclave
        .run(&home, &["manifest", "get", "ADDR", "-i", "--save-sgx-quote", "q"])
        .await;
    succeeded(&outcome);
    assert!(!outcome.stderr.contains("SIMULATION"), "{}", outcome.stderr);
    assert_eq!(std::fs::read(home.file("q")).unwrap(), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_directory_moves_the_pin() {
    let (home, coordinator) = (Home::new(), Coordinator::start().await);
    let config = home.file("config").to_str().unwrap().to_owned();
    let run = |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        tokio::task::block_in_place(|| home.run_with(&arguments, &[("XDG_CONFIG_HOME", &config)]))
    };
    let words = |text: &str| {
        text.split(' ')
            .map(|word| {
                if word == "ADDR" {
                    coordinator.address.clone()
                } else {
                    word.to_owned()
                }
            })
            .collect()
    };
    succeeded(&run(words("manifest get ADDR -i --keep-cert")));
    assert_eq!(
        home.read("config/marblerun/coordinator-cert.pem"),
        coordinator.chain
    );
    succeeded(&run(words("status ADDR")));
}
