//! Makes the values of generated secrets (`spec/02`, table of the definition).

use super::spec::{SecretKind, SecretSpec};
use super::value::{CertificateValue, SecretBytes, SecretValue};
use crate::ambient::{Ambient, CryptoFault};
use crate::pki::authority::Authority;
use crate::pki::secret_certificate;

/// A fresh value: random bytes for a symmetric key, a new key with its certificate for a certificate type.
///
/// For shared symmetric keys and for all generated certificates. Private symmetric keys are derived
/// ([`super::derive::private_key`]), user-defined and plain secrets uploaded.
///
/// # Errors
/// [`CryptoFault`] if the provider fails, or for a definition whose values are uploaded.
pub fn generate(
    spec: &SecretSpec,
    authority: &Authority,
    ambient: &Ambient<'_>,
) -> Result<SecretValue, CryptoFault> {
    match &spec.kind {
        _ if spec.user_defined => Err(CryptoFault::in_operation("generate a user-defined secret")),
        SecretKind::Plain => Err(CryptoFault::in_operation("generate a plain secret")),
        SecretKind::Symmetric { length } => {
            let value = SecretBytes::fill_with(*length, |bytes| ambient.dice.fill(bytes));
            Ok(SecretValue::Symmetric(value))
        }
        SecretKind::Certificate { key: None, .. } => Err(CryptoFault::in_operation(
            "generate a certificate secret of unknown size",
        )),
        SecretKind::Certificate {
            key: Some(kind),
            template,
            ..
        } => {
            let key = ambient.dice.generate_key(*kind)?;
            let certificate =
                secret_certificate::issue(authority, template, spec.valid_for, key.public(), ambient)?;
            Ok(SecretValue::Certificate(CertificateValue {
                certificate,
                public: key.public().clone(),
                private: Some(key.pkcs8().clone()),
            }))
        }
    }
}
