//! What the Coordinator tells its operators' monitoring, after real traffic.

mod text;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http_body_util::BodyExt as _;
use marblerun_attestation::ReportBinding;
use marblerun_attestation::fakes::{SoftwareIssuer, SoftwareProfile};
use marblerun_attestation::issue::Issuer as _;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::program::{Program, manifest, start, uuid};
use crate::support::users::{Users, upload, wrapped};
use crate::support::{ClientIdentity, connect, http1, http2, request};
use text::Scraped;

/// A Coordinator that is monitored, and where.
async fn monitored(directory: &Path) -> (Program, SocketAddr) {
    let program = start(directory, &["--prometheus-addr", "127.0.0.1:0"]);
    let ready: Value = serde_json::from_slice(&std::fs::read(directory.join("ready")).unwrap()).unwrap();
    (program, ready["metrics"].as_str().unwrap().parse().unwrap())
}

/// Code, header and body of the answer.
async fn get(address: SocketAddr, path: &str, header: &str) -> (u16, String, String) {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nhost: x\r\n{header}connection: close\r\n\r\n"),
    )
    .await
}

async fn ask(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    let (header, body) = answer.split_once("\r\n\r\n").unwrap();
    (header[9..12].parse().unwrap(), header.to_owned(), body.to_owned())
}

