//! Many peers that mean no good, and one that only wants to be served.

use std::time::{Duration, Instant};

use http_body_util::Full;
use marblerun_wire::marble::ActivationReq;
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
