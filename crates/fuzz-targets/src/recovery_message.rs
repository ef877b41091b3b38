//! Recovery secrets as holders of recovery keys hand them in.

use std::sync::LazyLock;

use marblerun_core::original::OriginalHeader;
use marblerun_core::recovery::{Lock, Progress, Recovery, RecoveryPlan, RecoveryScheme};
use marblerun_core::sealed::{DataKey, Header, StateId};
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::testing::TestDice;
use marblerun_wire::rest::{read_body, v2};
use serde_json::Value;

use super::cursor::{Cursor, with_mode};

/// A state that is locked, with its key and the shares of it.
struct Locked {
    lock: Lock,
    key: Vec<u8>,
    shares: Vec<Vec<u8>>,
}

static LOCKED: LazyLock<Vec<Locked>> = LazyLock::new(|| {
    let of_the_original = |file: &[u8], recorded: &str| {
        let recorded: Value = serde_json::from_str(recorded).unwrap();
        let key = hex::decode(recorded.get("dek_hex").and_then(Value::as_str).unwrap()).unwrap();
        let shares = match recorded.get("shares_hex").and_then(Value::as_object) {
            Some(shares) => shares
                .values()
                .map(|share| hex::decode(share.as_str().unwrap()).unwrap())
                .collect(),
            None => vec![key.clone()],
        };
        Locked {
            lock: Lock::Original(OriginalHeader::parse(file).unwrap()),
            key,
            shares,
        }
    };
    vec![
        of_the_original(
            include_bytes!("../../core/tests/golden/original/single-sealed_data.bin"),
            include_str!("../../core/tests/golden/recovery/single-recovery.json"),
        ),
        of_the_original(
            include_bytes!("../../core/tests/golden/original/xor2-sealed_data.bin"),
            include_str!("../../core/tests/golden/recovery/xor2-recovery.json"),
        ),
        of_the_original(
            include_bytes!("../../core/tests/golden/original/shamir2of3-sealed_data.bin"),
            include_str!("../../core/tests/golden/recovery/shamir2of3-recovery.json"),
        ),
        ours(RecoveryScheme::Single, 1),
        ours(RecoveryScheme::Xor, 2),
        ours(RecoveryScheme::Shamir, 2),
    ]
});

fn ours(scheme: RecoveryScheme, threshold: usize) -> Locked {
    let dice = TestDice::new(3);
    let key = [0x4B; 32];
    let shares = match scheme {
        RecoveryScheme::Xor => marblerun_core::recovery::xor::split(&key, threshold, &dice),
        RecoveryScheme::Shamir => marblerun_core::recovery::shamir::split(&key, threshold, 3, &dice),
        _ => Some(vec![SecretBytes::copy_from(&key)]),
    };
    let shares: Vec<Vec<u8>> = shares
        .unwrap()
        .iter()
        .map(|share| share.expose().to_vec())
        .collect();
    let hashes = shares
        .iter()
        .map(|share| super::sealed_file::sha256(share))
        .collect();
    let plan = RecoveryPlan::from_parts(scheme, threshold, hashes).unwrap();
    let data_key = DataKey::from_bytes(SecretBytes::copy_from(&key)).unwrap();
    let id = StateId::from_bytes([1; 32]);
    Locked {
        lock: Lock::Ours(Box::new(Header::new(id, &data_key, 1, plan, &dice).unwrap())),
        key: key.to_vec(),
        shares,
    }
}

/// The state (first byte), then messages, each with its length in front (two bytes, little-endian): a body of the
/// client API, or a secret and its signature.
pub fn run(input: &[u8]) {
    let Some((&which, rest)) = input.split_first() else {
        return;
    };
    let Some(locked) = LOCKED.get(usize::from(which) % LOCKED.len()) else {
        return;
    };
    let mut recovery = Recovery::new(locked.lock.clone());
    let mut cursor = Cursor(rest);
    while !cursor.0.is_empty() {
        let length = usize::from(cursor.u16());
        let message = cursor.take(length);
        let (secret, signature) = match read_body::<v2::Recover>(message) {
            Ok(body) => (
                body.recovery_secret.expose().to_vec(),
                body.recovery_secret_signature.0.clone(),
            ),
            Err(_) => {
                let mut parts = Cursor(message);
                let length = usize::from(parts.byte());
                (parts.take(length).to_vec(), parts.0.to_vec())
            }
        };
        let known = locked.shares.contains(&secret);
        match recovery.collect(SecretBytes::copy_from(&secret), &signature) {
            Ok(Progress::Wanting { remaining }) => {
                assert!(known && remaining > 0, "what is no share is taken for one");
            }
            Ok(Progress::Complete(recovered)) => {
                // Only opening its state tells whether a single secret of the original is one.
                let told =
                    !matches!(&locked.lock, Lock::Original(header) if header.share_hashes().is_empty());
                assert!(!told || known, "what is no share is taken for one");
                assert!(
                    !told || recovered.key.bytes().expose() == locked.key,
                    "another key comes out"
                );
            }
            Err(refusal) => assert!(!refusal.message().is_empty()),
        }
        assert!(recovery.collected().len() <= locked.shares.len().max(1));
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let mut seeds = Vec::new();
    for (which, locked) in (0..).zip(LOCKED.iter()) {
        let (mut raw, mut bodies) = (Vec::new(), Vec::new());
        for share in &locked.shares {
            let mut message = with_mode(u8::try_from(share.len()).unwrap_or(0), share);
            message.extend_from_slice(b"signature");
            raw.extend_from_slice(&u16::try_from(message.len()).unwrap_or(0).to_le_bytes());
            raw.extend(message);
            let encoded = base64::engine::general_purpose::STANDARD.encode(share);
            let body = format!(r#"{{"recoverySecret": "{encoded}", "recoverySecretSignature": "AAEC"}}"#);
            bodies.extend_from_slice(&u16::try_from(body.len()).unwrap_or(0).to_le_bytes());
            bodies.extend_from_slice(body.as_bytes());
        }
        seeds.push(with_mode(which, &raw));
        seeds.push(with_mode(which, &bodies));
    }
    seeds
}
