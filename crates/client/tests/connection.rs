//! Whom the client talks to, and whom it refuses to talk to.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use marblerun_client::{
    ClientIdentity, ConnectError, Connector, EvidencePolicy, EvidenceVerifier, ExpectedEnclave, Limits, Pin,
    RequestError, Trust, system_clock,
};
use marblerun_collateral::{Config, Source};
use server::{Authority, Body, Server, certified, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const STATUS: &str =
    r#"{"status":"success","data":{"code":2,"message":"Coordinator is ready to accept a manifest."}}"#;
const BOTH: &[&str] = &["h2", "http/1.1"];

fn connector(port: u16) -> Connector {
    Connector::new(format!("localhost:{port}").parse().unwrap())
}

fn hasty(connector: Connector) -> Connector {
    connector.with_limits(Limits {
        connect: Duration::from_millis(400),
        request: Duration::from_millis(400),
        answer: 10_000,
    })
}

fn policy() -> EvidencePolicy {
    EvidencePolicy {
        enclave: ExpectedEnclave::default(),
        accepted_tcb_statuses: Vec::new(),
        accepted_advisories: Vec::new(),
        nonce: b"nonce?".to_vec(),
    }
}

fn verifier() -> EvidenceVerifier {
    EvidenceVerifier::hardware(Config::new(Source::Services(Box::default())), system_clock()).unwrap()
}

/// The texts of an error and of all its sources.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(|error| format!("{error}: "))
        .collect()
}

#[tokio::test]
async fn pinned_certificate_over_both_protocols() {
    let root = Authority::new(&["localhost", "127.0.0.1"]);
    for (protocols, host) in [
        (BOTH, "localhost"),
        (&["http/1.1"], "127.0.0.1"),
        (&[], "localhost"),
    ] {
        let server = Server::start(certified(&root, &root), protocols, |_| json(STATUS)).await;
        let address = format!("{host}:{}", server.port);
        let coordinator = Connector::new(address.parse().unwrap())
            .pinned(&Pin::new(root.der()))
            .await
            .unwrap();
        assert_eq!(coordinator.trust(), Trust::Pinned);
        for _ in 0..3 {
            assert_eq!(coordinator.status().await.unwrap().code, 2);
        }
        let asked = server.asked();
        assert_eq!(asked.len(), 3);
        assert_eq!(
            (asked[0].line.as_str(), asked[0].host.as_str()),
            ("GET /api/v2/status", address.as_str())
        );
        assert_eq!(
            server.connections.load(Ordering::SeqCst),
            1,
            "one connection for all requests"
        );
    }
}

#[tokio::test]
async fn another_root_is_refused_even_with_the_same_names() {
    let (pinned, other) = (Authority::new(&["localhost"]), Authority::new(&["localhost"]));
    let server = Server::start(certified(&other, &other), BOTH, |_| json(STATUS)).await;
    let error = connector(server.port)
        .pinned(&Pin::new(pinned.der()))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ConnectError::NotPinned { .. }), "{error}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn another_host_is_refused() {
    let root = Authority::new(&["coordinator.example", "10.0.0.1"]);
    let server = Server::start(certified(&root, &root), BOTH, |_| json(STATUS)).await;
    let error = connector(server.port)
        .pinned(&Pin::new(root.der()))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ConnectError::WrongName { .. }), "{error}");
    assert!(error.to_string().contains("coordinator.example"), "{error}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_certificate_whose_key_is_not_proven_is_refused() {
    let (root, thief) = (Authority::new(&["localhost"]), Authority::new(&["localhost"]));
    let server = Server::start(certified(&root, &thief), BOTH, |_| json(STATUS)).await;
    let error = connector(server.port)
        .pinned(&Pin::new(root.der()))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
    assert!(chain(&error).contains("BadSignature"), "{}", chain(&error));
    let error = connector(server.port).dangerous_unverified().await.err().unwrap();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn unverified_still_talks_to_one_party_only() {
    let (first, second) = (Authority::new(&["elsewhere"]), Authority::new(&["elsewhere"]));
    let closing = |_: &str| {
        let mut reply = json(STATUS);
        reply.headers_mut().insert("connection", "close".parse().unwrap());
        reply
    };
    let server = Server::start(certified(&first, &first), &["http/1.1"], closing).await;
    let coordinator = connector(server.port).dangerous_unverified().await.unwrap();
    assert_eq!(coordinator.trust(), Trust::Unverified);
    assert_eq!(coordinator.root(), &first.der());
    // The server closes after each answer: the client connects again, to the same certificate.
    for _ in 0..3 {
        coordinator.status().await.unwrap();
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);

    // A relay whose first connection leads to one party and whose second to another.
    let other = Server::start(certified(&second, &second), &["http/1.1"], closing).await;
    let ports = [server.port, other.port];
    let relay = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = relay.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        for port in ports {
            let (mut client, _) = relay.accept().await.unwrap();
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let coordinator = connector(port).dangerous_unverified().await.unwrap();
    coordinator.status().await.unwrap();
    let error = coordinator.status().await.unwrap_err();
    let RequestError::Reconnect(reason) = error else {
        panic_with(&error)
    };
    assert!(matches!(*reason, ConnectError::NotPinned { .. }), "{reason}");
    assert!(other.asked().is_empty());
    task.abort();
}

#[expect(clippy::panic, reason = "helper of tests")]
fn panic_with(error: &RequestError) -> ! {
    panic!("unexpected: {error}")
}

#[tokio::test]
async fn an_older_version_of_tls_is_refused() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut hello = [0; 5];
        tcp.read_exact(&mut hello).await.unwrap();
        let mut rest = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
        tcp.read_exact(&mut rest).await.unwrap();
        // A server hello of TLS 1.2 (RFC 5246, 7.4.1.3): no supported_versions, an ECDHE suite.
        let mut answer = vec![22, 3, 3, 0, 44, 2, 0, 0, 40, 3, 3];
        answer.extend([7; 32]);
        answer.extend([0, 0xc0, 0x2b, 0, 0, 0]);
        tcp.write_all(&answer).await.unwrap();
        let _ = tcp.read_to_end(&mut rest).await;
    });
    let error = connector(port).dangerous_unverified().await.err().unwrap();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
    assert!(chain(&error).contains("incompatible"), "{}", chain(&error));
    server.abort();
}

