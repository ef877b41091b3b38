//! Users and marbles at the client API: who gets in, what they may do, how large it may be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::program::{Program, manifest, start, uuid};
use crate::support::users::{Users, upload, wrapped};
use crate::support::{ClientIdentity, connect};

/// What only users may ask, in both versions.
const OF_USERS: [(&str, &str); 5] = [
    ("GET", "/secrets?s=token"),
    ("POST", "/secrets"),
    ("POST", "/update"),
    ("POST", "/update-manifest"),
    ("POST", "/update-cancel"),
];

async fn deployed(directory: &std::path::Path, flags: &[&str]) -> (Program, Users) {
    let (program, users) = (start(directory, flags), Users::new());
    program.set_manifest(&users.manifest()).await;
    (program, users)
}

/// The identity of an instance of `counting`.
async fn marble(program: &Program, uuid: &str) -> ClientIdentity {
    ClientIdentity::of_marble(&program.activate("counting", uuid).await.unwrap())
}

fn message(reply: &Value) -> &str {
    reply["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn who_is_nobody_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = (start(directory.path(), &[]), Users::new());
    for deployed in [false, true] {
        if deployed {
            program.set_manifest(&users.manifest()).await;
        }
        for caller in [None, Some(&users.nobody)] {
            for (method, path) in OF_USERS {
                for (prefix, status) in [("", "error"), ("/api/v2", "fail")] {
                    let path = format!("{prefix}{path}");
                    let (code, reply) = program.ask_as(caller, method, &path, "{bad").await;
                    assert_eq!((code, &reply["status"]), (401, &json!(status)), "{path}: {reply}");
                    assert_eq!(reply["data"], Value::Null, "{path}");
                    assert!(
                        message(&reply).starts_with("unauthorized user:"),
                        "{path}: {reply}"
                    );
                }
            }
        }
    }
    // A user is no marble, and a marble without roles is no user.
    let marble = marble(&program, &uuid()).await;
    let (code, reply) = program
        .ask_as(&marble, "GET", "/api/v2/secrets?s=token", "")
        .await;
    assert_eq!(code, 401, "{reply}");
    for caller in [None, Some(&users.nobody), Some(&users.admin)] {
        let (code, reply) = program
            .ask_as(caller, "POST", "/api/v2/monotonic-counter", "{bad")
            .await;
        assert_eq!((code, &reply["status"]), (401, &json!("fail")), "{reply}");
        assert!(message(&reply).starts_with("unauthorized marble:"), "{reply}");
    }
}

#[tokio::test]
async fn the_body_of_nobody_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = deployed(directory.path(), &[]).await;
    for (path, code) in [
        ("/api/v2/secrets", "401"),
        ("/update", "401"),
        ("/api/v2/update-manifest", "401"),
        ("/api/v2/monotonic-counter", "401"),
    ] {
        let mut tls = connect(program.client, Some(&users.nobody), &["http/1.1"])
            .await
            .unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n");
        tls.write_all(head.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        tls.read_exact(&mut start).await.unwrap();
        assert_eq!(start, *format!("HTTP/1.1 {code}").as_bytes(), "{path}");
    }
}

#[tokio::test]
async fn a_closed_gate_comes_before_everything() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    for deployed in [false, true] {
        if deployed {
            program.set_manifest(&manifest()).await;
        }
        for (path, gate) in [
            ("/api/v2/sign-quote", "SignQuoteEndpoint"),
            ("/api/v2/monotonic-counter", "MonotonicCounter"),
        ] {
            let (code, reply) = program.ask("POST", path, "{bad").await;
            assert_eq!((code, &reply["status"]), (403, &json!("error")), "{reply}");
            assert!(message(&reply).contains(gate), "{reply}");
            assert_eq!(program.ask("GET", path, "").await.0, 405, "{path}");
        }
    }
}

