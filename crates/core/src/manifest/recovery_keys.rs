//! `RecoveryKeys`: for whom the recovery secrets are encrypted.

use super::field::Field;
use super::model::{Name, RecoveryKey};
use super::pem::first_block;
use super::public_key::{rsa_from_pkcs1, rsa_from_pkix};
use super::section::Section;

/// Reads the section.
pub(super) fn read(section: &Section<'_, '_>) -> Vec<(Name, RecoveryKey)> {
    section
        .entries
        .iter()
        .filter_map(|(name, field)| Some((name.clone(), recovery_key(field)?)))
        .collect()
}

fn recovery_key(field: &Field<'_, '_>) -> Option<RecoveryKey> {
    let text = field.required_text("expected an RSA public key in PEM").ok()?;
    let parsed = first_block(text)
        .map_err(str::to_owned)
        .and_then(|block| match block.label {
            "PUBLIC KEY" => rsa_from_pkix(&block.der),
            "RSA PUBLIC KEY" => rsa_from_pkcs1(&block.der),
            _ => Err("its block is neither PUBLIC KEY nor RSA PUBLIC KEY".to_owned()),
        });
    match parsed {
        Ok(pkix) => Some(RecoveryKey {
            pem: text.into(),
            public_key_pkix: pkix.into(),
        }),
        Err(problem) => {
            field.problem(format_args!("expected an RSA public key in PEM: {problem}"));
            None
        }
    }
}
