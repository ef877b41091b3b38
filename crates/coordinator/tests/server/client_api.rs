//! The client API of the real program: paths, methods, sizes, shapes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::program::{manifest, start};
use crate::support::{ClientIdentity, ask, connect, http1, http2, read, server_certificate};

fn wrapped(manifest: &str) -> String {
    json!({"MANIFEST": STANDARD.encode(manifest), "unknown": [1]}).to_string()
}

#[tokio::test]
async fn unknown_paths_and_methods_get_405_without_a_message() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/nope"),
        ("GET", "/api/v2"),
        ("GET", "/api/v2/"),
        ("GET", "/api/v2/status/"),
        ("GET", "/api/v3/status"),
        ("GET", "/recover"),
        ("POST", "/status"),
        ("PUT", "/api/v2/manifest"),
        ("DELETE", "/manifest"),
        ("OPTIONS", "/api/v2/status"),
        ("PATCH", "/api/v2/quote"),
        ("FROB", "/api/v2/status"),
        ("POST", "/rpc.Marble/Activate"),
    ] {
        let (status, headers, body) = ask(program.client, None, method, path, "").await;
        assert_eq!(status, 405, "{method} {path}");
        assert_eq!(headers["content-type"], "application/json", "{method} {path}");
        assert_eq!(body, "{\"status\":\"error\",\"data\":null}\n", "{method} {path}");
    }
    for path in ["/status", "/api/v2/status", "/api/v2/manifest", "/nope"] {
        assert_eq!(
            ask(program.client, None, "HEAD", path, "").await.0,
            405,
            "HEAD {path}"
        );
    }
}

#[tokio::test]
async fn both_protocols_answer_alike() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let one = ask(program.client, None, "GET", "/api/v2/status", "").await.2;
    let mut sender = http2(connect(program.client, None, &["h2"]).await.unwrap()).await;
    let get = |path: &str| {
        http::Request::get(format!("https://localhost{path}"))
            .body(Default::default())
            .unwrap()
    };
    let two = read(sender.send_request(get("/api/v2/status")).await.unwrap())
        .await
        .2;
    assert_eq!(one, two);
    assert_eq!(
        read(sender.send_request(get("/nope")).await.unwrap()).await.0,
        405
    );
}

#[tokio::test]
async fn too_large_is_413() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &["--limit-manifest", "100000"]);

    let large = json!({"x": "y".repeat(100_000)}).to_string();
    let (status, reply) = program.ask("POST", "/manifest", large.clone()).await;
    assert_eq!((status, &reply["status"]), (413, &json!("error")), "{reply}");
    let (status, reply) = program.ask("POST", "/api/v2/manifest", wrapped(&large)).await;
    assert_eq!(status, 413, "{reply}");

    // Announced: refused before anything is sent.
    for path in ["/manifest", "/api/v2/manifest"] {
        let mut tls = connect(program.client, None, &["http/1.1"]).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 419430400\r\n\r\n");
        tls.write_all(head.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        tls.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 413", "{path}");
    }

    // Not announced: refused as soon as it is too much.
    let mut tls = connect(program.client, None, &["http/1.1"]).await.unwrap();
    tls.write_all(b"POST /manifest HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    tls.write_all(format!("{:x}\r\n{}\r\n", 100_001, "z".repeat(100_001)).as_bytes())
        .await
        .unwrap();
    let mut start = [0; 12];
    tls.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_manifest_of_the_largest_size_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &["--limit-manifest", "3000000"]);
    let mut text = manifest().to_string();
    text.push_str(&" ".repeat(3_000_000 - text.len()));
    let (status, reply) = program.ask("POST", "/api/v2/manifest", wrapped(&text)).await;
    assert_eq!(status, 200, "{reply}");
    let (_, reply) = program.ask("GET", "/api/v2/manifest", "").await;
    assert_eq!(
        STANDARD
            .decode(reply["data"]["manifest"].as_str().unwrap())
            .unwrap(),
        text.as_bytes()
    );
}

#[tokio::test]
async fn a_set_manifest_closes_the_door_before_the_body() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    program.set_manifest(&manifest()).await;
    for (path, code) in [("/manifest", "400"), ("/api/v2/manifest", "500")] {
        let mut tls = connect(program.client, None, &["http/1.1"]).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 30000000\r\n\r\n");
        tls.write_all(head.as_bytes()).await.unwrap();
        let mut reply = vec![0; 4096];
        let length = tls.read(&mut reply).await.unwrap();
        let text = String::from_utf8_lossy(&reply[..length]);
        assert!(text.starts_with(&format!("HTTP/1.1 {code}")), "{path}: {text}");
    }
}