async fn scrape(address: SocketAddr) -> Scraped {
    let (code, header, text) = get(address, "/metrics", "").await;
    assert_eq!(code, 200);
    assert!(
        header.contains("content-type: text/plain; version=0.0.4"),
        "{header}"
    );
    Scraped::read(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// The names of `spec/11`, and the labels beside `mode`, which only a simulation has.
const EXPECTED: [(&str, &[&str]); 18] = [
    ("coordinator_state", &[]),
    ("coordinator_version_info", &["version", "commit"]),
    ("coordinator_marble_activations_total", &["type"]),
    ("coordinator_marble_activations_success_total", &["type"]),
    ("coordinator_refusals_total", &["reason"]),
    ("coordinator_commit_duration_seconds", &[]),
    ("coordinator_state_bytes", &[]),
    ("coordinator_quote_verification_duration_seconds", &[]),
    ("coordinator_collateral_age_seconds", &[]),
    (
        "server_client_api_http_request_total",
        &["path", "code", "method"],
    ),
    (
        "server_client_api_http_request_duration_histogram_seconds",
        &["path", "method"],
    ),
    ("server_client_api_http_request_size_histogram_bytes", &["path"]),
    ("server_client_api_http_response_size_histogram_bytes", &["path"]),
    ("server_client_api_http_in_flight_requests", &["path"]),
    (
        "grpc_server_started_total",
        &["grpc_type", "grpc_service", "grpc_method"],
    ),
    (
        "grpc_server_handled_total",
        &["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
    ),
    (
        "grpc_server_msg_received_total",
        &["grpc_type", "grpc_service", "grpc_method"],
    ),
    (
        "grpc_server_msg_sent_total",
        &["grpc_type", "grpc_service", "grpc_method"],
    ),
];

#[tokio::test]
async fn the_names_are_those_of_the_specification_and_the_numbers_true() {
    let directory = tempfile::tempdir().unwrap();
    let (program, monitoring) = monitored(directory.path()).await;
    let before = scrape(monitoring).await;
    assert_eq!(before.value("coordinator_state", &[]), 2.0);
    assert_eq!(before.value("coordinator_state_bytes", &[]), 0.0);

    program.set_manifest(&manifest()).await;
    for _ in 0..11 {
        let _ = program.activate("few", &uuid()).await;
    }
    program.activate("plain", &uuid()).await.unwrap();
    assert!(program.activate("nothing", &uuid()).await.is_err());
    program.ask("GET", "/api/v2/secrets?s=a", "").await;

    let scraped = scrape(monitoring).await;
    let names: BTreeSet<String> = EXPECTED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(scraped.names(), names);
    for (name, labels) in EXPECTED {
        let expected = labels
            .iter()
            .chain(&["mode"])
            .map(|label| (*label).to_owned())
            .collect();
        assert_eq!(scraped.labels(name), expected, "{name}");
    }
    assert_eq!(scraped.values("mode"), ["SIMULATION".to_owned()].into());
    assert_eq!(scraped.value("coordinator_state", &[]), 3.0);
    let stored = std::fs::metadata(directory.path().join("state/sealed_data"))
        .unwrap()
        .len();
    assert_eq!(scraped.value("coordinator_state_bytes", &[]), stored as f64);
    for (marble_type, asked, succeeded) in [("few", 11.0, 10.0), ("plain", 1.0, 1.0)] {
        let of = |name| scraped.value(name, &[("type", marble_type)]);
        assert_eq!(of("coordinator_marble_activations_total"), asked);
        assert_eq!(of("coordinator_marble_activations_success_total"), succeeded);
    }
    // Setting the manifest, and ten activations that count.
    assert_eq!(
        scraped.value("coordinator_commit_duration_seconds_count", &[]),
        11.0
    );
    assert_eq!(scraped.value("grpc_server_started_total", &[]), 13.0);
    assert_eq!(
        scraped.value("grpc_server_handled_total", &[("grpc_code", "OK")]),
        11.0
    );
    assert_eq!(scraped.value("grpc_server_msg_sent_total", &[]), 11.0);
    let manifest_set = [("path", "/manifest"), ("method", "POST"), ("code", "200")];
    assert_eq!(
        scraped.value("server_client_api_http_request_total", &manifest_set),
        1.0
    );
    let manifest_set = [("path", "/manifest")];
    let sent = scraped.value(
        "server_client_api_http_request_size_histogram_bytes_sum",
        &manifest_set,
    );
    assert_eq!(sent, manifest().to_string().len() as f64);
    assert_eq!(
        scraped.value("coordinator_refusals_total", &[("reason", "unauthenticated")]),
        1.0
    );
    assert_eq!(
        scraped.value("server_client_api_http_in_flight_requests", &manifest_set),
        0.0
    );
}

#[tokio::test]
async fn evidence_that_is_verified_is_timed() {
    let directory = tempfile::tempdir().unwrap();
    let (program, address) = monitored(directory.path()).await;
    program.set_manifest(&manifest()).await;
    let timed = async || {
        let scraped = scrape(address).await;
        scraped.value("coordinator_quote_verification_duration_seconds_count", &[])
    };
    assert_eq!(timed().await, 0.0);
    let profile = SoftwareProfile::new("sgx", None, None).unwrap();
    let issuer = SoftwareIssuer::development(profile).unwrap();
    for _ in 0..3 {
        let quote = |certificate: &[u8]| issuer.quote(&ReportBinding::certificate(certificate)).unwrap();
        program.activate_with("plain", &uuid(), quote).await.unwrap();
    }
    assert_eq!(timed().await, 3.0);
}

#[tokio::test]
async fn the_newer_format_is_given_to_who_asks_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let (_program, monitoring) = monitored(directory.path()).await;
    let accept = "accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let (_, header, text) = get(monitoring, "/metrics", accept).await;
    assert!(
        header.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{header}"
    );
    assert!(text.ends_with("\n# EOF\n"));
    assert!(text.contains("# TYPE coordinator_refusals counter\n"));
    assert!(text.contains("# TYPE coordinator_version info\n"));
    let (code, ..) = get(monitoring, "/elsewhere", "").await;
    assert_eq!(code, 404);
    let post = "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert_eq!(ask(monitoring, post).await.0, 405);
}

/// Requests of any kind, of somebody whom nobody knows.
async fn noise(program: &Program, seed: usize) {
    let mut sender = http1(connect(program.client, None, &["http/1.1"]).await.unwrap()).await;
    let known = marblerun_wire::rest::path::ALL;
    for round in 0..40 {
        let number = seed * 1_000 + round;
        let path = match round % 4 {
            0 => known[round % known.len()].to_owned(),
            1 => format!("/api/v2/{number}"),
            2 => format!("{}?s={number}", known[round % known.len()]),
            _ => format!("/{number}\"\\{{}}"),
        };
        let own = format!("M{number}");
        let method = ["GET", "POST", "HEAD", "DELETE", own.as_str()][number % 5];
        let Ok(_) = path.parse::<http::Uri>() else {
            continue;
        };
        assert!(Method::from_bytes(method.as_bytes()).is_ok());
        if let Ok(reply) = sender.send_request(request(method, &path, "{}")).await {
            crate::support::read(reply).await;
        } else {
            sender = http1(connect(program.client, None, &["http/1.1"]).await.unwrap()).await;
        }
    }
    for round in 0..5 {
        let marble_type = format!("type{}\"\n", seed * 1_000 + round);
        assert!(program.activate(&marble_type, &uuid()).await.is_err());
    }
}

/// The marble types of a manifest.
fn types_of(manifest: &Value) -> BTreeSet<String> {
    manifest["Marbles"].as_object().unwrap().keys().cloned().collect()
}

/// The number of samples, which stands for the size of the text.
fn samples(scraped: &Scraped) -> usize {
    scraped.samples.values().map(Vec::len).sum()
}

#[tokio::test]
async fn strangers_cannot_make_it_longer() {
    let directory = tempfile::tempdir().unwrap();
    let (program, monitoring) = monitored(directory.path()).await;
    program.set_manifest(&manifest()).await;
    // Each operation and method with each code that a stranger gets, once.
    for path in marblerun_wire::rest::path::ALL {
        for method in ["GET", "POST"] {
            for query in ["", "?s=1", "?nonce=!"] {
                program.ask(method, &format!("{path}{query}"), "{}").await;
            }
        }
    }
    program.activate("plain", &uuid()).await.unwrap();
    assert!(program.activate("nothing", &uuid()).await.is_err());
    noise(&program, 0).await;
    let before = scrape(monitoring).await;
    for seed in 1..8 {
        noise(&program, seed).await;
    }
    let after = scrape(monitoring).await;
    assert_eq!(samples(&after), samples(&before));
    let known: BTreeSet<String> = marblerun_wire::rest::path::ALL
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(after.values("path").is_subset(&known));
    assert_eq!(after.values("type"), types_of(&manifest()));
    assert_eq!(
        after.values("method"),
        ["GET".to_owned(), "POST".to_owned()].into()
    );
    let refused =
        |scraped: &Scraped| scraped.value("coordinator_refusals_total", &[("reason", "no_such_operation")]);
    assert!(refused(&after) > refused(&before) + 100.0);
}

#[tokio::test]
async fn whoever_names_types_without_being_let_in_makes_it_no_longer() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--prometheus-addr", "127.0.0.1:0", "--simulation-strict"];
    let program = start(directory.path(), &flags);
    let ready: Value =
        serde_json::from_slice(&std::fs::read(directory.path().join("ready")).unwrap()).unwrap();
    let monitoring = ready["metrics"].as_str().unwrap().parse().unwrap();
    // More than have numbers from the beginning.
    let mut large = manifest();
    for number in 0..1_001 {
        large["Marbles"][format!("m{number}")] = large["Marbles"]["plain"].clone();
    }
    program.set_manifest(&large).await;
    assert!(program.activate("m0", &uuid()).await.is_err());
    let before = scrape(monitoring).await;
    for number in 1..30 {
        assert!(program.activate(&format!("m{number}"), &uuid()).await.is_err());
    }
    let after = scrape(monitoring).await;
    assert_eq!(samples(&after), samples(&before));
    assert!(after.values("type").is_empty());
}

#[tokio::test]
async fn the_number_of_marbles_does_not_make_it_longer() {
    let directory = tempfile::tempdir().unwrap();
    let (program, monitoring) = monitored(directory.path()).await;
    program.set_manifest(&manifest()).await;
    program.activate("plain", &uuid()).await.unwrap();
    let before = scrape(monitoring).await;
    let mut last = String::new();
    for _ in 0..300 {
        last = uuid();
        program.activate("plain", &last).await.unwrap();
    }
    assert_eq!(samples(&scrape(monitoring).await), samples(&before));
    let (_, header, events) = get(monitoring, "/events", "").await;
    assert!(header.contains("content-type: application/json"), "{header}");
    let events: Vec<Value> = serde_json::from_str(&events).unwrap();
    assert_eq!(events.len(), 256);
    let event = events.last().unwrap();
    let expected = json!({"marbleType": "plain", "uuid": last, "quote": null});
    assert_eq!(event["activation"], expected);
    let time = event["time"].as_str().unwrap();
    assert!(
        time.len() == 24 && time.ends_with('Z') && event.as_object().unwrap().len() == 2,
        "{event}"
    );
}

#[tokio::test]
async fn types_that_an_update_drops_are_no_longer_told() {
    let directory = tempfile::tempdir().unwrap();
    let (program, monitoring) = monitored(directory.path()).await;
    let users = Users::new();
    program.set_manifest(&users.manifest()).await;
    for marble_type in ["plain", "counting"] {
        program.activate(marble_type, &uuid()).await.unwrap();
    }
    assert_eq!(
        scrape(monitoring).await.values("type"),
        types_of(&users.manifest())
    );
    let mut next = users.manifest();
    next["Marbles"].as_object_mut().unwrap().remove("counting");
    program.v2(&users.alice, "POST", "update", wrapped(&next)).await;
    program
        .v2(&users.bob, "POST", "update-manifest", wrapped(&next))
        .await;
    assert_eq!(scrape(monitoring).await.values("type"), types_of(&next));
}

#[tokio::test]
async fn no_secret_is_in_metrics_or_events() {
    const CANARY: &str = "canary-5b1d0f7e";
    let directory = tempfile::tempdir().unwrap();
    let (program, monitoring) = monitored(directory.path()).await;
    let users = Users::new();
    program.set_manifest(&users.manifest()).await;
    program
        .v2(&users.admin, "POST", "secrets", upload([("token", CANARY)]))
        .await;
    let parameters = program.activate("plain", &uuid()).await.unwrap();
    let (_, reply) = program
        .ask_as(&users.admin, "GET", "/api/v2/secrets?s=token&s=shared", "")
        .await;
    assert_eq!(reply["status"], "success");

    let accept = "accept: application/openmetrics-text\r\n";
    let mut told = String::new();
    for (path, header) in [
        ("/metrics", ""),
        ("/metrics", accept),
        ("/events", ""),
        ("/healthz", ""),
        ("/readyz", ""),
    ] {
        told += &get(monitoring, path, header).await.2;
    }
    assert!(told.contains("coordinator_state") && told.contains("\"marbleType\":\"plain\""));
    let shared = reply["data"]["secrets"]["shared"]["Private"].as_str().unwrap();
    let mut secrets = vec![CANARY.as_bytes().to_vec(), STANDARD.decode(shared).unwrap()];
    secrets.extend(parameters.env.values().chain(parameters.files.values()).cloned());
    for secret in secrets.iter().filter(|secret| secret.len() >= 8) {
        for form in [
            String::from_utf8_lossy(secret).into_owned(),
            hex::encode(secret),
            STANDARD.encode(secret),
        ] {
            assert!(!told.contains(&form), "{form}");
        }
    }
}

#[tokio::test]
async fn health_is_told_in_every_phase() {
    let directory = tempfile::tempdir().unwrap();
    let (program, monitoring) = monitored(directory.path()).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(monitoring, path, "").await.0, 200);
    }
    program.set_manifest(&manifest()).await;
    program.end(Signal::TERM);
    std::fs::remove_file(directory.path().join("state/sealed_key")).unwrap();
    let (_program, monitoring) = monitored(directory.path()).await;
    assert_eq!(scrape(monitoring).await.value("coordinator_state", &[]), 1.0);
    assert_eq!(get(monitoring, "/readyz", "").await.0, 200);
    drop(_program);
    // Nobody asked for it: nobody serves it.
    let directory = tempfile::tempdir().unwrap();
    let _program = start(directory.path(), &[]);
    let ready = std::fs::read_to_string(directory.path().join("ready")).unwrap();
    assert!(!ready.contains("metrics"), "{ready}");
}