#[tokio::test]
async fn a_missing_permission_has_the_code_of_its_version() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = deployed(directory.path(), &[]).await;
    let packages = json!({"Packages": {"web": {"SecurityVersion": 5}}});
    let mut next = users.manifest();
    next["Config"]["UpdateThreshold"] = json!(2);
    let plain = json!({"token": {"Key": "eA=="}}).to_string();
    let both = [("alice", &users.alice), ("admin", &users.admin)];
    let [alice, admin] = both;
    let cases = [
        (
            alice,
            "GET",
            "/secrets?s=token",
            String::new(),
            String::new(),
            400,
        ),
        (alice, "POST", "/secrets", plain, upload([("token", "x")]), 400),
        (
            alice,
            "POST",
            "/update",
            packages.to_string(),
            wrapped(&packages),
            400,
        ),
        (admin, "POST", "/update", next.to_string(), wrapped(&next), 400),
        (
            admin,
            "POST",
            "/update-manifest",
            next.to_string(),
            wrapped(&next),
            500,
        ),
        (admin, "POST", "/update-cancel", String::new(), String::new(), 500),
    ];
    for ((name, caller), method, path, v1, v2, code) in cases {
        for (path, body, code) in [(path.to_owned(), v1, code), (format!("/api/v2{path}"), v2, 500)] {
            let (status, reply) = program.ask_as(caller, method, &path, body).await;
            assert_eq!(
                (status, &reply["status"]),
                (code, &json!("error")),
                "{path}: {reply}"
            );
            let start = format!("user {name} is not allowed to ");
            assert!(message(&reply).starts_with(&start), "{path}: {reply}");
        }
    }
    assert_eq!(
        program.update_log().await.len(),
        1,
        "what is refused leaves no entry"
    );
    for path in ["/update-manifest", "/api/v2/update-manifest"] {
        let (code, reply) = program.ask_as(&users.alice, "GET", path, "").await;
        assert_eq!((code, message(&reply)), (404, "no update in progress"));
        let (code, reply) = program.ask_as(&users.alice, "POST", path, wrapped(&next)).await;
        assert_eq!((code, message(&reply)), (404, "no update in progress"), "{path}");
    }
}

#[tokio::test]
async fn bodies_have_their_limits() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = deployed(directory.path(), &["--limit-manifest", "100000"]).await;
    let marble = marble(&program, &uuid()).await;
    let spaces = |length: usize| " ".repeat(length);
    for (caller, path, length) in [
        (&users.admin, "/secrets", 6 << 20),
        (&users.admin, "/api/v2/secrets", 6 << 20),
        (&users.alice, "/update", 100_001),
        (&users.alice, "/api/v2/update", 1_300_000),
        (&users.alice, "/update-manifest", 100_001),
        (&users.alice, "/api/v2/update-manifest", 1_300_000),
        (&marble, "/api/v2/monotonic-counter", (1 << 20) + 1),
        (&marble, "/api/v2/sign-quote", (1 << 20) + 1),
    ] {
        let mut tls = connect(program.client, Some(caller), &["http/1.1"])
            .await
            .unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        tls.write_all(head.as_bytes()).await.unwrap();
        // Some clients send before they read; the server reads only so much of it.
        let _ = tls.write_all(spaces(length.min(500_000)).as_bytes()).await;
        if length <= 1 << 20 {
            let _ = tls
                .write_all(spaces(length - length.min(500_000)).as_bytes())
                .await;
        }
        let mut start = [0; 12];
        tls.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 413", "{path}");
    }
    // The largest secret, and what is no JSON.
    let large = "x".repeat(4 << 20);
    program
        .v2(
            &users.admin,
            "POST",
            "secrets",
            upload([("token", large.as_str())]),
        )
        .await;
    assert_eq!(program.read(&users.admin, &["token"]).await, [Some(large)]);
    for (path, status) in [
        ("/secrets", "error"),
        ("/api/v2/secrets", "fail"),
        ("/api/v2/update", "fail"),
        ("/api/v2/update-manifest", "fail"),
    ] {
        for bad in ["{bad", "[]", "", "{\"manifest\":1,\"secrets\":1,\"token\":1}"] {
            let (code, reply) = program.ask_as(&users.admin, "POST", path, bad).await;
            assert_eq!(
                (code, &reply["status"]),
                (400, &json!(status)),
                "{path} {bad}: {reply}"
            );
        }
    }
}