#[tokio::test]
async fn the_recovery_secrets_have_the_shape_of_their_version() {
    let data = async |path: &str, body: String| {
        let directory = tempfile::tempdir().unwrap();
        let program = start(directory.path(), &[]);
        let (status, reply) = program.ask("POST", path, body).await;
        assert_eq!(status, 200, "{reply}");
        reply["data"].clone()
    };
    let without = manifest().to_string();
    assert_eq!(data("/manifest", without.clone()).await, Value::Null);
    assert_eq!(
        data("/api/v2/manifest", wrapped(&without)).await,
        json!({"RecoverySecrets": {}})
    );
}

#[tokio::test]
async fn refused_manifests_name_all_that_is_wrong_and_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let mut bad = manifest();
    bad["Marbles"]["plain"]["Package"] = json!("nope");
    bad["Secrets"]["shared"]["Size"] = json!(7);
    for (path, body, code) in [
        ("/manifest", bad.to_string(), 400),
        ("/api/v2/manifest", wrapped(&bad.to_string()), 500),
    ] {
        let (status, reply) = program.ask("POST", path, body).await;
        assert_eq!((status, &reply["status"]), (code, &json!("error")), "{reply}");
        let message = reply["message"].as_str().unwrap();
        for place in ["Marbles.plain.Package", "Secrets.shared.Size"] {
            assert!(message.contains(place), "{path}: {message}");
        }
    }
    for (body, status) in [
        ("{bad", "fail"),
        ("[]", "fail"),
        ("{\"manifest\":\"!\"}", "fail"),
        ("", "fail"),
    ] {
        let (code, reply) = program.ask("POST", "/api/v2/manifest", body).await;
        assert_eq!((code, &reply["status"]), (400, &json!(status)), "{body}: {reply}");
    }
    assert_eq!(
        program.ask("GET", "/api/v2/status", "").await.1["data"]["code"],
        2
    );
}

#[tokio::test]
async fn the_certificates_shown_are_those_presented() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(
        directory.path(),
        &["--dns-names", "coordinator.example, 10.1.2.3"],
    );
    let presented = server_certificate(&connect(program.client, None, &["h2"]).await.unwrap());
    let (_, reply) = program.ask("GET", "/api/v2/quote", "").await;
    assert_eq!(reply["data"]["quote"], Value::Null);
    let chain = reply["data"]["cert"].as_str().unwrap().to_owned();
    let blocks: Vec<_> = x509_parser::pem::Pem::iter_from_buffer(chain.as_bytes())
        .map(Result::unwrap)
        .collect();
    assert_eq!(blocks.len(), 2);
    assert_eq!(blocks[1].contents, presented);
    let root = blocks[1].parse_x509().unwrap();
    let names = format!(
        "{:?}",
        root.subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names
    );
    assert!(
        names.contains("coordinator.example") && names.contains("10, 1, 2, 3"),
        "{names}"
    );

    let marble = ClientIdentity::self_signed();
    let presented = server_certificate(&connect(program.mesh, Some(&marble), &["h2"]).await.unwrap());
    let (_, marble_root) = x509_parser::parse_x509_certificate(&presented).unwrap();
    let intermediate = blocks[0].parse_x509().unwrap();
    assert_eq!(marble_root.public_key().raw, intermediate.public_key().raw);
    assert_eq!(marble_root.issuer(), marble_root.subject());
}

#[tokio::test]
async fn simultaneous_manifests_have_one_winner() {
    let directory = tempfile::tempdir().unwrap();
    let program = std::sync::Arc::new(start(directory.path(), &[]));
    let mut attempts = tokio::task::JoinSet::new();
    for number in 0..8 {
        let program = std::sync::Arc::clone(&program);
        attempts.spawn(async move {
            let mut manifest = manifest();
            manifest["Marbles"]["plain"]["Parameters"]["Argv"][0] = json!(number.to_string());
            let text = manifest.to_string();
            (
                program.ask("POST", "/api/v2/manifest", wrapped(&text)).await.0,
                text,
            )
        });
    }
    let results = attempts.join_all().await;
    let winners: Vec<_> = results.iter().filter(|(status, _)| *status == 200).collect();
    assert_eq!(winners.len(), 1);
    assert!(results.iter().all(|(status, _)| [200, 500].contains(status)));
    let (_, reply) = program.ask("GET", "/api/v2/manifest", "").await;
    assert_eq!(reply["data"]["manifest"], STANDARD.encode(&winners[0].1));
}

