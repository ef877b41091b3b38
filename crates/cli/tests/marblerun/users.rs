//! What users do: secrets and updates, against recorded replies.

use http::StatusCode;
use marblerun_client::rest::Base64Bytes;
use serde_json::{Value, json};

use crate::online::{Coordinator, PIN, failed, mode, refusal, succeeded};
use crate::server::{Authority, Server, certified, json as reply};
use crate::support::Home;

/// A file of `tests/golden`.
fn golden(name: &str) -> String {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a user asked once, and was answered.
struct Recorded {
    line: String,
    user: Option<String>,
    body: Option<Value>,
    status: u16,
    reply: String,
}

/// The recorded exchange of that note and request.
fn recorded(note: &str, line: &str, user: &str) -> Recorded {
    let all: Vec<Value> = serde_json::from_str(&golden("users.json")).unwrap();
    let found = all
        .iter()
        .find(|one| {
            one["note"] == note
                && one["user"].as_str().unwrap_or_default() == user
                && line
                    == format!(
                        "{} {}",
                        one["method"].as_str().unwrap(),
                        one["path"].as_str().unwrap()
                    )
        })
        .unwrap_or_else(|| panic!("no recording {note:?} {line} {user:?}"));
    Recorded {
        line: line.to_owned(),
        user: found["user"].as_str().map(str::to_owned),
        body: found["body"]
            .as_str()
            .map(|body| serde_json::from_str(body).unwrap()),
        status: found["status"].as_u64().unwrap().try_into().unwrap(),
        reply: found["reply"].as_str().unwrap().to_owned(),
    }
}

impl Recorded {
    /// The manifest that was sent.
    fn manifest(&self) -> Vec<u8> {
        bytes(&self.body.as_ref().unwrap()["manifest"])
    }

    /// A home that pins the Coordinator, which gives this answer, and holds the files of the user.
    async fn play(&self) -> (Home, Coordinator) {
        let (line, status, body) = (self.line.clone(), self.status, self.reply.clone());
        let (home, coordinator) = playing(move |asked| {
            (asked == line).then(|| refusal(StatusCode::from_u16(status).unwrap(), &body))
        })
        .await;
        if let Some(user) = &self.user {
            home.write("user.crt", golden(&format!("{user}.crt.pem")));
            home.write("user.key", golden(&format!("{user}.key.pem")));
        }
        (home, coordinator)
    }

    /// That exactly this was asked, by this user.
    #[track_caller]
    fn was_asked_of(&self, coordinator: &Coordinator) {
        let asked = coordinator.server.asked();
        let asked = asked
            .iter()
            .find(|asked| asked.line == self.line)
            .unwrap_or_else(|| panic!("{asked:?}"));
        let body: Option<Value> =
            (!asked.body.is_empty()).then(|| serde_json::from_slice(&asked.body).unwrap());
        assert_eq!(body, self.body);
        let certificate = self.user.as_ref().map(|user| {
            let pem = golden(&format!("{user}.crt.pem"));
            let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            Base64Bytes::decode(&base64).unwrap().0
        });
        assert_eq!(asked.client_certificate, certificate);
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    Base64Bytes::decode(value.as_str().unwrap()).unwrap().0
}

/// A home that pins a Coordinator which answers so, and HTTP 405 where there is no answer.
async fn playing(
    answer: impl Fn(&str) -> Option<http::Response<crate::server::Body>> + Send + Sync + Clone + 'static,
) -> (Home, Coordinator) {
    let root = Authority::new(&["localhost"]);
    let chain = root.certificate.pem().repeat(2);
    let quote = json!({"status": "success", "data": {"cert": chain, "quote": "AQID"}}).to_string();
    let server = Server::start(certified(&root, &root), &["h2", "http/1.1"], move |line| {
        if line == "GET /api/v2/quote" {
            return reply(&quote);
        }
        answer(line).unwrap_or_else(|| {
            refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "{\"status\":\"error\",\"data\":null}\n",
            )
        })
    })
    .await;
    let home = Home::new();
    std::fs::create_dir_all(home.file(PIN).parent().unwrap()).unwrap();
    home.write(PIN, &chain);
    let address = format!("localhost:{}", server.port);
    (
        home,
        Coordinator {
            server,
            address,
            chain,
        },
    )
}

/// The words and then the user's flags.
fn words(words: &str) -> Vec<&str> {
    words
        .split(' ')
        .chain(["--cert", "user.crt", "--key=user.key"])
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_printed() {
    let line = "GET /api/v2/secrets?s=shared&s=certShared";
    let exchange = recorded("read", line, "alice");
    let (home, coordinator) = exchange.play().await;
    let data: Value = serde_json::from_str(&exchange.reply).unwrap();
    let secrets = &data["data"]["secrets"];
    let text = |name: &str, field: &str| secrets[name][field].as_str().unwrap();
    let expected = format!(
        "certShared:\n\tType:        cert-ecdsa\n\tUserDefined: false\n\tSize:        256\n\tValid For:   7\n\t\
         Certificate: {}\n\tPublic Key:  {}\n\tPrivate Key: {}\n\
         shared:\n\tType:        symmetric-key\n\tUserDefined: false\n\tSize:        128\n\tKey:         {}\n",
        text("certShared", "Cert"),
        text("certShared", "Public"),
        text("certShared", "Private"),
        text("shared", "Private"),
    );
    // Flags before, between and behind the arguments.
    for arguments in [
        vec![
            "secret",
            "get",
            "shared",
            "certShared",
            "ADDR",
            "-c",
            "user.crt",
            "-k",
            "user.key",
        ],
        vec![
            "secret",
            "get",
            "-c=user.crt",
            "shared",
            "-k",
            "user.key",
            "certShared",
            "ADDR",
        ],
        vec![
            "secret",
            "get",
            "shared",
            "certShared",
            "--cert",
            "user.crt",
            "ADDR",
            "--key=user.key",
        ],
        vec![
            "secret",
            "get",
            "-c",
            "none",
            "-c",
            "user.crt",
            "-kuser.key",
            "shared",
            "certShared",
            "ADDR",
        ],
        vec![
            "secret",
            "get",
            "-cuser.crt",
            "-kuser.key",
            "shared",
            "certShared",
            "ADDR",
            "--format=table",
        ],
    ] {
        let outcome = coordinator.run(&home, &arguments).await;
        succeeded(&outcome);
        assert_eq!(outcome.stdout, expected, "{arguments:?}");
        assert_eq!(outcome.stderr, "");
    }
    exchange.was_asked_of(&coordinator);

    let outcome = coordinator
        .run(&home, &words("secret get shared certShared ADDR --format json"))
        .await;
    assert_eq!(serde_json::from_str::<Value>(&outcome.stdout).unwrap(), *secrets);
    // To a file, which others could read before.
    home.write("s.json", "old".repeat(2000));
    let outcome = coordinator
        .run(&home, &words("secret get shared certShared ADDR -o s.json"))
        .await;
    succeeded(&outcome);
    assert_eq!(outcome.stdout, "Secret saved to: s.json\n");
    assert_eq!(
        serde_json::from_str::<Value>(&home.read("s.json")).unwrap(),
        *secrets
    );
    assert_eq!(mode(&home.file("s.json")), 0o600);
    succeeded(
        &coordinator
            .run(&home, &words("secret get shared certShared ADDR --output=new"))
            .await,
    );
    assert_eq!(mode(&home.file("new")), 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_other_types_and_without_a_value() {
    let exchange = recorded("", "GET /api/v2/secrets?s=token&s=userKey&s=userCert", "admin");
    let (home, coordinator) = exchange.play().await;
    let outcome = coordinator
        .run(&home, &words("secret get token userKey userCert ADDR"))
        .await;
    succeeded(&outcome);
    for part in [
        "token:\n\tType:        plain\n\tUserDefined: true\n\tSize:        0\n\tData:        aGVsbG8=\n",
        "userCert:\n\tType:        cert-rsa\n\tUserDefined: true\n\tSize:        2048\n\tValid For:   ",
        "userKey:\n\tType:        symmetric-key\n\tUserDefined: true\n\tSize:        128\n\tKey:         AAECAwQFBgcICQoLDA0ODw==\n",
    ] {
        assert!(outcome.stdout.contains(part), "{}", outcome.stdout);
    }

    let exchange = recorded("unset user secret", "GET /api/v2/secrets?s=token", "alice");
    let (home, coordinator) = exchange.play().await;
    let outcome = coordinator.run(&home, &words("secret get token ADDR")).await;
    succeeded(&outcome);
    assert!(
        outcome.stdout.ends_with("\tData:        \n"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stderr.contains("the secret token has no value"),
        "{}",
        outcome.stderr
    );
    exchange.was_asked_of(&coordinator);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_set() {
    let exchange = recorded("write", "POST /api/v2/secrets", "admin");
    let (home, coordinator) = exchange.play().await;
    home.write("s.json", exchange.body.as_ref().unwrap()["secrets"].to_string());
    let outcome = coordinator.run(&home, &words("secret set s.json ADDR")).await;
    succeeded(&outcome);
    assert_eq!(outcome.stdout, "Secret successfully set\n");
    exchange.was_asked_of(&coordinator);
    let outcome = coordinator
        .run(&home, &words("secret set s.json ADDR --format json"))
        .await;
    assert_eq!(
        serde_json::from_str::<Value>(&outcome.stdout).unwrap(),
        json!({"secrets": ["token", "userCert", "userKey"]})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_and_its_key_are_set_from_pem() {
    let mut exchange = recorded("write", "POST /api/v2/secrets", "admin");
    let (home, coordinator) = exchange.play().await;
    let secret = exchange.body.take().unwrap()["secrets"]["userCert"].clone();
    exchange.body = Some(json!({"secrets": {"userCert": secret}}));
    home.write(
        "s.pem",
        golden("user-cert.key.pem") + &golden("user-cert.crt.pem"),
    );
    let outcome = coordinator
        .run(&home, &words("secret set s.pem ADDR --from-pem userCert"))
        .await;
    succeeded(&outcome);
    assert_eq!(outcome.stdout, "Secret successfully set\n");
    exchange.was_asked_of(&coordinator);

    home.write(
        "other.pem",
        "-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n".to_owned() + &home.read("s.pem"),
    );
    failed(
        &coordinator
            .run(&home, &words("secret set other.pem ADDR --from-pem userCert"))
            .await,
        "other.pem does not hold a certificate and its private key in PEM: the block EC PARAMETERS at line 1",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_are_proposed() {
    for (note, user, said, missing) in [
        (
            "package update",
            "admin",
            "Update manifest set successfully",
            json!([]),
        ),
        (
            "full update proposed",
            "alice",
            "1 user still needs to acknowledge the update manifest: bob",
            json!(["bob"]),
        ),
    ] {
        let exchange = recorded(note, "POST /api/v2/update", user);
        let (home, coordinator) = exchange.play().await;
        home.write("m.json", exchange.manifest());
        let outcome = coordinator
            .run(
                &home,
                &words("manifest update apply m.json ADDR -r recovery.json"),
            )
            .await;
        succeeded(&outcome);
        assert_eq!(outcome.stdout, format!("{said}\n"));
        exchange.was_asked_of(&coordinator);
        assert!(!home.file("recovery.json").exists(), "there is no recovery data");
        let outcome = coordinator
            .run(&home, &words("manifest update apply m.json ADDR --format=json"))
            .await;
        let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(value["missingUsers"], missing);
        assert_eq!(
            value["missingAcknowledgments"].as_u64().unwrap(),
            missing.as_array().unwrap().len() as u64
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn yaml_is_converted_for_updates() {
    let exchange = recorded("package update", "POST /api/v2/update", "admin");
    let (home, coordinator) = exchange.play().await;
    home.write("u.yaml", "Packages:\n  frontend:\n    SecurityVersion: 5\n");
    succeeded(
        &coordinator
            .run(&home, &words("manifest update apply u.yaml ADDR"))
            .await,
    );
    let asked = coordinator.server.asked();
    let sent: Value = serde_json::from_slice(&asked.last().unwrap().body).unwrap();
    assert_eq!(
        bytes(&sent["manifest"]),
        br#"{"Packages":{"frontend":{"SecurityVersion":5}}}"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pending_update_is_shown_acknowledged_and_cancelled() {
    let exchange = recorded("", "GET /api/v2/update-manifest", "");
    let (home, coordinator) = exchange.play().await;
    let data: Value = serde_json::from_str(&exchange.reply).unwrap();
    let pending = bytes(&data["data"]["manifest"]);
    let words_of = |text: &'static str| text.split(' ').collect::<Vec<_>>();
    let outcome = coordinator
        .run(&home, &words_of("manifest update get ADDR"))
        .await;
    succeeded(&outcome);
    assert_eq!(outcome.stdout.as_bytes(), [&pending[..], b"\n"].concat());
    exchange.was_asked_of(&coordinator);
    succeeded(
        &coordinator
            .run(&home, &words_of("manifest update get ADDR -o pending.json"))
            .await,
    );
    assert_eq!(home.read("pending.json").as_bytes(), pending);
    assert_eq!(mode(&home.file("pending.json")), 0o600);
    let missing = "1 user still needs to acknowledge the update manifest";
    let outcome = coordinator
        .run(&home, &words_of("manifest update get ADDR --missing"))
        .await;
    succeeded(&outcome);
    assert!(
        outcome.stdout.starts_with(missing) && outcome.stdout.contains("bob"),
        "{}",
        outcome.stdout
    );
    succeeded(
        &coordinator
            .run(
                &home,
                &words_of("manifest update get ADDR --missing=true --output missing"),
            )
            .await,
    );
    assert_eq!(home.read("missing"), outcome.stdout);
    let outcome = coordinator
        .run(
            &home,
            &words_of("manifest update get ADDR --missing --format json"),
        )
        .await;
    let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(value["missingUsers"], json!(["bob"]));

    let exchange = recorded("last ack", "POST /api/v2/update-manifest", "bob");
    let (home, coordinator) = exchange.play().await;
    home.write("m.json", exchange.manifest());
    let outcome = coordinator
        .run(&home, &words("manifest update acknowledge m.json ADDR"))
        .await;
    succeeded(&outcome);
    assert_eq!(outcome.stdout, "Update manifest set successfully\n");
    exchange.was_asked_of(&coordinator);

    let exchange = recorded("", "POST /api/v2/update-cancel", "bob");
    let (home, coordinator) = exchange.play().await;
    let outcome = coordinator
        .run(&home, &words("manifest update cancel ADDR"))
        .await;
    succeeded(&outcome);
    assert_eq!(outcome.stdout, "Cancellation successful\n");
    exchange.was_asked_of(&coordinator);
}

#[tokio::test(flavor = "multi_thread")]
async fn lowered_security_versions_are_told() {
    const APPLIED: &str = "All users have acknowledged the update manifest. Update successfully applied";
    const WAITS: &str = "1 user still needs to acknowledge the update manifest";
    let waiting = json!({"missingAcknowledgments": 1, "missingUsers": ["alice"]});
    let applied = json!({"missingAcknowledgments": 0, "missingUsers": null});
    for (word, data, message, said) in [
        (
            "apply",
            &applied,
            String::new(),
            "Update manifest set successfully\n",
        ),
        (
            "apply",
            &applied,
            format!("{APPLIED}. SecurityVersion lowered: s from 6 to 2"),
            "Update manifest set successfully\nSecurityVersion lowered: s from 6 to 2\n",
        ),
        (
            "apply",
            &waiting,
            format!("{WAITS}. The update lowers SecurityVersion: s from 6 to 2"),
            "1 user still needs to acknowledge the update manifest: alice\nThe update lowers SecurityVersion: s from 6 to 2\n",
        ),
        (
            "acknowledge",
            &waiting,
            format!("{WAITS}: alice. The update lowers SecurityVersion: s from 6 to 2"),
            "1 user still needs to acknowledge the update manifest: alice\nThe update lowers SecurityVersion: s from 6 to 2\n",
        ),
    ] {
        let mut body = json!({"status": "success", "data": data});
        let place = if word == "apply" {
            &mut body
        } else {
            &mut body["data"]
        };
        place["message"] = json!(message);
        let body = body.to_string();
        let (home, coordinator) = playing(move |asked| asked.starts_with("POST").then(|| reply(&body))).await;
        home.write("user.crt", golden("bob.crt.pem"));
        home.write("user.key", golden("bob.key.pem"));
        home.write("m.json", "{}");
        let outcome = coordinator
            .run(&home, &words(&format!("manifest update {word} m.json ADDR")))
            .await;
        succeeded(&outcome);
        assert_eq!(outcome.stdout, said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_recovery_data_is_kept() {
    let recovery = json!({"one": "AQI=", "two": "AwQ="});
    for (word, line, data) in [
        (
            "apply",
            "POST /api/v2/update",
            json!({"missingAcknowledgments": 0, "missingUsers": null, "recoverySecrets": recovery}),
        ),
        (
            "acknowledge",
            "POST /api/v2/update-manifest",
            json!({
                "message": "All users have acknowledged the update manifest. Update successfully applied. Package p is lowered",
                "missingUsers": null, "missingAcknowledgments": 0, "recoverySecrets": recovery,
            }),
        ),
    ] {
        let body = json!({"status": "success", "data": data}).to_string();
        let (home, coordinator) = playing(move |asked| (asked == line).then(|| reply(&body))).await;
        home.write("user.crt", golden("bob.crt.pem"));
        home.write("user.key", golden("bob.key.pem"));
        home.write("m.json", "{}");
        let said = if word == "apply" {
            "Update manifest set successfully\n"
        } else {
            "Update manifest set successfully\nPackage p is lowered\n"
        };
        let kept = "{\"RecoverySecrets\":{\"one\":\"AQI=\",\"two\":\"AwQ=\"}}\n";
        let command = format!("manifest update {word} m.json ADDR");
        let outcome = coordinator.run(&home, &words(&command)).await;
        succeeded(&outcome);
        assert_eq!(outcome.stdout, format!("{said}{kept}"));
        let outcome = coordinator
            .run(&home, &words(&format!("{command} --recoverydata r.json")))
            .await;
        succeeded(&outcome);
        assert_eq!(outcome.stdout, format!("{said}Recovery data saved to r.json\n"));
        assert_eq!(home.read("r.json"), kept);
        assert_eq!(mode(&home.file("r.json")), 0o600);
        let outcome = coordinator
            .run(&home, &words(&format!("{command} --format json")))
            .await;
        let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(value["RecoverySecrets"], recovery);
        // Nothing is sent when the recovery data could not be kept.
        let before = coordinator.server.asked().len();
        failed(
            &coordinator
                .run(&home, &words(&format!("{command} -r no/where")))
                .await,
            "cannot write no/where",
        );
        assert_eq!(coordinator.server.asked().len(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_readable() {
    const SECRETS: &str = "POST /api/v2/secrets";
    const READ: &str = "GET /api/v2/secrets?s=shared&s=certShared";
    const UPDATE: &str = "POST /api/v2/update";
    const PENDING: &str = "POST /api/v2/update-manifest";
    const CANCEL: &str = "POST /api/v2/update-cancel";
    const GET: &str = "secret get shared certShared ADDR";
    const SET: &str = "secret set s.json ADDR";
    const APPLY: &str = "manifest update apply m.json ADDR -r recovery.json";
    const ACKNOWLEDGE: &str = "manifest update acknowledge m.json ADDR";
    for (note, line, user, command, part) in [
        (
            "read",
            READ,
            "nobody",
            GET,
            "GET /api/v2/secrets with HTTP 401: unauthorized user: client certificate did not match any MarbleRun users; --cert must be",
        ),
        (
            "read",
            READ,
            "bob",
            GET,
            "HTTP 500: user bob is not allowed to read one or more secrets of: [shared certShared]",
        ),
        (
            "wrong length",
            SECRETS,
            "admin",
            SET,
            "HTTP 500: parsing new secrets: declared size and actual size don't match: userKey",
        ),
        (
            "not user-defined",
            SECRETS,
            "admin",
            SET,
            "secret shared is not writeable",
        ),
        (
            "no permission",
            SECRETS,
            "alice",
            SET,
            "user alice is not allowed to update secret: token",
        ),
        (
            "package update without permission",
            UPDATE,
            "alice",
            APPLY,
            "user alice is not allowed to update one or more packages of [frontend]",
        ),
        (
            "downgrade",
            UPDATE,
            "admin",
            APPLY,
            "update manifest tries to downgrade SecurityVersion of the original manifest",
        ),
        (
            "full update without permission",
            UPDATE,
            "admin",
            APPLY,
            "user admin is not allowed to update the complete manifest",
        ),
        ("again", UPDATE, "alice", APPLY, "update already in progress."),
        (
            "ack other bytes",
            PENDING,
            "bob",
            ACKNOWLEDGE,
            "provided manifest does not match the pending manifest",
        ),
        (
            "ack by a user who may not",
            PENDING,
            "admin",
            ACKNOWLEDGE,
            "user admin is not allowed to acknowledge manifest updates",
        ),
        (
            "",
            CANCEL,
            "admin",
            "manifest update cancel ADDR",
            "user admin is not allowed to cancel",
        ),
        (
            "none pending",
            CANCEL,
            "bob",
            "manifest update cancel ADDR",
            "HTTP 404: no update in progress; propose one with `marblerun manifest update apply`",
        ),
    ] {
        let exchange = recorded(note, line, user);
        let (home, coordinator) = exchange.play().await;
        if let Some(body) = &exchange.body {
            if line == SECRETS {
                home.write("s.json", body["secrets"].to_string());
            } else {
                home.write("m.json", exchange.manifest());
            }
        }
        let outcome = coordinator.run(&home, &words(command)).await;
        failed(&outcome, part);
        assert_eq!(outcome.stdout, "", "{note}");
        exchange.was_asked_of(&coordinator);
        assert!(!home.file("recovery.json").exists(), "{note}");
    }
    let exchange = recorded("before any manifest", "GET /api/v2/update-manifest", "");
    let (home, coordinator) = exchange.play().await;
    failed(
        &coordinator
            .run(&home, &["manifest", "update", "get", "ADDR"])
            .await,
        "HTTP 404: no update in progress; propose one with",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_does_not_know_the_endpoints_is_named() {
    let (home, coordinator) = playing(|_| None).await;
    home.write("user.crt", golden("alice.crt.pem"));
    home.write("user.key", golden("alice.key.pem"));
    home.write("m.json", "{}");
    home.write("s.json", r#"{"token":{"Key":"aHVudGVyMg=="}}"#);
    for (command, request) in [
        ("manifest update apply m.json ADDR", "POST /api/v2/update"),
        (
            "manifest update acknowledge m.json ADDR",
            "POST /api/v2/update-manifest",
        ),
        ("manifest update cancel ADDR", "POST /api/v2/update-cancel"),
        ("secret get token ADDR", "GET /api/v2/secrets"),
        ("secret set s.json ADDR", "POST /api/v2/secrets"),
    ] {
        let outcome = coordinator.run(&home, &words(command)).await;
        failed(
            &outcome,
            &format!("does not offer {request} (HTTP 405): its version does not know this endpoint"),
        );
        assert!(!outcome.stderr.contains("aHVudGVyMg"), "{}", outcome.stderr);
    }
    failed(
        &coordinator
            .run(&home, &["manifest", "update", "get", "ADDR"])
            .await,
        "does not offer GET /api/v2/update-manifest",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_coordinator_gets_nothing() {
    let exchange = recorded("write", "POST /api/v2/secrets", "admin");
    let ((home, _first), (_, second)) = (exchange.play().await, exchange.play().await);
    home.write("s.json", r#"{"token":{"Key":"aGVsbG8="}}"#);
    home.write("m.json", "{}");
    for command in [
        "secret set s.json ADDR",
        "secret get token ADDR",
        "manifest update apply m.json ADDR",
        "manifest update cancel ADDR",
    ] {
        failed(
            &second.run(&home, &words(command)).await,
            "presents another root certificate than the pinned one",
        );
    }
    assert!(second.server.asked().is_empty());
}

#[test]
fn what_users_must_bring_is_asked_for_first() {
    let home = Home::new();
    home.write("m.json", "{}");
    home.write("s.json", r#"{"token":{"Key":"aGVsbG8="}}"#);
    home.write("bad.json", r#"{"token":{"Key":"hunter2!"}}"#);
    home.write("alice.crt", golden("alice.crt.pem"));
    home.write("alice.key", golden("alice.key.pem"));
    home.write("bob.key", golden("bob.key.pem"));
    for (command, part) in [
        (
            "manifest update apply m.json localhost:1",
            "with --cert and --key",
        ),
        (
            "manifest update acknowledge m.json localhost:1",
            "with --cert and --key",
        ),
        ("manifest update cancel localhost:1", "with --cert and --key"),
        ("secret get token localhost:1", "with --cert and --key"),
        ("secret set s.json localhost:1", "with --cert and --key"),
        ("secret set s.json localhost:1 -c alice.crt", "--cert needs --key"),
        ("secret set s.json localhost:1 -k alice.key", "--key needs --cert"),
        (
            "secret set s.json localhost:1 -c alice.crt -k bob.key",
            "alice.crt and bob.key do not make a user: the private key does not belong to the certificate",
        ),
        (
            "secret set s.json localhost:1 -c alice.crt -k none",
            "cannot open none",
        ),
        (
            "secret set s.json localhost:1 -c none -k alice.key",
            "cannot open none",
        ),
        (
            "secret set s.json localhost:1 -c alice.key -k alice.key",
            "it holds no PEM block CERTIFICATE",
        ),
        (
            "secret get localhost:1 -c alice.crt -k alice.key",
            "expected the names of secrets",
        ),
        (
            "secret get token localhost -c alice.crt -k alice.key",
            "host:port",
        ),
        ("secret set none localhost:1", "cannot open none"),
        ("secret set m.json localhost:1", "it names no secret"),
        ("secret set bad.json localhost:1", "token.Key: not base64"),
        (
            "secret set s.json localhost:1 --from-pem x",
            "it has no block CERTIFICATE",
        ),
        ("manifest update apply none localhost:1", "cannot open none"),
        ("manifest update get localhost:1", "no Coordinator is pinned"),
        (
            "secret set s.json localhost:1 -c alice.crt -k alice.key",
            "no Coordinator is pinned",
        ),
        (
            "secret set s.json localhost:1 -i -c alice.crt -k alice.key",
            "cannot reach",
        ),
    ] {
        let outcome = home.run(&command.split(' ').collect::<Vec<_>>());
        failed(&outcome, part);
        assert_eq!(outcome.stdout, "", "{command}");
        assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn states_are_exported_into_new_files() {
    let (home, coordinator) = playing(|asked| {
        (asked == "POST /api/v2/state/export")
            .then(|| reply(&json!({"status": "success", "data": {"sealedData": "AAEC"}}).to_string()))
    })
    .await;
    home.write("user.crt", golden("alice.crt.pem"));
    home.write("user.key", golden("alice.key.pem"));
    let export = words("state export ADDR -o exported");
    let outcome = coordinator.run(&home, &export).await;
    succeeded(&outcome);
    assert_eq!(outcome.stdout, "State exported to: exported\n");
    assert_eq!(std::fs::read(home.file("exported")).unwrap(), [0, 1, 2]);
    assert_eq!(mode(&home.file("exported")), 0o600);
    // What is there may be the only copy of a state.
    failed(
        &coordinator.run(&home, &export).await,
        "exported is there already and is not overwritten",
    );
    failed(
        &coordinator
            .run(&home, &["state", "export", "ADDR", "-o", "x"])
            .await,
        "--cert and --key",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_export_writes_nothing() {
    let (home, coordinator) = playing(|asked| {
        (asked == "POST /api/v2/state/export").then(|| {
            let body =
                json!({"status": "error", "data": null, "message": "the manifest has no recovery keys"});
            refusal(StatusCode::INTERNAL_SERVER_ERROR, &body.to_string())
        })
    })
    .await;
    home.write("user.crt", golden("alice.crt.pem"));
    home.write("user.key", golden("alice.key.pem"));
    failed(
        &coordinator
            .run(&home, &words("state export ADDR -o exported"))
            .await,
        "the manifest has no recovery keys",
    );
    assert!(!home.file("exported").exists());
}
