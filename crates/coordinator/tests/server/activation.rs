//! The Marble API of the real program.

use std::collections::BTreeMap;
use std::sync::Arc;

use marblerun_wire::marble::ActivationReq;
use tonic::Code;

use crate::support::program::{Program, csr, manifest, start, uuid};
use crate::support::{ClientIdentity, connect, http1, http2};

const UUID: &str = "11111111-2222-4333-8444-555555555555";

async fn refused(program: &Program, request: ActivationReq) -> (Code, String) {
    let status = program.marble().await.activate(request).await.unwrap_err();
    (status.code(), status.message().to_owned())
}

fn request(marble_type: &str, uuid: &str) -> ActivationReq {
    ActivationReq {
        quote: Vec::new(),
        csr: csr(),
        marble_type: marble_type.to_owned(),
        uuid: uuid.to_owned(),
    }
}

#[tokio::test]
async fn every_refusal_has_its_code_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let (code, message) = refused(&program, request("plain", UUID)).await;
    assert_eq!(code, Code::FailedPrecondition, "{message}");

    let mut manifest = manifest();
    manifest["Marbles"]["huge"] = serde_json::json!({
        "Package": "any",
        "MaxActivations": 1,
        "Parameters": {"Files": {"/huge": "x".repeat(5 << 20)}},
    });
    program.set_manifest(&manifest).await;
    let cases = [
        (
            request("nope", UUID),
            Code::PermissionDenied,
            "unknown marble type",
        ),
        (request("plain", "not-a-uuid"), Code::InvalidArgument, "UUID"),
        (
            request("plain", "00000000-0000-0000-0000-000000000000"),
            Code::InvalidArgument,
            "nil UUID",
        ),
        (
            ActivationReq {
                csr: vec![1, 2, 3],
                ..request("plain", UUID)
            },
            Code::InvalidArgument,
            "CSR",
        ),
        (
            ActivationReq {
                csr: forged(),
                ..request("plain", UUID)
            },
            Code::InvalidArgument,
            "CSR",
        ),
        (request("unset", UUID), Code::Internal, "uploaded"),
        (request("huge", UUID), Code::Internal, "4194304"),
        // Nothing was spent for the reply that was too large.
        (request("huge", UUID), Code::Internal, "4194304"),
        (
            ActivationReq {
                quote: vec![0; 300 << 10],
                ..request("plain", UUID)
            },
            Code::OutOfRange,
            "too large",
        ),
    ];
    for (request, expected, part) in cases {
        let what = format!("{} {}", request.marble_type, request.uuid);
        let (code, message) = refused(&program, request).await;
        assert_eq!(code, expected, "{what}: {message}");
        assert!(message.contains(part), "{what}: {message}");
    }
}

/// A request whose signature does not hold.
fn forged() -> Vec<u8> {
    let mut csr = csr();
    // Inside the name the request asks for, which the signature covers.
    let place = csr.windows(6).position(|window| window == b"marble").unwrap();
    csr[place] = b'w';
    csr
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let mut marble = tonic::client::Grpc::new(program.channel().await);
    marble.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/rpc.Marble/Nope");
    let codec = tonic_prost::ProstCodec::<ActivationReq, ActivationReq>::default();
    let status = marble
        .unary(tonic::Request::new(ActivationReq::default()), path, codec)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_marble_gets_what_the_manifest_gives_it() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    program.set_manifest(&manifest()).await;
    let first = program.activate("plain", UUID).await.unwrap();
    assert_eq!(first.argv, ["./plain", "serve"]);
    assert_eq!(first.env["SHARED"].len(), 32);
    assert_eq!(first.env["OWN"].len(), 64);
    assert_eq!(first.files["/seal"].len(), 64);
    assert!(first.files["/cert"].starts_with(b"-----BEGIN PRIVATE KEY-----"));

    // The same instance, whatever the spelling of its UUID, gets the same keys; another one gets others.
    for spelling in [
        UUID.to_owned(),
        format!("urn:uuid:{UUID}"),
        format!("{{{UUID}}}"),
        UUID.replace('-', ""),
    ] {
        let again = program.activate("plain", &spelling).await.unwrap();
        assert_eq!(
            (&again.env["OWN"], &again.files["/seal"]),
            (&first.env["OWN"], &first.files["/seal"])
        );
        assert_ne!(
            again.env["MARBLE_PREDEFINED_PRIVATE_KEY"],
            first.env["MARBLE_PREDEFINED_PRIVATE_KEY"]
        );
    }
    let other = program.activate("plain", &uuid()).await.unwrap();
    assert_ne!(other.env["OWN"], first.env["OWN"]);
    assert_eq!(other.env["SHARED"], first.env["SHARED"]);

    let chain = first.env["MARBLE_PREDEFINED_MARBLE_CERTIFICATE_CHAIN"].clone();
    let leaf = x509_parser::pem::Pem::iter_from_buffer(&chain)
        .next()
        .unwrap()
        .unwrap();
    assert!(leaf.parse_x509().unwrap().subject().to_string().contains(UUID));
}

#[tokio::test]
async fn racers_never_exceed_the_budget() {
    let directory = tempfile::tempdir().unwrap();
    let program = Arc::new(start(directory.path(), &[]));
    program.set_manifest(&manifest()).await;
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let program = Arc::clone(&program);
        racers.spawn(async move { program.activate("few", &uuid()).await.map(|_| ()) });
    }
    let mut outcomes = BTreeMap::new();
    for outcome in racers.join_all().await {
        let code = outcome.map_or_else(|status| status.code(), |()| Code::Ok);
        *outcomes.entry(format!("{code:?}")).or_insert(0) += 1;
    }
    assert_eq!(
        outcomes,
        BTreeMap::from([("Ok".to_owned(), 10), ("PermissionDenied".to_owned(), 54)])
    );
    let status = program.activate("few", UUID).await.unwrap_err();
    assert!(
        status
            .message()
            .contains("reached max activations count (10) for marble type \"few\""),
        "{status}"
    );
}

#[tokio::test]
async fn peers_that_negotiate_no_protocol_speak_http_2() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let identity = ClientIdentity::self_signed();
    let tls = || connect(program.mesh, Some(&identity), &[]);
    let request = http::Request::post("https://localhost/rpc.Marble/Activate")
        .header("content-type", "application/grpc")
        .body(http_body_util::Full::new(bytes::Bytes::from_static(&[0; 5])))
        .unwrap();
    let reply = http2(tls().await.unwrap())
        .await
        .send_request(request.clone())
        .await
        .unwrap();
    // There is no manifest.
    assert_eq!(
        (reply.status().as_u16(), &reply.headers()["grpc-status"]),
        (200, &"9".parse().unwrap())
    );
    let other = http1(tls().await.unwrap()).await.send_request(request).await;
    assert!(other.is_err(), "{other:?}");
}
