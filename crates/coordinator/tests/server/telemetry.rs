//! Spans for an OpenTelemetry collector, which is a listener here that keeps what it is sent.

use crate::support::program::Start;

#[cfg(not(feature = "opentelemetry"))]
#[test]
fn without_the_feature_a_collector_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (status, text) = Start {
        directory: directory.path(),
        flags: &[],
        environment: &[("EDG_OTLP_ENDPOINT", "http://127.0.0.1:4317")],
    }
    .fail();
    assert_eq!(status.code(), Some(1));
    assert_eq!(
        text,
        "marblerun-coordinator: EDG_OTLP_ENDPOINT: expected nothing, as this program was built without the feature \
         opentelemetry, found `http://127.0.0.1:4317`\n"
    );
}

#[cfg(feature = "opentelemetry")]
mod sending {
    use std::convert::Infallible;
    use std::net::SocketAddr;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use rustix::process::Signal;
    use serde_json::json;

    use super::Start;
    use crate::support::ClientIdentity;
    use crate::support::program::{Program, manifest};

    type Received = Arc<Mutex<Vec<u8>>>;

    /// Takes everything over gRPC, and answers with empty messages.
    async fn collector(address: &str) -> (SocketAddr, Received) {
        let received = Received::default();
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Arc::clone(&received);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let kept = Arc::clone(&kept);
                let service =
                    hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                        let kept = Arc::clone(&kept);
                        async move {
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            kept.lock().unwrap().extend_from_slice(&body);
                            let mut trailers = http::HeaderMap::new();
                            trailers.insert("grpc-status", "0".parse().unwrap());
                            let empty = Full::new(Bytes::from_static(&[0; 5]));
                            let reply = empty.with_trailers(async move { Some(Ok(trailers)) });
                            let reply = http::Response::builder()
                                .header("content-type", "application/grpc")
                                .body(reply);
                            Ok::<_, Infallible>(reply.unwrap())
                        }
                    });
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        (address, received)
    }

    fn start(directory: &std::path::Path, collector: SocketAddr) -> Program {
        Start {
            directory,
            flags: &["--otlp-endpoint", &format!("http://{collector}")],
            environment: &[],
        }
        .run()
    }

    fn holds(received: &Received, text: &str) -> bool {
        let bytes = received.lock().unwrap();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_requests_do_is_sent_and_no_secret_with_it() {
        let (address, received) = collector("127.0.0.1:0").await;
        let directory = tempfile::tempdir().unwrap();
        let program = start(directory.path(), address);
        let user = ClientIdentity::self_signed();
        let mut manifest = manifest();
        manifest["Secrets"]["canary"] = json!({"Type": "plain", "UserDefined": true});
        manifest["Users"] = json!({"u": {"Certificate": user.certificate_pem(), "Roles": ["w"]}});
        let role =
            json!({"ResourceType": "Secrets", "ResourceNames": ["canary"], "Actions": ["WriteSecret"]});
        manifest["Roles"] = json!({"w": role});
        program.set_manifest(&manifest).await;
        let secret = json!({"secrets": {"canary": {"Key": "Q0FOQVJZLWNhbmFyeQ=="}}}).to_string();
        let (status, reply) = program.ask_as(&user, "POST", "/api/v2/secrets", secret).await;
        assert_eq!(status, 200, "{reply}");
        program
            .activate("plain", "11111111-2222-4333-8444-555555555555")
            .await
            .unwrap();
        // The last spans are sent when it ends.
        assert_eq!(program.end(Signal::TERM).code(), Some(0));
        for part in [
            "marblerun-coordinator",
            "/api/v2/secrets",
            "/rpc.Marble/Activate",
            "http.response.status_code",
            "marble activated",
        ] {
            assert!(holds(&received, part), "{part}");
        }
        for part in ["Q0FOQVJZ", "CANARY-canary"] {
            assert!(!holds(&received, part), "{part}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_that_is_not_there_holds_nothing_up() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = nobody.local_addr().unwrap();
        drop(nobody);
        let directory = tempfile::tempdir().unwrap();
        let program = start(directory.path(), address);
        for _ in 0..3 {
            let (status, _) = program.ask("GET", "/api/v2/status", "").await;
            assert_eq!(status, 200);
        }
        let began = Instant::now();
        while !program.log().contains("spans cannot be sent") {
            assert!(began.elapsed() < Duration::from_secs(20), "{}", program.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Somebody is there later.
        let (_, received) = collector(&address.to_string()).await;
        let began = Instant::now();
        while !holds(&received, "/api/v2/status") {
            assert!(began.elapsed() < Duration::from_secs(30), "{}", program.log());
            program.ask("GET", "/api/v2/status", "").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // It is said when the collector has answered, which is after it has received them.
        let began = Instant::now();
        while !program
            .log()
            .contains("are sent to the OpenTelemetry collector again")
        {
            assert!(began.elapsed() < Duration::from_secs(20), "{}", program.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(program.log().matches("spans cannot be sent").count(), 1);
        let began = Instant::now();
        assert_eq!(program.end(Signal::TERM).code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn addresses_of_collectors_are_checked() {
        for address in [
            "localhost:4317",
            "https://localhost:4317",
            "http://localhost",
            "http://localhost:1/v1",
            "",
        ] {
            let directory = tempfile::tempdir().unwrap();
            let start = Start {
                directory: directory.path(),
                flags: &["--otlp-endpoint", address],
                environment: &[],
            };
            let (status, text) = start.fail();
            assert_eq!(status.code(), Some(1), "{address}");
            assert!(text.contains("expected http://host:port"), "{text}");
        }
    }
}
