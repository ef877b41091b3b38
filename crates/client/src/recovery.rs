//! What holders of recovery keys do with their recovery secrets (`spec/06`, "Recovering").

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeyPair, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroizing;

/// Whether a recovery secret of so many bytes is plain; any other is encrypted.
pub fn is_plain_recovery_secret(length: usize) -> bool {
    matches!(length, 16 | 17 | 32 | 33)
}

/// The private key of a holder: decrypts his recovery secret, and signs it.
pub struct RecoveryKey {
    decrypt: OaepPrivateDecryptingKey,
    sign: KeyPair,
}

impl RecoveryKey {
    /// Reads a private RSA key (PEM: PKCS#8 or PKCS#1).
    ///
    /// # Errors
    /// [`RecoveryKeyError::Key`]
    pub fn from_pem(pem: &[u8]) -> Result<Self, RecoveryKeyError> {
        let unusable = |reason: &str| RecoveryKeyError::Key {
            reason: reason.to_owned(),
        };
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
            rustls_pki_types::pem::Error::NoItemsFound => {
                unusable("it holds no PEM block PRIVATE KEY or RSA PRIVATE KEY")
            }
            other => unusable(&other.to_string()),
        })?;
        let sign = match &key {
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(unusable("it is no RSA key")),
        };
        let sign = sign.map_err(|_| unusable("it is no RSA key of 2048 to 8192 bits"))?;
        let pkcs8 = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&sign)
            .map_err(|_| unusable("it cannot be encoded"))?;
        let decrypt = PrivateDecryptingKey::from_pkcs8(pkcs8.as_ref())
            .ok()
            .and_then(|key| OaepPrivateDecryptingKey::new(key).ok())
            .ok_or_else(|| unusable("it is no RSA key of 2048 to 8192 bits"))?;
        Ok(Self { decrypt, sign })
    }

    /// The plain secret: of 16, 17, 32 or 33 bytes as it is, of any other length decrypted (RSA-OAEP, SHA-256).
    ///
    /// # Errors
    /// [`RecoveryKeyError::Length`] if it is neither plain nor as long as what is encrypted for this key,
    /// [`RecoveryKeyError::DoesNotDecrypt`].
    pub fn plain(&self, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, RecoveryKeyError> {
        if is_plain_recovery_secret(secret.len()) {
            return Ok(Zeroizing::new(secret.to_vec()));
        }
        let expected = self.decrypt.key_size_bytes();
        if secret.len() != expected {
            return Err(RecoveryKeyError::Length {
                length: secret.len(),
                expected,
            });
        }
        let mut out = Zeroizing::new(vec![0; self.decrypt.min_output_size()]);
        let plain = self
            .decrypt
            .decrypt(&OAEP_SHA256_MGF1SHA256, secret, &mut out, None)
            .map_err(|_| RecoveryKeyError::DoesNotDecrypt)?;
        Ok(Zeroizing::new(plain.to_vec()))
    }

    /// Signs a plain secret: PKCS#1 v1.5 with SHA-256.
    ///
    /// # Errors
    /// [`RecoveryKeyError::Crypto`]
    pub fn sign(&self, plain: &[u8]) -> Result<Vec<u8>, RecoveryKeyError> {
        let mut signature = vec![0; self.sign.public_modulus_len()];
        self.sign
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), plain, &mut signature)
            .map_err(|_| RecoveryKeyError::Crypto)?;
        Ok(signature)
    }
}

/// Encrypts a plain recovery secret for a Coordinator that waits for it (RSA-OAEP, SHA-256). `public_key` is the
/// Coordinator's ephemeral key, a PEM block `PUBLIC KEY`.
///
/// # Errors
/// [`RecoveryKeyError::PublicKey`], [`RecoveryKeyError::Crypto`].
pub fn encrypt_recovery_secret(public_key: &[u8], plain: &[u8]) -> Result<Vec<u8>, RecoveryKeyError> {
    let unusable = |reason: &str| RecoveryKeyError::PublicKey {
        reason: reason.to_owned(),
    };
    let key = SubjectPublicKeyInfoDer::from_pem_slice(public_key).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => unusable("it holds no PEM block PUBLIC KEY"),
        other => unusable(&other.to_string()),
    })?;
    let key = PublicEncryptingKey::from_der(&key)
        .ok()
        .and_then(|key| OaepPublicEncryptingKey::new(key).ok())
        .ok_or_else(|| unusable("it is no RSA key of 2048 to 8192 bits"))?;
    let mut out = vec![0; key.ciphertext_size()];
    let length = key
        .encrypt(&OAEP_SHA256_MGF1SHA256, plain, &mut out, None)
        .map_err(|_| RecoveryKeyError::Crypto)?
        .len();
    out.truncate(length);
    Ok(out)
}

/// Why nothing can be done with a recovery secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryKeyError {
    /// The holder's key is unusable.
    #[error("unusable recovery key: {reason}")]
    Key {
        /// Why; never quotes the key.
        reason: String,
    },
    /// The Coordinator's key is unusable.
    #[error("unusable public key: {reason}")]
    PublicKey {
        /// Why.
        reason: String,
    },
    /// Neither plain nor encrypted for this key.
    #[error(
        "the recovery secret has {length} bytes: expected 16, 17, 32 or 33 (plain), or {expected} (encrypted for \
         this key)"
    )]
    Length {
        /// What it has.
        length: usize,
        /// What an encrypted one has.
        expected: usize,
    },
    /// Encrypted for another key, or damaged.
    #[error(
        "the recovery secret does not decrypt with this key (RSA-OAEP, SHA-256): is it the one for this key?"
    )]
    DoesNotDecrypt,
    /// The crypto provider failed.
    #[error("the crypto provider failed")]
    Crypto,
}
