//! A deployment to ask things of, and claims of each TEE.

use std::sync::{Arc, LazyLock};

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::DcapTee;
use marblerun_attestation::fakes::{EnclaveFields, QuoteFields, SnpReportFields, TdFields};
use marblerun_attestation::{Admission, Claims, Collateral};
use marblerun_core::decision::Verdict;
use marblerun_core::flow::set_manifest;
use marblerun_core::manifest::{HsmEnvironment, Limits};
use marblerun_core::pki::{CryptoSuite, HostName, authority};
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::state::State;
use marblerun_core::testing::TestDice;
use serde_json::json;

use super::evidence::{FAKE_SGX, FAKE_TDX, TEE, binding, verified_fake, verify_fake};

pub static DICE: TestDice = TestDice::new(7);

/// The certificate of the user `alice`, PEM.
pub const USER: &str = include_str!("../../core/tests/golden/manifest/keys/user-p256.pem");

/// A deployment with secrets that are quick to make.
pub static STATE: LazyLock<State> = LazyLock::new(|| {
    let manifest = json!({
        "Packages": {"p": {"SNP": {"Measurement": "3e".repeat(48)}}},
        "Marbles": {
            "m": {"Package": "p", "Roles": ["reader"], "Parameters": {
                "Files": {"/key": "{{ raw .Secrets.shared }}", "/cert": "{{ pem .Secrets.cert.Cert }}"},
                "Env": {"KEY": "{{ hex .Secrets.own }}", "ROOT": "{{ pem .MarbleRun.RootCA.Cert }}"},
                "Argv": ["./it"],
            }},
            "few": {"Package": "p", "MaxActivations": 3},
        },
        "Secrets": {
            "shared": {"Type": "symmetric-key", "Size": 128, "Shared": true},
            "own": {"Type": "symmetric-key", "Size": 256},
            "cert": {"Type": "cert-ecdsa", "Size": 256},
            "uploaded": {"Type": "cert-ecdsa", "Size": 256, "UserDefined": true},
        },
        "Users": {"alice": {"Certificate": USER, "Roles": ["reader"]}},
        "Roles": {
            "reader": {"ResourceType": "Secrets", "ResourceNames": ["shared"], "Actions": ["ReadSecret"]},
        },
    });
    let names = [HostName::Dns("localhost".into())];
    let authority = authority::create(CryptoSuite::P256Aes128, &names, None, &DICE.ambient()).unwrap();
    let mut state = State::begin(authority, SecretBytes::copy_from(&[0x40; 32]), false);
    let environment = HsmEnvironment::from_lookup(|_| true);
    let prepared = set_manifest::prepare(
        &state,
        manifest.to_string().as_bytes(),
        &Limits::default(),
        &environment,
        &DICE.ambient(),
    );
    let prepared = prepared.unwrap_or_else(|refusal| panic!("{refusal}"));
    match set_manifest::decide(&state, &prepared, &DICE.ambient()) {
        Ok(Verdict::Decided(decision)) => decision.changes.iter().for_each(|change| state.apply(change)),
        _ => panic!("the manifest is not set"),
    }
    state
});

/// By what marbles of [`STATE`] are admitted: evidence that complies with their package.
pub static ADMISSION: LazyLock<Admission> = LazyLock::new(|| {
    let (evidence, collateral) = snp();
    Admission::VerifiedInSimulation(verified_fake(evidence, &collateral).unwrap())
});

fn snp() -> (Vec<u8>, Collateral) {
    let platform = TEE.snp(SnpProduct::Turin, SnpSigningKey::Vcek);
    let report = SnpReportFields::new(&platform, SnpSigningKey::Vcek, &binding());
    let collateral = Collateral::Snp(platform.collateral().unwrap());
    (report.sign(&platform).unwrap(), collateral)
}

/// Claims of each TEE.
pub fn claims() -> &'static [Claims] {
    static CLAIMS: LazyLock<Vec<Claims>> = LazyLock::new(|| {
        let sgx = QuoteFields::sgx(EnclaveFields::new(&binding()));
        let sgx = sgx.sign(&TEE.intel(DcapTee::Sgx)).unwrap();
        let tdx = QuoteFields::tdx_v4(TdFields::new(&binding()));
        let tdx = tdx.sign(&TEE.intel(DcapTee::Tdx)).unwrap();
        let (snp, collateral) = snp();
        vec![
            verify_fake(sgx, &FAKE_SGX).unwrap(),
            verify_fake(tdx, &FAKE_TDX).unwrap(),
            verify_fake(snp, &collateral).unwrap(),
        ]
    });
    &CLAIMS
}

/// The first block of a PEM text.
pub fn der(pem: &str) -> Arc<[u8]> {
    use base64::Engine as _;
    let body: String = pem
        .lines()
        .skip_while(|line| !line.starts_with("-----BEGIN"))
        .skip(1)
        .take_while(|line| !line.starts_with("-----"))
        .collect();
    base64::engine::general_purpose::STANDARD
        .decode(body)
        .unwrap()
        .into()
}