#[tokio::test]
async fn silence_ends_in_time() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let error = hasty(connector(listener.local_addr().unwrap().port()))
        .dangerous_unverified()
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ConnectError::Timeout { .. }), "{error}");
    assert!(error.to_string().contains("0.4 s"), "{error}");

    let root = Authority::new(&["localhost"]);
    for protocols in [BOTH, &["http/1.1"]] {
        let server = Server::start(certified(&root, &root), protocols, |_| trickle()).await;
        let coordinator = hasty(connector(server.port))
            .pinned(&Pin::new(root.der()))
            .await
            .unwrap();
        let error = coordinator.status().await.unwrap_err();
        assert!(matches!(error, RequestError::Timeout { .. }), "{error}");
    }
}

/// A body that never ends: one byte every 50 ms.
fn trickle() -> Response<Body> {
    stream(b" ", Duration::from_millis(50))
}

fn stream(chunk: &'static [u8], pause: Duration) -> Response<Body> {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while sender
            .send(Ok(Frame::data(Bytes::from_static(chunk))))
            .await
            .is_ok()
        {
            tokio::time::sleep(pause).await;
        }
    });
    Response::new(BodyExt::boxed(StreamBody::new(Chunks(receiver))))
}

struct Chunks(tokio::sync::mpsc::Receiver<Result<Frame<Bytes>, std::convert::Infallible>>);

