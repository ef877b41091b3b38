//! The accept loop and the TLS of both servers, with routes made for the purpose.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::*;
use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::StatusCode;
use marblerun_coordinator::config::LogLevel;
use marblerun_coordinator::listen::{self, Api, Limits, PeerAddress, PeerCertificate};
use marblerun_coordinator::tls::{self, Identity};
use marblerun_core::pki::CryptoSuite;
use marblerun_core::pki::key::{KeyKind, PrivateKey};
use marblerun_core::secret::value::SecretBytes;
use rustls::{CipherSuite, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

struct Server {
    address: SocketAddr,
    identity: Arc<Mutex<Identity>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

pub fn identity() -> Identity {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let public = rcgen::PublicKeyData::subject_public_key_info(&key);
    Identity {
        certificate: certificate.der().to_vec().into(),
        key: PrivateKey::from_parts(
            KeyKind::P256,
            SecretBytes::copy_from(&key.serialize_der()),
            public,
        ),
    }
}

fn short() -> Limits {
    Limits {
        handshake_time: Duration::from_millis(300),
        header_time: Duration::from_millis(300),
        body_pause: Duration::from_millis(300),
        idle_time: Duration::from_millis(600),
        drain_time: Duration::from_secs(5),
        ..Limits::default()
    }
}

async fn peer(request: http::Request<axum::body::Body>) -> Vec<u8> {
    request
        .extensions()
        .get::<PeerCertificate>()
        .map_or_else(Vec::new, |peer| peer.0.to_vec())
}

async fn address(request: http::Request<axum::body::Body>) -> String {
    format!("{:?}", request.extensions().get::<PeerAddress>())
}

async fn slow() -> &'static str {
    sleep(Duration::from_millis(500)).await;
    "done"
}

async fn large() -> Vec<u8> {
    (0..1_000_003_u32).map(|number| number as u8).collect()
}

async fn boom() -> &'static str {
    panic!("on purpose")
}

async fn echo(request: http::Request<axum::body::Body>) -> axum::response::Response {
    match axum::body::to_bytes(request.into_body(), 1 << 20).await {
        Ok(bytes) => bytes.into_response(),
        Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
    }
}

async fn serve(required: bool, limits: Limits) -> Server {
    let identity = Arc::new(Mutex::new(identity()));
    let source = Arc::clone(&identity);
    let source = Arc::new(move || source.lock().unwrap().clone());
    let config = if required {
        tls::marble_api(source, CryptoSuite::default())
    } else {
        tls::client_api(source, CryptoSuite::default())
    }
    .unwrap();
    let router = Router::new()
        .route("/", get(peer))
        .route("/address", get(address))
        .route("/slow", get(slow))
        .route("/large", get(large))
        .route("/boom", get(boom))
        .route("/echo", axum::routing::post(echo));
    let api = Api {
        name: "test",
        router,
        on_panic: || StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        error_level: LogLevel::Debug,
        of_marbles: false,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    let task = tokio::spawn(listen::serve(listener, config, api, limits, stopping));
    Server {
        address,
        identity,
        stop,
        task,
    }
}

/// Reads until the server closes; how long that took.
async fn until_closed(stream: &mut (impl AsyncReadExt + Unpin)) -> Duration {
    let started = Instant::now();
    let mut bytes = Vec::new();
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes))
        .await
        .expect("the server must close");
    started.elapsed()
}

#[tokio::test]
async fn handlers_see_the_certificate_whose_key_was_proven() {
    let server = serve(false, Limits::default()).await;
    let client = ClientIdentity::self_signed();
    assert_eq!(
        ask(server.address, Some(&client), "GET", "/", "").await.2,
        client.certificate
    );
    assert_eq!(ask(server.address, None, "GET", "/", "").await.2, b"".as_slice());
    assert_eq!(
        ask(server.address, None, "GET", "/address", "").await.2,
        b"Some(PeerAddress(127.0.0.1))".as_slice()
    );

    let mut sender = http2(
        connect(server.address, Some(&client), &["h2", "http/1.1"])
            .await
            .unwrap(),
    )
    .await;
    let response = sender.send_request(
        http::Request::get("https://localhost/")
            .body(Default::default())
            .unwrap(),
    );
    assert_eq!(read(response.await.unwrap()).await.2, client.certificate);
}

