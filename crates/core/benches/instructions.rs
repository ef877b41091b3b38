//! What the rules cost in instructions: one scenario a run, counted by callgrind (`cargo xtask instructions`).
//!
//! `instructions SCENARIO [--twice]`: everything is made ready, then [`measured_region`] runs once what is counted;
//! with `--twice` it does it again, which a gate has to notice.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a scenario that fails measures nothing"
)]

#[path = "../tests/proofs/support.rs"]
#[expect(dead_code, reason = "it serves tests, too")]
mod support;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use marblerun_attestation::collateral::DcapTee;
use marblerun_attestation::fakes::{EnclaveFields, QuoteFields, SoftwareTee};
use marblerun_attestation::{Collateral, Quote, ReportBinding, SimulationRoots, UnixSeconds, Verifier};
use marblerun_core::flow::write_secrets;
use marblerun_core::pki::CryptoSuite;
use marblerun_core::sealed::{DataKey, StateId, open_state, seal_state};
use marblerun_core::secret::upload::Upload;
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::state::State;
use marblerun_core::testing::TestDice;
use serde_json::{Map, Value, json};

use support::{activate, ambient, authority, decided, deploy};

const UUID: &str = "11111111-2222-4333-8444-555555555555";

/// What is counted.
#[inline(never)]
fn measured_region(work: &mut dyn FnMut()) {
    work();
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let scenario = arguments.get(1).map_or("", String::as_str);
    let times = if arguments.iter().any(|argument| argument == "--twice") {
        2
    } else {
        1
    };
    let dice = TestDice::new(1);
    // Random numbers, keys and tables that are made once are made before.
    let warm = deployed(&manifest(1), &dice);
    activate(&warm, "m", UUID, &dice);
    let mut work: Box<dyn FnMut()> = match scenario {
        "activate" => Box::new(|| {
            black_box(activate(&warm, "m", UUID, &dice));
        }),
        "write-secret" => write_secret(&dice),
        "manifest-10" => set_manifest(10, &dice),
        "manifest-1000" => set_manifest(1000, &dice),
        "manifest-10000" => set_manifest(10_000, &dice),
        "quote" => quote(),
        "restart-10000" => restart(&dice),
        other => panic!("no scenario {other:?}"),
    };
    measured_region(&mut || (0..times).for_each(|_| work()));
}

fn manifest(secrets: usize) -> Value {
    let secrets: Map<String, Value> = (0..secrets)
        .map(|index| {
            (
                format!("s{index}"),
                json!({"Type": "symmetric-key", "Size": 128, "Shared": true}),
            )
        })
        .collect();
    json!({
        "Packages": {"p": {"Debug": true}},
        "Secrets": secrets,
        "Marbles": {"m": {"Package": "p", "Parameters": {"Env": {"KEY": "{{ hex .Secrets.s0 }}"}}}},
    })
}

fn deployed(manifest: &Value, dice: &TestDice) -> State {
    let authority = authority(CryptoSuite::P256Aes128, dice);
    deploy(authority, SecretBytes::copy_from(&[7; 32]), manifest, dice).0
}

fn set_manifest(secrets: usize, dice: &TestDice) -> Box<dyn FnMut() + '_> {
    let (authority, manifest) = (authority(CryptoSuite::P256Aes128, dice), manifest(secrets));
    Box::new(move || {
        let root_secret = SecretBytes::copy_from(&[7; 32]);
        black_box(deploy(authority.clone(), root_secret, &manifest, dice));
    })
}

fn write_secret(dice: &TestDice) -> Box<dyn FnMut() + '_> {
    let mut manifest = manifest(1000);
    let section = |manifest: &mut Value, name: &str, value: Value| {
        manifest.as_object_mut().unwrap().insert(name.to_owned(), value);
    };
    let secrets = manifest.pointer_mut("/Secrets").unwrap();
    section(
        secrets,
        "u",
        json!({"Type": "symmetric-key", "Size": 128, "UserDefined": true}),
    );
    section(
        &mut manifest,
        "Users",
        json!({"a": {"Certificate": support::USER, "Roles": ["r"]}}),
    );
    let role = json!({"ResourceType": "Secrets", "ResourceNames": ["u"], "Actions": ["WriteSecret"]});
    section(&mut manifest, "Roles", json!({"r": role}));
    // None of them refers to the secret.
    let marbles = manifest.pointer_mut("/Marbles").unwrap().as_object_mut().unwrap();
    for index in 0..1000 {
        let parameters = json!({"Env": {"KEY": format!("{{{{ hex .Secrets.s{index} }}}}")}});
        marbles.insert(
            format!("m{index}"),
            json!({"Package": "p", "Parameters": parameters}),
        );
    }
    let (state, user) = (deployed(&manifest, dice), support::user());
    let upload = Upload {
        key: Some(SecretBytes::copy_from(&[7; 16])),
        ..Upload::default()
    };
    let uploads: BTreeMap<_, _> = [(Arc::from("u"), upload)].into();
    let write = move || {
        let prepared = write_secrets::prepare(&state, Some(&user), &uploads).unwrap();
        black_box(decided(write_secrets::decide(&state, &prepared, &ambient(dice))));
    };
    // What was freed before is put in order at some allocation, and not at one that is counted.
    write();
    Box::new(write)
}

/// A platform that was seen before, with its collateral.
fn quote() -> Box<dyn FnMut()> {
    let binding = ReportBinding::certificate(b"certificate");
    let platform = SoftwareTee::development().unwrap().intel(DcapTee::Sgx);
    let quote = QuoteFields::sgx(EnclaveFields::new(&binding))
        .sign(&platform)
        .unwrap();
    let (quote, collateral) = (
        Quote::new(quote).unwrap(),
        Collateral::Dcap(platform.collateral().unwrap()),
    );
    let verifier = Verifier::new(SimulationRoots::development());
    let now = UnixSeconds(1_767_225_600);
    verifier.verify(&quote, &binding, &collateral, now).unwrap();
    Box::new(move || {
        black_box(verifier.collateral_remembered(&quote).unwrap());
        black_box(verifier.verify(&quote, &binding, &collateral, now).unwrap());
    })
}

/// A checkpoint is read.
fn restart(dice: &TestDice) -> Box<dyn FnMut() + '_> {
    let state = deployed(&manifest(10_000), dice);
    let id = StateId::from_bytes([3; 32]);
    let (sealed, _) = seal_state(&state, id, dice).unwrap();
    let key: DataKey = state.sealing().unwrap().key.clone();
    Box::new(move || {
        black_box(
            open_state(&sealed, &key)
                .map_err(|error| error.to_string())
                .unwrap(),
        );
    })
}