impl futures_core::Stream for Chunks {
    type Item = Result<Frame<Bytes>, std::convert::Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

#[tokio::test]
async fn long_answers_are_cut_off() {
    let root = Authority::new(&["localhost"]);
    let long = "x".repeat(10_001);
    let announced = Server::start(certified(&root, &root), BOTH, move |_| json(&long)).await;
    let endless = Server::start(certified(&root, &root), BOTH, |_| {
        stream(&[b'x'; 3000], Duration::ZERO)
    })
    .await;
    for server in [announced, endless] {
        let coordinator = hasty(connector(server.port))
            .pinned(&Pin::new(root.der()))
            .await
            .unwrap();
        let error = coordinator.status().await.unwrap_err();
        assert!(
            matches!(error, RequestError::TooLarge { limit: 10_000, .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_identity_is_presented_as_it_is() {
    let root = Authority::new(&["localhost"]);
    let server = Server::start(certified(&root, &root), BOTH, |_| json(STATUS)).await;
    let keys = [
        (
            &include_bytes!("keys/sec1.crt.pem")[..],
            &include_bytes!("keys/sec1.key.pem")[..],
        ),
        (
            include_bytes!("keys/pkcs1.crt.pem"),
            include_bytes!("keys/pkcs1.key.pem"),
        ),
        (
            include_bytes!("keys/version1.crt.pem"),
            include_bytes!("keys/version1.key.pem"),
        ),
    ];
    for (certificate, key) in keys {
        let identity = ClientIdentity::from_pem(certificate, key).unwrap();
        let connector = connector(server.port).with_identity(identity);
        connector
            .pinned(&Pin::new(root.der()))
            .await
            .unwrap()
            .status()
            .await
            .unwrap();
    }
    connector(server.port)
        .pinned(&Pin::new(root.der()))
        .await
        .unwrap()
        .status()
        .await
        .unwrap();
    let presented: Vec<_> = server
        .asked()
        .into_iter()
        .map(|asked| asked.client_certificate.map_or(0, |leaf| leaf.len()))
        .collect();
    assert!(presented[..3].iter().all(|length| *length > 100), "{presented:?}");
    assert_eq!(presented[3], 0);
}

#[tokio::test]
async fn requests_and_answers_of_the_api() {
    let (root, intermediate) = (Authority::new(&["localhost"]), Authority::new(&["localhost"]));
    let pem = (intermediate.certificate.pem() + &root.certificate.pem()).replace("\r\n", "\n");
    let quote = serde_json::json!({"status": "success", "data": {"cert": pem, "quote": null}}).to_string();
    let server = Server::start(certified(&root, &root), BOTH, move |line| match line {
        "GET /api/v2/quote" | "GET /api/v2/quote?nonce=bm9uY2U_" => json(&quote),
        "GET /api/v2/manifest" => json(
            r#"{"status":"success","data":{"manifestSignatureRootECDSA":"AQ==","manifestFingerprint":"00","manifest":"e30="}}"#,
        ),
        "POST /api/v2/manifest" => json(r#"{"status":"success","data":{"RecoverySecrets":{"one":"AQID"}}}"#),
        "GET /api/v2/update" => json(r#"{"status":"success","data":{"updateLog":["{}","{\"a\":1}"],"updateLogHashes":["00","01"]}}"#),
        _ => {
            let mut reply = json(r#"{"status":"error","data":null}"#);
            *reply.status_mut() = http::StatusCode::METHOD_NOT_ALLOWED;
            reply
        }
    })
    .await;
    let coordinator = connector(server.port)
        .pinned(&Pin::new(root.der()))
        .await
        .unwrap();
    let chain = coordinator.certificates().await.unwrap();
    assert_eq!(chain.to_pem(), pem);
    assert_eq!(coordinator.manifest().await.unwrap().manifest.0, b"{}");
    assert_eq!(coordinator.update_log().await.unwrap(), ["{}", "{\"a\":1}"]);
    let log = coordinator.update_log_with_hashes().await.unwrap();
    assert_eq!(log.update_log_hashes.unwrap(), ["00", "01"]);
    let set = coordinator.set_manifest(b"{}").await.unwrap();
    assert_eq!(set.recovery_secrets.0["one"].0, [1, 2, 3]);
    assert_eq!(server.asked().last().unwrap().body, "{\"manifest\":\"e30=\"}\n");
    let error = coordinator.status().await.unwrap_err();
    assert!(matches!(error, RequestError::NotOffered { .. }), "{error}");

    let error = connector(server.port)
        .by_evidence(&policy(), &verifier())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ConnectError::Simulation { .. }), "{error}");
    assert_eq!(
        server.asked().last().unwrap().line,
        "GET /api/v2/quote?nonce=bm9uY2U_"
    );
}

#[tokio::test]
async fn evidence_about_another_certificate_is_refused() {
    let (root, other) = (Authority::new(&["localhost"]), Authority::new(&["localhost"]));
    let answer = |chain: String, quote: Option<&str>| {
        serde_json::json!({"status": "success", "data": {"cert": chain, "quote": quote}}).to_string()
    };
    let answers = [
        answer(root.certificate.pem() + &other.certificate.pem(), Some("AQID")),
        answer(root.certificate.pem() + &root.certificate.pem(), Some("AQID")),
        answer(root.certificate.pem(), Some("AQID")),
    ];
    let next = Arc::new(AtomicUsize::new(0));
    let server = Server::start(certified(&root, &root), BOTH, move |_| {
        json(&answers[next.fetch_add(1, Ordering::SeqCst) % answers.len()])
    })
    .await;
    let error = connector(server.port)
        .by_evidence(&policy(), &verifier())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ConnectError::OtherCertificate { .. }), "{error}");
    let error = connector(server.port)
        .by_evidence(&policy(), &verifier())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ConnectError::Evidence { .. }), "{error}");
    assert!(
        chain(&error).contains("unknown format of evidence"),
        "{}",
        chain(&error)
    );
    let error = connector(server.port)
        .by_evidence(&policy(), &verifier())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ConnectError::Chain { .. }), "{error}");

    // The same lie on a verified connection, and on one that never asked.
    let coordinator = connector(server.port)
        .pinned(&Pin::new(root.der()))
        .await
        .unwrap();
    let error = coordinator.certificates().await.unwrap_err();
    assert!(
        error.to_string().contains("not the one of this connection"),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_there() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = connector(port).dangerous_unverified().await.err().unwrap();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert!(
        error.to_string().contains(&format!("localhost:{port}")),
        "{error}"
    );
}