#[tokio::test]
async fn odd_certificates_are_taken_but_their_key_must_be_proven() {
    let server = serve(true, Limits::default()).await;

    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec![]).unwrap();
    let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    unknown.set_criticality(true);
    parameters.custom_extensions.push(unknown);
    parameters.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let certificate = parameters.self_signed(&key).unwrap();
    let odd = ClientIdentity {
        certificate: certificate.der().to_vec(),
        pkcs8: key.serialize_der(),
    };
    let mut sender = http2(connect(server.address, Some(&odd), &["h2"]).await.unwrap()).await;
    let response = sender.send_request(
        http::Request::get("https://localhost/")
            .body(Default::default())
            .unwrap(),
    );
    assert_eq!(read(response.await.unwrap()).await.2, odd.certificate);

    let thief = ClientIdentity {
        pkcs8: ClientIdentity::self_signed().pkcs8,
        ..ClientIdentity::self_signed()
    };
    refused_after_handshake(server.address, Some(&thief)).await;
    let garbage = ClientIdentity {
        certificate: vec![0x30, 0x03, 1, 2, 3],
        ..ClientIdentity::self_signed()
    };
    refused_after_handshake(server.address, Some(&garbage)).await;
}

/// In TLS 1.3 the client is done before the server has seen its certificate: the refusal comes with the first read.
async fn refused_after_handshake(address: SocketAddr, identity: Option<&ClientIdentity>) {
    let Ok(mut tls) = connect(address, identity, &["h2"]).await else {
        return;
    };
    let mut byte = [0];
    let read = timeout(Duration::from_secs(5), tls.read(&mut byte))
        .await
        .unwrap();
    assert!(read.is_err(), "expected a TLS alert, got {read:?}");
}

#[tokio::test]
async fn the_marble_api_requires_a_certificate() {
    let server = serve(true, Limits::default()).await;
    refused_after_handshake(server.address, None).await;
}

