//! The dice of a running Coordinator: the crypto provider, aws-lc-rs, and its random source.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeyPair as RsaKeyPair, KeySize, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey,
};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RsaEncoding,
};
use marblerun_core::ambient::{CryptoFault, Dice};
use marblerun_core::pki::key::{KeyKind, PrivateKey, SignatureHash, Signer};
use zeroize::Zeroizing;

/// How often a P-224 scalar is drawn before we give up: each draw fails with a chance of 2^-112.
const P224_DRAWS: usize = 4;

/// Randomness of the operating system, keys and signatures of the provider.
#[derive(Debug, Clone, Copy, Default)]
pub struct AwsDice;

impl Dice for AwsDice {
    fn fill(&self, out: &mut [u8]) {
        #[expect(
            clippy::expect_used,
            reason = "without randomness nothing here is safe to go on with; the provider itself aborts too"
        )]
        aws_lc_rs::rand::fill(out).expect("the random source of the crypto provider works");
    }

    fn generate_key(&self, kind: KeyKind) -> Result<PrivateKey, CryptoFault> {
        match kind {
            KeyKind::P224 => self.generate_p224(),
            KeyKind::P256 => generate_ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyKind::P384 => generate_ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
            KeyKind::P521 => generate_ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING),
            KeyKind::Ed25519 => {
                let fault = CryptoFault::in_operation("generate an Ed25519 key");
                PrivateKey::from_signer(Signer::Ed25519(Ed25519KeyPair::generate().map_err(|_| fault)?))
            }
            KeyKind::Rsa(bits) => generate_rsa(bits),
        }
    }

    fn sign(&self, key: &PrivateKey, hash: SignatureHash, message: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        let fault = CryptoFault::in_operation("sign");
        match (key.kind(), hash, key.signer()?) {
            (KeyKind::P384, SignatureHash::Sha256, _) => {
                let hash = digest(&SHA256, message);
                key.sign_sha256_with_p384(hash.as_ref().try_into().map_err(|_| fault)?)
            }
            (KeyKind::P256, SignatureHash::Sha256, Signer::Ecdsa(pair))
            | (KeyKind::P384, SignatureHash::Sha384, Signer::Ecdsa(pair)) => {
                let signature = pair.sign(&SystemRandom::new(), message).map_err(|_| fault)?;
                Ok(signature.as_ref().to_vec())
            }
            (_, _, Signer::Ed25519(pair)) => Ok(pair.try_sign(message).map_err(|_| fault)?.as_ref().to_vec()),
            (_, hash, Signer::Rsa(pair)) => {
                let encoding: &dyn RsaEncoding = match hash {
                    SignatureHash::Sha256 => &RSA_PKCS1_SHA256,
                    SignatureHash::Sha384 => &RSA_PKCS1_SHA384,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
                    .map_err(|_| fault)?;
                Ok(signature)
            }
            _ => Err(CryptoFault::in_operation("sign with this hash and kind of key")),
        }
    }

    fn encrypt_oaep_sha256(&self, public_key_pkix: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoFault> {
        let read = CryptoFault::in_operation("read an RSA public key");
        let key = PublicEncryptingKey::from_der(public_key_pkix).map_err(|_| read)?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| read)?;
        let fault = CryptoFault::in_operation("encrypt with RSA-OAEP");
        let mut ciphertext = vec![0; key.ciphertext_size()];
        let written = key.encrypt(&OAEP_SHA256_MGF1SHA256, plaintext, &mut ciphertext, None);
        let length = written.map_err(|_| fault)?.len();
        ciphertext.truncate(length);
        Ok(ciphertext)
    }
}

impl AwsDice {
    fn generate_p224(self) -> Result<PrivateKey, CryptoFault> {
        let mut scalar = Zeroizing::new([0; 28]);
        (0..P224_DRAWS)
            .find_map(|_| {
                self.fill(scalar.as_mut_slice());
                PrivateKey::p224_from_scalar(&scalar)
            })
            .ok_or(CryptoFault::in_operation("generate a P-224 key"))
    }
}

fn generate_ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Result<PrivateKey, CryptoFault> {
    let fault = CryptoFault::in_operation("generate an ECDSA key");
    PrivateKey::from_signer(Signer::Ecdsa(
        EcdsaKeyPair::generate(algorithm).map_err(|_| fault)?,
    ))
}