#[tokio::test]
async fn bodies_of_the_other_version_are_not_taken_for_empty_ones() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = deployed(directory.path(), &[]).await;
    let admin = &users.admin;
    let of_version_1 = json!({"token": {"Key": "aGVsbG8="}}).to_string();
    for body in [
        of_version_1.as_str(),
        "{}",
        r#"{"secrets":null}"#,
        r#"{"secrets":{}}"#,
    ] {
        let (code, reply) = program
            .ask_as(admin, "POST", "/api/v2/secrets", body.to_owned())
            .await;
        assert_eq!((code, &reply["status"]), (400, &json!("fail")), "{body}: {reply}");
        assert!(
            message(&reply).starts_with("secrets: missing or empty"),
            "{reply}"
        );
    }
    let (code, reply) = program.ask_as(admin, "POST", "/secrets", "{}").await;
    assert_eq!((code, &reply["status"]), (400, &json!("error")), "{reply}");
    assert_eq!(program.read(admin, &["token"]).await, [None]);
    let manifest = users.manifest().to_string();
    let directory = tempfile::tempdir().unwrap();
    let without_manifest = start(directory.path(), &[]);
    for (program, user, path) in [
        (&without_manifest, None, "/api/v2/manifest"),
        (&program, Some(&users.alice), "/api/v2/update"),
        (&program, Some(&users.alice), "/api/v2/update-manifest"),
    ] {
        for body in [manifest.as_str(), "{}", r#"{"manifest":""}"#] {
            let (code, reply) = program.ask_as(user, "POST", path, body.to_owned()).await;
            assert_eq!(
                (code, &reply["status"]),
                (400, &json!("fail")),
                "{path} {body}: {reply}"
            );
            assert!(
                message(&reply).starts_with("manifest: missing or empty"),
                "{path}: {reply}"
            );
        }
    }
}

#[tokio::test]
async fn secrets_are_written_and_read_in_both_versions() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = deployed(directory.path(), &[]).await;
    let admin = &users.admin;
    // Names of fields in any case, names of secrets not; unknown fields are ignored.
    let body = json!({"SECRETS": {"token": {"KEY": "aGVsbG8=", "more": 1}}, "more": []}).to_string();
    assert_eq!(program.v2(admin, "POST", "secrets", body).await, Value::Null);
    assert_eq!(program.read(admin, &["token"]).await, [Some("hello".to_owned())]);
    let value = |data: &Value| data["token"]["Private"].clone();
    let (_, reply) = program.ask_as(admin, "GET", "/secrets?s=token", "").await;
    assert_eq!(value(&reply["data"]), "aGVsbG8=");

    let body =
        json!({"token": {"Key": STANDARD.encode("other")}, "uploaded": {"Key": STANDARD.encode([7; 16])}});
    let (code, reply) = program.ask_as(admin, "POST", "/secrets", body.to_string()).await;
    assert_eq!((code, &reply["data"]), (200, &Value::Null), "{reply}");
    assert_eq!(program.read(admin, &["token"]).await, [Some("other".to_owned())]);
    let marble = program.activate("unset", &uuid()).await.unwrap();
    assert_eq!(marble.env["KEY"], "07".repeat(16).as_bytes());

    // All or nothing.
    let body = json!({"secrets": {"token": {"Key": "eA=="}, "uploaded": {"Key": "eA=="}}}).to_string();
    let (code, reply) = program.ask_as(admin, "POST", "/api/v2/secrets", body).await;
    assert_eq!(code, 500, "{reply}");
    assert!(
        message(&reply).contains("declared size and actual size don't match"),
        "{reply}"
    );
    assert_eq!(program.read(admin, &["token"]).await, [Some("other".to_owned())]);
    // An empty plain secret has no value.
    program
        .v2(admin, "POST", "secrets", upload([("token", "")]))
        .await;
    assert_eq!(program.read(admin, &["token"]).await, [None]);

    // A marble with roles counts as a user.
    let teller = program.activate("teller", &uuid()).await.unwrap();
    let teller = ClientIdentity::of_marble(&teller);
    assert_eq!(program.read(&teller, &["token"]).await, [None]);
    let (code, reply) = program
        .ask_as(&teller, "GET", "/api/v2/secrets?s=token&s=shared", "")
        .await;
    assert_eq!(code, 500, "{reply}");
    assert!(message(&reply).starts_with("user teller/"), "{reply}");

    // Who read and wrote what is in the log of the server; what was written also in the update log.
    let log = program.log();
    for line in ["secrets were read", "secrets were written"] {
        let line = log.lines().find(|text| text.contains(line)).unwrap();
        assert!(line.contains("admin") && line.contains("token"), "{line}");
    }
    let entries = program.update_log().await;
    assert_eq!(entries.len(), 5);
    assert!(
        entries[1..]
            .iter()
            .all(|entry| entry["update"] == "Secret set" && entry["user"] == "admin")
    );
}

