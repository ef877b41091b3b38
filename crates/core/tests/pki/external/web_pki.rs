//! webpki, the verifier of rustls: takes leaves of every type, as it does not look at a leaf's key. Certificates of
//! an authority it never takes for a server's (RFC 5280 would let them): those cases are left to the others.

use std::path::Path;

use webpki::{Error, KeyUsage};

use super::deployment::now;
use super::{AUTHORITY, Case, Fault, Usage, put_each};
use crate::support::{is_for, pem_block, verify};

#[test]
fn webpki_agrees() {
    put_each("webpki", |case| !is_authority(case), ask, words);
}

fn is_authority(case: &Case) -> bool {
    AUTHORITY.iter().any(|(leaf, _)| *leaf == case.leaf)
}

fn ask(directory: &Path, case: &Case) -> Result<(), String> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(directory.join(format!("{name}.pem"))).unwrap();
        pem_block("CERTIFICATE", &text)
    };
    let leaf = read(case.leaf);
    let between: Vec<Vec<u8>> = case.between.iter().map(|name| read(name)).collect();
    let between: Vec<&[u8]> = between.iter().map(Vec::as_slice).collect();
    let usage = match case.usage {
        Usage::Server => KeyUsage::server_auth(),
        Usage::Client => KeyUsage::client_auth(),
    };
    verify(&leaf, &between, &read(case.anchor), usage, now()).map_err(|error| format!("{error:?}"))?;
    match is_for(&leaf, case.name) {
        true => Ok(()),
        false => Err("NotValidForName".to_owned()),
    }
}

fn words(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::Issuer => &["UnknownIssuer", "InvalidSignatureForPublicKey"],
        Fault::Name => &["NotValidForName"],
        Fault::Usage => &["RequiredEkuNotFound"],
    }
}

#[test]
fn webpki_takes_no_authority_for_a_server() {
    let directory = super::deployment(marblerun_core::pki::CryptoSuite::default(), "webpki-authority");
    let cases = super::cases()
        .into_iter()
        .filter(is_authority)
        .filter(|case| case.fault.is_none());
    let expected = format!("{:?}", Error::CaUsedAsEndEntity);
    for case in cases {
        assert_eq!(ask(&directory, &case), Err(expected.clone()), "{case:?}");
    }
}