#[tokio::test]
async fn a_refusal_can_be_read_by_a_client_that_sends_first() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    program.set_manifest(&manifest()).await;
    for _ in 0..5 {
        let (status, reply) = program.ask("POST", "/api/v2/manifest", vec![b'x'; 900_000]).await;
        assert_eq!((status, &reply["status"]), (500, &json!("error")), "{reply}");
    }
}

/// What the handler does not read must not cost the peer its answer: clients such as curl show nothing of an answer whose
/// stream is reset behind it.
#[tokio::test]
async fn bodies_that_nobody_reads_do_not_reset_the_stream() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let sizes = [7, 100 << 10, 3 << 20];
    for (method, path, expected) in [
        ("POST", "/recover", 410),
        ("POST", "/nope", 405),
        ("PUT", "/api/v2/manifest", 405),
        ("GET", "/status", 200),
    ] {
        for size in sizes {
            let tls = connect(program.client, None, &["h2"]).await.unwrap();
            let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
            let (mut sender, connection) = builder.handshake(TokioIo::new(tls)).await.unwrap();
            tokio::spawn(connection);
            let (body, mut sending) = Sending::of(size);
            let request = http::Request::builder()
                .method(method)
                .uri(format!("https://localhost{path}"))
                .body(body)
                .unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), expected, "{method} {path} {size}");
            assert!(
                sending.try_recv().is_ok(),
                "{method} {path} {size}: the answer came before the body was taken"
            );
        }
    }
}

/// A foreign page can make a browser send a body and the user's certificate with it.
#[tokio::test]
async fn a_browser_changes_nothing_for_a_foreign_page() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let own = format!("https://{}", program.client);
    let post = async |alpn: &str, path: &str, headers: &[(&str, &str)]| {
        let tls = connect(program.client, None, &[alpn]).await.unwrap();
        let mut request = http::Request::post(match alpn {
            "h2" => format!("{own}{path}"),
            _ => path.to_owned(),
        });
        if alpn != "h2" {
            request = request.header("host", program.client.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::from(bytes::Bytes::from(wrapped(&manifest().to_string()))))
            .unwrap();
        let response = match alpn {
            "h2" => http2(tls).await.send_request(request).await,
            _ => http1(tls).await.send_request(request).await,
        };
        let (status, _, body) = read(response.unwrap()).await;
        (status.as_u16(), String::from_utf8_lossy(&body).into_owned())
    };
    let foreign: [&[(&str, &str)]; 8] = [
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://localhost")],
        &[("origin", "https://localhost:1")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "")],
        &[("sec-fetch-site", "cross-site"), ("origin", &own)],
    ];
    for path in [
        "/manifest",
        "/api/v2/manifest",
        "/update",
        "/secrets",
        "/update-cancel",
        "/recover",
    ] {
        for headers in foreign {
            for alpn in ["http/1.1", "h2"] {
                let (status, body) = post(alpn, path, headers).await;
                assert_eq!(status, 403, "{alpn} {path} {headers:?}: {body}");
                assert!(body.contains("Sec-Fetch-Site"), "{body}");
            }
        }
    }
    // Nothing was set meanwhile, and what a browser sends for a page of the Coordinator's own, or of no page, is heard.
    for alpn in ["http/1.1", "h2"] {
        let (status, body) = post(alpn, "/update-cancel", &[("origin", &own)]).await;
        assert_ne!(status, 403, "{alpn}: {body}");
    }
    let (status, body) = post("h2", "/update-cancel", &[("sec-fetch-site", "same-origin")]).await;
    assert_ne!(status, 403, "{body}");
    let (status, body) = post("h2", "/api/v2/manifest", &[("sec-fetch-site", "none")]).await;
    assert_eq!(status, 200, "{body}");
}

/// A body in pieces that tells when the last one was taken.
struct Sending {
    left: usize,
    taken: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Sending {
    fn of(size: usize) -> (Self, tokio::sync::oneshot::Receiver<()>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let taken = Some(sender);
        (Self { left: size, taken }, receiver)
    }
}

impl hyper::body::Body for Sending {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        let size = self.left.min(16 << 10);
        if size == 0 {
            if let Some(taken) = self.taken.take() {
                let _ = taken.send(());
            }
            return std::task::Poll::Ready(None);
        }
        self.left -= size;
        let piece = bytes::Bytes::from(vec![b' '; size]);
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(piece))))
    }
}
