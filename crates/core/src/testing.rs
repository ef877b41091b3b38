//! Dice for tests: seeded bytes, real keys. Behind the feature `testing`, never part of a release.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeyPair as RsaKeyPair, KeySize, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey,
};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RsaEncoding,
};

use crate::ambient::{Ambient, CryptoFault, Dice, Timestamp};
use crate::pki::key::{KeyKind, PrivateKey, SignatureHash, Signer};

/// 2026-11-21T08:42:31Z: the time of tests that do not care which.
pub const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_250_551);

/// RSA keys made for each size; further requests get them again, in turn.
const RSA_POOL: usize = 2;

/// Dice whose bytes depend on the seed alone. EC and Ed25519 keys are fresh; RSA keys come from a small pool
/// that the process shares, as they are slow to make. Signatures and OAEP ciphertexts are the provider's.
pub struct TestDice {
    seed: u64,
    drawn: AtomicU64,
}

impl TestDice {
    /// Dice with a seed.
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            drawn: AtomicU64::new(0),
        }
    }

    /// An ambient at [`NOW`] with these dice.
    pub fn ambient(&self) -> Ambient<'_> {
        Ambient { now: NOW, dice: self }
    }
}

impl Default for TestDice {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Dice for TestDice {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let number = self.drawn.fetch_add(1, Ordering::Relaxed);
            let block = digest(&SHA256, &[self.seed.to_be_bytes(), number.to_be_bytes()].concat());
            chunk
                .iter_mut()
                .zip(block.as_ref())
                .for_each(|(to, from)| *to = *from);
        }
    }

    fn generate_key(&self, kind: KeyKind) -> Result<PrivateKey, CryptoFault> {
        let fault = CryptoFault::in_operation("generate a key for a test");
        let signer = match kind {
            KeyKind::P224 => {
                let mut scalar = [0; 28];
                self.fill(&mut scalar);
                return PrivateKey::p224_from_scalar(&scalar).ok_or(fault);
            }
            KeyKind::P256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map(Signer::Ecdsa),
            KeyKind::P384 => EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).map(Signer::Ecdsa),
            KeyKind::P521 => EcdsaKeyPair::generate(&ECDSA_P521_SHA512_ASN1_SIGNING).map(Signer::Ecdsa),
            KeyKind::Ed25519 => Ed25519KeyPair::generate().map(Signer::Ed25519),
            KeyKind::Rsa(bits) => return pooled_rsa(bits),
        };
        PrivateKey::from_signer(signer.map_err(|_| fault)?)
    }

    fn sign(&self, key: &PrivateKey, hash: SignatureHash, message: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        let fault = CryptoFault::in_operation("sign in a test");
        let random = SystemRandom::new();
        match (key.kind(), hash, key.signer()?) {
            (KeyKind::P384, SignatureHash::Sha256, _) => {
                let hash = digest(&SHA256, message);
                key.sign_sha256_with_p384(hash.as_ref().try_into().map_err(|_| fault)?)
            }
            (KeyKind::P256, SignatureHash::Sha256, Signer::Ecdsa(pair))
            | (KeyKind::P384, SignatureHash::Sha384, Signer::Ecdsa(pair)) => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| fault),
            (_, _, Signer::Ed25519(pair)) => Ok(pair.sign(message).as_ref().to_vec()),
            (_, hash, Signer::Rsa(pair)) => {
                let encoding: &dyn RsaEncoding = match hash {
                    SignatureHash::Sha256 => &RSA_PKCS1_SHA256,
                    SignatureHash::Sha384 => &RSA_PKCS1_SHA384,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature)
                    .map_err(|_| fault)?;
                Ok(signature)
            }
            _ => Err(fault),
        }
    }

    fn encrypt_oaep_sha256(&self, public_key_pkix: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        let fault = CryptoFault::in_operation("encrypt in a test");
        let key = PublicEncryptingKey::from_der(public_key_pkix).map_err(|_| fault)?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| fault)?;
        let mut ciphertext = vec![0; key.ciphertext_size()];
        key.encrypt(&OAEP_SHA256_MGF1SHA256, plaintext, &mut ciphertext, None)
            .map_err(|_| fault)?;
        Ok(ciphertext)
    }
}

fn pooled_rsa(bits: u16) -> Result<PrivateKey, CryptoFault> {
    static POOL: Mutex<Option<HashMap<u16, Vec<PrivateKey>>>> = Mutex::new(None);
    static TURN: AtomicUsize = AtomicUsize::new(0);

    let fault = CryptoFault::in_operation("generate an RSA key for a test");
    let size = match bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        4096 => KeySize::Rsa4096,
        8192 => KeySize::Rsa8192,
        _ => return Err(fault),
    };
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let keys = pool.get_or_insert_default().entry(bits).or_default();
    while keys.len() < RSA_POOL {
        let pair = RsaKeyPair::generate(size).map_err(|_| fault)?;
        keys.push(PrivateKey::from_signer(Signer::Rsa(pair))?);
    }
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    keys.get(turn % RSA_POOL).cloned().ok_or(fault)
}