#[tokio::test]
async fn counters_rise_and_belong_to_an_instance() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = deployed(directory.path(), &[]).await;
    let (one, two) = (uuid(), uuid());
    let (first, second) = (marble(&program, &one).await, marble(&program, &two).await);
    let set = async |program: &Program, marble: &ClientIdentity, value: u64| {
        let body = json!({"name": "c", "value": value}).to_string();
        program.v2(marble, "POST", "monotonic-counter", body).await["value"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(set(&program, &first, u64::MAX - 1).await, 0);
    assert_eq!(set(&program, &first, 3).await, u64::MAX - 1);
    assert_eq!(set(&program, &second, 3).await, 0);
    for (body, code) in [
        (json!({"name": "", "value": 1}), 400),
        (json!({"name": "n".repeat(254), "value": 1}), 400),
        (json!({"name": "c", "value": -1}), 400),
        (json!({"name": "c", "value": "1"}), 400),
        (json!({"name": "n".repeat(253), "value": 1}), 200),
    ] {
        let body = body.to_string();
        let (status, reply) = program
            .ask_as(&first, "POST", "/api/v2/monotonic-counter", body)
            .await;
        assert_eq!(status, code, "{reply}");
    }
    // Many at once: each sees what was there before it.
    let program = std::sync::Arc::new(program);
    let mut tasks = tokio::task::JoinSet::new();
    for value in 4..36 {
        let (program, second) = (std::sync::Arc::clone(&program), second.clone());
        tasks.spawn(async move {
            let body = json!({"name": "c", "value": value}).to_string();
            program.v2(&second, "POST", "monotonic-counter", body).await;
        });
    }
    tasks.join_all().await;
    assert_eq!(set(&program, &second, 0).await, 35);

    // With a new Marble root the old certificate is nobody's; the counter goes on with the instance.
    let raise = wrapped(&json!({"Packages": {"web": {"SecurityVersion": 4}}}));
    program.v2(&users.admin, "POST", "update", raise).await;
    let body = json!({"name": "c", "value": 1}).to_string();
    let (code, reply) = program
        .ask_as(&second, "POST", "/api/v2/monotonic-counter", body)
        .await;
    assert_eq!(code, 401, "{reply}");
    let second = marble(&program, &two).await;
    assert_eq!(set(&program, &second, 0).await, 35);

    let program = std::sync::Arc::into_inner(program).unwrap();
    program.end(rustix::process::Signal::KILL);
    let program = start(directory.path(), &[]);
    assert_eq!(set(&program, &second, 0).await, 35);
}

#[tokio::test]
async fn quotes_are_not_verifiable_in_simulation() {
    let directory = tempfile::tempdir().unwrap();
    let (program, _) = deployed(directory.path(), &[]).await;
    for quote in ["", "bm9uZQ==", &STANDARD.encode(vec![3; 300 << 10])] {
        let body = json!({"sgxQuote": quote}).to_string();
        let (code, reply) = program.ask("POST", "/api/v2/sign-quote", body).await;
        assert_eq!((code, &reply["status"]), (400, &json!("fail")), "{reply}");
        assert!(reply["data"]["sgxQuote"].as_str().unwrap().len() > 10, "{reply}");
    }
    let (code, reply) = program
        .ask("POST", "/api/v2/sign-quote", "{\"sgxQuote\":\"!\"}")
        .await;
    assert_eq!((code, &reply["data"]), (400, &Value::Null), "{reply}");
}
