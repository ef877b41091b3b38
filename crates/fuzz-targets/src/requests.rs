//! What peers ask with: certificate requests, client certificates, requests for activation.

use marblerun_attestation::Quote;
use marblerun_coordinator::certificate::public_key_info;
use marblerun_core::access::{Caller, recognise, recognise_marble};
use marblerun_core::decision::Verdict;
use marblerun_core::flow::activate;
use marblerun_core::manifest::{HsmEnvironment, Limits, check};
use marblerun_core::pki::{marble, pem, request};
use marblerun_core::refusal::RefusalKind;
use marblerun_wire::marble::{ActivationReq, REQUEST_LIMIT};
use prost::Message as _;
use serde_json::json;

use super::world::{ADMISSION, DICE, STATE, USER, der};

const CSR: &str = include_str!("../../core/tests/golden/recorded.csr.pem");
const UUID: &str = "11111111-2222-4333-8444-555555555555";

pub fn run_csr(input: &[u8]) {
    match request::parse(input) {
        Ok(csr) => assert!(csr.names().len() <= input.len()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub fn seeds_csr() -> Vec<Vec<u8>> {
    [
        CSR,
        include_str!("../../core/tests/golden/pki/rsa-1024-request.pem"),
    ]
    .map(|text| der(text).to_vec())
    .into()
}

pub fn run_certificate(input: &[u8]) {
    let info = public_key_info(input);
    if let Some(info) = info {
        assert!(info.len() < input.len());
    }
    match recognise(&STATE, Some(input)) {
        Ok(Caller::User { .. }) => assert!(
            *input == *der(USER),
            "another certificate is taken for the user's"
        ),
        Ok(Caller::Marble { .. }) => panic!("a marble that nobody started"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    assert!(recognise_marble(&STATE, Some(input)).is_err());
    assert!(marble::recognise(STATE.authority(), input).is_err());

    let manifest = json!({
        "Packages": {"p": {"Debug": true}},
        "Marbles": {"m": {"Package": "p"}},
        "Users": {"u": {"Certificate": pem::encode("CERTIFICATE", input)}},
    });
    let environment = HsmEnvironment::from_lookup(|_| true);
    let checked = check(manifest.to_string().as_bytes(), &Limits::default(), &environment);
    if let Ok(checked) = checked {
        let user = checked.manifest.users.values().next().unwrap();
        assert!(
            *user.certificate == *input,
            "another certificate than the one given"
        );
        // Who is a user can prove the key in a handshake.
        assert!(info.is_some(), "a user nobody can be");
    }
}

pub fn seeds_certificate() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        USER,
        include_str!("../../core/tests/golden/manifest/keys/user-ed25519.pem"),
        include_str!("../../core/tests/golden/manifest/keys/user-rsa-v1.pem"),
        include_str!("../../core/tests/golden/pki/root.pem"),
        include_str!("../../core/tests/golden/pki/certEd.pem"),
    ]
    .iter()
    .map(|text| der(text).to_vec())
    .collect();
    seeds.push(STATE.authority().root.to_vec());
    seeds
}

pub fn run_activation(input: &[u8]) {
    activates(input);
}

/// Whether the request ends in an activation.
fn activates(input: &[u8]) -> bool {
    let Ok(asked) = ActivationReq::decode(input) else {
        return false;
    };
    if input.len() <= REQUEST_LIMIT {
        let again = ActivationReq::decode(asked.encode_to_vec().as_slice());
        assert!(again.as_ref() == Ok(&asked), "another request comes back");
    }
    let _ = Quote::new(asked.quote).map(|quote| quote.kind());
    let known = activate::examine(&STATE, &asked.marble_type).is_ok();
    let request = activate::Request {
        marble_type: &asked.marble_type,
        uuid: &asked.uuid,
        csr: &asked.csr,
        admission: &ADMISSION,
    };
    match activate::prepare(&STATE, request, &DICE.ambient()) {
        Ok(prepared) => {
            assert!(known, "a type that nobody knows");
            match activate::decide(&STATE, &prepared) {
                Ok(Verdict::Decided(decision)) => {
                    assert!(*decision.reply.marble_type == *asked.marble_type);
                    true
                }
                Ok(Verdict::Stale) => panic!("stale"),
                Err(refusal) => panic!("{refusal}"),
            }
        }
        Err(refusal) => {
            assert!(!refusal.message().is_empty());
            assert!(refusal.kind() != RefusalKind::Internal, "{refusal}");
            false
        }
    }
}

pub fn seeds_activation() -> Vec<Vec<u8>> {
    let csr = der(CSR).to_vec();
    [("m", UUID), ("few", UUID), ("nope", UUID), ("m", "no uuid")]
        .map(|(marble_type, uuid)| {
            ActivationReq {
                quote: vec![1, 2, 3],
                csr: csr.clone(),
                marble_type: marble_type.into(),
                uuid: uuid.into(),
            }
            .encode_to_vec()
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_get_to_an_activation() {
        let activated: Vec<bool> = seeds_activation().iter().map(|seed| activates(seed)).collect();
        assert_eq!(activated, [true, true, false, false]);
    }
}
