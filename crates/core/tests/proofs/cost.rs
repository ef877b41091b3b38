//! A manifest with 1,000 private RSA-4096 secrets costs a marble that refers to none of them nothing.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use marblerun_core::ambient::{CryptoFault, Dice};
use marblerun_core::pki::CryptoSuite;
use marblerun_core::pki::key::{KeyKind, PrivateKey, SignatureHash};
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::state::State;
use marblerun_core::testing::TestDice;
use serde_json::{Map, Value, json};

use super::allocator::count_allocations;
use super::support::{activate, authority, deploy};

const UUID: &str = "11111111-2222-4333-8444-555555555555";

fn manifest(more_secrets: usize) -> Value {
    let mut secrets: Map<String, Value> = (0..more_secrets)
        .map(|number| (format!("rsa{number}"), json!({"Type": "cert-rsa", "Size": 4096})))
        .collect();
    secrets.insert("key".into(), json!({"Type": "symmetric-key", "Size": 256}));
    secrets.insert("cert".into(), json!({"Type": "cert-ecdsa", "Size": 256}));
    let env = json!({
        "KEY": "{{ hex .Secrets.key }}",
        "CERT": "{{ pem .Secrets.cert }}{{ pem .Secrets.cert.Private }}",
    });
    json!({
        "Packages": {"p": {"Debug": true}},
        "Secrets": secrets,
        "Marbles": {"m": {"Package": "p", "Parameters": {"Env": env}}},
    })
}

/// Dice that count what they are asked for.
#[derive(Default)]
struct Counting {
    dice: TestDice,
    calls: AtomicU64,
    bytes: AtomicU64,
}

impl Counting {
    fn count(&self, bytes: usize) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn seen(&self) -> (u64, u64) {
        (
            self.calls.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }
}

impl Dice for Counting {
    fn fill(&self, out: &mut [u8]) {
        self.count(out.len());
        self.dice.fill(out);
    }

    fn generate_key(&self, kind: KeyKind) -> Result<PrivateKey, CryptoFault> {
        assert!(
            !matches!(kind, KeyKind::Rsa(_)),
            "an RSA key that nobody refers to"
        );
        self.count(0);
        self.dice.generate_key(kind)
    }

    fn sign(&self, key: &PrivateKey, hash: SignatureHash, message: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        self.count(message.len());
        self.dice.sign(key, hash, message)
    }

    fn encrypt_oaep_sha256(&self, key: &[u8], text: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        self.count(text.len());
        self.dice.encrypt_oaep_sha256(key, text)
    }
}

fn deployed(more_secrets: usize) -> State {
    let dice = Counting::default();
    let own = authority(CryptoSuite::P256Aes128, &dice);
    deploy(
        own,
        SecretBytes::copy_from(&[5; 32]),
        &manifest(more_secrets),
        &dice,
    )
    .0
}

#[test]
fn what_is_not_referred_to_costs_neither_memory_nor_randomness() {
    let costs = [0, 1000].map(|more_secrets| {
        let state = deployed(more_secrets);
        // What is parsed once and kept is parsed now.
        drop(activate(&state, "m", UUID, &Counting::default()));
        let dice = Counting::default();
        let (activated, allocations) = count_allocations(|| activate(&state, "m", UUID, &dice));
        assert_eq!(activated.parameters.env["KEY"].len(), 64);
        (dice.seen(), allocations)
    });
    let [(few_drawn, few_allocations), (many_drawn, many_allocations)] = costs;
    // Numbers vary in length by a byte, and blocks with them.
    assert!(
        few_drawn.0 == many_drawn.0 && few_drawn.1.abs_diff(many_drawn.1) < 16,
        "{costs:?}"
    );
    assert!(few_allocations.abs_diff(many_allocations) <= 8, "{costs:?}");

    // The measure sees what is referred to.
    let mut referring = manifest(0);
    referring["Marbles"]["m"]["Parameters"]["Env"]["AGAIN"] =
        json!("{{ range .Secrets }}{{ hex .Private }}{{ end }}");
    let dice = TestDice::new(1);
    let own = authority(CryptoSuite::P256Aes128, &dice);
    let state = deploy(own, SecretBytes::copy_from(&[5; 32]), &referring, &dice).0;
    let (_, allocations) = count_allocations(|| activate(&state, "m", UUID, &dice));
    assert!(allocations > many_allocations + 8, "{allocations} {costs:?}");
}

/// What is measured below, in a process of its own; by itself it only activates.
#[test]
fn activations_to_be_measured() {
    let more_secrets = std::env::var(MORE_SECRETS).map_or(0, |number| number.parse().unwrap());
    let state = deployed(more_secrets);
    activate_measured(&state);
}

const MORE_SECRETS: &str = "MARBLERUN_TEST_MORE_SECRETS";
const ACTIVATIONS: u32 = 8;

#[inline(never)]
fn activate_measured(state: &State) {
    let dice = TestDice::new(3);
    for _ in 0..ACTIVATIONS {
        drop(activate(state, "m", UUID, &dice));
    }
}

#[test]
fn what_is_not_referred_to_costs_no_instructions() {
    let found = Command::new("valgrind").arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "\n*** SKIPPED: `valgrind` is not installed; the cost of unused secrets was NOT measured ***\n"
        );
        return;
    }
    let [few, many] = [0, 1000].map(instructions);
    eprintln!(
        "instructions of an activation: {few} with no further secret, {many} with 1,000 RSA-4096 secrets"
    );
    assert!(few > 100_000, "{few}: nothing was measured");
    assert!(few.abs_diff(many) * 10 <= few, "{few} instructions became {many}");
}

/// Instructions of one activation, counted by callgrind.
fn instructions(more_secrets: usize) -> u64 {
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--collect-atstart=no",
        ])
        .arg("--toggle-collect=*activate_measured*")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "cost::activations_to_be_measured", "--test-threads=1"])
        .env(MORE_SECRETS, more_secrets.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let (_, number) = collected.unwrap_or_else(|| panic!("no count in {text}"));
    number.trim().parse::<u64>().unwrap() / u64::from(ACTIVATIONS)
}
