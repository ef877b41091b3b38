//! Recovery shares against recordings of MarbleRun 1.9 and against another implementation of Shamir's scheme.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64::prelude::{BASE64_STANDARD, Engine};
use marblerun_core::ambient::{CryptoFault, Dice};
use marblerun_core::pki::key::{KeyKind, PrivateKey, SignatureHash};
use marblerun_core::recovery::{shamir, xor};
use marblerun_core::secret::value::SecretBytes;
use proptest::prelude::*;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use vsss_rs::Gf256;

struct Recording {
    data_key: SecretBytes,
    shares: BTreeMap<String, SecretBytes>,
}

/// Decrypts a recording; where it lists the shares, they are what was encrypted.
fn recording(name: &str) -> Recording {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/recovery");
    let text = std::fs::read(directory.join(format!("{name}-recovery.json"))).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let hex =
        |value: &serde_json::Value| SecretBytes::copy_from(&hex::decode(value.as_str().unwrap()).unwrap());
    let mut shares = BTreeMap::new();
    for (holder, secret) in document["recovery_secrets"].as_object().unwrap() {
        let key = directory.join(format!("recovery-{holder}.key.pem"));
        let key = PrivatePkcs8KeyDer::from_pem_file(key).unwrap();
        let key = PrivateDecryptingKey::from_pkcs8(key.secret_pkcs8_der()).unwrap();
        let key = OaepPrivateDecryptingKey::new(key).unwrap();
        let secret = BASE64_STANDARD.decode(secret.as_str().unwrap()).unwrap();
        let mut out = vec![0; key.min_output_size()];
        let share = key
            .decrypt(&OAEP_SHA256_MGF1SHA256, &secret, &mut out, None)
            .unwrap();
        let share = SecretBytes::copy_from(share);
        if let Some(listed) = document["shares_hex"].get(holder) {
            assert!(share == hex(listed), "{name} {holder}");
        }
        shares.insert(holder.clone(), share);
    }
    Recording {
        data_key: hex(&document["dek_hex"]),
        shares,
    }
}

#[test]
fn recorded_secrets_give_the_recorded_keys() {
    let single = recording("single");
    assert!(single.shares["one"] == single.data_key);

    let all = recording("xor2");
    let shares: Vec<_> = all.shares.values().cloned().collect();
    assert!(xor::combine(&shares).unwrap() == all.data_key);

    let some = recording("shamir2of3");
    for (one, two) in [("one", "two"), ("three", "one"), ("two", "three")] {
        let shares = [some.shares[one].clone(), some.shares[two].clone()];
        assert!(shamir::combine(&shares).unwrap() == some.data_key, "{one} {two}");
    }
    let shares: Vec<_> = some.shares.values().cloned().collect();
    assert!(shamir::combine(&shares).unwrap() == some.data_key);
}

proptest! {
    #[test]
    fn either_implementation_combines_what_the_other_split(
        secret in prop_oneof![prop::collection::vec(any::<u8>(), 16), prop::collection::vec(any::<u8>(), 32)],
        shares in 2_usize..12,
        needed in any::<prop::sample::Index>(),
        start in any::<prop::sample::Index>(),
    ) {
        let threshold = 2 + needed.index(shares - 1);
        let start = start.index(shares - threshold + 1);

        let ours = shamir::split(&secret, threshold, shares, &ProviderRandom).unwrap();
        // The other one has the x coordinate in front.
        let theirs: Vec<Vec<u8>> = ours
            .iter()
            .skip(start)
            .take(threshold)
            .map(|share| {
                let (x, ys) = share.expose().split_last().unwrap();
                [&[*x], ys].concat()
            })
            .collect();
        prop_assert_eq!(&Gf256::combine_bytes(&theirs).unwrap(), &secret);

        let theirs = Gf256::split_bytes(threshold, shares, &secret, ProviderRandom).unwrap();
        let ours: Vec<SecretBytes> = theirs
            .iter()
            .skip(start)
            .take(threshold)
            .map(|share| {
                let (x, ys) = share.split_first().unwrap();
                SecretBytes::copy_from(&[ys, &[*x]].concat())
            })
            .collect();
        prop_assert!(shamir::combine(&ours).unwrap().expose() == secret.as_slice());
    }
}

/// The random numbers of the crypto provider.
struct ProviderRandom;

impl Dice for ProviderRandom {
    fn fill(&self, out: &mut [u8]) {
        aws_lc_rs::rand::fill(out).unwrap();
    }

    fn generate_key(&self, _: KeyKind) -> Result<PrivateKey, CryptoFault> {
        unreachable!()
    }

    fn sign(&self, _: &PrivateKey, _: SignatureHash, _: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        unreachable!()
    }

    fn encrypt_oaep_sha256(&self, _: &[u8], _: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        unreachable!()
    }
}

impl rand_core::TryRng for ProviderRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        Dice::fill(self, &mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        Dice::fill(self, &mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        Dice::fill(self, out);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for ProviderRandom {}
