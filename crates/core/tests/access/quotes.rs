//! Signing what verifying a quote came to.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marblerun_attestation::{Quote, TcbStatus};
use marblerun_core::flow::sign_quote;
use marblerun_core::refusal::RefusalKind;
use serde_json::json;

use crate::support::*;

#[test]
fn every_status_is_signed_by_the_root_key() {
    let world = World::new(80);
    let bytes = vec![3, 0, 2, 0, 255];
    let posted = sign_quote::examine(&world.state, bytes.clone()).unwrap_or_else(|r| panic!("{r}"));
    assert_eq!(posted.quote().as_bytes(), bytes);
    let public = world.state.authority().root_key.public().clone();
    let point = &public[public.len() - 65..];
    for status in TcbStatus::ALL {
        let signed = sign_quote::sign(&world.state, &posted, status, &world.ambient())
            .unwrap_or_else(|refusal| panic!("{refusal}"));
        assert_eq!(signed.tcb_status, status);
        let message = format!("{}{}", STANDARD.encode(&bytes), status.as_str());
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(message.as_bytes(), &signed.signature)
            .unwrap();
    }
}

#[test]
fn what_cannot_be_verified_is_refused_with_its_reason() {
    let world = World::new(81);
    for quote in [Vec::new(), vec![0; Quote::LIMIT + 1]] {
        let refused = sign_quote::examine(&world.state, quote)
            .map(|_| ())
            .map_err(refused);
        let (kind, message) = refusal(refused);
        assert_eq!(kind, RefusalKind::Malformed);
        assert!(
            message.contains("empty") || message.contains("too large"),
            "{message}"
        );
    }
    assert!(sign_quote::examine(&world.state, vec![0; Quote::LIMIT]).is_ok());
    assert_eq!(
        refused(sign_quote::not_verifiable("no collateral")),
        (RefusalKind::Malformed, "no collateral".into())
    );
}

#[test]
fn the_gate_is_asked_first() {
    let gates = with(manifest(), "/Config/FeatureGates", json!(["MonotonicCounter"]));
    let world = World::new(82);
    let posted = sign_quote::examine(&world.state, vec![1]).unwrap_or_else(|r| panic!("{r}"));
    for closed in [World::with(82, &gates), World::empty(82)] {
        let examined = sign_quote::examine(&closed.state, Vec::new())
            .map(|_| ())
            .map_err(refused);
        let signed = sign_quote::sign(&closed.state, &posted, TcbStatus::UpToDate, &closed.ambient());
        for refused in [examined, signed.map(|_| ()).map_err(refused)] {
            let (kind, message) = refusal(refused);
            assert_eq!(kind, RefusalKind::FeatureDisabled);
            assert!(message.contains("SignQuoteEndpoint"), "{message}");
        }
    }
}