#[tokio::test]
async fn who_holds_connections_to_it_keeps_no_probe_out() {
    let directory = tempfile::tempdir().unwrap();
    let (_program, monitoring) = monitored(directory.path()).await;
    // More than are served at a time: silent, in the middle of a header, asking again on the same connection, and not
    // reading the reply.
    let mut held = Vec::new();
    for number in 0..60 {
        let mut tcp = TcpStream::connect(monitoring).await.unwrap();
        let begin = [
            "",
            "GET /he",
            "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
            "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n",
        ][number % 4];
        tcp.write_all(begin.as_bytes()).await.unwrap();
        held.push(tcp);
    }
    // Many that say nothing wait for nobody.
    for _ in 0..300 {
        held.push(TcpStream::connect(monitoring).await.unwrap());
    }
    for path in ["/healthz", "/readyz", "/metrics", "/events"] {
        let served = tokio::time::timeout(Duration::from_secs(3), get(monitoring, path, ""));
        assert_eq!(served.await.unwrap().0, 200, "{path}");
    }
    // One request is answered, and that is the end.
    let mut answer = String::new();
    let asked_twice = &mut held[58];
    asked_twice.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn what_is_no_activation_is_counted_too() {
    let directory = tempfile::tempdir().unwrap();
    let (program, monitoring) = monitored(directory.path()).await;
    program.set_manifest(&manifest()).await;
    let identity = ClientIdentity::self_signed();
    let ask = async |method: &str, path: &str, content: &str, body: &[u8]| {
        let mut sender = http2(connect(program.mesh, Some(&identity), &["h2"]).await.unwrap()).await;
        let request = http::Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"))
            .header("content-type", content)
            .body(http_body_util::Full::new(bytes::Bytes::copy_from_slice(body)))
            .unwrap();
        sender.send_request(request).await.unwrap()
    };
    const ACTIVATE: &str = "/rpc.Marble/Activate";
    for (method, path, body) in [
        ("POST", "/foo.Bar/Baz", &b""[..]),
        ("POST", ACTIVATE, &[0, 0, 0, 0, 3, 0xff, 0xff, 0xff]),
        ("POST", ACTIVATE, &[0, 0, 0]),
        ("POST", ACTIVATE, &[7, 0, 0, 0, 0]),
    ] {
        let reply = ask(method, path, "application/grpc+proto", body).await;
        assert!(reply.headers()["grpc-status"] != "0", "{method} {path} {body:?}");
    }
    for (method, path, content, expected) in [
        ("GET", ACTIVATE, "application/grpc", 405),
        ("GET", "/", "text/html", 405),
        ("POST", ACTIVATE, "text/plain", 415),
        ("POST", "/foo.Bar/Baz", "text/plain", 415),
        ("POST", ACTIVATE, "application/grpc-web", 415),
        ("POST", ACTIVATE, "Application/GRPC ; charset=utf-8", 200),
    ] {
        let reply = ask(method, path, content, &[0, 0, 0]).await;
        assert_eq!(reply.status(), expected, "{method} {path} {content}");
        assert_eq!(reply.headers().contains_key("allow"), expected == 405);
        if expected != 200 {
            let text = reply.into_body().collect().await.unwrap().to_bytes();
            assert!(text.starts_with(b"expected") || text.starts_with(b"content-type: expected"));
        }
    }
    let scraped = scrape(monitoring).await;
    let refused = |reason| scraped.value("coordinator_refusals_total", &[("reason", reason)]);
    assert_eq!((refused("no_such_operation"), refused("malformed")), (6.0, 4.0));
    assert_eq!(scraped.value("grpc_server_started_total", &[]), 4.0);
    let handled: f64 = scraped.samples["grpc_server_handled_total"]
        .iter()
        .map(|(_, value)| value)
        .sum();
    assert_eq!(handled, 4.0);
}

/// The words of a query of Prometheus that could be names of metrics.
fn words(query: &str) -> Vec<String> {
    let mut words = Vec::new();
    // What stands in braces and brackets are labels and times.
    let outside = query
        .split(['{', '['])
        .enumerate()
        .map(|(number, part)| match number {
            0 => part,
            _ => part.split_once(['}', ']']).map_or("", |(_, after)| after),
        });
    for part in outside {
        let candidates =
            part.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
        words.extend(
            candidates
                .filter(|word| {
                    word.starts_with("coordinator_")
                        || word.starts_with("grpc_server")
                        || word.starts_with("server_")
                })
                .map(str::to_owned),
        );
    }
    words
}

/// The metrics that a dashboard asks for and that there are not.
fn unknown(dashboard: &Value) -> (usize, Vec<String>) {
    let mut queries = Vec::new();
    let mut stack = vec![dashboard];
    while let Some(value) = stack.pop() {
        match value {
            Value::Object(members) => {
                queries.extend(members.get("expr").and_then(Value::as_str));
                stack.extend(members.values());
            }
            Value::Array(members) => stack.extend(members),
            _ => {}
        }
    }
    let exists = |word: &str| {
        EXPECTED.iter().any(|(name, _)| {
            let histogram = name.contains("_histogram_") || name.ends_with("_duration_seconds");
            let part = |suffix: &str| word.strip_suffix(suffix) == Some(*name);
            if histogram {
                part("_bucket") || part("_sum") || part("_count")
            } else {
                word == *name
            }
        })
    };
    let words: Vec<String> = queries.iter().flat_map(|query| words(query)).collect();
    (
        words.len(),
        words.into_iter().filter(|word| !exists(word)).collect(),
    )
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/grafana/marblerun.json");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let (asked, missing) = unknown(&dashboard);
    assert!(
        asked >= EXPECTED.len() - 3 && missing.is_empty(),
        "{asked} {missing:?}"
    );
    let planted = json!({"panels": [{"targets": [
        {"expr": "sum by (type) (rate(coordinator_marble_activations_total{x=\"coordinator_none\"}[5m]))"},
        {"expr": "coordinator_planted / coordinator_commit_duration_seconds"},
    ]}]});
    let missing = unknown(&planted).1;
    assert_eq!(
        missing,
        ["coordinator_planted", "coordinator_commit_duration_seconds"]
    );
}