#[tokio::test]
async fn protocols_are_negotiated() {
    let (client, marble) = (
        serve(false, Limits::default()).await,
        serve(true, Limits::default()).await,
    );
    let me = ClientIdentity::self_signed();
    let protocol = async |address, offered: &[&str]| {
        let tls = connect(address, Some(&me), offered).await?;
        Ok::<_, std::io::Error>(tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(
        protocol(client.address, &["h2", "http/1.1"]).await.unwrap(),
        Some(b"h2".to_vec())
    );
    assert_eq!(
        protocol(client.address, &["http/1.1"]).await.unwrap(),
        Some(b"http/1.1".to_vec())
    );
    assert_eq!(protocol(client.address, &[]).await.unwrap(), None);
    assert_eq!(
        protocol(marble.address, &["h2"]).await.unwrap(),
        Some(b"h2".to_vec())
    );
    assert!(protocol(marble.address, &["http/1.1"]).await.is_err());
    let tls = connect(client.address, None, &[]).await.unwrap();
    assert_eq!(
        tls.get_ref().1.negotiated_key_exchange_group().unwrap().name(),
        rustls::NamedGroup::X25519MLKEM768
    );
}

/// The cipher a server of this suite agrees to with a client that offers `offered`, the best one first.
fn cipher(suite: CryptoSuite, offered: &[CipherSuite]) -> CipherSuite {
    let identity = identity();
    let config = tls::client_api(Arc::new(move || identity.clone()), suite).unwrap();
    let mut provider = tls::provider();
    provider
        .cipher_suites
        .retain(|known| offered.contains(&known.suite()));
    let place = |cipher| offered.iter().position(|offered| *offered == cipher);
    provider.cipher_suites.sort_by_key(|known| place(known.suite()));
    let client = client_config_with(provider, None, &[]);
    let name = "localhost".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = rustls::ServerConnection::new(config).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    server.read_tls(&mut &*hello).unwrap();
    server.process_new_packets().unwrap();
    server.negotiated_cipher_suite().unwrap().suite()
}

#[test]
fn connections_are_as_strong_as_the_crypto_suite_and_other_ciphers_are_taken() {
    use CipherSuite as C;
    let all = [
        C::TLS13_CHACHA20_POLY1305_SHA256,
        C::TLS13_AES_256_GCM_SHA384,
        C::TLS13_AES_128_GCM_SHA256,
    ];
    let (small, large) = (CryptoSuite::P256Aes128, CryptoSuite::P384Aes256);
    assert_eq!(cipher(small, &all), C::TLS13_AES_128_GCM_SHA256);
    assert_eq!(cipher(large, &all), C::TLS13_AES_256_GCM_SHA384);
    for alone in all {
        assert_eq!(cipher(small, &[alone]), alone);
        assert_eq!(cipher(large, &[alone]), alone);
    }
}

#[tokio::test]
async fn sessions_are_never_resumed() {
    let server = serve(false, Limits::default()).await;
    let config = Arc::new(client_config(Some(&ClientIdentity::self_signed()), &["http/1.1"]));
    for _ in 0..3 {
        let tls = connect_with(server.address, Arc::clone(&config)).await.unwrap();
        // A key exchange group the client did not guess costs a second hello, which is a full handshake, too.
        let kind = tls.get_ref().1.handshake_kind().unwrap();
        assert!(
            matches!(
                kind,
                HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest
            ),
            "{kind:?}"
        );
        assert!(!tls.get_ref().1.is_early_data_accepted());
        let mut sender = http1(tls).await;
        read(sender.send_request(request("GET", "/", "")).await.unwrap()).await;
    }
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let server = serve(false, Limits::default()).await;
    // ClientHello of TLS 1.2 with TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, P-256, ECDSA with SHA-256 (RFC 5246,
    // section 7.4.1.2).
    let extensions = [
        &[0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x17][..],
        &[0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x04, 0x03],
        &[0x00, 0x0b, 0x00, 0x02, 0x01, 0x00],
    ]
    .concat();
    let body = [
        &[0x03, 0x03][..],
        &[7; 32],
        &[0],
        &[0x00, 0x02, 0xc0, 0x2b],
        &[1, 0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ]
    .concat();
    let handshake = [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat();
    let record = [
        &[0x16, 0x03, 0x01][..],
        &(handshake.len() as u16).to_be_bytes(),
        &handshake,
    ]
    .concat();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&record).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    // Alert record, fatal, protocol_version (70).
    assert_eq!((reply[0], &reply[5..7]), (0x15, &[2, 70][..]), "{reply:?}");
}

#[tokio::test]
async fn a_new_identity_is_presented_at_once() {
    let server = serve(false, Limits::default()).await;
    let first = server_certificate(&connect(server.address, None, &[]).await.unwrap());
    assert_eq!(first, server.identity.lock().unwrap().certificate.to_vec());
    assert_eq!(
        server_certificate(&connect(server.address, None, &[]).await.unwrap()),
        first
    );
    let next = identity();
    *server.identity.lock().unwrap() = next.clone();
    assert_eq!(
        server_certificate(&connect(server.address, None, &[]).await.unwrap()),
        next.certificate.to_vec()
    );
}

#[tokio::test]
async fn silent_peers_are_dropped() {
    let server = serve(false, short()).await;
    let within = Duration::from_millis(250)..Duration::from_secs(5);

    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    let handshake = until_closed(&mut tcp).await;
    assert!(within.contains(&handshake), "in the handshake: {handshake:?}");

    for protocol in ["http/1.1", "h2"] {
        let mut tls = connect(server.address, None, &[protocol]).await.unwrap();
        let nothing = until_closed(&mut tls).await;
        assert!(
            within.contains(&nothing),
            "{protocol} without a request: {nothing:?}"
        );
    }

    let mut tls = connect(server.address, None, &["http/1.1"]).await.unwrap();
    tls.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ")
        .await
        .unwrap();
    let header = until_closed(&mut tls).await;
    assert!(within.contains(&header), "in the header: {header:?}");
}

#[tokio::test]
async fn headers_that_drip_do_not_extend_the_time() {
    let server = serve(false, short()).await;
    let tls = connect(server.address, None, &["http/1.1"]).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(tls);
    let drip = tokio::spawn(async move {
        let _ = writer.write_all(b"GET / HTTP/1.1\r\nx: ").await;
        while writer.write_all(b"y").await.is_ok() && writer.flush().await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(until_closed(&mut reader).await < Duration::from_secs(3));
    drip.abort();
}

#[tokio::test]
async fn a_body_that_stops_coming_ends_the_request() {
    let server = serve(false, short()).await;
    let mut tls = connect(server.address, None, &["http/1.1"]).await.unwrap();
    tls.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345")
        .await
        .unwrap();
    let mut start = [0; 12];
    timeout(Duration::from_secs(5), tls.read_exact(&mut start))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&start, b"HTTP/1.1 408");
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let server = serve(false, short()).await;
    let tls = connect(server.address, None, &["h2"]).await.unwrap();
    let mut sender = http2(tls).await;
    let get = || {
        http::Request::get("https://localhost/")
            .body(Default::default())
            .unwrap()
    };
    read(sender.send_request(get()).await.unwrap()).await;
    sleep(Duration::from_secs(2)).await;
    assert!(sender.is_closed());
}

#[tokio::test]
async fn a_running_request_is_not_idle() {
    let server = serve(
        false,
        Limits {
            idle_time: Duration::from_millis(100),
            header_time: Duration::from_millis(100),
            ..short()
        },
    )
    .await;
    for protocol in ["http/1.1", "h2"] {
        let tls = connect(server.address, None, &[protocol]).await.unwrap();
        let body = if protocol == "h2" {
            let request = http::Request::get("https://localhost/slow")
                .body(Default::default())
                .unwrap();
            read(http2(tls).await.send_request(request).await.unwrap())
                .await
                .2
        } else {
            read(
                http1(tls)
                    .await
                    .send_request(request("GET", "/slow", ""))
                    .await
                    .unwrap(),
            )
            .await
            .2
        };
        assert_eq!(body, b"done".as_slice(), "{protocol}");
    }
}

#[tokio::test]
async fn long_replies_arrive_whole() {
    let server = serve(false, Limits::default()).await;
    let expected = large().await;
    let get = http::Request::get("https://localhost/large")
        .body(Default::default())
        .unwrap();
    let tls = connect(server.address, None, &["h2"]).await.unwrap();
    let response = http2(tls).await.send_request(get).await.unwrap();
    assert_eq!(response.headers()["content-length"], "1000003");
    assert!(read(response).await.2 == expected);
    let tls = connect(server.address, None, &["http/1.1"]).await.unwrap();
    let mut sender = http1(tls).await;
    let response = sender.send_request(request("GET", "/large", "")).await.unwrap();
    assert_eq!(response.headers()["content-length"], "1000003");
    assert!(read(response).await.2 == expected);
}

/// Begin of an HTTP/2 connection and a first request, `GET /`, on stream 1.
fn first_request() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, b""));
    bytes.extend(frame(1, 0x05, 1, b"\x82\x84\x87\x41\x09localhost"));
    bytes
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
    frame.extend(payload);
    frame
}

/// How long the server bears a peer that sends a first request, and then `piece` every so often, `first` before it.
async fn until_it_closes(limits: Limits, first: &[u8], piece: Vec<u8>, pause: Duration) -> Duration {
    let server = serve(false, limits).await;
    let tls = connect(server.address, None, &["h2"]).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(tls);
    writer
        .write_all(&[&first_request(), first].concat())
        .await
        .unwrap();
    let drip = tokio::spawn(async move {
        while writer.write_all(&piece).await.is_ok() && writer.flush().await.is_ok() {
            sleep(pause).await;
        }
    });
    let took = until_closed(&mut reader).await;
    drip.abort();
    took
}

#[tokio::test]
async fn pings_do_not_keep_an_idle_connection() {
    let ping = frame(6, 0, 0, b"12345678");
    let took = until_it_closes(short(), b"", ping, Duration::from_millis(50)).await;
    let within = Duration::from_millis(500)..Duration::from_secs(4);
    assert!(within.contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_later_header_that_drips_is_cut_off_too() {
    let limits = Limits {
        idle_time: Duration::from_secs(15),
        ..short()
    };
    let begin = frame(1, 0x01, 3, b"\x82\x84\x87\x41\x09localhost");
    let more = frame(9, 0, 3, b"\x40\x01x\x01y");
    let took = until_it_closes(limits, &begin, more, Duration::from_millis(50)).await;
    let within = Duration::from_millis(250)..Duration::from_secs(6);
    assert!(within.contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_flood_of_control_frames_ends_the_connection() {
    let pings = frame(6, 0, 0, b"12345678").repeat(100);
    let took = until_it_closes(Limits::default(), b"", pings, Duration::from_millis(5)).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn whoever_only_holds_connections_makes_room() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let server = serve(false, limits).await;
    // One that does nothing at all, and one that idles after a request.
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut idle = http1(connect(server.address, None, &["http/1.1"]).await.unwrap()).await;
    read(idle.send_request(request("GET", "/", "")).await.unwrap()).await;
    let comes = async || {
        let (status, ..) = ask(server.address, None, "GET", "/", "").await;
        assert_eq!(status, 200);
    };
    timeout(Duration::from_secs(5), comes()).await.unwrap();
    assert!(
        until_closed(&mut silent).await < Duration::from_secs(1),
        "the quietest goes first"
    );
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let server = serve(false, Limits::default()).await;
    let mut sender = http2(connect(server.address, None, &["h2"]).await.unwrap()).await;
    let get = |path: &str| {
        http::Request::get(format!("https://localhost{path}"))
            .body(Default::default())
            .unwrap()
    };
    assert_eq!(sender.send_request(get("/boom")).await.unwrap().status(), 500);
    assert_eq!(sender.send_request(get("/")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let server = serve(
        false,
        Limits {
            connections: 2,
            ..Limits::default()
        },
    )
    .await;
    let first = connect(server.address, None, &["http/1.1"]).await.unwrap();
    let _second = connect(server.address, None, &["http/1.1"]).await.unwrap();
    let third = tokio::spawn(async move { connect(server.address, None, &["http/1.1"]).await.map(|_| ()) });
    sleep(Duration::from_millis(300)).await;
    assert!(!third.is_finished());
    drop(first);
    timeout(Duration::from_secs(5), third)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn stopping_finishes_what_runs_and_takes_nothing_new() {
    let server = serve(false, Limits::default()).await;
    let mut one = http1(connect(server.address, None, &["http/1.1"]).await.unwrap()).await;
    let mut two = http2(connect(server.address, None, &["h2"]).await.unwrap()).await;
    let idle = http2(connect(server.address, None, &["h2"]).await.unwrap()).await;
    let running = tokio::spawn(async move {
        let get = http::Request::get("https://localhost/slow")
            .body(Default::default())
            .unwrap();
        let (one, two) = tokio::join!(
            one.send_request(request("GET", "/slow", "")),
            two.send_request(get)
        );
        (read(one.unwrap()).await.2, read(two.unwrap()).await.2)
    });
    sleep(Duration::from_millis(200)).await;
    server.stop.send(true).unwrap();
    timeout(Duration::from_secs(5), server.task)
        .await
        .unwrap()
        .unwrap();
    let (one, two) = running.await.unwrap();
    assert_eq!(
        (one, two),
        (bytes::Bytes::from("done"), bytes::Bytes::from("done"))
    );
    assert!(idle.is_closed());
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_up_the_stop() {
    let server = serve(
        false,
        Limits {
            drain_time: Duration::from_millis(200),
            ..Limits::default()
        },
    )
    .await;
    let mut tls = connect(server.address, None, &["http/1.1"]).await.unwrap();
    tls.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345")
        .await
        .unwrap();
    sleep(Duration::from_millis(200)).await;
    server.stop.send(true).unwrap();
    timeout(Duration::from_secs(5), server.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn bodies_share_the_memory_set_aside_for_them() {
    let limits = Limits {
        body_bytes: 30_000,
        ..Limits::default()
    };
    let server = serve(false, limits).await;
    let head = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 20001\r\n\r\n";
    let mut first = connect(server.address, None, &["http/1.1"]).await.unwrap();
    first.write_all(head.as_bytes()).await.unwrap();
    first.write_all(&[b'x'; 20_000]).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    let (status, ..) = ask(server.address, None, "POST", "/echo", vec![b'y'; 20_000]).await;
    assert_eq!(status, 408, "what the unfinished request holds is taken");

    first.write_all(b"x").await.unwrap();
    let mut start = [0; 12];
    first.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    let (status, ..) = ask(server.address, None, "POST", "/echo", vec![b'y'; 20_000]).await;
    assert_eq!(status, 200, "what was answered is free again");
}
