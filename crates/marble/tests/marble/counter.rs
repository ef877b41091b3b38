//! Monotonic counters, against a client API of a few lines.

use std::sync::Arc;

use marblerun_marble::counter::{self, CounterError};
use marblerun_marble::{CoordinatorAddress, MarbleName};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::support::Deployment;

const UUID: &str = "68a9a66e-4a52-4b3d-8e0b-0f6c2c6b2d11";

/// Answers one request as told, and says who asked and what.
async fn client_api(
    configuration: ServerConfig,
    answer: String,
) -> (CoordinatorAddress, JoinHandle<Option<(MarbleName, String)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(Arc::new(configuration))
            .accept(stream)
            .await
            .ok()?;
        let certificate = stream
            .get_ref()
            .1
            .peer_certificates()
            .unwrap()
            .first()
            .unwrap()
            .clone();
        let mut request = Vec::new();
        while !request.ends_with(b"}\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        Some((
            MarbleName::of_verified_certificate(&certificate).unwrap(),
            String::from_utf8(request).unwrap(),
        ))
    });
    (address, server)
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn refused(answer: String) -> CounterError {
    let deployment = Deployment::new();
    let (address, server) = client_api(deployment.client_api(), answer).await;
    let error = counter::raise(&deployment.marble(UUID, "backend", "localhost"), &address, "n", 1)
        .await
        .unwrap_err();
    server.abort();
    error
}

#[tokio::test]
async fn a_counter_is_raised_in_the_name_of_the_marble() {
    let deployment = Deployment::new();
    let marble = deployment.marble(UUID, "backend", "localhost");
    let answer = http("200 OK", "{\"status\":\"success\",\"data\":{\"value\":41}}\n");
    let (address, server) = client_api(deployment.client_api(), answer).await;
    assert_eq!(
        counter::raise(&marble, &address, "epoch \"1\"", u64::MAX)
            .await
            .unwrap(),
        41
    );

    let (name, request) = server.await.unwrap().unwrap();
    assert_eq!(name, *marble.name());
    assert!(
        request.starts_with("POST /api/v2/monotonic-counter HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains(&format!("\r\nhost: {address}\r\n")), "{request}");
    let body = "\r\n\r\n{\"name\":\"epoch \\\"1\\\"\",\"value\":18446744073709551615}\n";
    assert!(request.ends_with(body), "{request}");
}

#[tokio::test]
async fn a_refusal_is_passed_on() {
    let body =
        "{\"status\":\"error\",\"data\":null,\"message\":\"unauthorized marble: unknown certificate\"}\n";
    let error = refused(http("401 Unauthorized", body)).await;
    assert_eq!(
        error.to_string(),
        "the Coordinator refused with HTTP status 401: unauthorized marble: unknown certificate"
    );
    // Neither a status nor a body alone makes a success.
    let error = refused(http(
        "500 Internal Server Error",
        "{\"status\":\"success\",\"data\":{\"value\":1}}\n",
    ))
    .await;
    assert!(
        matches!(error, CounterError::Refused { status: 500, .. }),
        "{error}"
    );
    let error = refused(http("200 OK", body)).await;
    assert!(
        matches!(error, CounterError::Refused { status: 200, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn anything_but_a_reply_is_an_error() {
    for answer in [
        http("200 OK", "{\"status\":\"success\",\"data\":{\"value\":-1}}\n"),
        http("404 Not Found", "404 page not found\n"),
        http("200 OK", &" ".repeat(100_000)),
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{".to_owned(),
        "SSH-2.0\r\n".to_owned(),
    ] {
        let error = refused(answer).await;
        assert!(matches!(error, CounterError::Exchange { .. }), "{error}");
    }
}

#[tokio::test]
async fn only_the_coordinator_that_activated_the_marble_is_asked() {
    let (deployment, other) = (Deployment::new(), Deployment::new());
    let (address, server) = client_api(other.client_api(), String::new()).await;
    let marble = deployment.marble(UUID, "backend", "localhost");
    let error = counter::raise(&marble, &address, "n", 1).await.unwrap_err();
    let expected = format!("the client API of the Coordinator at {address} cannot be reached: ");
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(
        server.await.unwrap().is_none(),
        "the handshake failed before anything was asked"
    );

    let nowhere = "127.0.0.1:1".parse().unwrap();
    let error = counter::raise(&marble, &nowhere, "n", 1).await.unwrap_err();
    assert!(matches!(error, CounterError::Unreachable { .. }), "{error}");
}