fn generate_rsa(bits: u16) -> Result<PrivateKey, CryptoFault> {
    let size = match bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        4096 => KeySize::Rsa4096,
        8192 => KeySize::Rsa8192,
        _ => return Err(CryptoFault::in_operation("generate an RSA key of this size")),
    };
    let fault = CryptoFault::in_operation("generate an RSA key");
    PrivateKey::from_signer(Signer::Rsa(RsaKeyPair::generate(size).map_err(|_| fault)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::{OaepPrivateDecryptingKey, PrivateDecryptingKey};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, UnparsedPublicKey, VerificationAlgorithm,
    };

    #[test]
    fn signatures_verify_for_every_kind_and_hash_we_use() {
        let cases: [(KeyKind, SignatureHash, &'static dyn VerificationAlgorithm); 6] = [
            (KeyKind::P256, SignatureHash::Sha256, &ECDSA_P256_SHA256_ASN1),
            (KeyKind::P384, SignatureHash::Sha384, &ECDSA_P384_SHA384_ASN1),
            (KeyKind::P384, SignatureHash::Sha256, &ECDSA_P384_SHA256_ASN1),
            (KeyKind::Ed25519, SignatureHash::Sha256, &ED25519),
            (
                KeyKind::Rsa(2048),
                SignatureHash::Sha256,
                &RSA_PKCS1_2048_8192_SHA256,
            ),
            (
                KeyKind::Rsa(2048),
                SignatureHash::Sha384,
                &RSA_PKCS1_2048_8192_SHA384,
            ),
        ];
        for (kind, hash, algorithm) in cases {
            let key = AwsDice.generate_key(kind).unwrap();
            let signature = AwsDice.sign(&key, hash, b"message").unwrap();
            let public = UnparsedPublicKey::new(algorithm, key.public());
            assert!(public.verify(b"message", &signature).is_ok(), "{kind:?} {hash:?}");
            assert!(
                public.verify(b"massage", &signature).is_err(),
                "{kind:?} {hash:?}"
            );
        }
    }

    #[test]
    fn combinations_nobody_verifies_are_refused() {
        for (kind, hash) in [
            (KeyKind::P224, SignatureHash::Sha256),
            (KeyKind::P256, SignatureHash::Sha384),
            (KeyKind::P521, SignatureHash::Sha256),
        ] {
            let key = AwsDice.generate_key(kind).unwrap();
            assert!(AwsDice.sign(&key, hash, b"message").is_err(), "{kind:?}");
        }
        assert!(AwsDice.generate_key(KeyKind::Rsa(1024)).is_err());
    }

    #[test]
    fn keys_are_pkcs8_version_1_and_differ() {
        for kind in [
            KeyKind::P224,
            KeyKind::P256,
            KeyKind::P384,
            KeyKind::P521,
            KeyKind::Ed25519,
        ] {
            let (one, two) = (
                AwsDice.generate_key(kind).unwrap(),
                AwsDice.generate_key(kind).unwrap(),
            );
            assert!(one.pkcs8() != two.pkcs8(), "{kind:?}");
            let read = PrivateKey::from_pkcs8(one.pkcs8().expose()).unwrap();
            assert_eq!((read.kind(), read.public()), (kind, one.public()));
            // SEQUENCE { INTEGER 0, … }
            assert!(
                one.pkcs8()
                    .expose()
                    .windows(3)
                    .take(4)
                    .any(|bytes| bytes == [2, 1, 0]),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn what_is_encrypted_can_be_decrypted() {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let public = key.public_key().as_der().unwrap();
        let ciphertext = AwsDice.encrypt_oaep_sha256(public.as_ref(), b"recovery").unwrap();
        let key = OaepPrivateDecryptingKey::new(key).unwrap();
        let mut plaintext = vec![0; key.min_output_size()];
        let plaintext = key
            .decrypt(&OAEP_SHA256_MGF1SHA256, &ciphertext, &mut plaintext, None)
            .unwrap();
        assert_eq!(plaintext, b"recovery");
        assert!(AwsDice.encrypt_oaep_sha256(public.as_ref(), &[0; 191]).is_err());
        let elliptic = AwsDice.generate_key(KeyKind::P256).unwrap();
        assert!(
            AwsDice
                .encrypt_oaep_sha256(elliptic.public(), b"recovery")
                .is_err()
        );
    }

    #[test]
    fn random_bytes_are_not_all_alike() {
        let (mut one, mut two) = ([0; 32], [0; 32]);
        AwsDice.fill(&mut one);
        AwsDice.fill(&mut two);
        assert_ne!(one, two);
    }
}
