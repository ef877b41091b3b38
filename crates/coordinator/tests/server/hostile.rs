//! Many peers that mean no good, and one that only wants to be served.

use std::time::{Duration, Instant};

use http_body_util::Full;
use marblerun_wire::marble::ActivationReq;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::memory::resident;
use crate::support::program::{manifest, start, uuid};
use crate::support::{ClientIdentity, connect, http2};

#[tokio::test]
async fn half_open_and_idle_connections_disturb_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    program.set_manifest(&manifest()).await;
    program.activate("plain", &uuid()).await.unwrap();
    let before = resident(&program);

    let (mut half_open, mut idle) = (Vec::new(), Vec::new());
    for address in [program.client, program.mesh] {
        for _ in 0..300 {
            half_open.push(TcpStream::connect(address).await.unwrap());
        }
    }
    let me = ClientIdentity::self_signed();
    for _ in 0..100 {
        idle.push(connect(program.client, None, &["h2"]).await.unwrap());
        idle.push(connect(program.mesh, Some(&me), &["h2"]).await.unwrap());
    }
    let started = Instant::now();
    for _ in 0..10 {
        program.activate("plain", &uuid()).await.unwrap();
        assert_eq!(program.ask("GET", "/status", "").await.0, 200);
    }
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?} for ten of each",
        started.elapsed()
    );
    let grown = resident(&program).saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes for 800 connections");
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_do_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    program.set_manifest(&manifest()).await;
    let before = resident(&program);
    for _ in 0..5 {
        let mut sender = http2(connect(program.client, None, &["h2"]).await.unwrap()).await;
        for _ in 0..500 {
            let get = http::Request::get("https://localhost/api/v2/manifest")
                .body(Full::default())
                .unwrap();
            let request = sender.send_request(get);
            // Sent, and reset by dropping the answer.
            let _ = tokio::time::timeout(Duration::from_micros(50), request).await;
            if sender.is_closed() {
                break;
            }
        }
    }
    let mut marble = program.marble().await;
    for _ in 0..300 {
        let request = ActivationReq {
            quote: vec![1; 1000],
            csr: vec![2; 1000],
            marble_type: "plain".to_owned(),
            uuid: uuid(),
        };
        let _ = tokio::time::timeout(Duration::from_micros(200), marble.activate(request)).await;
    }
    program.activate("plain", &uuid()).await.unwrap();
    assert_eq!(program.ask("GET", "/status", "").await.0, 200);
    let grown = resident(&program).saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes");
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
    frame.extend(payload);
    frame
}

/// A connection with as many requests as it may have, all of which post a manifest and never send the second byte.
async fn crowd(address: std::net::SocketAddr) -> impl Sized {
    let mut tls = connect(address, None, &["h2"]).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, b""));
    for stream in (1..128).step_by(2) {
        let header = b"\x83\x87\x04\x09/manifest\x41\x09localhost";
        bytes.extend(frame(1, 0x04, stream, header));
        bytes.extend(frame(0, 0, stream, b"{"));
    }
    tls.write_all(&bytes).await.unwrap();
    tls.flush().await.unwrap();
    tls
}

#[tokio::test]
async fn bodies_that_never_end_hold_up_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let mut crowds = Vec::new();
    for _ in 0..40 {
        crowds.push(crowd(program.client).await);
    }
    let began = Instant::now();
    let (code, reply) = program.ask("POST", "/manifest", manifest().to_string()).await;
    assert_eq!(code, 200, "{reply}");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}

/// A manifest whose setting takes as long as these RSA keys.
fn laborious(keys: usize, bits: u32) -> String {
    let mut manifest = manifest();
    for number in 0..keys {
        manifest["Secrets"][format!("key{number}")] =
            serde_json::json!({"Type": "cert-rsa", "Size": bits, "Shared": true});
    }
    manifest.to_string()
}

/// Posts a manifest and goes away while it is being set.
async fn post_and_leave(address: std::net::SocketAddr, manifest: String) {
    let mut tls = connect(address, None, &["http/1.1"]).await.unwrap();
    let length = manifest.len();
    let post =
        format!("POST /manifest HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{manifest}");
    tls.write_all(post.as_bytes()).await.unwrap();
    tls.flush().await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn keys_that_nobody_waits_for_are_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    post_and_leave(program.client, laborious(512, 2048)).await;
    let began = Instant::now();
    let (code, reply) = program.ask("POST", "/manifest", manifest().to_string()).await;
    assert_eq!(code, 200, "{reply}");
    // No longer than the one key that was being made; all of them would take half a minute.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_key_that_is_being_made_does_not_hold_up_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    post_and_leave(program.client, laborious(2, 8192)).await;
    let began = Instant::now();
    assert!(program.end(rustix::process::Signal::TERM).success());
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}
